"""TLS handshakes as a network trace shows them. The names are the JSON contract, as those in ``evidence``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from evtx_analyzer.model.origin import Origin

ChainState = Literal["not-seen", "empty", "unreadable", "self-signed", "alone", "open", "private-root", "complete"]
Flight = Literal["whole", "resumed", "hidden", "cut", "repeated", "none"]
Join = Literal["", "endpoints", "port", "thumbprint", "address"]


class WireCertificate(Struct, frozen=True, kw_only=True):
    """A certificate of a TLS Certificate message; ``thumbprint`` is its SHA-1 in upper case, times are UTC.

    ``issued_by_next`` is whether the following certificate of the message issued this one: True where its name is that
    of the issuer and its key verifies the signature, None for the last one and where that cannot be said.
    ``issuer_is_public_root`` is whether the issuer is a public root, by name and key id. ``publicly_logged`` is whether
    it holds what only public authorities put into certificates: a list of signed certificate timestamps (RFC 6962) and
    a policy of the CA/Browser Forum. ``fault`` says why a certificate could not be parsed; it has no names then.
    """

    thumbprint: str
    subject: str
    issuer: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    serial: str = ""
    alternate_names: tuple[str, ...] = ()
    subject_key_id: str = ""
    authority_key_id: str = ""
    issuer_urls: tuple[str, ...] = ()
    issued_by_next: bool | None = None
    issuer_is_public_root: bool = False
    self_signed: bool = False
    publicly_logged: bool = False
    fault: str = ""


class WireChain(Struct, frozen=True, kw_only=True):
    """What the certificates of one side amount to, whatever their order.

    ``state`` is ``not-seen`` (hidden, resumed, cut), ``empty``, ``unreadable``, ``self-signed`` (one certificate that
    is its own issuer), ``alone`` (one certificate whose issuer is neither sent nor a public root), ``open`` (its
    issuer is sent, or it is doubtful, and the chain does not lead to a root), ``private-root`` (it leads to a root
    that is sent and is not public), or ``complete`` (it leads to a public root). ``path`` are the places of the
    certificates on the way from the first one up. ``ordered`` is whether they were sent in this order, as RFC 5246
    asks. Of a chain that leads to no root, ``missing_issuer``, ``missing_key_id`` and ``missing_issuer_urls`` name the
    issuer that would come next, and where it is published.
    """

    state: ChainState
    path: tuple[int, ...] = ()
    ordered: bool = True
    missing_issuer: str = ""
    missing_key_id: str = ""
    missing_issuer_urls: tuple[str, ...] = ()


_NOT_SEEN = WireChain(state="not-seen")


class Handshake(Struct, frozen=True, kw_only=True):
    """One TLS handshake of SMTP.

    ``local`` (the client) and ``remote`` are ``address:port``; ``start`` is when the client began the handshake, by the
    clock of the trace, and ``opened`` and ``end`` when the connection was first and last seen. ``tls`` is the version
    agreed on, empty where it is not seen, ``offered`` the highest one that the client offers. ``requested`` is whether
    the server asked for a certificate, None where that cannot be seen; ``authorities`` are the first of the
    ``authority_count`` names that it gave. ``sent`` and ``received`` are the certificates of the client and of the
    server in the order of the wire, ``sent_chain`` and ``received_chain`` what they amount to. ``proved`` is whether
    the client proved that it has the key (CertificateVerify). ``alert`` is the fatal alert and who sent it
    (``protocol_version by server``), empty where there was none.

    ``flight`` says how much of the client's answer is seen: ``whole``; ``resumed``, which has no certificates;
    ``hidden`` by TLS 1.3; ``cut`` where the trace lacks something; ``repeated`` where there are two; ``none`` where the
    client did not go on. ``completed`` is whether both sides went on to encrypted data, ``renegotiated`` whether
    another handshake, which is not seen, followed there.

    ``starttls`` is False where the trace shows no STARTTLS before the handshake: implicit TLS (port 465), or a
    recording that started later. ``banner``, ``ehlo`` and ``seen_address`` were sent before, in clear text.

    ``rejection`` is the id of the refusal in this connection. ``join`` is how the two were found to belong together:
    by both ``endpoints`` and time, or where an address was translated on the way, by the client's ``port``, the
    server's endpoint, the certificate and time; these two are the refused connection itself. ``thumbprint`` (the same
    certificate at the same time) and ``address`` (the same server at the same time) may be another connection.
    ``time_offset`` is the handshake's time minus that of the log, in seconds. ``signals`` are the rules that hold.
    """

    id: str
    start: datetime
    local: str
    remote: str
    tls: str
    requested: bool | None
    sent: tuple[WireCertificate, ...]
    received: tuple[WireCertificate, ...]
    alert: str
    rejection: str | None
    origin: Origin
    opened: datetime | None = None
    end: datetime | None = None
    offered: str = ""
    cipher: str = ""
    server_name: str = ""
    starttls: bool = True
    banner: str = ""
    ehlo: str = ""
    seen_address: str = ""
    authorities: tuple[str, ...] = ()
    authority_count: int = 0
    proved: bool = False
    flight: Flight = "none"
    completed: bool = False
    renegotiated: bool = False
    sent_chain: WireChain = _NOT_SEEN
    received_chain: WireChain = _NOT_SEEN
    join: Join = ""
    time_offset: float | None = None
    signals: tuple[str, ...] = ()
