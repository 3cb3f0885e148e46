"""Lines of a text log in any encoding, with number and byte offset, and the cells of a comma separated line."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.clock import DateOrder
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read.encoding import as_text, decode, guess

_BLOCK = 1 << 20
_MARK = "\ufeff"
_AROUND = "\r\n\0" + _MARK
_TELLING = 16
"""Bytes of a line that tell whether it is in another encoding than the file."""
LONGEST_LINE = 4 << 20
"""Bytes. The longest rows that were seen, of message tracking with thousands of recipients, have a tenth of that."""
_LONGEST_PREFIX = 300  # characters: a path and a line number, or quotation marks of mails
_TOO_LONG = re.compile(r"a-line-of-([0-9]{1,18})-bytes")


def long_line(size: int) -> str:
    """Return the word that ``lines`` yields in place of a line of more than ``LONGEST_LINE`` bytes."""
    return f"a-line-of-{size}-bytes"


def too_long(text: str, origin: Origin) -> Loss | None:
    """Return the loss for the word that ``lines`` yields in place of a line that is too long; else None."""
    size = _TOO_LONG.fullmatch(text)
    if size is None:
        return None
    reason = f"a line is longer than the {LONGEST_LINE:,} bytes that are read of one"
    return Loss(origin=origin, reason=reason, extent=f"1 line, {int(size[1]):,} bytes")


def lost_lines(numbered_lines: Iterable[tuple[int, int, str]], source: Origin) -> Iterator[Loss]:
    """Yield a loss for each line that is too long, for readers that skip lines they do not know."""
    for number, offset, text in numbered_lines:
        if (loss := too_long(text, replace(source, line=number, offset=offset))) is not None:
            yield loss


def lines(stream: BinaryIO) -> Iterator[tuple[int, int, str]]:
    """Yield number (from 1), byte offset and text of every line that is not empty.

    Lines end in LF, with or without CR; in CR alone where the file has no LF (Excel's "CSV (Macintosh)"). Byte order
    marks, and NULs behind a line, are dropped. In place of a line of more than ``LONGEST_LINE`` bytes comes
    a word that says its size and that no reader takes for a row: see ``too_long``.
    """
    head = stream.read(_BLOCK)
    encoding, start = guess(head)
    ending = ("\r" if ends_in_cr(head) else "\n").encode(encoding)
    buffer, base, number = head[start:], start, 0
    while True:
        if len(buffer) > LONGEST_LINE and _find_ending(buffer, ending, 0) < 0:
            size, buffer = skip_line(stream, len(buffer), ending)
            number += 1
            yield number, base, long_line(size)
            base += size + len(ending)
        block = stream.read(_BLOCK)
        position = 0
        for data in _ended(buffer, ending):
            for text, size in _texts(data, encoding):
                number += 1
                if text:
                    yield number, base + position, text
                position += size
            position += len(ending) - 1
        if not block:
            for text, size in _texts(buffer[position:], encoding):
                number += 1
                if text:
                    yield number, base + position, text
                position += size
            return
        # A crash leaves a tail of NULs, sometimes of many megabytes, which is no line and need not be kept in memory.
        buffer, base = without_nul_tail(buffer[position:]) + block, base + position


def _texts(data: bytes, encoding: str) -> Sequence[tuple[str, int]]:
    """Return the text of a line, and its bytes and one more.

    Several lines are returned for what another program appended to a file in UTF-16 with one byte a letter: it has none
    of the line ends that the file has. CR LF in two bytes would be U+0A0D, which is no letter.
    """
    if len(data) > LONGEST_LINE:
        return ((long_line(len(data)), len(data) + 1),)
    if encoding == "utf-8":
        return ((line_text(data, encoding), len(data) + 1),)
    begins = data[:_TELLING]
    narrow = len(begins) == _TELLING and begins.isascii() and b"\0" not in begins
    first, *appended = data.split(b"\n") if narrow or b"\r\n" in data else [data]
    text = line_text(first.removesuffix(b"\r") if appended else first, "utf-8" if narrow else encoding)
    return [(text, len(first) + 1), *((line_text(part, "utf-8"), len(part) + 1) for part in appended)]


def ends_in_cr(head: bytes) -> bool:
    """Return whether the lines of a file end in CR alone, as those of Excel's "CSV (Macintosh)" do."""
    return b"\r" in head and b"\n" not in head


def skip_line(stream: BinaryIO, size: int, ending: bytes) -> tuple[int, bytes]:
    """Read on to the end of a line of which ``size`` bytes were read; return its size and what follows it."""
    odd = b""  # in UTF-16, half a character that a block ends in
    while block := stream.read(_BLOCK):
        block = odd + block
        end = _find_ending(block, ending, 0)
        if end >= 0:
            return size + end, block[end + len(ending) :]
        whole = len(block) - len(block) % len(ending)
        size, odd = size + whole, block[whole:]
    return size + len(odd), b""


def without_nul_tail(buffer: bytes) -> bytes:
    """Return what was read behind the last line end; nothing if it is a long run of NULs."""
    return b"" if len(buffer) >= _BLOCK and not buffer.strip(b"\0") else buffer


def _ended(buffer: bytes, ending: bytes) -> Iterable[bytes]:
    """Return the lines of a buffer that have an end, without their ends."""
    if len(ending) == 1:
        complete_lines = buffer.split(ending)
        del complete_lines[-1]
        return complete_lines
    return _ended_wide(buffer, ending)


def _ended_wide(buffer: bytes, ending: bytes) -> Iterator[bytes]:
    position = 0
    while (end := _find_ending(buffer, ending, position)) >= 0:
        yield buffer[position:end]
        position = end + len(ending)


def _find_ending(buffer: bytes, ending: bytes, position: int) -> int:
    """Return where the next line end is, or -1; in UTF-16 only at an even distance, not inside characters."""
    end = buffer.find(ending, position)
    while end >= 0 and (end - position) % len(ending):
        end = buffer.find(ending, end + 1)
    return end


def line_text(data: bytes, encoding: str) -> str:
    """Return the text of a line; empty if it is blank. NULs before the text become a single one.

    A line with a NUL behind each letter is UTF-16, which PowerShell's ``>>`` appends to a file in any encoding.
    """
    if encoding == "utf-8" and b"\0" in data:
        core = data.strip(b"\0").rstrip(b"\r\0").removeprefix(codecs.BOM_UTF16_LE)
        data = core[::2] if len(core) >= _TELLING and not core[1::2].strip(b"\0") else data
    decoded = decode(data, encoding).rstrip(_AROUND)
    text = decoded.lstrip(_AROUND)
    if not text or text.isspace():
        return ""
    return f"\0{text}" if "\0" in decoded[: len(decoded) - len(text)] else text


def without_nuls(line: str, origin: Origin) -> tuple[str, tuple[Loss, ...]]:
    """Return the part of a line that can be read where NULs stand in it, and the loss; any other line as it is.

    Zeros in the middle of a log stand where a crash or a copy lost what was written: the row that they begin in is cut,
    and what follows them on the line is the end of another row. Behind zeros in front of it, a row is whole.
    """
    if "\0" not in line:
        return line, ()
    text = line[1:] if line.startswith("\0") else line.partition("\0")[0]
    return text, (Loss(origin=origin, reason="zeros stand where rows were written", extent="1 row or more"),)


def from_start(line: str, start: re.Pattern[str]) -> str:
    """Return a line from where its row or header starts: a mail or a search (``grep``) may have put text before it.

    What stands behind zeros is no such row: see ``without_nuls``.
    """
    match = None if start.match(line) or "\0" in line else start.search(line, 0, _LONGEST_PREFIX)
    return line if match is None else line[match.start() :].rstrip(" |")


def damaged_row(line: str, origin: Origin) -> Loss:
    """Return the loss for a row that has too few cells, or a quote that is not closed, or is too long to be read."""
    damage = Loss(origin=origin, reason="a row is cut or damaged", extent=f"1 row, {len(line)} characters")
    return too_long(line, origin) or damage


def surplus(origin: Origin) -> Loss:
    """Return the loss for a row with more cells than columns: its quotation marks were lost, or blanks were added."""
    what = "a row has more values than the header has columns"
    reason = f"{what}: another program changed it; give the log as the server wrote it"
    return Loss(origin=origin, reason=reason, extent="1 row, which may be read wrong")


def split_cells(line: str, delimiter: str = ",") -> list[str] | None:
    """Return the cells of one row; None where a quote is not closed because the row was cut."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def as_lines(head: bytes) -> list[str]:
    """Return the lines that are not empty among the first bytes of a file; the last one may be cut."""
    return [line for line in as_text(head).splitlines() if line.strip("\0 \t")]


_DATE = re.compile(r"\b(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})\b")
_MONTHS, _YEAR_DIGITS = 12, 4


def date_order(texts: Iterable[str]) -> DateOrder:
    """Return the order of day, month and year in examples of one culture; empty if all can be read in two ways.

    A year in front, a part above 12, or the dot of the German format decides. A date with ``AM`` or ``PM`` behind it is
    taken as one of the English (US) culture.
    """
    for text in texts:
        match = _DATE.search(text)
        if match is None:
            continue
        if len(match[1]) == _YEAR_DIGITS:
            return "ymd"
        if int(match[1]) > _MONTHS or match[2] == ".":
            return "dmy"
        if int(match[3]) > _MONTHS or re.search(r"\d\s?[AP]M\b", text):
            return "mdy"
    return ""
