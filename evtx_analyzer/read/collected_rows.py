"""Rows of Exchange and IIS logs that a collector of logs keeps whole in a value of its own, in JSON or CSV.

Splunk has them in ``_raw`` (one JSON object a line, ``{"results": [...]}`` of its REST interface, CSV with quotes
doubled), Filebeat, Elastic and Graylog in ``message`` or ``event.original``. Any value that begins as a row or a header
of a log is taken, whatever its name; of several in one object the first. A search shows the newest row first, so rows
are turned round where they run backwards.

What a collector took apart into fields of its own is not read. Rows whose header it left out have the columns of a Send
connector log, which every version of Exchange has; those of an IIS log are a loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.csv_export import whole_rows
from evtx_analyzer.read.encoding import as_text
from evtx_analyzer.read.event_json import json_values
from evtx_analyzer.read.exchange_log import ExchangeRows
from evtx_analyzer.read.lines import damaged_row, lines, split_cells
from evtx_analyzer.read.w3c_log import W3cRows

_PROTOCOL = r"\d{4}-\d\d-\d\dT[\d:.]+Z,[^,\r\n]*,[0-9A-F]{16},\d+,"
_IIS = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\r\n]*\bOutboundConnection(?:Command|Response)\b"
_TRACKING = r"\d{4}-\d\d-\d\dT[\d:.]+Z,(?:[^,\r\n]*,){16}"
_HEADER = r"#(?:Software|Version|Log-type|Date|Fields): ?"
_ANY_ROW = f"(?:{_PROTOCOL}|{_TRACKING}|{_IIS}|{_HEADER})"
_ROW, _OF_PROTOCOL = re.compile(_ANY_ROW, re.IGNORECASE), re.compile(_PROTOCOL)
_IN_VALUE = re.compile(rf'[:,\[]\s{{0,99}}"{_ANY_ROW}')
_IN_CELL = re.compile(rf'(?:^|[,;\t])"{_ANY_ROW}', re.MULTILINE)
_NAMES = re.compile(r'"?[\w.@ \[\]()-]{1,60}"?(?:[,;\t]"?[\w.@ \[\]()-]{0,60}"?){1,99}\s*$')
_DELIMITERS = ",;\t"
_TIME = slice(0, len("2016-12-01T03:09:55"))
_NO_HEADER = "the export leaves out the header of the log, which names its columns: give the log as the server wrote it"
_LARGEST = 256 << 20
_DEEPEST = 8

_Row = tuple[int, int, str]
"""Line, byte offset and text of a row, or of a line of a header."""


def is_collected(head: bytes) -> bool:
    """Return whether the first bytes are JSON or a CSV with whole rows of a log in its values."""
    text = as_text(head).lstrip()
    if text.startswith(("{", "[")):
        return _IN_VALUE.search(text) is not None
    names = text.partition("\n")[0]
    return _NAMES.match(names) is not None and _IN_CELL.search(text) is not None


def read_collected(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the rows in the order in which the server wrote them, and a loss for each that cannot be read."""
    data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        yield Loss(origin=source, reason=f"the export is longer than {_LARGEST} bytes", extent="the whole file")
        return
    is_json = as_text(data[:512]).lstrip().startswith(("{", "["))
    rows: list[_Row] = []
    for found in (_in_json if is_json else _in_csv)(BytesIO(data), source):
        if isinstance(found, Loss):
            yield found
        else:
            rows.append(found)
    times = [text[_TIME] for _, _, text in rows if text[:1].isdigit()]
    exchange, iis = ExchangeRows(source), W3cRows(source)
    unknown: list[_Row] = []
    for line, offset, text in reversed(rows) if times and times[0] > times[-1] else rows:
        if text[:1] == "#":
            for reader in _readers(text, iis, exchange):
                yield from reader.read(line, offset, text)
        elif iis.columns if _is_iis(text) else exchange.log or _OF_PROTOCOL.match(text):
            yield from (iis if _is_iis(text) else exchange).read(line, offset, text)
        else:
            unknown.append((line, offset, text))
    if unknown:
        line, offset, _ = unknown[0]
        yield Loss(origin=replace(source, line=line, offset=offset), reason=_NO_HEADER, extent=_counted(len(unknown)))


def _counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def _readers(header: str, iis: W3cRows, exchange: ExchangeRows) -> tuple[W3cRows | ExchangeRows, ...]:
    """Return the readers that a line of a header is for; only names of columns tell whether it is of an IIS log."""
    name, _, value = header.partition(":")
    return (iis, exchange) if name.casefold() != "#fields" else (exchange,) if "," in value else (iis,)


def _is_iis(row: str) -> bool:
    return row[len("2016-12-01")] == " "


def _in_json(stream: BinaryIO, source: Origin) -> Iterator[_Row | Loss]:
    """Yield the rows in the values of each object."""
    for origin, value in json_values(stream, source):
        if isinstance(value, Loss):
            yield value
        else:
            yield from ((origin.line or 0, origin.offset or 0, text) for text in _of_value(value, _DEEPEST))


def _of_value(value: object, depth: int) -> Iterator[str]:
    """Yield the rows in a value: those of an object's first text that holds rows, else those of the objects in it."""
    members = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    texts = [member for member in members if isinstance(member, str) and _ROW.match(member)]
    if texts:
        for text in texts if isinstance(value, list) else texts[:1]:
            yield from filter(None, text.splitlines())
    elif depth:
        for member in members:
            if isinstance(member, dict | list):
                yield from _of_value(member, depth - 1)


def _in_csv(stream: BinaryIO, source: Origin) -> Iterator[_Row | Loss]:
    """Yield the rows in the cells of each row of a table."""
    delimiter = ""
    for number, offset, line in whole_rows(lines(stream)):
        delimiter = delimiter or next((mark for mark in _DELIMITERS if mark in line), ",")  # of the names of columns
        cells = split_cells(line, delimiter)
        if cells is None:
            yield damaged_row(line, replace(source, line=number, offset=offset))
            continue
        text = next((cell for cell in cells if _ROW.match(cell)), "")
        yield from ((number, offset, row) for row in text.splitlines() if row)
