"""Make outcomes: what one session adds to the delivery history.

``outcome_of`` makes the outcome of a session from all of its rows, and defines what it is. ``OutcomeReader`` makes the
same one faster, from the bytes of a few rows. It needs a ``Layout``, which says for all sessions of one shape which row
holds what. A layout is learned from the first session of its shape by a trick: in a copy of its rows, each address in
a MAIL or RCPT row, each message id and each time is replaced by the number of its row. Then ``outcome_of`` returns row
numbers where it would return domains and times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.distinguished_names import sorted_names
from evtx_analyzer.exchange_online import is_remote_side
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Match, SmtpEvent
from evtx_analyzer.model.records import Acceptance, Outcome
from evtx_analyzer.smtp.sessions import Session, build_session
from evtx_analyzer.smtp.transaction import FAILED, Reply, is_banner, verb_of

_ACCEPTED = range(200, 300)
_END_OF_MESSAGE = ("DATA", "BDAT", "end of data")
_MAIL, _RCPT = "MAIL", "RCPT"
_ADDRESS = re.compile(rb"(?i:FROM|TO)\s*:\s*(?:<([^<>]*)>|<?([^>\s]*))")
_HELLO = re.compile(rb"250[ -]\s*\S+ Hello \[([0-9A-Fa-f.:]+)\]")
_BANNER = re.compile(rb"220[ -](\S+)")
_MOST_TEXTS = 10_000


@lru_cache(maxsize=_MOST_TEXTS)
def is_online(banner_name: str, received: Certificate | None) -> bool | None:
    """Return whether the remote side is Exchange Online, by the name in its banner and its certificate.

    None if neither is known.
    """
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
    """Return whether a reply says that a message was accepted."""
    return not reply.signals and reply.command in _END_OF_MESSAGE and reply.code in _ACCEPTED


def domain_of(address: str) -> str:
    """Return the domain of an address in lower case; the whole address where it has none; empty for the null sender."""
    return address.rpartition("@")[2].casefold()


def _own_names(session: Session) -> tuple[str, ...]:
    """Return the names by which this server calls itself: in EHLO or HELO, and in its certificate."""
    names = sorted_names(session.sent.subject, session.sent.alternate_names) if session.sent else ()
    return (session.helo.casefold(), *names) if session.helo else names


def _acceptance(reply: Reply) -> Acceptance:
    domains = {domain_of(address) for address in reply.rcpt_to.split("; ")} - {""}
    sender = None if reply.null_sender is None else domain_of(reply.mail_from)
    return Acceptance(reply.row.time, sender, tuple(sorted(domains)), reply.row.time_basis)


def _tls(session: Session) -> bool | None:
    """Return whether TLS was used; None where the log lacks rows of the session and shows no TLS."""
    refused = any(reply.command == "STARTTLS" and reply.code >= FAILED for reply in session.replies)
    if session.sent or session.received or session.tls or (session.starttls and not refused):
        return True
    return False if session.whole else None


# ------------------------------------------------------------------------------------------------ layouts


class MailRows(Struct, frozen=True):
    """The numbers (from 0) of the rows about one accepted or refused message; None where there is no such row."""

    reply: int
    sender: int | None
    recipients: tuple[int, ...]
    message_id: int | None = None


class Layout(Struct, frozen=True, kw_only=True):
    """The rows (numbers from 0) of a session in which its outcome stands, and what all sessions of its shape share.

    ``local`` is the first row that has the local endpoint, ``banners`` are replies with code 220, ``hellos`` are
    replies with code 250, one of which may greet the client. ``own_names`` are those of the first session of the shape,
    for a server uses the same names in all of them. ``refused`` are the refusals with 5.7.64. Only where there are any,
    ``handshake`` is the row at which TLS began, and ``greetings`` are the rows before the first MAIL in which both
    sides say who they are, except the first banner.
    """

    sent: Certificate | None
    tls: bool | None
    received: Certificate | None
    own_names: tuple[str, ...]
    local: int
    banners: tuple[int, ...]
    hellos: tuple[int, ...]
    messages: tuple[MailRows, ...]
    refused: tuple[MailRows, ...] = ()
    handshake: int | None = None
    greetings: tuple[int, ...] = ()


def layout_of(matches: Sequence[Match]) -> Layout | None:
    """Return the layout of a session from all of its rows in their order.

    None where anything but a refusal with 5.7.64 failed, and where it is not certain which rows tell what was refused.
    """
    rows = [match.event for match in matches if isinstance(match.event, SmtpEvent)]
    numbered = [_numbered(row, number) for number, row in enumerate(rows)]
    signals = [match.signals for match in matches]
    session = build_session([Match(event=row, signals=names) for row, names in zip(numbered, signals, strict=True)])
    if session.tls_error or any(not reply.signals and reply.code >= FAILED for reply in session.replies):
        return None
    refused = [reply for reply in session.replies if reply.signals]
    mail = next((number for number, row in enumerate(rows) if _is_command(row, _MAIL)), len(rows))
    if refused and not _is_plain(session, refused, rows[mail:]):
        return None
    places = {id(row): number for number, row in enumerate(numbered)}
    return Layout(
        sent=session.sent,
        tls=_tls(session),
        received=session.received,
        own_names=_own_names(session),
        local=next((number for number, row in enumerate(rows) if row.local), 0),
        banners=tuple([n for n, row in enumerate(rows) if is_banner(row)]),
        hellos=tuple([n for n, row in enumerate(rows) if row.direction == "<" and row.text.startswith("250")]),
        messages=tuple([_mail_rows(places, reply) for reply in session.replies if is_acceptance(reply)]),
        refused=tuple([_mail_rows(places, reply) for reply in refused]),
        # ``_numbered`` gave each row the time of its number.
        handshake=(began - _ZERO) // timedelta(seconds=1) if refused and (began := session.handshake_time) else None,
        greetings=tuple(_greetings(rows[:mail])) if refused else (),
    )


def _is_plain(session: Session, refused: Sequence[Reply], from_mail: Sequence[SmtpEvent]) -> bool:
    """Return whether a refused session can have a layout: it is whole, and has no EHLO from the first MAIL on.

    Each refusal must be a reply of one row: which row of several holds 5.7.64 may differ from session to session.
    """
    one_row = all(reply.row.text[3:4] != "-" for reply in refused)
    return session.whole and one_row and not any(_is_command(row, *_HELLOS) for row in from_mail)


def _is_command(row: SmtpEvent, *verbs: str) -> bool:
    return row.direction == ">" and verb_of(row.text) in verbs


def _greetings(before_mail: Sequence[SmtpEvent]) -> Iterator[int]:
    """Yield the numbers of all replies before the first MAIL except the first one, and of EHLO and HELO."""
    banner = next((number for number, row in enumerate(before_mail) if row.direction == "<"), None)
    for number, row in enumerate(before_mail):
        if (row.direction == "<" and number != banner) or _is_command(row, *_HELLOS):
            yield number


def _mail_rows(places: Mapping[int, int], reply: Reply) -> MailRows:
    """Return the rows about a message, from a reply whose addresses and message id are row numbers."""
    return MailRows(
        reply=places[id(reply.row)],
        sender=int(reply.mail_from) if reply.mail_from else None,
        recipients=tuple([int(number) for number in reply.rcpt_to.split("; ") if number]),
        message_id=int(reply.message_id.strip("<>")) if reply.message_id else None,
    )


_MESSAGE_ID = re.compile(r"(InternetMessageId\s+)(?:<[^>]*>|\S+)")
_HELLOS = ("EHLO", "HELO")
_ZERO = datetime(2000, 1, 1, tzinfo=UTC)


def _numbered(row: SmtpEvent, number: int) -> SmtpEvent:
    """Return a row with its number in place of its time, its address and its message id."""
    verb = verb_of(row.text) if row.direction == ">" else ""
    text = f"{verb} {'FROM' if verb == _MAIL else 'TO'}:<{number}>" if verb in (_MAIL, _RCPT) else row.text
    context = _MESSAGE_ID.sub(rf"\g<1><{number}>", row.context) if row.direction == "*" else row.context
    return replace(row, text=text, context=context, time=_ZERO + timedelta(seconds=number))


class OutcomeReader(NamedTuple):
    """Makes outcomes from lines as bytes, by the layout of their session.

    ``text_of`` returns the text of the command or reply in a line, or nothing where it is not certain: then there is no
    outcome (None), and the session must be read row by row. ``time_of`` parses a time as the log writes it, in the
    first ``time_size`` bytes of a line. ``usual`` finds the domain in a line of a MAIL or RCPT that is written as
    usual, which is faster than ``text_of``.
    """

    text_of: Callable[[bytes], bytes]
    time_of: Callable[[bytes], datetime | None]
    time_size: int
    usual: re.Pattern[bytes]

    def outcome(self, lines: Sequence[Sequence[bytes]], layout: Layout, connector: str, begun: bytes) -> Outcome | None:
        """Return the outcome of a session that began at a time as written; None if a time or address is not certain.

        ``lines`` are its rows, the line is the first value of each.
        """
        first, accepted = self.time_of(begun), self._acceptances(lines, layout)
        if first is None or accepted is None:
            return None
        # One of the replies with code 250 is that to EHLO, and names the client's address.
        addresses = (_greeted_address(self.text_of(lines[at][0])) for at in layout.hellos)
        banner = _BANNER.match(self.text_of(lines[layout.banners[0]][0])) if layout.banners else None
        return Outcome(
            first=first,
            connector=connector,
            thumbprint=layout.sent.thumbprint if layout.sent else "",
            tls=layout.tls,
            seen_address=next(filter(None, addresses), ""),
            online=is_online(banner[1].decode("utf-8", "replace") if banner else "", layout.received),
            own_names=layout.own_names,
            accepted=accepted,
        )

    def _acceptances(self, lines: Sequence[Sequence[bytes]], layout: Layout) -> tuple[Acceptance, ...] | None:
        accepted = []
        for message in layout.messages:
            time = self.time_of(lines[message.reply][0][: self.time_size])
            sender = None if message.sender is None else self._domain(lines[message.sender][0])
            domains = [self._domain(lines[at][0]) for at in message.recipients]
            if time is None or None in domains or (sender is None and message.sender is not None):
                return None
            if len(domains) > 1 or "" in domains:
                domains = sorted({name for name in domains if name})  # type: ignore[assignment]
            accepted.append(Acceptance(time, sender, tuple(domains)))  # type: ignore[arg-type]
        return tuple(accepted)

    def _domain(self, line: bytes) -> str | None:
        """Return the domain of the address in a MAIL or RCPT command; None where it is not certain."""
        match = self.usual.search(line) or _ADDRESS.search(self.text_of(line))
        return _domain_of(match[match.lastindex or 1]) if match is not None and line.isascii() else None


@lru_cache(maxsize=_MOST_TEXTS)
def _greeted_address(text: bytes) -> str:
    match = _HELLO.match(text)
    return match[1].decode() if match else ""


@lru_cache(maxsize=_MOST_TEXTS)
def _domain_of(address: bytes) -> str:
    # IIS writes a blank as "+", so every "+" was turned into a blank: an address has no blanks.
    return domain_of(address.strip().replace(b" ", b"+").decode())
