"""Network traces, pcap and pcapng, to the TCP segments that may belong to SMTP.

A trace of a busy server holds millions of packets and few of mail, so a packet is looked at in two steps: its ports
first, at the place where they usually stand, and only then the headers one by one. What passes the first step is a
segment from or to a port of SMTP, or one whose payload begins like an SMTP banner, and from then on its connection.

The formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng, with the link types of the IANA registry
(https://www.tcpdump.org/linktypes.html). dpkt reads the first interface of a pcapng file only and makes an object of
every packet, so the blocks are walked here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from struct import Struct
from typing import BinaryIO, NamedTuple

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read.capture_headers import NETWORKS, Segment, may_be_smtp, segment_of

_BLOCK = 4 << 20
_LARGEST_PACKET = 16 << 20
"""A packet that claims to be longer is damage: interfaces hand on 256 KiB at most."""
_PCAP = {
    bytes.fromhex("d4c3b2a1"): ("<", 1000),
    bytes.fromhex("a1b2c3d4"): (">", 1000),
    bytes.fromhex("4d3cb2a1"): ("<", 1),
    bytes.fromhex("a1b23c4d"): (">", 1),
}
"""Magic number -> byte order and nanoseconds in one unit of a time's fraction."""
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDERS = {bytes.fromhex("4d3c2b1a"): "<", bytes.fromhex("1a2b3c4d"): ">"}
_RESOLUTION, _OFFSET = 9, 14  # options of an interface: if_tsresol, if_tsoffset
_PCAP_HEAD = 24
_NANOSECONDS = 1_000_000_000
_ETL_MARKS = (bytes.fromhex("020001c0"), bytes.fromhex("020002c0"))
_ETL_FIRST_EVENT = 72
"""Behind the header of the first buffer (WMI_BUFFER_HEADER) stands the event that describes the file: version 2, of
type SYSTEM32 or SYSTEM64, with the flags of a trace header."""


def is_capture(head: bytes) -> bool:
    """Return whether a file begins as pcap or pcapng."""
    return head[:4] in _PCAP or (head[:4] == _SECTION.to_bytes(4) and head[8:12] in _BYTE_ORDERS)


def is_etl(head: bytes) -> bool:
    """Return whether a file begins as an event trace log of Windows (``netsh trace``, ``pktmon``)."""
    return head[_ETL_FIRST_EVENT : _ETL_FIRST_EVENT + 4] in _ETL_MARKS


def read_etl(stream: BinaryIO, source: Origin) -> Iterator[Loss]:  # noqa: ARG001  the signature of a reader
    """Yield one loss for an event trace log, which is not read: it says how to convert the file."""
    reason = (
        "an event trace log (.etl) of netsh trace or pktmon, which is not read: convert one of "
        "pktmon with pktmon etl2pcap FILE.etl --out FILE.pcapng, one of netsh trace with Microsoft's etl2pcapng "
        "(etl2pcapng FILE.etl FILE.pcapng)"
    )
    yield Loss(origin=source, reason=reason, extent="the whole file")


class Reach(NamedTuple):
    """How many packets a trace holds, and the times of the first and the last one in nanoseconds since 1970."""

    packets: int
    first: int | None
    last: int | None


class _Interface(NamedTuple):
    link: int
    unit: Callable[[int], int]


class CaptureReader:
    """Reads one trace. ``reach`` says what it held when ``segments`` is at its end.

    ``pairs`` are pairs of ports, as they stand in a TCP header, of connections on other ports that were found to be
    SMTP. It is the caller who finds that, so it adds to them while it reads.
    """

    def __init__(self, stream: BinaryIO, source: Origin) -> None:
        self._stream, self._source = stream, source
        self._buffer, self._begin = b"", 0
        self._number = 0
        self._first: int | None = None
        self._last: int | None = None
        self._unread: dict[int, int] = {}
        self.pairs: set[bytes] = set()

    @property
    def reach(self) -> Reach:
        """The packets and times that were read so far."""
        return Reach(self._number, self._first, self._last)

    def segments(self) -> Iterator[Segment | Loss]:
        """Yield the TCP segments that may belong to SMTP, in the order of the file, and at the end what was lost."""
        self._buffer = self._stream.read(_BLOCK)
        if self._buffer[:4] in _PCAP:
            yield from self._pcap()
        else:
            yield from self._pcapng()
        for link, count in sorted(self._unread.items()):
            reason = f"packets of link type {link}, which is not read (Ethernet, raw IP, loopback and Linux cooked are)"
            yield Loss(origin=self._source, reason=reason, extent=f"{count} packet{'s' if count > 1 else ''}")

    def _more(self, at: int) -> bool:
        """Drop what stands before ``at`` and read on; False at the end of the trace."""
        block = self._stream.read(_BLOCK)
        self._begin += at
        self._buffer = self._buffer[at:] + block
        return bool(block)

    def _pcap(self) -> Iterator[Segment | Loss]:
        """Yield the segments of a pcap file, block by block of what is read."""
        order, unit = _PCAP[self._buffer[:4]]
        if len(self._buffer) < _PCAP_HEAD:
            yield self._cut("inside its file header")
            return
        # The upper half of the link type field says how long the frame check sequence behind a packet is.
        link = Struct(order + "I").unpack_from(self._buffer, 20)[0] & 0xFFFF
        header, at = Struct(order + "IIII"), _PCAP_HEAD
        while True:
            at = yield from self._pcap_packets(at, header, unit, link)
            if at < 0:
                return
            if not self._more(at):
                break
            at = 0
        if len(self._buffer):
            yield self._cut("inside a packet")

    def _pcap_packets(self, at: int, header: Struct, unit: int, link: int) -> Generator[Segment | Loss, None, int]:
        """Read the packets of the buffer from ``at`` on; return where the first that is not whole begins, or -1."""
        buffer, size = self._buffer, len(self._buffer)
        time, unpack = self._last, header.unpack_from
        seconds = fraction = 0
        while at + 16 <= size:
            seconds, fraction, kept, length = unpack(buffer, at)
            start = at + 16
            end = start + kept
            if kept > _LARGEST_PACKET:
                yield self._damaged(at)
                return -1
            if end > size:
                break
            self._number += 1
            if may_be_smtp(buffer, start, end, link, self.pairs):
                time = seconds * _NANOSECONDS + fraction * unit
                yield from self._packet(buffer, at, start, end, length, link, time)
            if self._first is None:
                self._first = seconds * _NANOSECONDS + fraction * unit
            at = end
        if seconds:
            # The time of the last header in the buffer; its packet may be the first one of the next buffer.
            time = seconds * _NANOSECONDS + fraction * unit
        self._last = max(time or 0, self._last or 0) if self._number else None
        return at

    def _packet(
        self, buffer: bytes, head: int, start: int, end: int, length: int, link: int, time: int
    ) -> Iterator[Segment]:
        """Yield the TCP segment of a packet, if it has one."""
        if link not in NETWORKS:
            self._unread[link] = self._unread.get(link, 0) + 1
            return
        self._last = max(self._last or time, time)
        segment = segment_of(buffer[start:end], length, link)
        if segment is not None:
            yield segment._replace(number=self._number, offset=self._begin + head, time=time)

    def _pcapng(self) -> Iterator[Segment | Loss]:
        """Yield the segments of a pcapng file, whose byte order and interfaces each section names anew."""
        order, at = "<", 0
        interfaces: list[_Interface] = []
        while True:
            if len(self._buffer) - at < 12:  # noqa: PLR2004  type, length and length again: the smallest block
                if not self._more(at):
                    break
                at = 0
                continue
            kind = int.from_bytes(self._buffer[at : at + 4], "big" if order == ">" else "little")
            if kind == _SECTION:
                known = _BYTE_ORDERS.get(self._buffer[at + 8 : at + 12])
                if known is None:
                    yield self._damaged(at)
                    return
                order, interfaces = known, []
            length = Struct(order + "I").unpack_from(self._buffer, at + 4)[0]
            if length < 12 or length % 4 or length > _LARGEST_PACKET:  # noqa: PLR2004  as above
                yield self._damaged(at)
                return
            if at + length > len(self._buffer):
                if not self._more(at):
                    break
                at = 0
                continue
            yield from self._block(kind, at, length, order, interfaces)
            at += length
        if len(self._buffer):
            yield self._cut("inside a block")

    def _block(
        self, kind: int, at: int, length: int, order: str, interfaces: list[_Interface]
    ) -> Iterator[Segment | Loss]:
        """Yield the segment of a packet block, or keep the interface of an interface block; others hold no packet."""
        buffer = self._buffer
        if kind == _PACKET and length >= 32:  # noqa: PLR2004  the size of the block without a packet
            number, high, low, kept, whole = Struct(order + "IIIII").unpack_from(buffer, at + 8)
        elif kind == _OLD_PACKET and length >= 32:  # noqa: PLR2004  as above
            number, _, high, low, kept, whole = Struct(order + "HHIIII").unpack_from(buffer, at + 8)
        elif kind == _INTERFACE and length >= 20:  # noqa: PLR2004  as above
            interfaces.append(_interface(buffer[at + 8 : at + length - 4], order))
            return
        else:
            if kind == _SIMPLE_PACKET:
                self._number += 1
                place = self._at(at)
                yield Loss(origin=place, reason="a packet without a time (Simple Packet Block)", extent="1 packet")
            return
        self._number += 1
        start = at + 28
        if number >= len(interfaces) or kept > length - 32:
            yield Loss(
                origin=self._at(at),
                reason="a packet that names no interface of the trace, or is longer than its block",
                extent="1 packet",
            )
            return
        interface = interfaces[number]
        time = interface.unit(high << 32 | low)
        if self._first is None:
            self._first = time
        self._last = time
        if may_be_smtp(buffer, start, start + kept, interface.link, self.pairs):
            yield from self._packet(buffer, at, start, start + kept, whole, interface.link, time)

    def _at(self, at: int) -> Origin:
        return replace(self._source, record=self._number, offset=self._begin + at)

    def _cut(self, where: str) -> Loss:
        reason = f"the trace ends {where}: the recording was cut off, or the file was copied while it was written"
        return Loss(origin=self._at(0), reason=reason, extent=f"the last {len(self._buffer):,} bytes")

    def _damaged(self, at: int) -> Loss:
        reason = "the trace is damaged here: no packet begins where one must"
        return Loss(origin=self._at(at), reason=reason, extent="the rest of the trace")


def _interface(body: bytes, order: str) -> _Interface:
    """Return an interface's link type, and what makes nanoseconds of its times (if_tsresol, if_tsoffset)."""
    link, options = Struct(order + "H").unpack_from(body)[0], Struct(order + "HH")
    resolution, offset, at = 6, 0, 8
    while at + 4 <= len(body):
        code, size = options.unpack_from(body, at)
        value = body[at + 4 : at + 4 + size]
        if code == _RESOLUTION and size == 1:
            resolution = value[0]
        elif code == _OFFSET and size == 8:  # noqa: PLR2004  a 64-bit number
            offset = Struct(order + "q").unpack(value)[0]
        elif code == 0:
            break
        at += 4 + (size + 3) // 4 * 4
    # if_tsresol: the highest bit says whether the other bits are a power of two or of ten.
    divisor = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    return _Interface(link, lambda count: count * _NANOSECONDS // divisor + offset * _NANOSECONDS)
