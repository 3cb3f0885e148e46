"""Fill a buffer from any stream, whether it has ``readinto`` or only ``read``."""

from __future__ import annotations

from typing import BinaryIO


def read_into(stream: BinaryIO, view: memoryview) -> int:
    """Read into a buffer, and return how many bytes came at once; some members of archives have no ``readinto``."""
    if hasattr(stream, "readinto"):
        size: int = stream.readinto(view)
        return size
    data = stream.read(len(view))
    view[: len(data)] = data
    return len(data)
