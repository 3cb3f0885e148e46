"""CAPI2 exports are read twice: for failures, then for all events about the certificates that matter.

The first reading finds the events that links look for. Only then is it known which certificates matter: those that
failed, and those that refused sessions sent. The second reading takes all events about these, and the other events of
their tasks (``capi2/neighborhoods.py``). So memory is bounded by the evidence and not by the log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import BinaryIO, cast

from evtx_analyzer.capi2.neighborhoods import Neighborhoods
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.events import Reading, ReadingOptions, Selection, events, typed, watched
from evtx_analyzer.ingest.examine import is_event_log
from evtx_analyzer.model.events import Event, Match
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.normalize.capi2 import KIND
from evtx_analyzer.read import pieces
from evtx_analyzer.read.evtx.search import Search, search_for
from evtx_analyzer.sigma.match import matches

_RECENT = 16
"""Events that are kept, in case the next ones are failures of the same certificate."""


def failures(reading: Reading, anchors: Sequence[datetime]) -> Iterator[Match]:
    """Yield, in a first reading, the events that links look for: by name, or by time near a refusal."""
    links, signals = reading.rules.links, reading.rules.signals
    by_name = {rule.operation_signal for rule in links if rule.basis == "subject"}
    timed = [rule for rule in links if rule.basis == "time" or rule.event_signal]
    by_time = {rule.event_signal or rule.operation_signal for rule in timed}
    reach = max((max(rule.before, rule.after) for rule in timed), default=0.0)
    sought = by_name | (by_time if anchors else set())
    search = None
    if reading.prefilter:
        search = Search(signal.required_literals for signal in signals if signal.kind == KIND and signal.name in sought)
    select = Selection(search=search)
    for account in (account for account in reading.accounts if is_event_log(account.examined)):
        recent: deque[Match] = deque(maxlen=_RECENT)
        for match in matches(reading.tallies.events(events(account, reading.options, select)), signals):
            names = set(match.signals)
            time = getattr(match.event, "time", None)
            if names & by_name or (names & by_time and time is not None and _near(time, anchors, reach)):
                yield match
                yield from _of_same_certificate(match, recent)
            else:
                recent.append(match)


def _of_same_certificate(failure: Match, recent: deque[Match]) -> list[Match]:
    """Return recent events about the certificate that failed, so that they need not be read again."""
    name = getattr(failure.event, "thumbprint", "")
    same = [match for match in recent if name and getattr(match.event, "thumbprint", "") == name]
    for match in same:
        recent.remove(match)
    return same


def evidence_for(reading: Reading, certificates: frozenset[str], checks: Iterable[Match]) -> list[Match]:
    """Return, in a second reading, all events about the certificates that matter, and of their tasks.

    Only files that hold CAPI2 are read. ``checks`` came from the first reading: they are not typed again.
    """
    if not certificates:
        return []
    search = search_for(certificates) if reading.prefilter else None
    known = {match.event.origin: match.event for match in checks}
    evidence: list[Event] = []
    for account in reading.accounts:
        if is_event_log(account.examined) and KIND in account.spans:
            evidence += _of_certificates(account, certificates, search, known, reading.options)
    return list(matches((event for event in evidence if event.origin not in known), reading.rules.signals))


def _of_certificates(
    account: SourceAccount,
    certificates: frozenset[str],
    search: Search | None,
    known: Mapping[Origin, Event],
    options: ReadingOptions,
) -> list[Event]:
    """Return the events of one log about the certificates; none if the log has changed since the first reading."""

    def type_record(record: EventRecord | Loss) -> Event | None:
        if isinstance(record, Loss):
            account.lose(record)
            return None
        event = known.get(record.origin)
        return typed(account, record, options) if event is None else event

    evidence: list[Event] = []
    unchanged = True
    syntax, origin, stream = account.examined.syntax, account.examined.source.origin, watched(account, options)
    assert syntax is not None
    with account.reading(stream), closing(stream):
        log = pieces(syntax, cast("BinaryIO", stream), origin, search, bytes(account.counted_chunks))
        for event in Neighborhoods(certificates, type_record).events(log):
            evidence.append(event)  # noqa: PERF402  what came before an error is kept
        unchanged = account.compare(stream)
    return evidence if unchanged else []


def _near(time: datetime, anchors: Sequence[datetime], reach: float) -> bool:
    """Return whether a time lies within a few seconds of any refused handshake."""
    slack = timedelta(seconds=reach + 1)
    place = bisect_left(anchors, time - slack)
    return place < len(anchors) and anchors[place] <= time + slack
