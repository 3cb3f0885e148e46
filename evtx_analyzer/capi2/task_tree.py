"""CAPI2 events of one task to a tree: what was done inside of what.

A task is one call into CAPI2 with everything that it did; its events share a TaskId and are numbered by SeqNumber.
Events 10, 40, 50, 52 and 80 begin something that 11, 41, 51, 53 and 81 end, one inside of the other: a chain
(10 .. 11) holds revocation checks (40 .. 41), these hold retrievals (50 .. 51 from the cache, 52 .. 53 from the
network) and rejected lists (42). In a log that has wrapped, ends stand without their beginnings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from evtx_analyzer.model.events import Capi2Event, Match
from evtx_analyzer.model.evidence import OperationKind

ENDS = {10: 11, 40: 41, 50: 51, 52: 53, 80: 81}
"""Event id that ends what an event id begins."""

BEGINS = {end: begin for begin, end in ENDS.items()}
POLICY, CERTIFICATES = 30, 90
_KINDS: dict[int, OperationKind] = {
    11: "chain",
    41: "revocation",
    42: "revocation",
    51: "retrieval",
    53: "retrieval",
    70: "private-key",
    81: "trust",
    82: "catalog",
    90: "certificates",
}
# What may lie inside of an end whose beginning is not in the export.
_INNER = {11: (41, 42, 51, 53), 41: (42, 51, 53), 51: (), 53: (), 81: (11, 30, 41, 42, 51, 53, 82, 90)}

_DEEPEST = 32
"""Levels of what lies inside of what; real ones have four. More is a damaged or forged log that ends nothing it begins,
and each level would hold all that follows."""


Told = tuple[Match, int]
"""An event with its depth: the number of operations that it lies within."""


@dataclass
class Node:
    """Something that was done: its first and last event (one of them may not be in the export), and what it held.

    ``id`` is the event id of its last event; an event that begins and ends nothing is a node of its own.
    """

    id: int
    begin: Match | None = None
    end: Match | None = None
    inner: list[Node] = field(default_factory=list)

    @property
    def kind(self) -> OperationKind:
        """What was done."""
        return _KINDS.get(self.id, "other")

    @property
    def missing(self) -> tuple[int, ...]:
        """Ids of its own events that are not in the export."""
        absent = () if self.end else (self.id,)
        return (BEGINS[self.id], *absent) if self.id in BEGINS and not self.begin else absent

    @property
    def main(self) -> Match:
        """The event that tells most of it."""
        match = self.end or self.begin
        assert match is not None
        return match

    def walk(self, depth: int = 0) -> Iterator[tuple[Node, int]]:
        """Yield this node and all below it, with their depth."""
        yield self, depth
        for node in self.inner:
            yield from node.walk(depth + 1)

    @cached_property
    def absent(self) -> tuple[int, ...]:
        """Ids of events that are not in the export, its own and those of all below it."""
        return tuple(dict.fromkeys(number for node, _ in self.walk() for number in node.missing))

    @cached_property
    def told(self) -> tuple[Told, ...]:
        """All events; made once, for an event 11 may be the chain of very many events 30."""
        return tuple(self.events())

    @cached_property
    def numbers(self) -> tuple[int, int] | None:
        """Lowest and highest SeqNumber of its events."""
        known = [number for match, _ in self.told if (number := capi2(match).sequence) is not None]
        return (min(known), max(known)) if known else None

    def events(self, depth: int = 0) -> Iterator[Told]:
        """Yield all events in the order in which they were written, with their depth."""
        if self.begin:
            yield self.begin, depth
        for node in self.inner:
            yield from node.events(depth + 1)
        if self.end:
            yield self.end, depth


def capi2(match: Match) -> Capi2Event:
    """Return the event of a match that is known to be of CAPI2."""
    assert isinstance(match.event, Capi2Event)
    return match.event


def tree(matches: Iterable[Match]) -> list[Node]:
    """Return what one task did, outermost first, from its events in any order."""
    top = Node(0)
    stack = [top]
    for match in sorted(matches, key=_sequence):
        number = capi2(match).event_id
        if number in ENDS:
            node = Node(ENDS[number], begin=match)
            stack[-1].inner.append(node)
            if len(stack) < _DEEPEST:
                stack.append(node)
        elif number in BEGINS:
            _close(stack, number, match)
        else:
            stack[-1].inner.append(Node(number, end=match))
    return top.inner


def _sequence(match: Match) -> tuple[object, ...]:
    """Return the order in a task: SeqNumber; time and record only where a number is absent."""
    event = capi2(match)
    return event.sequence is None, event.sequence or 0, event.time, event.origin.record or 0


def _close(stack: list[Node], number: int, match: Match) -> None:
    """End what was begun last; an end without a beginning takes what can only have been inside of it."""
    opened = next((place for place in range(len(stack) - 1, 0, -1) if stack[place].id == number), None)
    if opened is not None:
        stack[opened].end = match
        del stack[opened:]
        return
    siblings = stack[-1].inner
    first = len(siblings)
    while first and siblings[first - 1].id in _INNER[number]:
        first -= 1
    siblings[first:] = [Node(number, end=match, inner=siblings[first:])]


def numbers_missing(matches: Sequence[Match]) -> list[tuple[int, int]]:
    """Return the runs of SeqNumbers from 1 to the highest that no event has, in their order."""
    known = sorted({number for match in matches if (number := capi2(match).sequence) is not None})
    runs, expected = [], 1
    for number in known:
        if number > expected:
            runs.append((expected, number - 1))
        expected = max(expected, number + 1)
    return runs
