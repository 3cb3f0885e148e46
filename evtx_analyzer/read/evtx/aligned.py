"""The chunks of an EVTX file as they stand in it, also where they do not stand where they should.

A chunk takes 64 KiB and the first one follows the file header of 4 KiB. Bytes that were lost or put in (a transfer in
text mode, a bad sector left out, chunks carved from a disk without their header) move all that follows. So where the
next chunk is not in its place, the bytes up to there are searched for a chunk header that its own checksum proves; what
lies before it is given as a chunk that is too short. A sound chunk is never cut: its records may quote a chunk header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from zlib_ng.zlib_ng import crc32

from evtx_analyzer.read.evtx.chunk import CHUNK_SIZE, FILE_HEADER_SIZE, HEADER_SIZE
from evtx_analyzer.read.streams import read_into

MAGIC = b"ElfChnk\0"
LOOK = len(MAGIC)
"""Bytes of a buffer behind its chunks: whether the next one is in its place."""
BLOCK = 16 * CHUNK_SIZE  # bytes read at a time: they stay in a core's own cache while they are looked at
_CHECKSUMS = struct.Struct("<48xII68xI")  # of a chunk header: free space, checksum of the records, of the header


def fill(stream: BinaryIO, buffer: memoryview) -> int:
    """Fill a buffer, and return how much of it; a member of an archive may give less than it was asked for."""
    size = 0
    while size < len(buffer) and (more := read_into(stream, buffer[size:])):
        size += more
    return size


def file_header(stream: BinaryIO) -> tuple[bytes, bytes]:
    """The file header, and what was read behind it; the header is shorter where chunks begin before its end."""
    buffer = memoryview(bytearray(FILE_HEADER_SIZE + HEADER_SIZE))
    head = bytes(buffer[: fill(stream, buffer)])
    at = FILE_HEADER_SIZE
    if not head.startswith(MAGIC, FILE_HEADER_SIZE):
        found = first_header(head, 0, FILE_HEADER_SIZE)
        at = 0 if head.startswith(MAGIC) else FILE_HEADER_SIZE if found is None else found
    return head[:at], head[at:]


def first_header(data: bytes | memoryview, start: int, stop: int) -> int | None:
    """Where the first chunk header begins between two places that its checksum proves; None if there is none."""
    window = bytes(data[start : stop + LOOK - 1])
    at = window.find(MAGIC)
    while at >= 0:
        if is_header(data, start + at):
            return start + at
        at = window.find(MAGIC, at + 1)
    return None


def is_header(data: bytes | memoryview, at: int) -> bool:
    """Whether a chunk header stands here, complete and with the right checksum of itself."""
    header = data[at : at + HEADER_SIZE]
    if len(header) < HEADER_SIZE or bytes(header[:LOOK]) != MAGIC:
        return False
    return bool(crc32(header[128:], crc32(header[:120])) == _CHECKSUMS.unpack_from(header)[2])


def is_sound(data: bytes | memoryview, at: int = 0) -> bool:
    """Whether a whole chunk stands here whose checksums are both right."""
    if len(data) < at + CHUNK_SIZE or not is_header(data, at):
        return False
    free, checksum, _ = _CHECKSUMS.unpack_from(data, at)
    return HEADER_SIZE <= free <= CHUNK_SIZE and bool(crc32(data[at + HEADER_SIZE : at + free]) == checksum)


def new_buffer() -> memoryview:
    """A buffer for ``chunk_blocks``."""
    return memoryview(bytearray(BLOCK + LOOK))


def chunk_blocks(
    stream: BinaryIO, rest: bytes, offset: int, buffers: Iterable[memoryview]
) -> Iterator[tuple[memoryview, int]]:
    """Chunks that follow on each other, some at a time, and where they begin in the file; only the last may be short.

    ``rest`` was read before, ``offset`` is its place. Each block stays valid until its buffer comes again.
    """
    for buffer in buffers:
        buffer[: len(rest)] = rest
        size = len(rest) + fill(stream, buffer[len(rest) :])
        if not size:
            return
        data, used = buffer[:size], 0
        for start, stop in _runs(data, ended=size < len(buffer)):
            yield data[start:stop], offset + start
            used = stop
        rest, offset = bytes(data[used:]), offset + used


def _runs(data: memoryview, *, ended: bool) -> Iterator[tuple[int, int]]:
    """Where runs of chunks begin and end, as far as the bytes tell; more may follow unless the file has ``ended``."""
    start = at = 0
    while at < len(data) and (ended or at + CHUNK_SIZE + LOOK <= len(data)):
        end = at + CHUNK_SIZE
        if data[end : end + LOOK] == MAGIC or is_sound(data, at):
            at = end
            continue
        found = first_header(data, at + 1, min(end, len(data)))
        if found is None:
            at = min(end, len(data))
            continue
        if start < at:
            yield start, at
        yield at, found
        start = at = found
    if start < at:
        yield start, min(at, len(data))


def chunks_of(block: memoryview, offset: int) -> Iterator[tuple[memoryview, int]]:
    """The chunks of a block, and where each begins in the file."""
    for at in range(0, len(block), CHUNK_SIZE):
        yield block[at : at + CHUNK_SIZE], offset + at
