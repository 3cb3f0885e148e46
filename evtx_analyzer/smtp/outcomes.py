"""What one session adds to the delivery history: from all of its rows, and faster from a layout for its shape.

``outcome_of`` is the definition, and ``OutcomeReader`` must equal it. A ``Layout`` says, for all sessions whose rows
have the same tokens, which row holds what. It is learned from the first of them: the addresses in its MAIL and RCPT
rows are replaced by the numbers of these rows, and what ``outcome_of`` then names as domains are the rows to look in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.distinguished_names import sorted_names
from evtx_analyzer.exchange_online import is_remote_side
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Match, SmtpEvent
from evtx_analyzer.model.records import Acceptance, Outcome
from evtx_analyzer.smtp.sessions import Session, build_session
from evtx_analyzer.smtp.transaction import Reply

_ACCEPTED = range(200, 300)
_FAILED = 400
_END_OF_MESSAGE = ("DATA", "BDAT", "end of data")
_MAIL, _RCPT = "MAIL", "RCPT"
_ADDRESS = re.compile(rb"(?i:FROM|TO)\s*:\s*(?:<([^<>]*)>|<?([^>\s]*))")
_HELLO = re.compile(rb"250[ -]\s*\S+ Hello \[([0-9A-Fa-f.:]+)\]")
_BANNER = re.compile(rb"220[ -](\S+)")
_MOST_TEXTS = 10_000
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def is_online(banner_name: str, received: Certificate | None) -> bool | None:
    """Return whether the remote side of a session is Exchange Online, by banner and certificate; None if unknown."""
    return is_remote_side(banner_name, received, "")


def outcome_of(session: Session) -> Outcome:
    """Return the outcome of a session, whether it was refused or not."""
    return Outcome(
        first=session.first,
        connector=session.connector,
        thumbprint=session.sent.thumbprint if session.sent else "",
        tls=_tls(session),
        seen_address=session.seen_address,
        online=is_online(session.remote_name, session.received),
        own_names=_own_names(session),
        accepted=tuple([_acceptance(reply) for reply in session.replies if is_acceptance(reply)]),
    )


def is_acceptance(reply: Reply) -> bool:
    """Return whether a reply says that a message was taken."""
    return not reply.signals and reply.command in _END_OF_MESSAGE and reply.code in _ACCEPTED


def domain_of(address: str) -> str:
    """Return the domain of an address, folded; the whole address where it has none; empty for the null sender."""
    return address.rpartition("@")[2].casefold()


def _own_names(session: Session) -> tuple[str, ...]:
    names = sorted_names(session.sent.subject, session.sent.alternate_names) if session.sent else ()
    return (session.helo.casefold(), *names) if session.helo else names


def _acceptance(reply: Reply) -> Acceptance:
    domains = {domain_of(address) for address in reply.rcpt_to.split("; ")} - {""}
    sender = None if reply.null_sender is None else domain_of(reply.mail_from)
    return Acceptance(reply.row.time, sender, tuple(sorted(domains)), reply.row.time_basis)


def _tls(session: Session) -> bool | None:
    """Return whether TLS was used; a session whose beginning is not in the log does not show that it was not."""
    refused = any(reply.command == "STARTTLS" and reply.code >= _FAILED for reply in session.replies)
    if session.sent or session.received or session.tls or (session.starttls and not refused):
        return True
    return False if session.whole else None


def _verb(row: SmtpEvent) -> str:
    return row.text.strip().partition(" ")[0].upper()


# ------------------------------------------------------------------------------------------------ layouts


class Message(Struct, frozen=True):
    """The numbers (from 0) of the rows that tell of one accepted message; without ``sender`` none is shown."""

    accepted: int
    sender: int | None
    recipients: tuple[int, ...]


class Refused(Struct, frozen=True):
    """The numbers (from 0) of the rows that tell of one refusal; None where no row does."""

    reply: int
    sender: int | None
    recipients: tuple[int, ...]
    message_id: int | None


class Layout(Struct, frozen=True, kw_only=True):
    """In which rows of a session its outcome stands; ``hellos`` are replies that may greet the client.

    ``local`` is the first row that names the local endpoint, ``banners`` are replies with the code of a banner.
    ``own_names`` are those of the first session of this shape: a server calls itself alike in all of them.
    ``refused`` are the replies with 5.7.64. Where there are any, ``handshake`` is the row at which TLS began, and
    ``greetings`` are the rows before the first MAIL in which both sides say who they are, but for the first banner.
    """

    sent: Certificate | None
    tls: bool | None
    received: Certificate | None
    own_names: tuple[str, ...]
    local: int
    banners: tuple[int, ...]
    hellos: tuple[int, ...]
    messages: tuple[Message, ...]
    refused: tuple[Refused, ...] = ()
    handshake: int | None = None
    greetings: tuple[int, ...] = ()


def layout_of(matches: Sequence[Match]) -> Layout | None:
    """Return the layout of a session by its rows, which stand in their order.

    None where anything in it failed but for refusals with 5.7.64, and where it is not certain what was refused.
    """
    rows = [match.event for match in matches if isinstance(match.event, SmtpEvent)]
    numbered = [_numbered(row, number) for number, row in enumerate(rows)]
    signals = [match.signals for match in matches]
    session = build_session([Match(event=row, signals=names) for row, names in zip(numbered, signals, strict=True)])
    if session.tls_error or any(not reply.signals and reply.code >= _FAILED for reply in session.replies):
        return None
    refused = [reply for reply in session.replies if reply.signals]
    mail = next((number for number, row in enumerate(rows) if _is_command(row, _MAIL)), len(rows))
    if refused and not _is_plain(session, refused, rows[mail:]):
        return None
    places = {id(row): number for number, row in enumerate(numbered)}
    taken = [reply for reply in session.replies if is_acceptance(reply)]
    outcome = outcome_of(session)
    return Layout(
        sent=session.sent,
        tls=outcome.tls,
        received=session.received,
        own_names=outcome.own_names,
        local=next((number for number, row in enumerate(rows) if row.local), 0),
        banners=tuple([n for n, row in enumerate(rows) if row.direction == "<" and row.text.startswith("220")]),
        hellos=tuple([n for n, row in enumerate(rows) if row.direction == "<" and row.text.startswith("250")]),
        messages=tuple(
            [
                _message(places[id(reply.row)], acceptance)
                for reply, acceptance in zip(taken, outcome.accepted, strict=True)
            ]
        ),
        refused=tuple([_refused(places[id(reply.row)], reply) for reply in refused]),
        handshake=_number_of(session.handshake_time) if refused else None,
        greetings=tuple(_greetings(rows[:mail])) if refused else (),
    )


def _is_plain(session: Session, refused: Sequence[Reply], after: Sequence[SmtpEvent]) -> bool:
    """Return whether a refused session is of the usual kind: whole, and nobody says who he is once mail goes on.

    A reply of several rows is none, for which of them says 5.7.64 may differ from session to session.
    """
    one_row = all(reply.row.text[3:4] != "-" for reply in refused)
    return session.whole and one_row and not any(_is_command(row, *_HELLOS) for row in after)


def _is_command(row: SmtpEvent, *verbs: str) -> bool:
    return row.direction == ">" and _verb(row) in verbs


def _greetings(before: Sequence[SmtpEvent]) -> Iterator[int]:
    """Yield the numbers of the replies before the first MAIL but for the banner, and of EHLO and HELO."""
    banner = next((number for number, row in enumerate(before) if row.direction == "<"), None)
    for number, row in enumerate(before):
        if (row.direction == "<" and number != banner) or _is_command(row, *_HELLOS):
            yield number


def _refused(at: int, reply: Reply) -> Refused:
    named = [int(number) for number in reply.rcpt_to.split("; ") if number]
    message_id = int(reply.message_id.strip("<>")) if reply.message_id else None
    return Refused(at, int(reply.mail_from) if reply.mail_from else None, tuple(named), message_id)


_MESSAGE_ID = re.compile(r"(InternetMessageId\s+)(?:<[^>]*>|\S+)")
_HELLOS = ("EHLO", "HELO")
_ZERO = datetime(2000, 1, 1, tzinfo=UTC)


def _numbered(row: SmtpEvent, number: int) -> SmtpEvent:
    """Return a row with its number in place of its time, and of an address or a message id that it names."""
    verb = _verb(row) if row.direction == ">" else ""
    text = f"{verb} {'FROM' if verb == _MAIL else 'TO'}:<{number}>" if verb in (_MAIL, _RCPT) else row.text
    context = _MESSAGE_ID.sub(rf"\g<1><{number}>", row.context) if row.direction == "*" else row.context
    return replace(row, text=text, context=context, time=_ZERO + timedelta(seconds=number))


def _number_of(time: datetime | None) -> int | None:
    """Return the number of the row that has a time of ``_numbered``."""
    return None if time is None else (time - _ZERO) // timedelta(seconds=1)


def _message(accepted: int, acceptance: Acceptance) -> Message:
    sender = int(acceptance.sender_domain) if acceptance.sender_domain else None
    return Message(accepted, sender, tuple([int(number) for number in acceptance.recipient_domains]))


class OutcomeReader:
    """Reads outcomes from lines as bytes, by the layout of their session; equal texts are read once.

    ``text_of`` gives the text of a command or reply of a line, or nothing where it is not certain: then no outcome is
    made (None), and the session is read row by row. ``time_of`` reads a time as the log writes it.
    ``usual`` finds the domain in a line of MAIL and RCPT as they are usually written, sooner than by the text.
    """

    def __init__(
        self,
        text_of: Callable[[bytes], bytes],
        time_of: Callable[[bytes], datetime | None],
        usual: re.Pattern[bytes],
    ) -> None:
        self._text_of, self._time_of, self._usual = text_of, time_of, usual
        self._domains: dict[bytes, str] = {}
        self._addresses: dict[bytes, str] = {}
        self._online: dict[tuple[bytes, Certificate | None], bool | None] = {}

    def outcome(
        self,
        lines: Sequence[Sequence[bytes]],
        layout: Layout,
        connector: str,
        first: datetime,
        accepted: tuple[Acceptance, ...],
    ) -> Outcome:
        """Return the outcome of a session; of each row the line stands first."""
        return Outcome(
            first=first,
            connector=connector,
            thumbprint=layout.sent.thumbprint if layout.sent else "",
            tls=layout.tls,
            seen_address=self._seen_address(lines, layout.hellos),
            online=self._known_online(lines, layout),
            own_names=layout.own_names,
            accepted=accepted,
        )

    def acceptances(self, lines: Sequence[Sequence[bytes]], layout: Layout, size: int) -> tuple[Acceptance, ...] | None:
        """Return the accepted messages of a session; None if a time (``size`` bytes) or an address is not certain."""
        accepted = []
        for message in layout.messages:
            time = self._time_of(lines[message.accepted][0][:size])
            sender = None if message.sender is None else self._domain(lines[message.sender][0])
            domains = [self._domain(lines[at][0]) for at in message.recipients]
            if time is None or None in domains or (sender is None and message.sender is not None):
                return None
            if len(domains) > 1 or "" in domains:
                domains = sorted({name for name in domains if name})  # type: ignore[assignment]
            accepted.append(Acceptance(time, sender, tuple(domains)))  # type: ignore[arg-type]
        return tuple(accepted)

    def _seen_address(self, lines: Sequence[Sequence[bytes]], hellos: tuple[int, ...]) -> str:
        """Return the client address in the first reply that names one, which is an answer to EHLO."""
        for at in hellos:
            text = self._text_of(lines[at][0])
            address = self._addresses.get(text)
            if address is None:
                match = _HELLO.match(text)
                address = match[1].decode() if match else ""
                _keep(self._addresses, text, address)
            if address:
                return address
        return ""

    def _known_online(self, lines: Sequence[Sequence[bytes]], layout: Layout) -> bool | None:
        """Return whether the remote side is Exchange Online; asked once for each name and certificate."""
        match = _BANNER.match(self._text_of(lines[layout.banners[0]][0])) if layout.banners else None
        key = match[1] if match else b"", layout.received
        if key not in self._online:
            _keep(self._online, key, is_online(key[0].decode("utf-8", "replace"), layout.received))
        return self._online[key]

    def _domain(self, line: bytes) -> str | None:
        """Return the domain of the address in a MAIL or RCPT command; None where it is not certain."""
        match = self._usual.search(line) or _ADDRESS.search(self._text_of(line))
        if match is None:
            return None
        address = match[match.lastindex or 1]
        written = address.strip().replace(b" ", b"+").rpartition(b"@")[2]
        domain = self._domains.get(written)
        if domain is None:
            if not line.isascii():
                return None
            domain = written.decode().casefold()
            _keep(self._domains, written, domain)
        return domain


def _keep(known: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Remember a text that may come again, not more than some thousands of them."""
    if len(known) >= _MOST_TEXTS:
        known.clear()
    known[key] = value
