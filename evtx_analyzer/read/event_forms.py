"""The forms in which tools write a Windows event as an object, given as the event XML that it was made from.

What CAPI2 says stands in UserData, so only forms that keep its elements and attributes are read:

- ``evtx_dump -o json`` and ``-o jsonl`` (github.com/omerbenamram/evtx): attributes under ``#attributes`` or, with
  ``--separate-json-attributes``, beside the element as ``Name_attributes``; text as ``#text``; an element that comes
  again as ``Name_1``, ``Name_2``; a line ``Record N`` before each event of ``-o json``;
- xmltodict and Json.NET (python-evtx, EvtxECmd): attributes as ``@Name``, elements that come again as a list. EvtxECmd
  (github.com/EricZimmerman/evtx) has UserData as JSON text in ``Payload``, in JSON and in CSV;
- any form that keeps the event's XML in a value, as Winlogbeat does with ``include_xml`` (``event.original``).

Other forms have lost what decides, and half of an event may say the contrary of the whole: of CAPI2 events in these
nothing is read, and that is said. Winlogbeat's ``winlog.user_data`` has the texts of elements and none of their
attributes (elastic/beats ``winlogbeat/sys/winevent/event.go``), event catalogs with ``system`` and ``user_data``
flatten what is nested (event 11 loses its chain), Velociraptor and others write attributes like elements, and
``Get-WinEvent | ConvertTo-Json`` has no UserData at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from evtx_analyzer.wincrypt import CAPI2_CHANNEL, CAPI2_PROVIDER

Object = Mapping[str, Any]
_NUMBERED = re.compile(r"(.+)_\d+$")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_][\w.-]*$")
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)
# Around the events of a search's answer, of a dump of an index, and of evtx_dump as a library.
_WRAPPERS = ("_source", "hits", "events", "Events", "data")
_LEVELS = {"critical": "1", "error": "2", "warning": "3", "info": "4", "information": "4", "verbose": "5"}
ECMD_COLUMNS = frozenset({"EventRecordId", "TimeCreated", "EventId", "Provider", "Channel", "Computer"})


class Converted(Struct, frozen=True):
    """The XML of an event; empty where its form has lost what UserData holds of a CAPI2 event."""

    xml: str


# ------------------------------------------------------------------------------------------------- forms of an event


def converted(value: object) -> Iterator[Converted]:
    """Every event in a value of any of the forms; nothing for what is no event."""
    if isinstance(value, list):
        for member in value:
            yield from converted(member)
    elif isinstance(value, str):
        if _is_xml(value):
            yield Converted(value)
        elif value.startswith("{"):
            yield from converted(_parsed(value))
    elif isinstance(value, dict):
        event = _event(value)
        if event is not None:
            yield event
        else:
            yield from (found for name in _WRAPPERS for found in converted(value.get(name)))


def _event(value: Object) -> Converted | None:
    """The event that an object is; None where it is none."""
    whole = next((text for text in _texts(value) if _is_xml(text)), None)
    if whole is not None:
        return Converted(whole)
    for form in (_as_tree, _as_evtxecmd, _as_catalog, _as_winlogbeat):
        xml = form(value)
        if xml is not None:
            return Converted(xml)
    provider = value.get("ProviderName") or value.get("SourceName") or value.get("Provider")
    channel = value.get("LogName") or value.get("Channel") or CAPI2_CHANNEL
    return Converted("") if _is_capi2(provider, channel) else None


def _is_capi2(provider: object, channel: object) -> bool:
    """Whether an event is of the CAPI2 channel: the provider writes classic events to the Application log, too."""
    return provider == CAPI2_PROVIDER and str(channel).casefold() == CAPI2_CHANNEL.casefold()


def _texts(value: Object) -> Iterator[str]:
    """The texts of an object and of the objects right in it."""
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
    """An event as its own tree of elements: evtx_dump, xmltodict; other tools do not tell attributes from elements."""
    event = value.get("Event", value)
    if not isinstance(event, dict) or not isinstance(event.get("System"), dict):
        return None
    system = event["System"]
    provider, marked = _provider(system)
    if _is_capi2(provider, system.get("Channel")) and not (marked and isinstance(event.get("UserData"), dict)):
        return ""
    return _element("Event", event)


def _provider(system: Object) -> tuple[str, bool]:
    """The name of an event's provider, and whether it is marked as an attribute."""
    provider = system.get("Provider")
    beside = _object(system.get("Provider_attributes")) or _object(_object(provider).get("#attributes"))
    name = beside.get("Name") or _object(provider).get("@Name")
    return str(name or _object(provider).get("Name") or provider), bool(name)


def _as_evtxecmd(value: Object) -> str | None:
    """A row of EvtxECmd, in which ``Payload`` is the rest of the event as JSON text."""
    if not value.keys() >= ECMD_COLUMNS:
        return None
    payload = _parsed(value.get("Payload"))
    if not isinstance(payload, dict) or not isinstance(payload.get("UserData"), dict):
        if _is_capi2(value["Provider"], value["Channel"]):
            return ""
        payload = payload if isinstance(payload, dict) else {}
    time = str(value["TimeCreated"]).strip().replace(" ", "T")
    return _event_xml(
        _children(payload),
        provider=value["Provider"],
        channel=value["Channel"],
        event_id=value["EventId"],
        record_id=value["EventRecordId"],
        computer=value["Computer"],
        level=_LEVELS.get(str(value.get("Level", "")).casefold(), "0"),
        process=value.get("ProcessId"),
        thread=value.get("ThreadId"),
        time=time if re.search(r"(Z|[+-]\d\d:?\d\d)$", time) else f"{time}Z",
    )


def _as_catalog(value: Object) -> str | None:
    """An event with ``system`` and ``user_data`` or ``event_data``; of CAPI2 it flattens what UserData nests."""
    system = value.get("system")
    if not isinstance(system, dict) or not {"provider", "event_id", "channel"} <= system.keys():
        return None
    lost = _is_capi2(system["provider"], system["channel"])
    return "" if lost else _with_data(system, value.get("event_data"))


def _with_data(system: Object, data: object) -> str:
    return _with_body(system, f"<EventData>{_event_data(data)}</EventData>" if isinstance(data, dict) else "")


def _with_body(system: Object, body: str) -> str:
    return _event_xml(
        body,
        provider=system["provider"],
        channel=system["channel"],
        event_id=system["event_id"],
        record_id=system.get("event_record_id"),
        computer=system.get("computer"),
        level=system.get("level"),
        process=system.get("process_id"),
        thread=system.get("thread_id"),
        time=system.get("time_created"),
    )


def _as_winlogbeat(value: Object) -> str | None:
    """An event of Winlogbeat or Elastic Agent; of CAPI2 it keeps no attributes, and so no facts."""
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
    return _with_data(system, winlog.get("event_data"))


# ------------------------------------------------------------------------------------------------------------ as XML


def _event_xml(body: str, **system: object) -> str:
    """An event of its System values and the XML of the rest; what is absent is left out."""
    known = {name: _escaped(value) for name, value in system.items() if value not in (None, "")}
    parts = {
        "provider": '<Provider Name="{}"/>',
        "event_id": "<EventID>{}</EventID>",
        "level": "<Level>{}</Level>",
        "time": '<TimeCreated SystemTime="{}"/>',
        "record_id": "<EventRecordID>{}</EventRecordID>",
        "channel": "<Channel>{}</Channel>",
        "computer": "<Computer>{}</Computer>",
    }
    execution = (
        f'<Execution ProcessID="{known["process"]}" ThreadID="{known.get("thread", "")}"/>'
        if "process" in known
        else ""
    )
    return (
        f"<Event><System>{''.join(form.format(known[name]) for name, form in parts.items() if name in known)}"
        f"{execution}</System>{body}</Event>"
    )


def _object(value: object) -> dict[str, Any]:
    """A value where it is an object; an empty one else."""
    return value if isinstance(value, dict) else {}


def _element(name: str, value: object, attributes: object = None) -> str:
    """The XML of a member: an object is an element with attributes and children, a list one element per member."""
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
    """Name, content and attributes (where they stand beside it) of everything inside an element, in its order."""
    for name, content in value.items():
        base = name.removesuffix("_attributes")
        if name[:1] in ("#", "@"):
            continue
        if base == name or not isinstance(content, dict):
            yield name, content, value.get(f"{name}_attributes")
        elif base not in value:
            yield base, None, content


def _unnumbered(name: str, siblings: Object) -> str:
    """The name of an element that comes again: evtx_dump numbers all but one of the same name."""
    numbered = _NUMBERED.match(name)
    same = numbered is not None and (numbered[1] in siblings or f"{numbered[1]}_attributes" in siblings)
    return numbered[1] if numbered is not None and same else name


def _event_data(data: Object) -> str:
    """EventData, whose ``Data`` evtx_dump names by their ``Name``."""
    named = ((name, content) for name, content, _ in _members(data) if name not in ("Data", "Binary"))
    return _unnamed(data.get("Data")) + "".join(
        f'<Data Name="{_escaped(name)}">{_text(content)}</Data>' for name, content in named
    )


def _unnamed(data: object) -> str:
    """``Data`` elements: those with a name of their own as they are, the texts of the others one by one."""
    texts = data.get("#text", "") if isinstance(data, dict) and "@Name" not in data else data
    return "" if data is None else _element("Data", texts)


def _attributes(values: Object) -> str:
    """Attributes without those that declare a namespace: names are compared without it."""
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
