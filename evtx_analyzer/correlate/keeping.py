"""What is kept of refused sessions until all logs are read: what their refusals will tell, and no row besides.

Which machine a session belongs to is known only when everything was read, so refused sessions wait. An outage has
thousands of them, with dozens of rows each, and most of what they say is the same: equal values are kept once.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec.structs import replace

from evtx_analyzer.correlate.clocks import session_clock
from evtx_analyzer.correlate.rejections import refusals
from evtx_analyzer.correlate.sessions import Reply, Session
from evtx_analyzer.model import Fields, Match, MessageEvent, SmtpEvent

_Value = TypeVar("_Value")
_NO_FIELDS: Fields = {}
_NO_VALUES: dict[str, str] = {}
_MOST = 10_000
_SESSION = ("kind", "host", "connector", "local", "remote", "remote_name", "helo", "seen_address", "tls", "tls_error")
_REPLY = ("command", "mail_from", "rcpt_to", "signals")
_ROW = ("kind", "scope", "direction", "text", "context", "host", "connector", "local", "remote")


class Keeper:
    """Makes what is kept; remembers values that may come again, not more than a few thousand."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def session(self, session: Session) -> Session:
        """A refused session with its refusals; of its rows the first, and the one whose clock settles an hour."""
        replies = refusals(session)
        rows = session.rows[:1]
        if any(reply.row.time_basis == "ambiguous" for reply in replies):
            told = (row for row in session.rows if session_clock(replace(session, rows=(row,))) is not None)
            rows += tuple(row for row in (next(told, None),) if row is not None)
        values = {name: self._same(getattr(session, name)) for name in _SESSION}
        return replace(
            session,
            rows=tuple(self._row(row) for row in rows),
            replies=tuple(self._reply(reply) for reply in replies),
            sent=self._same(session.sent),
            received=self._same(session.received),
            **values,
        )

    def _reply(self, reply: Reply) -> Reply:
        values = {name: self._same(getattr(reply, name)) for name in _REPLY}
        return replace(reply, row=self._row(reply.row), **values)

    def _row(self, row: SmtpEvent) -> SmtpEvent:
        values = {name: self._same(getattr(row, name)) for name in _ROW}
        return replace(row, values=_NO_VALUES, **values)

    def _same(self, value: _Value) -> _Value:
        """The value as it was first met."""
        if len(self._known) > _MOST:
            self._known.clear()
        found: _Value = self._known.setdefault(value, value)
        return found


def without_row(match: Match) -> Match:
    """A message that was refused, without the row that tells of it."""
    event = match.event
    assert isinstance(event, MessageEvent)
    return Match(event=replace(event, fields=_NO_FIELDS), signals=match.signals)
