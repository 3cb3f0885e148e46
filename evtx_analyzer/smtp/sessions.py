"""Put the rows of SMTP protocol logs together to sessions.

Sessions interleave and cross files, so the rows of each open session are held until it ends. An Exchange log names the
session of a row (``session-id``, which is unique only per server process, hence together with the folder). An IIS log
does not: there a row belongs to the open connection to the same address that began at the same time (time minus
time-taken) and whose time-taken is not above that of the row; a banner and the row after QUIT begin a new connection.
Where several connections to one address began within two seconds, a reply goes to one that waits for a reply, and of
these to the one with the nearest time-taken, which is a guess.

``transaction`` pairs the commands and replies of a session, ``certificates`` reads its TLS handshake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Match, SmtpEvent
from evtx_analyzer.smtp.certificates import certificates
from evtx_analyzer.smtp.transaction import TLS_VERBS, Reply, is_banner, replies_of, verb_of

IDLE = timedelta(hours=6)
SAME_CONNECTION = timedelta(seconds=2)
"""The start of a connection, as two rows of an IIS log show it, may differ by so much: times are in whole seconds."""
_TLS_FAILED = re.compile(r"TLS negotiation failed with error (\w+)", re.IGNORECASE)
# Where the banner is not in the log, the reply to STARTTLS looks like one: "220 2.0.0 SMTP server ready" has no name.
_BANNER_NAME = re.compile(r"220[ -](?!\d\.\d+\.\d+(?:\s|$))(\S+)")
# What Exchange Online writes there is the address by which it attributes the connection, behind any translation.
_HELLO = re.compile(r"250[ -]\s*\S+ Hello \[([0-9A-Fa-f.:]+)\]")
_REPLY_GOES_ON = re.compile(r"\d{3}-")
_STATUS = re.compile(r"250 \d\.\d+\.\d+")  # of a reply to another command; that to EHLO has none (RFC 2034 4)
_GREETING = re.compile(r"250[ -]\s*\S*(?:\s+Hello\s+\[[^\]]*\])?", re.IGNORECASE)


class Session(Struct, frozen=True, kw_only=True):
    """One SMTP session as far as the logs hold it; ``first`` and ``last`` are the times of its rows, aware UTC.

    ``whole`` says that the logs hold every row from the first one to the last refusal (to the last row where nothing
    was refused): only then did a command without a row not happen. ``ehlo`` are the keywords of the reply to the first
    EHLO (RFC 5321 4.1.1.1). ``replies`` are those to MAIL, RCPT, DATA and BDAT, and all failing ones.
    ``handshake_time`` is None and texts are empty where the rows do not show them.
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
    """The rows of a session that has not ended; ``elapsed`` is the time-taken of its last row in milliseconds."""

    __slots__ = ("elapsed", "ended", "last", "matches", "start")

    def __init__(self, start: datetime, row: SmtpEvent) -> None:
        self.matches: list[Match] = []
        self.start, self.last = start, row
        self.elapsed = 0
        self.ended = False


OpenSessions = dict[tuple[str, ...], list[_Open]]
"""Open sessions by kind of log, folder (``SmtpEvent.scope``), host, and session id (remote endpoint in IIS logs)."""


def sessions(matches: Iterable[Match], open_sessions: OpenSessions | None = None) -> Iterator[Session]:
    """Yield the sessions that rows in file order make, each as soon as it ends; at the end of the rows all open ones.

    A match with ``rows`` holds all rows of an ended session at once; rows of an earlier file are put before them.
    ``open_sessions`` holds, at any time, what has begun and not ended.
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
            yield build_session([*(earlier for session in begun for earlier in session.matches), *match.rows])
            continue
        of_key = open_sessions.setdefault(key, [])
        current = _session_of(row, of_key)
        if current is None:
            continue
        current.matches.append(match)
        current.last = row
        if current.ended:
            of_key.remove(current)
            yield build_session(current.matches)
            if not of_key:
                del open_sessions[key]
        if number % 100_000 == 0:
            yield from _idle(open_sessions, newest - IDLE)
    for of_key in open_sessions.values():
        for current in of_key:
            yield build_session(current.matches)


def _session_of(row: SmtpEvent, of_key: list[_Open]) -> _Open | None:
    """Return the open session that a row belongs to, begun where there is none; None for a late reply to QUIT."""
    if row.session:
        if not of_key:
            of_key.append(_Open(row.time, row))
        of_key[0].ended = row.direction == "-"
        return of_key[0]
    start = row.time - timedelta(milliseconds=row.elapsed_ms or 0)
    current = min(
        (session for session in of_key if _fits(session, row, start) and not _repeats_mail(session, row)),
        key=lambda session: (
            not _awaits(session, row),
            (row.elapsed_ms or 0) - session.elapsed,
            abs(session.start - start),
        ),
        default=None,
    )
    if current is None and row.direction == "<" and row.text.startswith("221"):
        return None
    if current is None or (is_banner(row) and not _awaits_tls(current)):
        current = _Open(start, row)
        of_key.append(current)
    current.elapsed = row.elapsed_ms or current.elapsed
    # IIS always logs QUIT, and its reply not always: QUIT ends the session.
    current.ended = row.direction == ">" and row.text[:4].upper() == "QUIT"
    return current


def _fits(session: _Open, row: SmtpEvent, start: datetime) -> bool:
    """Return whether a session began when the connection of this row began, and is not further on already."""
    if row.elapsed_ms is None:
        return True
    return abs(session.start - start) <= SAME_CONNECTION and row.elapsed_ms >= session.elapsed


def _repeats_mail(session: _Open, row: SmtpEvent) -> bool:
    """Return whether a row would be a second MAIL right after the first: the two are of two connections."""
    return all(shown.direction == ">" and verb_of(shown.text) == "MAIL" for shown in (session.last, row))


def _awaits(session: _Open, row: SmtpEvent) -> bool:
    """Return whether it is this row's turn: a reply after a command, or a command after a reply."""
    return _awaits_tls(session) if is_banner(row) else (row.direction == "<") == (session.last.direction == ">")


def _awaits_tls(session: _Open) -> bool:
    """Return whether the last row is STARTTLS, to which the reply has the code of a banner."""
    return session.last.direction == ">" and session.last.text[:8].upper() == "STARTTLS"


def _idle(open_sessions: OpenSessions, before: datetime) -> Iterator[Session]:
    """Yield open sessions whose last row is older than ``before``: the log was cut, or the service stopped."""
    for key, of_key in list(open_sessions.items()):
        for session in [session for session in of_key if session.last.time < before]:
            of_key.remove(session)
            yield build_session(session.matches)
        if not of_key:
            del open_sessions[key]


def build_session(matches: Sequence[Match]) -> Session:
    """Return the session that rows make, in the order of their sequence numbers where they have them."""
    ordered = sorted(_once(matches), key=lambda match: getattr(match.event, "sequence", None) or 0)
    rows = [match.event for match in ordered if isinstance(match.event, SmtpEvent)]
    # An outage has thousands of sessions: what is looked for is looked for in rows of the right direction only.
    commands = [row for row in rows if row.direction == ">"]
    reply_rows = [row for row in rows if row.direction == "<"]
    information = [row for row in rows if row.direction == "*"]
    times = [row.time for row in rows]
    sent, received = certificates(information)
    replies = tuple(replies_of(ordered))
    banner = _BANNER_NAME.match(next((row.text for row in reply_rows if is_banner(row)), ""))
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
        remote_name=banner[1] if banner else "",
        helo=_helo(commands),
        seen_address=next((match[1] for row in reply_rows if (match := _HELLO.match(row.text))), ""),
        whole=_is_whole(rows, replies),
        starttls=any(verb_of(row.text) in TLS_VERBS for row in commands),
        handshake_time=_handshake(rows),
        tls=next((row.context for row in rows if row.context.startswith("TLS protocol")), ""),
        tls_error=_tls_error(information),
        sent=sent,
        received=received,
        replies=replies,
        ehlo=_ehlo(rows),
    )


def _is_whole(rows: Sequence[SmtpEvent], replies: Sequence[Reply]) -> bool:
    """Return whether every row up to the last refusal is there: excerpts, filtered logs and lost files lack some.

    Exchange numbers the rows of a session from 0. IIS does not: there the log must have the commands that SMTP makes
    necessary (it is usual that a reply is not logged).
    """
    refused = {id(reply.row) for reply in replies if reply.signals}
    last = max((number for number, row in enumerate(rows) if id(row) in refused), default=len(rows) - 1)
    needed = rows[: last + 1]
    if needed[0].sequence is not None:
        return [row.sequence for row in needed] == list(range(len(needed)))
    # A first row with 220 but without a name is the reply to a STARTTLS that is not in the log.
    if not (is_banner(needed[0]) and _BANNER_NAME.match(needed[0].text)):
        return False
    return _has_all_commands(needed[1:]) and not _has_reply_without_command(needed[1:])


def _has_all_commands(rows: Sequence[SmtpEvent]) -> bool:
    """Return whether the rows have all commands that must come before a reply about mail.

    Mail needs a greeting, MAIL and RCPT (RFC 5321 4.1.4); only TLS makes a second EHLO necessary, and only STARTTLS has
    the reply 220 (RFC 3207 4).
    """
    verbs = [verb_of(row.text) for row in rows if row.direction == ">"]
    if not {"MAIL", "RCPT"} <= {*verbs} or {"EHLO", "HELO"}.isdisjoint(verbs):
        return False
    greeted = sum(_HELLO.match(row.text) is not None for row in rows if row.direction == "<")
    began_again = greeted > 1 or verbs.count("EHLO") > 1 or any(is_banner(row) for row in rows)
    return not began_again or not {*TLS_VERBS}.isdisjoint(verbs)


def _has_reply_without_command(rows: Sequence[SmtpEvent]) -> bool:
    """Return whether there are more replies than commands at any row, so that a command is not in the log."""
    waiting, goes_on = 0, False
    for row in rows:
        if row.direction == ">":
            waiting += 1 + (verb_of(row.text) == "DATA")  # DATA has two replies: 354, and one to the message
            goes_on = False
        elif row.direction == "<":
            if not goes_on and not waiting:
                return True
            waiting -= not goes_on
            goes_on = _REPLY_GOES_ON.match(row.text) is not None
    return False


def _ehlo(rows: Sequence[SmtpEvent]) -> tuple[str, ...]:
    """Return the keywords of the reply to the first EHLO, in one row (Exchange 2016 and later) or in several.

    Empty where the last line of the reply is not in the log: then nobody knows what was not offered.
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
    # The first line names the host and greets. Where all is in one row, the keywords follow in it.
    greeting, *keyword_lines = lines
    keywords = _GREETING.sub("", greeting).split() + [line[4:].partition(" ")[0] for line in keyword_lines]
    return tuple(word.upper() for word in keywords)


def _once(matches: Sequence[Match]) -> Sequence[Match]:
    """Return rows without repetitions: those of a merged copy next to several logs, or of a log that a file has twice.

    Exchange numbers the rows of a session, so the same row again is no second one. Rows without a number are all kept.
    """
    numbers = [getattr(match.event, "sequence", None) for match in matches]
    if len(set(numbers)) == len(numbers):
        return matches
    seen: set[tuple[object, ...]] = set()
    unique = []
    for match in matches:
        row = match.event
        assert isinstance(row, SmtpEvent)
        key = (row.sequence, row.time, row.direction, row.text, row.context)
        if row.sequence is None or key not in seen:
            unique.append(match)
        seen.add(key)
    return unique


def _helo(commands: Sequence[SmtpEvent]) -> str:
    """Return the name by which this server greeted first."""
    for row in commands:
        verb, _, name = row.text.strip().partition(" ")
        if verb.upper() in ("EHLO", "HELO"):
            return name.strip()
    return ""


def _tls_error(information: Sequence[SmtpEvent]) -> str:
    """Return the error of a TLS negotiation that failed: ``NoCredentials``, ``UnknownCredentials``, ``SocketError``."""
    for row in information:
        for text in (row.context, row.text):
            if text[:1] in ("T", "t") and (match := _TLS_FAILED.match(text)) is not None:
                return match[1]
    return ""


def _handshake(rows: Sequence[SmtpEvent]) -> datetime | None:
    """Return when TLS began: the time of the sent certificate, else of the reply to STARTTLS, else of STARTTLS.

    Where none of them is in the log, the row of the negotiated protocol is the nearest; None without it.
    """
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
