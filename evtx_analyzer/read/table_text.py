"""Tables that PowerShell shows: ``Format-Table``, and the default output of Get-ExchangeCertificate and other cmdlets.

A table shows some properties of each object, and cuts values that are wider than their column
(``CN=mail.contoso.c...``, in PowerShell 7 ``…``). Such a value is left out, or in a list its last entry, and ``#cut``
names the columns. Rows are split where the headers begin; where a copy has lost the blanks, at blanks. The headers tell
which object it is. They must include the properties that other exports have, else a loss names those that are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.exchange import (
    ACCEPTED_DOMAIN,
    CMDLET_PROPERTIES,
    EXCHANGE_CERTIFICATE,
    INBOUND_CONNECTOR,
    SEND_CONNECTOR,
)
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.lines import as_lines, damaged_row, lines

# Headers that only one cmdlet's objects have; the first cmdlet that fits is taken.
_TELLING = (
    ({"Thumbprint", "Services", "Subject"}, EXCHANGE_CERTIFICATE),
    ({"DomainName", "DomainType"}, ACCEPTED_DOMAIN),
    ({"TlsSenderCertificateName"}, INBOUND_CONNECTOR),
    ({"SenderIPAddresses"}, INBOUND_CONNECTOR),
    ({"SenderDomains", "ConnectorType"}, INBOUND_CONNECTOR),
    ({"AssociatedAcceptedDomains"}, INBOUND_CONNECTOR),
    ({"TlsCertificateName"}, SEND_CONNECTOR),
    ({"AddressSpaces"}, SEND_CONNECTOR),
    ({"SourceTransportServers"}, SEND_CONNECTOR),
)
_HEADER = re.compile(r"\s*[A-Za-z]\w*(?:\s+[A-Za-z]\w*)+\s*$")
_DASHES = re.compile(r"\s*-+(?:\s+-+)*\s*$")
_CERTIFICATE_ROW = re.compile(r"\s*(?:\* )?[0-9A-Fa-f*]{4}\S*\s+[A-Z.]{6,8}(?:\s|$)")
_LETTERS = re.compile(r"[A-Z.]{6,8}")
_CUT = ("...", "\u2026")
_WHOLE_THUMBPRINT = 40


class _Table(Struct, frozen=True):
    """The cmdlet whose objects a table shows, its columns, and where each of them begins."""

    cmdlet: str
    columns: tuple[str, ...]
    starts: tuple[int, ...]


def is_table_text(head: bytes) -> bool:
    """Return whether the first bytes hold the headers of a known object's table."""
    text = [*as_lines(head)[:200], ""]
    return any(_table(line.expandtabs(), below) is not None for line, below in pairwise(text))


def read_table_text(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one row per object, with the properties that the table shows whole."""
    table: _Table | None = None
    last: LogRow | Loss | None = None
    previous = 0
    rows = ((number, offset, line.expandtabs()) for number, offset, line in lines(stream))
    for (number, offset, line), (_, _, below) in pairwise(chain(rows, [(0, 0, "")])):
        origin = replace(source, line=number, offset=offset)
        header = _table(line, below)
        # An empty line ends a table; in copies from the web one stands between the rows.
        adjoins = number == previous + 1
        if header is not None:
            missing = sorted(CMDLET_PROPERTIES[header.cmdlet] - set(header.columns))
            table, previous = (None if missing else header), number
            yield from (last,) if last is not None else ()
            last = _without(header.cmdlet, missing, origin) if missing else None
        elif table is not None and adjoins and isinstance(last, LogRow) and line[: table.starts[1]].isspace():
            # A line with an empty first column continues the row above (``Format-Table -Wrap``).
            last, previous = _wrapped(last, line, table), number
        elif table is not None and (adjoins or table.cmdlet == EXCHANGE_CERTIFICATE):
            previous = number
            certificates = table.cmdlet == EXCHANGE_CERTIFICATE and table.columns[0] == "Thumbprint"
            if _CERTIFICATE_ROW.match(line) if certificates else not _DASHES.match(line):
                yield from (last,) if last is not None else ()
                last = _row(line, table, origin)
        else:
            table = None
    yield from (last,) if last is not None else ()


def _wrapped(row: LogRow, line: str, table: _Table) -> LogRow:
    """Return a row without the values that continue on the next line: it does not show where a word was broken."""
    cells = _cells(line, table) or []
    wrapped = [name for name, cell in zip(table.columns, cells, strict=False) if cell]
    cut = filter(None, [*row.values["#cut"].split(";"), *wrapped])
    kept = {name: value for name, value in row.values.items() if name not in wrapped}
    return replace(row, values=kept | {"#cut": ";".join(dict.fromkeys(cut))})


def _without(cmdlet: str, missing: list[str], origin: Origin) -> Loss:
    reason = (
        f"a table of {cmdlet} without {', '.join(missing)}: what it does not show is not known; export again with: "
        f"{cmdlet} | Export-Clixml {cmdlet}.xml"
    )
    return Loss(origin=origin, reason=reason, extent="the table")


def _table(line: str, below: str) -> _Table | None:
    """Return the table that a line of headers begins; copies often lack the dashes below it."""
    if not _HEADER.match(line):
        return None
    columns = [(match[0], match.start()) for match in re.finditer(r"\w+", line)]
    names = {name for name, _ in columns}
    names |= {"Name"} if "Identity" in names else set()
    cmdlet = next((cmdlet for telling, cmdlet in _TELLING if telling <= names), None)
    if cmdlet is None or not (_DASHES.match(below) or _CERTIFICATE_ROW.match(below)):
        return None
    shown = ("Name" if name == "Identity" and "Name" not in line.split() else name for name, _ in columns)
    return _Table(cmdlet, tuple(shown), tuple(start for _, start in columns))


def _row(line: str, table: _Table, origin: Origin) -> LogRow | Loss:
    cells = _cells(line, table)
    if cells is None:
        return damaged_row(line, origin)
    values, cut = {}, []
    for name, cell in zip(table.columns, cells, strict=True):
        whole = _whole(name, cell)
        if whole is not None:
            values[name] = whole
        if whole != cell:
            cut.append(name)
    return LogRow(origin=origin, log=table.cmdlet, values={"#cut": ";".join(cut), **values})


def _cells(line: str, table: _Table) -> list[str] | None:
    """Return the cells of a row: split where the headers begin, or at blanks where that would cut words."""
    ends = (*table.starts[1:], len(line))
    if all(end >= len(line) or line[end - 1].isspace() for end in ends[:-1]):
        return [line[start:end].strip() for start, end in zip(table.starts, ends, strict=True)]
    words = line.replace("* ", "", 1).split(None, len(table.columns) - 1)
    return [word.strip() for word in words] if len(words) == len(table.columns) else None


def _whole(name: str, cell: str) -> str | None:
    """Return the part of a cell that is whole: a list without its cut last entry; None if nothing is."""
    if name == "Thumbprint":
        return cell if re.fullmatch(rf"[0-9A-Fa-f]{{{_WHOLE_THUMBPRINT}}}", cell) else None
    # Dots of services stand for those that a certificate is not bound to.
    if not cell.endswith(_CUT) or (name == "Services" and _LETTERS.fullmatch(cell)):
        return cell
    entries = cell.partition("{")[2].rpartition(",")[0]
    return f"{{{entries}}}" if cell.startswith("{") and entries else None
