"""The chunks of an EVTX file, also where they do not stand where they should.

A chunk takes 64 KiB and the first one follows the file header of 4 KiB. Bytes that were lost or added (a transfer in
text mode, a bad sector left out, chunks carved from a disk without their header) move all that follows. So where the
next chunk is not in its place, the bytes up to there are searched for a chunk header with a correct checksum; what
lies before it becomes a chunk that is too short. A sound chunk is never cut: its records may quote a chunk header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from zlib_ng.zlib_ng import crc32

from evtx_analyzer.read.evtx.chunk import CHUNK_SIZE, FILE_HEADER_SIZE, HEADER_SIZE, MAGIC
from evtx_analyzer.read.streams import read_into

LOOK = len(MAGIC)
"""Bytes of a buffer behind its chunks, which show whether the next chunk is in its place."""
BLOCK = 16 * CHUNK_SIZE  # bytes read at a time: they stay in a core's own cache while they are looked at
_CHECKSUMS = struct.Struct("<48xII68xI")  # of a chunk header: free space, checksum of the records, of the header


def fill(stream: BinaryIO, buffer: memoryview) -> int:
    """Fill a buffer, and return how many bytes it holds; a member of an archive may return fewer than asked for."""
    size = 0
    while size < len(buffer) and (more := read_into(stream, buffer[size:])):
        size += more
    return size


def file_header(stream: BinaryIO) -> tuple[bytes, bytes]:
    """Return the file header and what was read behind it; the header is short where chunks begin early."""
    buffer = memoryview(bytearray(FILE_HEADER_SIZE + HEADER_SIZE))
    head = bytes(buffer[: fill(stream, buffer)])
    at = FILE_HEADER_SIZE
    if not head.startswith(MAGIC, FILE_HEADER_SIZE):
        first = first_header(head, 0, FILE_HEADER_SIZE)
        at = 0 if head.startswith(MAGIC) else FILE_HEADER_SIZE if first is None else first
    return head[:at], head[at:]


def first_header(data: bytes | memoryview, start: int, stop: int) -> int | None:
    """Return where the first chunk header with a correct checksum begins between two places; None if none does."""
    window = bytes(data[start : stop + LOOK - 1])
    at = window.find(MAGIC)
    while at >= 0:
        if is_header(data, start + at):
            return start + at
        at = window.find(MAGIC, at + 1)
    return None


def is_header(data: bytes | memoryview, at: int) -> bool:
    """Return whether a complete chunk header with a correct checksum of itself begins here."""
    header = data[at : at + HEADER_SIZE]
    if len(header) < HEADER_SIZE or bytes(header[:LOOK]) != MAGIC:
        return False
    # The checksum leaves out bytes 120 to 127: flags and itself.
    return bool(crc32(header[128:], crc32(header[:120])) == _CHECKSUMS.unpack_from(header)[2])


def is_sound(data: bytes | memoryview, at: int = 0) -> bool:
    """Return whether a whole chunk begins here whose checksums are both right."""
    if len(data) < at + CHUNK_SIZE or not is_header(data, at):
        return False
    free, checksum, _ = _CHECKSUMS.unpack_from(data, at)
    return HEADER_SIZE <= free <= CHUNK_SIZE and bool(crc32(data[at + HEADER_SIZE : at + free]) == checksum)


def new_buffer() -> memoryview:
    """Return a buffer for ``chunk_blocks``."""
    return memoryview(bytearray(BLOCK + LOOK))


def chunk_blocks(
    stream: BinaryIO, read_ahead: bytes, offset: int, buffers: Iterable[memoryview]
) -> Iterator[tuple[memoryview, int]]:
    """Yield runs of adjacent chunks, and where each run begins in the file; only a run's last chunk may be short.

    ``read_ahead`` are bytes that were read before, ``offset`` is where they begin. A block is valid until its buffer is
    used again.
    """
    for buffer in buffers:
        buffer[: len(read_ahead)] = read_ahead
        size = len(read_ahead) + fill(stream, buffer[len(read_ahead) :])
        if not size:
            return
        data, used = buffer[:size], 0
        for start, stop in _runs(data, ended=size < len(buffer)):
            yield data[start:stop], offset + start
            used = stop
        read_ahead, offset = bytes(data[used:]), offset + used


def _runs(data: memoryview, *, ended: bool) -> Iterator[tuple[int, int]]:
    """Yield where runs of chunks begin and end; the last may go on in bytes to come unless the file has ``ended``."""
    start = place = 0
    while place < len(data) and (ended or place + CHUNK_SIZE + LOOK <= len(data)):
        end = place + CHUNK_SIZE
        if data[end : end + LOOK] == MAGIC or is_sound(data, place):
            place = end
            continue
        header = first_header(data, place + 1, min(end, len(data)))
        if header is None:
            place = min(end, len(data))
            continue
        if start < place:
            yield start, place
        yield place, header
        start = place = header
    if start < place:
        yield start, min(place, len(data))


def chunks_of(block: memoryview, offset: int) -> Iterator[tuple[memoryview, int]]:
    """Yield the chunks of a block, and where each begins in the file."""
    for at in range(0, len(block), CHUNK_SIZE):
        yield block[at : at + CHUNK_SIZE], offset + at
