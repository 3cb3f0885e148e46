"""The source: a file, a member of an archive, an object of a store, or standard input."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, BinaryIO

from msgspec import Struct

from evtx_analyzer.model.origin import Origin, display_name


class Source(Struct, frozen=True, kw_only=True):
    """A named run of bytes that can be opened more than once; ``open`` returns a new stream at its start.

    ``origin`` names the file and, in an archive, the member. ``size`` is in bytes. ``fault`` is the reason why a source
    cannot be opened at all (an encrypted member, a damaged archive), empty for all others; ``extent`` is how much is
    lost by it.
    """

    origin: Origin
    size: int
    open: Callable[[], BinaryIO]
    fault: str = ""
    extent: str = "the whole file"

    @property
    def path(self) -> str:
        """The name that reports show: ``case.zip!SRV1/SEND1.LOG``."""
        return display_name(self.origin)


def faulty(origin: Origin, size: int, fault: str, extent: str = "the whole file") -> Source:
    """Return a source that cannot be read; its ``open`` raises OSError with the fault."""

    def refuse() -> BinaryIO:
        raise OSError(fault)

    return Source(origin=origin, size=size, open=refuse, fault=fault, extent=extent)


class View(io.RawIOBase):
    """A stream over a file that others read too, with a position of its own; while it is open, ``owner`` lives."""

    def __init__(self, file: IO[bytes], owner: object = None) -> None:
        self._file, self._owner, self._position = file, owner, 0

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: it can be moved."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  any writable buffer, as io has it
        """Fill a buffer, and return how many bytes came."""
        self._file.seek(self._position)
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = (self._file.seek(0, io.SEEK_END) if base is None else base) + offset
        return self._position

    def tell(self) -> int:
        """Return the place."""
        return self._position
