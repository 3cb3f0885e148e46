"""A CAPI2 export of any size: a few chunks are written by the samples' own writer and then repeated, many at a time,
with new record ids, times, task and chain ids and checksums, so that 10 GB hold no two equal records.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.facts import Facts
from samples import cases
from samples.capi2 import PARTIAL_CHAIN, Recorder, check
from samples.evtx_writer import CHUNK_HEADER_SIZE, CHUNK_SIZE, FILE_HEADER_SIZE, write_evtx

START = datetime(2016, 12, 1, tzinfo=UTC)
_PERIOD = 60_000  # ms from chunk to chunk; the events of one lie within half of that
_VARIANTS = 2
_BATCH = 128  # chunks made at a time: 8 MB
_VALUES = 4 + 4 * 20  # count and descriptors of a record's values
_SYSTEM_TIME, _RECORD_ID = 14, 30  # where these stand in the values of the System template
_GUID = re.compile(rb"\{\0((?:[0-9A-F]\0){8})-\0")  # TaskId and chainRef; the provider's is in small letters
_HEX = np.frombuffer("0123456789ABCDEF".encode("utf-16-le"), np.uint16)
_TICKS = 10_000  # of FILETIME in a millisecond
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class _Chunk:
    """A chunk to repeat, and where its records have what is new in each copy (``times`` FILETIME, as in the chunk)."""

    data: NDArray[np.uint8]
    free: int
    ids: Longs  # shape (records, 2): in the record's frame and in its System values
    places: Longs  # shape (records, 2) as well: of the times
    times: Longs
    guids: Longs  # of the first eight digits


def capi2(path: Path, size: int, hits: float, *, near: Sequence[int] = ()) -> Facts:
    """Write an export of about ``size`` bytes in which some chunks hold a failure of mail's kind.

    ``hits`` is their share or, as an int, their number; they are spread evenly. ``near`` are times
    (milliseconds since 1970, rising) next to which the failures lie: those of the handshakes they explain.
    """
    count = max(1, size // CHUNK_SIZE)
    wanted = min(count, hits if isinstance(hits, int) else int(count * hits))
    numbers = np.arange(count)
    loud = (numbers + 1) * wanted // count > numbers * wanted // count
    chunks = [*_chunks(failing=False), *_chunks(failing=True)]
    chosen = numbers % _VARIANTS + _VARIANTS * loud
    lengths = np.array([len(chunk.times) for chunk in chunks])[chosen]
    first = 1 + np.concatenate(([0], np.cumsum(lengths)[:-1]))
    after = _starts(numbers, loud, near)
    with path.open("wb") as out:
        out.write(_file_header(count, int(lengths.sum()) + 1))
        for begin in range(0, count, _BATCH):
            batch = slice(begin, begin + _BATCH)
            made = np.empty((len(numbers[batch]), CHUNK_SIZE), np.uint8)
            for kind in np.unique(chosen[batch]):
                rows = np.flatnonzero(chosen[batch] == kind)
                made[rows] = _copies(chunks[kind], first[batch][rows], after[batch][rows], numbers[batch][rows])
            out.write(made.data)
    return Facts(size=path.stat().st_size, records=int(lengths.sum()), chunks=count, hits=wanted)


def _starts(numbers: Longs, loud: NDArray[np.bool_], near: Sequence[int]) -> Longs:
    """Milliseconds after START of each chunk: even, or such that the failing ones lie next to the times given."""
    if not near or not loud.any():
        return numbers * _PERIOD
    at = np.flatnonzero(loud)
    base = int(START.timestamp() * 1000)
    times = np.array([near[number * len(near) // len(at)] - base for number in range(len(at))])
    ends = times[0] - _PERIOD * (at[0] + 1), times[-1] + _PERIOD * (len(numbers) - at[-1])
    starts: Longs = np.interp(numbers, [-1, *at, len(numbers)], [ends[0], *times, ends[1]]).astype(np.int64)
    return starts


@cache
def _chunks(*, failing: bool) -> tuple[_Chunk, ...]:
    """Full chunks of code signing checks; with one failure of the mail server's certificate in each, if asked."""
    made = []
    for number in range(_VARIANTS):
        recorder = Recorder(cases.HOST)
        if failing:
            broken = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
            check(recorder, START, [(cases.LEAF, 0)], seed=f"mail {number}", **broken)  # type: ignore[arg-type]
        # The samples' noise one by one, so without its routine failures: these are what the share of hits is about.
        for second in range(20 + number):
            recorder.next_record += 100 * number  # seeds the noise's ids
            cases.noise(recorder, START + timedelta(seconds=1 + second), 1)
        data = write_evtx(recorder.events)
        assert len(data) > FILE_HEADER_SIZE + CHUNK_SIZE, "the events fill a chunk"
        made.append(_chunk(data[FILE_HEADER_SIZE : FILE_HEADER_SIZE + CHUNK_SIZE]))
    return tuple(made)


def _chunk(data: bytes) -> _Chunk:
    """Find what changes from copy to copy."""
    free, definition = struct.unpack_from("<I", data, 48)[0], CHUNK_HEADER_SIZE + 38
    ids, places, times = [], [], []
    at = CHUNK_HEADER_SIZE
    while at < free:
        values = at + 38 + _VALUES
        if at == CHUNK_HEADER_SIZE:  # the first record defines the template
            values += 24 + struct.unpack_from("<I", data, definition + 20)[0]
        ids.append((at + 8, values + _RECORD_ID))
        places.append((at + 16, values + _SYSTEM_TIME))
        times.append(struct.unpack_from("<Q", data, values + _SYSTEM_TIME)[0])
        at += struct.unpack_from("<I", data, at + 4)[0]
    guids = [match.start(1) for match in _GUID.finditer(data)]
    return _Chunk(np.frombuffer(data, np.uint8), free, *map(np.array, (ids, places, times, guids)))


def _copies(chunk: _Chunk, first: Longs, after: Longs, numbers: Longs) -> NDArray[np.uint8]:
    """Copies of a chunk, one for each first record id, time (milliseconds to add) and number (eight hex digits)."""
    made = np.tile(chunk.data, (len(first), 1))
    last = first + len(chunk.times) - 1
    ids = first[:, None] + np.arange(len(chunk.times))
    times = chunk.times + after[:, None] * _TICKS
    for places, values in ((chunk.ids, ids), (chunk.places, times)):
        for column in (0, 1):
            _put(made, places[:, column], values.astype("<u8").view(np.uint8).reshape(len(first), -1, 8))
    digits = _HEX[(numbers[:, None] >> np.arange(28, -1, -4)) & 15].view(np.uint8)
    _put(made, chunk.guids, np.repeat(digits[:, None], len(chunk.guids), axis=1))
    made[:, 8:40] = np.stack([first, last, first, last], axis=1).astype("<u8").view(np.uint8)
    for row in made:
        struct.pack_into("<I", row, 52, zlib.crc32(row[CHUNK_HEADER_SIZE : chunk.free]))
        struct.pack_into("<I", row, 124, zlib.crc32(row[128:CHUNK_HEADER_SIZE], zlib.crc32(row[:120])))
    return made


def _put(made: NDArray[np.uint8], places: Longs, values: NDArray[np.uint8]) -> None:
    """Write values of shape (copies, places, width) at the places of each copy."""
    width = values.shape[2]
    made[:, (places[:, None] + np.arange(width)).ravel()] = values.reshape(len(made), -1)


def _file_header(chunks: int, next_record: int) -> bytes:
    # The number of chunks has 16 bits; Windows lets it overflow in a log of more than 4 GB.
    numbers = (b"ElfFile\0", 0, chunks - 1, next_record, 128, 1, 3, FILE_HEADER_SIZE, chunks & 0xFFFF)
    start = struct.pack("<8sQQQIHHHH", *numbers).ljust(120, b"\0")
    return (start + struct.pack("<II", 0, zlib.crc32(start))).ljust(FILE_HEADER_SIZE, b"\0")
