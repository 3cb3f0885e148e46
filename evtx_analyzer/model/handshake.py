"""TLS handshakes as a network trace shows them. The names are the JSON contract, as those in ``evidence``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evtx_analyzer.model.origin import Origin


class WireCertificate(Struct, frozen=True, kw_only=True):
    """A certificate of a TLS Certificate message; ``thumbprint`` is its SHA-1 in upper case, times are UTC."""

    thumbprint: str
    subject: str
    issuer: str
    not_before: datetime | None = None
    not_after: datetime | None = None


class Handshake(Struct, frozen=True, kw_only=True):
    """One TLS handshake of SMTP.

    ``local`` (the client) and ``remote`` are ``address:port``; ``tls`` is the version agreed on, empty where it is not
    seen. ``requested`` is whether the server asked for a certificate, None where that cannot be seen. ``sent`` and
    ``received`` are the certificates of the client and of the server in the order of the wire. ``alert`` is the fatal
    alert and who sent it, empty where there was none; ``rejection`` the id of the refusal in this connection.
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
