"""The source: a file, a member of an archive, an object of a store, or standard input."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast

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
    return Source(origin=origin, size=size, open=lambda: cast("BinaryIO", _refuse(fault)), fault=fault, extent=extent)


def _refuse(fault: str) -> None:
    raise OSError(fault)
