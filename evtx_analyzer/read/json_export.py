"""JSON that ``ConvertTo-Json`` writes of Exchange's objects: one object, an array of them, or one a line.

The whole file is one JSON value, so it is read at once, up to a size that no configuration reaches. Values become
texts: the members of an array are joined by ``;``, an object becomes the member that names it (else all of them), and
a Boolean reads ``True`` as in the other exports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.plain_text import whole_text
from evtx_analyzer.read.csv_export import QUEUE_EXPORT, QUEUED_EXPORT, TABLES, TRACKING_EXPORT
from evtx_analyzer.read.encoding import as_text
from evtx_analyzer.read.exchange_log import IMPORTED, RECEIVE_LOG, SEND_LOG, is_receiving
from evtx_analyzer.read.w3c_log import W3C_LOG

LARGEST = 64 << 20
# Not ``{code}`` of a ticket.
_BEGINS = re.compile(r"\s{0,99}(?:\[\s{0,99})?\{\s{0,999}(?:[\"}]|\Z)")
_ROWS = (W3C_LOG, TRACKING_EXPORT, QUEUE_EXPORT, QUEUED_EXPORT, *(log for _, log in IMPORTED))


def is_json(head: bytes) -> bool:
    """Return whether a file begins as a JSON object or array of objects."""
    return _BEGINS.match(as_text(head[:512])) is not None


def read_json(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one row per object; ``log`` is empty for configuration, told by its properties, and for unknown kinds."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        yield Loss(origin=source, reason=f"the JSON is longer than {LARGEST} bytes", extent="the whole file")
        return
    try:
        exported = _values(as_text(data))
        # Windows PowerShell writes some arrays as an object: {"value": [...], "Count": 2}.
        if isinstance(exported, dict) and exported.keys() == {"value", "Count"}:
            exported = exported["value"]
        members = exported if isinstance(exported, list) else [exported]
        objects = [member for member in members if isinstance(member, dict)]
        rows = [{whole_text(name): _text(value) for name, value in member.items()} for member in objects]
    except ValueError as error:
        yield Loss(origin=source, reason=f"the JSON cannot be read: {error}", extent="the whole file")
    except RecursionError:
        yield Loss(origin=source, reason="the JSON is nested too deeply", extent="the whole file")
    else:
        yield from (LogRow(origin=source, log=_log(values), values=values) for values in rows)


def _values(text: str) -> object:
    """Return the value of a text, or the values of all its lines."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _log(values: Mapping[str, str]) -> str:
    names = {name.casefold() for name in values}
    log = next((log for wanted, log in (*TABLES, *IMPORTED) if log in _ROWS and wanted <= names), "")
    return RECEIVE_LOG if log == SEND_LOG and is_receiving(values.get("connector-id", "")) else log


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(_text(member) for member in value)
    if isinstance(value, dict):
        named = [member for name, member in value.items() if name in ("Address", "Domain", "Name", "value", "Value")]
        return _text(named[0]) if named else ";".join(_text(member) for member in value.values())
    return whole_text(value) if isinstance(value, str) else str(value)
