"""A refusal beside the mail that was accepted: with the same certificate, address or sender, before, between and after.

Only mail that Exchange Online took for recipients outside of the own tenant is compared. What is absent is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from evtx_analyzer import clock
from evtx_analyzer.correlate.case_facts import (
    SHOWS_CERTIFICATES,
    SHOWS_COMMANDS,
    CaseFacts,
    sender_domain_of,
    sender_key,
    sent_thumbprint,
)
from evtx_analyzer.correlate.connector_checks import Facts, yes
from evtx_analyzer.distinguished_names import same_name
from evtx_analyzer.exchange_online import is_private, parse_address
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.smtp.acceptances import Span, joined
from evtx_analyzer.smtp.deliveries import AcceptedMail

_PASSED = "0"


def accepted_facts(rejection: Rejection, sent: Certificate | None, found: Facts, background: CaseFacts) -> Facts:
    """Accepted mail to outside recipients, compared with the refusal; the same for all refusals that ask the same."""
    if rejection.kind not in SHOWS_COMMANDS:
        return {}
    plain = found.get("StartTls") == ["false"]
    own, domain = sent_thumbprint(rejection), sender_domain_of(rejection)
    failed = _failed_check(rejection, background)
    expiry = _expiry(sent, rejection)
    # A refusal that the history does not hold is compared by its own time.
    alone = None if (*sender_key(rejection), own) in background.refused else rejection.time
    key = ("accepted", *sender_key(rejection), own, plain, rejection.seen_address, domain, failed, expiry, alone)
    if key not in background.answers:
        background.answers[key] = _compared(rejection, found, background, failed, expiry)
    return background.answers[key]


def _compared(
    rejection: Rejection,
    found: Facts,
    background: CaseFacts,
    failed: tuple[datetime, datetime] | None,
    expiry: datetime | None,
) -> Facts:
    mail = background.outside.get((rejection.host, rejection.kind), [])
    here = [item for item in mail if item.state.connector == rejection.connector]
    same = [item for item in here if _same_security(item, rejection, found)]
    alike = same or [item for item in here if _same_as_shown(item, rejection, found)]
    facts: Facts = {
        "AcceptedSameSecurity": messages_between(alike),
        "AcceptedSameCertificate": messages_between(same) if sent_thumbprint(rejection) else [],
        "AcceptedWithoutCertificate": [] if sent_thumbprint(rejection) else messages_between(same),
        "AcceptedSinceFailedCheck": messages_between(same, *failed) if failed else [],
        "AcceptedSinceExpiry": messages_between(same, expiry) if expiry else [],
    }
    if rejection.seen_address:
        facts["SeenAddress"] = [rejection.seen_address]
        facts["SeenAddressPrivate"] = [yes(is_private(rejection.seen_address))]
        address = parse_address(rejection.seen_address)
        facts["SeenAddressVersion"] = [] if address is None else [str(address.version)]
        _add_addresses(facts, rejection, alike, here)
    _add_senders(facts, rejection, alike, background)
    _add_certificates(facts, rejection, here, background)
    began = _began(rejection, background)
    elsewhere = [item for item in mail if sent_thumbprint(rejection) and _is_elsewhere(item, rejection, began)]
    facts["AcceptedOnAnotherConnector"] = sorted({item.state.connector for item in elsewhere})
    return facts


def _same_security(item: AcceptedMail, rejection: Rejection, found: Facts) -> bool:
    """Whether mail was sent with the same certificate, or without any as the refused one."""
    if own := sent_thumbprint(rejection):
        return item.state.thumbprint == own
    if item.state.thumbprint:
        return False
    if found.get("StartTls") == ["false"]:
        return item.state.tls is False
    return found.get("CertificateSent") == ["false"] and item.state.tls is True


def _same_as_shown(item: AcceptedMail, rejection: Rejection, found: Facts) -> bool:
    """Whether both sessions used TLS in a log that shows no certificates (IIS): alike as far as such a log can tell."""
    shows_none = rejection.kind not in SHOWS_CERTIFICATES
    return shows_none and found.get("StartTls") == ["true"] and item.state.tls is True


def _began(rejection: Rejection, background: CaseFacts) -> datetime:
    """When mail of this connector with this certificate was refused first."""
    return background.refused.get((*sender_key(rejection), sent_thumbprint(rejection)), (rejection.time,))[0]


def _is_elsewhere(item: AcceptedMail, rejection: Rejection, since: datetime) -> bool:
    """Whether mail was sent with the same certificate over another connector while this one was refused.

    What was accepted earlier differs in time as well, and then nothing shows that the connector is the difference.
    """
    same = item.state.thumbprint == sent_thumbprint(rejection) and item.state.connector != rejection.connector
    return same and item.times.between(since, None) is not None


def _add_addresses(
    facts: Facts, rejection: Rejection, same: Sequence[AcceptedMail], here: Sequence[AcceptedMail]
) -> None:
    """Whether mail was accepted from the address that Exchange Online saw, or from other public ones only."""
    facts["AcceptedSameAddress"] = messages_between(
        [item for item in here if item.state.seen_address == rejection.seen_address]
    )
    others = sorted({item.state.seen_address for item in same if item.state.seen_address})
    public = [address for address in others if not is_private(address) and parse_address(address) is not None]
    if public and not facts["AcceptedSameAddress"] and not is_private(rejection.seen_address):
        facts["AcceptedFromAddress"] = public


def _add_senders(facts: Facts, rejection: Rejection, same: Sequence[AcceptedMail], background: CaseFacts) -> None:
    """Whether only mail without a sender, or only mail of certain foreign senders, is refused in a state that works."""
    refused = background.senders.get((rejection.host, rejection.kind, sent_thumbprint(rejection)), frozenset())
    accepted = {item.state.sender_domain for item in same}
    own = sender_domain_of(rejection)
    if own is not None:
        facts["AcceptedSameSender"] = messages_between([item for item in same if item.state.sender_domain == own])
    if not accepted or None in refused or refused & accepted:
        return
    if not any(item.times.between(_began(rejection, background), None) for item in same):
        # What was accepted before the first refusal only differs in time as well.
        return
    facts["AcceptedSender"] = sorted({domain for domain in accepted if domain})[:5]
    # Which senders were accepted is not known whole where one of them is not.
    if refused == {""}:
        facts["OnlyNullSenderRefused"] = ["true"]
    elif None not in accepted and facts["AcceptedSender"]:
        facts["OnlyOtherSendersRefused"] = ["true"]


def _add_certificates(facts: Facts, rejection: Rejection, here: Sequence[AcceptedMail], background: CaseFacts) -> None:
    """The certificate with which mail was accepted last before this one was refused, and what became of it."""
    own = sent_thumbprint(rejection)
    if not own:
        return
    first, last = background.refused.get((*sender_key(rejection), own), (rejection.time, rejection.time))
    before = joined(_known(item.times.between(None, first) for item in here if item.state.thumbprint == own))
    facts["AcceptedBeforeWithThisCertificate"] = [yes(before is not None)]
    others: dict[str, list[AcceptedMail]] = {}
    for item in here:
        if item.state.thumbprint not in ("", own):
            others.setdefault(item.state.thumbprint, []).append(item)
    earlier = {
        thumbprint: span.last
        for thumbprint, rows in others.items()
        if (span := joined(_known(row.times.between(None, first) for row in rows))) is not None
    }
    if before is not None or not earlier:
        return
    newest = max(earlier.values())
    previous = min(thumbprint for thumbprint, time in earlier.items() if time == newest)
    # A certificate that is accepted between the refusals has not been replaced: both are in use.
    if first < last and any(row.times.between(first, last) for row in others[previous]):
        return
    facts["PreviousThumbprint"] = [previous]
    facts["PreviousAcceptedAgain"] = messages_between(others[previous], last)
    old, new = background.certificates.get(previous), background.certificates.get(own)
    if old and new and old.issuer and new.issuer:
        same = same_name(old.subject, new.subject) and same_name(old.issuer, new.issuer)
        facts["PreviousHasSameName"] = [yes(same)]


def _failed_check(rejection: Rejection, background: CaseFacts) -> tuple[datetime, datetime] | None:
    """The time in which checks of the certificate that was sent are known to fail: from the first of the failures that
    no success interrupts to the next success, else to the end of the export or the last refusal; None where no check
    failed before the refusal. What was accepted later may have been accepted after a repair that no log shows.
    """
    began: datetime | None = None
    until = background.checked_until.get(rejection.host, rejection.time)
    for check in background.checks.get((rejection.host, sent_thumbprint(rejection)), ()):
        if check.time <= rejection.time:
            began = None if check.result == _PASSED else began or check.time
        elif check.result == _PASSED:
            until = check.time
            break
    key = (*sender_key(rejection), sent_thumbprint(rejection))
    _, last = background.refused.get(key, (rejection.time, rejection.time))
    return None if began is None else (began, max(last, until))


def _expiry(sent: Certificate | None, rejection: Rejection) -> datetime | None:
    """When the certificate that was sent expired, where that is before the handshake."""
    moment = rejection.handshake_time or rejection.time
    return sent.not_after if sent is not None and sent.not_after is not None and sent.not_after < moment else None


def messages_between(
    mail: Sequence[AcceptedMail], first: datetime | None = None, last: datetime | None = None
) -> list[str]:
    """Accepted mail as rules show it: ``14 messages, 2026-... UTC to 2026-... UTC``; nothing for no message."""
    whole = joined(_known(item.times.between(first, last) for item in mail))
    if whole is None:
        return []
    unknown: list[TimeBasis] = [item.state.time_basis for item in mail if not clock.is_known(item.state.time_basis)]
    basis = unknown[0] if unknown else "utc"
    start, end = clock.in_sentence(whole.first, basis), clock.in_sentence(whole.last, basis)
    return [f"1 message, {start}" if whole.count == 1 else f"{whole.count} messages, {start} to {end}"]


def _known(spans: Iterable[Span | None]) -> Iterable[Span]:
    return (span for span in spans if span is not None)
