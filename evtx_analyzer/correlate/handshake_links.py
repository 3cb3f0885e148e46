"""Which TLS handshake of a network trace is that of a refused connection.

A wrong pair would make a wrong proof, so a pair is made only where nothing else could be meant:

- ``endpoints``: address and port of both sides are those of the Send log, less than a minute apart. The port of the
  client is used again only after many minutes.
- ``port``: one side's address was translated on the way (NAT), and address and port of the other side, the client's
  port and the certificate are those of the log, within seconds.
- ``thumbprint`` and ``address``: the same certificate, or where the log shows none the same server, within seconds.
  That may be another connection beside the refused one, so it is never proof.

Whatever is not unique in both directions is no pair. A certificate that differs from the log's takes a pair apart: then
one of the clocks, or the address, is not what it seems.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from evtx_analyzer.clock import is_known
from evtx_analyzer.exchange_online import parse_address
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.handshake import Handshake, Join, WireCertificate

PROOF: tuple[Join, ...] = ("endpoints", "port")
"""Pairs that are the refused connection itself."""
SAME_CONNECTION, _TRANSLATED, _NEAR = 60.0, 10.0, 5.0
_BEFORE, _AFTER = timedelta(minutes=15), timedelta(seconds=10)
"""How long before a refusal its connection may have begun, where addresses do not tell which one it is."""


class _Session(NamedTuple):
    """One refused session: its first refusal stands for all of them."""

    rejection: Rejection
    time: datetime
    local: tuple[str, int]
    remote: tuple[str, int]
    thumbprint: str


def joined(handshakes: Iterable[Handshake], rejections: Iterable[Rejection]) -> list[Handshake]:
    """Return the handshakes; those of refused connections name the refusal and how it was found."""
    sessions = _sessions(rejections)
    rest = sorted(handshakes, key=lambda handshake: (handshake.start, handshake.id))
    if not sessions or not rest:
        return rest
    pairs: dict[int, tuple[_Session, Join]] = {}
    ends = [(_endpoint(item.local), _endpoint(item.remote)) for item in rest]
    by_ends: dict[tuple[tuple[str, int], tuple[str, int]], list[int]] = {}
    for place, both in enumerate(ends):
        by_ends.setdefault(both, []).append(place)
    free: list[_Session] = []
    for session in sessions:
        near = [
            place
            for place in by_ends.get((session.local, session.remote), ())
            if _apart(rest[place], session) <= SAME_CONNECTION
        ]
        # Two recordings of one connection may both be there; what they show must not differ.
        if near and all(_agree(rest[place], session) for place in near) and _alike([rest[place] for place in near]):
            pairs |= dict.fromkeys(near, (session, "endpoints"))
        elif not near:
            free.append(session)
    starts = [item.start for item in rest]
    for join, fits in _WEAKER:
        edges = [
            (place, session)
            for session in free
            for place in _between(starts, session.time)
            if place not in pairs and fits(rest[place], ends[place], session)
        ]
        degrees = Counter(place for place, _ in edges), Counter(session.rejection.id for _, session in edges)
        for place, session in edges:
            if degrees[0][place] == degrees[1][session.rejection.id] == 1:
                pairs[place] = (session, join)
        # A session that has several candidates is not tried by weaker means: one of them is it.
        free = [session for session in free if not degrees[1][session.rejection.id]]
    return [_with(item, pairs.get(place)) for place, item in enumerate(rest)]


def with_certificates(rejections: Iterable[Rejection], handshakes: Iterable[Handshake]) -> list[Rejection]:
    """Return the refusals; where the log does not show which certificate was sent, the refused connection's does."""
    sent = {
        handshake.rejection: handshake.sent[0]
        for handshake in handshakes
        if handshake.rejection
        and handshake.join in PROOF
        and handshake.sent
        and handshake.flight == "whole"
        and not handshake.sent[0].fault
    }
    found = []
    for rejection in rejections:
        leaf = sent.get(rejection.id)
        shown = rejection.sent is not None or (rejection.from_start and bool(rejection.tls))
        if leaf is None or shown:
            found.append(rejection)
            continue
        found.append(replace(rejection, sent=certificate_of(leaf)))
    return found


def wire_certificates(handshakes: Iterable[Handshake]) -> list[Certificate]:
    """Return the certificates of all handshakes, each once."""
    shown = (part for handshake in handshakes for part in (*handshake.sent, *handshake.received) if not part.fault)
    return [certificate_of(part) for part in dict.fromkeys(shown)]


def certificate_of(shown: WireCertificate) -> Certificate:
    """Return a certificate of the wire as logs and files show certificates."""
    return Certificate(
        thumbprint=shown.thumbprint,
        subject=shown.subject,
        issuer=shown.issuer,
        serial=shown.serial,
        not_before=shown.not_before,
        not_after=shown.not_after,
        alternate_names=shown.alternate_names,
        subject_key_id=shown.subject_key_id,
        authority_key_id=shown.authority_key_id,
        issuer_urls=shown.issuer_urls,
    )


def is_conclusive(handshake: Handshake) -> bool:
    """Whether the handshake shows all that the client sent: nothing is cut or hidden, and no other one followed."""
    return handshake.flight == "whole" and handshake.completed and not handshake.renegotiated


def seconds_apart(handshake: Handshake, time: datetime) -> float:
    """The handshake's time minus another one, in seconds."""
    return (handshake.start - time).total_seconds()


def _between(starts: Sequence[datetime], time: datetime) -> range:
    """The places of handshakes that may belong to a session of this time."""
    return range(bisect_left(starts, time - _BEFORE), bisect_right(starts, time + _AFTER))


def _sessions(rejections: Iterable[Rejection]) -> list[_Session]:
    found: dict[tuple[object, ...], _Session] = {}
    for rejection in sorted(rejections, key=lambda item: (item.time, item.id)):
        if not is_known(rejection.time_basis) or not rejection.remote_endpoint:
            continue
        time = rejection.handshake_time or rejection.time
        key = (
            rejection.kind,
            rejection.host,
            rejection.local_endpoint,
            rejection.remote_endpoint,
            rejection.session or time,
        )
        session = _Session(
            rejection,
            time,
            _endpoint(rejection.local_endpoint),
            _endpoint(rejection.remote_endpoint),
            rejection.sent.thumbprint if rejection.sent else "",
        )
        found.setdefault(key, session)
    return list(found.values())


def _endpoint(text: str) -> tuple[str, int]:
    """Address and port; the port is 0 where the text has none."""
    address = parse_address(text)
    port = text.strip().rpartition(":")[2] if text.strip().startswith("[") or text.count(":") == 1 else ""
    return ("" if address is None else str(address), int(port) if port.isdecimal() else 0)


def _apart(handshake: Handshake, session: _Session) -> float:
    """How far the log's time lies outside of the connection, in seconds."""
    first, last = handshake.opened or handshake.start, handshake.end or handshake.start
    return max((first - session.time).total_seconds(), (session.time - last).total_seconds(), 0.0)


def _agree(handshake: Handshake, session: _Session) -> bool:
    """Whether the certificate is the log's, as far as both show one.

    That the log names a certificate and the wire shows none is no contradiction: Exchange writes which one it chose,
    and Windows decides whether it is sent.
    """
    shown = handshake.sent[0].thumbprint if handshake.flight == "whole" and handshake.sent else ""
    return not shown or not session.thumbprint or shown == session.thumbprint


def _alike(handshakes: Sequence[Handshake]) -> bool:
    """Whether several recordings can be of one connection."""
    whole = {
        tuple(part.thumbprint for part in handshake.sent) for handshake in handshakes if handshake.flight == "whole"
    }
    return len(whole) <= 1


def _same_certificate(handshake: Handshake, session: _Session) -> bool:
    sent = handshake.sent
    return (
        bool(sent and session.thumbprint) and handshake.flight == "whole" and sent[0].thumbprint == session.thumbprint
    )


_Ends = tuple[tuple[str, int], tuple[str, int]]


def _by_port(handshake: Handshake, ends: _Ends, session: _Session) -> bool:
    """Whether one address was translated, with the client's port kept."""
    (_, local_port), remote = ends
    if not session.local[1] or local_port != session.local[1] or not _same_certificate(handshake, session):
        return False
    one_side = remote == session.remote or (ends[0] == session.local and remote[1] == session.remote[1])
    return one_side and _apart(handshake, session) <= _TRANSLATED


def _by_thumbprint(handshake: Handshake, ends: _Ends, session: _Session) -> bool:
    if session.local[1] and ends[0][0] == session.local[0] and ends[0][1] != session.local[1]:
        return False  # another port of the same address is another connection
    return _same_certificate(handshake, session) and _apart(handshake, session) <= _NEAR


def _by_address(handshake: Handshake, ends: _Ends, session: _Session) -> bool:
    """For logs that show neither ports nor certificates (IIS): the same server, the same name in EHLO."""
    if session.local[1] or session.thumbprint or ends[1][0] != session.remote[0]:
        return False
    names = {name.casefold() for name in (handshake.ehlo, session.rejection.helo) if name}
    return len(names) <= 1 and _apart(handshake, session) <= _NEAR


_WEAKER: tuple[tuple[Join, Callable[[Handshake, _Ends, _Session], bool]], ...] = (
    ("port", _by_port),
    ("thumbprint", _by_thumbprint),
    ("address", _by_address),
)


def _with(handshake: Handshake, pair: tuple[_Session, Join] | None) -> Handshake:
    if pair is None:
        return handshake
    session, join = pair
    offset = round(seconds_apart(handshake, session.time), 6)
    return replace(handshake, rejection=session.rejection.id, join=join, time_offset=offset)
