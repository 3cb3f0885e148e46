"""Rejections grouped to incidents: one host, one kind of log, one connector, one certificate sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter

from msgspec import UNSET

from evtx_analyzer.clock import Moment, is_known, limits
from evtx_analyzer.correlate.case_facts import grouped
from evtx_analyzer.correlate.excerpt import Survey, excerpt, survey
from evtx_analyzer.correlate.links import operation_values, rejection_values
from evtx_analyzer.model.alike import Alike, in_order
from evtx_analyzer.model.evidence import Folded, Incident, IncidentCertificate, Link, Operation, Rejection, ReplyText
from evtx_analyzer.model.origin import sort_key
from evtx_analyzer.normalize.kinds import SESSION_KINDS
from evtx_analyzer.smtp.folding import Key, incident_key
from evtx_analyzer.smtp.rejections import is_proxied
from evtx_analyzer.smtp.replies import joined, reply_text

_MOST_REPLIES = 20


def incidents(
    rejections: Sequence[Rejection],
    links: Sequence[Link],
    operations: Mapping[str, Operation],
    alike: Sequence[Alike] = (),
) -> list[Incident]:
    """Return the incidents in the order of their first refusal; each holds its rejections and their links.

    ``alike`` are folded refusals of large incidents.
    """
    links_of = grouped(links, attrgetter("rejection"))
    whole, folded = grouped(rejections, incident_key), grouped(alike, lambda group: incident_key(group.shared))
    keys = dict.fromkeys([*whole, *folded])
    made = [_incident(key, whole.get(key, []), folded.get(key, []), links_of, operations) for key in keys]
    return sorted(made, key=lambda incident: (incident.start, incident.id))


def _incident(
    key: Key,
    group: Sequence[Rejection],
    alike: Sequence[Alike],
    links_of: Mapping[str, list[Link]],
    operations: Mapping[str, Operation],
) -> Incident:
    surveys = [survey(folded, number) for number, folded in enumerate(alike)]
    links = _links(group, alike, links_of)
    listed, unlisted = excerpt(surveys, links) if surveys else ([], ())
    rejections = tuple(sorted([*group, *listed], key=_order))
    count = len(rejections) + sum(map(len, unlisted))
    own = {rejection.id for rejection in rejections} if unlisted else set[str]()
    edges = [of_group.group.whole(edge) for of_group in surveys for edge in (of_group.first, of_group.last)]
    start, end = limits(Moment(rejection.time, rejection.time_basis) for rejection in (*group, *edges))
    replies = _replies(group, surveys)
    senders, recipients = _affected(group, surveys)
    host, kind, connector, _ = key
    return Incident(
        id=f"I-{hashlib.sha256('|'.join((*key, start.time.isoformat())).encode()).hexdigest()[:10]}",
        host=host,
        connector=connector,
        kind=kind,
        start=start.time,
        end=end.time,
        rejection_count=count,
        certificate=_certificate(rejections, links, operations),
        rejections=rejections,
        links=tuple(link for link in links if link.rejection in own) if unlisted else links,
        senders=tuple(sorted(senders)),
        recipients=tuple(sorted(recipients)),
        start_basis=start.basis,
        end_basis=end.basis,
        unknown_zone_count=sum(not is_known(rejection.time_basis) for rejection in group),
        excerpt_count=sum(map(_is_excerpt, group)) + sum(len(folded) for folded in alike if _is_excerpt(folded.shared)),
        replies=tuple(replies[:_MOST_REPLIES]),
        more_replies=sum(reply.count for reply in replies[_MOST_REPLIES:]),
        folded_count=count - len(rejections),
        folded=Folded(unlisted, links) if unlisted else UNSET,
    )


def _order(rejection: Rejection) -> tuple[object, ...]:
    return rejection.time, sort_key(rejection.origin)


def _is_excerpt(rejection: Rejection) -> bool:
    # Message tracking and reports have no rows of a session that could be missing.
    return rejection.kind in SESSION_KINDS and not (
        rejection.from_start or is_proxied(rejection.kind, rejection.remote_endpoint)
    )


def _links(group: Sequence[Rejection], alike: Sequence[Alike], links_of: Mapping[str, list[Link]]) -> tuple[Link, ...]:
    """Return the links of all refusals of an incident in the order of the refusals."""
    if not links_of:
        return ()
    return tuple(link for rejection in in_order(group, alike) for link in links_of.get(rejection.id, ()))


def _affected(group: Sequence[Rejection], surveys: Sequence[Survey]) -> tuple[set[str], set[str]]:
    """Return the senders and the recipients of an incident.

    An empty sender counts where the log shows a session (MAIL FROM:<>), not where it shows a message only.
    """
    senders = {rejection.mail_from for rejection in group if rejection.stage or rejection.mail_from}
    recipients = {name for rejection in group for name in rejection.rcpt_to.split("; ") if name}
    for of_group in surveys:
        senders |= {name for name in of_group.senders if of_group.group.shared.stage or name}
        recipients |= of_group.recipients
    return senders, recipients


def _replies(group: Sequence[Rejection], surveys: Sequence[Survey]) -> list[ReplyText]:
    """Return the distinct replies of an incident in the order of their first time."""
    rows = [(_order(rejection), reply_text(rejection)) for rejection in group if rejection.reply]
    for of_group in surveys:
        first, last = of_group.group.whole(of_group.first), of_group.last.time
        rows += [(_order(first), reply_text(first, len(of_group.group), last))] if first.reply else []
    return joined(reply for _, reply in sorted(rows, key=itemgetter(0)))


def _certificate(
    rejections: Sequence[Rejection], links: Sequence[Link], operations: Mapping[str, Operation]
) -> IncidentCertificate | None:
    """Return the certificate that was sent; if the log shows none, that of an operation with a name of this server.

    A link by subject may also join the certificate of the remote side, which this server did not send.
    """
    sent = next((rejection.sent for rejection in rejections if rejection.sent and rejection.sent.thumbprint), None)
    if sent is not None:
        return IncidentCertificate(thumbprint=sent.thumbprint, subject=sent.subject, issuer=sent.issuer)
    of_link = {rejection.id: rejection for rejection in rejections}
    by_name = ((operations[link.operation], of_link.get(link.rejection)) for link in links if link.basis == "subject")
    operation = next((check for check, rejection in by_name if rejection and _has_own_name(check, rejection)), None)
    if operation is None:
        return None
    issuer = operation.certificate.issuer if operation.certificate else ""
    return IncidentCertificate(thumbprint=operation.thumbprint, subject=operation.subject, issuer=issuer)


def _has_own_name(operation: Operation, rejection: Rejection) -> bool:
    return not operation_values(operation)["SubjectDomain"].isdisjoint(rejection_values(rejection)["OwnDomain"])
