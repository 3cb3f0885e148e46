"""Refused sessions of large Send logs, folded without being typed: only what differs is taken from their rows.

A session whose shape has a layout (``outcomes``) shows in known rows what differs between refusals: times, addresses,
message id, reply. Everything else is the same in all sessions of the shape that say the same in the rows where both
sides tell who they are. The first session of each such kind is read row by row, which gives what its refusals share
(``folding``). Where a row is not written as usual, nothing is taken and the session is read row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from evtx_analyzer.hosts import HostClue
from evtx_analyzer.model.alike import encode
from evtx_analyzer.model.origin import Origin, display_name
from evtx_analyzer.model.records import LogRow, RefusedTimes
from evtx_analyzer.read.exchange_log import SEND_FIELDS
from evtx_analyzer.read.lines import line_text, split_cells
from evtx_analyzer.smtp.blocks import Block, Row
from evtx_analyzer.smtp.folding import Folding, Group
from evtx_analyzer.smtp.outcomes import Layout
from evtx_analyzer.smtp.rejections import Sighting, refused_replies, rejections
from evtx_analyzer.smtp.replies import bracket
from evtx_analyzer.smtp.reply_texts import compared
from evtx_analyzer.smtp.sessions import Session

_MOST = 10_000
_TIME_SIZE = len("2016-12-01T03:09:55.456Z")
_BANNER_NAME = re.compile(rb"\"?220[ -](\S+)")
# Other ways to write an address or an id are left to the plain reader.
_ADDRESS = re.compile(rb",>,(?:MAIL FROM|RCPT TO):<([^<>\s\",]*)>")
_MESSAGE_ID = re.compile(rb"InternetMessageId (<[^<>\s\",]*>)")
_LOCAL, _DATA = (SEND_FIELDS.index(name) for name in ("local-endpoint", "data"))

_Key = tuple[object, ...]
SessionOf = Callable[[Sequence[LogRow]], Session | None]
"""Makes a session of all its rows; None where one of them cannot be typed."""


class _Reply(Struct, frozen=True, gc=False):
    """A reply: its text, what is compared of it, and the host and clock in its bracket."""

    text: str
    compared: str
    host: str
    clock: datetime | None


class _Known(Struct, frozen=True):
    """What sessions of one kind share: their layout (held, so that no other one gets its id) and their refusals."""

    layout: Layout
    sightings: list[Sighting]


class _Found(Struct, frozen=True, gc=False):
    """A refusal: its row and all that differs, but for its place."""

    row: Row
    group: Group
    differing: tuple[object, ...]


class RefusedInBlock(Struct, frozen=True):
    """What was refused in a block of rows: how often and when, and seconds by which the log's clock was ahead."""

    times: tuple[RefusedTimes, ...] = ()
    skews: tuple[float, ...] = ()


class RefusalReader:
    """Takes refusals from the rows of sessions of one folder, file by file."""

    def __init__(self, folding: Folding, session_of: SessionOf) -> None:
        self._folding, self._session_of = folding, session_of
        self._source = Origin(source="")
        self._known: dict[_Key, _Known] = {}
        self._replies: dict[bytes, _Reply] = {}
        self._begin_file()

    def _begin_file(self) -> None:
        self._groups: dict[_Key, list[Group]] = {}
        self._begin_block()

    def _begin_block(self) -> None:
        self._found: list[_Found] = []
        # By connector and local address as written.
        self._times: dict[tuple[bytes, bytes], dict[str, list[datetime]]] = {}
        self._skews: dict[tuple[bytes, bytes], list[float]] = {}

    def begin(self, source: Origin) -> None:
        """Begin with another file."""
        self._source = source
        self._begin_file()

    def learn(self, rows: Sequence[Row], layout: Layout, read: Callable[[], Sequence[LogRow]]) -> None:
        """Learn from all rows of a session what its refusals share, unless that is known."""
        key = self._key(rows, layout)
        if key is None or key in self._known:
            return
        if len(self._known) >= _MOST:
            # Both, for what is known holds the layouts whose ids are in the keys.
            self._known.clear()
            self._groups.clear()
        session, lines = self._session_of(read()), [refused.reply for refused in layout.refused]
        sightings = list(rejections(session)) if session is not None else []
        # Another session of the shape may have a failing reply that is no refusal: it is read row by row.
        numbers = {id(row): number for number, row in enumerate(session.rows)} if session is not None else {}
        shown = [numbers[id(reply.row)] for reply in refused_replies(session)] if session is not None else []
        self._known[key] = _Known(layout, sightings if shown == lines else [])

    def take(self, rows: Sequence[Row], layout: Layout, times: Sequence[datetime | None]) -> bool:
        """Take the refusals of a session; False where that is not certain or nothing was learned yet.

        ``times`` are those of the replies, and at the end that of the handshake, if there is one.
        """
        key = self._key(rows, layout)
        groups = None if key is None else self._groups.get(key) or self._begun(key, rows[layout.local][0])
        if not groups:
            return False
        *moments, handshake = times
        _, connector, name, _, local, _ = rows[layout.local][0].split(b",", 5)
        session, endpoint = name.decode(), local.decode()
        found = []
        for refused, group, time in zip(layout.refused, groups, moments, strict=True):
            reply = self._reply(rows[refused.reply][0])
            named = [_text(_ADDRESS, rows, at) for at in refused.recipients]
            sender = "" if refused.sender is None else _text(_ADDRESS, rows, refused.sender)
            message_id = "" if refused.message_id is None else _text(_MESSAGE_ID, rows, refused.message_id)
            if reply is None or time is None or sender is None or message_id is None or None in named:
                return False
            rcpt_to = "; ".join(named)  # type: ignore[arg-type]
            text = None if reply.text == group.alike.shared.reply else reply.text
            differing = (time, handshake, session, endpoint, sender, rcpt_to, message_id, text, reply.clock)
            found.append(_Found(rows[refused.reply], group, differing))
        self._found += found
        where = connector, local.rpartition(b":")[0]
        sent = layout.sent.thumbprint if layout.sent else ""
        times_of = self._times.setdefault(where, {}).setdefault(sent, [])
        for item in found:
            moment, clock = item.differing[0], item.differing[-1]
            assert isinstance(moment, datetime)
            times_of.append(moment)
            if isinstance(clock, datetime):
                self._skews.setdefault(where, []).append((moment - clock).total_seconds())
        if handshake is None:
            self._folding.ended(datetime.fromisoformat(rows[-1][0][:_TIME_SIZE].decode()))
        return True

    def _begun(self, key: _Key, line: bytes) -> list[Group]:
        """Return the groups of refusals of this file that what is known is true of."""
        known = self._known.get(key)
        if known is None or not known.sightings:
            return []
        clue = HostClue("", display_name(self._source), line.split(b",", 5)[_LOCAL].decode())
        groups = self._groups[key] = [self._folding.group(sighting, clue) for sighting in known.sightings]
        return groups

    def placed(self, block: Block) -> dict[tuple[bytes, bytes], RefusedInBlock]:
        """Fold what was taken from a block; return what was refused, by connector and local address as written."""
        places = block.places(item.row for item in self._found)
        file = self._folding.files.number(self._source) if self._found else 0
        for item in self._found:
            at = places[id(item.row)]
            place = (file, None, block.line(at), block.offset(at))
            item.group.alike.rows.append(encode((*item.differing, (place,), "")))
        found = {
            where: RefusedInBlock(
                tuple([RefusedTimes(_name(where), sent, len(all_), min(all_), max(all_)) for sent, all_ in by.items()]),
                tuple(self._skews.get(where, ())),
            )
            for where, by in self._times.items()
        }
        self._begin_block()
        return found

    def _key(self, rows: Sequence[Row], layout: Layout) -> _Key | None:
        """Return what sessions must share so that their refusals share all but what differs; None if not certain."""
        _, connector, _, _, _, first_remote, _ = rows[0][0].split(b",", 6)
        _, same_connector, _, _, local, remote, _ = rows[layout.local][0].split(b",", 6)
        _, _, _, _, last_local, _ = rows[-1][0].split(b",", 5)
        if first_remote not in (remote, b"") or same_connector != connector or last_local != local:
            return None
        banner = _BANNER_NAME.match(_said(rows[layout.banners[0]][0])) if layout.banners else None
        parts: list[object] = []
        for refused in layout.refused:
            reply = self._reply(rows[refused.reply][0])
            sender = "" if refused.sender is None else _text(_ADDRESS, rows, refused.sender)
            if reply is None or sender is None:
                return None
            parts += (reply.compared, reply.host, refused.sender is None, sender.rpartition("@")[2])
        said = [_said(rows[at][0]) for at in layout.greetings]
        return (id(layout), connector, local.rpartition(b":")[0], remote, banner and banner[1], *said, *parts)

    def _reply(self, line: bytes) -> _Reply | None:
        """Return a reply of a row; None where it is not plain ASCII."""
        said = _said(line)
        known = self._replies.get(said)
        if known is None:
            if not line.isascii():
                return None
            text = (split_cells(line_text(line, "utf-8")) or [""] * (_DATA + 1))[_DATA]
            if len(self._replies) >= _MOST:
                self._replies.clear()
            own = bracket(text)
            known = self._replies[said] = _Reply(text, compared(text), own.host, own.clock)
        return known


def _text(pattern: re.Pattern[bytes], rows: Sequence[Row], at: int) -> str | None:
    """Return an address or a message id as it is usually written; None where it is written otherwise."""
    line = rows[at][0]
    match = pattern.search(line)
    return match[1].decode() if match is not None and line.isascii() else None


def _said(line: bytes) -> bytes:
    """Return data and context of a row."""
    return line.split(b",", _DATA)[_DATA]


def _name(where: tuple[bytes, bytes]) -> str:
    return where[0].decode("utf-8", "replace")
