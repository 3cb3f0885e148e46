"""A refusal with what is known beside it, as one flat view on which signals run as on any event.

The view is Sigma service ``smtp-session``; docs/rules.md lists its fields. A field is absent where no input shows it:
no export, no certificate in the log, rows of the session missing. Absence is never read as "no".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from evtx_analyzer.correlate import connector_checks
from evtx_analyzer.correlate.case_facts import (
    SHOWS_CERTIFICATES,
    SHOWS_COMMANDS,
    CaseFacts,
    completed,
    sender_key,
)
from evtx_analyzer.correlate.compared_mail import accepted_facts
from evtx_analyzer.correlate.connector_checks import Facts, same_text, texts, yes
from evtx_analyzer.distinguished_names import (
    certificate_names,
    connector_covers,
    has_domain_component,
    same_name,
    sorted_names,
)
from evtx_analyzer.exchange import ACCEPTED_DOMAIN
from evtx_analyzer.exchange_online import is_host_name, is_private, is_remote_side, is_service_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Context, Rejection
from evtx_analyzer.model.origin import Fields

# Errors of a TLS negotiation that speak of the own certificate: it is there and cannot be used.
CREDENTIAL_ERRORS = ("nocredentials", "unknowncredentials")


RECENT = timedelta(minutes=10)


# A firewall that inspects SMTP writes X over verbs that it does not know (Cisco ASA: ``250 XXXXXXXA`` for STARTTLS).
_MASKED = re.compile(r"X{4,}[A-Z]?")


# ---------------------------------------------------------------------------------------------------------- refusals


def session_facts(rejection: Rejection, background: CaseFacts) -> Fields:
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


def _configuration(rejection: Rejection, sent: Certificate | None, background: CaseFacts) -> Facts:
    """The exported objects against what the session showed; the same for all refusals that showed the same."""
    domain = rejection.mail_from.rpartition("@")[2]
    shown = (sent, rejection.from_start, rejection.connector, domain, rejection.null_sender, rejection.seen_address)
    key = ("configuration", rejection.host, rejection.kind, *shown)
    if key not in background.answers:
        facts = connector_checks.check(rejection, sent, background.objects)
        _add_fitting(facts, rejection, background)
        background.answers[key] = facts
    return background.answers[key]


def _add_fitting(facts: Facts, rejection: Rejection, background: CaseFacts) -> None:
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


def _add_history(found: Facts, rejection: Rejection, sent: Certificate | None, background: CaseFacts) -> None:
    """What the same server did before, between and after: with this certificate, address, sender, and with others."""
    found.update(accepted_facts(rejection, sent, found, background))
    failures = background.failures.get(sender_key(rejection), ())
    since = rejection.time - RECENT
    errors = sorted({item.error for item in failures if item.times.between(since, rejection.time)})
    if errors:
        found["TlsFailedBefore"] = ["true"]
        found["TlsFailure"] = errors
        found["CredentialFailedBefore"] = [yes(any(error.casefold() in CREDENTIAL_ERRORS for error in errors))]


# ------------------------------------------------------------------------------------------------------ surroundings


def _add_surroundings(found: Facts, rejection: Rejection, background: CaseFacts) -> None:
    """Schannel events on the same machine around the handshake, and what Exchange Online says elsewhere in the logs."""
    moment = rejection.handshake_time or rejection.time
    events = background.schannel.get(rejection.host, ())
    found["SchannelEvent"] = sorted({item.code for item in events if _surrounds(item, moment)})
    found["UntrustedRootElsewhere"] = [yes(True)] if rejection.host in background.hosts_called_untrusted else []


def _surrounds(item: Context, moment: datetime) -> bool:
    if item.first is None or item.last is None:
        return False
    return item.first - RECENT <= moment <= item.last + RECENT
