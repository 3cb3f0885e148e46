"""W3C extended logs, as the SMTP service of IIS writes them.

Source: W3C WD-logfile-960323, "Extended Log File Format". Cells are separated by blanks and not quoted; ``-`` stands
for an absent value. The header block is repeated at every start of the service, and each one may change the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from typing import BinaryIO

from evtx_analyzer import clock
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.encoding import as_text
from evtx_analyzer.read.lines import damaged_row, from_start, lines, surplus, too_long, without_nuls

W3C_LOG = "W3C"
_START = re.compile(
    r"(?<![^\s:>|+])(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d |#(?:Software|Version|Date|Fields):)", re.IGNORECASE
)


def is_w3c_log(head: bytes) -> bool:
    """Return whether the first bytes hold a ``#Fields:`` row with columns separated by blanks."""
    match = re.search(
        r"^[^\r\n#]{0,300}#Fields:[ \t]*([^\s,;][^\r\n,;]*)\r?$", as_text(head), re.MULTILINE | re.IGNORECASE
    )
    return match is not None and len(match[1].split()) > 1


def read_w3c_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the rows of a W3C extended log in order, and a loss for each that cannot be read."""
    rows = W3cRows(source)
    for number, offset, line in lines(stream):
        yield from rows.read(number, offset, line)


class W3cRows:
    """Reads a W3C extended log line by line; ``#date`` in a row is the day of the last ``#Date:`` directive.

    Where rows have a time and no date, the day is counted up at every midnight that they cross. Where they have none of
    both, ``#time`` is the directive's time, the only one that is known.
    """

    def __init__(self, source: Origin) -> None:
        self.columns: tuple[str, ...] = ()
        self._date = self._time = ""
        self._undated = False
        self._source = source

    def read(self, number: int, offset: int, line: str) -> Iterator[LogRow | Loss]:
        """Yield what one line holds; nothing if it belongs to a header."""
        if line[:1] != "2" or line[4:5] != "-":
            line = from_start(line, _START)
            if line.startswith("#"):
                self._header(line)
                return
        columns = self.columns
        origin = Origin(source=self._source.source, member=self._source.member, line=number, offset=offset)
        line, lost = without_nuls(line, origin)
        yield from lost
        values = line.split(" ")
        if (loss := too_long(line, origin)) is not None:
            yield loss
        elif not columns:
            yield Loss(origin=origin, reason="a row stands before any #Fields row", extent="1 row")
        elif len(values) < len(columns):
            yield damaged_row(line, origin)
        else:
            if len(values) > len(columns) and any(values[len(columns) :]):
                yield surplus(origin)
            if self._undated:
                now = values[columns.index("time")]
                self._date, self._time = _after(self._date, self._time, now), now
            row = {"#date": self._date, "#time": self._time}
            row.update(zip(columns, values, strict=False))
            yield LogRow(origin=origin, log=W3C_LOG, values=row)

    def header(self) -> tuple[str, ...]:
        """Return the columns that hold for the next row."""
        return self.columns

    def copy(self) -> W3cRows:
        """Return another reader in the same state."""
        return copy(self)

    def _header(self, line: str) -> None:
        name, _, value = line[1:].partition(":")
        if name.casefold() == "fields":
            self.columns = tuple(value.split())
            self._undated = "time" in self.columns and "date" not in self.columns
        elif name.casefold() == "date":
            self._date, _, self._time = value.strip().partition(" ")


def _after(date: str, before: str, now: str) -> str:
    """Return the day of a row: one later where its clock is more than twelve hours behind the row before."""
    start, end = clock.from_iso(f"{date} {before}"), clock.from_iso(f"{date} {now}")
    # Less is no midnight: rows of sessions at the same time are a little out of order, and clocks are set back.
    if start is None or end is None or start - end < timedelta(hours=12):
        return date
    return f"{end + timedelta(days=1):%Y-%m-%d}"
