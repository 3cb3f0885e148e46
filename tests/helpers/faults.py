"""Faults that are put into made worlds, each with the truth about it, and noise that changes nothing.

The truth is that of Microsoft's documentation (relay requirements, Set-InboundConnector, "Office 365 notice",
KB 3212877), not of our output: which causes may be named, how strongly, and which verdicts are right.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from worlds import DAY, EHLO, REFUSED, SEND_FORMS, Check, World, certificate, chain

from samples import capi2
from samples.capi2 import UNTRUSTED_ROOT, Cert

HOUR = timedelta(hours=1)
PLAIN, BARE = "plain", "bare"


@dataclass(frozen=True)
class Fault:
    """A fault: how it is put in, what may be named for it, and where its verdict must come out.

    ``touches`` are the parts of the world that it changes: two faults at once touch different ones. ``verdicts`` are
    right in the forms of ``shown_in``, at ``least`` or above; elsewhere the same or nothing is right.
    """

    name: str
    apply: Callable[[World], None]
    touches: frozenset[str]
    verdicts: tuple[str, ...]
    also: tuple[str, ...] = ()
    shown_in: tuple[str, ...] = SEND_FORMS
    least: str = "probable"


FAULTS: dict[str, Fault] = {}


def fault(touches: str, verdicts: str, **options: Any) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Register a fault under the name of its function."""

    def register(apply: Callable[[World], None]) -> Callable[[World], None]:
        FAULTS[apply.__name__] = Fault(
            apply.__name__, apply, frozenset(touches.split()), tuple(verdicts.split()), **options
        )
        return apply

    return register


def inbound(made: World, **properties: object) -> None:
    """Export an inbound connector that works and matches by the certificate, unless ``properties`` say otherwise."""
    name = made.leaf.names[-1] if made.leaf.names else f"mail.{made.domain}"
    connector = {
        "Name": "From on-premises",
        "Enabled": True,
        "ConnectorType": "OnPremises",
        "TlsSenderCertificateName": name,
        "SenderIPAddresses": [],
        "SenderDomains": ["smtp:*;1"],
        "AssociatedAcceptedDomains": [],
        **properties,
    }
    made.exports.setdefault("Get-InboundConnector", []).append(connector)


def send_connector(made: World, issuer: str, subject: str) -> None:
    """Export the Send connector with the certificate that it names."""
    made.exports["Get-SendConnector"] = [{"Name": made.connector, "TlsCertificateName": f"<I>{issuer}<S>{subject}"}]


def refuse(made: World, **changes: Any) -> None:
    """Two refused messages in the state that ``changes`` give."""
    made.mails += [
        made.refusal(**changes),
        made.refusal(timedelta(minutes=6), recipient="c@litware.example", **changes),
    ]


# ------------------------------------------------------------------------------------------------------------- chain


@fault("chain", "missing-intermediate")
def missing_intermediate(made: World) -> None:
    made.checks.append(Check([(made.leaf, 0)], "partial"))


@fault("chain", "missing-intermediate", least="possible", also=("untrusted-root",))
def missing_issuer_of_unknown_kind(made: World) -> None:
    made.checks.append(Check([(made.leaf, 0), (made.issuer, 0)], "partial"))


@fault("chain", "missing-intermediate", least="possible")
def missing_intermediate_since_the_start(made: World) -> None:
    made.checks.append(Check([(made.leaf, 0)], "partial", before=timedelta(minutes=-50)))


@fault("chain", "untrusted-root", least="possible")
def missing_root(made: World) -> None:
    made.checks.append(Check(chain(made), "sound", before=-2 * HOUR))
    made.checks.append(Check([(made.leaf, 0), (made.issuer, 0)], "partial"))


@fault("chain leaf", "untrusted-root")
def untrusted_root(made: World) -> None:
    root = certificate(0xC0DE, "Corp Root CA", "Corp Root CA", ca=True)
    made.leaf = replace(made.leaf, issuer=root.subject, issuer_key_id=root.key_id)
    made.checks.append(Check([(made.leaf, 0), (root, UNTRUSTED_ROOT)], "untrusted"))


@fault("leaf chain", "untrusted-root", least="possible")
def private_authority_that_is_trusted_here(made: World) -> None:
    root_name = (("CN", "Corp Issuing CA"), ("DC", "corp"), ("DC", "local"))
    root = replace(certificate(0xC1DE, "x", "x", ca=True), subject=root_name, issuer=root_name)
    made.leaf = replace(made.leaf, issuer=root_name, issuer_key_id=root.key_id)
    made.checks.append(Check([(made.leaf, 0), (root, 0)], "sound"))


@fault("chain leaf", "self-signed-certificate")
def self_signed(made: World) -> None:
    made.leaf = replace(made.leaf, issuer=made.leaf.subject)
    made.checks.append(Check([(made.leaf, UNTRUSTED_ROOT)], "untrusted"))


@fault("chain leaf", "certificate-expired")
def expired(made: World) -> None:
    made.leaf = replace(made.leaf, not_after="2026-03-05T00:00:00Z")
    made.checks.append(Check([(made.leaf, 1), (made.issuer, 0), (made.root, 0)], "expired"))


@fault("chain", "intermediate-expired")
def intermediate_expired(made: World) -> None:
    made.issuer = replace(made.issuer, not_after="2026-03-05T00:00:00Z")
    made.checks.append(Check([(made.leaf, 0), (made.issuer, 1), (made.root, 0)], "expired"))


@fault("chain", "certificate-revoked")
def revoked(made: World) -> None:
    made.checks.append(Check([(made.leaf, 4), (made.issuer, 0), (made.root, 0)], "revoked"))


@fault("chain", "unexplained")
def wrong_usage(made: World) -> None:
    made.checks.append(Check(chain(made), "usage"))


# ------------------------------------------------------------------------------------- which certificate, which name


@fault("inbound", "certificate-name-mismatch")
def name_mismatch(made: World) -> None:
    inbound(made, TlsSenderCertificateName="mail.other.example")


@fault("send history", "certificate-replaced", also=("wrong-certificate-selected",))
def replaced(made: World) -> None:
    old = certificate(0xD001, f"mail.{made.domain}", "Example Trust TLS CA 8", names=(f"mail.{made.domain}",))
    made.mails += [made.mail(-DAY, sent=old), made.mail(-DAY + HOUR, sent=old)]
    send_connector(made, old.name(old.issuer), old.name())


@fault("history", "certificate-replaced")
def rolled_back(made: World) -> None:
    old = certificate(0xD002, f"mail.{made.domain}", "Example Trust TLS CA 8", names=(f"mail.{made.domain}",))
    made.mails += [made.mail(-DAY, sent=old), made.mail(2 * HOUR, sent=old)]


@fault("send", "wrong-certificate-selected")
def wrong_selected(made: World) -> None:
    send_connector(made, "CN=Example Trust TLS CA 9, O=Example, C=US", "CN=other.example, O=Example")


# --------------------------------------------------------------------------------------------------------------- TLS


@fault("tls inbound", "no-client-certificate")
def no_certificate(made: World) -> None:
    inbound(made)
    refuse(made, tls=BARE)


@fault("tls inbound", "starttls-not-offered", also=("no-client-certificate",))
def starttls_masked(made: World) -> None:
    inbound(made)
    refuse(made, tls=PLAIN, ehlo=tuple("XXXXXXXA" if word == "STARTTLS" else word for word in EHLO))


@fault("tls inbound", "starttls-not-offered", also=("no-client-certificate",))
def starttls_not_offered(made: World) -> None:
    inbound(made)
    refuse(made, tls=PLAIN, ehlo=tuple(word for word in EHLO if word != "STARTTLS"))


@fault("tls inbound", "no-client-certificate", also=("starttls-not-offered",))
def starttls_ignored(made: World) -> None:
    inbound(made)
    refuse(made, tls=PLAIN)


@fault("tls", "credential-unusable", also=("no-client-certificate",))
def credential_unusable(made: World) -> None:
    made.mails.append(made.mail(timedelta(seconds=-40), tls_error="UnknownCredentials", reply=""))
    made.system.append((36870, timedelta(seconds=-39)))
    refuse(made, tls=PLAIN)


@fault("tls", "tls-version-refused", also=("no-client-certificate",), least="possible")
def tls_fails(made: World) -> None:
    made.mails.append(made.mail(timedelta(seconds=-40), tls_error="SocketError", reply=""))
    refuse(made, tls=PLAIN)


@fault("tls", "remote-certificate-untrusted", also=("no-client-certificate", "starttls-not-offered"), least="possible")
def remote_untrusted(made: World) -> None:
    name = (("CN", "mail.protection.outlook.com"), ("O", "Microsoft Corporation"), ("C", "US"))
    remote = Cert("E1" * 20, name, (("CN", "Example Cloud CA"), ("C", "US")), names=("mail.protection.outlook.com",))
    server = f"{made.domain.replace('.', '-')}.mail.protection.outlook.com"
    made.checks.append(Check([(remote, 0)], "partial", process="EdgeTransport.exe", server=server))
    refuse(made, tls=PLAIN)


# ------------------------------------------------------------------------------------------------------------ tenant


@fault("inbound", "source-ip-not-allowed")
def source_ip(made: World) -> None:
    inbound(made, TlsSenderCertificateName=None, SenderIPAddresses=["192.0.2.0/28", "192.0.2.77"])


@fault("address history", "source-ip-not-allowed", least="possible")
def address_changed(made: World) -> None:
    before = made.seen
    made.seen = "203.0.113.199"
    made.mails += [made.mail(-DAY, seen=before), made.mail(-DAY + HOUR, seen=before)]


@fault("inbound", "connector-not-matching")
def partner_connector(made: World) -> None:
    inbound(made, ConnectorType="Partner")


@fault("inbound", "connector-not-matching")
def disabled_connector(made: World) -> None:
    inbound(made, Enabled=False)


@fault("inbound", "connector-not-matching")
def associated_domains(made: World) -> None:
    inbound(made, AssociatedAcceptedDomains=["another-brand.example"])


ATTR36 = "550 5.7.64 Relay Access Denied ATTR36. For more information please go to https://go.microsoft.com/ KB 3169958"


@fault("sender", "domain-not-accepted", least="possible", shown_in=(*SEND_FORMS, "iis", "tracking", "ndr"))
def attr36(made: World) -> None:
    refuse(made, sender="x@forwarded.example", reply=ATTR36)


@fault("sender domains", "domain-not-accepted")
def domains_not_accepted(made: World) -> None:
    made.exports["Get-AcceptedDomain"] = [
        {"DomainName": name, "DomainType": "Authoritative"} for name in (made.tenant, "elsewhere.example")
    ]
    refuse(made, sender="x@forwarded.example")


@fault("sender history", "domain-not-accepted", least="possible")
def null_sender(made: World) -> None:
    made.mails += [made.mail(-DAY), made.mail(timedelta(minutes=-3)), made.mail(timedelta(minutes=9))]
    refuse(made, sender="")


@fault("history", "attributed-to-another-tenant", least="possible")
def other_tenant(made: World) -> None:
    made.mails += [made.mail(-DAY, connector="Second tenant"), made.mail(HOUR, connector="Second tenant")]


# ------------------------------------------------------------------------------------------------------------ remote


@fault("remote", "not-exchange-online", shown_in=(*SEND_FORMS, "iis"))
def gateway(made: World) -> None:
    changes = {"banner": "gw.dmz.example", "received": (("CN", "gw.dmz.example"),), "remote": "10.20.30.40:25"}
    refuse(made, reply=f"{REFUSED} [gw.dmz.example]", **changes)


@fault("remote", "not-exchange-online", shown_in=("B", "C"))
def tls_inspected(made: World) -> None:
    refuse(made, received=(("CN", "inspection.dmz.example"), ("O", "Example Firewall")))


@fault("", "unexplained", shown_in=(*SEND_FORMS, "iis", "tracking", "ndr"))
def nothing_to_be_seen(made: World) -> None:
    del made


# ------------------------------------------------------------------------------------------------------------- noise


def noise(made: World, chance: random.Random) -> None:
    """Add what surrounds refusals in real logs and says nothing of their cause; the truth stays what it was."""
    for add in chance.sample(_NOISE, 4):
        add(made)


def _mail_to_own_recipients(made: World) -> None:
    refused = made.refused()
    for mail in refused[:1]:
        for after, recipient in ((-2 * DAY, f"b@{made.tenant}"), (HOUR, f"b@{made.domain}")):
            made.mails.append(replace(mail, after=after, recipient=recipient, reply="250 2.1.5 Recipient OK"))


def _partner(made: World) -> None:
    for after in (-HOUR, HOUR):
        mail = made.mail(after, connector="Partner", banner="mx.litware.example", remote="192.0.2.99:25", tls=PLAIN)
        made.mails.append(mail)


def _second_connector_before(made: World) -> None:
    """Yesterday's mail over another connector: what changed since then, it does not tell from what the connector is."""
    made.mails.append(made.mail(-DAY, connector="Outbound hybrid"))


def _remote_desktop(made: World) -> None:
    name = (("CN", f"{made.host}.ad.internal"),)
    made.checks.append(Check([(Cert("0D" * 20, name, name), UNTRUSTED_ROOT)], "untrusted"))


def _microsoft_root(made: World) -> None:
    signer = certificate(0xF00D, "Example Update Signer", "Example Code Signing CA")
    made.checks.append(Check([(signer, 0)], "untrusted", kind=capi2.MICROSOFT_ROOT, process="svchost.exe"))


def _offline_revocation(made: World) -> None:
    monitor = certificate(0xF11D, "agent.monitoring.internal", "Monitoring CA")
    made.checks.append(Check([(monitor, 0x40)], "offline", before=timedelta(seconds=-1)))


def _schannel(made: World) -> None:
    made.system += [(36887, timedelta(seconds=-5)), (36888, timedelta(minutes=2)), (36880, timedelta(seconds=-1))]


def _certificates(made: World) -> None:
    """All certificates of the server, the one that is sent bound to SMTP."""
    others = certificate(0xFA11, made.host, made.host)
    made.exports["Get-ExchangeCertificate"] = [
        {
            "Thumbprint": cert.thumbprint,
            "Subject": cert.name(),
            "Issuer": cert.name(cert.issuer),
            "Services": "IIS, SMTP",
        }
        for cert in (made.leaf, others)
    ]


def _domains_of_the_organization(made: World) -> None:
    made.exports.setdefault("Get-AcceptedDomain", [{"DomainName": "ad.internal", "DomainType": "Authoritative"}])


_NOISE: tuple[Callable[[World], None], ...] = (
    _mail_to_own_recipients,
    _partner,
    _second_connector_before,
    _remote_desktop,
    _microsoft_root,
    _offline_revocation,
    _schannel,
    _certificates,
    _domains_of_the_organization,
)
