"""Refused sessions made small: they are kept until all logs are read, with what their refusals need.

Which machine a session belongs to is known only when everything was read, so refused sessions wait. An outage has
thousands of them, with dozens of rows each, and most of what they say is the same: equal values are kept once.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from evtx_analyzer.model.events import Match, MessageEvent, SmtpEvent
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.smtp.clock_skew import session_clock
from evtx_analyzer.smtp.rejections import refused_replies
from evtx_analyzer.smtp.sessions import Session
from evtx_analyzer.smtp.transaction import Reply

_NO_FIELDS: Fields = {}
_NO_VALUES: dict[str, str] = {}
_MOST = 10_000
_SESSION = (
    "kind",
    "host",
    "connector",
    "local",
    "remote",
    "remote_name",
    "helo",
    "seen_address",
    "tls",
    "tls_error",
    "sent",
    "received",
    "ehlo",
)
_REPLY = ("command", "mail_from", "rcpt_to", "signals")
_ROW = ("kind", "scope", "direction", "text", "context", "host", "connector", "local", "remote")


class Keeper:
    """Makes what is kept; remembers values that may come again, not more than a few thousand."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def session(self, session: Session) -> Session:
        """A refused session with its refusals; of its rows the first, and the one whose clock settles an hour."""
        replies = refused_replies(session)
        rows = session.rows[:1]
        if any(reply.row.time_basis == "ambiguous" for reply in replies):
            told = (row for row in session.rows if session_clock(replace(session, rows=(row,))) is not None)
            rows += tuple(row for row in (next(told, None),) if row is not None)
        return replace(
            session,
            rows=tuple([self._row(row) for row in rows]),
            replies=tuple([self._reply(reply) for reply in replies]),
            **self._same(session, _SESSION),
        )

    def _reply(self, reply: Reply) -> Reply:
        return replace(reply, row=self._row(reply.row), **self._same(reply, _REPLY))

    def _row(self, row: SmtpEvent) -> SmtpEvent:
        return replace(row, values=_NO_VALUES, **self._same(row, _ROW))

    def _same(self, item: Session | Reply | SmtpEvent, names: tuple[str, ...]) -> dict[str, Any]:
        """These of its values as they were first met."""
        known = self._known
        if len(known) > _MOST:
            known.clear()
        values = [getattr(item, name) for name in names]
        return {name: known.setdefault(value, value) for name, value in zip(names, values, strict=True)}


def without_row(match: Match) -> Match:
    """A message that was refused, without the row that tells of it."""
    event = match.event
    assert isinstance(event, MessageEvent)
    return Match(event=replace(event, fields=_NO_FIELDS), signals=match.signals)
