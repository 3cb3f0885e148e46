"""Comma separated tables with a header row, recognized by their columns: exports of other tools.

``Get-MessageTrackingLog | Export-Csv`` (all cells quoted, a ``#TYPE`` row before the header in Windows PowerShell), the
table of IIS ODBC logging, exported from its database, and W3C logs as Log Parser writes them (``-o:CSV``, ``-o:TSV``).
The delimiter is that of the culture: comma, semicolon, tab.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.exchange import CMDLET_PROPERTIES
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.lines import as_lines, damaged_row, date_order, lines, split_cells
from evtx_analyzer.read.w3c_log import W3C_LOG

ODBC_LOG = "ODBC"
QUEUE_EXPORT = "Get-Queue"
QUEUED_EXPORT = "Get-Message"
TRACKING_EXPORT = "Get-MessageTrackingLog"
STORE_EXPORT = "Get-ChildItem Cert:"
# A certificate of the certificate provider: its store, and its hash or bytes.
STORE_PROPERTIES = (frozenset({"PSParentPath", "Thumbprint"}), frozenset({"PSParentPath", "RawData"}))
# Columns (folded) of which all must be in the header, and the name that the rows get.
TABLES = (
    (frozenset({"timestamp", "eventid", "messageid"}), TRACKING_EXPORT),
    (frozenset({"timestamp", "eventid", "recipientstatus"}), TRACKING_EXPORT),
    (frozenset({"clienthost", "username", "logtime"}), ODBC_LOG),
    (frozenset({"date", "time", "cs-username", "cs-uri-query"}), W3C_LOG),
    (frozenset({"lasterror", "nexthopdomain", "identity"}), QUEUE_EXPORT),
    (frozenset({"lasterror", "fromaddress"}), QUEUED_EXPORT),
    *((frozenset(name.casefold() for name in names), STORE_EXPORT) for names in STORE_PROPERTIES),
    *((frozenset(name.casefold() for name in names), cmdlet) for cmdlet, names in CMDLET_PROPERTIES.items()),
)
_DELIMITERS = (",", ";", "\t")
_DATES = ("timestamp", "logtime", "notafter", "notbefore")
_LONGEST_ROW = 200  # lines; so a quote that is never closed does not take the rest of the file with it
_SAMPLE = 500


def is_csv_table(head: bytes) -> bool:
    """Return whether one of the first three lines is a known header."""
    return any(_header(line) is not None for line in as_lines(head)[:3])


def read_csv_table(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the rows by column name; ``#order`` is the order of day and month, as far as the rows show it."""
    rows = _rows(stream, source)
    first = list(itertools.islice(rows, _SAMPLE))
    samples = [row.values.items() for row in first if isinstance(row, LogRow)]
    dates = [{name.casefold(): value for name, value in cells} for cells in samples]
    order = date_order(values.get(name, "") for values in dates for name in _DATES)
    for row in itertools.chain(first, rows):
        yield replace(row, values={"#order": order, **row.values}) if isinstance(row, LogRow) else row


def _rows(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    table: tuple[str, str, list[str]] | None = None
    for number, offset, line in whole_rows(lines(stream)):
        header = _header(line)
        if header is not None:
            table = header
            continue
        if table is None:
            continue
        log, delimiter, columns = table
        origin = replace(source, line=number, offset=offset)
        cells = split_cells(line, delimiter)
        if cells is None or len(cells) < len(columns):
            yield damaged_row(line, origin)
        else:
            yield LogRow(origin=origin, log=log, values=dict(zip(columns, cells, strict=False)))


def whole_rows(numbered_lines: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Yield the lines as rows, of which one goes on until its quotes are closed: a cell may hold line ends."""
    start: tuple[int, int] | None = None
    parts: list[str] = []
    quotes = 0
    for number, offset, line in numbered_lines:
        start = start or (number, offset)
        parts.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0 or len(parts) >= _LONGEST_ROW:
            yield (*start, "\n".join(parts))
            start, parts, quotes = None, [], 0
    if start is not None:
        yield (*start, "\n".join(parts))


def _header(line: str) -> tuple[str, str, list[str]] | None:
    """Return the table's name, delimiter and columns if the line is a known header; else None."""
    for delimiter in _DELIMITERS:
        cells = [cell.strip() for cell in split_cells(line, delimiter) or ()]
        folded = {cell.casefold() for cell in cells}
        for wanted, log in TABLES:
            if wanted <= folded:
                return log, delimiter, cells
    return None
