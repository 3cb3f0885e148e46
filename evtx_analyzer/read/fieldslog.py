"""Text logs that name their columns in a ``#Fields:`` row: Exchange protocol logs and IIS W3C extended logs.

Exchange (protocol-logging.md in OfficeDocs-Exchange, and files seen): comma separated, quotes only where needed.
W3C extended log format (W3C WD-logfile-960323): blank separated, no quoting, ``-`` for absent. In both the header
block comes again at every service start and where files were merged (with a byte order mark in the middle), and the
columns are bound anew each time. Header names are compared without case: documentation and files differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import BinaryIO

from evtx_analyzer import clock
from evtx_analyzer.model import LogRow, Loss, Origin
from evtx_analyzer.read.lines import head_text, lines, split_cells

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
RECEIVE_LOG = "SMTP Receive Protocol Log"
W3C_LOG = "W3C"
_CODE = "5.7.64"
_HEADLESS_SEND = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z,[^,]*,[0-9A-F]{16},\d+,[^,]*,[^,]*,[-+<>*],")


def is_exchange_log(head: bytes) -> bool:
    """Whether the first bytes are of an Exchange log with comma separated fields, with or without a header."""
    text = head_text(head)
    return _log_type(text) is not None or any(_HEADLESS_SEND.match(line) for line in text.splitlines()[:50])


def is_w3c_log(head: bytes) -> bool:
    """Whether the first bytes hold a ``#Fields:`` row with blank separated columns."""
    found = re.search(r"^#Fields:[ \t]*([^\r\n,]+)\r?$", head_text(head), re.MULTILINE | re.IGNORECASE)
    return found is not None and len(found[1].split()) > 1


def read_exchange_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Rows of an Exchange log, in order; see ``ExchangeRows``."""
    rows = ExchangeRows(source)
    for number, offset, line in lines(stream):
        yield from rows.read(number, offset, line)


class ExchangeRows:
    r"""Reads an Exchange log line by line; knows the columns that hold for the next line.

    A row with too few columns is a Loss (live copies are cut in their last row). A cut row whose text still shows
    5.7.64 is given as well, as far as it goes. Rows without any header have the columns of a protocol log; only a
    Receive connector's name holds a backslash (``SERVER\Default SERVER``).
    """

    def __init__(self, source: Origin) -> None:
        self.columns: tuple[str, ...] = SEND_FIELDS
        self.log = ""
        self._source = source

    def read(self, number: int, offset: int, line: str) -> Iterator[LogRow | Loss]:
        """What one line holds: nothing where it belongs to a header."""
        if line.startswith("#"):
            self._header(line)
            return
        columns = self.columns
        origin = Origin(source=self._source.source, member=self._source.member, line=number, offset=offset)
        values = split_cells(line)
        if values is None or len(values) < len(columns):
            yield Loss(origin=origin, reason="a row is cut or damaged", extent=f"1 row, {len(line)} characters")
            values = line.split(",", len(columns) - 2)
            if columns != SEND_FIELDS or len(values) < len(columns) - 1 or _CODE not in values[-1]:
                return
            values = [*values[:-1], values[-1].lstrip('"').replace('""', '"'), ""]
        kind = self.log or (RECEIVE_LOG if "\\" in values[1] else SEND_LOG)
        yield LogRow(origin=origin, log=kind, values=dict(zip(columns, values, strict=False)))

    def header(self) -> tuple[tuple[str, ...], str]:
        """Columns and kind of log that hold for the next row."""
        return self.columns, self.log

    def copy(self) -> ExchangeRows:
        """Another reader in the same state."""
        other = ExchangeRows(self._source)
        other.columns, other.log = self.columns, self.log
        return other

    def _header(self, line: str) -> None:
        name, _, value = line[1:].partition(":")
        if name.casefold() == "fields":
            self.columns = tuple(value.strip().split(","))
        elif name.casefold() == "log-type":
            self.log = value.strip()


def read_w3c_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Rows of a W3C extended log, in order; see ``W3cRows``."""
    rows = W3cRows(source)
    for number, offset, line in lines(stream):
        yield from rows.read(number, offset, line)


class W3cRows:
    """Reads a W3C extended log line by line; ``#date`` in a row is the day of the last ``#Date:`` directive.

    Where rows have a time and no date, the day goes on at every midnight that they cross. Where they have neither,
    ``#time`` is the directive's time: all that is known of them.
    """

    def __init__(self, source: Origin) -> None:
        self.columns: tuple[str, ...] = ()
        self._date = self._time = ""
        self._undated = False
        self._source = source

    def read(self, number: int, offset: int, line: str) -> Iterator[LogRow | Loss]:
        """What one line holds: nothing where it belongs to a header."""
        if line.startswith("#"):
            self._header(line)
            return
        columns = self.columns
        origin = Origin(source=self._source.source, member=self._source.member, line=number, offset=offset)
        values = line.split(" ")
        if not columns:
            yield Loss(origin=origin, reason="a row stands before any #Fields row", extent="1 row")
        elif len(values) < len(columns):
            yield Loss(origin=origin, reason="a row is cut or damaged", extent=f"1 row, {len(line)} characters")
        else:
            if self._undated:
                now = values[columns.index("time")]
                self._date, self._time = _after(self._date, self._time, now), now
            row = {"#date": self._date, "#time": self._time}
            row.update(zip(columns, values, strict=False))
            yield LogRow(origin=origin, log=W3C_LOG, values=row)

    def header(self) -> tuple[str, ...]:
        """Columns that hold for the next row."""
        return self.columns

    def copy(self) -> W3cRows:
        """Another reader in the same state."""
        other = W3cRows(self._source)
        other.columns, other._undated = self.columns, self._undated
        other._date, other._time = self._date, self._time
        return other

    def _header(self, line: str) -> None:
        name, _, value = line[1:].partition(":")
        if name.casefold() == "fields":
            self.columns = tuple(value.split())
            self._undated = "time" in self.columns and "date" not in self.columns
        elif name.casefold() == "date":
            self._date, _, self._time = value.strip().partition(" ")


def _after(date: str, before: str, now: str) -> str:
    """The day of a row: the next one where the clock fell back by more than half a day."""
    start, end = clock.from_iso(f"{date} {before}"), clock.from_iso(f"{date} {now}")
    if start is None or end is None or start - end < timedelta(hours=12):
        return date
    return f"{end + timedelta(days=1):%Y-%m-%d}"


def _log_type(text: str) -> str | None:
    found = re.search(r"^#Log-type:[ \t]*([^\r\n]+)", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else None
