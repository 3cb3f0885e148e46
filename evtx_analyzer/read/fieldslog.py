"""Text logs that name their columns in a ``#Fields:`` row: Exchange protocol logs and IIS W3C extended logs.

Exchange (protocol-logging.md in OfficeDocs-Exchange, and files seen): comma separated, quotes only where needed.
W3C extended log format (W3C WD-logfile-960323): blank separated, no quoting, ``-`` for absent. In both the header
block comes again at every service start and where files were merged (with a byte order mark in the middle), and the
columns are bound anew each time. Header names are compared without case: documentation and files differ.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model import LogRow, Loss, Origin
from evtx_analyzer.read.encoding import decode, guess

SEND_FIELDS = (
    "date-time",
    "connector-id",
    "session-id",
    "sequence-number",
    "local-endpoint",
    "remote-endpoint",
    "event",
    "data",
    "context",
)
SEND_LOG = "SMTP Send Protocol Log"
W3C_LOG = "W3C"
_BLOCK = 1 << 20
_HEADLESS_SEND = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z,[^,]*,[0-9A-F]{16},\d+,[^,]*,[^,]*,[-+<>*],")
_MARK = "\ufeff"


def is_exchange_log(head: bytes) -> bool:
    """Whether the first bytes are of an Exchange log with comma separated fields, with or without a header."""
    text = _text(head)
    return _log_type(text) is not None or any(_HEADLESS_SEND.match(line) for line in text.splitlines()[:50])


def is_w3c_log(head: bytes) -> bool:
    """Whether the first bytes hold a ``#Fields:`` row with blank separated columns."""
    found = re.search(r"^#Fields:[ \t]*([^\r\n,]+)\r?$", _text(head), re.MULTILINE | re.IGNORECASE)
    return found is not None and len(found[1].split()) > 1


def read_exchange_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Rows of an Exchange log; a row with too few columns is a Loss (live copies are cut in their last row)."""
    columns: tuple[str, ...] = SEND_FIELDS
    log = SEND_LOG
    for number, offset, line in _lines(stream):
        if line.startswith("#"):
            name, _, value = line[1:].partition(":")
            if name.casefold() == "fields":
                columns = tuple(value.strip().split(","))
            elif name.casefold() == "log-type":
                log = value.strip()
            continue
        origin = replace(source, line=number, offset=offset)
        values = _split_commas(line)
        if values is None or len(values) < len(columns):
            yield Loss(origin=origin, reason="a row is cut or damaged", extent=f"1 row, {len(line)} characters")
        else:
            yield LogRow(origin=origin, log=log, values=dict(zip(columns, values, strict=False)))


def read_w3c_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Rows of a W3C extended log; ``#date`` in a row is the date of the last ``#Date:`` directive."""
    columns: tuple[str, ...] = ()
    date = ""
    for number, offset, line in _lines(stream):
        if line.startswith("#"):
            name, _, value = line[1:].partition(":")
            if name.casefold() == "fields":
                columns = tuple(value.split())
            elif name.casefold() == "date":
                date = value.strip()
            continue
        origin = replace(source, line=number, offset=offset)
        values = line.split(" ")
        if not columns:
            yield Loss(origin=origin, reason="a row stands before any #Fields row", extent="1 row")
        elif len(values) < len(columns):
            yield Loss(origin=origin, reason="a row is cut or damaged", extent=f"1 row, {len(line)} characters")
        else:
            yield LogRow(origin=origin, log=W3C_LOG, values={"#date": date, **dict(zip(columns, values, strict=False))})


def _split_commas(line: str) -> list[str] | None:
    """Columns of one row, or None where a quote is not closed (the row was cut)."""
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:
        return None


def _lines(stream: BinaryIO) -> Iterator[tuple[int, int, str]]:
    """Number (from 1), byte offset and text of every line that is not empty; NULs and marks are dropped."""
    head = stream.read(_BLOCK)
    encoding, start = guess(head)
    ending = "\n".encode(encoding)
    buffer, base, number = head[start:], start, 0
    while True:
        block = stream.read(_BLOCK)
        position = 0
        while (end := _find_ending(buffer, ending, position)) >= 0:
            number += 1
            yield from _line(buffer[position:end], number, base + position, encoding)
            position = end + len(ending)
        if not block:
            yield from _line(buffer[position:], number + 1, base + position, encoding)
            return
        # A crash leaves a tail of NULs, sometimes of many megabytes: it is no line and is not kept.
        buffer, base = _without_nul_tail(buffer[position:]) + block, base + position


def _without_nul_tail(buffer: bytes) -> bytes:
    return b"" if len(buffer) >= _BLOCK and not buffer.strip(b"\0") else buffer


def _find_ending(buffer: bytes, ending: bytes, position: int) -> int:
    """Next line end; in UTF-16 only at an even distance, so that half characters do not match."""
    end = buffer.find(ending, position)
    while end >= 0 and (end - position) % len(ending):
        end = buffer.find(ending, end + 1)
    return end


def _line(data: bytes, number: int, offset: int, encoding: str) -> Iterator[tuple[int, int, str]]:
    text = decode(data, encoding).strip("\r\n\0" + _MARK)
    if text.strip():
        yield number, offset, text


def _log_type(text: str) -> str | None:
    found = re.search(r"^#Log-type:[ \t]*([^\r\n]+)", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else None


def _text(head: bytes) -> str:
    encoding, mark = guess(head)
    return decode(head[mark:], encoding).lstrip(_MARK)
