"""The sample cases with a network trace of the refused connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from samples import capi2, wire
from samples.capi2 import Cert, Recorder
from samples.cases import HOST, IIS_FILE, KB_TIME, SEND_FILE, Files
from samples.pieces import BROKEN, START, config, inbound, message, refused, send, xml
from samples.smtp import FRONT_END, W3C_HEADER, SendSession, iis_session
from samples.wire import Authority, Conversation, certificate

ROOT = Authority(wire.PUBLIC_ROOT, key_id=wire.PUBLIC_ROOT_KEY)
INTERMEDIATE = Authority((("CN", "Example Trust TLS CA 2016"), ("O", "Example Trust"), ("C", "US")))
SERVER = Authority((("CN", "*.ServerName.com"), ("O", "ServerName"), ("C", "US")))
CLOUD = Authority((("CN", "Example Cloud CA"), ("C", "US")))
REMOTE = Authority((("CN", "mail.protection.outlook.com"), ("O", "Microsoft Corporation"), ("C", "US")))
ISSUER_URL = "http://cacerts.example-trust.test/ExampleTrustTLSCA2016.crt"

ISSUER_DER = certificate(INTERMEDIATE, ROOT, ca=True, serial=0x0A2016C0FFEE2016)
LEAF_DER = certificate(SERVER, INTERMEDIATE, names=("*.servername.com", "servername.com"), url=ISSUER_URL, logged=True)
REMOTE_CHAIN = (
    certificate(REMOTE, CLOUD, names=("mail.protection.outlook.com", "*.mail.protection.outlook.com"), logged=True),
    certificate(CLOUD, ROOT, ca=True, serial=0x0BC10DC0FFEEC10D),
)
TRACE_FILE = "smtp.pcapng"


def cert_of(der: bytes, subject: Authority, issuer: Authority) -> Cert:
    """A certificate as the log's rows and CAPI2's events show it."""
    from cryptography import x509  # noqa: PLC0415  the wire module has it too
    from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415  as above

    parsed = x509.load_der_x509_certificate(der)
    return Cert(
        # SHA-1 names a certificate in Windows; nothing is secured by it.
        parsed.fingerprint(SHA1()).hex().upper(),  # noqa: S303
        subject.name,
        issuer.name,
        serial=f"{parsed.serial_number:X}",
        not_before=f"{parsed.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        not_after=f"{parsed.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        names=("*.servername.com", "servername.com"),
        key_id=subject.identifier.hex(),
        issuer_key_id=issuer.identifier.hex(),
    )


LEAF = cert_of(LEAF_DER, SERVER, INTERMEDIATE)


def talk(
    chain: Sequence[bytes],
    *,
    start: datetime = START,
    local: tuple[str, int] = ("10.10.248.7", 16547),
    remote: tuple[str, int] = ("216.32.181.234", 25),
    received: Sequence[bytes] = REMOTE_CHAIN,
) -> Conversation:
    """The connection of the refused session: SMTP, STARTTLS, and a handshake that sends ``chain``."""
    return wire.smtp_tls(
        Conversation(start, client=local, server=remote),
        wire.client_flight(chain),
        wire.server_flight(received),
        hello=wire.client_hello(FRONT_END),
        banner=FRONT_END,
    )


def trace(*talks: Conversation) -> bytes:
    """A trace as ``pktmon etl2pcap`` writes it: Ethernet, times of 100 ns cut to microseconds."""
    return wire.pcapng([(1, 6)], [(time, frame, 0) for time, frame in wire.frames(*talks)])


def wire_leaf_only() -> Files:
    """The refused connection sends the certificate without its intermediate. Other connections of the server do too."""
    partner = wire.smtp_tls(
        Conversation(START - timedelta(seconds=3), client=("10.10.248.7", 16540), server=("198.51.100.9", 25)),
        wire.client_flight([]),
        wire.server_flight(REMOTE_CHAIN[1:], request=True),
        hello=wire.client_hello("mx.fabrikam.com"),
        banner="mx.fabrikam.com",
    )
    return {SEND_FILE: send(refused(LEAF)), TRACE_FILE: trace(partner, talk([LEAF_DER]))}


def wire_full_chain() -> Files:
    """CAPI2 says that the chain stops at the missing intermediate; the refused connection sends it nevertheless."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME, [(LEAF, 0)], seed="wire", **BROKEN)
    return {
        "capi2.xml": xml(recorder),
        SEND_FILE: send(refused(LEAF)),
        TRACE_FILE: trace(talk([LEAF_DER, ISSUER_DER])),
    }


def wire_no_certificate() -> Files:
    """The log names no certificate, the server asks for one and gets none; the connector matches by certificate."""
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(None)
    return {
        SEND_FILE: send(message(session, 710).quit(1100)),
        "Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="*.servername.com")),
        TRACE_FILE: trace(talk([])),
    }


def wire_trace_only() -> Files:
    """The trace alone: a refusal lies inside of TLS."""
    return {TRACE_FILE: trace(talk([LEAF_DER]))}


def iis_with_trace(chain: Sequence[bytes] = (LEAF_DER,)) -> Files:
    """An IIS SMTP log, which shows neither ports nor certificates, beside a trace of the same second."""
    start = datetime(2016, 12, 1, 3, 14, 20, 100000, tzinfo=UTC)
    rows = [
        (94, "<", "", f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:14:20 +0000"),
        (94, ">", "EHLO", "mail.servername.com"),
        (171, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (188, ">", "STARTTLS", ""),
        (281, "<", "", "220 2.0.0 SMTP server ready"),
        (611, ">", "EHLO", "mail.servername.com"),
        (700, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (700, ">", "MAIL", "FROM:<crm@servername.com> SIZE=1722"),
        (790, "<", "", "250 2.1.0 Sender OK"),
        (790, ">", "RCPT", "TO:<e@fabrikam.com>"),
        (884, "<", "", "550 5.7.64 TenantAttribution; Relay Access Denied"),
        (970, ">", "QUIT", ""),
    ]
    log = W3C_HEADER.format(date="2016-12-01 03:14:20") + iis_session(start, "CORP-SMTP1", rows)
    return {IIS_FILE: log.encode("ascii"), TRACE_FILE: trace(talk(chain, start=start))}


TRACES: dict[str, Callable[[], Files]] = {
    "wire-leaf-only": wire_leaf_only,
    "wire-full-chain": wire_full_chain,
    "wire-no-certificate": wire_no_certificate,
    "wire-trace-only": wire_trace_only,
}
