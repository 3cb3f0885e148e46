"""Make of a connection of a trace what the report shows of its handshake, or the reason why it cannot be shown."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.handshakes import tls
from evtx_analyzer.handshakes.chains import look_at
from evtx_analyzer.handshakes.flows import Endpoint, Flow, Stream
from evtx_analyzer.handshakes.smtp import Dialog, dialog
from evtx_analyzer.model.handshake import Handshake, WireChain
from evtx_analyzer.model.origin import Origin, identify
from evtx_analyzer.read.capture_headers import PORTS

CUT = (
    "a TLS handshake of SMTP is not whole: packets were lost, or cut by the recording (pktmon keeps 128 bytes of each "
    "unless it is told --pkt-size 0), so which certificates were sent is not shown"
)
_NO_HELLO = "an SMTP connection goes over to TLS, and the beginning of its handshake is not in the trace"
_GARBAGE = "what follows STARTTLS in an SMTP connection is no TLS"
_UNREADABLE = "a certificate in a TLS handshake of SMTP cannot be parsed"
GIVEN_UP = "too many SMTP connections were open at once: the oldest were given up before their handshakes were over"
_MAIL = re.compile(rb"^MAIL FROM:", re.MULTILINE | re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_AUTHORITIES = 50
_HANDSHAKE, _ALERT = 22, 21
_SEQUENCE, _SET, _LONG, _BMP = 0x30, 0x31, 0x80, 0x1E
_STRINGS = (0x0C, 0x13, 0x14, 0x16, _BMP)  # UTF-8, printable, T.61, IA5 and BMP strings


class ClearRefusal(Struct, frozen=True):
    """A refusal with 5.7.64 that the trace shows in clear text: the session used no TLS."""

    time: datetime
    local: str
    remote: str
    origin: Origin


class Observed(Struct, frozen=True, kw_only=True):
    """What one connection shows; ``faults`` are the reasons why a part of it cannot be shown."""

    handshake: Handshake | None = None
    refusal: ClearRefusal | None = None
    faults: tuple[str, ...] = ()
    origin: Origin


def is_over(flow: Flow) -> bool:
    """Return whether the handshake of a connection has ended, or there will be none."""
    talk, client_at, server_at = _beginning(flow)
    if talk.starttls == "not-used":
        return True
    handshake = tls.read_handshake(bytes(flow.client.data), client_at, bytes(flow.server.data), server_at)
    return handshake is not None and (handshake.completed or bool(handshake.alert))


def observe(flow: Flow, source: Origin) -> Observed | None:
    """Return what a connection shows; None where it is not SMTP, or has no TLS and no refusal."""
    talk, client_at, server_at = _beginning(flow)
    place = _origin(flow.client, 0, source)
    if talk.refusal:
        local, remote = endpoint_text(flow.client_end), endpoint_text(flow.server_end)
        return Observed(origin=place, refusal=ClearRefusal(moment(flow.last), local, remote, place))
    lost = flow.client.hole or flow.server.hole
    if talk.starttls in ("not-used", "refused", "unanswered"):
        # A session without TLS has no handshake to show; but where packets are missing, STARTTLS may have been in them.
        # Other protocols greet with 220 too, so the port or EHLO must say that it is SMTP.
        unclear = lost and not _MAIL.search(flow.client.data) and talk.starttls != "refused"
        is_smtp = bool(talk.ehlo) or flow.server_end[1].to_bytes(2) in PORTS
        return Observed(origin=place, faults=(CUT,)) if unclear and is_smtp else None
    on_wire = tls.read_handshake(bytes(flow.client.data), client_at, bytes(flow.server.data), server_at)
    if on_wire is not None and on_wire.flight == "none" and lost:
        on_wire = replace(on_wire, flight="cut")
    if on_wire is None:
        behind = flow.client.data[client_at : client_at + 3]
        is_tls = len(behind) < 3 or (behind[0] in (_HANDSHAKE, _ALERT) and behind[1] == 3)  # noqa: PLR2004  major version
        return Observed(origin=place, faults=(_NO_HELLO if is_tls else _GARBAGE,)) if talk.starttls else None
    at = on_wire.hello_at if on_wire.certificate_at is None else on_wire.certificate_at
    handshake = _handshake(flow, talk, on_wire, _origin(flow.client, at, source))
    faults = [CUT] if handshake.flight == "cut" else []
    if any(certificate.fault for certificate in (*handshake.sent, *handshake.received)):
        faults.append(_UNREADABLE)
    return Observed(origin=handshake.origin, handshake=handshake, faults=tuple(faults))


def _beginning(flow: Flow) -> tuple[Dialog, int, int]:
    """Return the clear text, and the offsets at which TLS begins in both directions."""
    first = (flow.client.data[:1], flow.server.data[:1])
    if bytes((_HANDSHAKE,)) in first or bytes((_ALERT,)) in first:
        return Dialog(), 0, 0
    talk = dialog(bytes(flow.client.data), bytes(flow.server.data))
    return talk, talk.client_end, talk.server_end


def _handshake(flow: Flow, talk: Dialog, handshake: tls.Handshake, origin: Origin) -> Handshake:
    sent, sent_chain = look_at(handshake.sent)
    received, received_chain = look_at(handshake.received)
    seen = handshake.flight == "whole" or (handshake.flight == "cut" and bool(sent))
    local, remote = endpoint_text(flow.client_end), endpoint_text(flow.server_end)
    began = flow.client.mark(handshake.hello_at)
    return Handshake(
        id=identify("H", origin, f"{local}|{remote}"),
        start=moment(began.time if began else flow.first),
        opened=moment(flow.first),
        end=moment(flow.last),
        local=local,
        remote=remote,
        tls=handshake.version,
        offered=handshake.offered,
        cipher=handshake.cipher,
        server_name=handshake.server_name,
        requested=handshake.requested,
        authorities=tuple(_name(der) for der in handshake.authorities[:_MOST_AUTHORITIES]),
        authority_count=len(handshake.authorities),
        sent=sent,
        received=received,
        sent_chain=sent_chain if seen else WireChain(state="not-seen"),
        received_chain=received_chain if received else WireChain(state="not-seen"),
        proved=handshake.proved,
        flight=handshake.flight,
        completed=handshake.completed,
        renegotiated=handshake.renegotiated,
        alert=f"{handshake.alert} by {handshake.alert_by}" if handshake.alert else "",
        starttls=bool(talk.starttls),
        banner=talk.banner.partition("\n")[0].removeprefix("220").strip(" -"),
        ehlo=talk.ehlo,
        seen_address=talk.seen_address,
        rejection=None,
        origin=origin,
    )


def _origin(stream: Stream, at: int, source: Origin) -> Origin:
    """Return the packet that brought a byte of a stream; ``record`` is its number from 1, as Wireshark counts."""
    mark = stream.mark(at)
    return source if mark is None else replace(source, record=mark.number, offset=mark.offset)


def _name(der: bytes) -> str:
    """Return the strings of a distinguished name in DER, in their order (X.501, X.690): enough to know an authority."""
    texts, at = [], 0
    while at + 2 <= len(der):
        tag, size = der[at], der[at + 1]
        if tag in (_SEQUENCE, _SET):
            at += 2 + max(0, size - _LONG) if size > _LONG else 2
            continue
        if tag in _STRINGS:
            texts.append(der[at + 2 : at + 2 + size].decode("utf-16-be" if tag == _BMP else "utf-8", "replace"))
        at += 2 + size
    return ", ".join(texts)


def moment(nanoseconds: int) -> datetime:
    """Return nanoseconds since 1970 as aware UTC, to the microsecond; 1970 for a time after the year 9999."""
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return _EPOCH


def endpoint_text(endpoint: Endpoint) -> str:
    """Return ``192.0.2.1:25`` or ``[2001:db8::1]:25``, as SMTP logs write it."""
    address = ipaddress.ip_address(endpoint[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return f"[{address}]:{endpoint[1]}" if address.version == 6 else f"{address}:{endpoint[1]}"  # noqa: PLR2004  IPv6
