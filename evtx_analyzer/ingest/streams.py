"""A source's bytes as they are read: opened, counted, and compared with those of its other readings.

A source is read two to four times. Meanwhile a share may go away, and a log may be written to, rotated or replaced.
Only the contents show that: on shares, dates and inode numbers change without the file, and they stay the same where a
file is overwritten in place. Every reading ends where the first one did, so that the digest is that of the bytes read,
also if something is appended later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import BinaryIO, NamedTuple, cast

from zlib_ng.zlib_ng import crc32  # five times as fast as zlib's

from evtx_analyzer.discover.hashing import LARGE, is_local_file
from evtx_analyzer.discover.read_ahead import Ahead
from evtx_analyzer.discover.source import Source
from evtx_analyzer.read.streams import read_into

_BLOCK = 1 << 20
Progress = Callable[[str, int], None]


class Contents(NamedTuple):
    """Number and CRC-32 of the bytes of one reading, by which readings are compared."""

    size: int
    crc: int


def silent(path: str, size: int) -> None:
    """Show no progress."""


def opened(source: Source, *, ahead: bool) -> BinaryIO:
    """Return the opened source; with ``ahead``, a thread of its own unpacks or fetches it where needed."""
    stream = source.open()
    if ahead and source.size >= LARGE and not is_local_file(stream) and not isinstance(stream, BytesIO):
        return cast("BinaryIO", Ahead(stream))
    return stream


def failure(stream: BinaryIO) -> str:
    """Return why a member of an archive ended too early; empty for files and whole members."""
    return str(getattr(stream, "failure", ""))


class WatchedStream:
    """The first ``size`` bytes of a source, read forwards; it reports progress and keeps what tells its contents.

    The source is opened at the first read, so that a failure to open it is one of reading.
    """

    def __init__(self, source: Source, size: int, progress: Progress, *, ahead: bool) -> None:
        self._source, self._size, self._progress, self._ahead = source, size, progress, ahead
        self._path = source.path
        self._position, self._crc = 0, 0
        self._is_open = False

    @cached_property
    def _stream(self) -> BinaryIO:
        stream = opened(self._source, ahead=self._ahead)
        self._is_open = True
        return stream

    @property
    def contents(self) -> Contents:
        """Size and checksum of what was read so far."""
        return Contents(self._position, self._crc)

    @property
    def failure(self) -> str:
        """Why a member of an archive ended too early; empty for files and whole members."""
        return failure(self._stream)

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes; fewer only at the end."""
        left = self._size - self._position
        data = self._stream.read(left if size < 0 else min(size, left))
        self._note(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as bytes come at once, and return how many."""
        part = buffer[: self._size - self._position]
        count = read_into(self._stream, part)
        self._note(part[:count])
        return count

    def finish(self) -> bool:
        """Read what a reader left; return whether more follows, which was appended meanwhile."""
        while self.read(_BLOCK):
            pass
        # One more read even at the end: only there does a member of an archive compare its checksum.
        return bool(self._stream.read(1))

    def close(self) -> None:
        """Close the stream."""
        if self._is_open:
            self._stream.close()

    def _note(self, data: bytes | memoryview) -> None:
        self._position += len(data)
        self._crc = crc32(data, self._crc)
        self._progress(self._path, len(data))
