"""Count failures that are not 5.7.64, and say what those mean that look like it; they never count as refusals.

Sources of the meanings: the table of NDRs and the multi-geo and ATTR pages of OfficeDocs-Exchange; for 5.7.68
techcommunity.microsoft.com/blog/exchange 4408790; for 4.4.317 ``fix-error-code-450-4-4-317-untrusted-root.md`` of
SupportArticles-docs; RFC 3463 for the rest. A failure that has 5.7.64 in its text but no signal is neither a refusal
nor one of these: it is a loss.
"""

from __future__ import annotations

import re
from datetime import datetime

from evtx_analyzer.hosts import HostClue, Hosts, address_of, folder_of
from evtx_analyzer.model.events import Match, MessageEvent, SmtpEvent
from evtx_analyzer.model.evidence import OtherError
from evtx_analyzer.model.origin import Loss, Origin, display_name, sort_key
from evtx_analyzer.normalize.kinds import RECEIVED_KINDS, REPORT_KINDS
from evtx_analyzer.smtp.rejections import clue, session_clue
from evtx_analyzer.smtp.replies import ENHANCED, REPLY_CODE, attribution, code, has_code
from evtx_analyzer.smtp.sessions import Session
from evtx_analyzer.smtp.transaction import FAILED

# "ATTR35 response code when you send mail to EOP or EXO" (Microsoft, wrong-office-365-region-exo).
_WRONG_REGION = (
    "mail was sent to the wrong Exchange Online region; not a refusal to relay. The smart host must be the tenant's "
    "own MX name, no address and no old name"
)
_NOT_ATTRIBUTED = (
    "the connection was not attributed to the tenant's inbound connector: what 5.7.64 says of mail to outside, said "
    "of mail to the tenant itself"
)

_OWN_TENANT = "the tenant's own attribution refused the connection (an older text of it), not the recipient's policy"

# Enhanced status or empty, ATTR code or empty, meaning; the first entry that fits counts.
LOOK_ALIKES = (
    ("5.7.68", "", f"{_NOT_ATTRIBUTED} (RejectDirectSend)"),
    ("", "ATTR35", _WRONG_REGION),
    ("", "ATTR34", "the recipient's tenant is not in this region (mail loop or wrong route)"),
    ("", "ATTR55", "the tenant could not be looked up for now; the sender tries again"),
    ("", "ATTR5", "the route to the recipient's region was not found"),
    ("4.4.62", "", _WRONG_REGION),
    (
        "5.4.1",
        "",
        "the recipient is not known to the tenant (directory-based edge blocking), or its domain is not accepted",
    ),
    ("5.7.57", "", "the client did not authenticate where it must (client submission)"),
    ("5.7.60", "", "the client may not send as this sender"),
    ("5.7.51", "", "the tenant's inbound connector refuses this connection by its certificate or address"),
    ("5.7.606", "", "the sending address is blocked by Exchange Online"),
    ("", "ATTR1", _OWN_TENANT),
    ("", "ATTR2", _OWN_TENANT),
    ("5.7.1", "", "delivery is not authorized (a policy of the recipient's side)"),
    ("5.7.640", "", "a code of its own that only begins like 5.7.64"),
    ("4.4.317", "", "no TLS session could be established; the bracket Message says why"),
    ("4.7.5", "", "the certificate of the other side, or that of the connector, could not be used"),
)

_TLS_NOT_ESTABLISHED = "4.4.317"
UNTRUSTED_ROOT = "UntrustedRoot"

_MESSAGES = {
    UNTRUSTED_ROOT.casefold(): (
        "Exchange Online could not verify the chain of this side's certificate: it does not fetch missing intermediate "
        "certificates, and takes public roots only"
    ),
}
"""Meanings of the ``[Message=...]`` in a 4.4.317, by its text in lower case."""

_BRACKET_MESSAGE = re.compile(r"\[Message=([^\[\]]*)\]", re.IGNORECASE)
TLS_FAILED = "TLS negotiation failed"
_FAILED_EVENTS = ("FAIL", "DEFER")
# Kind of log, machine, code, attribution, and the message in brackets.
_Key = tuple[str, HostClue, str, str, str]


class OtherErrors:
    """The other errors of a case, counted by kind of log, machine and code."""

    def __init__(self) -> None:
        self._rows: dict[_Key, _Row] = {}
        self._unrecognized: dict[_Key, _Row] = {}

    def add(self, session: Session) -> None:
        """Count what failed in a session besides 5.7.64."""
        host_clue = session_clue(session)
        for reply in session.replies:
            if reply.code >= FAILED and not reply.signals:
                self._add(session.kind, host_clue, reply.row.text, reply.row.time, reply.row.origin)
        if session.tls_error:
            failed = next(row for row in session.rows if session.tls_error in row.context + row.text)
            key = (session.kind, _folder(host_clue), f"{TLS_FAILED} {session.tls_error}", "", "")
            self._count(self._rows, key, failed.context or failed.text, failed.time, failed.origin)

    def add_message(self, match: Match) -> None:
        """Count what failed for the recipients of a message besides 5.7.64."""
        event = match.event
        assert isinstance(event, MessageEvent)
        failed = event.kind in REPORT_KINDS or event.fields.get("event-id", ("",))[0].upper() in _FAILED_EVENTS
        if match.signals or not failed:
            return
        for status in event.recipients:
            if has_code(status.text) or ENHANCED.search(status.text) or REPLY_CODE.match(status.text):
                self._add(event.kind, clue(event), status.text, event.time, event.origin)

    def add_received(self, row: SmtpEvent) -> None:
        """Count a 5.7.64 that this server said to its client: its own, or one of Exchange Online that it passed on."""
        key = (row.kind, _folder(clue(row)), code(row.text), attribution(row.text), "")
        self._count(self._rows, key, row.text, row.time, row.origin)

    def rows(self, hosts: Hosts) -> tuple[OtherError, ...]:
        """Return the errors, sorted."""
        merged: dict[tuple[str, str, str, str, str], _Row] = {}
        for (kind, host_clue, reply_code, attr, message), row in self._rows.items():
            host = hosts.resolve(HostClue(host_clue.name, display_name(row.origin), host_clue.address))[0]
            key = (kind, host, reply_code, attr, message)
            merged[key] = merged[key].joined(row) if key in merged else row
        return tuple(
            OtherError(
                kind=kind,
                host=host,
                code=reply_code,
                attribution=attr,
                meaning=_meaning(kind, reply_code, attr, message),
                text=row.text,
                count=row.count,
                first=row.first,
                last=row.last,
                origin=row.origin,
            )
            for (kind, host, reply_code, attr, message), row in sorted(merged.items())
        )

    def losses(self) -> list[Loss]:
        """Return failures that have 5.7.64 in their text but no signal: they count as nothing, so users must know."""
        return [
            Loss(
                origin=row.origin,
                reason=f"a failure holds 5.7.64 in a form that is not taken for a refusal ({code(row.text)})",
                extent=f"{row.count} failure{'s' if row.count > 1 else ''}",
            )
            for row in self._unrecognized.values()
        ]

    def _add(self, kind: str, host_clue: HostClue, text: str, time: datetime, origin: Origin) -> None:
        key = (kind, _folder(host_clue), code(text), attribution(text), bracket_message(text))
        self._count(self._unrecognized if has_code(text) else self._rows, key, text, time, origin)

    @staticmethod
    def _count(rows: dict[_Key, _Row], key: _Key, text: str, time: datetime, origin: Origin) -> None:
        row = _Row(1, time, time, text, origin)
        rows[key] = rows[key].joined(row) if key in rows else row


class _Row:
    """How often a failure happened, when first and last, and text and origin of the first."""

    def __init__(self, count: int, first: datetime, last: datetime, text: str, origin: Origin) -> None:
        self.count, self.first, self.last, self.text, self.origin = count, first, last, text, origin

    def joined(self, other: _Row) -> _Row:
        early = min((self, other), key=lambda row: (row.first, sort_key(row.origin)))
        return _Row(self.count + other.count, early.first, max(self.last, other.last), early.text, early.origin)


def bracket_message(text: str) -> str:
    """Return the text of ``[Message=...]`` in a reply of Exchange Online, in lower case; empty where it has none."""
    match = _BRACKET_MESSAGE.search(text)
    return match[1].strip().casefold() if match else ""


def _folder(host_clue: HostClue) -> HostClue:
    return HostClue(host_clue.name, folder_of(host_clue.path), address_of(host_clue.address))


def _meaning(kind: str, reply_code: str, attr: str, message: str) -> str:
    """Return what an error means, in a sentence for the report; empty where that is not known."""
    if kind in RECEIVED_KINDS:
        return "said by this server to a client (its own, or a copy it passed on): not a refusal of this server"
    if reply_code.startswith(TLS_FAILED):
        return (
            "the TLS handshake failed on this side; NoCredentials and UnknownCredentials speak of the own certificate"
        )
    enhanced = reply_code.rpartition(" ")[2]
    if enhanced == _TLS_NOT_ESTABLISHED and message in _MESSAGES:
        return _MESSAGES[message]
    for status, attr_code, meaning in LOOK_ALIKES:
        if (status and status == enhanced) or (attr_code and attr_code == attr.upper()):
            return meaning
    return ""
