"""Failures that are not 5.7.64: named where they look like it, counted, and never counted as refusals of this kind.

Meanings: the table of NDRs and the multi-geo and ATTR pages of OfficeDocs-Exchange, RFC 3463 for the rest.
"""

from __future__ import annotations

import re
from datetime import datetime

from evtx_analyzer.correlate.hosts import Hosts, Whence, address_of, folder_of
from evtx_analyzer.correlate.rejections import session_whence, whence
from evtx_analyzer.correlate.sessions import Session, attribution
from evtx_analyzer.model import Match, MessageEvent, Origin, OtherError, SmtpEvent, named, place

# (enhanced status or empty, ATTR code or empty) -> what it is; the first that fits is taken.
LOOK_ALIKES = (
    ("", "ATTR35", "mail was sent to the wrong Exchange Online region; not a refusal to relay"),
    ("", "ATTR34", "the recipient's tenant is not in this region (mail loop or wrong route)"),
    ("", "ATTR55", "the tenant could not be looked up for now; the sender tries again"),
    ("", "ATTR5", "the route to the recipient's region was not found"),
    ("4.4.62", "", "mail was sent to the wrong Exchange Online region; not a refusal to relay"),
    (
        "5.4.1",
        "",
        "the recipient is not known to the tenant (directory-based edge blocking), or its domain is not accepted",
    ),
    ("5.7.57", "", "the client did not authenticate where it must (client submission)"),
    ("5.7.60", "", "the client may not send as this sender"),
    ("5.7.51", "", "the tenant's inbound connector refuses this connection by its certificate or address"),
    ("5.7.606", "", "the sending address is blocked by Exchange Online"),
    ("5.7.1", "", "delivery is not authorized (a policy of the recipient's side)"),
    ("5.7.640", "", "a code of its own that only begins like 5.7.64"),
    ("4.7.5", "", "the certificate of the other side, or that of the connector, could not be used"),
)
_ENHANCED = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(r"\s*#?(?:<[^>]*>)?\s*#?([45]\d\d)\b")
_FAILED = 400
TLS_FAILED = "TLS negotiation failed"
_FAILED_EVENTS = ("FAIL", "DEFER")


class OtherErrors:
    """Counts by log, host and code; grows with the codes, not with the failures."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Whence, str, str], _Row] = {}

    def add(self, session: Session) -> None:
        """Count what failed in a session besides 5.7.64."""
        near = session_whence(session)
        for reply in session.replies:
            if reply.code >= _FAILED and not reply.signals:
                self._note(session.kind, near, reply.row.text, reply.row.time, reply.row.origin)
        if session.tls_error:
            failed = next(row for row in session.rows if session.tls_error in row.context + row.text)
            key = (session.kind, _folder(near), f"{TLS_FAILED} {session.tls_error}", "")
            self._count(key, failed.context or failed.text, failed.time, failed.origin)

    def add_message(self, match: Match) -> None:
        """Count what failed for the recipients of a message besides 5.7.64."""
        event = match.event
        assert isinstance(event, MessageEvent)
        failed = event.kind == "ndr" or event.fields.get("event-id", ("",))[0].upper() in _FAILED_EVENTS
        if match.signals or not failed:
            return
        for status in event.recipients:
            if _ENHANCED.search(status.text) or _REPLY.match(status.text):
                self._note(event.kind, whence(event), status.text, event.time, event.origin)

    def add_received(self, row: SmtpEvent) -> None:
        """Count 5.7.64 that a Receive connector's log shows as said by this server (a proxied copy, or its own)."""
        key = (row.kind, _folder(whence(row)), code(row.text), attribution(row.text))
        self._count(key, row.text, row.time, row.origin)

    def rows(self, hosts: Hosts) -> tuple[OtherError, ...]:
        """The errors, sorted."""
        merged: dict[tuple[str, str, str, str], _Row] = {}
        for (kind, near, found, attr), row in self._rows.items():
            host = hosts.resolve(Whence(near.name, named(row.origin), near.address))[0]
            key = (kind, host, found, attr)
            merged[key] = merged[key].joined(row) if key in merged else row
        return tuple(
            OtherError(
                kind=kind,
                host=host,
                code=found,
                attribution=attr,
                meaning=_meaning(kind, found, attr),
                text=row.text,
                count=row.count,
                first=row.first,
                last=row.last,
                origin=row.origin,
            )
            for (kind, host, found, attr), row in sorted(merged.items())
        )

    def _note(self, kind: str, near: Whence, text: str, time: datetime, origin: Origin) -> None:
        self._count((kind, _folder(near), code(text), attribution(text)), text, time, origin)

    def _count(self, key: tuple[str, Whence, str, str], text: str, time: datetime, origin: Origin) -> None:
        row = _Row(1, time, time, text, origin)
        self._rows[key] = self._rows[key].joined(row) if key in self._rows else row


class _Row:
    """How often, first and last; text and origin of the first."""

    def __init__(self, count: int, first: datetime, last: datetime, text: str, origin: Origin) -> None:
        self.count, self.first, self.last, self.text, self.origin = count, first, last, text, origin

    def joined(self, other: _Row) -> _Row:
        early = min((self, other), key=lambda row: (row.first, place(row.origin)))
        return _Row(self.count + other.count, early.first, max(self.last, other.last), early.text, early.origin)


def code(text: str) -> str:
    """Reply code and enhanced status of a reply; what of them it holds."""
    reply, enhanced = _REPLY.match(text), _ENHANCED.search(text)
    return " ".join(found[1] for found in (reply, enhanced) if found) or "no code"


def _folder(near: Whence) -> Whence:
    return Whence(near.name, folder_of(near.path), address_of(near.address))


def _meaning(kind: str, found: str, attr: str) -> str:
    if kind == "receive-connector":
        return "said by this server to a client (its own, or a copy it passed on): not a refusal of this server"
    if found.startswith(TLS_FAILED):
        return (
            "the TLS handshake failed on this side; NoCredentials and UnknownCredentials speak of the own certificate"
        )
    enhanced = found.rpartition(" ")[2]
    for status, wanted, meaning in LOOK_ALIKES:
        if (status and status == enhanced) or (wanted and wanted == attr.upper()):
            return meaning
    return ""
