"""Count the delivery history: sessions, accepted and refused mail of each host, connector and certificate sent.

Two kinds of evidence rest on it: what changed between the last accepted and the first refused mail ("renewed",
"accepted since"), and the comparison of refused mail with accepted mail (``acceptances``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from evtx_analyzer.hosts import HostClue, Hosts, address_of, folder_of
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Delivery
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.model.records import Acceptance, Outcome, RefusedTimes
from evtx_analyzer.smtp.acceptances import MailState, Scope, Span, Spread, joined, scope_of, span_of
from evtx_analyzer.smtp.outcomes import outcome_of
from evtx_analyzer.smtp.rejections import session_clue
from evtx_analyzer.smtp.sessions import Session

_MOST_SENDERS, _MOST_SCOPES = 1000, 10_000
_State = tuple[bool | None, str, str | None, Scope, TimeBasis]
"""What follows the certificate in ``MailState``."""


class _Row:
    """The counts of one host, connector, kind of log and certificate; ``path`` is the first of its files by name."""

    def __init__(self) -> None:
        self.sessions: Span | None = None
        self.accepted: Span | None = None
        self.refused: Span | None = None
        self.tls_failed: dict[str, Spread] = {}
        self.path = ""
        self.mail: dict[_State, Spread] = {}

    def join(self, other: _Row) -> None:
        """Add the counts of another row, except its path."""
        self.sessions = joined((self.sessions, other.sessions))
        self.accepted = joined((self.accepted, other.accepted))
        self.refused = joined((self.refused, other.refused))
        for error, spread in other.tls_failed.items():
            self.tls_failed.setdefault(error, Spread()).join(spread)
        for state, spread in other.mail.items():
            self.mail.setdefault(state, Spread()).join(spread)


class AcceptedMail(Struct, frozen=True):
    """When Exchange Online accepted mail in one state."""

    state: MailState
    times: Spread


class TlsFailures(Struct, frozen=True):
    """When TLS negotiations of one host, kind of log and connector failed with one error."""

    host: str
    kind: str
    connector: str
    error: str
    times: Spread


class History:
    """The delivery history of a case; it grows with certificates, connectors and sender domains, not with sessions.

    ``own_domains`` are the tenant's accepted domains from exported configuration, which is read before the logs.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[HostClue, str, str, str], _Row] = {}
        self._senders: set[str] = set()
        self._scopes: dict[tuple[tuple[str, ...], tuple[str, tuple[str, ...]]], Scope] = {}
        self.own_domains: frozenset[str] = frozenset()
        self.certificates: dict[str, Certificate] = {}

    def add(self, session: Session) -> None:
        """Count a session, whether it was refused or not."""
        if session.sent is not None:
            self.add_certificate(session.sent)
        clue = session_clue(session)
        outcome = outcome_of(session)
        self.add_outcomes([outcome], clue, session.kind)
        row = self._row(clue, session.connector, session.kind, outcome.thumbprint)
        for reply in session.replies:
            if reply.signals:
                row.refused = joined((row.refused, Span(1, reply.row.time, reply.row.time)))
        if session.tls_error:
            row.tls_failed.setdefault(session.tls_error, Spread()).add(Span(1, session.last, session.last))

    def add_certificate(self, certificate: Certificate) -> None:
        """Add a certificate that was sent; of several forms with one thumbprint the one that shows most stays."""
        known = self.certificates.get(certificate.thumbprint)
        if certificate.thumbprint and (known is None or _detail(certificate) > _detail(known)):
            self.certificates[certificate.thumbprint] = certificate

    def add_outcomes(self, outcomes: Iterable[Outcome], clue: HostClue, kind: str) -> None:
        """Count the outcomes of sessions of one machine."""
        # Times are gathered first, for a block of a log has hundreds of outcomes for one row.
        times_of: dict[tuple[str, str], tuple[list[datetime], list[datetime], dict[_State, list[datetime]]]] = {}
        for outcome in outcomes:
            key = outcome.connector, outcome.thumbprint
            times = times_of.get(key)
            if times is None:
                times = times_of[key] = [], [], {}
            began, accepted, by_state = times
            began.append(outcome.first)
            for message in outcome.accepted:
                accepted.append(message.time)
                if outcome.online:
                    by_state.setdefault(self._state(outcome, message), []).append(message.time)
        for (connector, thumbprint), (began, accepted, by_state) in times_of.items():
            row = self._row(clue, connector, kind, thumbprint)
            row.sessions = joined((row.sessions, span_of(began)))
            row.accepted = joined((row.accepted, span_of(accepted)))
            for state, state_times in by_state.items():
                row.mail.setdefault(state, Spread()).add_all(state_times)

    def add_refused(self, refused: Iterable[RefusedTimes], clue: HostClue, kind: str) -> None:
        """Count the refusals of folded sessions of one machine."""
        for refused_times in refused:
            row = self._row(clue, refused_times.connector, kind, refused_times.thumbprint)
            row.refused = joined((row.refused, Span(refused_times.count, refused_times.first, refused_times.last)))

    def _state(self, outcome: Outcome, message: Acceptance) -> _State:
        sender = message.sender_domain
        own = (sender or "", outcome.own_names)
        scope = self._scopes.get((message.recipient_domains, own))
        if scope is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._scopes.clear()
            domains = (*self.own_domains, *outcome.own_names, sender or "")
            scope = self._scopes[message.recipient_domains, own] = scope_of(message.recipient_domains, domains)
        return outcome.tls, outcome.seen_address, self._sender(sender), scope, message.time_basis

    def _sender(self, domain: str | None) -> str | None:
        """Return a sender's domain; None (unknown) for a new one where too many are known already."""
        if domain and domain not in self._senders:
            if len(self._senders) >= _MOST_SENDERS:
                return None
            self._senders.add(domain)
        return domain

    def _row(self, clue: HostClue, connector: str, kind: str, thumbprint: str) -> _Row:
        """Return the row to count in; the files of one folder share it, so that rows do not grow with files."""
        host_clue = HostClue(clue.name, folder_of(clue.path), address_of(clue.address))
        row = self._rows.setdefault((host_clue, connector, kind, thumbprint), _Row())
        row.path = min(row.path or clue.path, clue.path)
        return row

    def _by_host(self, hosts: Hosts) -> Mapping[tuple[str, str, str, str], _Row]:
        """Return the rows by host, connector, kind of log and thumbprint, sorted: now the hosts are known."""
        merged: dict[tuple[str, str, str, str], _Row] = {}
        for (clue, connector, kind, thumbprint), row in self._rows.items():
            merged.setdefault((self._host(hosts, clue, row), connector, kind, thumbprint), _Row()).join(row)
        return dict(sorted(merged.items()))

    @staticmethod
    def _host(hosts: Hosts, clue: HostClue, row: _Row) -> str:
        return hosts.resolve(HostClue(clue.name, row.path, clue.address))[0]

    def deliveries(self, hosts: Hosts) -> tuple[Delivery, ...]:
        """Return the history, sorted by host, connector, kind and thumbprint; hosts have the labels of rejections."""
        return tuple(_delivery(key, row) for key, row in self._by_host(hosts).items())

    def accepted_mail(self, hosts: Hosts) -> tuple[AcceptedMail, ...]:
        """Return the mail that Exchange Online accepted, by state."""
        merged: dict[MailState, Spread] = {}
        for (clue, connector, kind, thumbprint), row in self._rows.items():
            host = self._host(hosts, clue, row)
            for state, spread in row.mail.items():
                mail_state = MailState(host, kind, connector, thumbprint, *state, local_address=clue.address)
                merged.setdefault(mail_state, Spread()).join(spread)
        return tuple(AcceptedMail(state, merged[state]) for state in sorted(merged, key=repr))

    def refused_from(self, hosts: Hosts) -> Mapping[tuple[str, str, str, str], frozenset[str]]:
        """Return the local addresses of refused sessions by host, connector, kind and thumbprint.

        An empty address stands for sessions whose log shows none.
        """
        addresses: dict[tuple[str, str, str, str], set[str]] = {}
        for (clue, connector, kind, thumbprint), row in self._rows.items():
            if row.refused is not None:
                key = self._host(hosts, clue, row), connector, kind, thumbprint
                addresses.setdefault(key, set()).add(clue.address)
        return {key: frozenset(values) for key, values in addresses.items()}

    def tls_failures(self, hosts: Hosts) -> tuple[TlsFailures, ...]:
        """Return the failed TLS negotiations, by error."""
        return tuple(
            TlsFailures(host, kind, connector, error, spread)
            for (host, connector, kind, _), row in self._by_host(hosts).items()
            for error, spread in row.tls_failed.items()
        )


def _delivery(key: tuple[str, str, str, str], row: _Row) -> Delivery:
    host, connector, kind, thumbprint = key
    outside = joined(spread.all() for (_, _, _, scope, _), spread in row.mail.items() if scope == "outside")
    failed = {error: span for error, spread in row.tls_failed.items() if (span := spread.all()) is not None}
    sessions, first_session, last_session = _numbers(row.sessions)
    accepted, first_accepted, last_accepted = _numbers(row.accepted)
    refused, first_refused, last_refused = _numbers(row.refused)
    tls_failures, first_tls_failure, last_tls_failure = _numbers(joined(failed.values()))
    accepted_outside, first_accepted_outside, last_accepted_outside = _numbers(outside)
    return Delivery(
        host=host,
        connector=connector,
        kind=kind,
        thumbprint=thumbprint,
        sessions=sessions,
        first_session=first_session,
        last_session=last_session,
        accepted=accepted,
        first_accepted=first_accepted,
        last_accepted=last_accepted,
        refused=refused,
        first_refused=first_refused,
        last_refused=last_refused,
        tls_failures=tls_failures,
        first_tls_failure=first_tls_failure,
        last_tls_failure=last_tls_failure,
        tls_error=max(failed, key=lambda error: (failed[error].last, error), default=""),
        accepted_outside=accepted_outside,
        first_accepted_outside=first_accepted_outside,
        last_accepted_outside=last_accepted_outside,
    )


def _detail(certificate: Certificate) -> tuple[object, ...]:
    """Return how much a log shows of a certificate; texts decide a tie, so that the order of sessions never does."""
    names = certificate.issuer, certificate.subject, certificate.alternate_names
    return certificate.not_after is not None, *(len(name) for name in names), *names


def _numbers(span: Span | None) -> tuple[int, datetime | None, datetime | None]:
    return (0, None, None) if span is None else (span.count, span.first, span.last)
