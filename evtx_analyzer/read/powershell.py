"""Exchange's objects as PowerShell writes them: Clixml (``Export-Clixml``) and list text (``Format-List``, ``| fl``).

Clixml: MS-PSRP section 2.2.5; every object has ``Props`` or ``MS`` with named values, times as ISO 8601 with offset
where the object knew its kind. List text: ``Name : value``; a long value is continued on lines indented to the value's
column, because the console breaks it at its width, between words where it can. The names of its properties tell which
object it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

from msgspec.structs import replace

from evtx_analyzer.clock import DateOrder
from evtx_analyzer.exchange import CMDLET_PROPERTIES
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.plain_text import whole_text
from evtx_analyzer.read.csv_export import (
    QUEUE_EXPORT,
    QUEUED_EXPORT,
    STORE_EXPORT,
    STORE_PROPERTIES,
    TRACKING_EXPORT,
)
from evtx_analyzer.read.encoding import as_text
from evtx_analyzer.read.exchange_log import IMPORTED, RECEIVE_LOG, SEND_LOG, is_receiving
from evtx_analyzer.read.lines import as_lines, date_order, lines, lost_lines

if TYPE_CHECKING:
    from lxml import etree

EVENT_EXPORT = "Get-EventLog"
# The properties that an object must all have, and the name that its rows get.
OBJECTS = (
    (frozenset({"Timestamp", "EventId", "MessageId"}), TRACKING_EXPORT),
    (frozenset({"Timestamp", "EventId", "RecipientStatus"}), TRACKING_EXPORT),
    *IMPORTED,
    (frozenset({"LastError", "NextHopDomain"}), QUEUE_EXPORT),
    (frozenset({"LastError", "FromAddress"}), QUEUED_EXPORT),
    (frozenset({"EventID", "Source", "TimeGenerated", "MachineName"}), EVENT_EXPORT),
    *((names, STORE_EXPORT) for names in STORE_PROPERTIES),
    *((names, cmdlet) for cmdlet, names in CMDLET_PROPERTIES.items()),
)
_NAMESPACE = "http://schemas.microsoft.com/powershell/2004/04"
_OBJECT = f"{{{_NAMESPACE}}}Obj"
_PAIR = re.compile(r"(\w+) *: ?(.*)$")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_SHORTEST_INDENT = 4


def is_clixml(head: bytes) -> bool:
    """Return whether the first bytes are of an Export-Clixml file."""
    return "<Objs" in as_text(head)[:2000]


def is_list_text(head: bytes) -> bool:
    """Return whether the first bytes hold a known object as list text."""
    names = {match[1] for line in as_lines(head)[:200] if (match := _PAIR.match(line))}
    return any(wanted <= names for wanted, _ in OBJECTS)


def read_clixml(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the known objects of a Clixml file; the members of a list are joined by ``;``."""
    from lxml import etree  # noqa: PLC0415  start-up cost: only where there is such a file

    place = 0
    try:
        # It fetches, expands and validates nothing.
        safe = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
        for _, element in etree.iterparse(stream, events=("end",), tag=_OBJECT, **safe):
            parent = element.getparent()
            if parent is None or parent.tag != f"{{{_NAMESPACE}}}Objs":
                continue
            place += 1
            values = _properties(element)
            log = _known(values)
            if log is not None:
                yield LogRow(origin=replace(source, line=element.sourceline), log=log, values={"#order": "", **values})
            # Elements that were read would otherwise stay in memory up to the end of the file.
            element.clear()
            while element.getprevious() is not None:
                del parent[0]
    except etree.XMLSyntaxError as error:
        reason = f"the XML is cut or damaged: {error.msg}"
        yield Loss(origin=source, reason=reason, extent=f"what follows its first {place} objects")


def _properties(element: etree._Element) -> dict[str, str]:
    values: dict[str, str] = {}
    for member in (member for bag in element if _local_name(bag) in ("Props", "MS") for member in bag):
        name = member.get("N")
        if name and name not in values:
            values[name] = _value(member)
    return values


def _local_name(element: etree._Element) -> str:
    """Return the name of an element without its namespace; empty for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _value(element: etree._Element) -> str:
    """Return the text of a value; members of a list are joined by ``;``, an object has its ``ToString``."""
    if _local_name(element) != "Obj":
        return _unescaped(element.text or "")
    members = [
        _value(member) for part in element if _local_name(part) in ("LST", "IE", "STK", "QUE") for member in part
    ]
    own = next((part.text or "" for part in element if _local_name(part) == "ToString"), "")
    return ";".join(members) or _unescaped(own)


def _unescaped(text: str) -> str:
    """Return a text of Clixml, which writes what XML cannot hold as ``_x000D_``, surrogates one by one."""
    return whole_text(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), text))


def read_list_text(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the known objects of list text; an object ends where one of its names is repeated."""
    text_lines = list(lines(stream))
    yield from lost_lines(text_lines, source)
    rows = list(_objects(text_lines, source))
    order: DateOrder = date_order(row.values.get(name, "") for row in rows for name in ("Timestamp", "NotAfter"))
    for row in rows:
        yield replace(row, values={"#order": order, **row.values})


def _objects(text_lines: Iterable[tuple[int, int, str]], source: Origin) -> Iterator[LogRow]:
    """Yield the known objects; a line that is indented continues the value above."""
    values: dict[str, list[str]] = {}
    origin, name = source, ""
    for number, offset, line in text_lines:
        pair = _PAIR.match(line)
        if pair is None or line.startswith(" " * _SHORTEST_INDENT):
            if name and line.startswith(" " * _SHORTEST_INDENT):
                values[name].append(line)
            continue
        if pair[1] in values or not values:
            yield from _object(values, origin)
            values, origin = {}, replace(source, line=number, offset=offset)
        name = pair[1]
        values[name] = [line]
    yield from _object(values, origin)


def _object(values: dict[str, list[str]], origin: Origin) -> Iterator[LogRow]:
    joined = {name: _joined(parts) for name, parts in values.items()}
    log = _known(joined)
    if log is not None:
        yield LogRow(origin=origin, log=log, values=joined)


def _joined(parts: list[str]) -> str:
    """Return a value from its lines: one as wide as the console was broken inside a word, others at a blank."""
    pair = _PAIR.match(parts[0])
    assert pair is not None
    width = max(len(part) for part in parts)
    text = pair[2]
    for before, part in pairwise(parts):
        text += ("" if len(before) == width else " ") + part.strip()
    # A list of one recipient status, which has braces of its own: {[{LED=...};{MSG=}]}.
    return text.strip().removeprefix("{").removesuffix("}") if text.strip().startswith("{[{") else text.strip()


def _known(values: dict[str, str]) -> str | None:
    log = next((log for wanted, log in OBJECTS if wanted <= values.keys()), None)
    return RECEIVE_LOG if log == SEND_LOG and is_receiving(values.get("connector-id", "")) else log
