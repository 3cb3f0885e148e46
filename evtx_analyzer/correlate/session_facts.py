"""What surrounds a refusal or a check: configuration, certificates, delivery history and other events.

The result is a flat view of each refusal (Sigma service ``smtp-session``) and of each operation (``chain-operation``),
on which signals run as on any event; docs/rules.md lists the fields. A field is absent where no input shows it: no
export, no certificate in the log, rows of the session missing. Absence is never read as "no".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.correlate import connector_checks
from evtx_analyzer.correlate.connector_checks import Facts, same_text, texts, yes
from evtx_analyzer.distinguished_names import (
    certificate_names,
    connector_covers,
    has_domain_component,
    same_name,
    sorted_names,
)
from evtx_analyzer.exchange import ACCEPTED_DOMAIN
from evtx_analyzer.exchange_online import is_host_name, is_private, is_remote_side, is_service_name, parse_address
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile, Event, Setting
from evtx_analyzer.model.evidence import Context, Delivery, Operation, OtherError, Rejection
from evtx_analyzer.model.origin import Fields, Origin, TimeBasis, place
from evtx_analyzer.smtp.acceptances import Span, joined
from evtx_analyzer.smtp.deliveries import AcceptedMail, TlsFailures

# Logs that write what certificate a session sends, if it sends one; IIS SMTP logs write the commands only.
SHOWS_CERTIFICATES = ("send-connector",)
SHOWS_COMMANDS = ("send-connector", "iis-smtp")
# Errors of a TLS negotiation that speak of the own certificate: it is there and cannot be used.
CREDENTIAL_ERRORS = ("nocredentials", "unknowncredentials")
_RECENT = timedelta(minutes=10)
# A firewall that inspects SMTP writes X over verbs that it does not know (Cisco ASA: ``250 XXXXXXXA`` for STARTTLS).
_MASKED = re.compile(r"X{4,}[A-Z]?")
_NOT_TIME_VALID = "CERT_TRUST_IS_NOT_TIME_VALID"
_EXPIRED = "800B0101"
_PASSED = "0"


class Background(Struct, frozen=True, kw_only=True, dict=True):
    """Everything beside sessions and checks; ``certificates`` by thumbprint, from event 90, files and Send logs.

    What thousands of refusals ask in the same way is answered once (``dict`` keeps the answers).
    """

    settings: tuple[Setting, ...] = ()
    certificates: Mapping[str, Certificate] = {}
    deliveries: tuple[Delivery, ...] = ()
    accepted_mail: tuple[AcceptedMail, ...] = ()
    tls_failures: tuple[TlsFailures, ...] = ()
    operations: tuple[Operation, ...] = ()
    context: tuple[Context, ...] = ()
    other_errors: tuple[OtherError, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    def places(self) -> dict[str, Origin]:
        """Where the first exported object of each cmdlet stands."""
        found: dict[str, Origin] = {}
        for item in sorted(self.settings, key=lambda item: place(item.origin)):
            found.setdefault(item.cmdlet, item.origin)
        return found

    @cached_property
    def objects(self) -> Mapping[str, list[Setting]]:
        """Exported objects by cmdlet."""
        found: dict[str, list[Setting]] = {}
        for item in self.settings:
            found.setdefault(item.cmdlet, []).append(item)
        return found

    @cached_property
    def outside(self) -> Mapping[tuple[str, str], list[AcceptedMail]]:
        """Mail that Exchange Online took for recipients outside of the own tenant, by host and log kind."""
        found: dict[tuple[str, str], list[AcceptedMail]] = {}
        for mail in self.accepted_mail:
            if mail.state.scope == "outside":
                found.setdefault((mail.state.host, mail.state.kind), []).append(mail)
        return found

    @cached_property
    def refused(self) -> Mapping[tuple[str, ...], tuple[datetime, datetime]]:
        """First and last refusal by connector, log kind, host and thumbprint."""
        found: dict[tuple[str, ...], tuple[datetime, datetime]] = {}
        for item in self.deliveries:
            if item.first_refused and item.last_refused:
                key = (*_sender(item), item.thumbprint)
                first, last = found.get(key, (item.first_refused, item.last_refused))
                found[key] = min(first, item.first_refused), max(last, item.last_refused)
        return found

    @cached_property
    def failures(self) -> Mapping[tuple[str, ...], list[TlsFailures]]:
        """Failed TLS negotiations by connector, log kind and host."""
        found: dict[tuple[str, ...], list[TlsFailures]] = {}
        for item in self.tls_failures:
            found.setdefault((item.connector, item.kind, item.host), []).append(item)
        return found

    @cached_property
    def checks(self) -> Mapping[tuple[str, str], list[Operation]]:
        """Checks of a certificate's chain under a policy, in order of time, by host and thumbprint."""
        found: dict[tuple[str, str], list[Operation]] = {}
        for item in self.operations:
            if item.policy and item.thumbprint:
                found.setdefault((item.host, item.thumbprint), []).append(item)
        return found

    @cached_property
    def checked_until(self) -> Mapping[str, datetime]:
        """The time of the last check of any certificate by machine: up to it a success would have been seen."""
        found: dict[str, datetime] = {}
        for item in self.operations:
            found[item.host] = max(found.get(item.host, item.time), item.time)
        return found

    @cached_property
    def schannel(self) -> Mapping[str, list[Context]]:
        """Schannel events by the machine that wrote them."""
        found: dict[str, list[Context]] = {}
        for item in self.context:
            if item.kind == "schannel" and item.host:
                found.setdefault(item.host, []).append(item)
        return found

    @cached_property
    def hosts_called_untrusted(self) -> frozenset[str]:
        """Machines in whose logs Exchange Online says 450 4.4.317 UntrustedRoot: it could not verify their chain."""
        told = (item for item in self.other_errors if "4.4.317" in item.code)
        return frozenset(item.host for item in told if "untrustedroot" in item.text.casefold())

    @cached_property
    def senders(self) -> Mapping[tuple[str, str, str], frozenset[str | None]]:
        """Domains of all refused senders (empty: no sender, None: not known), by host, log kind and thumbprint."""
        found: dict[tuple[str, str, str], set[str | None]] = {}
        for item in self.rejections:
            found.setdefault((item.host, item.kind, _thumbprint(item)), set()).add(_sender_domain(item))
        return {key: frozenset(domains) for key, domains in found.items()}

    @cached_property
    def answers(self) -> dict[object, Facts]:
        """What was found for refusals that ask the same, by what they ask."""
        return {}


def background(
    aside: Iterable[Event],
    operations: Iterable[Operation],
    deliveries: tuple[Delivery, ...],
    *,
    accepted_mail: tuple[AcceptedMail, ...] = (),
    tls_failures: tuple[TlsFailures, ...] = (),
    shown: Mapping[str, Certificate] | None = None,
    context: Iterable[Context] = (),
    other_errors: Iterable[OtherError] = (),
    rejections: Iterable[Rejection] = (),
) -> Background:
    """Settings and certificate files from what was put aside, certificates that logs show, delivery history.

    A file tells more of a certificate than event 90 does, and that more than a Send log, so the best wins.
    """
    things, checked = list(aside), tuple(operations)
    events = [item.certificate for item in checked if item.certificate]
    files = [item.certificate for item in things if isinstance(item, CertificateFile)]
    return Background(
        settings=tuple(item for item in things if isinstance(item, Setting)),
        certificates={
            item.thumbprint: item
            for item in (*(shown or {}).values(), *events, *files)
            if item.thumbprint and item.subject
        },
        deliveries=deliveries,
        accepted_mail=accepted_mail,
        tls_failures=tls_failures,
        operations=checked,
        context=tuple(context),
        other_errors=tuple(other_errors),
        rejections=tuple(rejections),
    )


# ------------------------------------------------------------------------------------------------------------ checks


def operation_fields(operation: Operation, background: Background) -> Fields:
    """The view of one certificate check."""
    known = background.certificates.get(operation.thumbprint) or operation.certificate
    found: Facts = {
        "Policy": [operation.policy],
        "Result": [operation.result],
        "ResultName": [operation.result_name],
        "ChainResult": [operation.chain_result],
        "ChainStatus": list(operation.chain_status),
        "Thumbprint": [operation.thumbprint],
        "Subject": [operation.subject],
        "ServerName": [operation.server_name],
        "ProcessName": [operation.process],
        "RemoteName": [name for name in (operation.subject, operation.server_name) if is_service_name(name)],
        "MissingIssuer": [operation.missing_issuer_role or ""],
        "BlamedElement": ["" if operation.element_index is None else str(operation.element_index)],
    }
    if operation.elements:
        found["Elements"] = [str(len(operation.elements))]
        found["LastElementSelfSigned"] = [yes(operation.elements[-1].self_signed)]
        found["SelfSigned"] = [yes(len(operation.elements) == 1 and operation.elements[0].self_signed)]
        found["LeafStatus"] = list(operation.elements[0].errors)
        found["IssuerStatus"] = sorted({error for element in operation.elements[1:] for error in element.errors})
    if known and known.not_after and known.not_before:
        found["Expired"] = [yes(known.not_after < operation.time)]
        found["NotYetValid"] = [yes(known.not_before > operation.time)]
    if operation.result == _EXPIRED and (out_of_date := _out_of_date(operation, found)):
        found["OutOfDate"] = [out_of_date]
    return texts(found)


def _out_of_date(operation: Operation, found: Facts) -> str:
    """Whose validity a check under CERT_E_EXPIRED found wanting: ``leaf``, ``issuer``, or empty where nothing tells."""
    if _NOT_TIME_VALID in found.get("LeafStatus", ()):
        return "leaf"
    if _NOT_TIME_VALID in found.get("IssuerStatus", ()):
        return "issuer"
    if "true" in (*found.get("Expired", ()), *found.get("NotYetValid", ())):
        return "leaf"
    if operation.element_index is not None and operation.element_index >= 0:
        return "issuer" if operation.element_index else "leaf"
    return "issuer" if "Expired" in found else ""


# ---------------------------------------------------------------------------------------------------------- refusals


def rejection_fields(rejection: Rejection, background: Background) -> Fields:
    """The view of one refused session."""
    sent = completed(rejection.sent, background)
    found: Facts = {
        "Kind": [rejection.kind],
        "Computer": [rejection.host],
        "Connector": [rejection.connector],
        "RemoteName": [rejection.remote_name],
        "MailFrom": [rejection.mail_from],
        "MailFromDomain": [rejection.mail_from.rpartition("@")[2]],
        "NullSender": [] if rejection.null_sender is None else [yes(rejection.null_sender)],
        "Stage": [rejection.stage],
        "Reply": [rejection.reply],
        "Attribution": [rejection.attribution],
        "UntrustedRootHint": [yes(rejection.untrusted_root_hint)],
        "TlsProtocol": re.findall(r"SP_PROT_\w+", rejection.tls),
    }
    _add_reply(found, rejection)
    _add_session(found, rejection)
    _add_remote_side(found, rejection)
    if sent is not None:
        _add_certificate(found, sent, rejection)
    _add_history(found, rejection, sent, background)
    _add_surroundings(found, rejection, background)
    if background.settings:
        found.update(_configuration(rejection, sent, background))
    _add_issuer(found, sent)
    return texts(found)


def _configuration(rejection: Rejection, sent: Certificate | None, background: Background) -> Facts:
    """The exported objects against what the session showed; the same for all refusals that showed the same."""
    domain = rejection.mail_from.rpartition("@")[2]
    shown = (sent, rejection.from_start, rejection.connector, domain, rejection.null_sender, rejection.seen_address)
    key = ("configuration", rejection.host, rejection.kind, *shown)
    if key not in background.answers:
        facts = connector_checks.check(rejection, sent, background.objects)
        _add_fitting(facts, rejection, background)
        background.answers[key] = facts
    return background.answers[key]


def _add_fitting(facts: Facts, rejection: Rejection, background: Background) -> None:
    """Other Send connectors that the exports fit, where they do not fit the refusal, and whose mail is accepted.

    A server that sends for two tenants has a connector for each: the exports may be the other tenant's.
    """
    mail = background.outside.get((rejection.host, rejection.kind), ())
    others = [item.state for item in mail if item.state.connector != rejection.connector]
    names, scopes = (facts.get(f"InboundConnector.{field}", []) for field in ("CertificateName", "Address"))
    fitting: set[str] = set()
    for state in others:
        known = background.certificates.get(state.thumbprint)
        own = certificate_names(known) if known is not None else ()
        by_name = any(connector_covers(name, one) for name in names for one in own)
        by_address = any(connector_checks.inside(state.seen_address, scope) for scope in scopes)
        if by_name or by_address:
            fitting.add(state.connector)
    if [yes(True)] not in (
        facts.get("InboundConnector.CertificateMatches"),
        facts.get("InboundConnector.AddressMatches"),
    ):
        facts["InboundConnector.FitsSendConnector"] = sorted(fitting)
    domains = {item.values.get("DomainName", "").casefold() for item in background.objects.get(ACCEPTED_DOMAIN, ())}
    if facts.get("AcceptedDomain.Sender") == [yes(False)]:
        facts["AcceptedDomain.FitsSendConnector"] = sorted(
            {state.connector for state in others if state.sender_domain and state.sender_domain in domains}
        )


def completed(sent: Certificate | None, background: Background) -> Certificate | None:
    """The certificate as the log shows it, with names and dates from event 90 or a file where the log has none."""
    if sent is None or not sent.thumbprint:
        return sent
    known = background.certificates.get(sent.thumbprint)
    if known is None:
        return sent
    return Certificate(
        thumbprint=sent.thumbprint,
        subject=sent.subject or known.subject,
        issuer=sent.issuer or known.issuer,
        serial=sent.serial or known.serial,
        not_before=sent.not_before or known.not_before,
        not_after=sent.not_after or known.not_after,
        alternate_names=sent.alternate_names or known.alternate_names,
        subject_key_id=known.subject_key_id,
        authority_key_id=known.authority_key_id,
        issuer_urls=known.issuer_urls,
    )


def _add_reply(found: Facts, rejection: Rejection) -> None:
    """What the refusal itself says of the certificate that arrived (``... app01 is untrustedroot``)."""
    name = rejection.certificate_name
    found["ReplyCertificateName"] = [name]
    found["ReplyCertificateVerdict"] = [rejection.certificate_verdict]
    own = {part.casefold() for part in (rejection.helo, rejection.host) if part}
    short = {part.partition(".")[0] for part in own}
    if name and own:
        # The machine's own name, with or without its domain: the certificate that enrollment gives every machine.
        found["ReplyNamesHost"] = [yes(name.casefold() in own | short or name.casefold().partition(".")[0] in short)]


def _add_session(found: Facts, rejection: Rejection) -> None:
    """Commands and certificates of the session; what is not there counts only where its rows are whole."""
    whole = rejection.from_start
    if rejection.kind not in SHOWS_COMMANDS:
        return
    found["Whole"] = [yes(whole)]
    used = rejection.starttls or bool(rejection.tls)
    if used or (whole and rejection.helo):
        found["StartTls"] = [yes(used)]
    if whole and not used and rejection.ehlo:
        found["StartTlsOffer"] = [_offer(rejection.ehlo)]
    if rejection.kind in SHOWS_CERTIFICATES:
        if rejection.sent is not None:
            found["CertificateSent"] = ["true"]
        elif whole and rejection.tls:
            found["CertificateSent"] = ["false"]


def _offer(keywords: Sequence[str]) -> str:
    """How the remote side's answer to EHLO stands to STARTTLS, for a session that did not use it."""
    if "STARTTLS" in keywords:
        return "ignored"
    return "masked" if any(_MASKED.fullmatch(word) for word in keywords) else "not-offered"


def _add_remote_side(found: Facts, rejection: Rejection) -> None:
    """Whether the session reached Exchange Online, by banner, by certificate, and both together."""
    if rejection.kind not in SHOWS_COMMANDS:
        found["RemoteIsExchangeOnline"] = [yes(False)] if _names_another(rejection) else []
        return
    if is_host_name(rejection.remote_name):
        found["BannerIsExchangeOnline"] = [yes(is_service_name(rejection.remote_name))]
    names = certificate_names(rejection.received) if rejection.received is not None else set()
    if names:
        found["ReceivedIsExchangeOnline"] = [yes(any(is_service_name(name) for name in names))]
        found["ReceivedName"] = sorted(names)
    found["RemoteAddressPrivate"] = [yes(True)] if is_private(rejection.remote_endpoint) else []
    online = is_remote_side(rejection.remote_name, rejection.received, rejection.remote_endpoint)
    found["RemoteIsExchangeOnline"] = [] if online is None else [yes(online)]


def _names_another(rejection: Rejection) -> bool:
    """Whether message tracking or a report names a foreign server as the one that refused.

    Exchange Online's own name does not stand in them where a smart host is configured by an alias in the own domain,
    so that a name there tells nothing.
    """
    name, sender = rejection.remote_name.casefold().rstrip("."), rejection.mail_from.rpartition("@")[2].casefold()
    if not sender or not is_host_name(name) or is_service_name(name):
        return False
    return not f".{name}".endswith(f".{sender}")


def _add_certificate(found: Facts, sent: Certificate, rejection: Rejection) -> None:
    found["SentThumbprint"] = [sent.thumbprint]
    found["SentSubject"] = [sent.subject]
    found["SentIssuer"] = [sent.issuer]
    found["SentName"] = list(sorted_names(sent.subject, sent.alternate_names))
    if sent.subject and sent.issuer:
        found["SentSelfSigned"] = [yes(same_name(sent.subject, sent.issuer))]
    if sent.not_after and sent.not_before:
        # What counts is the moment of the handshake: a session may go on for hours.
        moment = rejection.handshake_time or rejection.time
        found["SentExpired"] = [yes(sent.not_after < moment)]
        found["SentNotYetValid"] = [yes(sent.not_before > moment)]


def _add_issuer(found: Facts, sent: Certificate | None) -> None:
    """Whether the certificate comes from a company's own authority, whatever this machine trusts."""
    root = "".join(found.get("ExchangeCertificate.RootCAType", ())[:1])
    if same_text(root, "Enterprise"):
        found["SentIssuerPrivate"] = ["Get-ExchangeCertificate: RootCAType Enterprise"]
    elif sent is not None and has_domain_component(sent.issuer):
        found["SentIssuerPrivate"] = [f"the issuer's name has domain components: {sent.issuer}"]


# ----------------------------------------------------------------------------------------------------------- history


def _add_history(found: Facts, rejection: Rejection, sent: Certificate | None, background: Background) -> None:
    """What the same server did before, between and after: with this certificate, address, sender, and with others."""
    found.update(_accepted(rejection, sent, found, background))
    failures = background.failures.get(_sender(rejection), ())
    since = rejection.time - _RECENT
    errors = sorted({item.error for item in failures if item.times.between(since, rejection.time)})
    if errors:
        found["TlsFailedBefore"] = ["true"]
        found["TlsFailure"] = errors
        found["CredentialFailedBefore"] = [yes(any(error.casefold() in CREDENTIAL_ERRORS for error in errors))]


def _accepted(rejection: Rejection, sent: Certificate | None, found: Facts, background: Background) -> Facts:
    """Accepted mail to outside recipients, compared with the refusal; the same for all refusals that ask the same."""
    if rejection.kind not in SHOWS_COMMANDS:
        return {}
    plain = found.get("StartTls") == ["false"]
    own, domain = _thumbprint(rejection), _sender_domain(rejection)
    failed = _failed_check(rejection, background)
    expiry = _expiry(sent, rejection)
    # A refusal that the history does not hold is compared by its own time.
    alone = None if (*_sender(rejection), own) in background.refused else rejection.time
    key = ("accepted", *_sender(rejection), own, plain, rejection.seen_address, domain, failed, expiry, alone)
    if key not in background.answers:
        background.answers[key] = _compared(rejection, found, background, failed, expiry)
    return background.answers[key]


def _compared(
    rejection: Rejection,
    found: Facts,
    background: Background,
    failed: tuple[datetime, datetime] | None,
    expiry: datetime | None,
) -> Facts:
    mail = background.outside.get((rejection.host, rejection.kind), [])
    here = [item for item in mail if item.state.connector == rejection.connector]
    same = [item for item in here if _same_security(item, rejection, found)]
    alike = same or [item for item in here if _same_as_shown(item, rejection, found)]
    facts: Facts = {
        "AcceptedSameSecurity": _messages(alike),
        "AcceptedSameCertificate": _messages(same) if _thumbprint(rejection) else [],
        "AcceptedWithoutCertificate": [] if _thumbprint(rejection) else _messages(same),
        "AcceptedSinceFailedCheck": _messages(same, *failed) if failed else [],
        "AcceptedSinceExpiry": _messages(same, expiry) if expiry else [],
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
    elsewhere = [item for item in mail if _thumbprint(rejection) and _is_elsewhere(item, rejection, began)]
    facts["AcceptedOnAnotherConnector"] = sorted({item.state.connector for item in elsewhere})
    return facts


def _same_security(item: AcceptedMail, rejection: Rejection, found: Facts) -> bool:
    """Whether mail was sent with the same certificate, or without any as the refused one."""
    if own := _thumbprint(rejection):
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


def _began(rejection: Rejection, background: Background) -> datetime:
    """When mail of this connector with this certificate was refused first."""
    return background.refused.get((*_sender(rejection), _thumbprint(rejection)), (rejection.time,))[0]


def _is_elsewhere(item: AcceptedMail, rejection: Rejection, since: datetime) -> bool:
    """Whether mail was sent with the same certificate over another connector while this one was refused.

    What was accepted earlier differs in time as well, and then nothing shows that the connector is the difference.
    """
    same = item.state.thumbprint == _thumbprint(rejection) and item.state.connector != rejection.connector
    return same and item.times.between(since, None) is not None


def _add_addresses(
    facts: Facts, rejection: Rejection, same: Sequence[AcceptedMail], here: Sequence[AcceptedMail]
) -> None:
    """Whether mail was accepted from the address that Exchange Online saw, or from other public ones only."""
    facts["AcceptedSameAddress"] = _messages(
        [item for item in here if item.state.seen_address == rejection.seen_address]
    )
    others = sorted({item.state.seen_address for item in same if item.state.seen_address})
    public = [address for address in others if not is_private(address) and parse_address(address) is not None]
    if public and not facts["AcceptedSameAddress"] and not is_private(rejection.seen_address):
        facts["AcceptedFromAddress"] = public


def _add_senders(facts: Facts, rejection: Rejection, same: Sequence[AcceptedMail], background: Background) -> None:
    """Whether only mail without a sender, or only mail of certain foreign senders, is refused in a state that works."""
    refused = background.senders.get((rejection.host, rejection.kind, _thumbprint(rejection)), frozenset())
    accepted = {item.state.sender_domain for item in same}
    own = _sender_domain(rejection)
    if own is not None:
        facts["AcceptedSameSender"] = _messages([item for item in same if item.state.sender_domain == own])
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


def _add_certificates(facts: Facts, rejection: Rejection, here: Sequence[AcceptedMail], background: Background) -> None:
    """The certificate with which mail was accepted last before this one was refused, and what became of it."""
    own = _thumbprint(rejection)
    if not own:
        return
    first, last = background.refused.get((*_sender(rejection), own), (rejection.time, rejection.time))
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
    facts["PreviousAcceptedAgain"] = _messages(others[previous], last)
    old, new = background.certificates.get(previous), background.certificates.get(own)
    if old and new and old.issuer and new.issuer:
        same = same_name(old.subject, new.subject) and same_name(old.issuer, new.issuer)
        facts["PreviousHasSameName"] = [yes(same)]


def _failed_check(rejection: Rejection, background: Background) -> tuple[datetime, datetime] | None:
    """The time in which checks of the certificate that was sent are known to fail: from the first of the failures that
    no success interrupts to the next success, else to the end of the export or the last refusal; None where no check
    failed before the refusal. What was accepted later may have been accepted after a repair that no log shows.
    """
    began: datetime | None = None
    until = background.checked_until.get(rejection.host, rejection.time)
    for check in background.checks.get((rejection.host, _thumbprint(rejection)), ()):
        if check.time <= rejection.time:
            began = None if check.result == _PASSED else began or check.time
        elif check.result == _PASSED:
            until = check.time
            break
    _, last = background.refused.get((*_sender(rejection), _thumbprint(rejection)), (rejection.time, rejection.time))
    return None if began is None else (began, max(last, until))


def _expiry(sent: Certificate | None, rejection: Rejection) -> datetime | None:
    """When the certificate that was sent expired, where that is before the handshake."""
    moment = rejection.handshake_time or rejection.time
    return sent.not_after if sent is not None and sent.not_after is not None and sent.not_after < moment else None


def _messages(mail: Sequence[AcceptedMail], first: datetime | None = None, last: datetime | None = None) -> list[str]:
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


# ------------------------------------------------------------------------------------------------------ surroundings


def _add_surroundings(found: Facts, rejection: Rejection, background: Background) -> None:
    """Schannel events on the same machine around the handshake, and what Exchange Online says elsewhere in the logs."""
    moment = rejection.handshake_time or rejection.time
    events = background.schannel.get(rejection.host, ())
    found["SchannelEvent"] = sorted({item.code for item in events if _surrounds(item, moment)})
    found["UntrustedRootElsewhere"] = [yes(True)] if rejection.host in background.hosts_called_untrusted else []


def _surrounds(item: Context, moment: datetime) -> bool:
    if item.first is None or item.last is None:
        return False
    return item.first - _RECENT <= moment <= item.last + _RECENT


def _sender(item: Delivery | Rejection) -> tuple[str, ...]:
    return item.connector, item.kind, item.host


def _thumbprint(rejection: Rejection) -> str:
    return rejection.sent.thumbprint if rejection.sent else ""


def _sender_domain(rejection: Rejection) -> str | None:
    """The sender's domain; empty for MAIL FROM:<>, None where the log does not show MAIL FROM."""
    return None if rejection.null_sender is None else rejection.mail_from.rpartition("@")[2].casefold()
