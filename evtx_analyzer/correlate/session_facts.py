"""A refusal with all that is known about it, as one flat view on which signals run as on any event.

The view is Sigma service ``smtp-session``. A field is absent where no input shows it: there is no export, the log holds
no certificate, rows of the session are missing. Absence is never read as "no".
"""

from __future__ import annotations

import re
from bisect import bisect_right

from msgspec import Struct

from evtx_analyzer.clock import is_known
from evtx_analyzer.correlate import accepted_domains, compared_mail, connector_checks, send_connectors
from evtx_analyzer.correlate.case_facts import CaseFacts, expired_at, not_yet_valid_at
from evtx_analyzer.correlate.compared_mail import accepted_facts
from evtx_analyzer.correlate.fields import Field, facts
from evtx_analyzer.correlate.refused_session import RECENT, RefusedSession
from evtx_analyzer.correlate.settings import inside, same_text
from evtx_analyzer.distinguished_names import (
    certificate_names,
    connector_covers,
    dns_name,
    has_domain_component,
    same_name,
    sorted_names,
)
from evtx_analyzer.exchange import ACCEPTED_DOMAIN
from evtx_analyzer.exchange_online import (
    is_host_name,
    is_private,
    is_remote_side,
    is_service_address,
    is_service_name,
    parse_address,
)
from evtx_analyzer.model.evidence import Context, Rejection
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.smtp.acceptances import MailState

# Errors of a TLS negotiation about the own certificate: it is there and cannot be used.
CREDENTIAL_ERRORS = ("nocredentials", "unknowncredentials")
# A firewall that inspects SMTP writes X over verbs that it does not know (Cisco ASA: ``250 XXXXXXXA`` for STARTTLS).
_MASKED = re.compile(r"X{4,}[A-Z]?")


def session_facts(rejection: Rejection, background: CaseFacts) -> Fields:
    """Return the view of one refused session."""
    session = RefusedSession(rejection=rejection, case=background)
    return {**facts(SESSION_FIELDS, session), **accepted_facts(session), **_configuration(session)}


# ---------------------------------------------------------------------------------------- the session and its replies


def _names_host(session: RefusedSession) -> bool | None:
    """Return whether the reply names the machine itself, with or without its domain.

    A certificate with the machine's own name is what autoenrollment gives to every machine of a domain.
    """
    rejection = session.rejection
    name, *own = (
        part.casefold().partition(".")[0] for part in (rejection.certificate_name, rejection.helo, rejection.host)
    )
    return name in own if name and any(own) else None


def _offer(session: RefusedSession) -> str | None:
    """Return what became of STARTTLS in the remote side's answer to EHLO, for a session that did not use it."""
    rejection = session.rejection
    used = rejection.starttls or rejection.tls
    if not session.shows_commands or not rejection.from_start or used or not rejection.ehlo:
        return None
    if "STARTTLS" in rejection.ehlo:
        return "ignored"
    return "masked" if any(_MASKED.fullmatch(word) for word in rejection.ehlo) else "not-offered"


def _reached_online(session: RefusedSession) -> bool | None:
    """Return whether the session reached Exchange Online; None where that is not known."""
    rejection = session.rejection
    if not session.shows_commands:
        return False if not session.proxied and _names_another(rejection) else None
    return is_remote_side(rejection.remote_name, rejection.received, rejection.remote_endpoint)


def _names_another(rejection: Rejection) -> bool:
    """Return whether message tracking or a report names a foreign server as the one that refused.

    A name in the sender's own domain shows nothing: it may be an alias of Exchange Online that the Send connector uses
    as its smart host. So may any other name, where the address is Exchange Online's, or the reply ends with the name of
    one of its servers; a server in between passes such a reply on, so that this does not show the contrary either.
    """
    if is_service_name(rejection.remote_host) or is_service_address(rejection.remote_endpoint):
        return False
    name, sender = rejection.remote_name.casefold().rstrip("."), rejection.mail_from.rpartition("@")[2].casefold()
    if not sender or not is_host_name(name) or is_service_name(name):
        return False
    return not f".{name}".endswith(f".{sender}")


def _banner_online(session: RefusedSession) -> bool | None:
    name = session.rejection.remote_name
    return is_service_name(name) if session.shows_commands and is_host_name(name) else None


def _received_online(session: RefusedSession) -> bool | None:
    names = session.received_names
    return any(is_service_name(name) for name in names) if names else None


def _remote_private(session: RefusedSession) -> bool | None:
    return True if session.shows_commands and is_private(session.rejection.remote_endpoint) else None


# -------------------------------------------------------------------------------------- the certificate that was sent


def _self_signed(session: RefusedSession) -> bool | None:
    sent = session.sent
    return same_name(sent.subject, sent.issuer) if sent and sent.subject and sent.issuer else None


def _private_issuer(session: RefusedSession) -> str | None:
    """Return what shows that the certificate comes from a company's own authority, whatever this machine trusts."""
    (root, *_) = _configuration(session).get("ExchangeCertificate.RootCAType", ("",))
    if same_text(root, "Enterprise"):
        return "Get-ExchangeCertificate: RootCAType Enterprise"
    if session.sent is not None and has_domain_component(session.sent.issuer):
        return f"the issuer's name has domain components: {session.sent.issuer}"
    return None


# ------------------------------------------------------------------------------------------------------ surroundings


def _credentials_failed(session: RefusedSession) -> bool | None:
    errors = session.tls_failures
    return any(error.casefold() in CREDENTIAL_ERRORS for error in errors) if errors else None


def _schannel_events(session: RefusedSession) -> list[str]:
    # Schannel's times are UTC: digits of a local clock may look like any of them.
    if not is_known(session.rejection.time_basis):
        return []
    events = session.case.schannel.get(session.rejection.host, ())
    return sorted({event.code for event in events if _surrounds(event, session)})


def _surrounds(context: Context, session: RefusedSession) -> bool:
    if context.first is None or context.last is None:
        return False
    return context.first - RECENT <= session.moment <= context.last + RECENT


def _wire_sent(session: RefusedSession) -> bool | None:
    """Return whether a network trace shows that a certificate was sent: Exchange only logs which one it chose."""
    sent = {bool(handshake.sent) for handshake in session.case.wire.get(session.rejection.id, ())}
    return sent == {True} if len(sent) == 1 else None


def _wire_failures(session: RefusedSession) -> list[str]:
    """Return the alerts that ended handshakes of a trace between the same addresses in the ten minutes before."""
    rejection = session.rejection
    ends = (parse_address(rejection.local_endpoint), parse_address(rejection.remote_endpoint))
    if None in ends or not is_known(rejection.time_basis):
        return []
    failed = session.case.failed_handshakes.get(ends, ())
    return sorted(
        {handshake.alert for handshake in failed if rejection.time - RECENT <= handshake.start <= rejection.time}
    )


SESSION_FIELDS = (
    Field("Kind", "kind of log", lambda session: session.rejection.kind),
    Field("Computer", "machine that was refused", lambda session: session.rejection.host),
    Field("Connector", "connector or virtual server", lambda session: session.rejection.connector),
    Field("RemoteName", "name of the remote server", lambda session: session.rejection.remote_name),
    Field("MailFrom", "sender", lambda session: session.rejection.mail_from),
    Field("MailFromDomain", "its domain", lambda session: session.rejection.mail_from.rpartition("@")[2]),
    Field(
        "NullSender",
        "`true` after MAIL FROM:<>, `false` after a sender; absent where the log shows no MAIL FROM",
        lambda session: session.rejection.null_sender,
    ),
    Field("Stage", "command that was refused", lambda session: session.rejection.stage),
    Field("Reply", "the reply", lambda session: session.rejection.reply),
    Field("Attribution", "code in it, such as ATTR36", lambda session: session.rejection.attribution),
    Field(
        "UntrustedRootHint",
        "whether the reply says untrustedroot",
        lambda session: session.rejection.untrusted_root_hint,
    ),
    Field(
        "ReplyCertificateName",
        "certificate that the reply names (`... app01 is untrustedroot`)",
        lambda session: session.rejection.certificate_name,
    ),
    Field("ReplyCertificateVerdict", "what it says of it", lambda session: session.rejection.certificate_verdict),
    Field("ReplyNamesHost", "whether that is the machine's own name", _names_host),
    Field("TlsProtocol", "SP_PROT names in the log", lambda session: re.findall(r"SP_PROT_\w+", session.rejection.tls)),
    Field(
        "Whole",
        "whether the log holds every row from the first one to the refusal",
        lambda session: session.rejection.from_start if session.shows_commands else None,
    ),
    Field("StartTls", "whether TLS was used; `false` only where the rows are whole", lambda session: session.start_tls),
    Field(
        "StartTlsOffer", "`masked`, `not-offered`, `ignored`: what became of STARTTLS, where the rows are whole", _offer
    ),
    Field(
        "CertificateSent",
        "whether a certificate was sent; `false` only where the rows are whole",
        lambda session: session.certificate_sent,
    ),
    Field(
        "Proxied",
        "`true` where the log shows the session with the front end transport service only (FrontendProxyEnabled)",
        lambda session: session.proxied or None,
    ),
    Field("RemoteIsExchangeOnline", "whether the other side is Exchange Online", _reached_online),
    Field("BannerIsExchangeOnline", "whether its banner says so", _banner_online),
    Field("ReceivedIsExchangeOnline", "whether its certificate says so", _received_online),
    Field("ReceivedName", "names in its certificate", lambda session: session.received_names),
    Field("RemoteAddressPrivate", "`true` where its address is a private one", _remote_private),
    Field(
        "SentThumbprint",
        "SHA-1 of the certificate that was sent",
        lambda session: session.sent and session.sent.thumbprint,
    ),
    Field("SentSubject", "its subject", lambda session: session.sent and session.sent.subject),
    Field("SentIssuer", "its issuer", lambda session: session.sent and session.sent.issuer),
    Field(
        "SentName",
        "its common name and alternate names",
        lambda session: session.sent and sorted_names(session.sent.subject, session.sent.alternate_names),
    ),
    Field("SentSelfSigned", "whether its subject is its issuer", _self_signed),
    Field(
        "SentExpired",
        "whether it was expired at the handshake, by the clock of Exchange Online if the log shows it",
        lambda session: expired_at(session.sent, session.judged),
    ),
    Field(
        "SentNotYetValid",
        "whether it was not yet valid then",
        lambda session: not_yet_valid_at(session.sent, session.judged),
    ),
    Field("SentIssuerPrivate", "what shows that a company's own authority issued it", _private_issuer),
    Field(
        "TlsFailedBefore",
        "`true` where TLS negotiations of the connector failed in the ten minutes before",
        lambda session: True if session.tls_failures else None,
    ),
    Field("TlsFailure", "their errors", lambda session: session.tls_failures),
    Field("CredentialFailedBefore", "whether one of them speaks of the own certificate", _credentials_failed),
    Field(
        "WireCertificateSent", "whether a network trace shows that a certificate was sent in this session", _wire_sent
    ),
    Field(
        "WireTlsFailure",
        "fatal alerts (`protocol_version by server`) of handshakes between the same addresses in the ten minutes "
        "before, in a network trace",
        _wire_failures,
    ),
    Field(
        "SchannelEvent",
        "ids of Schannel events of the same machine within ten minutes of the handshake",
        _schannel_events,
    ),
    Field(
        "UntrustedRootElsewhere",
        "`true` where Exchange Online says 450 4.4.317 UntrustedRoot in another error of the machine",
        lambda session: True if session.rejection.host in session.case.hosts_called_untrusted else None,
    ),
)


# ----------------------------------------------------------------------------------------------------- configuration


class _Fitting(Struct, frozen=True):
    """What the exports say of a session; a server that sends for two tenants has a connector for each."""

    session: RefusedSession
    checked: Fields

    @property
    def others(self) -> list[MailState]:
        """Return the states of mail that was accepted on other Send connectors."""
        rejection = self.session.rejection
        mail = self.session.case.outside.get((rejection.host, rejection.kind), ())
        return [accepted_mail.state for accepted_mail in mail if accepted_mail.state.connector != rejection.connector]


def _inbound_fits(view: _Fitting) -> list[str]:
    checked, known = view.checked, view.session.case.certificates
    if ("true",) in (
        checked.get("InboundConnector.CertificateMatches"),
        checked.get("InboundConnector.AddressMatches"),
    ):
        return []
    names = checked.get("InboundConnector.CertificateName", ())
    scopes = checked.get("InboundConnector.Address", ())
    fitting: set[str] = set()
    for state in view.others:
        own = certificate_names(known[state.thumbprint]) if state.thumbprint in known else ()
        by_name = any(connector_covers(pattern, name) for pattern in names for name in own)
        if by_name or any(inside(state.seen_address, scope) for scope in scopes):
            fitting.add(state.connector)
    return sorted(fitting)


def _domains_fit(view: _Fitting) -> list[str]:
    if view.checked.get("AcceptedDomain.Sender") != ("false",):
        return []
    exported = view.session.case.objects.get(ACCEPTED_DOMAIN, ())
    domains = {dns_name(setting.values.get("DomainName", "")) for setting in exported}
    accepted = (state for state in view.others if state.sender_domain and dns_name(state.sender_domain) in domains)
    return sorted({state.connector for state in accepted})


FITTING_FIELDS = (
    Field(
        "InboundConnector.FitsSendConnector",
        "other Send connectors that it fits and whose mail is accepted: it may be another tenant's",
        _inbound_fits,
    ),
    Field("AcceptedDomain.FitsSendConnector", "the same for the accepted domains", _domains_fit),
)


def _configuration(session: RefusedSession) -> Fields:
    """Return the exported objects against what the session showed, computed once for all that showed the same."""
    case, rejection = session.case, session.rejection
    if not case.settings:
        return {}
    domain = rejection.mail_from.rpartition("@")[2]
    shown = (session.sent, rejection.from_start, rejection.connector, domain)
    since, ahead = case.changed_from(rejection), session.ahead
    # An object that was changed at the very time of the refusal was not changed after it.
    between = since and tuple(bisect_right(case.change_times, time) for time in (since, since - ahead))
    told = (*shown, rejection.null_sender, rejection.seen_address, between)
    later = compared_mail.later(session)
    key = ("configuration", rejection.host, rejection.kind, later, *told)
    if key not in case.answers:
        checked = connector_checks.check(rejection, session.sent, case.objects, since, ahead, later)
        case.answers[key] = {**checked, **facts(FITTING_FIELDS, _Fitting(session, checked))}
    return case.answers[key]


FIELDS = (
    *SESSION_FIELDS,
    *compared_mail.FIELDS,
    *connector_checks.INBOUND_FIELDS,
    *send_connectors.SENDER_FIELDS,
    *accepted_domains.DOMAIN_FIELDS,
    *FITTING_FIELDS,
)
