"""Which exports are of one and the same log, so that archives join and overlaps are not counted twice.

Exports of one machine's log carry the same EventRecordIDs. Two exports that give one id to different events are of two
logs (a machine set up again, a name used twice), and nothing may be joined across them.
"""

from __future__ import annotations

from collections.abc import Iterable

from evtx_analyzer.model.events import Capi2Event
from evtx_analyzer.model.origin import Origin, sort_key
from evtx_analyzer.plain_text import whole_number

_Source = tuple[str, str | None]


def distinct(events: Iterable[Capi2Event]) -> list[tuple[str, Capi2Event]]:
    """Return every event once, from the export that comes first, with the name of its log; oldest first."""
    ordered = sorted(events, key=lambda event: sort_key(event.origin))
    logs = _logs(ordered)
    known: dict[tuple[object, ...], tuple[str, Capi2Event]] = {}
    for event in ordered:
        log = logs[event.host.casefold(), _source(event.origin)]
        identity = (
            log,
            record_id(event),
            event.time,
            event.event_id,
            event.task_id,
            event.sequence,
            event.chain_ref,
        )
        known.setdefault(identity, (log, event))
    return sorted(known.values(), key=lambda pair: (pair[1].time, record_id(pair[1]) or 0, sort_key(pair[1].origin)))


def record_id(event: Capi2Event) -> int | None:
    """Return the EventRecordID that the machine gave; a collector's file numbers records anew."""
    written = event.fields.get("EventRecordID", ("",))[0]
    number = whole_number(written)
    return event.origin.record if number is None else number


def _source(origin: Origin) -> _Source:
    return origin.source, origin.member


def _logs(events: Iterable[Capi2Event]) -> dict[tuple[str, _Source], str]:
    """Return the name of the log of every machine and export: ``host#0``, ``host#1`` ..."""
    records: dict[tuple[str, _Source], dict[int, tuple[object, int]]] = {}
    for event in events:
        seen = records.setdefault((event.host.casefold(), _source(event.origin)), {})
        own = record_id(event)
        if own is not None:
            seen[own] = (event.time, event.event_id)
    logs: dict[str, list[dict[int, tuple[object, int]]]] = {}
    names = {}
    for (host, source), seen in records.items():
        known = logs.setdefault(host, [])
        place_in = next((at for at, other in enumerate(known) if _agree(other, seen)), len(known))
        if place_in == len(known):
            known.append({})
        known[place_in].update(seen)
        names[host, source] = f"{host}#{place_in}"
    return names


def _agree(left: dict[int, tuple[object, int]], right: dict[int, tuple[object, int]]) -> bool:
    fewer, more = sorted((left, right), key=len)
    return all(record not in more or more[record] == seen for record, seen in fewer.items())
