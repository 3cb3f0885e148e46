"""Choose which events of an operation the report lists where there are very many.

A real operation has up to forty events. In a damaged or forged log the same id of a task or chain may come again and
again; all events with it would be in each operation that has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from evtx_analyzer.capi2.task_tree import MatchAtDepth, capi2

MOST_EVENTS = 200
"""At most so many events of an operation are listed."""
MOST_CERTIFICATE_EVENTS = 20
"""At most so many events 90 of a task are listed; every operation of the task has them."""
MOST_HOLES = 10
"""At most so many holes in the numbering of an operation are named."""


def excerpt(events: Sequence[MatchAtDepth]) -> list[MatchAtDepth]:
    """Return the first events of an operation, the first of each kind and result, and the last ones, in their order."""
    if len(events) <= MOST_EVENTS:
        return list(events)
    kinds: dict[tuple[object, ...], int] = {}
    for place, (match, _) in enumerate(events):
        event = capi2(match)
        kinds.setdefault((event.event_id, event.result), place)
    share = MOST_EVENTS // 3
    places = {*range(share), *list(kinds.values())[:share], *range(len(events) - share, len(events))}
    return [events[place] for place in sorted(places)]


def left_out(listed: int, count: int) -> tuple[str, ...]:
    """Return a note for the report where not all events of an operation are listed."""
    text = f"of its {count:,} events {listed} are listed: the first, the last, and the first of each kind and result"
    return () if listed >= count else (text,)
