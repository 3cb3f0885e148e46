"""What the reader of an archive yields: its members, and its faults."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from evtx_analyzer.discover.archive.limits import Raw

_DRIVE = re.compile(r"[A-Za-z]:")


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


def slashes(name: str) -> str:
    """Return the name of a member with forward slashes, and without characters that UTF-8 cannot encode."""
    name = name.replace("\\", "/").removeprefix("./")
    return name.encode("utf-8", "replace").decode()


def unsafe(name: str) -> str:
    """Return what is wrong with the name of a member, empty if nothing is; the name has forward slashes.

    No member is ever written, but an archive with names that lead out of its folder was made to do harm.
    """
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        return "its name leads out of the archive's folder; it is not read"
    return "" if name.strip() else "it has no name"
