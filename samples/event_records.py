"""Event XML to records of templates and values, as ``evtx_writer`` puts them into chunks.

The shape of ``System`` and its types are those of real CAPI2 Operational exports (``evtx_writer`` names the sources).
"""

from __future__ import annotations

import re
import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENT_NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
# Types of values in BinXml, [MS-EVEN6] 2.2.12.
UNSIGNED_8, UNSIGNED_16, UNSIGNED_32, UNSIGNED_64 = 0x04, 0x06, 0x08, 0x0A
NOTHING, STRING, GUID, FILETIME, SID, HEX_64, BINXML = 0x00, 0x01, 0x0F, 0x11, 0x13, 0x15, 0x21
_SYSTEM_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


@dataclass(frozen=True)
class Slot:
    """A place in a template that each record fills; an optional one takes its element or attribute away if empty."""

    number: int
    kind: int
    optional: bool = True


@dataclass(frozen=True)
class Element:
    """An element; text and substitutions stand in its content."""

    name: str
    attributes: tuple[tuple[str, str | Slot], ...] = ()
    content: tuple[str | Slot | Element, ...] = ()


@dataclass(frozen=True)
class Filled:
    """A template together with the values of its slots: type and bytes, or something to be written as BinXml."""

    template: Element
    values: tuple[tuple[int, bytes | Element | Filled], ...]


@dataclass(frozen=True)
class Record:
    """One event: its EventRecordID, its time as 100 ns since 1601, and what stands in it."""

    identifier: int
    written: int
    root: Filled


def record_of(text: str) -> Record:
    """The record of one event; a ValueError for what it cannot hold."""
    event = ET.fromstring(text)  # noqa: S314 - reads XML of our own making
    if event.tag != f"{{{EVENT_NAMESPACE}}}Event" or not 1 <= len(event) <= 2 or event.attrib:
        raise ValueError("an event is an Event with System and at most one of UserData and EventData")
    system = _system_of(event[0])
    identifier = int(system["EventRecordID"].text or "")
    written = filetime(system["TimeCreated"].get("SystemTime", ""))
    content, payload = _payload(event[1:])
    root = Element("Event", (("xmlns", EVENT_NAMESPACE),), (_system_template(system), *content))
    values = _system_values(system)
    values[6] = (FILETIME, struct.pack("<Q", written))
    return Record(identifier, written, Filled(root, (*values, payload)))


def filetime(text: str) -> int:
    """``2016-12-01T03:09:55.4561806Z`` as 100 ns since 1601; no float comes near it."""
    match = _SYSTEM_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"SystemTime {text!r} is not of the form 2016-12-01T03:09:55.4561806Z")
    *calendar, fraction = match.groups(default="")
    year, month, day, hour, minute, second = map(int, calendar)
    since = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - datetime(1601, 1, 1, tzinfo=UTC)
    if fraction[7:].strip("0") or since < timedelta():
        raise ValueError(f"SystemTime {text!r} cannot be a FILETIME: 100 ns since 1601")
    return (since.days * 86400 + since.seconds) * 10_000_000 + int(fraction[:7].ljust(7, "0"))


# Each element of System as CAPI2 has it, in this order: slot and type of its text, then those of its attributes.
# None where the template holds the text itself. A last mark says which elements an event may lack.
_SYSTEM: dict[str, tuple[Slot | None, dict[str, Slot], bool]] = {
    "Provider": (None, {}, False),
    "EventID": (Slot(3, UNSIGNED_16), {"Qualifiers": Slot(4, UNSIGNED_16)}, False),
    "Version": (Slot(11, UNSIGNED_8), {}, True),
    "Level": (Slot(0, UNSIGNED_8), {}, True),
    "Task": (Slot(2, UNSIGNED_16), {}, True),
    "Opcode": (Slot(1, UNSIGNED_8), {}, True),
    "Keywords": (Slot(5, HEX_64), {}, True),
    "TimeCreated": (None, {"SystemTime": Slot(6, FILETIME)}, False),
    "EventRecordID": (Slot(10, UNSIGNED_64), {}, False),
    "Correlation": (None, {"ActivityID": Slot(7, GUID), "RelatedActivityID": Slot(18, GUID)}, False),
    "Execution": (None, {"ProcessID": Slot(8, UNSIGNED_32), "ThreadID": Slot(9, UNSIGNED_32)}, False),
    "Channel": (None, {}, False),
    "Computer": (None, {}, False),
    "Security": (None, {"UserID": Slot(12, SID)}, False),
}
_TEMPLATE_TEXTS = {"Channel", "Computer"}
_PROVIDER = {"Name", "Guid", "EventSourceName"}
_INTEGERS = {UNSIGNED_8: "<B", UNSIGNED_16: "<H", UNSIGNED_32: "<I", UNSIGNED_64: "<Q", HEX_64: "<Q"}


def _system_of(system: ET.Element) -> dict[str, ET.Element]:
    """The elements of System by name, after a look at whether the template can hold all of it."""
    if _name(system) != "System" or system.attrib:
        raise ValueError("an event begins with System")
    found = {_name(element): element for element in system}
    expected = [name for name, (_, _, may_lack) in _SYSTEM.items() if name in found or not may_lack]
    if [_name(element) for element in system] != expected:
        raise ValueError(f"System holds {list(found)}, expected {expected}")
    for name, element in found.items():
        slot, attributes, _ = _SYSTEM[name]
        unknown = element.attrib.keys() - attributes.keys() - (_PROVIDER if name == "Provider" else set())
        has_text = slot is not None or name in _TEMPLATE_TEXTS
        if len(element) or unknown or bool(element.text) != has_text:
            raise ValueError(f"{name} holds something that CAPI2 events do not have")
    return found


def _system_template(system: dict[str, ET.Element]) -> Element:
    return Element("System", (), tuple(_system_element(name, system.get(name)) for name in _SYSTEM))


def _system_element(name: str, given: ET.Element | None) -> Element:
    text, slots, _ = _SYSTEM[name]
    attributes: tuple[tuple[str, str | Slot], ...] = tuple(slots.items())
    if name == "Provider" and given is not None:
        attributes = tuple(given.items())
    content: tuple[str | Slot, ...] = () if text is None else (text,)
    if name in _TEMPLATE_TEXTS and given is not None and given.text:
        content = (given.text,)
    return Element(name, attributes, content)


def _system_values(system: dict[str, ET.Element]) -> list[tuple[int, bytes | Element | Filled]]:
    values: list[tuple[int, bytes | Element | Filled]] = [(NOTHING, b"")] * 19
    for name, element in system.items():
        slot, attributes, _ = _SYSTEM[name]
        filled = {attributes[key]: value for key, value in element.items() if key in attributes}
        if slot is not None and element.text:
            filled[slot] = element.text
        for target, value in filled.items():
            values[target.number] = (target.kind, _packed(target.kind, value))
    return values


def _packed(kind: int, text: str) -> bytes:
    if kind in _INTEGERS:
        try:
            return struct.pack(_INTEGERS[kind], int(text, 16 if kind == HEX_64 else 10))
        except struct.error as reason:
            raise ValueError(f"{text} does not fit its field of System") from reason
    if kind == GUID:
        return uuid.UUID(text).bytes_le
    if kind == SID:
        return _sid(text)
    return struct.pack("<Q", filetime(text))


def _sid(text: str) -> bytes:
    """``S-1-5-18`` in the binary form of [MS-DTYP] 2.4.2.2."""
    mark, revision, authority, *parts = text.split("-")
    if mark != "S":
        raise ValueError(f"{text!r} is not a SID")
    start = bytes((int(revision), len(parts))) + int(authority).to_bytes(6, "big")
    return start + struct.pack(f"<{len(parts)}I", *map(int, parts))


def _payload(
    elements: Sequence[ET.Element],
) -> tuple[tuple[Element | Slot, ...], tuple[int, bytes | Element | Filled]]:
    """What stands in Event behind System, and the value of slot 19 in it."""
    slot = Slot(19, BINXML)
    if not elements:
        return (), (NOTHING, b"")
    (data,) = elements
    if _name(data) == "EventData" and not data.attrib:
        return (slot,), (BINXML, _event_data(data))
    if _name(data) == "UserData" and not data.attrib and len(data) == 1:
        return (Element("UserData", (), (slot,)),), (BINXML, _tree(data[0], EVENT_NAMESPACE))
    raise ValueError("behind System stands EventData or a UserData with one element")


def _event_data(data: ET.Element) -> Filled:
    if any(_name(item) != "Data" or item.attrib.keys() - {"Name"} or len(item) for item in data):
        raise ValueError("EventData holds Data with an optional Name and text")
    items = tuple(
        Element("Data", tuple(item.items()), (Slot(number, STRING, optional=False),))
        for number, item in enumerate(data)
    )
    values = tuple((STRING, (item.text or "").encode("utf-16-le")) for item in data)
    return Filled(Element("EventData", (), items), values)


def _tree(element: ET.Element, inherited: str) -> Element:
    """An element below UserData; a namespace is declared where it changes."""
    namespace, _, name = element.tag.rpartition("}")
    namespace = namespace.removeprefix("{")
    attributes = tuple(element.items())
    if any(key.startswith("{") for key, _ in attributes):
        raise ValueError(f"an attribute of {name} has a namespace")
    if namespace != inherited:
        attributes = (("xmlns", namespace), *attributes)
    children = tuple(_tree(child, namespace) for child in element)
    beside = [element.text, *(child.tail for child in element)]
    if children and any(text and text.strip() for text in beside):
        raise ValueError(f"{name} holds text beside elements")
    text = element.text or ""
    return Element(name, attributes, children or ((text,) if text else ()))


def _name(element: ET.Element) -> str:
    return element.tag.removeprefix(f"{{{EVENT_NAMESPACE}}}")
