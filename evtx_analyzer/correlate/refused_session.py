"""A refused session as its log shows it: what all fields of the view ``smtp-session`` rest on."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.case_facts import CaseFacts, sender_domain_of, sender_key, sent_thumbprint
from evtx_analyzer.distinguished_names import certificate_names
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import PASSED, Rejection
from evtx_analyzer.normalize.kinds import KINDS_WITH_CERTIFICATES, SESSION_KINDS
from evtx_analyzer.smtp.rejections import is_proxied

# How far from a refusal other failures of the same machine may lie to be among its facts.
RECENT = timedelta(minutes=10)


class RefusedSession(Struct, frozen=True, kw_only=True, dict=True):
    """A refusal and the facts of its case."""

    rejection: Rejection
    case: CaseFacts

    @cached_property
    def sent(self) -> Certificate | None:
        """Return the certificate that was sent, with all that any input shows of it."""
        return self.case.completed(self.rejection.sent)

    @cached_property
    def moment(self) -> datetime:
        """Return the time of the handshake, or of the refusal where that is not known.

        What counts for a certificate is the handshake: a session may go on for hours.
        """
        return self.rejection.handshake_time or self.rejection.time

    @cached_property
    def ahead(self) -> timedelta:
        """Return by how much the clock of the log was ahead of Exchange Online's, as far as the log shows it."""
        return self.case.ahead_in(self.rejection.kind, self.rejection.origin)

    @cached_property
    def judged(self) -> datetime:
        """Return the time of the handshake by the clock of Exchange Online, which decides whether a date is over."""
        return self.moment - self.ahead

    @cached_property
    def failed_check(self) -> tuple[datetime, datetime] | None:
        """Return the time in which checks of the certificate that was sent are known to fail; None if none failed.

        It lasts from the first failure after the last success to the next success, or else to the end of the export or
        the last refusal. Mail that was accepted later may have been accepted after a repair that no log shows.
        """
        rejection, case = self.rejection, self.case
        began: datetime | None = None
        until = case.checked_until.get(rejection.host, rejection.time)
        for check in case.checks.get((rejection.host, sent_thumbprint(rejection)), ()):
            if check.time <= rejection.time:
                began = None if check.result == PASSED else began or check.time
            elif check.result == PASSED:
                until = check.time
                break
        return None if began is None else (began, max(case.refused_span(rejection)[1], until))

    @cached_property
    def expiry(self) -> datetime | None:
        """Return when the certificate that was sent expired by the log's clock, where that is before the handshake."""
        after = self.sent.not_after if self.sent is not None else None
        return after + self.ahead if after is not None and after < self.judged else None

    @cached_property
    def shows_commands(self) -> bool:
        """Return whether the log writes the commands of the session with the other side."""
        return self.rejection.kind in SESSION_KINDS and not self.proxied

    @cached_property
    def proxied(self) -> bool:
        """Return whether all that is known is the session with the front end transport service."""
        return is_proxied(self.rejection.kind, self.rejection.remote_endpoint)

    @cached_property
    def start_tls(self) -> bool | None:
        """Return whether TLS was used; only whole rows show that it was not."""
        rejection = self.rejection
        if not self.shows_commands:
            return None
        used = rejection.starttls or bool(rejection.tls)
        return used if used or (rejection.from_start and rejection.helo) else None

    @cached_property
    def certificate_sent(self) -> bool | None:
        """Return whether a certificate was sent; None where the log does not show that."""
        rejection = self.rejection
        if rejection.kind not in KINDS_WITH_CERTIFICATES:
            return None
        if rejection.sent is not None:
            return True
        return False if rejection.from_start and rejection.tls else None

    @cached_property
    def sender_domain(self) -> str | None:
        """Return the sender's domain; empty for MAIL FROM:<>, None where the log does not show MAIL FROM."""
        return sender_domain_of(self.rejection)

    @cached_property
    def received_names(self) -> list[str]:
        """Return the names in the certificate of the remote side."""
        received = self.rejection.received
        return sorted(certificate_names(received)) if self.shows_commands and received is not None else []

    @cached_property
    def tls_failures(self) -> list[str]:
        """Return the errors of TLS negotiations of the same connector in the ten minutes before the refusal."""
        failures = self.case.failures.get(sender_key(self.rejection), ())
        time = self.rejection.time
        return sorted({failure.error for failure in failures if failure.times.between(time - RECENT, time)})
