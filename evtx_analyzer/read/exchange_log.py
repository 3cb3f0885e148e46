"""Exchange protocol logs, message tracking, connectivity logs: comma separated text with a ``#Fields:`` row.

Source: protocol-logging.md in OfficeDocs-Exchange, and files seen. Quotes stand only where needed. The header block
is repeated at every service start and where files were merged (with a byte order mark in the middle), and each one may
change the columns. Header names are compared without case: documentation and files differ.

Copies are read too: saved by Excel (the delimiter of its culture, quotes around cells, header lines filled up with
empty cells) or by ``Import-Csv | Export-Csv`` (the columns stand in a line without ``#Fields:``), and lines with other
text before them, as mails and searches (``grep``, ``findstr``, ``Select-String``) put it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from typing import BinaryIO

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.encoding import as_text
from evtx_analyzer.read.lines import damaged_row, from_start, lines, split_cells, surplus, too_long, without_nuls

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
_CODE = "5.7.64"
_HEADLESS_SEND = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z,[^,]*,[0-9A-F]{16},\d+,[^,]*,[^,]*,[-+<>*],")
_START = re.compile(
    r'(?<![^\s:>|+])"?(?:\d{4}-\d\d-\d\dT[\d:.]+Z"?[,;\t]|#(?:Software|Version|Log-type|Date|Fields): ?)', re.IGNORECASE
)
_PLAIN_HEADER = re.compile(r'^"?date-time"?[,;\t]"?[a-z-]+"?[,;\t]', re.MULTILINE | re.IGNORECASE)
IMPORTED = (
    (frozenset({"date-time", "session-id", "sequence-number", "event", "data"}), SEND_LOG),
    (frozenset({"date-time", "event-id", "recipient-status"}), "Message Tracking Log"),
)
"""Columns by which rows are known that ``Import-Csv`` made objects of, and the kind of their log."""
# Where no Log-type is there: a column that only this kind of log has.
_KINDS = (("event-id", "Message Tracking Log"), ("direction", "Transport Connectivity Log"))
_LOG_TYPE = re.compile(r'^[^\r\n#]{0,300}#Log-type:[ \t]*([^\r\n,;\t"]+)', re.MULTILINE | re.IGNORECASE)
_JSON = re.compile(r"[\[{]\s{0,99}[\[{\"]")
_DELIMITERS = ",;\t"


def is_exchange_log(head: bytes) -> bool:
    """Return whether the first bytes are of an Exchange log with comma separated fields, with or without a header."""
    text = as_text(head)
    if _JSON.match(text):
        return False
    if _LOG_TYPE.search(text) or _PLAIN_HEADER.search(text):
        return True
    return any(_HEADLESS_SEND.search(line) for line in text.splitlines()[:50])


def is_receiving(connector: str = "") -> bool:
    r"""Return whether a connector is a Receive connector: only its name holds a backslash."""
    return "\\" in connector


def read_exchange_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the rows of an Exchange log in order, and a loss for each that cannot be read."""
    rows = ExchangeRows(source)
    for number, offset, line in lines(stream):
        yield from rows.read(number, offset, line)


class ExchangeRows:
    r"""Reads an Exchange log line by line, and keeps the columns and the kind of log that its header named last.

    A row with too few columns is a Loss (live copies are cut in their last row). A cut row whose text still shows
    5.7.64 is yielded too, as far as it goes. Rows without any header have the columns of a protocol log; the name of
    the connector tells which (``SERVER\Default SERVER``).
    """

    def __init__(self, source: Origin) -> None:
        self.columns: tuple[str, ...] = SEND_FIELDS
        self.log = ""
        self._delimiter = ","
        self._source = source

    def read(self, number: int, offset: int, line: str) -> Iterator[LogRow | Loss]:
        """Yield what one line holds; nothing if it belongs to a header."""
        if line[:1] != "2" or line[4:5] != "-":
            line = from_start(line, _START)
            if self._is_header(line):
                return
        columns = self.columns
        origin = Origin(source=self._source.source, member=self._source.member, line=number, offset=offset)
        if (loss := too_long(line, origin)) is not None:
            yield loss
            return
        line, lost = without_nuls(line, origin)
        yield from lost
        values = split_cells(line, self._delimiter)
        if values is None or len(values) < len(columns):
            yield damaged_row(line, origin)
            values = line.split(",", len(columns) - 2)
            if columns != SEND_FIELDS or len(values) < len(columns) - 1 or _CODE not in values[-1]:
                return
            values = [*values[:-1], values[-1].lstrip('"').replace('""', '"'), ""]
        elif len(values) > len(columns) and any(values[len(columns) :]):
            yield surplus(origin)
        # A damaged header may name one column only: then there is no values[1].
        kind = self.log or (RECEIVE_LOG if is_receiving(*values[1:2]) else SEND_LOG)
        yield LogRow(origin=origin, log=kind, values=dict(zip(columns, values, strict=False)))

    def header(self) -> tuple[tuple[str, ...], str, str]:
        """Return the columns, the kind of log and the delimiter that hold for the next row."""
        return self.columns, self.log, self._delimiter

    def copy(self) -> ExchangeRows:
        """Return another reader in the same state."""
        return copy(self)

    def _is_header(self, line: str) -> bool:
        """Return whether a line belongs to a header, which is noted."""
        if line.startswith(("#", '"#')):
            self._header(line)
        elif _PLAIN_HEADER.match(line):
            self._header(f"#Fields: {line}")
            self.log = next((kind for column, kind in _KINDS if column in self.columns), "")
        else:
            return False
        return True

    def _header(self, line: str) -> None:
        name, _, value = line.strip('"#').partition(":")
        value = value.strip().rstrip(_DELIMITERS + '"')
        if name.casefold() == "fields":
            self._delimiter = next((mark for mark in _DELIMITERS if mark in value), ",")
            self.columns = tuple(value.replace('"', "").casefold().split(self._delimiter))
        elif name.casefold() == "log-type":
            self.log = value
