"""Rejections grouped to incidents: one host, one kind of log, one connector, one certificate sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from evtx_analyzer.clock import Moment, is_known, limits
from evtx_analyzer.model.evidence import Incident, IncidentCertificate, Link, Operation, Rejection
from evtx_analyzer.model.origin import sort_key
from evtx_analyzer.smtp.reply_texts import reply_texts

# Tracking and reports tell of messages: no row of a session can be missing in them.
_WITH_SESSIONS = ("send-connector", "iis-smtp")
_MOST_REPLIES = 20


def incidents(
    found_rejections: Sequence[Rejection], found_links: Sequence[Link], operations: Mapping[str, Operation]
) -> list[Incident]:
    """Return the incidents in the order of their first refusal; each holds its rejections and their links."""
    links_of: dict[str, list[Link]] = {}
    for link in found_links:
        links_of.setdefault(link.rejection, []).append(link)
    groups: dict[tuple[str, ...], list[Rejection]] = {}
    for item in found_rejections:
        sent = item.sent.thumbprint if item.sent else ""
        groups.setdefault((item.host, item.kind, item.connector, sent), []).append(item)
    found = [_incident(key, group, links_of, operations) for key, group in groups.items()]
    return sorted(found, key=lambda item: (item.start, item.id))


def _incident(
    key: tuple[str, ...],
    group: Sequence[Rejection],
    links_of: Mapping[str, list[Link]],
    operations: Mapping[str, Operation],
) -> Incident:
    rejections = tuple(sorted(group, key=lambda item: (item.time, sort_key(item.origin))))
    links = tuple(link for item in rejections for link in links_of.get(item.id, ()))
    host, kind, connector, _ = key
    start, end = limits(Moment(item.time, item.time_basis) for item in rejections)
    replies = reply_texts(rejections)
    return Incident(
        id=f"I-{hashlib.sha256('|'.join((*key, start.time.isoformat())).encode()).hexdigest()[:10]}",
        host=host,
        connector=connector,
        kind=kind,
        start=start.time,
        end=end.time,
        rejection_count=len(rejections),
        certificate=_certificate(rejections, links, operations),
        rejections=rejections,
        links=links,
        senders=tuple(sorted({item.mail_from for item in rejections if item.stage or item.mail_from})),
        recipients=tuple(sorted({name for item in rejections for name in item.rcpt_to.split("; ") if name})),
        start_basis=start.basis,
        end_basis=end.basis,
        unknown_zone_count=sum(not is_known(item.time_basis) for item in rejections),
        excerpt_count=sum(item.kind in _WITH_SESSIONS and not item.from_start for item in rejections),
        replies=tuple(replies[:_MOST_REPLIES]),
        more_replies=sum(reply.count for reply in replies[_MOST_REPLIES:]),
    )


def _certificate(
    rejections: Sequence[Rejection], links: Sequence[Link], operations: Mapping[str, Operation]
) -> IncidentCertificate | None:
    """Return the certificate that was sent; if the log shows none, that of an operation with the server's name."""
    sent = next((item.sent for item in rejections if item.sent and item.sent.thumbprint), None)
    if sent is not None:
        return IncidentCertificate(thumbprint=sent.thumbprint, subject=sent.subject, issuer=sent.issuer)
    operation = next((operations[link.operation] for link in links if link.basis == "subject"), None)
    if operation is None:
        return None
    issuer = operation.certificate.issuer if operation.certificate else ""
    return IncidentCertificate(thumbprint=operation.thumbprint, subject=operation.subject, issuer=issuer)
