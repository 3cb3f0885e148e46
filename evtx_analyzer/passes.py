"""Which inputs are read how often, and what for.

SMTP logs are read once: sessions and messages pass by, refused ones stay, the others are counted. CAPI2 exports are
read two or three times: first for the failures that the signals look for; then, when it is known which certificates
matter (those that failed and those that refused sessions sent), for everything that the log says of these and for the
rest of the tasks in which it said so, for retrievals and revocation checks name other certificates or none; and once
more for such tasks that were only then found. So memory is bounded by the evidence.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from evtx_analyzer.correlate.context import CONNECTIVITY
from evtx_analyzer.correlate.notes import IIS, SEND, Notes
from evtx_analyzer.correlate.sessions import OpenSessions, Session, sessions
from evtx_analyzer.discover import folders
from evtx_analyzer.intake import Examined, Ledger, Progress, Wanted, is_event_log, is_text_log
from evtx_analyzer.match import Signal, matches
from evtx_analyzer.model import Capi2Event, ContextEvent, LogRow, Match, Origin, SmtpEvent
from evtx_analyzer.normalize import normalize
from evtx_analyzer.normalize.capi2 import KIND
from evtx_analyzer.read import Record
from evtx_analyzer.read.evtx_needles import holding, naming
from evtx_analyzer.rules import Rules
from evtx_analyzer.smtp.blocks import Layouts
from evtx_analyzer.smtp.outcomes import Layout, layout_of

_THUMBPRINT = re.compile(r"fileRef=[\"']([0-9A-Fa-f]{40})\b")
_TASK = re.compile(r"TaskId=[\"']([^\"']+)")


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
    for group in folders(item.source for item in by_path.values()).values():
        running: OpenSessions = {}
        layouts = Layouts(partial(_layout, signals), partial(_names, running)) if in_bulk else None
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


def _layout(signals: Sequence[Signal], rows: Sequence[LogRow]) -> Layout | None:
    """In which rows of a session its outcome stands, learned from the rows of one; None if anything in it failed."""
    events = [event for row in rows if (event := normalize(row)) is not None]
    found = list(matches((event for _, event in events if isinstance(event, SmtpEvent)), signals))
    return layout_of(found) if len(found) == len(rows) else None


def connections(reading: Reading, refused: frozenset[str]) -> None:
    """Read connectivity logs again, for what they say of the sessions that were refused."""

    def wanted(record: Record) -> bool:
        return getattr(record, "values", {}).get("session", "") in refused

    for item in reading.examined:
        if refused and CONNECTIVITY in reading.ledger.kinds(item):
            for event in reading.ledger.events(item, reading.tell, wanted):
                if isinstance(event, ContextEvent):
                    reading.notes.contexts.add(event)


def failures(reading: Reading, anchors: Sequence[datetime], likely: LikelyTasks) -> Iterator[Match]:
    """First pass over CAPI2: events that links look for by name, and by time where they are near a refusal."""
    links, signals = reading.rules.links, reading.rules.signals
    by_name = {rule.operation_signal for rule in links if rule.basis == "subject"}
    by_time = {rule.operation_signal: rule for rule in links if rule.basis == "time"}
    reach = max((max(rule.before, rule.after) for rule in by_time.values()), default=0.0)
    sought = by_name | (set(by_time) if anchors else set())
    chunks = None
    if reading.prefilter:
        chunks = holding(item.clauses for item in signals if item.kind == KIND and item.name in sought)
    for item in filter(is_event_log, reading.examined):
        found = reading.ledger.events(item, reading.tell, chunks=chunks, beside=likely.add)
        for match in matches(reading.notes.events(found), signals):
            names = set(match.signals)
            time = getattr(match.event, "time", None)
            if names & by_name or (names & set(by_time) and time is not None and _near(time, anchors, reach)):
                yield match


def details(
    reading: Reading, certificates: frozenset[str], checks: Iterable[Match], likely: frozenset[str]
) -> list[Match]:
    """Second pass over CAPI2: everything that the log says of the certificates that matter; third: of their tasks.

    Tasks that are ``likely`` to be these are looked for in the second pass already, and the third is only made for
    others. ``checks`` are what the first pass gave: no record is typed and matched twice.
    """
    if not certificates:
        return []
    known = {match.event.origin: match for match in checks}
    likely |= _tasks(known.values())
    naming_tasks: dict[Origin, frozenset[str]] = {}

    def wanted(record: Record) -> bool:
        if not _named(_THUMBPRINT, record) & certificates:
            tasks = _named(_TASK, record) & likely
            if tasks:
                naming_tasks[_without_record(record.origin)] = tasks
            return bool(tasks)
        return True

    given = _again(reading, wanted, certificates | likely, known)
    tasks_of = [naming_tasks.get(_without_record(match.event.origin)) for match in given]
    tasks = _tasks(match for match, named in zip(given, tasks_of, strict=True) if named is None)
    found = [match for match, named in zip(given, tasks_of, strict=True) if named is None or named & tasks]
    others = tasks - likely
    if others:
        known |= {match.event.origin: match for match in given}

        def of_others(record: Record) -> bool:
            return bool(_named(_TASK, record) & others)

        found += _again(reading, of_others, others, known)
    return found


def _again(reading: Reading, wanted: Wanted, names: frozenset[str], known: Mapping[Origin, Match]) -> list[Match]:
    """Events of a later pass over CAPI2: of records that ``wanted`` accepts, all of which hold one of the names.

    Only files that hold CAPI2 are read. The matches of ``known`` events are given as they are.
    """
    same: list[Match] = []

    def new(record: Record) -> bool:
        if not wanted(record):
            return False
        match = known.get(record.origin)
        if match is not None:
            same.append(match)
        return match is None

    chunks = naming(names) if reading.prefilter else None
    logs = (item for item in reading.examined if is_event_log(item) and KIND in reading.ledger.kinds(item))
    found = (event for item in logs for event in reading.ledger.events(item, reading.tell, new, chunks))
    return [*matches(found, reading.rules.signals), *same]


def _named(pattern: re.Pattern[str], record: Record) -> frozenset[str]:
    """What a record's text names where the pattern looks."""
    return _found(pattern, getattr(record, "xml", ""))


def _found(pattern: re.Pattern[str], text: str) -> frozenset[str]:
    return frozenset(name.upper() for name in pattern.findall(text))


def _tasks(found: Iterable[Match]) -> frozenset[str]:
    """The tasks that events belong to."""
    return frozenset(event.task_id for match in found if isinstance(event := match.event, Capi2Event)) - {""}


def _without_record(origin: Origin) -> Origin:
    """The place of a record in its file; a reader of XML may learn the record's number later."""
    return replace(origin, record=None)


class LikelyTasks:
    """Tasks that say something of the certificates of failed checks, as far as that shows in the chunks around these.

    Only what the second pass looks for beside the certificates depends on it, not what is found in the end. Grows with
    the failed checks.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, set[str]] = {}

    def add(self, failed: Sequence[str], every: Sequence[str]) -> None:
        """Note the tasks of all records of a chunk that name the same certificates as those that failed."""
        names = frozenset[str]().union(*(_found(_THUMBPRINT, xml) for xml in failed))
        for xml in every:
            for name in names & _found(_THUMBPRINT, xml):
                self._tasks.setdefault(name, set()).update(_found(_TASK, xml))

    def tasks(self, certificates: frozenset[str]) -> frozenset[str]:
        """Those of certain certificates."""
        return frozenset[str]().union(*(self._tasks.get(name, ()) for name in certificates))


def _near(time: datetime, anchors: Sequence[datetime], reach: float) -> bool:
    """Whether a time lies within a few seconds of any refused handshake."""
    slack = timedelta(seconds=reach + 1)
    place = bisect_left(anchors, time - slack)
    return place < len(anchors) and anchors[place] <= time + slack
