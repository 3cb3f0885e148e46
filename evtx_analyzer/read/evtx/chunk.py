r"""Which records a 64 KiB chunk of an EVTX file holds, and which it should hold, without decoding any.

A chunk has a 512 byte header and then records, back to back. A record is ``**\0\0``, its size, its id, a FILETIME,
BinXML, and its size once more. The header says which ids follow and where free space begins, and has a checksum of
itself and one of the records (libyal, "Windows XML Event Log (EVTX)"). It counts twice: record *numbers* run on
through the file, record *ids* are the log's and have holes where an export was filtered. Only where both agree does
a missing id mean a lost record.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from Evtx.Evtx import ChunkHeader
from zlib_ng.zlib_ng import crc32

FILE_HEADER_SIZE = 0x1000
CHUNK_SIZE = 0x10000
HEADER_SIZE = 0x200
_SMALLEST = 28  # a record's frame takes that much
MOST_RECORDS = CHUNK_SIZE // _SMALLEST
MAGIC = b"ElfChnk\0"
RECORD_MAGIC = b"**\0\0"
_RECORD = struct.Struct("<4sIQQ")
_SIZE = struct.Struct("<I")
_SOUND_HEADER = struct.Struct("<8xQ8xQQ8xI")  # (magic), first number, (last), first and last id, (sizes), free space
_RECORD_START = re.compile(re.escape(RECORD_MAGIC))
ANY_ID = range(1, 1 << 62)
_UNUSED = bytes(CHUNK_SIZE)


class Head(NamedTuple):
    """A record's frame: where it stands in its chunk, and what its first 24 bytes say."""

    id: int
    at: int
    size: int
    filetime: int

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.at + self.size


class Gap(NamedTuple):
    """A place in a chunk where records should be: bytes that are no records, ids that are missing, or both."""

    at: int
    size: int
    ids: range


@dataclass(frozen=True)
class Promise:
    """What a chunk's header says: record ids, and record numbers; ``trusted`` where its checksum proves it."""

    ids: range
    numbers: range
    shift: int
    dense: bool
    free: int
    trusted: bool


@dataclass(frozen=True)
class Chunk:
    """One chunk that is accounted for; ``data`` is complete, with a header that leads a decoder to all ``heads``."""

    data: bytes
    promise: Promise
    heads: list[Head]
    gaps: list[Gap]
    faults: list[str]
    whole: bool  # with its magic and to its last byte, so that any fault is one of checksums

    @property
    def ids(self) -> range:
        """The ids that this chunk accounts for, read or lost."""
        known = [head.id for head in self.heads]
        if self.promise.trusted and self.promise.ids:
            known += [self.promise.ids[0], self.promise.ids[-1]]
        return range(min(known), max(known) + 1) if known else range(0)


def account(raw: bytes) -> Chunk | None:
    """Return the account of one chunk as it stands in the file; None if it was never used."""
    if not raw.startswith(MAGIC) and raw == _UNUSED[: len(raw)]:
        return None
    intact = raw.startswith(MAGIC) and len(raw) == CHUNK_SIZE
    whole = raw if intact else MAGIC + raw[len(MAGIC) :].ljust(CHUNK_SIZE - len(MAGIC), b"\0")
    header = ChunkHeader(whole, 0)
    records = raw if intact else whole[: len(raw)]
    promise = _promise(header)
    faults = list(_faults(raw, header, promise))
    if promise.trusted and not _believable(records, promise):
        promise = replace(promise, trusted=False)
        faults.append("the chunk header does not speak of the records in it")
    heads = _walk(records, promise)
    covered = list(_covered(records, heads, promise))
    if covered:
        heads = sorted([*heads, *covered], key=lambda head: head.at)
        faults.append("the size of a record reaches into the next one")
    decodable = not faults and _leads_to(heads, header, whole)
    return Chunk(
        data=whole if decodable else _repaired(whole, heads),
        promise=promise,
        heads=heads,
        gaps=list(_gaps(heads, promise)),
        faults=faults,
        whole=intact,
    )


def counted_chunk(raw: bytes) -> Chunk | None:
    """Return the account of a chunk that the first reading found sound, with ids that run without holes."""
    if len(raw) == CHUNK_SIZE and raw.startswith(MAGIC):
        numbers, first, last, free = _SOUND_HEADER.unpack_from(raw)
        if first in ANY_ID and first <= last < first + MOST_RECORDS and free <= CHUNK_SIZE:
            promise = dense_promise(first, last, first - numbers, free)
            heads = _unbroken(raw, free, promise.ids)
            if _as_promised(heads, promise):
                return Chunk(data=raw, promise=promise, heads=heads, gaps=[], faults=[], whole=True)
    return account(raw)  # it has changed meanwhile


def dense_promise(first: int, last: int, shift: int, free: int) -> Promise:
    """Return the promise of a sound chunk, or of several that follow each other, whose ids run without holes."""
    ids, numbers = range(first, last + 1), range(first - shift, last + 1 - shift)
    return Promise(ids, numbers, shift, dense=True, free=free, trusted=True)


def _promise(header: ChunkHeader) -> Promise:
    """Return what the chunk header says; without ids and numbers where these are implausible."""
    first, last = header.log_first_record_number(), header.log_last_record_number()
    begin, end = header.file_first_record_number(), header.file_last_record_number()
    plausible = 0 < first <= last < ANY_ID.stop and 0 <= end - begin < MOST_RECORDS
    return Promise(
        ids=range(first, last + 1) if plausible else range(0),
        numbers=range(begin, end + 1) if plausible else range(0),
        shift=first - begin,
        dense=last - first == end - begin,
        free=header.next_record_offset(),
        trusted=header.calculate_header_checksum() == header.header_checksum(),
    )


def _faults(raw: bytes, header: ChunkHeader, promise: Promise) -> Iterator[str]:
    if not raw.startswith(MAGIC):
        yield "the chunk's magic is damaged"
    if len(raw) < CHUNK_SIZE:
        yield f"only {len(raw):,} bytes of the chunk's {CHUNK_SIZE:,} are there"
    if not promise.trusted:
        yield "the chunk header's checksum is wrong"
    elif promise.free <= len(raw) and crc32(raw[HEADER_SIZE : promise.free]) != header.data_checksum():
        yield "the checksum of the chunk's records is wrong"


# ------------------------------------------------------------------------------------------------- records


def _walk(data: bytes, promise: Promise) -> list[Head]:
    """Return the records in order: each follows from the size of the one before, and after damage from a search.

    Behind free space a record counts only while the ids run on, as they do in a log that is still being written: other
    records there are remains of an older round of the ring.
    """
    end = promise.free if promise.trusted else len(data)
    ids = promise.ids if promise.trusted else _probable_ids(data)
    heads = _unbroken(data, end, ids)
    at, last = (heads[-1].end, heads[-1].id) if heads else (HEADER_SIZE, ids.start - 1)
    while (head := _next(data, at, last, end, ids)) is not None:
        heads.append(head)
        at, last = head.end, head.id
    return heads


def _unbroken(data: bytes, end: int, ids: range) -> list[Head]:
    """Return the records up to the first irregularity, as repeated ``_next`` would, in a third of the time."""
    heads: list[Head] = []
    at, last = HEADER_SIZE, ids.start - 1
    while at < end and (head := _head(data, at)) and last <= head[0] < ids.stop:
        heads.append(head)
        last = head[0]
        at += head[2]
    return heads


def _next(data: bytes, at: int, last: int, end: int, ids: range) -> Head | None:
    head = _head(data, at) or _head_with_one_size(data, at)
    if at >= end:
        return head if head and at > HEADER_SIZE and head.id == last + 1 else None
    if head and head.id in ids and head.id >= last:
        return head
    heads = (_head(data, match.start()) for match in _RECORD_START.finditer(data, at + 1, end))
    after = next((head for head in heads if head and head.id in ids and head.id > last), None)
    return _head_up_to(data, at, last + 1, after.at if after else end) or after


def _head_up_to(data: bytes, at: int, number: int, end: int) -> Head | None:
    """Return a record whose first size is damaged, if its second size fits where the next record begins."""
    if end - at < _SMALLEST or end > len(data) or _SIZE.unpack_from(data, end - _SIZE.size)[0] != end - at:
        return None
    magic, _, record_id, filetime = _RECORD.unpack_from(data, at)
    return Head(number, at, end - at, filetime) if (magic, record_id) == (RECORD_MAGIC, number) else None


def _covered(data: bytes, heads: list[Head], promise: Promise) -> Iterator[Head]:
    """Yield records with missing ids that lie inside the one before them, whose size is wrong."""
    if not promise.trusted or not promise.dense:
        return
    for before, after in pairwise([*heads, Head(promise.ids.stop, promise.free, 0, 0)]):
        last = before.id
        starts = _RECORD_START.finditer(data, before.at + 1, before.end) if after.id > last + 1 else ()
        for match in starts:
            head = _head(data, match.start()) or _frame(data, match.start())
            if head and last < head.id < after.id:
                yield head
                last = head.id


def _frame(data: bytes, at: int) -> Head | None:
    """Return a record's frame at this place, if its first size fits; the second one was overwritten."""
    if at + _RECORD.size > len(data):
        return None
    _, size, number, filetime = _RECORD.unpack_from(data, at)
    return Head(number, at, size, filetime) if _SMALLEST <= size <= len(data) - at else None


def _head(data: bytes, at: int) -> Head | None:
    """Return a record's frame at this place, if magic and both copies of the size are right."""
    if at + _RECORD.size > len(data):
        return None
    magic, size, number, filetime = _RECORD.unpack_from(data, at)
    if magic != RECORD_MAGIC or size < _SMALLEST or at + size > len(data):
        return None
    if _SIZE.unpack_from(data, at + size - _SIZE.size)[0] != size:
        return None
    return Head(number, at, size, filetime)


def _head_with_one_size(data: bytes, at: int) -> Head | None:
    """Return a record whose second size is damaged, if its first size leads to the next record."""
    head = _frame(data, at) if data.startswith(RECORD_MAGIC, at) else None
    after = _head(data, head.end) if head else None
    return head if head and after and after.id == head.id + 1 else None


def _believable(data: bytes, promise: Promise) -> bool:
    """Return whether a header with a correct checksum fits the records.

    It does not after a torn write, and in some edited files.
    """
    if not HEADER_SIZE <= promise.free <= CHUNK_SIZE:
        return False
    first = _head(data, HEADER_SIZE)
    if first is None or first.id in promise.ids or promise.free == HEADER_SIZE:
        return True
    return _median_id(data) in promise.ids


def _probable_ids(data: bytes) -> range:
    """Return the ids to expect where the header is damaged: those near the median of all likely records."""
    median = _median_id(data)
    return ANY_ID if median is None else range(max(1, median - MOST_RECORDS), median + MOST_RECORDS)


def _median_id(data: bytes) -> int | None:
    starts = (match.start() for match in _RECORD_START.finditer(data, HEADER_SIZE))
    ids = sorted(head.id for at in starts if (head := _head(data, at)))
    return ids[len(ids) // 2] if ids else None


# ------------------------------------------------------------------------------------------------- accounting


def _gaps(heads: list[Head], promise: Promise) -> Iterator[Gap]:
    """Yield what lies between adjacent records, and before and behind them where the header is trusted."""
    if _as_promised(heads, promise):
        return  # a short cut: what follows would find nothing
    for before, after in pairwise(_bounded(heads, promise)):
        size = max(0, after.at - before.end)
        ids = range(before.id + 1, after.id)
        if not (promise.dense if promise.trusted else len(ids) <= size // _SMALLEST):
            ids = range(0)
        if size or ids:
            yield Gap(before.end, size, ids)


def _as_promised(heads: list[Head], promise: Promise) -> bool:
    """Return whether the records have each promised id once, in order, back to back."""
    # The length is compared first: damage may make the range astronomic, and too long for a list.
    return (
        promise.ids.stop - promise.ids.start == len(heads)
        and [head.id for head in heads] == list(promise.ids)
        and sum(head.size for head in heads) == promise.free - HEADER_SIZE
    )


def _bounded(heads: list[Head], promise: Promise) -> list[Head]:
    """Return the records between two empty ones, which stand where a trusted header says that they begin and end."""
    if not promise.trusted:
        return [Head(heads[0].id - 1, HEADER_SIZE, 0, 0), *heads] if heads else []
    first, last = (promise.ids[0], promise.ids[-1]) if promise.ids else (1, 0)
    end = heads[-1] if heads else Head(first - 1, HEADER_SIZE, 0, 0)
    return [
        Head(first - 1, HEADER_SIZE, 0, 0),
        *heads,
        Head(max(last, end.id) + 1, max(promise.free, end.end), 0, 0),
    ]


def _leads_to(heads: list[Head], header: ChunkHeader, whole: bytes) -> bool:
    """Return whether sizes lead a decoder to each record, and the header to the last: free space and last id end it."""
    if heads and (header.next_record_offset(), header.log_last_record_number()) != (heads[-1].end, heads[-1].id):
        return False
    return all(_SIZE.unpack_from(whole, head.at + 4)[0] == head.size for head in heads)


def _repaired(whole: bytes, heads: list[Head]) -> bytes:
    """Return the chunk with a header and sizes that fit the records found, without its name and template tables.

    The tables are an index into the records, which is not needed to read them; ``evtx`` gives up a whole chunk for one
    entry that leads to damage.
    """
    data = bytearray(up_to(whole, heads[-1] if heads else Head(0, HEADER_SIZE, 0, 0)))
    data[128:HEADER_SIZE] = bytes(HEADER_SIZE - 128)  # both tables
    for head in heads:
        _SIZE.pack_into(data, head.at + 4, head.size)
    return bytes(data)


def up_to(whole: bytes, head: Head) -> bytes:
    """Return the chunk with a header that makes a decoder stop behind this record."""
    data = bytearray(whole)
    struct.pack_into("<Q", data, 32, head.id)  # last record id
    struct.pack_into("<I", data, 48, head.end)  # where free space begins
    return bytes(data)
