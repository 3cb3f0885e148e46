"""Chunks of an EVTX file as they come from a stream, some megabytes at a time.

The file is read into one buffer that is used again: memory stays flat, and nothing is copied that is not decoded. It is
not mapped: members of archives cannot be, a mapped file that is cut off while it is read ends the process (SIGBUS), on
Windows it could not be moved or deleted meanwhile, and copying out of the page cache costs a fifth of what is done
with the bytes.

Large files are worth importing numpy for; smaller ones go one chunk at a time, with the same result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, BinaryIO

from evtx_analyzer.read.evtx_chunks import CHUNK_SIZE
from evtx_analyzer.read.evtx_needles import Needles, Test
from evtx_analyzer.read.streams import read_into

if TYPE_CHECKING:
    from evtx_analyzer.read.evtx_batches import Run
    from evtx_analyzer.read.evtx_counting import Counter

BLOCK = 8 << 20
"""Bytes. The more chunks are walked at once the less a step costs for each; with twice as much it leaves the cache."""
SEARCH_BLOCK = 1 << 20
"""Bytes. What is only searched does so fastest while it is in a core's own cache."""
LARGE = 8 << 20
"""Bytes. Importing numpy takes as long as counting and searching so much without it."""
_PADDING = CHUNK_SIZE


class Block:
    """Some chunks in a row; valid until the next one is asked for.

    ``chunks`` of them, the last of which may be cut off; ``offset`` is where the first stands in the file; ``many``
    says whether they are to be handled at once.
    """

    def __init__(self, buffer: bytes | bytearray, size: int, offset: int, *, many: bool) -> None:
        self._buffer, self._size, self._many = buffer, size, many
        self.offset, self.chunks = offset, -(-size // CHUNK_SIZE)

    def chunk(self, place: int) -> bytes:
        """The bytes of one chunk; fewer than 64 KiB where the file ends inside of it."""
        return bytes(memoryview(self._buffer)[place * CHUNK_SIZE : min(self._size, (place + 1) * CHUNK_SIZE)])

    def holding(self, test: Test) -> Collection[int]:
        """Which chunks pass the test."""
        if self._many and isinstance(test, Needles) and test.sampled:
            return test.among(memoryview(self._buffer)[: self._size])
        return {place for place in range(self.chunks) if test(self.chunk(place))}

    def counted(self, counter: Counter) -> list[Run]:
        """Runs of chunks that can be counted at once; the others are to be tried one by one."""
        if not (self._many and isinstance(self._buffer, bytearray)):
            return []
        # Numpy takes a tenth of a second to import.
        from evtx_analyzer.read.evtx_batches import count_block  # noqa: PLC0415

        return count_block(counter, self._buffer, self._size, self.offset)


def blocks(stream: BinaryIO, offset: int, most: int) -> Iterator[Block]:
    """The rest of a stream, which stands at ``offset``, in blocks of ``most`` bytes but the last."""
    first = filled(stream, SEARCH_BLOCK)
    if len(first) < SEARCH_BLOCK:
        yield Block(first, len(first), offset, many=False)
        return
    buffer = bytearray(most + _PADDING)
    view = memoryview(buffer)[:most]
    view[:SEARCH_BLOCK] = first
    size, many = SEARCH_BLOCK + _fill(stream, view[SEARCH_BLOCK:]), False
    while size:
        many = many or size >= min(LARGE, most)
        yield Block(buffer, size, offset, many=many)
        offset += size
        size = _fill(stream, view) if size == most else 0


def filled(stream: BinaryIO, size: int) -> bytes:
    """That many bytes, or all that are left; an archive member may give less than it was asked for."""
    data = stream.read(size)
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _fill(stream: BinaryIO, view: memoryview) -> int:
    size = 0
    while size < len(view) and (more := read_into(stream, view[size:])):
        size += more
    return size
