"""What changed after mail was refused, and what Exchange Online took from then on.

A change counts as a repair only together with mail that was accepted afterwards for recipients outside of the own
tenant, because mail to the own tenant is accepted whatever the attribution. docs/rules.md lists the names of changes,
which causes name under ``repair``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.correlate import connector_checks
from evtx_analyzer.correlate.case_facts import SHOWS_CERTIFICATES, SHOWS_COMMANDS, sender_domain_of
from evtx_analyzer.correlate.excerpt import holds_every_kind
from evtx_analyzer.exchange_online import is_private, is_remote_side
from evtx_analyzer.model.evidence import Delivery, Incident, Operation, Rejection
from evtx_analyzer.model.origin import Origin, sort_key
from evtx_analyzer.repair.later import Later, sender
from evtx_analyzer.rules.definitions import CHANGES
from evtx_analyzer.smtp.acceptances import MailState, Span, joined
from evtx_analyzer.smtp.deliveries import AcceptedMail

Part = Literal["certificate", "tls", "address", "sender"]
_PASSED = "0"
_TRUE = ("true",)
# Facts of the exported configuration that show a repair on the tenant's side, by the name of the change.
_EXPORTED = {
    "connector-covers-certificate": "InboundConnector.CertificateMatches",
    "connector-covers-address": "InboundConnector.AddressMatches",
    "domain-accepted": "AcceptedDomain.Sender",
}


class FailedCheck(Struct, frozen=True):
    """A certificate check that failed and is joined with a refusal: what must pass for a repair."""

    host: str
    process: str
    policy: str
    thumbprint: str
    time: datetime


class RefusedState(Struct, frozen=True, kw_only=True):
    """The state in which the mail of an incident was refused, as far as its logs show it.

    ``accepted_meanwhile`` says that mail to outside recipients was, or may have been, accepted between the refusals.
    ``tls``, ``certificate_sent`` and ``online`` (the remote side is Exchange Online) are None where that is not known
    of all refusals. ``timed`` is False where the UTC time of a refusal is not known: then nothing is later than it.
    ``complete`` is False where some refusals are only counted and may have been in another state than all others.
    """

    host: str
    connector: str
    kind: str
    start: datetime
    end: datetime
    timed: bool
    complete: bool
    thumbprints: frozenset[str]
    addresses: frozenset[str]
    sender_domains: frozenset[str | None]
    tls: bool | None
    certificate_sent: bool | None
    online: bool | None
    failed: tuple[FailedCheck, ...]
    accepted_meanwhile: bool
    sample: Rejection


class LaterRefusals(Struct, frozen=True):
    """Refusals of the same machine and connector after a time: how many, the first one, and when the last one was."""

    count: int
    first: Rejection
    last: datetime


class Change(Struct, frozen=True, kw_only=True):
    """A change after the refusals: since when, where it stands, and the mail that was accepted from then on.

    ``accepted`` is None where no mail to outside recipients was accepted since. ``alone`` says that mail was accepted
    which differs from the refused mail in nothing that the logs show but in this.
    """

    name: str
    text: str
    time: datetime | None
    origin: Origin | None
    accepted: Span | None
    alone: bool


def refused_state(
    incident: Incident, operations: Mapping[str, Operation], deliveries: Iterable[Delivery] = ()
) -> RefusedState:
    """Return the state of an incident; ``operations`` (by id) hold the checks of its links.

    ``deliveries`` are given where ``Later`` does not hold the accepted mail of the incident's own time.
    """
    complete = holds_every_kind(incident)
    # One answers for all that are alike.
    rejections = (*incident.rejections, *(next(group.rejections()) for group in incident.alike))
    tls = {_tls(item) for item in rejections}
    certificates = {_certificate_sent(item) for item in rejections}
    online = {is_remote_side(item.remote_name, item.received, item.remote_endpoint) for item in rejections}
    links = (link for link in incident.every_link if link.broken_by is None and link.basis != "time")
    checks = (operations[link.operation] for link in links if link.operation in operations)
    failed = {
        FailedCheck(item.host, item.process, item.policy, item.thumbprint, item.time)
        for item in checks
        if item.result not in ("", _PASSED)
    }
    return RefusedState(
        host=incident.host,
        connector=incident.connector,
        kind=incident.kind,
        start=incident.start,
        end=incident.end,
        timed=clock.is_known(incident.end_basis) and not incident.unknown_zone_count,
        complete=complete,
        thumbprints=frozenset(item.sent.thumbprint for item in rejections if item.sent) - {""},
        addresses=frozenset(item.seen_address for item in rejections) - {""},
        sender_domains=frozenset(sender_domain_of(item) for item in rejections),
        tls=_agreed(tls) if complete else None,
        certificate_sent=_agreed(certificates) if complete else None,
        online=_agreed(online) if complete else None,
        accepted_meanwhile=any(_accepted_meanwhile(item, incident) for item in deliveries),
        failed=tuple(sorted(failed, key=lambda item: (item.time, item.thumbprint, item.policy))),
        sample=incident.rejections[-1],
    )


def _accepted_meanwhile(history: Delivery, incident: Incident) -> bool:
    """Whether the first and the last acceptance lie around or within the refusals: any between them may."""
    thumbprints = {item.sent.thumbprint if item.sent else "" for item in incident.rejections}
    first, last = history.first_accepted_outside, history.last_accepted_outside
    if first is None or last is None or history.thumbprint not in thumbprints:
        return False
    same = (history.host, history.connector, history.kind) == (incident.host, incident.connector, incident.kind)
    return same and first <= incident.end and last >= incident.start


def refusals_after(state: RefusedState, later: Later, time: datetime) -> LaterRefusals | None:
    """Return the refusals of the same machine and connector after a time, also the folded ones; None without any."""
    # Message tracking and reports may name no connector.
    senders = dict.fromkeys((sender(state.host, state.connector), sender(state.host, "")))
    same = (item for name in senders for item in later.refused_by.get(name, ()))
    listed = [item for item in same if item.time > time and _refused_same(item, state)]
    firsts, count, last = list(listed), len(listed), max((item.time for item in listed), default=time)
    for group in (group for name in senders for group in later.alike_by.get(name, ())):
        found = [item for item in group.differing() if item.time > time] if _refused_same(group.shared, state) else []
        if found:
            firsts.append(group.whole(min(found, key=group.order)))
            count, last = count + len(found), max(last, *(item.time for item in found))
    if not firsts:
        return None
    return LaterRefusals(count, min(firsts, key=lambda item: (item.time, sort_key(item.origin))), last)


def _refused_same(item: Rejection, state: RefusedState) -> bool:
    return _same_sender(item.host, item.connector or state.connector, state)


def outside_mail(state: RefusedState, later: Later) -> list[AcceptedMail]:
    """Return what Exchange Online took from the same machine and connector for recipients outside of the tenant."""
    return [
        item
        for item in later.accepted_by.get(sender(state.host, state.connector), ())
        if item.state.scope == "outside"
        and item.state.kind in (state.kind, *(SHOWS_COMMANDS if state.kind not in SHOWS_COMMANDS else ()))
        and clock.is_known(item.state.time_basis)
        and _same_sender(item.state.host, item.state.connector, state)
    ]


def unnamed_mail(state: RefusedState, later: Later) -> bool:
    """Return whether logs that name no machine hold mail of the same connector: it may be that of another server."""
    return bool(state.host) and bool(later.accepted_by.get(sender("", state.connector)))


def accepted_after(state: RefusedState, later: Later, time: datetime) -> Span | None:
    """Return how much mail to outside recipients was accepted after a time, in whatever state."""
    return _between(outside_mail(state, later), time, None)


def changes(state: RefusedState, later: Later) -> list[Change]:
    """Return every change that later logs show, in the order of ``CHANGES``."""
    mail = outside_mail(state, later)
    seen = [*_checks(state, later, mail), *_sessions(state, mail), *_exports(state, later, mail)]
    return sorted(seen, key=lambda item: (CHANGES.index(item.name), item.time is None, item.time or 0))


def _checks(state: RefusedState, later: Later, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """The check that failed passes, on the same machine, in the same process, under the same policy."""
    received = {item.received.thumbprint for item in (state.sample,) if item.received}
    for failed in state.failed:
        name = "remote-check-passes" if failed.thumbprint in received - state.thumbprints else "check-passes"
        same = later.checks_of.get((failed.thumbprint, failed.policy, failed.process), ())
        again = [item for item in same if _is_again(item, failed)]
        # Where it failed once more, it passes since then only, and where it fails at the end it does not pass.
        until = max((item.time for item in again if not _is_sound(item)), default=failed.time)
        passed = [item for item in again if item.time > until]
        if not passed:
            continue
        first = min(passed, key=lambda item: item.time)
        text = (
            f"CAPI2: the check of {first.subject or first.thumbprint} ({first.thumbprint}) that failed at "
            f"{clock.as_text(failed.time)} passes since {clock.as_text(first.time)}."
        )
        yield _change(state, name, text, first, _with_same_certificate(state, mail))


def _is_again(item: Operation, failed: FailedCheck) -> bool:
    """Whether a check of the same certificate is the one that failed, made again later."""
    return item.result != "" and _same_host(item.host, failed.host) and item.time > failed.time


def _is_sound(item: Operation) -> bool:
    """Whether a check passed; one whose chain has errors was told to ignore them."""
    return item.result == _PASSED and not item.chain_status


def _sessions(state: RefusedState, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """What sessions that were accepted after the last refusal do in another way."""
    if state.thumbprints:
        others = [item for item in mail if item.state.thumbprint and item.state.thumbprint not in state.thumbprints]
        names = ", ".join(sorted({item.state.thumbprint for item in _after(others, state.end)}))
        yield from _by_mail(state, "another-certificate", f"Another certificate is sent: {names}", others)
    if state.certificate_sent is False:
        shown = [item for item in mail if item.state.thumbprint]
        names = ", ".join(sorted({item.state.thumbprint for item in _after(shown, state.end)}))
        yield from _by_mail(state, "certificate-sent", f"A certificate is sent now: {names}", shown)
    if state.tls is False:
        yield from _by_mail(state, "tls-used", "TLS is used now", [item for item in mail if item.state.tls])
    # A refusal that is only counted may have come from the address that seems to be another one.
    if state.addresses and state.complete:
        moved = [item for item in mail if _is_other_address(item.state.seen_address, state)]
        names = ", ".join(sorted({item.state.seen_address for item in _after(moved, state.end)}))
        yield from _by_mail(state, "another-address", f"Exchange Online sees another address: {names}", moved)
    if state.online is False:
        yield from _by_mail(state, "exchange-online-reached", "The sessions end at Exchange Online itself now", mail)


_DIFFERS: Mapping[str, tuple[Part, ...]] = {
    "another-certificate": ("certificate",),
    "certificate-sent": ("certificate", "tls"),
    "tls-used": ("tls", "certificate"),
    "another-address": ("address",),
    "exchange-online-reached": ("address",),
}
"""In what mail that shows a change differs from the refused mail by the change itself."""


def _by_mail(state: RefusedState, name: str, text: str, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """A change that the accepted mail itself shows; None of it was accepted while other mail was refused."""
    span = _between(mail, state.end, None)
    if span is not None and _between(mail, state.start, state.end) is None:
        since = f"{text}, since {clock.as_text(span.first)}."
        alone = any(_differs(item.state, state) <= {*_DIFFERS[name]} for item in _after(mail, state.end))
        yield Change(name=name, text=since, time=span.first, origin=None, accepted=span, alone=alone)


def _exports(state: RefusedState, later: Later, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """Exports of after the fix that fit the refused session: the cause says that those of before it did not."""
    if not later.objects:
        return
    known = later.certificates.get(next(iter(sorted(state.thumbprints)), ""))
    facts = connector_checks.check(state.sample, known or state.sample.sent, later.objects)
    for name, field in _EXPORTED.items():
        if facts.get(field) == _TRUE:
            cmdlet = "Get-AcceptedDomain" if name == "domain-accepted" else "Get-InboundConnector"
            origin = min((item.origin for item in later.objects.get(cmdlet, ())), key=str, default=None)
            text = f"{cmdlet} fits the refused session now ({field})."
            fitting = _with_same_certificate(state, mail)
            yield _change(state, name, text, None, fitting, origin)


def _change(
    state: RefusedState,
    name: str,
    text: str,
    shown: Operation | None,
    mail: Sequence[AcceptedMail],
    origin: Origin | None = None,
) -> Change:
    """A change that something else than mail shows, with the mail in the refused state that was accepted since."""
    since = max(shown.time, state.end) if shown is not None else state.end
    # Where mail in this state was accepted between the refusals, its acceptance later shows nothing new.
    before = _between(mail, state.start, shown.time if shown is not None and shown.time < state.end else state.end)
    accepted = None if before is not None or state.accepted_meanwhile else _between(mail, since, None)
    # Where mail was refused after the change, something else may have ended the refusals.
    ended = shown is None or shown.time >= state.end
    alone = ended and any(not _differs(item.state, state) for item in _after(mail, since))
    return Change(
        name=name,
        text=text,
        time=shown.time if shown is not None else None,
        origin=shown.origin if shown is not None else origin,
        accepted=accepted,
        alone=alone and accepted is not None,
    )


def _with_same_certificate(state: RefusedState, mail: Sequence[AcceptedMail]) -> list[AcceptedMail]:
    """Mail that was not sent with another certificate; IIS SMTP logs show none."""
    return [item for item in mail if "certificate" not in _differs(item.state, state) or _shows_none(item.state)]


def _differs(mail: MailState, state: RefusedState) -> set[Part]:
    """Return in what accepted mail differs, or may differ, from the refused mail."""
    parts: set[Part] = set()
    if (mail.thumbprint not in state.thumbprints) if state.thumbprints else bool(mail.thumbprint) or _unsure(state):
        parts.add("certificate")
    if state.tls is None or mail.tls is not state.tls:
        parts.add("tls")
    if state.addresses and mail.seen_address not in state.addresses:
        parts.add("address")
    if None in state.sender_domains or mail.sender_domain not in state.sender_domains:
        parts.add("sender")
    return parts


def _unsure(state: RefusedState) -> bool:
    """Whether nothing shows which certificate the refused sessions sent, if any."""
    return state.certificate_sent is None


def _shows_none(mail: MailState) -> bool:
    return mail.kind not in SHOWS_CERTIFICATES


def _is_other_address(seen: str, state: RefusedState) -> bool:
    return bool(seen) and not is_private(seen) and seen not in state.addresses


def _after(mail: Iterable[AcceptedMail], time: datetime) -> list[AcceptedMail]:
    return [item for item in mail if item.times.between(time, None) is not None]


def _between(mail: Iterable[AcceptedMail], first: datetime, last: datetime | None) -> Span | None:
    spans = (item.times.between(first, last) for item in mail)
    return joined(span for span in spans if span is not None)


def _tls(rejection: Rejection) -> bool | None:
    if rejection.starttls or rejection.tls:
        return True
    return False if rejection.from_start and rejection.kind in SHOWS_COMMANDS else None


def _certificate_sent(rejection: Rejection) -> bool | None:
    """Whether a certificate was sent; without TLS there is none, and IIS SMTP logs do not show it."""
    if rejection.sent is not None:
        return True
    tls = _tls(rejection)
    if tls is False:
        return False
    return False if tls and rejection.from_start and rejection.kind in SHOWS_CERTIFICATES else None


def _agreed(values: set[bool | None]) -> bool | None:
    """The value that all have; None where they differ or one is not known."""
    return next(iter(values)) if len(values) == 1 else None


def _same_sender(host: str, connector: str, state: RefusedState) -> bool:
    return _same_host(host, state.host) and connector.casefold() == state.connector.casefold()


def _same_host(left: str, right: str) -> bool:
    """Whether two names are of one machine, with or without its domain; no name is no other machine's."""
    short = {name.casefold().partition(".")[0] for name in (left, right)}
    full = {name.casefold() for name in (left, right) if "." in name}
    return len(short) == 1 and len(full) <= 1
