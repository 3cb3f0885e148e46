"""Rows of SMTP protocol logs to sessions: what was refused, in which handshake, and what went through.

Sessions interleave and cross files, so rows are kept per open session and a session is made when it ends. Exchange
names a session (``session-id``, with the folder, for it is unique per server process only). IIS does not: there a
row belongs to the open connection to the same address whose start (time minus time-taken) fits and whose time-taken
is not above the row's; a banner or the row after QUIT begins a new one. Where several connections to one address
began in the same two seconds, a reply goes to one that waits for it, then to the nearest in time-taken (a guess).

Which reply answers which command is the business of ``transaction``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Match, SmtpEvent
from evtx_analyzer.model.origin import display_name
from evtx_analyzer.smtp.certificates import certificates
from evtx_analyzer.smtp.transaction import TLS_VERBS, Reply, is_banner, replies_of, verb_of

IDLE = timedelta(hours=6)
_SAME_CONNECTION = timedelta(seconds=2)
_TLS_FAILED = re.compile(r"TLS negotiation failed with error (\w+)", re.IGNORECASE)
# Where the banner is not in the log, the answer to STARTTLS comes first: "220 2.0.0 SMTP server ready" names nobody.
_BANNER_NAME = re.compile(r"220[ -](?!\d\.\d+\.\d+(?:\s|$))(\S+)")
_HELLO = re.compile(r"250[ -]\s*\S+ Hello \[([0-9A-Fa-f.:]+)\]")
_REPLY_GOES_ON = re.compile(r"\d{3}-")
_STATUS = re.compile(r"250 \d\.\d+\.\d+")  # of another command's answer; EHLO's has none (RFC 2034 4)
_GREETING = re.compile(r"250[ -]\s*\S*(?:\s+Hello\s+\[[^\]]*\])?", re.IGNORECASE)


class Session(Struct, frozen=True, kw_only=True):
    """One SMTP session as far as the logs hold it.

    ``whole`` says that they hold every row from the first one to the last refusal (to the last row where nothing was
    refused), so that what is not among them did not happen. ``ehlo`` are the keywords of the
    remote side's answer to the first EHLO (RFC 5321 4.1.1.1). ``replies`` are those to MAIL, RCPT, DATA and BDAT, and
    failures.
    """

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
    seen_address: str
    whole: bool
    starttls: bool
    handshake_time: datetime | None
    tls: str
    tls_error: str
    sent: Certificate | None
    received: Certificate | None
    replies: tuple[Reply, ...]
    ehlo: tuple[str, ...] = ()


class _Open:
    """Rows of a session that has not ended yet; ``elapsed`` is the time-taken of its last row."""

    __slots__ = ("elapsed", "ended", "matches", "newest", "start")

    def __init__(self, start: datetime) -> None:
        self.matches: list[Match] = []
        self.start = self.newest = start
        self.elapsed = 0
        self.ended = False


OpenSessions = dict[tuple[str, ...], list[_Open]]
"""By kind, scope, host and session (or remote endpoint, where the log does not name sessions)."""


def sessions(matches: Iterable[Match], open_sessions: OpenSessions | None = None) -> Iterator[Session]:
    """Yield every session that rows in file order make, each when it has ended or the rows have.

    Where all rows of a session come at once they make it at once, with what an earlier file has of it.
    ``open_sessions`` is kept up to date: what has begun and not ended.
    """
    open_sessions = {} if open_sessions is None else open_sessions
    newest: datetime | None = None
    for number, match in enumerate(matches):
        row = match.rows[-1].event if match.rows else match.event
        assert isinstance(row, SmtpEvent)
        newest = row.time if newest is None else max(newest, row.time)
        key = (row.kind, row.scope, row.host, row.session or row.remote)
        if match.rows:
            begun = open_sessions.pop(key, ())
            yield build_session([*(before for item in begun for before in item.matches), *match.rows])
            continue
        running = open_sessions.setdefault(key, [])
        current = _connection(row, running)
        if current is None:
            continue
        current.matches.append(match)
        current.newest = row.time
        if current.ended:
            running.remove(current)
            yield build_session(current.matches)
            if not running:
                del open_sessions[key]
        if number % 100_000 == 0:
            yield from _idle(open_sessions, newest - IDLE)
    for running in open_sessions.values():
        for current in running:
            yield build_session(current.matches)


def _connection(row: SmtpEvent, running: list[_Open]) -> _Open | None:
    """Return the open session that a row belongs to, begun where there is none; None for a late answer to QUIT."""
    if row.session:
        if not running:
            running.append(_Open(row.time))
        running[0].ended = row.direction == "-"
        return running[0]
    start = row.time - timedelta(milliseconds=row.elapsed_ms or 0)
    fitting = [item for item in running if _fits(item, row, start) and not _repeats(item, row)]
    current = min(
        fitting,
        key=lambda item: (not _awaits(item, row), (row.elapsed_ms or 0) - item.elapsed, abs(item.start - start)),
        default=None,
    )
    if current is None and row.direction == "<" and row.text.startswith("221"):
        return None
    if current is None or (is_banner(row) and not _awaits_tls(current)):
        current = _Open(start)
        running.append(current)
    current.elapsed = row.elapsed_ms or current.elapsed
    # The service logs QUIT as a command; its answer is not always written, so QUIT ends the session.
    current.ended = row.direction == ">" and row.text[:4].upper() == "QUIT"
    return current


def _fits(item: _Open, row: SmtpEvent, start: datetime) -> bool:
    if row.elapsed_ms is None:
        return True
    return abs(item.start - start) <= _SAME_CONNECTION and row.elapsed_ms >= item.elapsed


def _repeats(item: _Open, row: SmtpEvent) -> bool:
    """Return whether a row is a second MAIL without anything between: no connection does that."""
    last = item.matches[-1].event if item.matches else None
    mail = row.direction == ">" and verb_of(row.text) == "MAIL"
    return mail and isinstance(last, SmtpEvent) and last.direction == ">" and verb_of(last.text) == "MAIL"


def _awaits(item: _Open, row: SmtpEvent) -> bool:
    """Return whether a connection waits for a row: for a reply to its last command, or a command after a reply."""
    last = item.matches[-1].event if item.matches else None
    if not isinstance(last, SmtpEvent):
        return True
    if is_banner(row):
        return _awaits_tls(item)
    return (row.direction == "<") == (last.direction == ">")


def _awaits_tls(current: _Open) -> bool:
    last = current.matches[-1].event if current.matches else None
    return isinstance(last, SmtpEvent) and last.direction == ">" and last.text[:8].upper() == "STARTTLS"


def _idle(open_sessions: OpenSessions, before: datetime) -> Iterator[Session]:
    """Yield sessions without an end (the log was cut or the service stopped) whose last row is old."""
    for key, running in list(open_sessions.items()):
        for current in [item for item in running if item.newest < before]:
            running.remove(current)
            yield build_session(current.matches)
        if not running:
            del open_sessions[key]


def build_session(matches: Sequence[Match]) -> Session:
    """Return the session that rows make; those with a sequence number are put in its order."""
    ordered = sorted(_once(matches), key=lambda match: getattr(match.event, "sequence", None) or 0)
    rows = [match.event for match in ordered if isinstance(match.event, SmtpEvent)]
    # An outage has thousands of sessions: each question goes only to the rows that may answer it.
    commands = [row for row in rows if row.direction == ">"]
    answers = [row for row in rows if row.direction == "<"]
    notes = [row for row in rows if row.direction == "*"]
    times = [row.time for row in rows]
    sent, received = certificates(notes)
    replies = tuple(replies_of(ordered))
    banner = next((row.text for row in answers if is_banner(row)), "")
    return Session(
        rows=tuple(rows),
        first=min(times),
        last=max(times),
        kind=rows[0].kind,
        host=next((row.host for row in rows if row.host), ""),
        connector=next((row.connector for row in rows if row.connector), ""),
        id=rows[0].session,
        local=next((row.local for row in rows if row.local), ""),
        remote=next((row.remote for row in rows if row.remote), ""),
        remote_name=_remote_name(banner),
        helo=_helo(commands),
        seen_address=_seen_address(answers),
        whole=_is_whole(rows, replies),
        starttls=any(verb_of(row.text) in TLS_VERBS for row in commands),
        handshake_time=_handshake(rows),
        tls=next((row.context for row in rows if row.context.startswith("TLS protocol")), ""),
        tls_error=_tls_error(notes),
        sent=sent,
        received=received,
        replies=replies,
        ehlo=_ehlo(rows),
    )


def _is_whole(rows: Sequence[SmtpEvent], replies: Sequence[Reply]) -> bool:
    """Return whether every row up to the last refusal is there: excerpts, filtered logs and lost files leave some out.

    Exchange numbers the rows of a session from 0. IIS does not: there what SMTP makes necessary must be written (an
    answer that is not written is usual).
    """
    refused = {id(reply.row) for reply in replies if reply.signals}
    last = max((number for number, row in enumerate(rows) if id(row) in refused), default=len(rows) - 1)
    before = rows[: last + 1]
    if before[0].sequence is not None:
        return [row.sequence for row in before] == list(range(len(before)))
    # The answer to a STARTTLS that is not written begins like a banner and names nobody.
    if not (is_banner(before[0]) and _remote_name(before[0].text)):
        return False
    return _has_all_commands(before[1:]) and not _answers_without_command(before[1:])


def _has_all_commands(rows: Sequence[SmtpEvent]) -> bool:
    """Return whether the commands that lead to a reply about mail are written, as far as SMTP makes them necessary.

    Mail needs a greeting, MAIL and RCPT (RFC 5321 4.1.4); only TLS makes a second EHLO necessary, and only STARTTLS is
    answered by 220 (RFC 3207 4).
    """
    verbs = [verb_of(row.text) for row in rows if row.direction == ">"]
    if not {"MAIL", "RCPT"} <= {*verbs} or {"EHLO", "HELO"}.isdisjoint(verbs):
        return False
    greeted = sum(_HELLO.match(row.text) is not None for row in rows if row.direction == "<")
    began_again = greeted > 1 or verbs.count("EHLO") > 1 or any(is_banner(row) for row in rows)
    return not began_again or not {*TLS_VERBS}.isdisjoint(verbs)


def _answers_without_command(rows: Sequence[SmtpEvent]) -> bool:
    waiting, goes_on = 0, False
    for row in rows:
        if row.direction == ">":
            waiting += 1 + (verb_of(row.text) == "DATA")  # answered twice: go ahead, and what became of the message
            goes_on = False
        elif row.direction == "<":
            if not goes_on and not waiting:
                return True
            waiting -= not goes_on
            goes_on = _REPLY_GOES_ON.match(row.text) is not None
    return False


def _ehlo(rows: Sequence[SmtpEvent]) -> tuple[str, ...]:
    """Return the keywords of the answer to the first EHLO, in one row (Exchange 2016 and later) or in several.

    There are none where the last line of the answer is not written: what was not offered is not known then.
    """
    lines: list[str] = []
    asked = False
    for row in rows:
        if row.direction == ">":
            if asked:
                break
            asked = verb_of(row.text) == "EHLO"
        elif asked and row.direction == "<" and row.text.startswith("250"):
            lines.append(row.text)
            if not _REPLY_GOES_ON.match(row.text):
                break
    if not lines or _REPLY_GOES_ON.match(lines[-1]) or _STATUS.match(lines[-1]):
        return ()
    # The first line names the host and greets; one row for all has its keywords behind the greeting.
    greeting, rest = "".join(lines[:1]), lines[1:]
    keywords = _GREETING.sub("", greeting).split() + [text[4:].partition(" ")[0] for text in rest]
    return tuple(word.upper() for word in keywords)


def _seen_address(answers: Sequence[SmtpEvent]) -> str:
    """Return the address that the remote side names in its answer to EHLO: ``250 HOST Hello [203.0.113.7]``."""
    found = (_HELLO.match(row.text) for row in answers)
    return next((match[1] for match in found if match), "")


def _once(matches: Sequence[Match]) -> Sequence[Match]:
    """Return rows without those that a second file repeats (a merged copy beside its parts).

    One file may repeat itself.
    """
    origins = [match.event.origin for match in matches]
    if all(origin.source == origins[0].source and origin.member == origins[0].member for origin in origins):
        return matches
    seen: dict[tuple[object, ...], str] = {}
    kept = []
    for match in matches:
        row = match.event
        assert isinstance(row, SmtpEvent)
        key = (row.sequence, row.time, row.direction, row.text, row.context)
        file = display_name(row.origin)
        if row.sequence is None or seen.setdefault(key, file) == file:
            kept.append(match)
    return kept


def _remote_name(banner: str) -> str:
    match = _BANNER_NAME.match(banner)
    return match[1] if match else ""


def _helo(commands: Sequence[SmtpEvent]) -> str:
    for row in commands:
        verb, _, name = row.text.strip().partition(" ")
        if verb.upper() in ("EHLO", "HELO"):
            return name.strip()
    return ""


def _tls_error(notes: Sequence[SmtpEvent]) -> str:
    """Return the error of a TLS negotiation that failed: ``NoCredentials``, ``UnknownCredentials``, ``SocketError``."""
    for row in notes:
        for text in (row.context, row.text):
            if text[:1] in ("T", "t") and (match := _TLS_FAILED.match(text)) is not None:
                return match[1]
    return ""


def _handshake(rows: Sequence[SmtpEvent]) -> datetime | None:
    """Return when TLS began: the row of the sent certificate, else the answer to STARTTLS, else STARTTLS itself."""
    starttls: datetime | None = None
    answered: datetime | None = None
    for row in rows:
        if row.direction == "*" and row.context.strip().casefold().startswith("sending certificate"):
            return row.time
        if row.direction == ">" and verb_of(row.text) in TLS_VERBS:
            starttls = row.time
        elif starttls and not answered and row.direction == "<":
            answered = row.time
    if answered or starttls:
        return answered or starttls
    return next((row.time for row in rows if row.context.startswith("TLS protocol")), None)
