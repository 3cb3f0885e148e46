"""CAPI2 exports are read twice: for failures, then for all that is said of the certificates that matter.

The first reading finds the events that links look for. Only then is it known which certificates matter: those that
failed, and those that refused sessions sent. The second reading takes everything that the log says of these, and the
rest of the tasks in which it says so (``capi2/neighborhoods.py``). So memory is bounded by the evidence and not by the
log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from evtx_analyzer.capi2.neighborhoods import Neighborhoods
from evtx_analyzer.ingest.examine import ExaminedSource, is_event_log
from evtx_analyzer.ingest.ledger import Ledger, Reading
from evtx_analyzer.model.events import Event, Match
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.normalize.capi2 import KIND
from evtx_analyzer.read.evtx.search import Search, search_for
from evtx_analyzer.sigma.match import matches

_RECENT = 16
"""Events that are kept for a failure right behind them."""


def failures(reading: Reading, anchors: Sequence[datetime]) -> Iterator[Match]:
    """Yield, in the first reading, the events that links look for by name, and by time where a refusal is near."""
    links, signals = reading.rules.links, reading.rules.signals
    by_name = {rule.operation_signal for rule in links if rule.basis == "subject"}
    by_time = {rule.operation_signal: rule for rule in links if rule.basis == "time"}
    reach = max((max(rule.before, rule.after) for rule in by_time.values()), default=0.0)
    sought = by_name | (set(by_time) if anchors else set())
    search = None
    if reading.prefilter:
        search = Search(item.required_literals for item in signals if item.kind == KIND and item.name in sought)
    for item in filter(is_event_log, reading.examined):
        events = reading.ledger.events(item, reading.tell, search=search)
        recent: deque[Match] = deque(maxlen=_RECENT)
        for match in matches(reading.notes.events(events), signals):
            names = set(match.signals)
            time = getattr(match.event, "time", None)
            if names & by_name or (names & set(by_time) and time is not None and _near(time, anchors, reach)):
                yield match
                yield from _of_same_certificate(match, recent)
            else:
                recent.append(match)


def _of_same_certificate(failure: Match, recent: deque[Match]) -> list[Match]:
    """Return what was read just before of the certificate that failed, so that it is not read again later."""
    name = getattr(failure.event, "thumbprint", "")
    same = [match for match in recent if name and getattr(match.event, "thumbprint", "") == name]
    for match in same:
        recent.remove(match)
    return same


def evidence_for(reading: Reading, certificates: frozenset[str], checks: Iterable[Match]) -> list[Match]:
    """Return, in the second reading, all that the logs say of the certificates that matter, and of their tasks.

    Only files that hold CAPI2 are read. ``checks`` are what the first reading gave: they are not typed again.
    """
    if not certificates:
        return []
    search = search_for(certificates) if reading.prefilter else None
    known = {match.event.origin: match.event for match in checks}
    events: list[Event] = []
    for item in reading.examined:
        if is_event_log(item) and KIND in reading.ledger.kinds(item):
            typed = partial(_typed, reading.ledger, item, known)
            pieces = reading.ledger.pieces(item, reading.tell, search)
            events += Neighborhoods(certificates, typed).events(pieces)
    return list(matches((event for event in events if event.origin not in known), reading.rules.signals))


def _typed(ledger: Ledger, item: ExaminedSource, known: Mapping[Origin, Event], record: EventRecord) -> Event | None:
    event = known.get(record.origin)
    return ledger.typed(item, record) if event is None else event


def _near(time: datetime, anchors: Sequence[datetime], reach: float) -> bool:
    """Return whether a time lies within a few seconds of any refused handshake."""
    slack = timedelta(seconds=reach + 1)
    place = bisect_left(anchors, time - slack)
    return place < len(anchors) and anchors[place] <= time + slack
