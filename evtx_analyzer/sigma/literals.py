"""Texts without which an event cannot match a condition: they let a search skip what need not be decoded.

``required_literals`` gives sets of texts: at least one text of each set stands in every event that can match. They come
from equality on plain strings only. ``not``, regular expressions, numbers, ``null`` and keywords give none, nor do
fields that an event log keeps as numbers, GUIDs or SIDs. A condition of which any alternative gives none has none as a
whole: then every event must be looked at.

``required_prefixes`` gives what the cells of a row must begin with, from texts and anchored regular expressions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from evtx_analyzer.sigma.conditions import (
    And,
    Condition,
    Exists,
    FieldIs,
    FieldReference,
    Null,
    OneOf,
    Or,
    Regex,
    Text,
    Value,
)

Clauses = tuple[frozenset[str], ...]
# Escaped differently by different renderings of an event, so no basis for a search in its text.
_UNSAFE = set("&<>\"'\r\n\t")
_SHORTEST_LITERAL = 4
_ESCAPED, _CLASS = re.compile(r"\\."), re.compile(r"\[\^?\]?[^\]]*\]")
_ANCHORED = re.compile(r"\^([A-Za-z0-9]+)([?*{]?)")

# Fields of System that EVTX keeps as typed values: their text stands nowhere in the file.
_TYPED = re.compile(
    r"(EventID|Version|Level|Task|Opcode|Keywords|EventRecordID)$|Provider_(?!Name$)|"
    r"(EventID|TimeCreated|Correlation|Execution|Security)_"
)


def required_literals(condition: Condition) -> Clauses:
    """Return sets of lower-case texts; every matching event holds at least one text of each set."""
    match condition:
        case And(args=args):
            return tuple(dict.fromkeys(clause for arg in args for clause in required_literals(arg)))
        case Or(args=args):
            return _either([required_literals(arg) for arg in args])
        case FieldIs(field=name, value=value) if not _TYPED.match(name):
            found = _value_literals(value)
            return () if found is None else (found,)
    return ()


def required_prefixes(condition: Condition) -> dict[str, str]:
    """Return, by field, what its value begins with in every event that can match (lower case)."""
    match condition:
        case And(args=args):
            found: dict[str, str] = {}
            for arg in args:
                for name, text in required_prefixes(arg).items():
                    found[name] = max(found.get(name, ""), text, key=len)
            return found
        case Or(args=args):
            parts = [required_prefixes(arg) for arg in args]
            shared = {name: _shared([part.get(name, "") for part in parts]) for name in parts[0]}
            return {name: text for name, text in shared.items() if text}
        case FieldIs(field=name, value=value):
            text = _opening(value)
            return {name: text} if text and text.isascii() else {}
    return {}


def _opening(value: Value | Null | Exists | FieldReference) -> str:
    match value:
        case OneOf(values=values):
            return _shared([_opening(item) for item in values])
        case Text(parts=[str(first), *_]):
            return first.lower()
        case Regex(pattern=pattern, flags=flags) if set(flags) <= {"i"}:
            return _anchored(pattern)
    return ""


def _shared(texts: list[str]) -> str:
    """Return what all the texts begin with."""
    first, last = min(texts), max(texts)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:same]


def _anchored(regex: str) -> str:
    """Return the letters and digits with which every text that the expression finds must begin."""
    match = _ANCHORED.match(regex)
    if match is None or _has_alternatives(regex):
        return ""
    return (match[1][:-1] if match[2] else match[1]).lower()


def _has_alternatives(regex: str) -> bool:
    """Return whether there is a ``|`` outside of all groups."""
    depth = 0
    for letter in _CLASS.sub("", _ESCAPED.sub("", regex)):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "|" and depth <= 0:
            return True
    return False


def _either(parts: Iterable[Clauses]) -> Clauses:
    """Return the clauses of alternatives: one set of the rarest texts of each; none if any alternative has none."""
    best = [max(part, key=_selectivity, default=None) for part in parts]
    known = [item for item in best if item is not None]
    return (frozenset[str]().union(*known),) if known and len(known) == len(best) else ()


def _selectivity(texts: frozenset[str]) -> tuple[int, int]:
    """Return how rare texts are: longer ones first, then fewer of them."""
    return min(len(text) for text in texts), -len(texts)


def _value_literals(value: Value | Null | Exists | FieldReference) -> frozenset[str] | None:
    if isinstance(value, OneOf):
        parts = [_value_literals(item) for item in value.values]
        return None if None in parts else frozenset[str]().union(*(part for part in parts if part is not None))
    if not isinstance(value, Text):
        return None
    runs = [part for part in value.parts if isinstance(part, str) and not _UNSAFE & set(part) and part.isascii()]
    longest = max(runs, key=len, default="")
    return frozenset({longest.lower()}) if len(longest) >= _SHORTEST_LITERAL else None
