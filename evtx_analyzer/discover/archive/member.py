"""What the reader of an archive gives: its members, and in words what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from evtx_analyzer.discover.archive.limits import Raw


class Entry(Struct, frozen=True, kw_only=True):
    """One member as the archive's directory describes it; ``open`` gives its bytes, or ``fault`` says why it cannot.

    ``size`` and ``packed`` are what the directory promises; ``crc`` is the CRC-32 of the whole member where the
    archive has one that nothing else checks.
    """

    name: str
    size: int
    open: Callable[[], Raw]
    packed: int | None = None
    crc: int | None = None
    fault: str = ""


Found = Entry | str
"""A member, or in words what is wrong with the archive as a whole."""
