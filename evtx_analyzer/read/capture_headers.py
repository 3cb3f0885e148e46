"""Headers of packets: from the link layer over IP (RFC 791, RFC 8200) to TCP (RFC 9293)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

PORTS = frozenset(port.to_bytes(2) for port in (25, 465, 587, 2525))
"""Ports of SMTP, as they stand in a TCP header."""
FIN, SYN, RST, ACK = 1, 2, 4, 16

_ETHERNET, _NULL, _RAW, _OPENBSD_RAW, _RAW_IP, _LOOP, _COOKED, _IP4, _IP6, _COOKED_2 = (
    *(1, 0, 12, 14, 101, 108, 113, 228, 229, 276),
)
NETWORKS = frozenset((_ETHERNET, _NULL, _RAW, _OPENBSD_RAW, _RAW_IP, _LOOP, _COOKED, _IP4, _IP6, _COOKED_2))
"""Link types that are read."""
_FIXED = {_NULL: 4, _LOOP: 4, _RAW: 0, _OPENBSD_RAW: 0, _RAW_IP: 0, _COOKED: 16, _IP4: 0, _IP6: 0, _COOKED_2: 20}
_TYPE_IP4, _TYPE_IP6 = b"\x08\x00", b"\x86\xdd"
_TAGS = frozenset((b"\x81\x00", b"\x88\xa8", b"\x91\x00"))  # IEEE 802.1Q, 802.1ad, and what was used before it
_TCP = 6
_FRAGMENT, _AUTHENTICATION = 44, 51
# Headers before TCP in IPv6 (RFC 8200 4): hop-by-hop options, routing, destination options, mobility, and these two.
_EXTENSIONS = frozenset((0, 43, 60, 135, _FRAGMENT, _AUTHENTICATION))
_BANNER = b"220"
_TCP_HEAD = Struct(">HHII")
_USUAL = 54  # Ethernet, IPv4 and TCP without options


class Segment(NamedTuple):
    """One TCP segment. Addresses are packed, ``time`` is in nanoseconds since 1970.

    ``number`` counts the packets of the trace from 1, as Wireshark does; ``offset`` is where the packet begins in the
    file. ``cut`` is how many bytes of the payload the trace does not hold (snap length).
    """

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    sequence: int
    flags: int
    payload: bytes
    cut: int
    number: int = 0
    offset: int = 0
    time: int = 0


def may_be_smtp(buffer: bytes, at: int, end: int, link: int, pairs: set[bytes]) -> bool:
    """Return whether a packet needs a closer look, by its ports and the first bytes of its payload.

    Nearly all packets are Ethernet, IPv4 or IPv6, and TCP: these are judged here, all others need the closer look. This
    runs for every packet of a trace, so it makes no object that it can do without.
    """
    if link != _ETHERNET or end - at < _USUAL:
        return True
    kind = buffer[at + 12 : at + 14]
    if kind == _TYPE_IP4:
        if buffer[at + 23] != _TCP:
            return False
        tcp = at + 14 + (buffer[at + 14] & 15) * 4
    elif kind == _TYPE_IP6:
        if buffer[at + 20] != _TCP:
            return buffer[at + 20] in _EXTENSIONS
        tcp = at + 54
    else:
        return kind in _TAGS
    if buffer[tcp : tcp + 2] in PORTS or buffer[tcp + 2 : tcp + 4] in PORTS:
        return True
    if pairs and buffer[tcp : tcp + 4] in pairs:
        return True
    data = tcp + (buffer[tcp + 12] >> 4) * 4 if tcp + 12 < end else end
    return buffer[data : data + 3] == _BANNER and data < end


def segment_of(packet: bytes, length: int, link: int) -> Segment | None:
    """Return the TCP segment in a packet; None where it holds none that can be used.

    ``length`` is how long the packet was on the wire. Of a datagram in fragments only the first one has a TCP header:
    what the others hold is missing from the connection, as if they had been lost.
    """
    at = _network(packet, link)
    if at is None or at >= len(packet):
        return None
    version = packet[at] >> 4
    if version == 4:  # noqa: PLR2004  the version of IP
        return _ip4(packet, at, length)
    return _ip6(packet, at, length) if version == 6 else None  # noqa: PLR2004  the same


def _network(packet: bytes, link: int) -> int | None:
    """Return where the IP header begins; None where the frame carries no IP."""
    if link != _ETHERNET:
        return _FIXED[link]
    at = 12
    while packet[at : at + 2] in _TAGS:
        at += 4
    return at + 2 if packet[at : at + 2] in (_TYPE_IP4, _TYPE_IP6) else None


def _ip4(packet: bytes, at: int, length: int) -> Segment | None:
    if len(packet) < at + 20 or packet[at + 9] != _TCP:
        return None
    if int.from_bytes(packet[at + 6 : at + 8]) & 0x1FFF:
        return None  # a later fragment
    # A network card that cuts large segments itself (TSO) lets the trace see them before they have a length.
    total = int.from_bytes(packet[at + 2 : at + 4]) or length - at
    return _tcp(packet, at + (packet[at] & 15) * 4, at + total, packet[at + 12 : at + 16], packet[at + 16 : at + 20])


def _ip6(packet: bytes, at: int, length: int) -> Segment | None:
    """Return the TCP segment of an IPv6 packet, which may stand behind extension headers."""
    if len(packet) < at + 40:
        return None
    payload = int.from_bytes(packet[at + 4 : at + 6])
    end = at + 40 + payload if payload else length
    following, place = packet[at + 6], at + 40
    while following in _EXTENSIONS:
        if len(packet) < place + 8:
            return None
        if following == _FRAGMENT and int.from_bytes(packet[place + 2 : place + 4]) & 0xFFF8:
            return None  # a later fragment
        # The length byte counts units of 8 bytes after the first 8; that of an authentication header, of 4 (RFC 4302).
        size = {_FRAGMENT: 8, _AUTHENTICATION: (packet[place + 1] + 2) * 4}.get(following, (packet[place + 1] + 1) * 8)
        following, place = packet[place], place + size
    if following != _TCP:
        return None
    return _tcp(packet, place, end, packet[at + 8 : at + 24], packet[at + 24 : at + 40])


def _tcp(packet: bytes, at: int, end: int, source: bytes, target: bytes) -> Segment | None:
    """Return the TCP segment that begins at ``at``; None where its header is cut.

    ``end`` is where the datagram ends by its own length; a frame may be longer (padding) or cut.
    """
    if len(packet) < at + 14:
        return None
    source_port, target_port, sequence, _ = _TCP_HEAD.unpack_from(packet, at)
    data = at + (packet[at + 12] >> 4) * 4
    payload = packet[data:end] if data <= end else b""
    cut = max(0, end - data - len(payload))
    return Segment((source, source_port), (target, target_port), sequence, packet[at + 13], payload, cut)
