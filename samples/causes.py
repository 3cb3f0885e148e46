"""One case per cause beyond the KB's own; ``samples/README.md`` says what each one shows.

Most of them bring their CAPI2 events as XML (``wevtutil qe /f:xml``), which keeps them small and readable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from samples import capi2
from samples.capi2 import UNTRUSTED_ROOT, Recorder
from samples.cases import HOST, IIS_FILE, ISSUER, ISSUER_NAME, KB_TIME, LEAF, ROOT, SEND_FILE, Files
from samples.look_alikes import (
    earlier_failure,
    microsoft_root_noise,
    other_certificate,
    other_host,
    other_process,
    outside_coverage,
    revocation_noise,
)
from samples.pieces import (
    BROKEN,
    CHAIN,
    CONNECTOR,
    DEFAULT,
    OLD,
    REMOTE,
    SOUND,
    START,
    accepted,
    config,
    inbound,
    message,
    refused,
    schannel,
    send,
    verified,
    xml,
)
from samples.smtp import (
    FRONT_END,
    KEYWORDS,
    REFUSAL,
    W3C_HEADER,
    SendSession,
    iis_session,
)


def self_signed() -> Files:
    """Exchange's default certificate is sent: subject and issuer are the same."""
    recorder = Recorder(HOST, next_record=900)
    results: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B0109", "chain_error": UNTRUSTED_ROOT}
    capi2.check(recorder, KB_TIME, [(DEFAULT, UNTRUSTED_ROOT)], seed="default", **results)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(DEFAULT, one_row=True))}


def name_mismatch() -> Files:
    """The chain is sound, but the inbound connector expects another name."""
    return {
        "capi2.xml": verified(),
        SEND_FILE: send(refused(LEAF)),
        "Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="mail.contoso.com")),
    }


def name_matches() -> Files:
    """Certificate, chain and connector are all right: the logs do not tell why."""
    return {
        "capi2.xml": verified(),
        SEND_FILE: send(refused(LEAF)),
        "Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="*.servername.com")),
    }


def replaced() -> Files:
    """The day before the connector delivered with another certificate; since then nothing was accepted."""
    before = accepted(OLD, START - timedelta(days=1), "08D50C7411223344")
    return {"capi2.xml": verified(), SEND_FILE: send(before, refused(LEAF))}


def replaced_connector_not_updated() -> Files:
    """The same, and the Send connector still names the old certificate."""
    name = f"<I>{OLD.name(OLD.issuer)}<S>{OLD.name()}"
    return {**replaced(), "Get-SendConnector.json": config({"Name": CONNECTOR, "TlsCertificateName": name})}


def wrong_certificate() -> Files:
    """The Send connector names one certificate, the server sends another one of its own."""
    intended = (("CN", "mail.contoso.com"), ("O", "Contoso"))
    name = f"<I>{LEAF.name(ISSUER_NAME)}<S>{LEAF.name(intended)}"
    return {
        "capi2.xml": verified(),
        SEND_FILE: send(refused(LEAF, one_row=True)),
        "Get-SendConnector.json": config({"Name": CONNECTOR, "TlsCertificateName": name}),
    }


def no_tls_iis() -> Files:
    """An IIS SMTP service without outbound TLS."""
    start = datetime(2016, 12, 1, 3, 14, 20, 100000, tzinfo=UTC)
    rows = [
        (94, "<", "", f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:14:20 +0000"),
        (94, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (171, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (188, ">", "MAIL", "FROM:<crm@servername.com> SIZE=1722"),
        (281, "<", "", "250 2.1.0 Sender OK"),
        (281, ">", "RCPT", "TO:<e@fabrikam.com>"),
        (377, "<", "", REFUSAL),
        (377, ">", "QUIT", ""),
    ]
    log = W3C_HEADER.format(date="2016-12-01 03:14:20") + iis_session(start, "CORP-SMTP1", rows)
    return {IIS_FILE: log.encode("ascii")}


def no_certificate() -> Files:
    """TLS without a certificate of the server, and an inbound connector that matches by certificate."""
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(None)
    return {
        SEND_FILE: send(message(session, 710).quit(1100)),
        "Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="*.servername.com")),
    }


def source_ip() -> Files:
    """The inbound connector matches by address, and Exchange Online sees another one (203.0.113.7)."""
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(None)
    return {
        SEND_FILE: send(message(session, 710).quit(1100)),
        "Get-InboundConnector.json": config(inbound(SenderIPAddresses=["198.51.100.0/24"], RequireTls=False)),
    }


def attr36() -> Files:
    """Exchange Online itself says ATTR36 for mail that is forwarded with a foreign sender."""
    text = (
        "550 5.7.64 Relay Access Denied ATTR36. For more information please go to https://go.microsoft.com/ KB 3169958"
    )
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(LEAF)
    session.message(710, "someone@fabrikam.com", [("b@adatum.com", text)], 4)
    return {"capi2.xml": verified(), SEND_FILE: send(session.quit(1100))}


def attr36_domains() -> Files:
    """The same with the tenant's accepted domains, none of which is the sender's or the certificate's."""
    domains: list[dict[str, object]] = [
        {"DomainName": name, "DomainType": "Authoritative"} for name in ("contoso.com", "contoso.onmicrosoft.com")
    ]
    return {**attr36(), "Get-AcceptedDomain.json": config(*domains)}


def partner_connector() -> Files:
    """The tenant's only matching connector is of type Partner, which never relays."""
    return {
        "capi2.xml": verified(),
        SEND_FILE: send(refused(LEAF)),
        "Get-InboundConnector.json": config(
            inbound(ConnectorType="Partner", TlsSenderCertificateName="*.servername.com")
        ),
    }


def disabled_connector() -> Files:
    """The right connector exists and is disabled."""
    return {
        "capi2.xml": verified(),
        SEND_FILE: send(refused(LEAF)),
        "Get-InboundConnector.json": config(inbound(Enabled=False, TlsSenderCertificateName="*.servername.com")),
    }


def expired() -> Files:
    """The certificate expired on the day before, and the inbound connector matches by certificate."""
    leaf = replace(LEAF, not_before="2014-11-30T00:00:00Z", not_after="2016-11-30T23:59:59Z")
    recorder = Recorder(HOST, next_record=900)
    results: dict[str, Any] = {"policy_result": "800B0101", "chain_result": "800B0101", "chain_error": 1}
    capi2.check(recorder, KB_TIME, [(leaf, 1), (ISSUER, 0), (ROOT, 0)], seed="expired", **results)
    return {
        "capi2.xml": xml(recorder),
        SEND_FILE: send(refused(leaf, one_row=True)),
        "Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="*.servername.com")),
    }


def revoked() -> Files:
    """The issuer has revoked the certificate."""
    recorder = Recorder(HOST, next_record=900)
    results: dict[str, Any] = {"policy_result": "800B010C", "chain_result": "80092010", "chain_error": 4}
    capi2.check(recorder, KB_TIME, [(LEAF, 4), (ISSUER, 0), (ROOT, 0)], seed="revoked", **results)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def tls_refused() -> Files:
    """TLS fails, Exchange delivers again without it, and is refused."""
    failed = SendSession(START - timedelta(seconds=40), "08D50D3D9730A8D1").connect()
    failed.add(204, ">", "STARTTLS").add(301, "<", "220 2.0.0 SMTP server ready")
    failed.add(420, "*", "", "TLS negotiation failed with error SocketError").add(421, "-", "", "Local")
    plain = SendSession(START, "08D50D3D9730A8D2").connect()
    return {SEND_FILE: send(failed, message(plain, 290).quit(700))}


def remote_untrusted() -> Files:
    """This machine distrusts Exchange Online's certificate; the mail goes out without TLS and is refused."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(
        recorder,
        KB_TIME - timedelta(seconds=2),
        [(REMOTE, 0)],
        seed="remote",
        server="servername-com.mail.protection.outlook.com",
        process="EdgeTransport.exe",
        process_id=4711,
        **BROKEN,
    )
    plain = SendSession(START, "08D50D3D9730A8D2").connect()
    return {"capi2.xml": xml(recorder), SEND_FILE: send(message(plain, 290).quit(700))}


def remote_untrusted_own_sound() -> Files:
    """The received certificate fails, the own one passes and is sent: the distrust does not explain the refusal."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME - timedelta(milliseconds=80), CHAIN, seed="own", **SOUND)
    capi2.check(recorder, KB_TIME, [(REMOTE, 0)], seed="remote", **BROKEN)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def attr35() -> Files:
    """Another error: the wrong region (ATTR35), and an address that holds the digits of the code."""
    text = f"451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35. [{FRONT_END}]"
    session = SendSession(START, "08D50D3D9730A8D2", remote="195.35.7.64:25").connect().starttls(LEAF)
    session.message(
        710, "a@servername.com", [("b@fabrikam.com", text), ("c@fabrikam.com", "250 2.1.5 OK 195.35.7.64")], 4
    )
    return {"capi2.xml": verified(), SEND_FILE: send(session.quit(1400))}


def credential_unusable() -> Files:
    """The private key of the certificate cannot be used: TLS fails, and the mail goes out without it."""
    failed = SendSession(START - timedelta(seconds=40), "08D50D3D9730A8D1").connect()
    failed.add(204, ">", "STARTTLS").add(301, "<", "220 2.0.0 SMTP server ready")
    failed.add(420, "*", "", "TLS negotiation failed with error UnknownCredentials").add(421, "-", "", "Local")
    plain = SendSession(START, "08D50D3D9730A8D2").connect()
    return {SEND_FILE: send(failed, message(plain, 290).quit(700)), "System.xml": schannel(36870, START)}


def another_tenant() -> Files:
    """The certificate is accepted over the connector of another tenant, before and after, and refused over this one."""
    other = [
        accepted(LEAF, START + hours, f"08D50D3D9730A8{number}", connector="Outbound to the other tenant")
        for number, hours in (("B1", timedelta(hours=-2)), ("E1", timedelta(hours=1)))
    ]
    return {"capi2.xml": verified(), SEND_FILE: send(other[0], refused(LEAF), other[1])}


def starttls_masked() -> Files:
    """A firewall writes X over STARTTLS; the inbound connector matches by certificate."""
    session = SendSession(START, "08D50D3D9730A8D2").connect(keywords=KEYWORDS.replace("STARTTLS", "XXXXXXXA"))
    return {
        SEND_FILE: send(message(session, 290).quit(700)),
        "Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="*.servername.com")),
    }


def starttls_not_offered() -> Files:
    """STARTTLS is not in the answer to EHLO; what the tenant expects is not known."""
    session = SendSession(START, "08D50D3D9730A8D2").connect(keywords=KEYWORDS.replace("STARTTLS ", ""))
    return {SEND_FILE: send(message(session, 290).quit(700))}


def gateway() -> Files:
    """The server hands its mail to a gateway, which passes the refusal on; its own broken chain never came so far."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME, [(LEAF, 0)], seed="gateway", **BROKEN)
    session = SendSession(START, "08D50D3D9730A8D2", remote="10.20.30.40:25").connect(banner="gw.servername.com")
    session.starttls(LEAF, one_row=True, received="CN=gw.servername.com, O=ServerName Corp.")
    return {"capi2.xml": xml(recorder), SEND_FILE: send(message(session, 710).quit(1100))}


def tls_inspected() -> Files:
    """The banner is Exchange Online's, the certificate that of a firewall that opens TLS."""
    session = SendSession(START, "08D50D3D9730A8D2").connect()
    session.starttls(LEAF, one_row=True, received="CN=inspection.servername.com, O=Example Firewall")
    return {"capi2.xml": verified(), SEND_FILE: send(message(session, 710).quit(1100))}


def intermediate_expired() -> Files:
    """The certificate is valid; the one that issued it has expired."""
    issuer = replace(ISSUER, not_before="2006-11-30T00:00:00Z", not_after="2016-11-30T23:59:59Z")
    recorder = Recorder(HOST, next_record=900)
    results: dict[str, Any] = {"policy_result": "800B0101", "chain_result": "800B0101", "chain_error": 1}
    capi2.check(recorder, KB_TIME, [(LEAF, 0), (issuer, 1), (ROOT, 0)], seed="issuer expired", **results)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF, one_row=True))}


def root_missing() -> Files:
    """Two hours before the chain reached its root; now it has its intermediate and stops there."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME - timedelta(hours=2), CHAIN, seed="before", **SOUND)
    capi2.check(recorder, KB_TIME, [(LEAF, 0), (ISSUER, 0)], seed="root removed", **BROKEN)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def check_failed() -> Files:
    """The check of the certificate ends in CERT_E_WRONG_USAGE, which is not known to make Exchange Online refuse."""
    recorder = Recorder(HOST, next_record=900)
    results: dict[str, Any] = {"policy_result": "800B0110", "chain_result": "0", "chain_error": 0}
    capi2.check(recorder, KB_TIME, CHAIN, seed="usage", **results)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def null_sender_only() -> Files:
    """Only automatic replies (MAIL FROM:<>) are refused; mail of users is accepted in the same state."""
    reply = SendSession(START, "08D50D3D9730A8D2").connect().starttls(LEAF)
    reply.message(710, "", [("b@fabrikam.com", REFUSAL)], 4)
    before = accepted(LEAF, START - timedelta(minutes=20), "08D50D3D9730A8B2")
    after = accepted(LEAF, START + timedelta(minutes=20), "08D50D3D9730A8E2")
    return {"capi2.xml": verified(), SEND_FILE: send(before, reply.quit(1100), after)}


def address_changed() -> Files:
    """Mail was accepted as long as Exchange Online saw another address."""
    before = accepted(LEAF, START - timedelta(days=1), "08D50D3D9730A8B3", seen="198.51.100.7")
    return {"capi2.xml": verified(), SEND_FILE: send(before, refused(LEAF))}


def rolled_back() -> Files:
    """The certificate was replaced, mail was refused, the old one was put back, and mail is accepted again."""
    before = accepted(OLD, START - timedelta(days=1), "08D50C7411223344")
    after = accepted(OLD, START + timedelta(hours=2), "08D50E7411223344")
    return {"capi2.xml": verified(), SEND_FILE: send(before, refused(LEAF), after)}


def reply_names_certificate() -> Files:
    """IIS SMTP: the refusal names the certificate that arrived, which is the machine's own."""
    start = datetime(2016, 12, 1, 3, 14, 20, 100000, tzinfo=UTC)
    refusal = "550 5.7.64 TenantAttribution; Relay Access Denied  CORP-SMTP1 is untrustedroot."
    rows = [
        (94, "<", "", f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:14:20 +0000"),
        (94, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (171, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (188, ">", "STARTTLS", ""),
        (281, "<", "", "220 2.0.0 SMTP server ready"),
        (611, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (699, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (700, ">", "MAIL", "FROM:<crm@servername.com> SIZE=1722"),
        (790, "<", "", "250 2.1.0 Sender OK"),
        (790, ">", "RCPT", "TO:<e@fabrikam.com>"),
        (884, "<", "", refusal),
        (884, ">", "QUIT", ""),
    ]
    log = W3C_HEADER.format(date="2016-12-01 03:14:20") + iis_session(start, "CORP-SMTP1", rows)
    return {IIS_FILE: log.encode("ascii")}


CAUSES: dict[str, Callable[[], Files]] = {
    "self-signed": self_signed,
    "name-mismatch": name_mismatch,
    "name-matches": name_matches,
    "replaced": replaced,
    "replaced-connector-not-updated": replaced_connector_not_updated,
    "wrong-certificate": wrong_certificate,
    "no-tls-iis": no_tls_iis,
    "no-certificate": no_certificate,
    "source-ip": source_ip,
    "attr36": attr36,
    "attr36-domains": attr36_domains,
    "partner-connector": partner_connector,
    "disabled-connector": disabled_connector,
    "expired": expired,
    "revoked": revoked,
    "tls-refused": tls_refused,
    "remote-untrusted": remote_untrusted,
    "remote-untrusted-own-sound": remote_untrusted_own_sound,
    "microsoft-root-noise": microsoft_root_noise,
    "other-process": other_process,
    "other-certificate": other_certificate,
    "other-host": other_host,
    "outside-coverage": outside_coverage,
    "revocation-noise": revocation_noise,
    "earlier-failure": earlier_failure,
    "attr35": attr35,
    "credential-unusable": credential_unusable,
    "another-tenant": another_tenant,
    "starttls-masked": starttls_masked,
    "starttls-not-offered": starttls_not_offered,
    "gateway": gateway,
    "tls-inspected": tls_inspected,
    "intermediate-expired": intermediate_expired,
    "root-missing": root_missing,
    "check-failed": check_failed,
    "null-sender-only": null_sender_only,
    "address-changed": address_changed,
    "rolled-back": rolled_back,
    "reply-names-certificate": reply_names_certificate,
}
