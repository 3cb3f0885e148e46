"""The XML of any Windows event, as its System part and a flat view for Sigma.

Source: the event schema (``http://schemas.microsoft.com/win/2004/08/events/event``). Field names of the flat view
are those of Sigma for the System part (``EventID``, ``Provider_Name``, ``Channel``, ``Computer``, ``Level`` ...),
the ``Name`` of each ``Data`` for EventData, and for UserData the dotted path below its root element, as the provider
writes it: ``Result.value``, ``Certificate.fileRef``, ``CertificateChain.TrustStatus.ErrorStatus.value``.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.model.origin import Fields

if TYPE_CHECKING:
    from lxml import etree

_MOST_DIGITS = 18  # of a number; 64 bits hold all of these
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class WindowsEvent(Struct, frozen=True, kw_only=True):
    """An event's System part, its flat view, and the root element of UserData (None for EventData)."""

    provider: str
    channel: str
    computer: str
    event_id: int
    level: int | None
    record_id: int | None
    process_id: int | None
    thread_id: int | None
    time: datetime | None
    fields: Fields
    user_data: etree._Element | None


def parse(xml: str) -> WindowsEvent | None:
    """Return the event; None where the text is no event, even with characters that XML forbids replaced."""
    root = _parse_xml(xml)
    if root is None or local_name(root) != "Event":
        return None
    system = child(root, "System")
    if system is None:
        return None
    fields: dict[str, list[str]] = {}
    _add_system(system, fields)
    event_data, user_data = child(root, "EventData"), child(root, "UserData")
    for number, element in enumerate(children(event_data, "Data") if event_data is not None else ()):
        fields.setdefault(element.get("Name") or f"Data{number}", []).append(text(element))
    inside = user_data if user_data is not None else ()
    body = next((element for element in inside if isinstance(element.tag, str)), None)
    if body is not None:
        add_element(body, "", fields)
    flat = {name: tuple(values) for name, values in fields.items()}
    event_id = _number(_first(flat, "EventID"))
    if event_id is None:
        return None
    return WindowsEvent(
        provider=_first(flat, "Provider_Name"),
        channel=_first(flat, "Channel"),
        computer=_first(flat, "Computer"),
        event_id=event_id,
        level=_number(_first(flat, "Level")),
        record_id=_number(_first(flat, "EventRecordID")),
        process_id=_number(_first(flat, "Execution_ProcessID")),
        thread_id=_number(_first(flat, "Execution_ThreadID")),
        time=clock.from_iso(_first(flat, "TimeCreated_SystemTime")),
        fields=flat,
        user_data=body,
    )


def child(element: etree._Element, name: str) -> etree._Element | None:
    """Return the first child with that local name, whatever its namespace."""
    return next(element.iterchildren(f"{{*}}{name}"), None)


def children(element: etree._Element, name: str) -> list[etree._Element]:
    """Return all children with that local name."""
    return list(element.iterchildren(f"{{*}}{name}"))


def find(element: etree._Element, path: str) -> etree._Element | None:
    """Return the first descendant by a path of local names, such as ``TrustStatus/ErrorStatus``."""
    descendant: etree._Element | None = element
    for name in path.split("/"):
        if descendant is None:
            return None
        descendant = child(descendant, name)
    return descendant


def attribute(element: etree._Element | None, name: str) -> str:
    """Return the attribute of an element that may be absent; empty where either is."""
    return "" if element is None else element.get(name, "")


def text(element: etree._Element | None) -> str:
    """Return the text of an element that may be absent, without surrounding blanks."""
    return "" if element is None else (element.text or "").strip()


def local_name(element: etree._Element) -> str:
    """Return the tag without namespace; empty for comments and the like."""
    tag = element.tag
    return _without_namespace(tag) if isinstance(tag, str) else ""


@lru_cache(maxsize=4096)  # an export has some hundred names, each of which is used many times per event
def _without_namespace(tag: str) -> str:
    return tag.rpartition("}")[2]


def _parse_xml(xml: str) -> etree._Element | None:
    from lxml import etree  # noqa: PLC0415  start-up cost: only where there are events

    data = _DECLARATION.sub("", xml, count=1)
    for attempt in (data, _FORBIDDEN.sub("\ufffd", data)):
        try:
            return etree.fromstring(attempt.encode("utf-8", "replace"), _parser())
        except etree.XMLSyntaxError:
            continue
    return None


@cache  # making one takes as long as parsing an event
def _parser() -> etree.XMLParser:
    """Return a parser that fetches, expands and validates nothing: certificate subjects are written by strangers."""
    from lxml import etree  # noqa: PLC0415  start-up cost: only where there are events

    return etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False
    )


def _add_system(system: etree._Element, fields: dict[str, list[str]]) -> None:
    for element in system:
        name = local_name(element)
        if text(element):
            fields.setdefault(name, []).append(text(element))
        for key, value in element.attrib.items():
            fields.setdefault(f"{name}_{key!s}", []).append(str(value))


def add_element(element: etree._Element, prefix: str, fields: dict[str, list[str]]) -> None:
    """Add the attributes and text of an element and all below it to the fields; the root adds no step to the path."""
    for below in element:
        name = local_name(below)
        if not name:
            continue
        path = f"{prefix}{name}"
        if text(below):
            fields.setdefault(path, []).append(text(below))
        for key, value in below.attrib.items():
            fields.setdefault(f"{path}.{key!s}", []).append(str(value))
        if len(below):
            add_element(below, f"{path}.", fields)


def _first(fields: Fields, name: str) -> str:
    return fields.get(name, ("",))[0]


def _number(value: str) -> int | None:
    try:
        number = int(value, 0) if len(value) <= _MOST_DIGITS else None
    except ValueError:
        return None
    return number
