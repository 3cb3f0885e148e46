"""Put TCP connections of SMTP together from segments (RFC 9293): in order, without repetitions, up to the first hole.

Only the beginning of each direction is kept, which holds the handshake; the mail behind it is not needed. Memory is
bounded, however large the trace is. A connection that is closed before its end for this reason has ``given_up``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Struct, field

from evtx_analyzer.read.capture_headers import ACK, FIN, PORTS, RST, SYN, Segment

Endpoint = tuple[bytes, int]
ENOUGH = 32 << 10
"""Bytes of one direction after which ``is_over`` is asked for the first time."""
_MOST_OF_A_DIRECTION = 256 << 10
"""More than a handshake with a hundred certificates. TLS allows 16 MiB for a message, Windows takes 64 KiB."""
_MOST_PENDING = 256
_MOST_BEGUN, _MOST_OPEN, _MOST_BYTES = 16_384, 8_192, 96 << 20
_HALF = 1 << 31
_OPENING = (b"220", b"EHLO", b"ehlo", b"HELO", b"helo")
_HANDSHAKE_RECORD = b"\x16\x03"
_CLIENT_HELLO, _SERVER_HELLO = 1, 2


class Mark(NamedTuple):
    """Where a part of a stream came from: offset of its first byte, and number, file offset and time of its packet."""

    at: int
    number: int
    offset: int
    time: int


class Stream(Struct):
    """One direction of a connection; ``base`` is the sequence number of its first byte.

    ``conflict`` is set where the same bytes came twice and differed: what came later is not used. ``pending`` are
    segments that came before the bytes in front of them.
    """

    data: bytearray = field(default_factory=bytearray)
    marks: list[Mark] = []
    base: int | None = None
    ended: bool = False
    conflict: bool = False
    pending: dict[int, Segment] = {}

    @property
    def hole(self) -> bool:
        """True where bytes are not in the trace, so that ``data`` ends before the stream does."""
        return self.conflict or bool(self.pending)

    def mark(self, at: int) -> Mark | None:
        """Return the mark of the packet that brought a byte; None where no packet did."""
        place = bisect_right(self.marks, at, key=lambda mark: mark.at) - 1
        return self.marks[place] if place >= 0 else None

    def add(self, segment: Segment) -> int:
        """Add a segment; return by how many bytes ``data`` grew."""
        if self.base is None:
            self.base = segment.sequence
        before = len(self.data)
        if not self.conflict and before < _MOST_OF_A_DIRECTION:
            self._take(segment)
            while not self.conflict and (following := self._next()) is not None:
                self._take(following)
        return len(self.data) - before

    def _next(self) -> Segment | None:
        """Return a waiting segment that continues the data or repeats a part of it, and let it wait no longer."""
        place = next((place for place in self.pending if place <= len(self.data)), None)
        return None if place is None else self.pending.pop(place)

    def _take(self, segment: Segment) -> None:
        assert self.base is not None
        size = len(self.data)
        place = (segment.sequence - self.base) & 0xFFFFFFFF
        if place >= _HALF:
            place -= _HALF * 2
        payload = segment.payload
        if place > size:
            if len(self.pending) < _MOST_PENDING and place < size + _MOST_OF_A_DIRECTION:
                self.pending.setdefault(place, segment)
            return
        known, new = self.data[max(place, 0) : place + len(payload)], payload[size - place :]
        # A keep-alive probe repeats one byte, which may have any value (RFC 9293 3.8.4): it is no conflict.
        if len(payload) > 1 and known != payload[max(-place, 0) : max(-place, 0) + len(known)]:
            self.conflict = True
            return
        if new:
            self.marks.append(Mark(size, segment.number, segment.offset, segment.time))
            self.data += new
        if segment.cut:
            # The recording cut the packet (snap length): a hole begins here, even if no packet follows.
            self.pending.setdefault(len(self.data) + segment.cut, segment._replace(payload=b"", cut=0))


class Flow(Struct):
    """One connection; ``started`` is True where its SYN is in the trace, times are nanoseconds since 1970.

    ``finished`` is set where its handshake is over and no more data is needed, ``given_up`` where it was closed before
    its end because too many were open.
    """

    client_end: Endpoint
    server_end: Endpoint
    first: int
    last: int
    started: bool
    client: Stream = field(default_factory=Stream)
    server: Stream = field(default_factory=Stream)
    finished: bool = False
    given_up: bool = False

    @property
    def size(self) -> int:
        """Number of bytes that are kept."""
        return len(self.client.data) + len(self.server.data)


class Flows:
    """The open connections: segments are added, and each connection is yielded when it ends."""

    def __init__(
        self,
        is_over: Callable[[Flow], bool],
        *,
        most_open: int = _MOST_OPEN,
        most_bytes: int = _MOST_BYTES,
        pairs: set[bytes] | None = None,
    ) -> None:
        """``is_over`` decides whether a handshake has ended; to ``pairs``, unusual ports of SMTP are added in pairs."""
        self._is_over, self._most_open, self._most_bytes = is_over, most_open, most_bytes
        self._pairs = set[bytes]() if pairs is None else pairs
        # The oldest entry is needed often, and an ordinary dict finds it slowly after deletions.
        self._begun: OrderedDict[tuple[Endpoint, Endpoint], Flow] = OrderedDict()
        self._open: OrderedDict[tuple[Endpoint, Endpoint], Flow] = OrderedDict()
        self._bytes = 0
        self.given_up = 0

    def add(self, segment: Segment) -> Iterator[Flow]:
        """Add a segment; yield the connections that end with it."""
        ends = segment.source, segment.target
        key = ends if ends[0] < ends[1] else ends[::-1]
        flow = self._open.get(key) or self._begun.get(key)
        if segment.flags & SYN and flow is not None and _begins_anew(flow, segment):
            yield from self._close(key)
            flow = None
        if flow is None:
            flow = _new_flow(segment)
            if flow is None:
                return
            self._begun[key] = flow
            if len(self._begun) > _MOST_BEGUN:
                # No data came on it yet: if some comes, ``_new_flow`` recognizes its first words.
                self._begun.popitem(last=False)
        flow.last = max(flow.last, segment.time)
        stream = flow.client if segment.source == flow.client_end else flow.server
        if segment.flags & SYN:
            stream.base = (segment.sequence + 1) & 0xFFFFFFFF
        elif segment.payload or segment.cut:
            yield from self._data(key, flow, stream, segment)
        stream.ended = stream.ended or bool(segment.flags & FIN)
        if segment.flags & RST or (flow.client.ended and flow.server.ended):
            yield from self._close(key)

    def rest(self) -> Iterator[Flow]:
        """Yield the connections that were open at the end of the trace."""
        for key in list(self._open):
            yield from self._close(key)

    def _data(self, key: tuple[Endpoint, Endpoint], flow: Flow, stream: Stream, segment: Segment) -> Iterator[Flow]:
        if key in self._begun:
            self._open[key] = self._begun.pop(key)
            if segment.source[1].to_bytes(2) not in PORTS and segment.target[1].to_bytes(2) not in PORTS:
                self._learn(flow)
        if flow.finished:
            return
        before = len(stream.data)
        self._bytes += stream.add(segment)
        if before < ENOUGH <= len(stream.data) or len(stream.data) >= _MOST_OF_A_DIRECTION:
            flow.finished = self._is_over(flow) or len(stream.data) >= _MOST_OF_A_DIRECTION
        while self._bytes > self._most_bytes or len(self._open) > self._most_open:
            oldest = next(iter(self._open))
            self._open[oldest].given_up = not self._open[oldest].finished
            self.given_up += self._open[oldest].given_up
            yield from self._close(oldest)

    def _learn(self, flow: Flow) -> None:
        client, server = flow.client_end[1].to_bytes(2), flow.server_end[1].to_bytes(2)
        if len(self._pairs) < 1 << 16:
            self._pairs.update((client + server, server + client))

    def _close(self, key: tuple[Endpoint, Endpoint]) -> Iterator[Flow]:
        self._begun.pop(key, None)
        flow = self._open.pop(key, None)
        if flow is not None:
            self._bytes -= flow.size
            yield flow


def _begins_anew(flow: Flow, segment: Segment) -> bool:
    """Return whether a SYN begins a new connection between the same ports, and does not repeat that of the old one."""
    stream = flow.client if segment.source == flow.client_end else flow.server
    return stream.base is not None and stream.base != (segment.sequence + 1) & 0xFFFFFFFF


def _new_flow(segment: Segment) -> Flow | None:
    """Return a connection that begins with this segment: with a SYN, or with words that only come first.

    None for any other segment: the recording started in the middle of its connection, which cannot be read.
    """
    source, target, payload = segment.source, segment.target, segment.payload
    if segment.flags & SYN:
        client, server = (target, source) if segment.flags & ACK else (source, target)
        return Flow(client, server, segment.time, segment.time, started=True)
    to_server = target[1].to_bytes(2) in PORTS
    if payload[:2] == _HANDSHAKE_RECORD and len(payload) > 5 and payload[5] in (_CLIENT_HELLO, _SERVER_HELLO):  # noqa: PLR2004  behind the head of the record
        to_server = payload[5] == _CLIENT_HELLO
    elif payload[:3] == _OPENING[0]:
        to_server = False
    elif not payload.startswith(_OPENING):
        return None
    client, server = (source, target) if to_server else (target, source)
    return Flow(client, server, segment.time, segment.time, started=False)
