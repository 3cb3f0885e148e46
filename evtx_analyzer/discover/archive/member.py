"""What the reader of an archive yields: its members, and its faults."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from evtx_analyzer.discover.archive.limits import Raw


class Entry(Struct, frozen=True, kw_only=True):
    """One member as the directory of the archive describes it; ``fault`` is the reason why it cannot be read, or empty.

    ``open`` returns a stream of its bytes. ``size`` and ``packed`` are what the directory says, in bytes. ``crc`` is
    the CRC-32 of the whole member, where the archive has one that the library does not check.
    """

    name: str
    size: int
    open: Callable[[], Raw]
    packed: int | None = None
    crc: int | None = None
    fault: str = ""


Found = Entry | str
"""A member, or a fault of the archive as a whole, in words."""
