"""Of an operation of very many events, only some are told one by one.

A real operation has up to forty events. Ids of tasks and chains that come again and again, in a damaged or forged log,
would gather all that bear them, and in each operation that shares them.
"""

from __future__ import annotations

from collections.abc import Sequence

from evtx_analyzer.capi2.task_tree import Told, capi2

MOST_EVENTS = 200
"""So many events of an operation are told one by one."""
MOST_CERTIFICATE_EVENTS = 20
"""So many events 90 of a task, which stand in every operation of it."""
MOST_HOLES = 10
"""So many holes in the numbering of an operation are named."""


def excerpt(events: Sequence[Told]) -> list[Told]:
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


def left_out(told: int, count: int) -> tuple[str, ...]:
    """Return a note where not all events of an operation are told."""
    text = f"of its {count:,} events {told} are listed: the first, the last, and the first of each kind and result"
    return () if told >= count else (text,)
