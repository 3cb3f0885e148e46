"""Joins TLS handshakes of a network trace with refusals.

A wrong pair would be a wrong proof, so a pair is made only where no other one is possible:

- ``endpoints``: address and port of both sides are those of the Send log, less than a minute apart. The port of the
  client is used again only after many minutes.
- ``port``: one side's address was translated on the way (NAT), and address and port of the other side, the client's
  port and the certificate are those of the log, within seconds.
- ``thumbprint`` and ``address``: the same certificate, or where the log shows none the same server, within seconds.
  That may be another connection than the refused one, so it is never proof.

A pair that is not unique in both directions is not made, nor is one whose certificate differs from the log's: then one
of the clocks, or the address, is not what it seems.
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
    """Return the handshakes in the order of time; those of refused connections name the refusal and the ``join``."""
    sessions = _sessions(rejections)
    ordered = sorted(handshakes, key=lambda handshake: (handshake.start, handshake.id))
    if not sessions or not ordered:
        return ordered
    pairs: dict[int, tuple[_Session, Join]] = {}
    ends = [(_endpoint(handshake.local), _endpoint(handshake.remote)) for handshake in ordered]
    by_ends: dict[tuple[tuple[str, int], tuple[str, int]], list[int]] = {}
    for place, both in enumerate(ends):
        by_ends.setdefault(both, []).append(place)
    free: list[_Session] = []
    for session in sessions:
        places = by_ends.get((session.local, session.remote), ())
        near = [place for place in places if _apart(ordered[place], session) <= SAME_CONNECTION]
        recordings = [ordered[place] for place in near]
        # The trace may hold two recordings of one connection; they must not differ in what they show.
        if near and all(_agree(handshake, session) for handshake in recordings) and _alike(recordings):
            pairs |= dict.fromkeys(near, (session, "endpoints"))
        elif not near:
            free.append(session)
    starts = [handshake.start for handshake in ordered]
    for join, fits in _WEAKER:
        edges = [
            (place, session)
            for session in free
            for place in range(bisect_left(starts, session.time - _BEFORE), bisect_right(starts, session.time + _AFTER))
            if place not in pairs and fits(ordered[place], ends[place], session)
        ]
        degrees = Counter(place for place, _ in edges), Counter(session.rejection.id for _, session in edges)
        for place, session in edges:
            if degrees[0][place] == degrees[1][session.rejection.id] == 1:
                pairs[place] = (session, join)
        # A session with several candidates is not tried by weaker means: it is one of those, and which is not known.
        free = [session for session in free if not degrees[1][session.rejection.id]]
    for place, (session, join) in pairs.items():
        offset = round((ordered[place].start - session.time).total_seconds(), 6)
        ordered[place] = replace(ordered[place], rejection=session.rejection.id, join=join, time_offset=offset)
    return ordered


def with_certificates(rejections: Iterable[Rejection], handshakes: Iterable[Handshake]) -> list[Rejection]:
    """Return the refusals; one whose log does not show what was sent gets the certificate of its handshake."""
    own = [shown for shown in handshakes if shown.rejection and shown.join in PROOF and shown.flight == "whole"]
    sent = {shown.rejection: shown.sent[0] for shown in own if shown.sent and not shown.sent[0].fault}
    completed = []
    for rejection in rejections:
        leaf = sent.get(rejection.id)
        shown = rejection.sent is not None or (rejection.from_start and bool(rejection.tls))
        completed.append(rejection if leaf is None or shown else replace(rejection, sent=certificate_of(leaf)))
    return completed


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
    """Return whether a handshake shows all that the client sent: nothing is cut or hidden, and no other followed."""
    return handshake.flight == "whole" and handshake.completed and not handshake.renegotiated


def _sessions(rejections: Iterable[Rejection]) -> list[_Session]:
    sessions: dict[tuple[object, ...], _Session] = {}
    for rejection in sorted(rejections, key=lambda rejection: (rejection.time, rejection.id)):
        if not is_known(rejection.time_basis) or not rejection.remote_endpoint:
            continue
        time = rejection.handshake_time or rejection.time
        local, remote, sent = rejection.local_endpoint, rejection.remote_endpoint, rejection.sent
        key = (rejection.kind, rejection.host, local, remote, rejection.session or time)
        thumbprint = sent.thumbprint if sent else ""
        sessions.setdefault(key, _Session(rejection, time, _endpoint(local), _endpoint(remote), thumbprint))
    return list(sessions.values())


def _endpoint(text: str) -> tuple[str, int]:
    """Return address and port of an endpoint; an empty text and 0 for what it does not name."""
    address = parse_address(text)
    port = text.strip().rpartition(":")[2] if text.strip().startswith("[") or text.count(":") == 1 else ""
    return ("" if address is None else str(address), int(port) if port.isdecimal() else 0)


def _apart(handshake: Handshake, session: _Session) -> float:
    """Return how many seconds the log's time lies outside of the connection; 0 if it lies within."""
    first, last = handshake.opened or handshake.start, handshake.end or handshake.start
    return max((first - session.time).total_seconds(), (session.time - last).total_seconds(), 0.0)


def _agree(handshake: Handshake, session: _Session) -> bool:
    """Return whether the certificate is the log's, as far as both show one.

    A certificate in the log and none on the wire is no contradiction: Exchange logs which one it chose, and Windows
    decides whether it is sent.
    """
    shown = handshake.sent[0].thumbprint if handshake.flight == "whole" and handshake.sent else ""
    return not shown or not session.thumbprint or shown == session.thumbprint


def _alike(handshakes: Sequence[Handshake]) -> bool:
    """Return whether several recordings can be of one connection."""
    whole = [handshake.sent for handshake in handshakes if handshake.flight == "whole"]
    return len({tuple(part.thumbprint for part in sent) for sent in whole}) <= 1


def _same_certificate(handshake: Handshake, session: _Session) -> bool:
    shown = handshake.sent[0].thumbprint if handshake.flight == "whole" and handshake.sent else ""
    return bool(session.thumbprint) and shown == session.thumbprint


_Ends = tuple[tuple[str, int], tuple[str, int]]


def _by_port(handshake: Handshake, ends: _Ends, session: _Session) -> bool:
    """Return whether both are one connection of which one address was translated and the client's port was kept."""
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
    """Return whether server and EHLO name are the same, for logs without ports and certificates (IIS)."""
    if session.local[1] or session.thumbprint or ends[1][0] != session.remote[0]:
        return False
    names = {name.casefold() for name in (handshake.ehlo, session.rejection.helo) if name}
    return len(names) <= 1 and _apart(handshake, session) <= _NEAR


_WEAKER: tuple[tuple[Join, Callable[[Handshake, _Ends, _Session], bool]], ...] = (
    ("port", _by_port),
    ("thumbprint", _by_thumbprint),
    ("address", _by_address),
)
