"""Copies: sources with the same rows, and a source that holds the same contents several times over.

Logs come twice, as the file and in an archive, saved again with other line ends, or as UTF-16, and a file to which the
same logs were appended again holds them twice. Nothing of that may count twice.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

_BLOCK = 1 << 18
_TIMES = (2, 3)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_WRITTEN_ONLY = b"\r\0"
"""What differs between copies of one text that were saved with other line ends, or as UTF-16 (ASCII letters)."""


class RowsDigest:
    """The digest of a text without its byte order mark, with equal line ends."""

    def __init__(self) -> None:
        self._digest, self._begun = hashlib.blake2b(digest_size=20), False

    def update(self, block: bytes) -> None:
        """Add the next bytes."""
        if not self._begun:
            mark = next((mark for mark in _MARKS if block.startswith(mark)), b"")
            block, self._begun = block.removeprefix(mark), True
        self._digest.update(block.translate(None, _WRITTEN_ONLY))

    def hexdigest(self) -> str:
        """Return the digest in hex."""
        return self._digest.hexdigest()


def first_of(stream: BinaryIO, size: int) -> int:
    """Return the length of what the ``size`` bytes of a stream are a repetition of; 0 where they repeat nothing."""
    for times in _TIMES:
        part, rest = divmod(size, times)
        if part and not rest and _repeats(stream, part, size):
            return part
    return 0


def _repeats(stream: BinaryIO, part: int, size: int) -> bool:
    """Return whether every byte of a stream equals the one ``part`` bytes before it."""
    at, length = part, 64  # most files differ in their first row already
    while at < size:
        stream.seek(at - part)
        before = stream.read(min(length, size - at))
        stream.seek(at)
        if not before or stream.read(len(before)) != before:
            return False
        at, length = at + len(before), _BLOCK
    return True
