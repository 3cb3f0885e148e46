"""Find the texts without which an event cannot match a condition: a search skips what does not hold them.

``required_literals`` returns sets of texts: every event that can match holds at least one text of each set. They come
only from fields that are equal to a text. ``not``, regular expressions, numbers, ``null`` and keywords require no text,
nor do fields that an event log stores as numbers, GUIDs or SIDs. If one alternative of a condition requires no text,
the condition requires none, and every event must be looked at.

``required_prefixes`` returns the beginnings that the cells of a row must have, from texts and anchored regular
expressions.
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
# Different renderings of an event escape these in different ways, so a search cannot rely on them.
_UNSAFE = set("&<>\"'\r\n\t")
_SHORTEST_LITERAL = 4
_ESCAPED, _CLASS = re.compile(r"\\."), re.compile(r"\[\^?\]?[^\]]*\]")
_ANCHORED = re.compile(r"\^([A-Za-z0-9]+)([?*{]?)")

# Fields of System that EVTX stores as typed values: their text is nowhere in the file.
_TYPED = re.compile(
    r"(EventID|Version|Level|Task|Opcode|Keywords|EventRecordID)$|Provider_(?!Name$)|"
    r"(EventID|TimeCreated|Correlation|Execution|Security)_"
)


def required_literals(condition: Condition) -> Clauses:
    """Return sets of lower-case texts; every matching event holds at least one text of each set."""
    # Cases that are not listed require no text.
    match condition:
        case And(args=args):
            return tuple(dict.fromkeys(clause for arg in args for clause in required_literals(arg)))
        case Or(args=args):
            return _either([required_literals(arg) for arg in args])
        case FieldIs(field=name, value=value) if not _TYPED.match(name):
            literals = _value_literals(value)
            return () if literals is None else (literals,)
    return ()


def required_prefixes(condition: Condition) -> dict[str, str]:
    """Return, by field, the text in lower case with which its value begins in every event that can match."""
    match condition:
        case And(args=args):
            longest: dict[str, str] = {}
            for arg in args:
                for name, text in required_prefixes(arg).items():
                    longest[name] = max(longest.get(name, ""), text, key=len)
            return longest
        case Or(args=args):
            parts = [required_prefixes(arg) for arg in args]
            shared = {name: _shared([part.get(name, "") for part in parts]) for name in parts[0]}
            return {name: text for name, text in shared.items() if text}
        case FieldIs(field=name, value=value):
            text = _opening(value)
            return {name: text} if text and text.isascii() else {}
    return {}


def _opening(value: Value | Null | Exists | FieldReference) -> str:
    """Return the lower-case text with which every value that matches begins; empty if there is none."""
    match value:
        case OneOf(values=values):
            return _shared([_opening(alternative) for alternative in values])
        case Text(parts=[str(first), *_]):
            return first.lower()
        case Regex(pattern=pattern, flags=flags) if set(flags) <= {"i"}:
            return _anchored(pattern)
    return ""


def _shared(texts: list[str]) -> str:
    """Return the longest text with which all texts begin."""
    # Sorted, the first and the last text differ most.
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
    """Return the clauses of alternatives: the rarest set of each, joined to one; none if any alternative has none."""
    rarest = [max(part, key=_selectivity, default=None) for part in parts]
    known = [texts for texts in rarest if texts is not None]
    return (frozenset[str]().union(*known),) if known and len(known) == len(rarest) else ()


def _selectivity(texts: frozenset[str]) -> tuple[int, int]:
    """Return how rare texts are: longer ones first, then fewer of them."""
    return min(len(text) for text in texts), -len(texts)


def _value_literals(value: Value | Null | Exists | FieldReference) -> frozenset[str] | None:
    """Return the texts of which an event must hold one to have this value; None if there are none."""
    if isinstance(value, OneOf):
        parts = [_value_literals(alternative) for alternative in value.values]
        return None if None in parts else frozenset[str]().union(*(part for part in parts if part is not None))
    if not isinstance(value, Text):
        return None
    runs = [part for part in value.parts if isinstance(part, str) and not _UNSAFE & set(part) and part.isascii()]
    longest = max(runs, key=len, default="")
    return frozenset({longest.lower()}) if len(longest) >= _SHORTEST_LITERAL else None
