"""Which inputs are read how often, and what for.

SMTP logs are read once: sessions and messages pass by, refused ones stay, the others are counted. CAPI2 exports are
read twice: first for the failures that the signals look for; then, when it is known which certificates matter (those
that failed and those that refused sessions sent), for everything that the log says of these and for the rest of the
tasks in which it said so (``neighborhoods``). So memory is bounded by the evidence.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from evtx_analyzer.correlate.context import CONNECTIVITY
from evtx_analyzer.correlate.notes import IIS, SEND, Notes
from evtx_analyzer.correlate.sessions import OpenSessions, Session, sessions
from evtx_analyzer.discover import folders
from evtx_analyzer.intake import Examined, Ledger, Progress, is_event_log, is_text_log
from evtx_analyzer.match import Signal, matches
from evtx_analyzer.model import ContextEvent, Event, EventRecord, LogRow, Match, Origin, SmtpEvent
from evtx_analyzer.neighborhoods import Neighborhoods
from evtx_analyzer.normalize import normalize
from evtx_analyzer.normalize.capi2 import KIND
from evtx_analyzer.read import Record
from evtx_analyzer.read.evtx_search import Search, search_for
from evtx_analyzer.rules import Rules
from evtx_analyzer.smtp.blocks import Layouts
from evtx_analyzer.smtp.outcomes import Layout, layout_of

_PROTOCOLS = ("exchange-log", "w3c-log", "iis-log", "ncsa-log")
_RECENT = 16
"""Events that are kept for a failure right behind them."""


class Reading(NamedTuple):
    """What all passes share; with ``prefilter``, what no rule can match is counted and not looked at."""

    examined: Sequence[Examined]
    rules: Rules
    ledger: Ledger
    notes: Notes
    tell: Progress
    prefilter: bool


def smtp_sessions(reading: Reading) -> Iterator[Session]:
    """Sessions of all SMTP logs; those of one folder are read as one log, for sessions cross files.

    Sessions that went well are counted in bulk, unless a signal looks for something in them.
    """
    by_path = {item.source.path: item for item in reading.examined if is_text_log(item)}
    signals = reading.rules.signals
    in_bulk = reading.prefilter and all(_looks_for_failure(item) for item in signals if item.kind in (SEND, IIS))
    # Exports come first: which domains are the tenant's own decides what an accepted message shows.
    exports = [item.source for item in by_path.values() if item.syntax not in _PROTOCOLS]
    protocols = [item.source for item in by_path.values() if item.syntax in _PROTOCOLS]
    for group in (*folders(exports).values(), *folders(protocols).values()):
        running: OpenSessions = {}
        layouts = Layouts(partial(_layout, reading), partial(_names, running)) if in_bulk else None
        logs = (by_path[source.path] for source in group)
        rows = (event for item in logs for event in reading.ledger.events(item, reading.tell, layouts=layouts))
        yield from sessions(reading.notes.protocol(matches(rows, signals)), running)


def _names(running: OpenSessions) -> list[str]:
    """Names of sessions that have begun."""
    return [name for *_, name in running]


def _looks_for_failure(signal: Signal) -> bool:
    """Whether a signal of Send or IIS logs can only match replies that say no."""
    who, what = ("event", "data") if signal.kind == SEND else ("cs-username", "cs-uri-query")
    says = {SEND: "<", IIS: "outboundconnectionresponse"}[signal.kind]
    return signal.openings.get(who) == says and signal.openings.get(what, "")[:1] in ("4", "5")


def _layout(reading: Reading, rows: Sequence[LogRow]) -> Layout | None:
    """In which rows of a session its outcome stands, learned from the rows of one; None if anything in it failed."""
    events = [event for row in rows if (event := normalize(row)) is not None]
    typed = [event for _, event in events if isinstance(event, SmtpEvent)]
    layout = layout_of(list(matches(typed, reading.rules.signals))) if len(typed) == len(rows) else None
    if layout is not None and layout.sent is not None:
        reading.notes.history.add_certificate(layout.sent)
    return layout


def connections(reading: Reading, refused: frozenset[str]) -> None:
    """Read connectivity logs again, for what they say of the sessions that were refused."""

    def wanted(record: Record) -> bool:
        return getattr(record, "values", {}).get("session", "") in refused

    for item in reading.examined:
        if refused and CONNECTIVITY in reading.ledger.kinds(item):
            for event in reading.ledger.events(item, reading.tell, wanted):
                if isinstance(event, ContextEvent):
                    reading.notes.contexts.add(event)


def failures(reading: Reading, anchors: Sequence[datetime]) -> Iterator[Match]:
    """First pass over CAPI2: events that links look for by name, and by time where they are near a refusal."""
    links, signals = reading.rules.links, reading.rules.signals
    by_name = {rule.operation_signal for rule in links if rule.basis == "subject"}
    by_time = {rule.operation_signal: rule for rule in links if rule.basis == "time"}
    reach = max((max(rule.before, rule.after) for rule in by_time.values()), default=0.0)
    sought = by_name | (set(by_time) if anchors else set())
    search = None
    if reading.prefilter:
        search = Search(item.clauses for item in signals if item.kind == KIND and item.name in sought)
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
    """What was read just before of the certificate that failed; it would be read again in the second pass."""
    name = getattr(failure.event, "thumbprint", "")
    same = [match for match in recent if name and getattr(match.event, "thumbprint", "") == name]
    for match in same:
        recent.remove(match)
    return same


def evidence_for(reading: Reading, certificates: frozenset[str], checks: Iterable[Match]) -> list[Match]:
    """Second pass over CAPI2: everything that the logs say of the certificates that matter, and of their tasks.

    Only files that hold CAPI2 are read. ``checks`` are what the first pass gave: they are typed and matched once.
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


def _typed(ledger: Ledger, item: Examined, known: Mapping[Origin, Event], record: EventRecord) -> Event | None:
    event = known.get(record.origin)
    return ledger.typed(item, record) if event is None else event


def _near(time: datetime, anchors: Sequence[datetime], reach: float) -> bool:
    """Whether a time lies within a few seconds of any refused handshake."""
    slack = timedelta(seconds=reach + 1)
    place = bisect_left(anchors, time - slack)
    return place < len(anchors) and anchors[place] <= time + slack
