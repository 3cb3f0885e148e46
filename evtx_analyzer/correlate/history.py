"""Delivery history: what each host, connector and certificate sent achieved, first and last, counted as it passes by.

"Renewed between the last success and the first refusal" and "accepted since" rest on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from evtx_analyzer.correlate.hosts import Hosts, Whence, address_of, folder_of
from evtx_analyzer.correlate.rejections import session_whence
from evtx_analyzer.correlate.sessions import Reply, Session
from evtx_analyzer.model import Delivery, Outcome, Routine, RoutineSessions, Times

_ACCEPTED = range(200, 300)
_FAILED = 400
_END_OF_MESSAGE = ("DATA", "BDAT", "end of data")


class _Span:
    """How often something happened, and when first and last."""

    def __init__(self) -> None:
        self.count = 0
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, time: datetime) -> None:
        self.count += 1
        self.first = time if self.first is None or time < self.first else self.first
        self.last = time if self.last is None or time > self.last else self.last

    def add_all(self, times: Times) -> None:
        self.add(times.first)
        self.add(times.last)
        self.count += times.count - 2

    def join(self, other: _Span) -> None:
        if other.first is not None and other.last is not None:
            self.add(other.first)
            self.add(other.last)
            self.count += other.count - 2


class _Row:
    """Spans of one host, connector, log kind and certificate."""

    def __init__(self) -> None:
        self.sessions, self.accepted, self.refused, self.tls_failed = _Span(), _Span(), _Span(), _Span()
        self.tls_error = ""
        self.path = ""

    def join(self, other: _Row) -> None:
        self.sessions.join(other.sessions)
        self.accepted.join(other.accepted)
        self.refused.join(other.refused)
        if (
            other.tls_failed.last is not None
            and (self.tls_failed.last or other.tls_failed.last) <= other.tls_failed.last
        ):
            self.tls_error = other.tls_error
        self.tls_failed.join(other.tls_failed)


class History:
    """Counts that grow with certificates and connectors, not with sessions."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Whence, str, str, str], _Row] = {}

    def add(self, session: Session) -> None:
        """Count a session, whether it was refused or not."""
        thumbprint = session.sent.thumbprint if session.sent else ""
        row = self._row(session_whence(session), session.connector, session.kind, thumbprint)
        row.sessions.add(session.first)
        if session.tls_error:
            newest = row.tls_failed.last is None or row.tls_failed.last <= session.last
            row.tls_error = session.tls_error if newest else row.tls_error
            row.tls_failed.add(session.last)
        for reply in session.replies:
            if reply.signals:
                row.refused.add(reply.row.time)
            elif _is_acceptance(reply):
                row.accepted.add(reply.row.time)

    def add_routine(self, found: RoutineSessions, whence: Whence, kind: str) -> None:
        """Count sessions that were not told one by one."""
        row = self._row(whence, found.connector, kind, found.thumbprint)
        row.sessions.add_all(found.sessions)
        if found.accepted is not None:
            row.accepted.add_all(found.accepted)

    def add_outcomes(self, outcomes: Iterable[Outcome], whence: Whence, kind: str) -> None:
        """Count sessions of one machine that went well and of which nothing else is kept."""
        rows: dict[tuple[str, str], _Row] = {}
        for outcome in outcomes:
            key = outcome.connector, outcome.thumbprint
            row = rows.get(key)
            if row is None:
                row = rows[key] = self._row(whence, outcome.connector, kind, outcome.thumbprint)
            row.sessions.add(outcome.first)
            for accepted in outcome.accepted:
                row.accepted.add(accepted.time)

    def _row(self, whence: Whence, connector: str, kind: str, thumbprint: str) -> _Row:
        """The counts of a machine as far as a whole folder shares it, so that they do not grow with files."""
        near = Whence(whence.name, folder_of(whence.path), address_of(whence.address))
        row = self._rows.setdefault((near, connector, kind, thumbprint), _Row())
        row.path = min(row.path or whence.path, whence.path)
        return row

    def deliveries(self, hosts: Hosts) -> tuple[Delivery, ...]:
        """The history, sorted; hosts that no row names are labelled as for rejections."""
        merged: dict[tuple[str, str, str, str], _Row] = {}
        for (whence, connector, kind, thumbprint), row in self._rows.items():
            merged.setdefault(
                (hosts.resolve(Whence(whence.name, row.path, whence.address))[0], connector, kind, thumbprint), _Row()
            ).join(row)
        found = [
            Delivery(
                host=host,
                connector=connector,
                kind=kind,
                thumbprint=thumbprint,
                sessions=row.sessions.count,
                first_session=row.sessions.first,
                last_session=row.sessions.last,
                accepted=row.accepted.count,
                first_accepted=row.accepted.first,
                last_accepted=row.accepted.last,
                refused=row.refused.count,
                first_refused=row.refused.first,
                last_refused=row.refused.last,
                tls_failures=row.tls_failed.count,
                first_tls_failure=row.tls_failed.first,
                last_tls_failure=row.tls_failed.last,
                tls_error=row.tls_error,
            )
            for (host, connector, kind, thumbprint), row in merged.items()
        ]
        return tuple(sorted(found, key=lambda item: (item.host, item.connector, item.kind, item.thumbprint)))


def routine(session: Session) -> Routine | None:
    """What a session adds to the history where nothing in it failed; None for any other."""
    if session.tls_error or any(reply.signals or reply.code >= _FAILED for reply in session.replies):
        return None
    places = {id(row): number for number, row in enumerate(session.rows)}
    accepted = [places[id(reply.row)] for reply in session.replies if _is_acceptance(reply)]
    return Routine(session.sent.thumbprint if session.sent else "", tuple(accepted))


def _is_acceptance(reply: Reply) -> bool:
    return not reply.signals and reply.command in _END_OF_MESSAGE and reply.code in _ACCEPTED
