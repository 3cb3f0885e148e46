"""What the maker of an input knows of it, so that an answer can be held against it."""

from __future__ import annotations

from typing import NamedTuple


class Facts(NamedTuple):
    """Bytes; sessions and those refused; replies that refuse (one for each recipient); records of all logs (events,
    rows); chunks and those that hold a failure of mail's kind; the cause that the verdict must name.
    """

    size: int = 0
    sessions: int = 0
    refused: int = 0
    rejections: int = 0
    records: int = 0
    chunks: int = 0
    hits: int = 0
    cause: str | None = None
