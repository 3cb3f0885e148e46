"""CAPI2 events as XML for the samples, in the schemas seen in real exports; all names in them are made up.

``Recorder`` numbers records and writes the System part; the functions below it give the UserData of one event each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape, quoteattr

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
# Task, opcode and keywords by event id, as Windows writes them.
_SYSTEM = {
    10: (11, 1, "0x4000000000000003"),
    11: (11, 2, "0x4000000000000003"),
    30: (30, 0, "0x4000000000000001"),
    40: (41, 1, "0x4000000000000005"),
    41: (41, 2, "0x4000000000000005"),
    42: (42, 0, "0x4000000000000005"),
    50: (51, 1, "0x400000000000002e"),
    51: (51, 2, "0x400000000000002e"),
    52: (53, 1, "0x4000000000000036"),
    53: (53, 2, "0x4000000000000036"),
    70: (70, 0, "0x4000000000000080"),
    80: (80, 1, "0x4000000000000040"),
    81: (80, 2, "0x4000000000000040"),
    82: (82, 0, "0x4000000000000400"),
    90: (90, 0, "0x4000000000000200"),
}
SSL, BASE, AUTHENTICODE, MICROSOFT_ROOT = 4, 1, 2, 7
_POLICIES = {1: "BASE", 2: "AUTHENTICODE", 4: "SSL", 7: "MICROSOFT_ROOT"}
TEXTS = {
    "800B0109": "A certificate chain processed, but terminated in a root certificate which is not trusted by the trust "
    "provider.",
    "800B010A": "A certificate chain could not be built to a trusted root authority.",
    "0": "",
}
UNTRUSTED_ROOT, PARTIAL_CHAIN = 0x20, 0x10000
_ERRORS = {
    0x1: "CERT_TRUST_IS_NOT_TIME_VALID",
    0x4: "CERT_TRUST_IS_REVOKED",
    0x40: "CERT_TRUST_REVOCATION_STATUS_UNKNOWN",
    0x1000000: "CERT_TRUST_IS_OFFLINE_REVOCATION",
    UNTRUSTED_ROOT: "CERT_TRUST_IS_UNTRUSTED_ROOT",
    PARTIAL_CHAIN: "CERT_TRUST_IS_PARTIAL_CHAIN",
}
_INFOS = {
    0x2: "CERT_TRUST_HAS_KEY_MATCH_ISSUER",
    0x4: "CERT_TRUST_HAS_NAME_MATCH_ISSUER",
    0x8: "CERT_TRUST_IS_SELF_SIGNED",
    0x100: "CERT_TRUST_HAS_PREFERRED_ISSUER",
}


@dataclass(frozen=True)
class Cert:
    """A certificate of a sample; ``subject`` and ``issuer`` as ``(("CN", "..."), ("O", "..."))``."""

    thumbprint: str
    subject: tuple[tuple[str, str], ...]
    issuer: tuple[tuple[str, str], ...]
    serial: str = "0A1B2C3D4E5F60718293A4B5C6D7E8F9"
    not_before: str = "2016-01-12T00:00:00Z"
    not_after: str = "2018-01-12T23:59:59Z"
    names: tuple[str, ...] = ()
    key_id: str = "1111111111111111111111111111111111111111"
    issuer_key_id: str = "2222222222222222222222222222222222222222"
    ca: bool = False

    @property
    def common_name(self) -> str:
        """The display name that CAPI2 writes as subjectName."""
        return dict(self.subject).get("CN", "")

    @property
    def self_signed(self) -> bool:
        """Whether it is its own issuer."""
        return self.subject == self.issuer

    def name(self, part: tuple[tuple[str, str], ...] | None = None) -> str:
        """Distinguished name as Exchange logs print it."""
        return ", ".join(f"{key}={value}" for key, value in part or self.subject)


@dataclass
class Recorder:
    """Collects events of one machine; record ids rise by one per event."""

    computer: str
    next_record: int = 1
    events: list[str] = field(default_factory=list)

    def write(self, event_id: int, time: datetime, body: str, *, process: int, thread: int, level: int = 4) -> None:
        """Append one event."""
        task, opcode, keywords = _SYSTEM.get(event_id, (event_id, 0, "0x4000000000000000"))
        self.events.append(
            f'<Event xmlns="{NAMESPACE}"><System>'
            '<Provider Name="Microsoft-Windows-CAPI2" Guid="{5bbca4a8-b209-48dc-a8c7-b23d3e5216fb}"/>'
            f"<EventID>{event_id}</EventID><Version>0</Version><Level>{level}</Level><Task>{task}</Task>"
            f"<Opcode>{opcode}</Opcode><Keywords>{keywords}</Keywords>"
            f'<TimeCreated SystemTime="{stamp(time)}"/><EventRecordID>{self.next_record}</EventRecordID><Correlation/>'
            f'<Execution ProcessID="{process}" ThreadID="{thread}"/>'
            "<Channel>Microsoft-Windows-CAPI2/Operational</Channel>"
            f'<Computer>{self.computer}</Computer><Security UserID="S-1-5-18"/></System>'
            f"<UserData>{body}</UserData></Event>"
        )
        self.next_record += 1


def stamp(time: datetime) -> str:
    """SystemTime with the seven digits that Windows keeps and the two noughts it adds."""
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}600Z"


def guid(seed: str) -> str:
    """A GUID in braces, the same for the same seed."""
    return "{" + str(uuid5(NAMESPACE_URL, seed)).upper() + "}"


def _flags(value: int, names: dict[int, str]) -> str:
    return "".join(f' {name}="true"' for bit, name in names.items() if value & bit)


def _tail(process: str, task: str, sequence: int, result: str | None) -> str:
    end = "" if result is None else f'<Result value="{result}">{escape(TEXTS.get(result, ""))}</Result>'
    return (
        f'<EventAuxInfo ProcessName={quoteattr(process)} impersonateToken="S-1-5-18"/>'
        f'<CorrelationAuxInfo TaskId="{task}" SeqNumber="{sequence}"/>{end}'
    )


def _certificate(cert: Cert) -> str:
    return f'<Certificate fileRef="{cert.thumbprint}.cer" subjectName={quoteattr(cert.common_name)}/>'


def start(process: str, task: str, sequence: int) -> str:
    """Event 10."""
    return f"<CertGetCertificateChainStart>{_tail(process, task, sequence, None)}</CertGetCertificateChainStart>"


def policy(
    cert: Cert,
    chain: str,
    result: str,
    *,
    process: str,
    task: str,
    sequence: int = 1,
    kind: int = SSL,
    server: str = "",
) -> str:
    """Event 30."""
    name = f" serverName={quoteattr(server)}" if server else ""
    extra = (
        f'<SSLAdditionalPolicyInfo authType="server"{name}><IgnoreFlags value="280" '
        'SECURITY_FLAG_IGNORE_REVOCATION="true" SECURITY_FLAG_IGNORE_WRONG_USAGE="true"/></SSLAdditionalPolicyInfo>'
        if kind == SSL
        else ""
    )
    status = (
        '<Status chainIndex="-1" elementIndex="-1"/>' if result == "0" else '<Status chainIndex="0" elementIndex="-1"/>'
    )
    return (
        f'<CertVerifyCertificateChainPolicy><Policy type="CERT_CHAIN_POLICY_{_POLICIES[kind]}" constant="{kind}"/>'
        f'{_certificate(cert)}<CertificateChain chainRef="{chain}"/><Flags value="0"/>{extra}{status}'
        f"{_tail(process, task, sequence, result)}</CertVerifyCertificateChainPolicy>"
    )


def chain(
    elements: Sequence[tuple[Cert, int]], ref: str, result: str, *, process: str, task: str, sequence: int, error: int
) -> str:
    """Event 11; ``elements`` are (certificate, ErrorStatus), leaf first; ``error`` is that of the whole chain."""
    leaf = elements[0][0]
    body = "".join(_element(cert, status) for cert, status in elements)
    return (
        f"<CertGetCertificateChain>{_certificate(leaf)}"
        '<ExtendedKeyUsage><Usage oid="1.3.6.1.5.5.7.3.1" name="Server Authentication"/></ExtendedKeyUsage>'
        '<Flags value="0"/><ChainEngineInfo context="machine"/>'
        f'<CertificateChain chainRef="{ref}"><TrustStatus><ErrorStatus value="{error:X}"{_flags(error, _ERRORS)}/>'
        '<InfoStatus value="100" CERT_TRUST_HAS_PREFERRED_ISSUER="true"/></TrustStatus>'
        f"{body}</CertificateChain>{_tail(process, task, sequence, result)}</CertGetCertificateChain>"
    )


def _element(cert: Cert, error: int) -> str:
    info = 0x10C if cert.self_signed else 0x102
    return (
        f"<ChainElement>{_certificate(cert)}"
        '<SignatureAlgorithm oid="1.2.840.113549.1.1.11" hashName="SHA256" publicKeyName="RSA"/>'
        '<PublicKeyAlgorithm oid="1.2.840.113549.1.1.1" publicKeyName="RSA" publicKeyLength="2048"/>'
        f'<TrustStatus><ErrorStatus value="{error:X}"{_flags(error, _ERRORS)}/>'
        f'<InfoStatus value="{info:X}"{_flags(info, _INFOS)}/></TrustStatus>'
        '<ApplicationUsage><Usage oid="1.3.6.1.5.5.7.3.1" name="Server Authentication"/></ApplicationUsage>'
        "<IssuanceUsage/></ChainElement>"
    )


def objects(certs: Iterable[Cert], *, process: str, task: str, sequence: int) -> str:
    """Event 90."""
    body = "".join(_object(cert) for cert in certs)
    return f"<X509Objects>{body}{_tail(process, task, sequence, None)}</X509Objects>"


def _object(cert: Cert) -> str:
    names = "".join(f"<DNSName>{escape(name)}</DNSName>" for name in cert.names)
    san = f"<SubjectAltName>{names}</SubjectAltName>" if names else ""
    key_id = f'<AuthorityKeyIdentifier><KeyID hash="{cert.issuer_key_id}"/></AuthorityKeyIdentifier>'
    basic = '<BasicConstraints critical="true" cA="true"/>' if cert.ca else ""
    return (
        f'<Certificate fileRef="{cert.thumbprint}.cer" subjectName={quoteattr(cert.common_name)}>'
        f'<Subject>{_name(cert.subject)}</Subject><SubjectKeyID computed="false" hash="{cert.key_id}"/>'
        '<SignatureAlgorithm oid="1.2.840.113549.1.1.11" hashName="SHA256" publicKeyName="RSA"/>'
        '<PublicKeyAlgorithm oid="1.2.840.113549.1.1.1" publicKeyName="RSA" publicKeyLength="2048"/>'
        f"<Issuer>{_name(cert.issuer)}</Issuer><SerialNumber>{cert.serial}</SerialNumber>"
        f"<NotBefore>{cert.not_before}</NotBefore><NotAfter>{cert.not_after}</NotAfter>"
        f"<Extensions>{basic}{san}{key_id}</Extensions></Certificate>"
    )


def _name(parts: tuple[tuple[str, str], ...]) -> str:
    return "".join(f"<{key}>{escape(value)}</{key}>" for key, value in parts)


def check(
    recorder: Recorder,
    time: datetime,
    elements: Sequence[tuple[Cert, int]],
    *,
    policy_result: str,
    chain_result: str,
    chain_error: int,
    seed: str,
    process: str = "lsass.exe",
    process_id: int = 544,
    thread_id: int = 1996,
    kind: int = SSL,
    server: str = "",
    with_chain: bool = True,
    gap: timedelta = timedelta(milliseconds=31),
) -> None:
    """A whole check as Schannel makes it: 10, 90 and 11 in one task, then 30 at ``time`` in a task of its own."""
    task, ref, own = guid(seed + "task"), guid(seed + "chain"), guid(seed + "own")
    level = 4 if chain_result == "0" else 2
    where = {"process": process_id, "thread": thread_id}
    if with_chain:
        recorder.write(10, time - 2 * gap, start(process, task, 1), **where)
        body = objects([cert for cert, _ in elements], process=process, task=task, sequence=2)
        recorder.write(90, time - gap, body, **where)
        body = chain(elements, ref, chain_result, process=process, task=task, sequence=3, error=chain_error)
        recorder.write(11, time - gap, body, **where, level=level)
    body = policy(elements[0][0], ref, policy_result, process=process, task=own, kind=kind, server=server)
    recorder.write(30, time, body, **where, level=4 if policy_result == "0" else 2)
