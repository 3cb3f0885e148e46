"""A refusal without a certificate beside refusals of the same connector with one: then sending one is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from evtx_analyzer.correlate.case_facts import expired_at, sender_key
from evtx_analyzer.correlate.refused_session import RefusedSession
from evtx_analyzer.distinguished_names import has_domain_component, same_name
from evtx_analyzer.model.evidence import PASSED, Delivery
from evtx_analyzer.smtp.acceptances import Span
from evtx_analyzer.smtp.deliveries import AcceptedMail


def refused_with_certificate(
    session: RefusedSession, accepted: Sequence[AcceptedMail], senders: AbstractSet[str | None]
) -> list[Span]:
    """Return the refusals of the connector that sent a certificate against which nothing speaks.

    ``accepted`` is the mail of the connector that was accepted with a certificate: where there is some in between,
    what refused the other mail was over. ``senders`` are the domains of the senders that are refused without one.
    Mail of other senders may be refused for what they are, so all of these must be refused with a certificate too.
    """
    rejection, case = session.rejection, session.case
    span = case.refused_span(rejection)
    spans: list[Span] = []
    refused_senders: set[str | None] = set()
    for delivery in case.deliveries:
        first, last = delivery.first_refused, delivery.last_refused
        if sender_key(delivery) != sender_key(rejection) or not delivery.thumbprint or not first or not last:
            continue
        if _may_verify(delivery, last, session) and not _accepted_between(accepted, (first, last), span):
            spans.append(Span(delivery.refused, first, last))
            refused_senders |= case.senders.get((delivery.host, delivery.kind, delivery.thumbprint), frozenset())
    return spans if senders <= refused_senders else []


def _accepted_between(
    accepted: Sequence[AcceptedMail], one: tuple[datetime, datetime], other: tuple[datetime, datetime]
) -> bool:
    """Return whether mail was accepted between two spans of refusals; False where they overlap."""
    start, end = min(one[1], other[1]), max(one[0], other[0])
    return start < end and any(row.times.between(start, end) for row in accepted)


def _may_verify(delivery: Delivery, last: datetime, session: RefusedSession) -> bool:
    """Return whether nothing shows that Exchange Online cannot verify a certificate: its names, dates and checks."""
    case, known = session.case, session.case.certificates.get(delivery.thumbprint)
    checks = case.checks.get((delivery.host, delivery.thumbprint), ())
    if known is None or any(check.result != PASSED for check in checks) or has_domain_component(known.issuer):
        return False
    self_signed = bool(known.issuer) and same_name(known.subject, known.issuer)
    return not self_signed and not expired_at(known, last - session.ahead)
