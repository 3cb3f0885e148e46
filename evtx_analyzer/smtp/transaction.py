"""The commands and replies of one session, paired in order, and the mail transaction that each belongs to.

With pipelining (RFC 2920) the n-th reply answers the n-th command. The banner answers none, and the reply after the end
of DATA answers no command row at all. IIS sends a command after the answer to the one before and does not write every
answer: a command with a later time-taken was preceded by one. A reply of several lines (one row each up to Exchange
2013) is one reply.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from evtx_analyzer.model.events import Match, SmtpEvent

_REPLY = re.compile(r"\d{3}([ -]|$)")
_ADDRESS = re.compile(r"(?:FROM|TO)\s*:\s*(?:<([^<>]*)>|<?([^>\s]*))", re.IGNORECASE)
_MESSAGE = re.compile(r"InternetMessageId\s+(<[^>]*>|\S+)")
_EXTENSION = re.compile(r"X-?[A-Z]{3,}$")
_END_OF_DATA = "end of data"
# RFC 3030: a message may come in several chunks, and only the answer to the last one says that it was taken.
_CHUNK = "BDAT chunk"
_MAIL_VERBS = ("MAIL", "RCPT", "DATA", "BDAT", _CHUNK, _END_OF_DATA)
TLS_VERBS = ("STARTTLS", "X-ANONYMOUSTLS")
_FAILED = 400


class Reply(Struct, frozen=True, kw_only=True):
    """A reply and the command it answers; ``signals`` are those that saw 5.7.64 in one of its lines.

    ``rcpt_to`` is the recipient that was answered; all accepted ones after the end of data; after MAIL those that were
    named before the reply came. ``null_sender`` is True after MAIL FROM:<>, False after a sender, None where the log
    shows no MAIL FROM; ``mail_from`` is empty in both other cases.
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
    """Return whether a row is a reply with the code of a banner."""
    return row.direction == "<" and row.text.startswith("220")


class _Command(Struct, frozen=True):
    """A command that waits for its reply, with the message that it belongs to."""

    verb: str
    address: str
    message_id: str
    elapsed_ms: int | None = None


_NO_COMMAND = _Command("", "", "")


class _Transaction:
    """Commands and replies of a session in order: whose mail is going on, and which recipients were accepted."""

    def __init__(self) -> None:
        self.waiting: deque[_Command] = deque()
        self._accepted: list[str] = []
        self._lines: list[Match] = []
        self._named: str | None = None

    def command(self, row: SmtpEvent, message_id: str) -> None:
        """Note a command, which waits for its reply; rows that hold no command are left out."""
        verb = verb_of(row.text)
        if not verb:
            return
        if not row.session:
            self.answered_before(row.elapsed_ms)
        address = _address(row.text) if verb in ("MAIL", "RCPT") else ""
        if verb == "MAIL":
            # The sender holds until the next MAIL, also where the answer is not in the log.
            self._named = address
        if verb == "BDAT" and not row.text.rstrip().upper().endswith("LAST"):
            verb = _CHUNK
        self.waiting.append(_Command(verb, address, message_id, row.elapsed_ms))

    def line(self, match: Match, *, goes_on: bool) -> Reply | None:
        """Add one row of a reply; return the reply if the row ends it and it is of interest (see ``finish``)."""
        self._lines.append(match)
        return None if goes_on else self.finish()

    def finish(self) -> Reply | None:
        """Return the reply of the rows so far, whose last line was just added or is not in the log.

        None if there is none, or if it neither answers a mail command nor failed nor was seen by a signal.
        """
        if not self._lines:
            return None
        matches, self._lines = self._lines, []
        shown = matches[-1] if len(matches) == 1 else next((match for match in matches if match.signals), matches[-1])
        row = shown.event
        assert isinstance(row, SmtpEvent)
        code = int(row.text[:3])
        command = self._answered(row)
        if command.verb == "DATA" and code == 354:  # noqa: PLR2004  RFC 5321: go ahead, the text follows
            self.waiting.appendleft(_Command(_END_OF_DATA, "", command.message_id))
            return None
        recipients = self._recipients(command, code)
        mail = command.verb in _MAIL_VERBS
        if not mail and not shown.signals and code < _FAILED:
            return None
        return Reply(
            row=row,
            code=code,
            command=command.verb,
            mail_from=self._named or "",
            rcpt_to="; ".join(recipients),
            message_id=command.message_id,
            signals=tuple(sorted({name for match in matches for name in match.signals})),
            null_sender=None if self._named is None else not self._named,
        )

    def answered_before(self, elapsed_ms: int | None) -> None:
        """Take commands without a written reply, sent before this time, as accepted: a later command was sent."""
        while self.waiting and (elapsed_ms is None or elapsed_ms > (self.waiting[0].elapsed_ms or 0)):
            self._recipients(self.waiting.popleft(), 250)

    def _answered(self, row: SmtpEvent) -> _Command:
        """Return the command that a reply answers; the banner and replies that no command waits for answer none."""
        greeting = not self.waiting or (is_banner(row) and self.waiting[0].verb not in TLS_VERBS)
        return _NO_COMMAND if greeting else self.waiting.popleft()

    def _recipients(self, command: _Command, code: int) -> list[str]:
        if command.verb == "MAIL":
            self._accepted = []
            named = []
            for later in self.waiting:
                if later.verb != "RCPT":
                    break
                named.append(later.address)
            return named if code >= _FAILED else []
        if command.verb == "RCPT":
            self._accepted += [command.address] if code < _FAILED else []
            return [command.address]
        return self._accepted


def replies_of(matches: Sequence[Match]) -> Iterator[Reply]:
    """Yield the replies to the commands of mail transactions, paired in order, and every reply that failed."""
    transaction, message_id = _Transaction(), ""
    for match in matches:
        row = match.event
        assert isinstance(row, SmtpEvent)
        reply = None
        if row.direction == "*":
            # Most information rows name no message: a plain search is cheaper than an expression.
            found = _MESSAGE.search(row.context) if "InternetMessageId" in row.context else None
            message_id = found[1] if found else message_id
        elif row.direction == ">":
            reply = transaction.finish()
            transaction.command(row, message_id)
        elif row.direction == "<" and (line := _REPLY.match(row.text)) is not None:
            reply = transaction.line(match, goes_on=line[1] == "-")
        if reply is not None:
            yield reply
    last = transaction.finish()
    if last is not None:
        yield last


def verb_of(text: str) -> str:
    """Return the SMTP verb of a command row; empty if it holds none (authentication data, message text)."""
    return _known_verb(text.strip().partition(" ")[0])


@lru_cache(maxsize=256)
def _known_verb(word: str) -> str:
    known = ("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "QUIT", "NOOP")
    return word.upper() if word.upper() in known or _EXTENSION.match(word) else ""


def _address(text: str) -> str:
    """Return the address of a MAIL or RCPT command; IIS writes a blank for its plus signs."""
    match = _ADDRESS.search(text)
    if match is None:
        return ""
    return match[2] if match[1] is None else match[1].strip().replace(" ", "+")
