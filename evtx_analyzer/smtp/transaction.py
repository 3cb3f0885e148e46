"""Pair the commands and replies of one session, and find the mail transaction to which each pair belongs.

With pipelining (RFC 2920) the n-th reply answers the n-th command. Two replies answer no row of a command: the banner,
and the reply that comes after the end of DATA. IIS does not pipeline, and does not log every reply: where a command has
a later time-taken than the one before, a reply came between the two. A reply of several lines, which Exchange up to
2013 writes in several rows, is one reply.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import takewhile

from msgspec import Struct

from evtx_analyzer.model.events import Match, SmtpEvent

_REPLY = re.compile(r"\d{3}([ -]|$)")
_ADDRESS = re.compile(r"(?:FROM|TO)\s*:\s*(?:<([^<>]*)>|<?([^>\s]*))", re.IGNORECASE)
_MESSAGE = re.compile(r"InternetMessageId\s+(<[^>]*>|\S+)")
_EXTENSION = re.compile(r"X-?[A-Z]{3,}$")
_END_OF_DATA = "end of data"
# RFC 3030: a message may be sent in several chunks, and only the reply to the last one says that it was accepted.
_CHUNK = "BDAT chunk"
_MAIL_VERBS = ("MAIL", "RCPT", "DATA", "BDAT", _CHUNK, _END_OF_DATA)
TLS_VERBS = ("STARTTLS", "X-ANONYMOUSTLS")
FAILED = 400
"""Reply codes from here on say that a command failed (RFC 5321 4.2.1)."""


class Reply(Struct, frozen=True, kw_only=True):
    """A reply and the command that it answers; ``signals`` are those that matched one of its lines (5.7.64).

    ``rcpt_to`` depends on the command: after RCPT it is this recipient; after the end of data all accepted recipients,
    joined by ``; ``; after a refused MAIL the recipients that were sent before the reply came (pipelining).
    ``null_sender`` is True after MAIL FROM:<>, False after a sender, None where the log has no MAIL FROM;
    ``mail_from`` is empty where it is True or None.
    """

    row: SmtpEvent
    code: int
    command: str
    mail_from: str
    rcpt_to: str
    message_id: str
    signals: tuple[str, ...]
    null_sender: bool | None = None


def is_banner(row: SmtpEvent) -> bool:
    """Return whether a row is a reply with the code of a banner (220); so has the reply to STARTTLS."""
    return row.direction == "<" and row.text.startswith("220")


class _Command(Struct, frozen=True):
    """A command that waits for its reply; ``message_id`` is that of the message that is being sent."""

    verb: str
    address: str
    message_id: str
    elapsed_ms: int | None = None


_NO_COMMAND = _Command("", "", "")


class _Transaction:
    """The state of a session between two rows: commands without a reply, the sender, the accepted recipients."""

    def __init__(self) -> None:
        self._waiting: deque[_Command] = deque()
        self._accepted: list[str] = []
        self.lines: list[Match] = []
        self._sender: str | None = None

    def command(self, row: SmtpEvent, message_id: str) -> None:
        """Let a command wait for its reply; a row that holds no command is ignored."""
        verb = verb_of(row.text)
        if not verb:
            return
        if not row.session:
            self._accept_before(row.elapsed_ms)
        address = _address(row.text) if verb in ("MAIL", "RCPT") else ""
        if verb == "MAIL":
            # The sender holds until the next MAIL, even where the reply is not in the log.
            self._sender = address
        if verb == "BDAT" and not row.text.rstrip().upper().endswith("LAST"):
            verb = _CHUNK
        self._waiting.append(_Command(verb, address, message_id, row.elapsed_ms))

    def finish(self) -> Reply | None:
        """Return the reply that the rows added so far make, even if its last line is not in the log.

        None if there is no such row, or if the reply neither answers a mail command nor failed nor has a signal.
        """
        if not self.lines:
            return None
        matches, self.lines = self.lines, []
        shown = matches[-1] if len(matches) == 1 else next((match for match in matches if match.signals), matches[-1])
        row = shown.event
        assert isinstance(row, SmtpEvent)
        code = int(row.text[:3])
        command = self._answered(row)
        if command.verb == "DATA" and code == 354:  # noqa: PLR2004  RFC 5321: go ahead, the text follows
            self._waiting.appendleft(_Command(_END_OF_DATA, "", command.message_id))
            return None
        recipients = self._recipients(command, code)
        if command.verb not in _MAIL_VERBS and not shown.signals and code < FAILED:
            return None
        return Reply(
            row=row,
            code=code,
            command=command.verb,
            mail_from=self._sender or "",
            rcpt_to="; ".join(recipients),
            message_id=command.message_id,
            signals=tuple(sorted({name for match in matches for name in match.signals})),
            null_sender=None if self._sender is None else not self._sender,
        )

    def _accept_before(self, elapsed_ms: int | None) -> None:
        """Take waiting commands that were sent before this time as accepted.

        IIS did not log their replies, but the client went on.
        """
        while self._waiting and (elapsed_ms is None or elapsed_ms > (self._waiting[0].elapsed_ms or 0)):
            self._recipients(self._waiting.popleft(), 250)

    def _answered(self, row: SmtpEvent) -> _Command:
        """Return the command that a reply answers; the banner, and a reply for which no command waits, answer none."""
        answers_none = not self._waiting or (is_banner(row) and self._waiting[0].verb not in TLS_VERBS)
        return _NO_COMMAND if answers_none else self._waiting.popleft()

    def _recipients(self, command: _Command, code: int) -> list[str]:
        """Return the recipients that a reply is about (see ``Reply``), and keep account of the accepted ones."""
        if command.verb == "MAIL":
            self._accepted = []
            pipelined = takewhile(lambda later: later.verb == "RCPT", self._waiting)
            return [later.address for later in pipelined] if code >= FAILED else []
        if command.verb == "RCPT":
            self._accepted += [command.address] if code < FAILED else []
            return [command.address]
        return self._accepted


def replies_of(matches: Sequence[Match]) -> Iterator[Reply]:
    """Yield the replies to MAIL, RCPT, DATA and BDAT, and every reply that failed, from the rows of one session."""
    transaction, message_id = _Transaction(), ""
    for match in matches:
        row = match.event
        assert isinstance(row, SmtpEvent)
        reply = None
        if row.direction == "*":
            # Most information rows name no message: a plain search is cheaper than an expression.
            named = _MESSAGE.search(row.context) if "InternetMessageId" in row.context else None
            message_id = named[1] if named else message_id
        elif row.direction == ">":
            reply = transaction.finish()
            transaction.command(row, message_id)
        elif row.direction == "<" and (line := _REPLY.match(row.text)) is not None:
            transaction.lines.append(match)
            reply = transaction.finish() if line[1] != "-" else None
        if reply is not None:
            yield reply
    last = transaction.finish()
    if last is not None:
        yield last


def verb_of(text: str) -> str:
    """Return the SMTP verb of a command row in upper case; empty if it has none (authentication data, message text)."""
    return _known_verb(text.strip().partition(" ")[0])


@lru_cache(maxsize=256)
def _known_verb(word: str) -> str:
    known = ("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "QUIT", "NOOP")
    return word.upper() if word.upper() in known or _EXTENSION.match(word) else ""


def _address(text: str) -> str:
    """Return the address of a MAIL or RCPT command.

    IIS logs have a blank as ``+``, so the reader turned every ``+`` into a blank: an address has no blanks.
    """
    match = _ADDRESS.search(text)
    if match is None:
        return ""
    return match[2] if match[1] is None else match[1].strip().replace(" ", "+")
