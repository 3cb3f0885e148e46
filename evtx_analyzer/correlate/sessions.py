"""Rows of SMTP protocol logs to sessions: what was refused, in which handshake, and what went through.

Sessions interleave and cross files, so rows are kept per open session and a session is told when it ends. Exchange
names a session (``session-id``, with the folder, for it is unique per server process only). IIS does not: there a
row belongs to the open connection to the same address whose start (time minus time-taken) fits, and a banner or
the row after QUIT begins a new one. Two connections to one address that began in the same two seconds can not be
told apart in IIS logs.

With pipelining the n-th reply answers the n-th command; the banner answers none, and the reply after the end of
DATA answers no command row at all.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from evtx_analyzer.correlate.certificates import certificates
from evtx_analyzer.model import Certificate, Match, SmtpEvent

IDLE = timedelta(hours=6)
_SAME_CONNECTION = timedelta(seconds=2)
_REPLY = re.compile(r"(\d{3})([ -]|$)(.*)", re.DOTALL)
_CODE_5764 = re.compile(r"(?<![\d.])5\.7\.64(?![\d.]*\d)")
_ATTRIBUTION = re.compile(r"\bATTR?\d+\b|TenantAttribution", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:FROM|TO)\s*:\s*<?([^>\s]*)>?", re.IGNORECASE)
_MESSAGE = re.compile(r"InternetMessageId\s+(<[^>]*>|\S+)")
_BANNER_NAME = re.compile(r"220[ -](\S+)")
_END_OF_DATA = "end of data"


class Reply(Struct, frozen=True, kw_only=True):
    """A reply and the command it answers; ``refused`` where it carries 5.7.64 as a signal saw it."""

    row: SmtpEvent
    code: int
    command: str
    mail_from: str
    rcpt_to: str
    message_id: str
    signals: tuple[str, ...]


class Session(Struct, frozen=True, kw_only=True):
    """One SMTP session as far as the logs hold it; ``replies`` are those to MAIL, RCPT, DATA and BDAT."""

    rows: tuple[SmtpEvent, ...]
    first: datetime
    last: datetime
    kind: str
    host: str
    connector: str
    id: str
    local: str
    remote: str
    remote_name: str
    helo: str
    starttls: bool
    handshake_time: datetime | None
    tls: str
    sent: Certificate | None
    received: Certificate | None
    replies: tuple[Reply, ...]


class _Open:
    """Rows of a session that has not ended yet."""

    __slots__ = ("ended", "matches", "start")

    def __init__(self, start: datetime) -> None:
        self.matches: list[Match] = []
        self.start = start
        self.ended = False


def sessions(matches: Iterable[Match]) -> Iterator[Session]:
    """Every session told by the rows, given in file order; each is yielded when it has ended or the rows have."""
    open_sessions: dict[tuple[str, ...], list[_Open]] = {}
    newest: datetime | None = None
    for number, match in enumerate(matches):
        row = match.event
        assert isinstance(row, SmtpEvent)
        newest = row.time if newest is None or row.time > newest else newest
        key = (row.kind, row.scope, row.host, row.session or row.remote)
        running = open_sessions.setdefault(key, [])
        current = _connection(row, running)
        current.matches.append(match)
        if current.ended:
            running.remove(current)
            yield tell(current.matches)
            if not running:
                del open_sessions[key]
        if number % 100_000 == 0:
            yield from _idle(open_sessions, newest - IDLE)
    for running in open_sessions.values():
        for current in running:
            yield tell(current.matches)


def _connection(row: SmtpEvent, running: list[_Open]) -> _Open:
    """The open session that a row belongs to, begun where there is none."""
    if row.session:
        if not running:
            running.append(_Open(row.time))
        running[0].ended = row.direction == "-"
        return running[0]
    start = row.time - timedelta(milliseconds=row.elapsed_ms or 0)
    fitting = [item for item in running if row.elapsed_ms is None or abs(item.start - start) <= _SAME_CONNECTION]
    current = min(fitting, key=lambda item: abs(item.start - start), default=None)
    if current is None or (_is_banner(row) and not _awaits_tls(current)):
        current = _Open(start)
        running.append(current)
    # The service logs QUIT as a command; its answer is not always written, so QUIT ends the session.
    current.ended = row.direction == ">" and row.text[:4].upper() == "QUIT"
    return current


def _is_banner(row: SmtpEvent) -> bool:
    return row.direction == "<" and row.text.startswith("220")


def _awaits_tls(current: _Open) -> bool:
    last = current.matches[-1].event if current.matches else None
    return isinstance(last, SmtpEvent) and last.direction == ">" and last.text[:8].upper() == "STARTTLS"


def _idle(open_sessions: dict[tuple[str, ...], list[_Open]], before: datetime) -> Iterator[Session]:
    """Sessions without an end (the log was cut or the service stopped) whose last row is old."""
    for key, running in list(open_sessions.items()):
        for current in [item for item in running if _last_time(item) < before]:
            running.remove(current)
            yield tell(current.matches)
        if not running:
            del open_sessions[key]


def _last_time(current: _Open) -> datetime:
    row = current.matches[-1].event
    assert isinstance(row, SmtpEvent)
    return row.time


def tell(matches: Sequence[Match]) -> Session:
    """The story of one session from its rows; rows with a sequence number are put in its order."""
    ordered = sorted(matches, key=lambda match: getattr(match.event, "sequence", None) or 0)
    rows = [match.event for match in ordered if isinstance(match.event, SmtpEvent)]
    sent, received = certificates(rows)
    return Session(
        rows=tuple(rows),
        first=min(row.time for row in rows),
        last=max(row.time for row in rows),
        kind=rows[0].kind,
        host=next((row.host for row in rows if row.host), ""),
        connector=next((row.connector for row in rows if row.connector), ""),
        id=rows[0].session,
        local=next((row.local for row in rows if row.local), ""),
        remote=next((row.remote for row in rows if row.remote), ""),
        remote_name=_remote_name(rows),
        helo=_helo(rows),
        starttls=any(row.direction == ">" and row.text[:8].upper() == "STARTTLS" for row in rows),
        handshake_time=_handshake(rows),
        tls=next((row.context for row in rows if row.context.startswith("TLS protocol")), ""),
        sent=sent,
        received=received,
        replies=tuple(_replies(ordered)),
    )


def _remote_name(rows: Sequence[SmtpEvent]) -> str:
    banner = next((row.text for row in rows if _is_banner(row)), "")
    found = _BANNER_NAME.match(banner)
    return found[1] if found else ""


def _helo(rows: Sequence[SmtpEvent]) -> str:
    for row in rows:
        verb, _, name = row.text.strip().partition(" ")
        if row.direction == ">" and verb.upper() in ("EHLO", "HELO"):
            return name.strip()
    return ""


def _handshake(rows: Sequence[SmtpEvent]) -> datetime | None:
    """When TLS began: the row of the sent certificate, else the answer to STARTTLS, else STARTTLS itself."""
    starttls: datetime | None = None
    answered: datetime | None = None
    for row in rows:
        if row.direction == "*" and row.context.strip().casefold().startswith("sending certificate"):
            return row.time
        if row.direction == ">" and row.text[:8].upper() == "STARTTLS":
            starttls = row.time
        elif starttls and not answered and row.direction == "<":
            answered = row.time
    if answered or starttls:
        return answered or starttls
    return next((row.time for row in rows if row.context.startswith("TLS protocol")), None)


def _replies(matches: Sequence[Match]) -> Iterator[Reply]:
    """Replies to the commands of mail transactions, paired in order."""
    waiting: deque[tuple[str, str]] = deque()
    mail_from = rcpt_to = message_id = ""
    for match in matches:
        row = match.event
        assert isinstance(row, SmtpEvent)
        if row.direction == "*":
            found = _MESSAGE.search(row.context)
            message_id = found[1] if found else message_id
        elif row.direction == ">":
            command = _verb(row.text)
            if command:
                waiting.append((command, _address(row.text)))
        elif row.direction == "<":
            reply = _REPLY.match(row.text)
            if reply is None or (reply[2] == "-" and not match.signals):
                continue
            code = int(reply[1])
            command, address = _answered(waiting, match)
            if command == "DATA" and code == 354:  # noqa: PLR2004  RFC 5321: go ahead, the text follows
                waiting.appendleft((_END_OF_DATA, ""))
                continue
            mail_from = address if command == "MAIL" else mail_from
            rcpt_to = address if command == "RCPT" else rcpt_to
            if command in ("MAIL", "RCPT", "DATA", "BDAT", _END_OF_DATA) or match.signals:
                yield Reply(
                    row=row,
                    code=code,
                    command=command,
                    mail_from=mail_from,
                    rcpt_to=rcpt_to if command != "MAIL" else "",
                    message_id=message_id,
                    signals=match.signals,
                )


def _answered(waiting: deque[tuple[str, str]], match: Match) -> tuple[str, str]:
    """The command that a reply answers; the banner and replies that nothing waits for answer none."""
    row = match.event
    assert isinstance(row, SmtpEvent)
    if not waiting:
        return "", ""
    if _is_banner(row) and waiting[0][0] != "STARTTLS":
        return "", ""
    return waiting.popleft()


def _verb(text: str) -> str:
    """SMTP verb of a command row; empty for what is no command (authentication data, message text)."""
    verb = text.strip().partition(" ")[0].upper()
    known = ("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "QUIT", "XSHADOW", "NOOP")
    return verb if verb in known or verb.startswith("X-") else ""


def _address(text: str) -> str:
    found = _ADDRESS.search(text)
    return found[1] if found else ""


def has_code(text: str) -> bool:
    """Whether a text holds 5.7.64 as an enhanced status, not inside an address or 5.7.640."""
    return _CODE_5764.search(text) is not None


def attribution(text: str) -> str:
    """``ATTR36`` or ``TenantAttribution`` as the reply writes it; empty where it names none."""
    found = _ATTRIBUTION.search(text)
    return found[0] if found else ""
