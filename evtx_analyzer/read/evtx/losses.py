"""What the header of an EVTX file promises, and the losses that follow where its chunks do not keep it.

Layout of the file header: libyal, "Windows XML Event Log (EVTX)".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from Evtx.Evtx import FileHeader
from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read.evtx.aligned import is_sound
from evtx_analyzer.read.evtx.chunk import ANY_ID, CHUNK_SIZE, FILE_HEADER_SIZE, Chunk, account

_OVERWRITTEN = "a chunk was overwritten: the record numbers before and after it show that these records are missing"


class LogAccount:
    """What the file as a whole promises, and what its chunks account for so far."""

    def __init__(self, source: Origin, raw_header: bytes, *, bare: bool = False) -> None:
        """Begin with the file header; ``bare`` says that chunks follow it, however short it is."""
        self._source, self._bare = source, bare
        self._length = len(raw_header)
        self._header = FileHeader(raw_header.ljust(FILE_HEADER_SIZE, b"\0"), 0)
        self._dirty = self._header.is_dirty()
        self._sound = self._header.check_magic() and self._header.calculate_checksum() == self._header.checksum()
        self._chunks = 0
        self._certain = True
        self._shifts: set[int] = set()
        self._numbers: list[range] = []
        self._known: set[bytes] = set()
        self._ranges: list[range] = []
        self._newest: tuple[int, Loss | None] = (0, None)

    def header_losses(self) -> Iterator[Loss]:
        """Yield a loss if something is wrong with the file header."""
        if self._length < FILE_HEADER_SIZE and self._bare:
            reason = "the file header is cut or missing, as it is where chunks were carved from a disk"
            yield self._loss(0, reason, f"{self._length:,} of {FILE_HEADER_SIZE:,} bytes are there, 0 records lost")
        elif self._length < FILE_HEADER_SIZE:
            missing = f"{self._length:,} bytes of a file header of {FILE_HEADER_SIZE:,}, no record"
            yield self._loss(0, "the file ends inside its header", missing)
        elif not self._header.check_magic():
            yield self._loss(0, "the file header's magic is damaged", "0 records lost")
        elif not self._sound:
            yield self._loss(0, "the file header's checksum is wrong", "0 records lost")

    def is_copy(self, raw: bytes | memoryview) -> bool:
        """Return whether the same sound chunk came before; a copy is counted among the file's chunks here.

        An overwritten chunk may hold a copy of another one, whose records count once.
        """
        copied = len(raw) == CHUNK_SIZE and _identity(raw) in self._known and is_sound(raw)
        self._chunks += copied
        return copied

    def remember(self, raw: bytes | memoryview) -> None:
        """Remember a chunk whose checksums are right."""
        self._known.add(_identity(raw))

    def account(self, raw: bytes) -> Chunk | None:
        """Return the account of a chunk, and remember it if it is sound; None if it was never used."""
        chunk = account(raw)
        if chunk is not None and not chunk.faults:
            self.remember(raw)
        return chunk

    def chunk_losses(self, chunk: Chunk, offset: int, chunks: int = 1) -> Iterator[Loss]:
        """Yield the chunk's faults as one loss, and one more per gap between its records.

        A run of several ``chunks`` without a fault, whose ids run on, may be passed as if it were one chunk.
        """
        self._chunks += chunks
        self._enter(chunk)
        loss = self._loss(offset, "; ".join(chunk.faults), _extent(chunk)) if chunk.faults else None
        yield from self._unless_live(chunk, loss)
        for gap in chunk.gaps:
            reason = "damaged bytes between records" if gap.size else "records are missing"
            records = _count(len(gap.ids)) if gap.ids else "no whole record known"
            yield self._loss(offset + gap.at, reason, f"{records}, {gap.size:,} bytes", gap.ids)

    def _enter(self, chunk: Chunk) -> None:
        """Add what a chunk accounts for: its record numbers, its ids, and how far these two are apart."""
        promise, ids = chunk.promise, chunk.ids
        self._certain = self._certain and promise.trusted
        if promise.trusted and promise.numbers:
            self._numbers.append(promise.numbers)
        if promise.trusted:
            self._shifts.add(promise.shift if promise.dense else -1)
        if ids and self._ranges and self._ranges[-1].stop == ids.start:
            self._ranges[-1] = range(self._ranges[-1].start, ids.stop)
        elif ids:
            self._ranges.append(ids)

    def _unless_live(self, chunk: Chunk, loss: Loss | None) -> Iterator[Loss]:
        """Yield the loss, but hold back that of the newest chunk of a log which Windows was still writing.

        Windows brings the checksums of that chunk up to date later. Which chunk is the newest shows only at the end.
        """
        newest, held = self._newest
        if self._dirty and chunk.whole and chunk.ids.stop > newest:
            self._newest, loss = (chunk.ids.stop, loss), held
        if loss:
            yield loss

    def final_losses(self) -> Iterator[Loss]:
        """Yield the ids that no chunk accounts for, where chunks are missing or could not be trusted.

        A hole is no loss by itself: a filtered export has them, and so has a log whose ring was turned.
        """
        missing = max(0, self._header.chunk_count() - self._chunks) if self._sound else 0
        if not missing and self._certain:
            yield from self._overwritten()
            return
        if missing:
            lost = f"{missing} of {self._header.chunk_count()} chunks, {missing * CHUNK_SIZE:,} bytes"
            yield self._loss(None, "the file holds fewer chunks than its header says", lost)
        for hole in self._holes():
            yield self._loss(None, "no chunk holds these records", _count(len(hole)), hole)

    def _overwritten(self) -> Iterator[Loss]:
        """Yield losses for runs of record numbers that no chunk has though all chunks are sound: they were overwritten.

        Numbers run on through the file, also where an export was filtered and ids have holes.
        """
        if self._dirty:
            return
        ordered = sorted(self._numbers, key=lambda numbers: numbers.start)
        # An older copy of a chunk ends before the newer one does.
        ends = accumulate((numbers.stop for numbers in ordered), max)
        for end, after in zip(ends, ordered[1:], strict=False):
            hole = range(end, after.start)
            if hole:
                (shift,) = self._shifts if len(self._shifts) == 1 and -1 not in self._shifts else (None,)
                ids = range(0) if shift is None else range(hole.start + shift, hole.stop + shift)
                yield self._loss(None, _OVERWRITTEN, _count(len(hole)), ids)

    def _holes(self) -> Iterator[range]:
        """Yield the runs of ids that no chunk has, up to the next id that the file header names."""
        if len(self._shifts) > 1 or -1 in self._shifts:
            return  # a filtered export: ids that are missing were never in it
        end = self._header.next_record_number() if self._sound else 0
        end = end if end in ANY_ID else 0
        ranges = sorted(self._ranges, key=lambda ids: ids.start)
        at = ranges[0].start if ranges else end  # without any chunk it is not known where a ring began
        for ids in [*ranges, range(end, end)]:
            if ids.start > at:
                yield range(at, ids.start)
            at = max(at, ids.stop)

    def _loss(self, offset: int | None, reason: str, extent: str, ids: range = range(0)) -> Loss:
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        origin = replace(self._source, record=first, offset=offset)
        return Loss(origin=origin, reason=reason, extent=extent, first_record=first, last_record=last)


def _identity(raw: bytes | memoryview) -> bytes:
    """Return what differs between sound chunks: the checksums of records and header; the latter covers the ids."""
    return bytes(raw[52:56]) + bytes(raw[124:128])


def _extent(chunk: Chunk) -> str:
    """Return how much a damaged chunk cost, as far as that can be known without decoding it."""
    lost, read = sum(len(gap.ids) for gap in chunk.gaps), len(chunk.heads)
    if not read and not lost:
        return f"{CHUNK_SIZE:,} bytes, no record found"
    complete = not chunk.gaps and chunk.promise.ids == range(chunk.heads[0].id, chunk.heads[-1].id + 1)
    if chunk.promise.trusted or complete:
        return f"{lost} of {read + lost} records lost"
    return f"{read} records found, {lost} known to be lost"


def _count(records: int) -> str:
    return "1 record" if records == 1 else f"{records:,} records"
