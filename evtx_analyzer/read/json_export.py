"""JSON that ``ConvertTo-Json`` writes of Exchange's configuration objects: one object, or an array of them.

The whole file is one JSON value, so it is read at once, up to a size that no configuration reaches. Values become
texts: the members of an array are joined by ``;``, an object becomes the member that names it (else all of them), and
a Boolean reads ``True`` as in the other exports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.plain_text import whole_text
from evtx_analyzer.read.encoding import as_text

LARGEST = 64 << 20


def is_json(head: bytes) -> bool:
    """Return whether a file begins as a JSON object or array of objects."""
    text = as_text(head[:512]).lstrip(" \t\r\n")
    return text.startswith("{") or (text.startswith("[") and text[1:].lstrip().startswith("{"))


def read_json(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one row per object, named by its properties; ``log`` is empty for an object of no known kind."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        yield Loss(origin=source, reason=f"the JSON is longer than {LARGEST} bytes", extent="the whole file")
        return
    try:
        exported = json.loads(as_text(data))
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
        yield from (LogRow(origin=source, log="", values=values) for values in rows)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(_text(member) for member in value)
    if isinstance(value, dict):
        named = [member for name, member in value.items() if name in ("Address", "Domain", "Name", "value", "Value")]
        return _text(named[0]) if named else ";".join(_text(member) for member in value.values())
    return whole_text(value) if isinstance(value, str) else str(value)
