"""Signals of folded refusals, evaluated once for all that are alike and were refused while nothing changed.

The view of a refusal (``session_facts``) depends on what refusals that are alike share, and on time: which TLS
negotiations failed in the minutes before, which checks had passed, whether the certificate had expired. All of that
changes at known moments, and between two of them the signals of one refusal are those of all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import CaseFacts, sender_key, sent_thumbprint
from evtx_analyzer.correlate.refused_session import RECENT
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.model.alike import Alike, Differing
from evtx_analyzer.model.evidence import PASSED, Rejection
from evtx_analyzer.sigma.conditions import ALL_FIELDS
from evtx_analyzer.sigma.match import Signal, with_signals

# Fields of the view that differ between refusals that are alike.
_DIFFERING = ("MailFrom", "Reply")
_VIEW = "smtp-session"
_Judged = tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]
"""The signals of a refusal, and its view without what differs between refusals that are alike."""


def with_view_signals(groups: Iterable[Alike], signals: Sequence[Signal], facts: CaseFacts) -> list[Alike]:
    """Return the groups of folded refusals with the signals of their views, split where their views differ."""
    own = [signal for signal in signals if signal.kind == _VIEW]
    looked_at = frozenset().union(*(signal.looks_at for signal in own))
    changes = _changes(facts)
    return [part for group in groups for part in _parts(group, own, looked_at, changes, facts)]


def _parts(
    group: Alike, signals: Sequence[Signal], looked_at: frozenset[str], changes: set[datetime], facts: CaseFacts
) -> Iterator[Alike]:
    sent = facts.completed(group.shared.sent)
    limits = [time for time in (sent.not_before, sent.not_after) if time] if sent else []
    # What happened in Exchange Online is dated by its clock, of which those of the logs may be ahead.
    online = [time + ahead for time in (*limits, *facts.change_times) for ahead in facts.ahead.values()]
    times = sorted({*changes, *limits, *online})
    # Where the delivery history does not hold the refusals, each is compared by its own time.
    alone = (*sender_key(group.shared), sent_thumbprint(group.shared)) not in facts.refused
    mail_from, reply = (bool(looked_at & {name, ALL_FIELDS}) for name in _DIFFERING)
    known: dict[tuple[object, ...], _Judged] = {}
    rows: dict[_Judged, list[bytes]] = {}
    for differing, row in zip(group.differing(), group.rows, strict=True):
        own = differing.time if alone else None, mail_from and differing.mail_from, reply and differing.reply
        # Refusals that are alike may stand in several folders, and the clocks of these may differ.
        ahead = facts.ahead_in(group.shared.kind, group.files[differing.places[0][0]])
        state = (*_between(times, differing), *own, ahead)
        if state not in known:
            known[state] = _judged(group.whole(differing), signals, facts)
        rows.setdefault(known[state], []).append(row)
    for (names, _), part in rows.items():
        yield replace(group, shared=replace(group.shared, signals=names), rows=part)


def _between(times: Sequence[datetime], differing: Differing) -> tuple[int, ...]:
    """Return between which changes a refusal lies, by its own time and by that of its handshake."""
    if not times:
        return ()
    anchor = differing.handshake_time or differing.time
    return (
        bisect_left(times, differing.time),
        bisect_right(times, differing.time),
        bisect_left(times, anchor),
        bisect_right(times, anchor),
    )


def _judged(rejection: Rejection, signals: Sequence[Signal], facts: CaseFacts) -> _Judged:
    view = session_facts(rejection, facts)
    names = with_signals(rejection, signals, _VIEW, view).signals
    return names, tuple(sorted((name, values) for name, values in view.items() if name not in _DIFFERING))


def _changes(facts: CaseFacts) -> set[datetime]:
    """Return the times with which ``session_facts`` compares a refusal's: its view may change at each of them."""
    failed = {time for tls_failure in facts.tls_failures for time in tls_failure.times.edges()}
    times = failed | {time + RECENT for time in failed} | {*facts.change_times}
    for events in facts.schannel.values():
        for event in events:
            times |= {event.first - RECENT} if event.first else set()
            times |= {event.last + RECENT} if event.last else set()
    for checks in facts.checks.values():
        passed = [check.result == PASSED for check in checks]
        # Only a check that gives another result than the one before it changes the answer.
        for number, check in enumerate(checks):
            if number == 0 or passed[number] != passed[number - 1] or check.time == checks[number - 1].time:
                times.add(check.time)
    return times
