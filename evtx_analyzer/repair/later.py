"""What logs show of the same machine and connector after mail was refused: refusals, and mail that was accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.correlate.case_facts import CaseFacts, grouped, sender_domain_of
from evtx_analyzer.hosts import may_be_another
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.model.origin import sort_key
from evtx_analyzer.normalize.kinds import SESSION_KINDS
from evtx_analyzer.repair.refused_state import RefusedState, latest
from evtx_analyzer.smtp.acceptances import Span, joined
from evtx_analyzer.smtp.deliveries import AcceptedMail

_ZONES = timedelta(hours=26)
"""How far digits of one clock may be from those of another: zones reach from UTC-12 to UTC+14."""
_TWICE = timedelta(hours=1)
"""By how much clocks go back, at most (tz database, years since 1970)."""


class Later(Struct, frozen=True, kw_only=True, dict=True):
    """What logs show that may be later than an incident; ``objects`` are exports made after the fix, by cmdlet.

    Thousands of incidents look into it, so its tables are made once (``dict=True`` lets the struct keep them).
    """

    facts: CaseFacts
    objects: Mapping[str, Sequence[Setting]] = {}

    @cached_property
    def undated_objects(self) -> Mapping[str, Sequence[Setting]]:
        """Return the exported objects without the times of their changes, which the refusals come before."""
        return {
            cmdlet: [replace(setting, created=None, changed=None) for setting in settings]
            for cmdlet, settings in self.objects.items()
        }

    @cached_property
    def refused_by(self) -> Mapping[tuple[str, str], Sequence[Rejection]]:
        """Return the refusals by sender."""
        return grouped(self.facts.rejections, lambda rejection: sender(rejection.host, rejection.connector))

    @cached_property
    def alike_by(self) -> Mapping[tuple[str, str], Sequence[Alike]]:
        """Return the folded refusals by sender."""
        return grouped(self.facts.alike, lambda group: sender(group.shared.host, group.shared.connector))

    @cached_property
    def accepted_by(self) -> Mapping[tuple[str, str], Sequence[AcceptedMail]]:
        """Return the accepted mail by sender."""
        return grouped(self.facts.accepted_mail, lambda mail: sender(mail.state.host, mail.state.connector))

    @cached_property
    def checks_of(self) -> Mapping[tuple[str, str, str], Sequence[Operation]]:
        """Return the certificate checks by certificate, policy and process."""
        return grouped(self.facts.operations, lambda check: (check.thumbprint, check.policy, check.process))


def sender(host: str, connector: str) -> tuple[str, str]:
    """Return a key that is the same for all ways to write the names of one machine and connector."""
    return host.casefold().partition(".")[0], connector.casefold()


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
    senders = _senders(state)
    same = (rejection for name in senders for rejection in later.refused_by.get(name, ()))
    known = (rejection for rejection in same if rejection.time > time and clock.is_known(rejection.time_basis))
    firsts = [rejection for rejection in known if _refused_same(rejection, state)]
    count, last = len(firsts), max(map(latest, firsts), default=time)
    surely_until = max((rejection.time for rejection in firsts), default=time)
    for group in (group for name in senders for group in later.alike_by.get(name, ())):
        rows = [row for row in group.differing() if row.time > time] if _refused_same(group.shared, state) else []
        if rows:
            firsts.append(group.whole(min(rows, key=group.order)))
            count, newest = count + len(rows), max(row.time for row in rows)
            last, surely_until = max(last, newest), max(surely_until, newest)
    if not firsts:
        return None
    first = min(firsts, key=lambda rejection: (rejection.time, sort_key(rejection.origin)))
    return LaterRefusals(count, first, last, surely_until)


def refused_also(state: RefusedState, later: Later, until: datetime, changed: Callable[[Rejection], bool]) -> bool:
    """Return whether mail of the same machine and connector that has a change was refused after an incident.

    Only what was refused before ``until``, the first mail that was accepted with the change, is looked at, and of the
    same senders: mail of others may be refused for what they are.
    """
    senders = _senders(state)
    whole = (refused for name in senders for refused in later.refused_by.get(name, ()))
    times = [(refused, refused.time) for refused in whole if clock.is_known(refused.time_basis)]
    for group in (group for name in senders for group in later.alike_by.get(name, ())):
        times += [(group.shared, row.time) for row in group.differing()]
    return any(
        sender_domain_of(refused) in state.sender_domains and _refused_same(refused, state) and changed(refused)
        for refused, time in times
        if state.end < time < until
    )


def undated_refusal(state: RefusedState, later: Later) -> bool:
    """Return whether a refusal of the same sender may be later than the incident, its UTC time not being known.

    Of an hour that the clock showed twice, only the later reading may be.
    """
    return any(
        _may_be_after(rejection, state.end) and _refused_same(rejection, state)
        for name in _senders(state)
        for rejection in later.refused_by.get(name, ())
    )


def twice_shown(state: RefusedState, later: Later) -> bool:
    """Return whether refusals of the same sender have two readings of their time, one of them after the incident."""
    return any(
        rejection.time_basis == "ambiguous" and latest(rejection) > state.end and _refused_same(rejection, state)
        for name in _senders(state)
        for rejection in later.refused_by.get(name, ())
    )


def _may_be_after(rejection: Rejection, end: datetime) -> bool:
    if clock.is_known(rejection.time_basis):
        return rejection.time <= end < latest(rejection)
    # Rows behind a #Date heading have no time: only that they are not older than it.
    return rejection.time_basis == "heading" or rejection.time + _ZONES > end


def _senders(state: RefusedState) -> list[tuple[str, str]]:
    # Message tracking and reports may name no connector.
    return list(dict.fromkeys((sender(state.host, state.connector), sender(state.host, ""))))


def _refused_same(rejection: Rejection, state: RefusedState) -> bool:
    return _same_sender(rejection.host, rejection.connector or state.connector, state)


def outside_mail(state: RefusedState, later: Later) -> list[AcceptedMail]:
    """Return the mail that Exchange Online took from the same machine and connector for outside recipients."""
    return [mail for mail in _of_connector(state, later) if not _of_another_machine(mail, state, later)]


def mail_of_other_addresses(state: RefusedState, later: Later) -> list[str]:
    """Return the local addresses of mail to outside recipients after the refusals that may be another machine's."""
    others = (mail for mail in _of_connector(state, later) if _of_another_machine(mail, state, later))
    return sorted({mail.state.local_address for mail in others if mail.times.between(state.end, None)})


def _of_connector(state: RefusedState, later: Later) -> Iterator[AcceptedMail]:
    kinds = (state.kind, *(SESSION_KINDS if state.kind not in SESSION_KINDS else ()))
    return (
        mail
        for mail in later.accepted_by.get(sender(state.host, state.connector), ())
        if mail.state.scope == "outside"
        and mail.state.kind in kinds
        and clock.is_known(mail.state.time_basis)
        and _same_sender(mail.state.host, mail.state.connector, state)
    )


def _of_another_machine(mail: AcceptedMail, state: RefusedState, later: Later) -> bool:
    local = mail.state.local_address
    return may_be_another(local, state.local_addresses, state.sample.host_basis, later.facts.machines)


def unnamed_mail(state: RefusedState, later: Later) -> bool:
    """Return whether logs that name no machine hold mail of the same connector, which may be another server's."""
    return bool(state.host) and bool(later.accepted_by.get(sender("", state.connector)))


def accepted_after(state: RefusedState, later: Later, time: datetime) -> Span | None:
    """Return how much mail to outside recipients was accepted after a time, in whatever state."""
    return between(outside_mail(state, later), time, None)


def between(mail: Iterable[AcceptedMail], first: datetime, last: datetime | None) -> Span | None:
    """Return how much of the mail was accepted between two times; None for the last one means without end."""
    return joined(row.times.between(first, last) for row in mail)


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
