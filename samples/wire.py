"""Network traces for the samples and tests: certificates, TLS 1.2 handshakes and TCP as bytes, the same in every run.

No key exchange takes place: what TLS encrypts is random-looking filler, for nobody who reads a trace can open it. All
that is sent in clear is as RFC 5246 writes it. Keys are made from their owner's name, which makes signatures the same
every time (Ed25519); dates and serial numbers are fixed.
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

PUBLIC_ROOT = (("CN", "DigiCert TLS RSA4096 Root G5"), ("O", "DigiCert, Inc."), ("C", "US"))
PUBLIC_ROOT_KEY = bytes.fromhex("51331CED3640AF17D325CD6968F2AF4E233EB341")
_OIDS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "C": NameOID.COUNTRY_NAME}
_TIMESTAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_VALIDATED = x509.ObjectIdentifier("2.23.140.1.2.2")
Name = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Authority:
    """Whoever signs: a name, and a key made from ``key`` (else from the name)."""

    name: Name
    key: str = ""
    key_id: bytes = b""

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key that signs."""
        return private_key(self.key or str(self.name))

    @property
    def identifier(self) -> bytes:
        """The subject key identifier."""
        return self.key_id or key_identifier(self.private)


def private_key(seed: str) -> Ed25519PrivateKey:
    """The key of an owner, the same for the same text."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def key_identifier(key: Ed25519PrivateKey) -> bytes:
    """The identifier of a key (RFC 5280 4.2.1.2)."""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def certificate(
    subject: Authority,
    issuer: Authority,
    *,
    names: Sequence[str] = (),
    ca: bool = False,
    url: str = "",
    logged: bool = False,
    serial: int = 0x0A1B2C3D,
    not_before: datetime = datetime(2016, 1, 12, tzinfo=UTC),
    not_after: datetime = datetime(2018, 1, 12, 23, 59, 59, tzinfo=UTC),
    identified: bool = True,
) -> bytes:
    """A certificate as DER. ``logged`` adds what public authorities put into theirs, ``identified`` the key ids."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished(subject.name))
        .issuer_name(distinguished(issuer.name))
        .public_key(subject.private.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if identified:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(subject.identifier), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(issuer.identifier, None, None), critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    if url:
        place = x509.UniformResourceIdentifier(url)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if logged:
        policies = x509.CertificatePolicies([x509.PolicyInformation(_VALIDATED, None)])
        builder = builder.add_extension(policies, critical=False)
        builder = builder.add_extension(x509.UnrecognizedExtension(_TIMESTAMPS, _timestamps()), critical=False)
    return builder.sign(issuer.private, None).public_bytes(Encoding.DER)


def distinguished(name: Name) -> x509.Name:
    """A distinguished name, the country first as certificates have it."""
    return x509.Name([x509.NameAttribute(_OIDS[key], value) for key, value in reversed(name)])


def _timestamps() -> bytes:
    """A list of one signed certificate timestamp (RFC 6962 3.2), of a log that does not exist."""
    stamp = b"\0" + filler("log", 32) + (1452556800000).to_bytes(8) + b"\0\0" + b"\x04\x03" + _sized(filler("s", 70), 2)
    listed = _sized(_sized(stamp, 2), 2)
    return b"\x04" + len(listed).to_bytes(1) + listed


def filler(seed: str, size: int) -> bytes:
    """Bytes that look random, the same for the same text."""
    return hashlib.shake_128(seed.encode()).digest(size)


# -------------------------------------------------------------------------------------------------------------- TLS


def _sized(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width) + data


def record(kind: int, data: bytes, version: int = 0x0303) -> bytes:
    """A TLS record."""
    return bytes((kind,)) + version.to_bytes(2) + _sized(data, 2)


def message(kind: int, body: bytes) -> bytes:
    """A handshake message."""
    return bytes((kind,)) + _sized(body, 3)


def certificate_message(chain: Iterable[bytes]) -> bytes:
    """A Certificate message."""
    return message(11, _sized(b"".join(_sized(der, 3) for der in chain), 3))


def client_hello(server_name: str, *, session: bytes = b"", version: int = 0x0303) -> bytes:
    """A ClientHello in a record of its own."""
    name = _sized(b"\0" + _sized(server_name.encode(), 2), 2)
    extensions = b"\0\0" + _sized(name, 2) + b"\0\x17\0\0" if server_name else b"\0\x17\0\0"
    suites = bytes.fromhex("C02CC02BC030C02F009D009C")
    body = version.to_bytes(2) + filler("client" + server_name, 32) + _sized(session, 1) + _sized(suites, 2)
    return record(22, message(1, body + b"\x01\0" + _sized(extensions, 2)), 0x0301)


def server_hello(
    *, session: bytes = b"", version: int = 0x0303, cipher: int = 0xC030, extensions: bytes = b""
) -> bytes:
    """A ServerHello message."""
    body = version.to_bytes(2) + filler("server", 32) + _sized(session, 1) + cipher.to_bytes(2) + b"\0"
    return message(2, body + (_sized(extensions, 2) if extensions else b""))


def certificate_request(authorities: Iterable[Name] = ()) -> bytes:
    """A CertificateRequest message."""
    names = b"".join(_sized(distinguished(name).public_bytes(), 2) for name in authorities)
    return message(13, _sized(b"\x01\x40", 1) + _sized(bytes.fromhex("0401050106010403"), 2) + _sized(names, 2))


def server_flight(
    chain: Sequence[bytes], *, request: bool = True, authorities: Iterable[Name] = (), version: int = 0x0303
) -> bytes:
    """ServerHello to ServerHelloDone."""
    exchange = message(12, b"\x03\0\x17" + _sized(filler("point", 65), 1) + b"\x04\x01" + _sized(filler("sig", 256), 2))
    asked = certificate_request(authorities) if request else b""
    hello = server_hello(session=filler("session", 32), version=version)
    return _records(hello + certificate_message(chain) + exchange + asked + message(14, b""), version)


def client_flight(chain: Sequence[bytes] | None, *, version: int = 0x0303) -> bytes:
    """Certificate to Finished; without a Certificate message where ``chain`` is None."""
    own = b"" if chain is None else certificate_message(chain)
    verify = message(15, b"\x04\x01" + _sized(filler("proof", 256), 2)) if chain else b""
    messages = own + message(16, _sized(filler("key", 65), 1)) + verify
    return _records(messages, version) + changed("client finished", version)


def changed(seed: str, version: int = 0x0303) -> bytes:
    """ChangeCipherSpec and an encrypted Finished."""
    return record(20, b"\x01", version) + record(22, filler(seed, 40), version)


def application_data(seed: str, size: int) -> bytes:
    """Encrypted data."""
    return record(23, filler(seed, size))


def _records(messages: bytes, version: int) -> bytes:
    """Messages in as few records as they need."""
    size = 1 << 14
    return b"".join(record(22, messages[at : at + size], version) for at in range(0, len(messages), size))


# -------------------------------------------------------------------------------------------------------------- TCP

SYN, ACK, FIN, RST, PUSH = 2, 16, 1, 4, 8
Packets = list[tuple[int, bytes]]


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, target: str, tcp: bytes, *, number: int = 0) -> bytes:
    """A TCP segment in a datagram, with both check sums; ``tcp`` has none yet."""
    ends = ipaddress.ip_address(source), ipaddress.ip_address(target)
    pseudo = ends[0].packed + ends[1].packed
    pseudo += struct.pack(">IHH", len(tcp), 0, 6) if ends[0].version == 6 else struct.pack(">HH", 6, len(tcp))
    tcp = tcp[:16] + _checksum(pseudo + tcp).to_bytes(2) + tcp[18:]
    if ends[0].version == 6:
        return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + ends[0].packed + ends[1].packed + tcp
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), number & 0xFFFF, 0x4000, 64, 6, 0)
    head += ends[0].packed + ends[1].packed
    return head[:10] + _checksum(head).to_bytes(2) + head[12:] + tcp


@dataclass
class Conversation:
    """One TCP connection as datagrams; times are milliseconds after ``start``."""

    start: datetime
    client: tuple[str, int] = ("10.10.248.7", 16547)
    server: tuple[str, int] = ("216.32.181.234", 25)
    mss: int = 1460
    packets: Packets = field(default_factory=list)
    _next: dict[bool, int] = field(default_factory=dict)

    def connect(self) -> Conversation:
        """SYN, SYN and ACK, ACK."""
        self._next = {True: 1_000_000, False: 7_000_000}
        self._put(0, True, SYN)
        self._put(30, False, SYN | ACK)
        self._put(30, True, ACK)
        return self

    def say(self, after: float, data: bytes | str, *, by_client: bool) -> Conversation:
        """Send data, in as many segments as it needs."""
        if isinstance(data, str):
            data = data.encode("ascii")
        for at in range(0, len(data), self.mss):
            self._put(after, by_client, ACK | PUSH, data[at : at + self.mss])
        return self

    def close(self, after: float) -> Conversation:
        """FIN of both sides."""
        self._put(after, True, FIN | ACK)
        self._put(after + 30, False, FIN | ACK)
        self._put(after + 30, True, ACK)
        return self

    def _put(self, after: float, by_client: bool, flags: int, data: bytes = b"") -> None:
        source, target = (self.client, self.server) if by_client else (self.server, self.client)
        sequence, answered = self._next[by_client], self._next[not by_client] if flags & ACK else 0
        head = struct.pack(">HHIIBBHHH", source[1], target[1], sequence, answered, 0x50, flags, 65535, 0, 0)
        time = self.start + timedelta(milliseconds=after)
        packet = ip_packet(source[0], target[0], head + data, number=len(self.packets) + 1)
        self.packets.append((nanoseconds(time), packet))
        self._next[by_client] = (sequence + len(data) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF


def nanoseconds(time: datetime) -> int:
    """A time as traces have it."""
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def smtp_tls(
    talk: Conversation,
    client: bytes,
    server: bytes,
    *,
    hello: bytes,
    banner: str,
    ehlo: str = "mail.servername.com",
    seen: str = "203.0.113.7",
    finish: bytes | None = None,
) -> Conversation:
    """SMTP to STARTTLS, a handshake, and some encrypted data as a refusal takes. Times are those of ``SendSession``."""
    zone = f"{talk.start:%a, %d %b %Y %H:%M:%S} +0000"
    offer = "".join(f"250-{word}\r\n" for word in ("SIZE 157286400", "PIPELINING", "DSN", "STARTTLS", "8BITMIME"))
    talk.connect().say(118, f"220 {banner} Microsoft ESMTP MAIL Service ready at {zone}\r\n", by_client=False)
    talk.say(118, f"EHLO {ehlo}\r\n", by_client=True)
    talk.say(203, f"250-{banner} Hello [{seen}]\r\n{offer}250 CHUNKING\r\n", by_client=False)
    talk.say(204, "STARTTLS\r\n", by_client=True).say(301, "220 2.0.0 SMTP server ready\r\n", by_client=False)
    talk.say(302, hello, by_client=True).say(392, server, by_client=False)
    if client:
        talk.say(470, client, by_client=True)
    finish = changed("server finished") if finish is None else finish
    if finish:
        talk.say(560, finish, by_client=False).say(571, application_data("ehlo", 64), by_client=True)
        talk.say(655, application_data("250", 256), by_client=False)
        talk.say(710, application_data("mail", 160), by_client=True)
        talk.say(874, application_data("refusal", 128), by_client=False)
        talk.say(1100, application_data("quit", 48), by_client=True)
    return talk.close(1186)


# ------------------------------------------------------------------------------------------------------------ files

_MACS = bytes.fromhex("00155D0A0001 00155D0A0002 ".replace(" ", ""))


def ethernet(packet: bytes, tags: bytes = b"") -> bytes:
    """A datagram in an Ethernet frame; ``tags`` are those of VLANs."""
    return _MACS + tags + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def pcap(
    packets: Iterable[tuple[int, bytes]], *, link: int = 1, order: str = "<", nano: bool = False, snap: int = 0
) -> bytes:
    """A pcap file of frames; ``snap`` cuts them."""
    magic, unit = (0xA1B23C4D, 1) if nano else (0xA1B2C3D4, 1000)
    made = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap or 262144, link)]
    for time, frame in packets:
        kept = frame[:snap] if snap else frame
        seconds, rest = divmod(time, 1_000_000_000)
        made += [struct.pack(order + "IIII", seconds, rest // unit, len(kept), len(frame)), kept]
    return b"".join(made)


def pcapng(
    interfaces: Sequence[tuple[int, int]], packets: Iterable[tuple[int, bytes, int]], *, order: str = "<"
) -> bytes:
    """A pcapng file: interfaces as (link type, digits of a second), packets as (time, frame, interface)."""
    made = [_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for link, digits in interfaces:
        option = struct.pack(order + "HHBxxxHH", 9, 1, digits, 0, 0)
        made.append(_block(order, 1, struct.pack(order + "HHI", link, 0, 262144) + option))
    for time, frame, number in packets:
        count = time // 10 ** (9 - interfaces[number][1])
        head = struct.pack(order + "IIIII", number, count >> 32, count & 0xFFFFFFFF, len(frame), len(frame))
        made.append(_block(order, 6, head + frame + bytes(-len(frame) % 4)))
    return b"".join(made)


def _block(order: str, kind: int, body: bytes) -> bytes:
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def frames(*talks: Conversation) -> Packets:
    """The packets of several connections as Ethernet frames, in the order of time."""
    packets = [packet for talk in talks for packet in talk.packets]
    return [(time, ethernet(packet)) for time, packet in sorted(packets, key=lambda item: item[0])]
