"""Read TLS records and handshake messages (RFC 5246, RFC 8446, RFC 6066), as far as they are not encrypted.

Nothing is guessed of what cannot be seen: a message that is cut, a session that is resumed, TLS 1.3 (which encrypts the
certificates), a second handshake inside the encrypted connection. ``Handshake.flight`` says which of these it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from evtx_analyzer.handshakes.tls_names import ALERTS, CIPHERS, VERSIONS
from evtx_analyzer.model.handshake import Flight

_CHANGE, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _REQUEST = 1, 2, 11, 13
_SERVER_DONE, _VERIFY, _KEY_EXCHANGE = 14, 15, 16
_LARGEST_RECORD = (1 << 14) + 2048
_SERVER_NAME, _SUPPORTED_VERSIONS = 0, 43
_FATAL = 2
_NO_CERTIFICATE = 41  # an SSL 3.0 client says so by this alert (RFC 6101 5.4.2)
_TLS_1_2, _TLS_1_3 = 0x0303, 0x0304
# With this random, a ServerHello is a HelloRetryRequest: the client must send another ClientHello (RFC 8446 4.1.3).
_RETRY = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")


class Message(Struct, frozen=True):
    """A handshake message: its type and body, and its offset in the stream."""

    kind: int
    body: bytes
    at: int


class Side:
    """What one side sent before it began to encrypt, and whether it did.

    ``changed`` is whether it sent ChangeCipherSpec, ``encrypted`` counts its encrypted handshake records after that.
    ``alert`` is level and description. ``data`` is whether it sent application data. ``broken`` is whether the stream
    ends inside a record or message, or goes on as something else than TLS.
    """

    def __init__(self, data: bytes, at: int) -> None:
        """Read the records from the offset ``at`` on."""
        self.messages: list[Message] = []
        self.changed = self.data = self.broken = False
        self.encrypted = 0
        self.alert: tuple[int, int] | None = None
        # A message may cross records, and a record may hold several.
        self._waiting, self._waiting_at = bytearray(), 0
        end = at
        for kind, body, place in _records(data, at):
            end = place + 5 + len(body)
            self._take(kind, body, place + 5)
        self.broken = self.broken or bool(self._waiting) or len(data) > end

    def first(self, kind: int) -> Message | None:
        """Return the first message of a type; None if there is none."""
        return next((message for message in self.messages if message.kind == kind), None)

    def count(self, kind: int) -> int:
        """Return the number of messages of a type."""
        return sum(message.kind == kind for message in self.messages)

    def _take(self, kind: int, body: bytes, at: int) -> None:
        """Take a record; ``at`` is the offset of its body."""
        if kind == _CHANGE:
            # TLS 1.3 sends one without a meaning (RFC 8446 D.4); there the ServerHello shows the version.
            self.changed = True
            self.broken = self.broken or bool(self._waiting)
            self._waiting.clear()
        elif kind == _DATA:
            self.data = True
        elif kind == _HANDSHAKE and self.changed:
            self.encrypted += 1
        elif kind == _HANDSHAKE:
            self._add(body, at)
        elif kind == _ALERT and not self.changed and len(body) == 2:  # noqa: PLR2004  level and description
            self.alert = self.alert or (body[0], body[1])

    def _add(self, body: bytes, at: int) -> None:
        """Add the messages that end with a record."""
        if not self._waiting:
            self._waiting_at = at
        self._waiting += body
        while len(self._waiting) >= 4:  # noqa: PLR2004  type and length
            size = 4 + int.from_bytes(self._waiting[1:4])
            if len(self._waiting) < size:
                return
            self.messages.append(Message(self._waiting[0], bytes(self._waiting[4:size]), self._waiting_at))
            del self._waiting[:size]
            self._waiting_at = at


class Handshake(Struct, frozen=True, kw_only=True):
    """One handshake as the wire shows it.

    ``requested`` is whether the server asked for a certificate, None where it cannot be seen. ``sent`` and ``received``
    are DER certificates in the order of the wire. ``flight`` is how far the client's answer to the server can be seen:
    ``whole`` up to its ChangeCipherSpec. ``proved`` is whether the client sent CertificateVerify.
    ``completed`` is whether both sides sent an encrypted record that ends a handshake (Finished). ``renegotiated`` is
    whether another handshake followed inside the encrypted connection, which cannot be seen. ``hello_at`` and
    ``certificate_at`` are offsets in the client's stream.
    """

    version: str = ""
    offered: str = ""
    server_name: str = ""
    cipher: str = ""
    requested: bool | None = None
    authorities: tuple[bytes, ...] = ()
    sent: tuple[bytes, ...] = ()
    received: tuple[bytes, ...] = ()
    proved: bool = False
    flight: Flight = "none"
    completed: bool = False
    renegotiated: bool = False
    alert: str = ""
    alert_by: str = ""
    hello_at: int = 0
    certificate_at: int | None = None


def read_handshake(client: bytes, client_at: int, server: bytes, server_at: int) -> Handshake | None:
    """Return the handshake that begins at these offsets of both streams; None where the client sent no ClientHello."""
    ours, theirs = Side(client, client_at), Side(server, server_at)
    hello = ours.first(_CLIENT_HELLO)
    if hello is None:
        return None
    offered, name, session = _client_hello(hello.body)
    answer = theirs.first(_SERVER_HELLO)
    alert, alert_by = _alert(ours, theirs)
    known = {"offered": offered, "server_name": name, "alert": alert, "alert_by": alert_by, "hello_at": hello.at}
    if answer is None:
        return Handshake(**known)  # type: ignore[arg-type]
    version, cipher, answered_session, retry = _server_hello(answer.body)
    known |= {"version": VERSIONS.get(version, f"0x{version:04X}"), "cipher": CIPHERS.get(cipher, f"0x{cipher:04X}")}
    if version >= _TLS_1_3 or retry:
        done = ours.data and theirs.data
        return Handshake(**known, flight="hidden", completed=done)  # type: ignore[arg-type]
    shown, request = theirs.first(_SERVER_DONE) is not None, theirs.first(_REQUEST)
    certificate = theirs.first(_CERTIFICATE)
    resumed = not shown and certificate is None and theirs.changed
    own = ours.first(_CERTIFICATE)
    flight = _flight(ours, theirs, resumed=resumed, same_session=bool(session) and session == answered_session)
    sent = certificates(own.body) if own is not None else ()
    received = certificates(certificate.body) if certificate is not None else ()
    return Handshake(
        **known,  # type: ignore[arg-type]
        requested=True if request is not None else False if shown else None,
        authorities=_authorities(request.body, version) if request is not None else (),
        sent=sent or (),
        received=received or (),
        proved=ours.first(_VERIFY) is not None,
        flight="cut" if sent is None and flight == "whole" else flight,
        completed=not alert and bool(ours.encrypted and theirs.encrypted),
        renegotiated=ours.encrypted > 1 or theirs.encrypted > 1,
        certificate_at=own.at if own is not None else None,
    )


def _flight(ours: Side, theirs: Side, *, resumed: bool, same_session: bool) -> Flight:
    """Return how far the client's second flight can be seen."""
    if resumed or (same_session and theirs.first(_CERTIFICATE) is None):
        return "resumed"
    if max(side.count(kind) for side in (ours, theirs) for kind in (_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE)) > 1:
        return "repeated"
    if theirs.first(_SERVER_DONE) is None:
        return "cut"
    if ours.first(_KEY_EXCHANGE) is not None and ours.changed:
        return "whole"
    return "cut" if ours.broken or ours.first(_CERTIFICATE) or ours.first(_KEY_EXCHANGE) else "none"


def _records(data: bytes, at: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield type, body and offset of each whole record; stop at anything else."""
    while at + 5 <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 3 : at + 5])
        if not _CHANGE <= kind <= _DATA or data[at + 1] != 3 or size > _LARGEST_RECORD or at + 5 + size > len(data):  # noqa: PLR2004  major version
            return
        yield kind, bytes(data[at + 5 : at + 5 + size]), at
        at += 5 + size


def certificates(body: bytes) -> tuple[bytes, ...] | None:
    """Return the DER certificates of a Certificate message; None where their lengths do not add up."""
    if len(body) < 3 or int.from_bytes(body[:3]) != len(body) - 3:  # noqa: PLR2004  the length of the list
        return None
    ders, at = [], 3
    while at + 3 <= len(body):
        size = int.from_bytes(body[at : at + 3])
        ders.append(body[at + 3 : at + 3 + size])
        at += 3 + size
    return tuple(ders) if at == len(body) else None


def _client_hello(body: bytes) -> tuple[str, str, bytes]:
    """Return the highest version offered, the server name, and the id of the session that is to be resumed."""
    version = int.from_bytes(body[:2])
    session_size = body[34] if len(body) > 34 else 0  # noqa: PLR2004  behind version and random
    at = 35 + session_size
    session = body[35:at]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + (body[at] if at < len(body) else 0)
    extensions = dict(_extensions(body, at))
    listed = extensions.get(_SUPPORTED_VERSIONS, b"")[1:]
    pairs = [int.from_bytes(listed[place : place + 2]) for place in range(0, len(listed) - 1, 2)]
    # Unknown values are left out: clients send some of the form 0xNANA to keep servers tolerant (RFC 8701).
    highest = max([version, *(pair for pair in pairs if pair in VERSIONS)])
    name = extensions.get(_SERVER_NAME, b"")
    return VERSIONS.get(highest, f"0x{highest:04X}"), name[5:].decode("ascii", "replace"), session


def _server_hello(body: bytes) -> tuple[int, int, bytes, bool]:
    """Return version, cipher suite, session id, and whether the server asks for another ClientHello."""
    version = int.from_bytes(body[:2])
    session_size = body[34] if len(body) > 34 else 0  # noqa: PLR2004  behind version and random
    at = 35 + session_size
    cipher = int.from_bytes(body[at : at + 2])
    extensions = dict(_extensions(body, at + 3))
    if _SUPPORTED_VERSIONS in extensions:
        version = int.from_bytes(extensions[_SUPPORTED_VERSIONS][:2])
    return version, cipher, body[35 : 35 + session_size], body[2:34] == _RETRY


def _extensions(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each extension of a hello."""
    end = min(at + 2 + int.from_bytes(body[at : at + 2]), len(body))
    at += 2
    while at + 4 <= end:
        size = int.from_bytes(body[at + 2 : at + 4])
        yield int.from_bytes(body[at : at + 2]), body[at + 4 : at + 4 + size]
        at += 4 + size


def _authorities(body: bytes, version: int) -> tuple[bytes, ...]:
    """Return the names of authorities in a CertificateRequest, in DER; types and, since TLS 1.2, algorithms precede."""
    at = 1 + (body[0] if body else 0)
    if version >= _TLS_1_2:
        at += 2 + int.from_bytes(body[at : at + 2])
    end, names = at + 2 + int.from_bytes(body[at : at + 2]), []
    at += 2
    while at + 2 <= min(end, len(body)):
        size = int.from_bytes(body[at : at + 2])
        names.append(body[at + 2 : at + 2 + size])
        at += 2 + size
    return tuple(names)


def _alert(ours: Side, theirs: Side) -> tuple[str, str]:
    """Return the first fatal alert that is not encrypted, and who sent it; empty if there is none."""
    for who, part in (("server", theirs), ("client", ours)):
        if part.alert is not None and part.alert[0] == _FATAL and part.alert[1] != _NO_CERTIFICATE:
            return ALERTS.get(part.alert[1], str(part.alert[1])), who
    return "", ""
