r"""Many chunks of an EVTX file counted at once: what ``evtx_counting.Counter.count`` does, in steps of megabytes.

Records stand back to back, and the size of each leads to the next: so all chunks of a block are walked in lockstep, the
first record of each, then the second of each, until free space. What was found are places; every condition that
``Counter`` asks of a record is then asked of all records at once, and a chunk in which one does not hold is not given
(nor one with more kinds of descriptors than are usual): the caller asks ``Counter``. So nothing is counted here that
would not be counted there.

Chunks that follow on each other in place and in ids and bear the same names are given as one run: what an export covers
is told by its runs of ids, by sums and by extremes, which are the same for a run as for its chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from evtx_analyzer import clock
from evtx_analyzer.model import CountedRecords
from evtx_analyzer.read import evtx_counting as one
from evtx_analyzer.read.evtx_chunks import ANY_ID, CHUNK_SIZE, HEADER_SIZE, Chunk, Promise
from evtx_analyzer.read.evtx_counting import Counter, Layout, Names

PADDING = CHUNK_SIZE
"""Bytes behind a block that are looked at, where a damaged size leads there, and do not count."""

_HEADER = np.dtype(
    {
        "names": ["magic", "number", "last_number", "first", "last", "free", "records", "checksum", "definition"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u8", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 8, 16, 24, 32, 48, 52, 124, one.DEFINITION + 20],
    }
)
_MAGIC = int.from_bytes(one.MAGIC, "little")
_RECORD_MAGIC = int.from_bytes(one.RECORD_MAGIC, "little")
_PRELUDE, _PRELUDE_MASK = int.from_bytes(one.PRELUDE, "little"), (1 << 48) - 1
_SMALLEST = one.DEFINITION + one.LENGTH.size
_MOST_LAYOUTS = 64
_Flags = NDArray[np.bool_]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """Chunks ``first`` to ``stop`` (exclusive) of a block, which were counted: their account as if they were one."""

    first: int
    stop: int
    chunk: Chunk
    records: CountedRecords


@dataclass(frozen=True)
class _Heads:
    """Headers of a block's chunks, and the names that the definition of each (that is sound) stands for."""

    fields: NDArray[np.void]
    sound: _Flags
    values: _Ints  # place behind the definition, in the chunk
    names: list[Names | None]


@dataclass(frozen=True)
class _Records:
    """All records of the chunks that are left, in order."""

    chunk: _Ints
    event_id: NDArray[np.uint16]
    time: NDArray[np.uint64]


class _Block:
    """A block's bytes as numbers of each width, at any place and at multiples of their width."""

    def __init__(self, buffer: bytearray, size: int) -> None:
        self.raw, self.size = buffer, size
        self.last = len(buffer) - 88  # a place behind which nothing is read
        self.bytes = np.frombuffer(buffer, np.uint8)
        self.u2, self.u4, self.u8 = (
            np.ndarray((len(buffer) - width + 1,), f"<u{width}", buffer, strides=(1,)) for width in (2, 4, 8)
        )
        width = one.FIXED
        self.descriptors = np.ndarray((len(buffer) - width + 1,), f"V{width}", buffer, strides=(1,))

    def within(self, places: _Ints) -> _Ints:
        """The places, those that lie outside moved to where something can be read that means nothing."""
        return np.minimum(places, self.last)


def count_block(counter: Counter, buffer: bytearray, size: int, offset: int) -> list[Run]:
    """Runs of chunks that are counted, in order, of the first ``size`` bytes of a buffer that go on for ``PADDING``.

    ``offset`` is where the block begins in the file.
    """
    chunks = size // CHUNK_SIZE
    assert len(buffer) >= size + PADDING
    assert chunks <= 1 << 16
    if not chunks:
        return []
    block = _Block(buffer, chunks * CHUNK_SIZE)
    heads = _heads(counter, block, chunks)
    good, records = _records(counter, block, heads)
    return list(_runs(counter, heads, good, records, offset))


def _heads(counter: Counter, block: _Block, chunks: int) -> _Heads:
    fields = np.ndarray((chunks,), _HEADER, block.raw, strides=(CHUNK_SIZE,))
    first, last, free = fields["first"], fields["last"], fields["free"]
    sound = (fields["magic"] == _MAGIC) & (first > 0) & (first <= last) & (last < ANY_ID.stop)
    sound &= (fields["last_number"] >= fields["number"]) & (last - first == fields["last_number"] - fields["number"])
    sound &= (free > _SMALLEST) & (free <= CHUNK_SIZE) & (last - first <= CHUNK_SIZE)
    names: list[Names | None] = [None] * chunks
    values = [0] * chunks
    whole = memoryview(block.raw)
    # Python's numbers: to take them out of an array one by one costs more than all that is done with them here.
    frees, lengths = free.tolist(), fields["definition"].tolist()
    for number in np.flatnonzero(sound).tolist():
        start = number * CHUNK_SIZE
        raw = whole[start : start + CHUNK_SIZE]
        end = _SMALLEST + lengths[number]
        if end + one.FIXED <= CHUNK_SIZE and one.intact(raw, frees[number]):
            names[number], values[number] = counter.names(raw, end), end
    sound = np.array([item is not None for item in names])
    return _Heads(fields, sound, np.array(values, np.int64), names)


def _records(counter: Counter, block: _Block, heads: _Heads) -> tuple[_Flags, _Records]:
    """Which chunks can be counted, and their records."""
    free = heads.fields["free"].astype(np.int64)
    at, chunk, number, good = _walked(block, heads, free)
    if not len(at):
        return good, _Records(chunk, np.empty(0, np.uint16), np.empty(0, np.uint64))
    size = block.u4[at + 4].astype(np.int64)
    end = at + size
    ids = heads.fields["first"][chunk] + number.astype(np.uint64)
    fine = (block.u4[at] == _RECORD_MAGIC) & (block.u8[at + 8] == ids)
    fine &= (block.u8[at + 24] & np.uint64(_PRELUDE_MASK)) == _PRELUDE
    fine &= block.u4[at + 34] == one.DEFINITION
    fine &= block.u4[block.within(end - 4)] == size
    opening = number == 0

    place = at + one.RECORD_SIZE
    place[opening] = (chunk * CHUNK_SIZE + heads.values[chunk])[opening]
    fine &= place < end
    place = block.within(place)
    layouts, which = _layouts(counter, block, place)
    fine &= which >= 0
    place += one.FIXED
    length, values = block.u2[place].astype(np.int64), place + one.DESCRIPTOR_SIZE
    event_at, time_at, id_at, body_at = (block.within(values + column[which]) for column in layouts)
    time = block.u8[time_at]
    fine &= (block.bytes[place + 2] == one.BINXML) & (length > 0) & (body_at + length <= end)
    fine &= (block.bytes[body_at] == one.BARE_ELEMENT[0]) | (block.bytes[body_at] == one.BARE_ELEMENT[1])
    fine &= (block.u8[id_at] == ids) & (time >= one.CALENDAR.start) & (time < one.CALENDAR.stop)

    good[chunk[~fine]] = False
    kept = good[chunk]
    return good, _Records(chunk[kept], block.u2[event_at][kept], time[kept])


def _walked(block: _Block, heads: _Heads, free: _Ints) -> tuple[_Ints, _Ints, _Ints, _Flags]:
    """Place, chunk and number in its chunk of every record, in order, and in which chunks they end where they should.

    Sizes that are too small to be one are left to the caller's conditions, but end the walk.
    """
    good = heads.sound.copy()
    left = np.flatnonzero(good)
    at = left * CHUNK_SIZE + HEADER_SIZE
    ends = left * CHUNK_SIZE + free[left]
    places, chunks = [], []
    while len(left):
        places.append(at)
        chunks.append(left)
        size = block.u4[at + 4]
        at = at + size
        going = (at < ends) & (size >= one.RECORD_SIZE)
        if not going.all():
            good[left[~going & (at != ends)]] = False
            at, ends, left = at[going], ends[going], left[going]
    if not places:
        return at, left, left, good
    numbers = np.repeat(np.arange(len(places)), [len(item) for item in places])
    chunk, place = np.concatenate(chunks), np.concatenate(places)
    order = np.argsort(chunk.astype(np.uint16), kind="stable")  # each by their numbers already
    place, chunk, numbers = place[order], chunk[order], numbers[order]
    counts = np.bincount(chunk, minlength=len(good))
    good &= counts == heads.fields["last"] - heads.fields["first"] + np.uint64(1)
    good &= block.u4[block.within(np.arange(len(good)) * CHUNK_SIZE + free)] != _RECORD_MAGIC
    kept = good[chunk]
    return place[kept], chunk[kept], numbers[kept], good


def _layouts(counter: Counter, block: _Block, place: _Ints) -> tuple[list[_Ints], _Ints]:
    """Places of event id, time, record id and body for each run of descriptors; and which one a record has, -1: none.

    Records differ in few ways (with a user or without), so each way is compared with all records at once.
    """
    rows = np.ascontiguousarray(block.descriptors[place]).view(np.uint64).reshape(len(place), -1)
    known: list[Layout] = []
    which = np.full(len(rows), -1, np.int64)
    left = np.arange(len(rows))
    for _ in range(_MOST_LAYOUTS):
        if not len(left):
            break
        layout = counter.layout(rows[0].tobytes())
        same = rows[:, 0] == rows[0, 0]
        for column in range(1, rows.shape[1]):  # three times as fast as to compare and reduce whole rows
            same &= rows[:, column] == rows[0, column]
        if layout is not None:
            which[left[same]] = len(known)
            known.append(layout)
        if same.all():
            break
        left, rows = left[~same], rows[~same]
    columns = [[*item.places, item.user_data] for item in known] or [[0] * 4]
    return [np.array(column, np.int64) for column in zip(*columns, strict=True)], which


def _runs(counter: Counter, heads: _Heads, good: _Flags, records: _Records, offset: int) -> Iterator[Run]:
    numbers = np.flatnonzero(good)
    if not len(numbers):
        return
    # Python's numbers: ids may be as large as 2 to the 62nd.
    first, last, number = (heads.fields[name].tolist() for name in ("first", "last", "number"))
    group: list[int] = []
    for chunk in numbers.tolist():
        before = group[-1] if group else None
        if before is not None and not (
            chunk == before + 1
            and first[chunk] == last[before] + 1
            and heads.names[chunk] == heads.names[before]
            and first[chunk] - number[chunk] == first[before] - number[before]
        ):
            yield _run(counter, heads, group, records, offset)
            group = []
        group.append(chunk)
    yield _run(counter, heads, group, records, offset)


def _run(counter: Counter, heads: _Heads, group: list[int], records: _Records, offset: int) -> Run:
    start, stop = np.searchsorted(records.chunk, [group[0], group[-1] + 1]).tolist()
    counts = np.bincount(records.event_id[start:stop])
    ids = np.flatnonzero(counts)
    times = records.time[start:stop]
    head, names = heads.fields[group[0]], heads.names[group[0]]
    first, last = int(head["first"]), int(heads.fields["last"][group[-1]])
    assert names is not None
    counted = CountedRecords(
        origin=replace(counter.source, record=first, offset=offset + group[0] * CHUNK_SIZE + HEADER_SIZE),
        last_record=last,
        provider=names[0],
        channel=names[1],
        host=names[2],
        first=clock.from_filetime(int(times.min())),
        last=clock.from_filetime(int(times.max())),
        event_ids=dict(zip(ids.tolist(), counts[ids].tolist(), strict=True)),
    )
    shift, free = first - int(head["number"]), int(heads.fields["free"][group[-1]])
    promise = Promise(ids=range(first, last + 1), shift=shift, dense=True, free=free, trusted=True)
    chunk = Chunk(data=b"", promise=promise, heads=[], gaps=[], faults=[], whole=True)
    return Run(group[0], group[-1] + 1, chunk, counted)
