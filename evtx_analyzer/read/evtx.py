"""EVTX files: every record that is there, and a loss for every one that is not.

The ``evtx`` library decodes; it is fast and gives no account of what it left out: the rest of a chunk behind one
smashed record, a truncated last chunk, all chunks of a file whose magic is gone. So each chunk is framed and
accounted for here (``evtx_chunks``), handed to ``evtx`` alone behind a file header of our own, and what does not
come back is decoded one by one (``binxml``). Layout: libyal, "Windows XML Event Log (EVTX)".
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import evtx
import msgspec
from Evtx.Evtx import ChunkHeader, FileHeader, Record

from evtx_analyzer import clock
from evtx_analyzer.model import CountedRecords, EventRecord, Loss, Origin
from evtx_analyzer.read.evtx_blocks import BLOCK, SEARCH_BLOCK, Block, blocks, filled
from evtx_analyzer.read.evtx_chunks import ANY_ID, CHUNK_SIZE, MOST_RECORDS, Chunk, Gap, Head, account, counted_chunk
from evtx_analyzer.read.evtx_counting import Counter
from evtx_analyzer.read.evtx_needles import Test

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_FILE_HEADER_SIZE = 4096
_ONE_CHUNK = struct.pack("<8sQQQIHHHH", b"ElfFile\0", 0, 0, 1, 128, 1, 3, _FILE_HEADER_SIZE, 1)
_ONE_CHUNK_HEADER = _ONE_CHUNK.ljust(_FILE_HEADER_SIZE, b"\0")


Beside = Callable[[Sequence[str], Sequence[str]], None]


class Chunks:
    """Which chunks of a file must be decoded; those that were only counted are remembered for later readings.

    ``wanted`` is asked with a chunk (64 KiB) as it stands in the file, or with the XML of one record in UTF-16LE;
    ``countable`` with provider and channel of a chunk's records. ``counted`` has one byte for each chunk of the file
    in order, as far as it was read: 1 if it was only counted. ``concerns`` is asked with the XML of a record that was
    decoded: others are counted without a word of what they say. ``may_concern`` is asked with a chunk: one that is
    sound and can hold no such record is not decoded for it (logs of other channels: one look at their bytes). That it
    could be decoded is taken for granted there, as in ``evtx_counting``. ``beside`` is told of each chunk that was
    counted and decoded the XML of its wanted records, and of all.
    """

    def __init__(
        self,
        wanted: Test,
        countable: Callable[[str, str], bool],
        counted: bytearray,
        concerns: Callable[[str], bool] = lambda _: True,
        may_concern: Test = lambda _: True,
        beside: Beside | None = None,
    ) -> None:
        self.wanted, self.countable, self.counted = wanted, countable, counted
        self.concerns, self.may_concern, self.beside = concerns, may_concern, beside


def read_evtx(
    stream: BinaryIO, source: Origin, chunks: Chunks | None = None
) -> Iterator[EventRecord | CountedRecords | Loss]:
    """Read records in the order in which they stand, and losses beside them.

    The stream is only read forwards. With ``chunks``, the records of a chunk are counted; if it is wanted it is decoded
    too, and those records are given whose text is wanted. Where they cannot be counted they are decoded, and all those
    are given that concern anybody.
    """
    raw_header = filled(stream, _FILE_HEADER_SIZE)
    log = _Log(source, raw_header)
    yield from log.header_losses()
    if len(raw_header) < _FILE_HEADER_SIZE:
        return
    if chunks is None:
        for offset, raw in _each(blocks(stream, _FILE_HEADER_SIZE, BLOCK)):
            yield from _decode(log, raw, offset, source)
    else:
        chunks.counted.clear()
        counter = Counter(source, chunks.countable, _first_text)
        for block in blocks(stream, _FILE_HEADER_SIZE, BLOCK):
            yield from _counted(log, block, counter, chunks, source)
    yield from log.final_losses()


def reread_evtx(stream: BinaryIO, source: Origin, chunks: Chunks) -> Iterator[EventRecord]:
    """The records of a file that was read before, without those of chunks that were counted and are not wanted."""
    filled(stream, _FILE_HEADER_SIZE)
    number = 0
    for block in blocks(stream, _FILE_HEADER_SIZE, SEARCH_BLOCK):
        wanted = block.holding(chunks.wanted)
        for place in range(block.chunks):
            counted = any(chunks.counted[number : number + 1])
            if place in wanted or not counted:
                offset = block.offset + place * CHUNK_SIZE
                chunk = (counted_chunk if counted else account)(block.chunk(place))
                for record in _records(chunk, offset, source) if chunk is not None else ():
                    if isinstance(record, EventRecord):
                        yield record
            number += 1


def _each(found: Iterator[Block]) -> Iterator[tuple[int, bytes]]:
    for block in found:
        for place in range(block.chunks):
            yield block.offset + place * CHUNK_SIZE, block.chunk(place)


def _decode(log: _Log, raw: bytes, offset: int, source: Origin) -> Iterator[EventRecord | Loss]:
    chunk = account(raw)
    if chunk is not None:
        yield from log.chunk_losses(chunk, offset)
        for record in _records(chunk, offset, source):
            assert not isinstance(record, int)
            yield record


def _counted(
    log: _Log, block: Block, counter: Counter, chunks: Chunks, source: Origin
) -> Iterator[EventRecord | CountedRecords | Loss]:
    """Count the chunks of a block, many at once where that pays, and decode those that must be."""
    wanted = block.holding(chunks.wanted)
    place = 0
    for run in [*block.counted(counter), None]:
        while place < (block.chunks if run is None else run.first):
            yield from _counted_one(log, block, place, counter, chunks, source, wanted=place in wanted)
            place += 1
        if run is None:
            return
        chunks.counted.extend(b"\1" * (run.stop - run.first))
        yield from log.chunk_losses(run.chunk, block.offset + run.first * CHUNK_SIZE, run.stop - run.first)
        yield run.records
        for number in sorted(item for item in wanted if run.first <= item < run.stop):
            yield from _wanted(block.chunk(number), block.offset + number * CHUNK_SIZE, source, chunks)
        place = run.stop


def _counted_one(
    log: _Log, block: Block, place: int, counter: Counter, chunks: Chunks, source: Origin, *, wanted: bool
) -> Iterator[EventRecord | CountedRecords | Loss]:
    raw, offset = block.chunk(place), block.offset + place * CHUNK_SIZE
    counted = counter.count(raw, offset)
    if counted is None:
        chunks.counted.append(0)
        chunk = account(raw)
        if chunk is not None:
            yield from log.chunk_losses(chunk, offset)
            chunks.counted[-1] = yield from _concerning(chunk, offset, source, chunks)
        return
    chunks.counted.append(1)
    yield from log.chunk_losses(counted[0], offset)
    yield counted[1]
    if wanted:
        yield from _wanted(raw, offset, source, chunks)


# ------------------------------------------------------------------------------------------------- decoding


def _records(
    chunk: Chunk, offset: int, source: Origin, concerns: Callable[[str], bool] | None = None
) -> Iterator[EventRecord | Loss | int]:
    """The records of a chunk; of those that do not concern anybody only the id."""
    texts = _decoded(chunk.data)
    for head in chunk.heads:
        given = texts.get(head.id)
        xml = given.pop(0) if given else _recovered(chunk, head)
        if concerns is not None and head.id and isinstance(xml, str) and not concerns(xml):
            yield head.id
            continue
        origin = msgspec.structs.replace(source, record=head.id, offset=offset + head.at)
        if isinstance(xml, str):
            yield EventRecord(origin=origin, xml=xml, record_id=head.id, time=clock.from_filetime(head.filetime))
        else:
            yield _undecodable(head, origin, xml)


def _concerning(
    chunk: Chunk, offset: int, source: Origin, chunks: Chunks
) -> Generator[EventRecord | CountedRecords | Loss, None, bool]:
    """The records of a chunk that concern anybody, the others in runs of ids; returns whether all were others."""
    sound = chunk.promise.trusted and not chunk.faults and not chunk.gaps
    if sound and all(head.id for head in chunk.heads) and not chunks.may_concern(chunk.data):
        found: Iterator[EventRecord | Loss | int] = (head.id for head in chunk.heads)
    else:
        found = _records(chunk, offset, source, chunks.concerns)
    others: list[int] = []
    none = True
    for record in found:
        if isinstance(record, int):
            if others and record != others[-1] + 1:
                yield _others(others, source)
                others = []
            others.append(record)
        else:
            none = none and isinstance(record, Loss)
            yield record
    if others:
        yield _others(others, source)
    return none


def _others(ids: list[int], source: Origin) -> CountedRecords:
    origin = msgspec.structs.replace(source, record=ids[0])
    return CountedRecords(
        origin=origin, last_record=ids[-1], provider="", channel="", host="", first=None, last=None, event_ids={}
    )


def _wanted(raw: bytes, offset: int, source: Origin, chunks: Chunks) -> Iterator[EventRecord | Loss]:
    """Of a chunk that was counted, the records whose text is wanted; and what cannot be decoded after all."""
    every: list[str] = []
    found: list[str] = []
    chunk = counted_chunk(raw)
    for record in _records(chunk, offset, source) if chunk is not None else ():
        if isinstance(record, Loss):
            yield record
        if not isinstance(record, EventRecord):
            continue
        every.append(record.xml)
        if chunks.wanted(record.xml.encode("utf-16-le", "replace")):
            found.append(record.xml)
            yield msgspec.structs.replace(record, counted=True)
    if found and chunks.beside is not None:
        chunks.beside(found, every)


def _decoded(chunk: bytes) -> dict[int, list[str]]:
    """The XML of all records that ``evtx`` gives, by id; an id may stand twice in a damaged chunk."""
    texts: dict[int, list[str]] = defaultdict(list)
    records = evtx.PyEvtxParser(BytesIO(_ONE_CHUNK_HEADER + chunk), number_of_threads=1).records()
    for _ in range(MOST_RECORDS):  # after an error it may go on, or give the same error for ever
        try:
            record = cast("dict[str, Any]", next(records))
        except StopIteration:
            break
        except (RuntimeError, OSError):
            continue
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust, cannot be imported, is no Exception
                raise
            break
        texts[record["event_record_id"]].append(record["data"])
    return texts


def _first_text(chunk: bytes) -> list[str]:
    """The XML of the first record of a chunk, if ``evtx`` gives it."""
    return next(iter(_decoded(chunk).values()), [])


def _recovered(chunk: Chunk, head: Head) -> str | Exception:
    from evtx_analyzer.read import binxml  # noqa: PLC0415  start-up cost: only where records are damaged

    try:
        return binxml.render(Record(chunk.data, head.at, ChunkHeader(chunk.data, 0)))
    except Exception as error:  # noqa: BLE001  python-evtx raises any kind on damage, and this is the record's boundary
        return error


def _undecodable(head: Head, origin: Origin, error: Exception) -> Loss:
    return Loss(
        origin=origin,
        reason=f"the record cannot be decoded ({type(error).__name__})",
        extent=f"1 record, {head.size:,} bytes",
        first_record=head.id,
        last_record=head.id,
    )


# ------------------------------------------------------------------------------------------------- losses


class _Log:
    """What the file as a whole promises, and what its chunks were found to account for so far."""

    def __init__(self, source: Origin, raw_header: bytes) -> None:
        self._source = source
        self._length = len(raw_header)
        self._header = FileHeader(raw_header.ljust(_FILE_HEADER_SIZE, b"\0"), 0)
        self._dirty = self._header.is_dirty()
        self._sound = self._header.check_magic() and self._header.calculate_checksum() == self._header.checksum()
        self._chunks = 0
        self._certain = True
        self._shifts: set[int] = set()
        self._ranges: list[range] = []
        self._newest: tuple[int, Loss | None] = (0, None)

    def header_losses(self) -> Iterator[Loss]:
        if self._length < _FILE_HEADER_SIZE:
            missing = f"{self._length:,} bytes of a file header of {_FILE_HEADER_SIZE:,}, no record"
            yield self._loss(0, "the file ends inside its header", missing)
        elif not self._header.check_magic():
            yield self._loss(0, "the file header's magic is damaged", "0 records lost")
        elif not self._sound:
            yield self._loss(0, "the file header's checksum is wrong", "0 records lost")

    def chunk_losses(self, chunk: Chunk, offset: int, chunks: int = 1) -> Iterator[Loss]:
        """The chunk's faults as one loss, and one more per gap between its records.

        A run of several ``chunks`` without a fault, whose ids run on, may be told as if it were one.
        """
        self._chunks += chunks
        self._enter(chunk)
        if chunk.faults:
            loss = self._loss(offset, "; ".join(chunk.faults), _extent(chunk))
            yield from self._unless_live(chunk, loss)
        elif self._dirty:
            yield from self._unless_live(chunk, None)
        for gap in chunk.gaps:
            yield self._gap(gap, offset)

    def _enter(self, chunk: Chunk) -> None:
        self._certain = self._certain and chunk.promise.trusted
        if chunk.promise.trusted:
            self._shifts.add(chunk.promise.shift if chunk.promise.dense else -1)
        if chunk.ids and self._ranges and self._ranges[-1].stop == chunk.ids.start:
            self._ranges[-1] = range(self._ranges[-1].start, chunk.ids.stop)
        elif chunk.ids:
            self._ranges.append(chunk.ids)

    def _unless_live(self, chunk: Chunk, loss: Loss | None) -> Iterator[Loss]:
        """Hold back what is wrong with the newest chunk of a log that was copied while Windows wrote to it.

        Its checksums are brought up to date later; which chunk is the newest shows only at the end of the file.
        """
        if not self._dirty or not chunk.whole:
            if loss:
                yield loss
            return
        newest, held = self._newest
        if chunk.ids.stop > newest:
            self._newest, loss = (chunk.ids.stop, loss), held
        if loss:
            yield loss

    def final_losses(self) -> Iterator[Loss]:
        """The ids that no chunk accounts for, where chunks are missing or could not be trusted.

        A hole is no loss by itself: a filtered export has them, and so has a log whose ring was turned.
        """
        missing = max(0, self._header.chunk_count() - self._chunks) if self._sound else 0
        if not missing and self._certain:
            return
        holes = list(self._holes())
        if missing:
            lost = f"{missing} of {self._header.chunk_count()} chunks, {missing * CHUNK_SIZE:,} bytes"
            yield self._loss(None, "the file holds fewer chunks than its header says", lost)
        for hole in holes:
            yield self._loss(None, "no chunk holds these records", _count(len(hole)), hole)

    def _holes(self) -> Iterator[range]:
        if len(self._shifts) > 1 or -1 in self._shifts:
            return  # a filtered export: ids that are missing were never in it
        end = self._header.next_record_number() if self._sound else 0
        end = end if end in ANY_ID else 0
        ranges = sorted(self._ranges, key=lambda ids: ids.start)
        at = ranges[0].start if ranges else end  # where a ring began cannot be told without any chunk
        for ids in [*ranges, range(end, end)]:
            if ids.start > at:
                yield range(at, ids.start)
            at = max(at, ids.stop)

    def _gap(self, gap: Gap, offset: int) -> Loss:
        reason = "damaged bytes between records" if gap.size else "records are missing"
        records = _count(len(gap.ids)) if gap.ids else "no whole record known"
        return self._loss(offset + gap.at, reason, f"{records}, {gap.size:,} bytes", gap.ids)

    def _loss(self, offset: int | None, reason: str, extent: str, ids: range = range(0)) -> Loss:
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        origin = msgspec.structs.replace(self._source, record=first, offset=offset)
        return Loss(origin=origin, reason=reason, extent=extent, first_record=first, last_record=last)


def _extent(chunk: Chunk) -> str:
    """How much a damaged chunk cost, as far as that can be known without decoding it."""
    lost, read = sum(len(gap.ids) for gap in chunk.gaps), len(chunk.heads)
    if not read and not lost:
        return f"{CHUNK_SIZE:,} bytes, no record found"
    if chunk.promise.trusted or (not chunk.gaps and _complete(chunk)):
        return f"{lost} of {read + lost} records lost"
    return f"{read} records found, {lost} known to be lost"


def _complete(chunk: Chunk) -> bool:
    return chunk.promise.ids == range(chunk.heads[0].id, chunk.heads[-1].id + 1)


def _count(records: int) -> str:
    return "1 record" if records == 1 else f"{records:,} records"
