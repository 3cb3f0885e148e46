"""The forms in which tools write a Windows event as an object, turned back into the event XML that it was made from.

What CAPI2 says stands in UserData, so only forms that keep its elements and attributes are read:

- ``evtx_dump -o json`` and ``-o jsonl`` (github.com/omerbenamram/evtx): attributes under ``#attributes`` or, with
  ``--separate-json-attributes``, next to the element as ``Name_attributes``; text as ``#text``; further elements of
  the same name as ``Name_1``, ``Name_2``; a line ``Record N`` before each event of ``-o json``;
- xmltodict and Json.NET (python-evtx, EvtxECmd): attributes as ``@Name``, elements of one name as a list. EvtxECmd
  (github.com/EricZimmerman/evtx) has UserData as JSON text in ``Payload``, in JSON and in CSV;
- any form that keeps the event's XML in a value, as Winlogbeat does with ``include_xml`` (``event.original``).

Other forms have lost the facts that decide, and half of an event may say the contrary of the whole: CAPI2 events in
them are not read, and become a loss. Winlogbeat's ``winlog.user_data`` has the texts of elements and none of their
attributes (elastic/beats ``winlogbeat/sys/winevent/event.go``), event catalogs with ``system`` and ``user_data``
flatten what is nested (event 11 loses its chain), Velociraptor and others write attributes like elements, and
``Get-WinEvent | ConvertTo-Json`` has no UserData at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from evtx_analyzer.wincrypt import CAPI2_CHANNEL, CAPI2_PROVIDER

Object = Mapping[str, Any]
_NUMBERED = re.compile(r"(.+)_\d+$")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_][\w.-]*$")
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)
# Around the events of a search's answer (Elasticsearch, Splunk), of a dump of an index, of evtx_dump as a library, and
# of Chainsaw (``document.data``).
_WRAPPERS = ("_source", "hits", "results", "events", "Events", "document", "data")
_LEVELS = {"critical": "1", "error": "2", "warning": "3", "info": "4", "information": "4", "verbose": "5"}
ECMD_COLUMNS = frozenset({"EventRecordId", "TimeCreated", "EventId", "Provider", "Channel", "Computer"})


# ------------------------------------------------------------------------------------------------- forms of an event


def converted(value: object) -> Iterator[str]:
    """Yield the XML of every event in a value of any of the forms; nothing for a value that holds no event.

    It is empty for an event whose form has lost what UserData holds of a CAPI2 event.
    """
    if isinstance(value, list):
        for member in value:
            yield from converted(member)
    elif isinstance(value, str):
        if _is_xml(value):
            yield value
        elif value.startswith("{"):
            yield from converted(_parsed(value))
    elif isinstance(value, dict):
        event = _event(value)
        if event is not None:
            yield event
        else:
            for name in _WRAPPERS:
                yield from converted(value.get(name))


def _event(value: Object) -> str | None:
    """Return the XML of the event that an object is, empty if facts are lost; None if it is no event."""
    whole = next((text for text in _texts(value) if _is_xml(text)), None)
    if whole is not None:
        return whole
    for form in (_as_tree, _as_evtxecmd, _as_catalog, _as_winlogbeat):
        if (xml := form(value)) is not None:
            return xml
    provider = next(
        (value[name] for name in ("ProviderName", "SourceName", "Provider", "Source") if value.get(name)), ""
    )
    channel = value.get("LogName") or value.get("Channel") or value.get("EventLog") or CAPI2_CHANNEL
    return "" if _is_capi2(provider, channel) else None


def _is_capi2(provider: object, channel: object) -> bool:
    """Return whether an event is of the CAPI2 channel.

    The provider also writes classic events to the Application log, which are of no use here.
    """
    return provider == CAPI2_PROVIDER and str(channel).casefold() == CAPI2_CHANNEL.casefold()


def _texts(value: Object) -> Iterator[str]:
    """Return the texts in an object and in the objects directly inside it."""
    for member in value.values():
        if isinstance(member, str):
            yield member
        elif isinstance(member, dict):
            yield from (text for text in member.values() if isinstance(text, str))


def _is_xml(text: str) -> bool:
    return text.lstrip().startswith(("<Event ", "<Event>")) and text.rstrip().endswith("</Event>")


def _parsed(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _as_tree(value: Object) -> str | None:
    """Return the XML of an event written as a tree of elements, as by evtx_dump and xmltodict.

    Empty for a CAPI2 event whose attributes are not marked: other tools do not tell them from elements.
    """
    event = value.get("Event", value)
    if not isinstance(event, dict) or not isinstance(event.get("System"), dict):
        return None
    system = event["System"]
    provider, marked = _provider(system)
    if _is_capi2(provider, system.get("Channel")) and not (marked and isinstance(event.get("UserData"), dict)):
        return ""
    return _element("Event", event)


def _provider(system: Object) -> tuple[str, bool]:
    """Return the name of an event's provider, and whether the form marks it as an attribute."""
    provider = system.get("Provider")
    attributes = _object(system.get("Provider_attributes")) or _object(_object(provider).get("#attributes"))
    name = attributes.get("Name") or _object(provider).get("@Name")
    return str(name or _object(provider).get("Name") or provider), bool(name)


def _as_evtxecmd(value: Object) -> str | None:
    """Return the XML of a row of EvtxECmd, in which ``Payload`` holds the event's data as JSON text."""
    if not value.keys() >= ECMD_COLUMNS:
        return None
    payload = _parsed(value.get("Payload"))
    if not isinstance(payload, dict) or not isinstance(payload.get("UserData"), dict):
        if _is_capi2(value["Provider"], value["Channel"]):
            return ""
        payload = payload if isinstance(payload, dict) else {}
    time = str(value["TimeCreated"]).strip().replace(" ", "T")
    system = {
        "provider": value["Provider"],
        "channel": value["Channel"],
        "event_id": value["EventId"],
        "event_record_id": value["EventRecordId"],
        "computer": value["Computer"],
        "level": _LEVELS.get(str(value.get("Level", "")).casefold(), "0"),
        "process_id": value.get("ProcessId"),
        "thread_id": value.get("ThreadId"),
        "time_created": time if re.search(r"(Z|[+-]\d\d:?\d\d)$", time) else f"{time}Z",
    }
    return _event_xml(system, _children(payload))


def _as_catalog(value: Object) -> str | None:
    """Return the XML of an event with ``system`` and ``event_data``; empty for CAPI2, whose data is flattened."""
    system = value.get("system")
    if not isinstance(system, dict) or not {"provider", "event_id", "channel"} <= system.keys():
        return None
    lost = _is_capi2(system["provider"], system["channel"])
    return "" if lost else _event_xml(system, _whole_data(value.get("event_data")))


def _whole_data(data: object) -> str:
    return f"<EventData>{_event_data(data)}</EventData>" if isinstance(data, dict) else ""


def _as_winlogbeat(value: Object) -> str | None:
    """Return the XML of an event of Winlogbeat or Elastic Agent; empty for CAPI2, whose attributes are lost."""
    winlog = value.get("winlog")
    if not isinstance(winlog, dict) or "channel" not in winlog:
        return None
    if _is_capi2(winlog.get("provider_name"), winlog["channel"]):
        return ""
    system = {
        "provider": winlog.get("provider_name"),
        "channel": winlog["channel"],
        "event_id": winlog.get("event_id"),
        "event_record_id": winlog.get("record_id"),
        "computer": winlog.get("computer_name"),
        "time_created": winlog.get("time_created") or value.get("@timestamp"),
    }
    return _event_xml(system, _whole_data(winlog.get("event_data")))


# ------------------------------------------------------------------------------------------------------------ as XML


def _event_xml(system: Object, body: str) -> str:
    """Return an event of System values, by the names of an event catalog, and the XML of its data.

    Values that are absent are left out.
    """
    known = {name: _escaped(value) for name, value in system.items() if value not in (None, "")}
    parts = {
        "provider": '<Provider Name="{}"/>',
        "event_id": "<EventID>{}</EventID>",
        "level": "<Level>{}</Level>",
        "time_created": '<TimeCreated SystemTime="{}"/>',
        "event_record_id": "<EventRecordID>{}</EventRecordID>",
        "channel": "<Channel>{}</Channel>",
        "computer": "<Computer>{}</Computer>",
    }
    written = "".join(form.format(known[name]) for name, form in parts.items() if name in known)
    if "process_id" in known:
        written += f'<Execution ProcessID="{known["process_id"]}" ThreadID="{known.get("thread_id", "")}"/>'
    return f"<Event><System>{written}</System>{body}</Event>"


def _object(value: object) -> dict[str, Any]:
    """Return a value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def _element(name: str, value: object, attributes: object = None) -> str:
    """Return the XML of a member: an element for an object or a text, several elements for a list."""
    if isinstance(value, list):
        return "".join(_element(name, member) for member in value)
    name = name.rpartition(":")[2]
    if not _ATTRIBUTE_NAME.match(name):
        return ""
    if not isinstance(value, dict):
        return f"<{name}{_attributes(_object(attributes))}>{_escaped(value)}</{name}>"
    own = {key[1:]: content for key, content in value.items() if key.startswith("@")}
    own |= _object(value.get("#attributes"))
    inside = _event_data(value) if name == "EventData" else _children(value)
    return f"<{name}{_attributes(own | _object(attributes))}>{_text(value.get('#text'))}{inside}</{name}>"


def _children(value: Object) -> str:
    return "".join(
        _element(_unnumbered(name, value), content, attributes) for name, content, attributes in _members(value)
    )


def _members(value: Object) -> Iterator[tuple[str, Any, object]]:
    """Yield name, content and attributes (where they stand next to it) of each part of an element, in order."""
    for name, content in value.items():
        base = name.removesuffix("_attributes")
        if name[:1] in ("#", "@"):
            continue
        if base == name or not isinstance(content, dict):
            yield name, content, value.get(f"{name}_attributes")
        elif base not in value:
            yield base, None, content


def _unnumbered(name: str, siblings: Object) -> str:
    """Return the name of an element without the number that evtx_dump adds where several have one name."""
    numbered = _NUMBERED.match(name)
    same = numbered is not None and (numbered[1] in siblings or f"{numbered[1]}_attributes" in siblings)
    return numbered[1] if numbered is not None and same else name


def _event_data(data: Object) -> str:
    """Return the XML of EventData, whose ``Data`` elements evtx_dump calls by their ``Name``."""
    named = ((name, content) for name, content, _ in _members(data) if name not in ("Data", "Binary"))
    return _unnamed(data.get("Data")) + "".join(
        f'<Data Name="{_escaped(name)}">{_text(content)}</Data>' for name, content in named
    )


def _unnamed(data: object) -> str:
    """Return the XML of ``Data`` elements: those that are objects as they are, other texts one by one."""
    texts = data.get("#text", "") if isinstance(data, dict) and "@Name" not in data else data
    return "" if data is None else _element("Data", texts)


def _attributes(values: Object) -> str:
    """Return the XML of attributes, without namespace declarations: names are compared without namespace."""
    pairs = (
        (str(name).rpartition(":")[2], value) for name, value in values.items() if not str(name).startswith("xmlns")
    )
    return "".join(f' {name}="{_escaped(value)}"' for name, value in pairs if _ATTRIBUTE_NAME.match(name))


def _text(value: object) -> str:
    members = value if isinstance(value, list) else [value]
    return "".join(_escaped(member.get("#text", "") if isinstance(member, dict) else member) for member in members)


def _escaped(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).translate(_ESCAPES)
