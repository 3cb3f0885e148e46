"""A refused session as its log shows it: what all fields of the view ``smtp-session`` rest on."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.case_facts import (
    SHOWS_CERTIFICATES,
    SHOWS_COMMANDS,
    CaseFacts,
    completed,
    sender_domain_of,
)
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Rejection


class RefusedSession(Struct, frozen=True, kw_only=True, dict=True):
    """A refusal and the facts of its case; ``sent`` is the certificate with all that any input tells of it."""

    rejection: Rejection
    sent: Certificate | None
    case: CaseFacts

    @cached_property
    def moment(self) -> datetime:
        """Return the time of the handshake, or of the refusal where that is not known.

        What counts for a certificate is the handshake: a session may go on for hours.
        """
        return self.rejection.handshake_time or self.rejection.time

    @cached_property
    def shows_commands(self) -> bool:
        """Return whether the kind of log writes the commands of a session."""
        return self.rejection.kind in SHOWS_COMMANDS

    @cached_property
    def start_tls(self) -> bool | None:
        """Return whether TLS was used; that it was not is only known where the rows are whole."""
        rejection = self.rejection
        if not self.shows_commands:
            return None
        used = rejection.starttls or bool(rejection.tls)
        return used if used or (rejection.from_start and rejection.helo) else None

    @cached_property
    def certificate_sent(self) -> bool | None:
        """Return whether a certificate was sent; None where the log does not show that."""
        rejection = self.rejection
        if rejection.kind not in SHOWS_CERTIFICATES:
            return None
        if rejection.sent is not None:
            return True
        return False if rejection.from_start and rejection.tls else None

    @cached_property
    def sender_domain(self) -> str | None:
        """Return the sender's domain; empty for MAIL FROM:<>, None where the log does not show MAIL FROM."""
        return sender_domain_of(self.rejection)


def refused_session(rejection: Rejection, case: CaseFacts) -> RefusedSession:
    """Return a refusal as a session, its certificate completed from event 90 and certificate files."""
    return RefusedSession(rejection=rejection, sent=completed(rejection.sent, case), case=case)
