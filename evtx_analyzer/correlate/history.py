"""Delivery history: what each host, connector and certificate sent achieved, first and last, counted as it passes by.

"Renewed between the last success and the first refusal" and "accepted since" rest on it, and so does the comparison of
refused mail with accepted mail (``acceptances``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from evtx_analyzer.correlate.acceptances import MailState, Scope, Span, Spread, joined, scope_of
from evtx_analyzer.correlate.hosts import Hosts, Whence, address_of, folder_of
from evtx_analyzer.correlate.rejections import session_whence
from evtx_analyzer.correlate.sessions import Reply, Session
from evtx_analyzer.distinguished_names import certificate_names
from evtx_analyzer.exchange_online import is_remote_side
from evtx_analyzer.model import (
    Acceptance,
    Certificate,
    Delivery,
    Outcome,
    Routine,
    RoutineSessions,
    TimeBasis,
    Times,
)

_ACCEPTED = range(200, 300)
_FAILED = 400
_END_OF_MESSAGE = ("DATA", "BDAT", "end of data")
_MOST_SENDERS = 1000


_State = tuple[bool | None, str, str | None, Scope, TimeBasis]
"""What follows the certificate in ``MailState``."""


class _Row:
    """Spans of one host, connector, log kind and certificate."""

    def __init__(self) -> None:
        self.sessions: Span | None = None
        self.accepted: Span | None = None
        self.refused: Span | None = None
        self.tls_failed: dict[str, Spread] = {}
        self.path = ""
        self.mail: dict[_State, Spread] = {}

    def join(self, other: _Row) -> None:
        self.sessions = both(self.sessions, other.sessions)
        self.accepted = both(self.accepted, other.accepted)
        self.refused = both(self.refused, other.refused)
        for error, spread in other.tls_failed.items():
            self.tls_failed.setdefault(error, Spread()).join(spread)
        for state, spread in other.mail.items():
            self.mail.setdefault(state, Spread()).join(spread)


def both(left: Span | None, right: Span | None) -> Span | None:
    """Two spans as one; either may be absent."""
    return joined(span for span in (left, right) if span is not None)


class AcceptedMail(Struct, frozen=True):
    """What Exchange Online took in one state, and when."""

    state: MailState
    times: Spread


class TlsFailures(Struct, frozen=True):
    """TLS negotiations of one host, log kind and connector that failed with one error, and when."""

    host: str
    kind: str
    connector: str
    error: str
    times: Spread


class History:
    """Counts that grow with certificates, connectors and sender domains, not with sessions."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Whence, str, str, str], _Row] = {}
        self._senders: set[str] = set()
        self.own_domains: frozenset[str] = frozenset()
        self.certificates: dict[str, Certificate] = {}

    def add(self, session: Session) -> None:
        """Count a session, whether it was refused or not."""
        if session.sent is not None and session.sent.thumbprint:
            self.certificates.setdefault(session.sent.thumbprint, session.sent)
        names = certificate_names(session.sent) if session.sent is not None else set()
        whence = session_whence(session)
        row = self.add_outcome(outcome_of(session), whence, session.kind, {session.helo, *names})
        for reply in session.replies:
            if reply.signals:
                row.refused = both(row.refused, _at(reply.row.time))
        if session.tls_error:
            row.tls_failed.setdefault(session.tls_error, Spread()).add(_at(session.last))

    def add_outcome(self, outcome: Outcome, whence: Whence, kind: str, own_names: Iterable[str] = ()) -> _Row:
        """Count what a session achieved; ``own_names`` are those by which the sending side calls itself."""
        row = self._row(whence, outcome.connector, kind, outcome.thumbprint)
        row.sessions = both(row.sessions, _at(outcome.first))
        for message in outcome.accepted:
            row.accepted = both(row.accepted, _at(message.time))
            if outcome.online:
                own = (*self.own_domains, *own_names, message.sender_domain or "")
                scope = scope_of(message.recipient_domains, own)
                sender = self._sender(message.sender_domain)
                state = (outcome.tls, outcome.seen_address, sender, scope, message.time_basis)
                row.mail.setdefault(state, Spread()).add(_at(message.time))
        return row

    def add_routine(self, found: RoutineSessions, whence: Whence, kind: str) -> None:
        """Count sessions that were not told one by one."""
        row = self._row(whence, found.connector, kind, found.thumbprint)
        row.sessions = both(row.sessions, _span(found.sessions))
        if found.accepted is not None:
            row.accepted = both(row.accepted, _span(found.accepted))

    def _sender(self, domain: str | None) -> str | None:
        """A sender's domain; None (unknown) for those that come when too many are known already."""
        if domain and domain not in self._senders:
            if len(self._senders) >= _MOST_SENDERS:
                return None
            self._senders.add(domain)
        return domain

    def _row(self, whence: Whence, connector: str, kind: str, thumbprint: str) -> _Row:
        """The counts of a machine as far as a whole folder shares it, so that they do not grow with files."""
        near = Whence(whence.name, folder_of(whence.path), address_of(whence.address))
        row = self._rows.setdefault((near, connector, kind, thumbprint), _Row())
        row.path = min(row.path or whence.path, whence.path)
        return row

    def _by_host(self, hosts: Hosts) -> Mapping[tuple[str, str, str, str], _Row]:
        merged: dict[tuple[str, str, str, str], _Row] = {}
        for (whence, connector, kind, thumbprint), row in self._rows.items():
            host = hosts.resolve(Whence(whence.name, row.path, whence.address))[0]
            merged.setdefault((host, connector, kind, thumbprint), _Row()).join(row)
        return dict(sorted(merged.items()))

    def deliveries(self, hosts: Hosts) -> tuple[Delivery, ...]:
        """The history, sorted; hosts that no row names are labelled as for rejections."""
        return tuple(_delivery(key, row) for key, row in self._by_host(hosts).items())

    def accepted_mail(self, hosts: Hosts) -> tuple[AcceptedMail, ...]:
        """What Exchange Online took, by state."""
        return tuple(
            AcceptedMail(MailState(host, kind, connector, thumbprint, *state), spread)
            for (host, connector, kind, thumbprint), row in self._by_host(hosts).items()
            for state, spread in row.mail.items()
        )

    def tls_failures(self, hosts: Hosts) -> tuple[TlsFailures, ...]:
        """Failed TLS negotiations, by what failed."""
        return tuple(
            TlsFailures(host, kind, connector, error, spread)
            for (host, connector, kind, _), row in self._by_host(hosts).items()
            for error, spread in row.tls_failed.items()
        )


def _delivery(key: tuple[str, str, str, str], row: _Row) -> Delivery:
    host, connector, kind, thumbprint = key
    outside = joined(
        span
        for (_, _, _, scope, _), spread in row.mail.items()
        if scope == "outside" and (span := spread.all()) is not None
    )
    failed = joined(span for spread in row.tls_failed.values() if (span := spread.all()) is not None)
    last = {error: span.last for error, spread in sorted(row.tls_failed.items()) if (span := spread.all()) is not None}
    return Delivery(
        host=host,
        connector=connector,
        kind=kind,
        thumbprint=thumbprint,
        sessions=_count(row.sessions),
        first_session=_first(row.sessions),
        last_session=_last(row.sessions),
        accepted=_count(row.accepted),
        first_accepted=_first(row.accepted),
        last_accepted=_last(row.accepted),
        refused=_count(row.refused),
        first_refused=_first(row.refused),
        last_refused=_last(row.refused),
        tls_failures=_count(failed),
        first_tls_failure=_first(failed),
        last_tls_failure=_last(failed),
        tls_error=max(last, key=lambda error: last[error], default=""),
        accepted_outside=_count(outside),
        first_accepted_outside=_first(outside),
        last_accepted_outside=_last(outside),
    )


def _at(time: datetime) -> Span:
    return Span(1, time, time)


def _span(times: Times) -> Span:
    return Span(times.count, times.first, times.last)


def _count(span: Span | None) -> int:
    return 0 if span is None else span.count


def _first(span: Span | None) -> datetime | None:
    return None if span is None else span.first


def _last(span: Span | None) -> datetime | None:
    return None if span is None else span.last


def outcome_of(session: Session) -> Outcome:
    """What a session adds to the history besides its failures."""
    return Outcome(
        first=session.first,
        connector=session.connector,
        thumbprint=session.sent.thumbprint if session.sent else "",
        tls=uses_tls(session),
        seen_address=session.seen_address,
        online=is_remote_side(session.remote_name, session.received, session.remote),
        accepted=tuple(_acceptance(reply) for reply in session.replies if _is_acceptance(reply)),
    )


def uses_tls(session: Session) -> bool | None:
    """Whether TLS was used; None where the log does not hold the rows that would show it."""
    if session.tls or session.sent is not None or session.received is not None:
        return True
    if session.starttls:
        # IIS writes the command and no outcome; Exchange writes an error where the negotiation fails.
        return None if session.tls_error else True
    return False if session.whole else None


def _acceptance(reply: Reply) -> Acceptance:
    domains = {address.strip().rpartition("@")[2].casefold() for address in reply.rcpt_to.split(";")}
    sender = None if reply.null_sender is None else reply.mail_from.rpartition("@")[2].casefold()
    return Acceptance(
        time=reply.row.time,
        sender_domain=sender,
        recipient_domains=tuple(sorted(domains - {""})),
        time_basis=reply.row.time_basis,
    )


def routine(session: Session) -> Routine | None:
    """What a session adds to the history where nothing in it failed; None for any other."""
    if session.tls_error or any(reply.signals or reply.code >= _FAILED for reply in session.replies):
        return None
    places = {id(row): number for number, row in enumerate(session.rows)}
    accepted = [places[id(reply.row)] for reply in session.replies if _is_acceptance(reply)]
    return Routine(session.sent.thumbprint if session.sent else "", tuple(accepted))


def _is_acceptance(reply: Reply) -> bool:
    return not reply.signals and reply.command in _END_OF_MESSAGE and reply.code in _ACCEPTED
