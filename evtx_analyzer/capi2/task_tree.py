"""Make a tree of the CAPI2 events of one task: what was done inside of what.

A task is one call into CAPI2 with everything that it did. Its events share a TaskId and are numbered by SeqNumber.
Events 10, 40, 50, 52 and 80 begin what 11, 41, 51, 53 and 81 end, one inside of the other: a chain (10 .. 11) holds
revocation checks (40 .. 41), and these hold retrievals (50 .. 51 from the cache, 52 .. 53 from the network) and
rejected lists (42). In a log that has wrapped, an end may lack its beginning.
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
# Events that an end without its beginning may hold.
_INNER = {11: (41, 42, 51, 53), 41: (42, 51, 53), 51: (), 53: (), 81: (11, 30, 41, 42, 51, 53, 82, 90)}

_DEEPEST = 32
"""Levels of the tree; real tasks have four. In a damaged or forged log that ends nothing it begins, there would be a
level for each beginning, and each would hold all that follows."""


MatchAtDepth = tuple[Match, int]
"""An event with its depth: the number of nodes above it."""


@dataclass
class Node:
    """One thing that was done: its first and last event, and the nodes inside of it.

    One of the two events may be missing in the export. ``id`` is the event id of the last one. An event that neither
    begins nor ends anything is a node of its own, as ``end``.
    """

    id: int
    begin: Match | None = None
    end: Match | None = None
    inner: list[Node] = field(default_factory=list)

    @property
    def kind(self) -> OperationKind:
        """The kind of operation that this node is."""
        return _KINDS.get(self.id, "other")

    @property
    def missing(self) -> tuple[int, ...]:
        """Ids of its own events that are not in the export."""
        if self.id in BEGINS and not self.begin:
            return (BEGINS[self.id],)
        return () if self.end else (self.id,)

    @property
    def main(self) -> Match:
        """The event that shows most: the last one where it is in the export."""
        match = self.end or self.begin
        assert match is not None
        return match

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for node in self.inner:
            yield from node.walk()

    @cached_property
    def absent(self) -> tuple[int, ...]:
        """Ids of events that are not in the export, its own and those of all nodes below it."""
        return tuple(dict.fromkeys(number for node in self.walk() for number in node.missing))

    @cached_property
    def all_events(self) -> tuple[MatchAtDepth, ...]:
        """All events with their depth; made once, for an event 11 may be the chain of very many events 30."""
        return tuple(self.events())

    @cached_property
    def numbers(self) -> tuple[int, int] | None:
        """Lowest and highest SeqNumber of its events."""
        known = [number for match, _ in self.all_events if (number := capi2(match).sequence) is not None]
        return (min(known), max(known)) if known else None

    def events(self, depth: int = 0) -> Iterator[MatchAtDepth]:
        """Yield all events in the order in which they were written, with their depth."""
        if self.begin:
            yield self.begin, depth
        for node in self.inner:
            yield from node.events(depth + 1)
        if self.end:
            yield self.end, depth


def capi2(match: Match) -> Capi2Event:
    """Return the event of a match, which must be one of CAPI2."""
    assert isinstance(match.event, Capi2Event)
    return match.event


def tree(matches: Iterable[Match]) -> list[Node]:
    """Return the outermost nodes of one task in their order, from its events in any order."""
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
    """Return the place in a task: SeqNumber; time and record where an event has none, behind all others."""
    event = capi2(match)
    return event.sequence is None, event.sequence or 0, event.time, event.origin.record or 0


def _close(stack: list[Node], number: int, match: Match) -> None:
    """End the open node of this id that began last; without one, make a node of the siblings that it may have held."""
    level = next((level for level in range(len(stack) - 1, 0, -1) if stack[level].id == number), None)
    if level is not None:
        stack[level].end = match
        del stack[level:]
        return
    siblings = stack[-1].inner
    first = len(siblings)
    while first and siblings[first - 1].id in _INNER[number]:
        first -= 1
    siblings[first:] = [Node(number, end=match, inner=siblings[first:])]


def numbers_missing(matches: Sequence[Match]) -> list[tuple[int, int]]:
    """Return the runs (first, last) of SeqNumbers from 1 to the highest that no event has, in their order."""
    known = sorted({number for match in matches if (number := capi2(match).sequence) is not None})
    runs, expected = [], 1
    for number in known:
        if number > expected:
            runs.append((expected, number - 1))
        expected = max(expected, number + 1)
    return runs
