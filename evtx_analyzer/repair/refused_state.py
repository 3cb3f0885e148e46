"""The state in which the mail of an incident was refused, which later logs are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from evtx_analyzer.clock import is_known
from evtx_analyzer.correlate.case_facts import sender_domain_of
from evtx_analyzer.correlate.excerpt import holds_every_kind
from evtx_analyzer.exchange_online import is_remote_side
from evtx_analyzer.hosts import address_of
from evtx_analyzer.model.evidence import PASSED, Delivery, Incident, Operation, Rejection
from evtx_analyzer.normalize.kinds import KINDS_WITH_CERTIFICATES, SESSION_KINDS
from evtx_analyzer.smtp.rejections import is_proxied


class FailedCheck(Struct, frozen=True):
    """A certificate check that failed and is joined with a refusal: what must pass for a repair."""

    host: str
    process: str
    policy: str
    thumbprint: str
    time: datetime


class RefusedState(Struct, frozen=True, kw_only=True):
    """The state in which the mail of an incident was refused, as far as its logs show it.

    ``local_addresses`` are those of the machine in its own network, with an empty one for a log that does not show it.
    ``accepted_meanwhile`` says that mail to outside recipients was, or may have been, accepted between the refusals.
    ``tls``, ``certificate_sent`` and ``online`` (the remote side is Exchange Online) are None where that is not known
    of all refusals: those that are only counted may have been in another state than all others. ``every_address`` is
    False where there are such, or where the log of some shows no address. ``end`` is the latest that it can be.
    ``timed`` is False where the UTC time of a refusal is not known: then nothing is later than it.
    """

    host: str
    connector: str
    kind: str
    start: datetime
    end: datetime
    timed: bool
    thumbprints: frozenset[str]
    addresses: frozenset[str]
    local_addresses: frozenset[str]
    every_address: bool
    sender_domains: frozenset[str | None]
    tls: bool | None
    certificate_sent: bool | None
    online: bool | None
    failed: tuple[FailedCheck, ...]
    accepted_meanwhile: bool
    sample: Rejection


def refused_state(
    incident: Incident,
    operations: Mapping[str, Operation],
    deliveries: Iterable[Delivery] = (),
    refused_from: Mapping[tuple[str, str, str, str], frozenset[str]] = {},
) -> RefusedState:
    """Return the state of an incident; ``operations`` (by id) hold the checks of its links.

    ``deliveries`` are needed where ``Later`` does not hold the accepted mail of the incident's own time.
    ``refused_from`` (as in ``CaseFacts``) holds the local addresses of folded refusals too.
    """
    complete = holds_every_kind(incident)
    # Refusals that are alike were refused in the same state, so one of each group is enough.
    rejections = (*incident.rejections, *(next(group.rejections()) for group in incident.alike))
    tls = {tls_used(rejection) for rejection in rejections}
    certificates = {certificate_sent(rejection) for rejection in rejections}
    online = {reached_online(rejection) for rejection in rejections}
    links = (link for link in incident.every_link if link.broken_by is None and link.basis != "time")
    checks = (operations[link.operation] for link in links if link.operation in operations)
    bad = [check for check in checks if check.result not in ("", PASSED)]
    thumbprints = frozenset(rejection.sent.thumbprint for rejection in rejections if rejection.sent) - {""}
    sender = incident.host, incident.connector, incident.kind
    counted = (refused_from.get((*sender, thumbprint), ()) for thumbprint in thumbprints or ("",))
    failed = {FailedCheck(check.host, check.process, check.policy, check.thumbprint, check.time) for check in bad}
    return RefusedState(
        host=incident.host,
        connector=incident.connector,
        kind=incident.kind,
        start=incident.start,
        end=max([incident.end, *(latest(rejection) for rejection in rejections if is_known(rejection.time_basis))]),
        timed=is_known(incident.end_basis) and not incident.unknown_zone_count,
        thumbprints=thumbprints,
        addresses=frozenset(rejection.seen_address for rejection in rejections) - {""},
        local_addresses=frozenset(address_of(rejection.local_endpoint) for rejection in rejections).union(*counted),
        every_address=complete and all(rejection.seen_address for rejection in rejections),
        sender_domains=frozenset(sender_domain_of(rejection) for rejection in rejections),
        tls=_agreed(tls) if complete else None,
        certificate_sent=_agreed(certificates) if complete else None,
        online=_agreed(online) if complete else None,
        accepted_meanwhile=any(_accepted_meanwhile(delivery, incident) for delivery in deliveries),
        failed=tuple(sorted(failed, key=lambda check: (check.time, check.thumbprint, check.policy))),
        sample=incident.rejections[-1],
    )


def latest(rejection: Rejection) -> datetime:
    """Return the time of a refusal, of an hour that its clock showed twice the later reading."""
    other = rejection.other_time if rejection.time_basis == "ambiguous" else None
    return rejection.time if other is None else max(rejection.time, other)


def _accepted_meanwhile(history: Delivery, incident: Incident) -> bool:
    """Return whether mail may have been accepted between the refusals: the spans of both overlap."""
    thumbprints = {rejection.sent.thumbprint if rejection.sent else "" for rejection in incident.rejections}
    first, last = history.first_accepted_outside, history.last_accepted_outside
    if first is None or last is None or history.thumbprint not in thumbprints:
        return False
    same = (history.host, history.connector, history.kind) == (incident.host, incident.connector, incident.kind)
    return same and first <= incident.end and last >= incident.start


def reached_online(rejection: Rejection) -> bool | None:
    """Return whether the other side is Exchange Online, which only a session with it shows."""
    if rejection.kind not in SESSION_KINDS or is_proxied(rejection.kind, rejection.remote_endpoint):
        return None
    return is_remote_side(rejection.remote_name, rejection.received, rejection.remote_endpoint)


def tls_used(rejection: Rejection) -> bool | None:
    """Return whether a refused session used TLS; None where the log does not show it."""
    if rejection.starttls or rejection.tls:
        return True
    return False if rejection.from_start and rejection.kind in SESSION_KINDS else None


def certificate_sent(rejection: Rejection) -> bool | None:
    """Return whether a certificate was sent, which needs TLS; None where the log does not show it, as in IIS SMTP."""
    if rejection.sent is not None:
        return True
    tls = tls_used(rejection)
    if tls is False:
        return False
    return False if tls and rejection.from_start and rejection.kind in KINDS_WITH_CERTIFICATES else None


def _agreed(values: set[bool | None]) -> bool | None:
    """Return the value that all share; None if they differ or it is not known."""
    return next(iter(values)) if len(values) == 1 else None
