"""Make rejections of sessions and messages: one for each reply with 5.7.64, with everything that its log shows.

A rejection from one log is a ``Sighting``; ``merge`` joins the sightings of one refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.hosts import HostClue, Hosts
from evtx_analyzer.model.events import Match, MessageEvent, SmtpEvent
from evtx_analyzer.model.evidence import HostBasis, Rejection
from evtx_analyzer.model.origin import display_name, identify
from evtx_analyzer.normalize import send_log
from evtx_analyzer.smtp.replies import attribution, bracket, has_code, verdict_of
from evtx_analyzer.smtp.sessions import Session
from evtx_analyzer.smtp.transaction import Reply

# Ports between Exchange servers and roles: a session to one of these passes a message on inside of the organization.
_INTERNAL_PORTS = (":717", ":2525", ":475", ":465", ":2587")
INTERNAL = f"{send_log.KIND} internal"


class Sighting(Struct, frozen=True, gc=False):
    """A rejection as one log shows it; ``layer`` distinguishes rows of one kind of log about the same failure."""

    rejection: Rejection
    layer: str


def refused_replies(session: Session) -> list[Reply]:
    """Return the replies of a session that a signal recognized as 5.7.64."""
    return [reply for reply in session.replies if reply.signals]


def clue(row: SmtpEvent | MessageEvent) -> HostClue:
    """Return what a row tells about its machine."""
    return HostClue(row.host, display_name(row.origin), row.local if isinstance(row, SmtpEvent) else row.address)


def session_clue(session: Session) -> HostClue:
    """Return what the rows of a session tell about its machine."""
    return HostClue(session.host, display_name(session.rows[0].origin), session.local)


def rejections(session: Session, hosts: Hosts | None = None) -> Iterator[Sighting]:
    """Yield one rejection for each refusing reply of a session; without ``hosts`` its host is left unknown."""
    host, basis = hosts.resolve(session_clue(session)) if hosts is not None else _UNKNOWN
    internal = session.kind == send_log.KIND and session.remote.endswith(_INTERNAL_PORTS)
    for reply in refused_replies(session):
        rejection = Rejection(
            **_shown(reply.row, reply.row.text),
            id=identify("R", reply.row.origin, reply.row.text),
            host=host,
            host_basis=basis,
            connector=session.connector,
            session=session.id,
            local_endpoint=session.local,
            remote_endpoint=session.remote,
            remote_name=session.remote_name,
            helo=session.helo,
            starttls=session.starttls,
            from_start=session.whole,
            handshake_time=session.handshake_time,
            tls=session.tls,
            sent=session.sent,
            received=session.received,
            mail_from=reply.mail_from,
            rcpt_to=reply.rcpt_to,
            message_id=reply.message_id,
            stage=reply.command,
            signals=reply.signals,
            seen_address=session.seen_address,
            tls_error=session.tls_error,
            null_sender=reply.null_sender,
            ehlo=session.ehlo,
        )
        if is_proxied(session.kind, session.remote):
            rejection = _without_handshake(rejection)
        yield Sighting(rejection, INTERNAL if internal else session.kind)


def is_proxied(kind: str, remote: str) -> bool:
    """Return whether a session went to the front end transport service, which passed it on in a session of its own.

    The front end's receive connector for that listens on port 717 (``Outbound Proxy Frontend``).
    """
    return kind == send_log.KIND and remote.endswith(":717")


def _without_handshake(rejection: Rejection) -> Rejection:
    """Return a refusal without what its session shows of the other side: Exchange Online saw another session."""
    return replace(
        rejection,
        remote_name="",
        helo="",
        starttls=False,
        from_start=False,
        tls="",
        sent=None,
        received=None,
        seen_address="",
        ehlo=(),
    )


def message_rejections(match: Match, hosts: Hosts) -> Iterator[Sighting]:
    """Yield one rejection for each recipient whose status has 5.7.64; if none has, one for the first recipient.

    The second is a message in which a signal found 5.7.64 elsewhere.
    """
    event = match.event
    assert isinstance(event, MessageEvent)
    host, basis = _UNKNOWN if event.by_exchange_online else hosts.resolve(clue(event))
    refused = [recipient for recipient in event.recipients if has_code(recipient.text)] or list(event.recipients[:1])
    for status in refused:
        rejection = Rejection(
            **_shown(event, status.text),
            id=identify("R", event.origin, f"{status.address} {status.text}"),
            host=host,
            host_basis=basis,
            connector=event.connector,
            session=event.session,
            local_endpoint=event.address,
            remote_endpoint=status.remote or event.remote,
            remote_name=status.remote_name or event.remote_name,
            helo="",
            starttls=False,
            handshake_time=None,
            tls="",
            sent=None,
            received=None,
            mail_from=event.sender,
            rcpt_to=status.address,
            message_id=event.message_id,
            stage="",
            signals=match.signals,
            null_sender=event.null_sender,
        )
        yield Sighting(rejection, event.layer)


_UNKNOWN: tuple[str, HostBasis] = ("", "unknown")


def _shown(event: SmtpEvent | MessageEvent, text: str) -> dict[str, Any]:
    """Return what a row or message and a reply in it show, whatever kind of log it is."""
    remote = bracket(text)
    # Few replies have a verdict: a plain search is cheaper than the expression.
    verdict = verdict_of(text) if " is" in text or "+is" in text else None
    return {
        "time": event.time,
        "kind": event.kind,
        "reply": text,
        "attribution": attribution(text),
        "untrusted_root_hint": "untrustedroot" in text.casefold(),
        "resolution": event.resolution,
        "origin": event.origin,
        "origins": (event.origin,),
        "kinds": (event.kind,),
        "remote_host": remote.host,
        "remote_clock": remote.clock,
        "time_basis": event.time_basis,
        "other_time": event.other_time,
        "certificate_name": verdict.name if verdict else "",
        "certificate_verdict": verdict.verdict if verdict else "",
    }
