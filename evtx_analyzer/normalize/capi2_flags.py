"""Flags of CAPI2 events, decoded from ``@value``; the named attributes next to it are copies that may disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evtx_analyzer.normalize.windows_event import attribute, local_name
from evtx_analyzer.wincrypt import FLAG_ELEMENTS, flag_names, flag_table, from_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml import etree


def decoded(element: etree._Element | None, event_id: int) -> tuple[str, ...]:
    """Return the names of the flags that an element's ``@value`` has set."""
    if element is None:
        return ()
    return flag_names(from_hex(attribute(element, "value")) or 0, flag_table(event_id, local_name(element)) or {})


def correct_flags(body: etree._Element, event_id: int) -> tuple[bool, tuple[str, ...]]:
    """Correct the named flags below ``body``; return whether any changed, and a note for each disagreement.

    Rules read the named flags, so these are corrected in the tree by ``@value``. A value without any named flag is no
    disagreement.
    """
    changed, notes = False, []
    for element, table in _flagged(body, event_id):
        value = from_hex(attribute(element, "value"))
        if value is None:
            continue
        meant = {name for bit, name in table.items() if value & bit}
        named = {str(name) for name, on in element.attrib.items() if name in table.values() and on == "true"}
        if named == meant:
            continue
        changed = True
        if named:
            notes.append(_disagreement(element, value, named, meant))
        for name in named - meant:
            del element.attrib[name]
        for name in sorted(meant):
            element.set(name, "true")
    return changed, tuple(notes)


def _flagged(body: etree._Element, event_id: int) -> Iterator[tuple[etree._Element, dict[int, str]]]:
    tables = {name: table for (number, name), table in FLAG_ELEMENTS.items() if number in (0, event_id)}
    for element in body.iter(*(f"{{*}}{name}" for name in tables)):
        yield element, tables[local_name(element)]


def _disagreement(element: etree._Element, value: int, named: set[str], meant: set[str]) -> str:
    extra = [f"names {name}, which the value does not hold" for name in sorted(named - meant)]
    absent = [f"does not name {name}, which the value holds" for name in sorted(meant - named)]
    return f"{local_name(element)} value {value:X} {' and '.join(extra + absent)}; the value is believed"
