"""Which encoding a text export has: the byte order mark, then the pattern of NULs, never the declaration.

Declarations lie: ``([xml]$_.ToXml()).Save([Console]::Out)`` writes ``encoding="IBM437"`` over UTF-8 or UTF-16 text, and
Windows PowerShell's ``>`` turns any output into UTF-16. What decides here (hex, names, times) is ASCII in all of them.
"""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ENOUGH = 0.3  # share of NULs among every other byte: text of Western languages has nearly 1, in UTF-8 none
_HIGH = re.compile(rb"[\x80-\xff]+")
_SAMPLE = 1024
_SEVERAL = 4  # bytes, two Chinese letters


def guess(head: bytes) -> tuple[str, int]:
    """Return the encoding of a file that begins with ``head``, and the length of its byte order mark.

    ``head`` should have 512 bytes or more. The encoding is ``utf-8``, or UTF-16 or UTF-32 with its order of bytes;
    where bytes are not valid UTF-8, ``decode`` reads that line or event as Windows-1252. UTF-32 is known by its mark
    only, which ``Out-File -Encoding UTF32`` writes.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    sample = head[:_SAMPLE].rstrip(b"\0")
    if len(sample) > 1:
        if sample[1::2].count(0) > _ENOUGH * len(sample) / 2:
            return "utf-16-le", 0
        if sample[0::2].count(0) > _ENOUGH * len(sample) / 2:
            return "utf-16-be", 0
    return "utf-8", 0


def _gb2312(data: bytes) -> str | None:
    """Return a line of code page 936 as text; None if it is in another code page.

    All letters beyond ASCII in it are pairs of bytes from A1 to FE, several in a row; words of Western languages have
    at most two such letters next to each other.
    """
    runs = _HIGH.findall(data)
    if not any(len(run) >= _SEVERAL for run in runs) or any(len(run) % 2 for run in runs):
        return None
    try:
        return data.decode("gb2312")
    except UnicodeDecodeError:
        return None


def decode(data: bytes, encoding: str) -> str:
    """Return ``data`` as text, and never fail: what is not valid in ``encoding`` is read as Windows-1252.

    Chinese lines (code page 936) are recognized. Bytes that Windows-1252 does not have come from a console (``wevtutil
    qe > file``), and are read as its code page 850.
    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            return data.decode(encoding, errors="replace")
    if (east_asian := _gb2312(data)) is not None:
        return east_asian
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("cp850", errors="replace")


def as_text(data: bytes) -> str:
    """Return a file, or its first bytes, as text without byte order mark; lines that end in CR alone end in LF."""
    encoding, mark = guess(data[:_SAMPLE])
    text = decode(data[mark:], encoding).lstrip("\ufeff")
    return text if "\n" in text else text.replace("\r", "\n")
