"""What logs show of the same machine and connector after mail was refused: refusals, and mail that was accepted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.hosts import may_be_another
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.model.origin import sort_key
from evtx_analyzer.normalize.kinds import SESSION_KINDS
from evtx_analyzer.repair.refused_state import RefusedState, latest
from evtx_analyzer.smtp.acceptances import Span, joined
from evtx_analyzer.smtp.deliveries import AcceptedMail

T = TypeVar("T")
Table = Mapping[Hashable, Sequence[T]]
_ZONES = timedelta(hours=26)
"""How far digits of one clock may be from those of another: zones reach from UTC-12 to UTC+14."""
_TWICE = timedelta(hours=1)
"""By how much clocks go back, at most (tz database, years since 1970)."""


class Later(Struct, frozen=True, kw_only=True, dict=True):
    """What logs show that may be later than an incident; ``objects`` are exports made after the fix, by cmdlet.

    Thousands of incidents look into it, so its tables are made once (``dict=True`` lets the struct keep them).
    """

    rejections: Sequence[Rejection] = ()
    alike: Sequence[Alike] = ()
    accepted: Sequence[AcceptedMail] = ()
    operations: Sequence[Operation] = ()
    objects: Mapping[str, Sequence[Setting]] = {}
    changed: Sequence[datetime] = ()
    """When connectors and domains of any export were changed."""
    certificates: Mapping[str, Certificate] = {}

    @cached_property
    def refused_by(self) -> Table[Rejection]:
        """Return the refusals by sender."""
        return _table(self.rejections, lambda rejection: sender(rejection.host, rejection.connector))

    @cached_property
    def alike_by(self) -> Table[Alike]:
        """Return the folded refusals by sender."""
        return _table(self.alike, lambda group: sender(group.shared.host, group.shared.connector))

    @cached_property
    def accepted_by(self) -> Table[AcceptedMail]:
        """Return the accepted mail by sender."""
        return _table(
            self.accepted, lambda accepted_mail: sender(accepted_mail.state.host, accepted_mail.state.connector)
        )

    @cached_property
    def checks_of(self) -> Table[Operation]:
        """Return the certificate checks by certificate, policy and process."""
        return _table(self.operations, lambda operation: (operation.thumbprint, operation.policy, operation.process))


def sender(host: str, connector: str) -> tuple[str, str]:
    """Return a key that is the same for all ways to write the names of one machine and connector."""
    return host.casefold().partition(".")[0], connector.casefold()


def _table(rows: Iterable[T], key: Callable[[T], Hashable]) -> Table[T]:
    table: dict[Hashable, list[T]] = {}
    for row in rows:
        table.setdefault(key(row), []).append(row)
    return table


def later_evidence(facts: CaseFacts) -> Later:
    """Return what the logs of a case show that may be later than the refusals of this or another case."""
    return Later(
        rejections=facts.rejections,
        alike=facts.alike,
        accepted=facts.accepted_mail,
        operations=facts.operations,
        objects=facts.objects,
        changed=facts.change_times,
        certificates=facts.certificates,
    )


class LaterRefusals(Struct, frozen=True):
    """Refusals of the same machine and connector after a time: how many, the first one, and when the last one was.

    ``surely_until`` is when the last one was at the earliest: an hour that a clock showed twice has two readings.
    """

    count: int
    first: Rejection
    last: datetime
    surely_until: datetime


def refusals_after(state: RefusedState, later: Later, time: datetime) -> LaterRefusals | None:
    """Return the refusals of the same machine and connector after a time, also the folded ones; None without any."""
    # Message tracking and reports may name no connector.
    senders = dict.fromkeys((sender(state.host, state.connector), sender(state.host, "")))
    same = (rejection for name in senders for rejection in later.refused_by.get(name, ()))
    listed = [
        rejection
        for rejection in same
        if rejection.time > time and clock.is_known(rejection.time_basis) and _refused_same(rejection, state)
    ]
    firsts, count, last = list(listed), len(listed), max(map(latest, listed), default=time)
    surely_until = max((rejection.time for rejection in listed), default=time)
    for group in (group for name in senders for group in later.alike_by.get(name, ())):
        later_refusals = (
            [differing for differing in group.differing() if differing.time > time]
            if _refused_same(group.shared, state)
            else []
        )
        if later_refusals:
            firsts.append(group.whole(min(later_refusals, key=group.order)))
            count, newest = count + len(later_refusals), max(differing.time for differing in later_refusals)
            last, surely_until = max(last, newest), max(surely_until, newest)
    if not firsts:
        return None
    first = min(firsts, key=lambda rejection: (rejection.time, sort_key(rejection.origin)))
    return LaterRefusals(count, first, last, surely_until)


def undated_refusal(state: RefusedState, later: Later) -> bool:
    """Return whether a refusal of the same sender may be later than the incident, its UTC time not being known.

    Of an hour that the clock showed twice, only the later reading may be.
    """
    senders = dict.fromkeys((sender(state.host, state.connector), sender(state.host, "")))
    return any(
        _may_be_after(rejection, state.end) and _refused_same(rejection, state)
        for name in senders
        for rejection in later.refused_by.get(name, ())
    )


def twice_shown(state: RefusedState, later: Later) -> bool:
    """Return whether refusals of the same sender have two readings of their time, one of them after the incident."""
    senders = dict.fromkeys((sender(state.host, state.connector), sender(state.host, "")))
    return any(
        rejection.time_basis == "ambiguous" and latest(rejection) > state.end and _refused_same(rejection, state)
        for name in senders
        for rejection in later.refused_by.get(name, ())
    )


def _may_be_after(rejection: Rejection, end: datetime) -> bool:
    if clock.is_known(rejection.time_basis):
        return rejection.time <= end < latest(rejection)
    # Rows behind a #Date heading have no time: only that they are not older than it.
    return rejection.time_basis == "heading" or rejection.time + _ZONES > end


def _refused_same(rejection: Rejection, state: RefusedState) -> bool:
    return _same_sender(rejection.host, rejection.connector or state.connector, state)


def outside_mail(state: RefusedState, later: Later) -> list[AcceptedMail]:
    """Return the mail that Exchange Online took from the same machine and connector for outside recipients."""
    return [
        accepted_mail
        for accepted_mail in later.accepted_by.get(sender(state.host, state.connector), ())
        if accepted_mail.state.scope == "outside"
        and accepted_mail.state.kind in (state.kind, *(SESSION_KINDS if state.kind not in SESSION_KINDS else ()))
        and clock.is_known(accepted_mail.state.time_basis)
        and _same_sender(accepted_mail.state.host, accepted_mail.state.connector, state)
        and not _of_another_machine(accepted_mail, state)
    ]


def mail_of_other_addresses(state: RefusedState, later: Later) -> list[str]:
    """Return the local addresses of accepted mail that may be another machine's, after the refusals."""
    return sorted(
        {
            accepted_mail.state.local_address
            for accepted_mail in later.accepted_by.get(sender(state.host, state.connector), ())
            if _of_another_machine(accepted_mail, state) and accepted_mail.times.between(state.end, None)
        }
    )


def _of_another_machine(accepted_mail: AcceptedMail, state: RefusedState) -> bool:
    local = accepted_mail.state.local_address
    return may_be_another(local, state.local_addresses, state.sample.host_basis)


def unnamed_mail(state: RefusedState, later: Later) -> bool:
    """Return whether logs that name no machine hold mail of the same connector, which may be another server's."""
    return bool(state.host) and bool(later.accepted_by.get(sender("", state.connector)))


def accepted_after(state: RefusedState, later: Later, time: datetime) -> Span | None:
    """Return how much mail to outside recipients was accepted after a time, in whatever state."""
    return between(outside_mail(state, later), time, None)


def between(mail: Iterable[AcceptedMail], first: datetime, last: datetime | None) -> Span | None:
    """Return how much of the mail was accepted between two times; None for the last one means without end."""
    spans = (accepted_mail.times.between(first, last) for accepted_mail in mail)
    return joined(span for span in spans if span is not None)


def meanwhile(mail: Iterable[AcceptedMail], first: datetime, last: datetime) -> bool:
    """Return whether mail was, or may have been, accepted between two times.

    Of an hour that the clock showed twice the earlier reading is counted, and the later one may be meant.
    """
    return any(
        accepted_mail.times.between(first - _TWICE if accepted_mail.state.time_basis == "ambiguous" else first, last)
        for accepted_mail in mail
    )


def _same_sender(host: str, connector: str, state: RefusedState) -> bool:
    return same_host(host, state.host) and connector.casefold() == state.connector.casefold()


def same_host(left: str, right: str) -> bool:
    """Return whether two names are of one machine, with or without its domain; an empty name equals only another."""
    short = {name.casefold().partition(".")[0] for name in (left, right)}
    full = {name.casefold() for name in (left, right) if "." in name}
    return len(short) == 1 and len(full) <= 1
