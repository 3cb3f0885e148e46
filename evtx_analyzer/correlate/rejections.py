"""Sessions to rejections: one per reply that carries 5.7.64, with all that its session tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from evtx_analyzer.correlate.hosts import Hosts
from evtx_analyzer.correlate.sessions import Reply, Session, attribution
from evtx_analyzer.model import Origin, Rejection


def refusals(session: Session) -> list[Reply]:
    """Replies of a session that a signal recognized as 5.7.64."""
    return [reply for reply in session.replies if reply.signals]


def rejections(session: Session, hosts: Hosts, given_host: str = "") -> Iterator[Rejection]:
    """One rejection per refused reply of a session."""
    host, basis = hosts.resolve(session.host, given_host)
    for reply in refusals(session):
        text = reply.row.text
        yield Rejection(
            id=identify("R", reply.row.origin, text),
            time=reply.row.time,
            host=host,
            host_basis=basis,
            kind=session.kind,
            connector=session.connector,
            session=session.id,
            local_endpoint=session.local,
            remote_endpoint=session.remote,
            remote_name=session.remote_name,
            helo=session.helo,
            starttls=session.starttls,
            handshake_time=session.handshake_time,
            tls=session.tls,
            sent=session.sent,
            received=session.received,
            mail_from=reply.mail_from,
            rcpt_to=reply.rcpt_to,
            message_id=reply.message_id,
            stage=reply.command,
            reply=text,
            attribution=attribution(text),
            untrusted_root_hint="untrustedroot" in text.casefold(),
            resolution=reply.row.resolution,
            signals=reply.signals,
            origin=reply.row.origin,
            origins=(reply.row.origin,),
        )


def identify(prefix: str, origin: Origin, text: str) -> str:
    """A short id that depends on the fact and its place only, so that shards of a case can be merged."""
    place = f"{origin.source}|{origin.member}|{origin.record}|{origin.line}|{origin.offset}|{text}"
    return f"{prefix}-{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
