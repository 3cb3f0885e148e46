"""Find out which exports are of the same log, so that they are joined and no event counts twice.

Exports of one log have the same EventRecordIDs. Two exports of one machine in which an id belongs to different events
are of two logs (the machine was set up again, or its name was used twice), and nothing may be joined across them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from evtx_analyzer.model.events import Capi2Event
from evtx_analyzer.model.origin import Origin, sort_key
from evtx_analyzer.plain_text import whole_number

_Source = tuple[str, str | None]
_Records = dict[int, tuple[datetime, int]]
"""Time and event id by EventRecordID."""


def distinct(events: Iterable[Capi2Event]) -> list[tuple[str, Capi2Event]]:
    """Return each event once, with the name of its log before it; the oldest first.

    Of copies in several exports, the one whose export comes first stays.
    """
    ordered = sorted(events, key=lambda event: sort_key(event.origin))
    logs = _logs(ordered)
    known: dict[tuple[object, ...], tuple[str, Capi2Event]] = {}
    for event in ordered:
        log = logs[event.host.casefold(), _source(event.origin)]
        identity = (log, record_id(event), event.time, event.event_id, event.task_id, event.sequence, event.chain_ref)
        known.setdefault(identity, (log, event))
    return sorted(known.values(), key=lambda pair: (pair[1].time, record_id(pair[1]) or 0, sort_key(pair[1].origin)))


def record_id(event: Capi2Event) -> int | None:
    """Return the EventRecordID from the event, for the record number in a file of a log collector is another one."""
    written = event.fields.get("EventRecordID", ("",))[0]
    number = whole_number(written)
    return event.origin.record if number is None else number


def _source(origin: Origin) -> _Source:
    return origin.source, origin.member


def _logs(events: Iterable[Capi2Event]) -> dict[tuple[str, _Source], str]:
    """Return the name of the log by machine and export: ``host#0``, ``host#1`` ..."""
    exports: dict[tuple[str, _Source], _Records] = {}
    for event in events:
        records = exports.setdefault((event.host.casefold(), _source(event.origin)), {})
        number = record_id(event)
        if number is not None:
            records[number] = (event.time, event.event_id)
    logs: dict[str, list[_Records]] = {}
    names = {}
    for (host, source), records in exports.items():
        of_host = logs.setdefault(host, [])
        number = next((number for number, log in enumerate(of_host) if _agree(log, records)), len(of_host))
        if number == len(of_host):
            of_host.append({})
        of_host[number].update(records)
        names[host, source] = f"{host}#{number}"
    return names


def _agree(left: _Records, right: _Records) -> bool:
    """Return whether no EventRecordID belongs to different events in the two."""
    fewer, more = sorted((left, right), key=len)
    return all(number not in more or more[number] == event for number, event in fewer.items())
