"""Evaluate Sigma conditions over events: this defines when a signal matches.

A condition (``conditions``) becomes a predicate over the flat view of an event, with the meaning of the Sigma
specification: strings compare without case and may have ``*`` and ``?``, a field with several values matches if one of
them does, an absent field matches ``null`` only, a keyword without a field searches all values.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.model.events import Capi2Event, Event, Match, SmtpEvent, WholeSession
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.model.stores import StoreChain
from evtx_analyzer.sigma.conditions import (
    ALL_FIELDS,
    And,
    Boolean,
    Compare,
    Condition,
    Exists,
    FieldIs,
    FieldReference,
    Keyword,
    Network,
    Not,
    Null,
    Number,
    OneOf,
    Or,
    Regex,
    Text,
    Value,
    Wildcard,
    fields_of,
)
from evtx_analyzer.sigma.literals import Clauses, required_literals, required_prefixes

Predicate = Callable[[Fields], bool]
Correlated = TypeVar("Correlated", Operation, Rejection, Handshake, StoreChain)
ValueTest = Callable[[str], bool]
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "LT": lambda left, right: left < right,
    "LTE": lambda left, right: left <= right,
    "GT": lambda left, right: left > right,
    "GTE": lambda left, right: left >= right,
    "NEQ": lambda left, right: left != right,
}


class Signal(Struct, frozen=True, kw_only=True):
    """A Sigma rule ready to run over events of one ``kind``.

    ``literals`` describes ``required_literals`` and ``required_prefixes``. ``looks_at`` are the fields of
    its conditions.
    """

    name: str
    title: str
    kind: str
    matches: Predicate
    required_literals: Clauses
    required_prefixes: dict[str, str]
    looks_at: frozenset[str] = frozenset({ALL_FIELDS})


def signal(name: str, title: str, kind: str, conditions: Sequence[Condition]) -> Signal:
    """Return a rule ready to run; it matches an event if any of its conditions holds."""
    predicates = [compile_condition(condition) for condition in conditions]
    return Signal(
        name=name,
        title=title,
        kind=kind,
        matches=predicates[0] if len(predicates) == 1 else _any_of(predicates),
        required_literals=required_literals(conditions[0] if len(conditions) == 1 else Or(tuple(conditions))),
        required_prefixes=required_prefixes(conditions[0]) if len(conditions) == 1 else {},
        looks_at=frozenset().union(*map(fields_of, conditions)),
    )


def compile_condition(condition: Condition) -> Predicate:
    """Return a predicate over the flat view of an event; a wrong pattern or network raises re.error or ValueError."""
    match condition:
        case And(args=args):
            return _all_of([compile_condition(arg) for arg in args])
        case Or(args=args):
            return _any_of([compile_condition(arg) for arg in args])
        case Not(arg=arg):
            inner = compile_condition(arg)
            return lambda fields: not inner(fields)
        case FieldIs(field=name, value=value):
            return _field_test(name, value)
        case Keyword(value=value):
            test = _value_test(value)
            return lambda fields: any(test(text) for texts in fields.values() for text in texts)


def _any_of(parts: list[Predicate]) -> Predicate:
    return lambda fields: any(part(fields) for part in parts)


def _all_of(parts: list[Predicate]) -> Predicate:
    def hold(fields: Fields) -> bool:
        # A loop, not all(): see _field_test.
        for part in parts:  # noqa: SIM110
            if not part(fields):
                return False
        return True

    return hold


def _field_test(name: str, value: Value | Null | Exists | FieldReference) -> Predicate:
    if isinstance(value, Null):
        return lambda fields: not any(fields.get(name, ()))
    if isinstance(value, Exists):
        expected = value.expected
        return lambda fields: (name in fields) is expected
    if isinstance(value, FieldReference):
        return _reference_test(name, value)
    test = _value_test(value)

    def holds(fields: Fields) -> bool:
        # A loop, not any(): this is the innermost one of the program.
        for text in fields.get(name, ()):  # noqa: SIM110
            if test(text):
                return True
        return False

    return holds


def _reference_test(name: str, value: FieldReference) -> Predicate:
    other = value.field

    def holds(left: str, right: str) -> bool:
        left, right = left.casefold(), right.casefold()
        if value.starts_with or value.ends_with:
            return (value.starts_with and left.startswith(right)) or (value.ends_with and left.endswith(right))
        return left == right

    return lambda fields: any(holds(left, right) for left in fields.get(name, ()) for right in fields.get(other, ()))


def _value_test(value: Value) -> ValueTest:
    """Return a test of one value of an event."""
    match value:
        case OneOf(values=values):
            tests = [_value_test(alternative) for alternative in values]
            return lambda text: any(test(text) for test in tests)
        case Text():
            return _text_test(value)
        case Regex(pattern=pattern, flags=names):
            flags = re.RegexFlag(0)
            for name in names:
                flags |= _FLAGS[name]
            regex = re.compile(pattern, flags)
            return lambda text: regex.search(text) is not None
        case Network(cidr=cidr):
            network = ipaddress.ip_network(cidr, strict=False)
            return lambda text: _address_in(text, network)
        case Compare(operator=operator, number=right):
            compare = _COMPARE[operator]
            return lambda text: (left := _as_number(text)) is not None and compare(left, right)
        case Number(number=expected):
            return lambda text: _as_number(text) == expected
        case Boolean(value=boolean):
            wanted = "true" if boolean else "false"
            return lambda text: text.casefold() == wanted


def _text_test(value: Text) -> ValueTest:
    pattern = cache(lambda: _text_pattern(value))
    literal = "".join(part for part in value.parts if isinstance(part, str))
    if any(isinstance(part, Wildcard) for part in value.parts):
        return lambda text: pattern().fullmatch(text) is not None
    if value.cased:
        return lambda text: text == literal
    # Without wildcards, only a text of the same length can match, and few have it. For two ASCII texts the comparison
    # in lower case equals the regular expression; other letters it folds in its own way (the Kelvin sign equals K).
    length, lower, plain = len(literal), literal.lower(), literal.isascii()

    def holds(text: str) -> bool:
        if len(text) != length:
            return False
        return text.lower() == lower if plain and text.isascii() else pattern().fullmatch(text) is not None

    return holds


def _text_pattern(value: Text) -> re.Pattern[str]:
    """Return a text as a regular expression; compiled when it is first needed, which is never for most texts."""
    wildcards = {Wildcard.ONE: ".", Wildcard.MANY: ".*"}
    source = "".join(re.escape(part) if isinstance(part, str) else wildcards[part] for part in value.parts)
    return re.compile(source, re.DOTALL if value.cased else re.DOTALL | re.IGNORECASE)


def _as_number(text: str) -> float | None:
    """Return a text as a number (decimal, ``0x``, with a fraction); None if it is not a number."""
    try:
        return float(int(text, 0))
    except (ValueError, OverflowError):
        try:
            return float(text)
        except ValueError:
            return None


def _address_in(text: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(text.strip("[]")) in network
    except ValueError:
        return False


def matches(events: Iterable[Event], signals: Iterable[Signal]) -> Iterator[Match]:
    """Yield every event with the names of its signals, also events without any: they are the context of the others."""
    by_kind: dict[str, list[Signal]] = {}
    for signal in signals:
        by_kind.setdefault(signal.kind, []).append(signal)
    for event in events:
        if isinstance(event, WholeSession):
            # No signal can match a row without values.
            rows = [Match(event=row, signals=_names(row, by_kind) if row.values else ()) for row in event.rows]
            yield Match(event=event, signals=(), rows=tuple(rows))
        else:
            yield Match(event=event, signals=_names(event, by_kind))


def _names(event: Event, by_kind: Mapping[str, Sequence[Signal]]) -> tuple[str, ...]:
    """Return the names of the signals that an event matches."""
    kind = "capi2" if isinstance(event, Capi2Event) else getattr(event, "kind", "")
    possible = by_kind.get(kind, ())
    if isinstance(event, SmtpEvent):
        possible = [signal for signal in possible if _may_match(signal, event.values)]
    fields: Fields = getattr(event, "fields", {}) if possible else {}
    return tuple([signal.name for signal in possible if signal.matches(fields)])


def _may_match(signal: Signal, values: dict[str, str]) -> bool:
    """Return whether the cells of a row begin as the signal requires; most rows do not, and need no flat view."""
    # A loop, not all(): it runs for every row.
    for name, prefix in signal.required_prefixes.items():
        beginning = values.get(name, "")[: len(prefix)]
        # Without case, some letters equal ASCII ones (the long s): then the signal itself decides.
        if beginning.lower() != prefix and beginning.isascii():
            return False
    return True


def with_signals(correlated: Correlated, signals: Iterable[Signal], kind: str, fields: Fields) -> Correlated:
    """Return a rejection, operation, handshake or chain from stores with the signals of its view (``fields``) added."""
    names = {signal.name for signal in signals if signal.kind == kind and signal.matches(fields)}
    return replace(correlated, signals=tuple(sorted(names.union(correlated.signals))))
