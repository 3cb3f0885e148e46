"""Copies: sources with the same rows, and a source that holds the same contents several times over.

Logs come twice, as the file and in an archive, saved again with other line ends, or as UTF-16, and a file to which the
same logs were appended again holds them twice. Nothing of that may count twice.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

_BLOCK = 1 << 18
_MANY = 20
_TIMES = (2, 3)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_WRITTEN_ONLY = b"\r\0"
"""What differs between copies of one text that were saved with other line ends, or as UTF-16 (ASCII letters)."""


def rows_digest(text: bytes) -> str:
    """Return a digest of a text without its byte order mark and with equal line ends, in hex."""
    mark = next((mark for mark in _MARKS if text.startswith(mark)), b"")
    return hashlib.blake2b(text.removeprefix(mark).translate(None, _WRITTEN_ONLY), digest_size=20).hexdigest()


def first_of(stream: BinaryIO, size: int, *, headless: bool = False) -> int:
    """Return the length of what the ``size`` bytes of a stream are a repetition of; 0 where they repeat nothing.

    A few ``headless`` rows may be alike because two mails of one second are.
    """
    for times in _TIMES:
        part, rest = divmod(size, times)
        if part and not rest and _repeats(stream, part, size):
            stream.seek(0)
            few = headless and stream.read(min(part, _BLOCK)).count(b"\n") < _MANY
            return 0 if few else part
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
