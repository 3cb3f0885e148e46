"""Fold the refused sessions of large Send logs without making events of their rows.

In a session whose shape has a layout (``outcomes``), it is known which rows hold what differs between refusals: times,
addresses, message id, reply. All else is the same in sessions of one *kind*: those of one shape in which both sides
introduce themselves with the same words (``_key``). The first session of each kind is read row by row, and shows what
its refusals share (``learn``). Of all others only what differs is taken (``take``) and added to the groups of
``folding``. Where a row is not written as usual, nothing is taken, and the session is read row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from evtx_analyzer.hosts import HostClue
from evtx_analyzer.model.alike import encode
from evtx_analyzer.model.origin import Origin, display_name
from evtx_analyzer.model.records import CountedSessions, LogRow, RefusedTimes
from evtx_analyzer.read.exchange_log import SEND_FIELDS, SEND_LOG
from evtx_analyzer.read.lines import line_text, split_cells
from evtx_analyzer.smtp.blocks import Block, Row
from evtx_analyzer.smtp.folding import Folding, Group
from evtx_analyzer.smtp.outcomes import Layout
from evtx_analyzer.smtp.rejections import Sighting, refused_replies, rejections
from evtx_analyzer.smtp.replies import bracket, compared
from evtx_analyzer.smtp.sessions import Session

_MOST = 10_000
TIME_SIZE = len("2016-12-01T03:09:55.456Z")
_BANNER_NAME = re.compile(rb"\"?220[ -](\S+)")
# A session with an address or an id that is written in another way is read row by row.
_ADDRESS = re.compile(rb",>,(?:MAIL FROM|RCPT TO):<([^<>\s\",]*)>")
_MESSAGE_ID = re.compile(rb"InternetMessageId (<[^<>\s\",]*>)")
_LOCAL, _DATA = (SEND_FIELDS.index(name) for name in ("local-endpoint", "data"))

_Key = tuple[object, ...]
SessionOf = Callable[[Sequence[LogRow]], Session | None]
"""Makes a session of all its rows; None where one of them cannot be normalized."""


class _Reply(Struct, frozen=True, gc=False):
    """A reply: its text, the form in which it is compared, and the host and clock in its bracket."""

    text: str
    compared: str
    host: str
    clock: datetime | None


class RefusalReader:
    """Takes refusals from the rows of sessions of one folder, file by file and block by block."""

    def __init__(self, folding: Folding, session_of: SessionOf) -> None:
        self._folding, self._session_of = folding, session_of
        # The layout is held because its ``id`` is in the key: as long as it lives, no other object gets this id.
        self._known: dict[_Key, tuple[Layout, list[Sighting]]] = {}
        self.begin(Origin(source=""))

    def begin(self, source: Origin) -> None:
        """Begin with another file."""
        self._source = source
        self._groups: dict[_Key, list[Group]] = {}
        self._begin_block()

    def _begin_block(self) -> None:
        # The row of the reply, its group, and all that differs except its place.
        self._taken: list[tuple[Row, Group, tuple[object, ...]]] = []
        # By connector and local address: the local endpoint, the times by certificate, and the skews of the clock.
        self._refused: dict[tuple[bytes, bytes], tuple[bytes, dict[str, list[datetime]], list[float]]] = {}

    def learn(self, rows: Sequence[Row], layout: Layout, read: Callable[[], Sequence[LogRow]]) -> None:
        """Learn from a session what the refusals of its kind share, unless that is known; ``read`` reads its rows."""
        key = self._key(rows, layout)
        if key is None or key in self._known:
            return
        if len(self._known) >= _MOST:
            # The groups too: their keys hold ids of layouts that may now be used again.
            self._known.clear()
            self._groups.clear()
        session = self._session_of(read())
        sightings = []
        if session is not None:
            numbers = {id(row): number for number, row in enumerate(session.rows)}
            # Codes are in a shape and texts are not: a reply that is a refusal by the layout may be another 550 here.
            if [numbers[id(reply.row)] for reply in refused_replies(session)] == [row.reply for row in layout.refused]:
                sightings = list(rejections(session))
        self._known[key] = layout, sightings

    def take(self, rows: Sequence[Row], layout: Layout) -> bool:
        """Take the refusals of a session; False where a row is not certain or its kind was not learned yet."""
        replies = [rows[refused.reply][0][:TIME_SIZE] for refused in layout.refused]
        handshake = [] if layout.handshake is None else [rows[layout.handshake][0][:TIME_SIZE]]
        written = [rows[0][0][:TIME_SIZE], *handshake, *replies, rows[-1][0][:TIME_SIZE]]
        key, times = self._key(rows, layout), [moment(time) for time in (*handshake, *replies)]
        groups = None if key is None else self._groups.get(key) or self._groups_of(key, rows[layout.local][0])
        if not groups or None in times or written != sorted(written):
            return False
        handshake_time = times.pop(0) if handshake else None
        _, connector, name, _, local, _ = rows[layout.local][0].split(b",", 5)
        session, endpoint = name.decode(), local.decode()
        taken, skews = [], []
        for refused, group, time in zip(layout.refused, groups, times, strict=True):
            reply = _reply(rows[refused.reply][0])
            recipients = [_text(_ADDRESS, rows, at) for at in refused.recipients]
            sender = "" if refused.sender is None else _text(_ADDRESS, rows, refused.sender)
            message_id = "" if refused.message_id is None else _text(_MESSAGE_ID, rows, refused.message_id)
            if reply is None or time is None or sender is None or message_id is None or None in recipients:
                return False
            rcpt_to = "; ".join(recipients)  # type: ignore[arg-type]
            text = None if reply.text == group.alike.shared.reply else reply.text
            differing = (time, handshake_time, session, endpoint, sender, rcpt_to, message_id, text, reply.clock)
            taken.append((rows[refused.reply], group, differing))
            skews += [(time - reply.clock).total_seconds()] if reply.clock else []
        self._taken += taken
        _, by_sent, known_skews = self._refused.setdefault((connector, local.rpartition(b":")[0]), (local, {}, []))
        by_sent.setdefault(layout.sent.thumbprint if layout.sent else "", []).extend(times)  # type: ignore[arg-type]
        known_skews += skews
        if handshake_time is None:
            self._folding.ended(datetime.fromisoformat(written[-1].decode()))
        return True

    def _groups_of(self, key: _Key, line: bytes) -> list[Group]:
        """Return the groups of this file to which refusals of a kind belong; empty where the kind is not known."""
        _, sightings = self._known.get(key, (None, []))
        clue = HostClue("", display_name(self._source), line.split(b",", 5)[_LOCAL].decode())
        groups = [self._folding.group(sighting, clue) for sighting in sightings]
        if groups:
            self._groups[key] = groups
        return groups

    def placed(self, block: Block) -> Iterator[CountedSessions]:
        """Add what was taken from a block to its groups, with its places; yield how often and when was refused."""
        places = block.places(row for row, *_ in self._taken)
        file = self._folding.files.number(self._source) if self._taken else 0
        for row, group, differing in self._taken:
            at = places[id(row)]
            place = (file, None, block.line(at), block.offset(at))
            group.alike.rows.append(encode((*differing, (place,), "")))
        for (connector, _), (local, by_sent, skews) in self._refused.items():
            name = connector.decode("utf-8", "replace")
            yield CountedSessions(
                origin=self._source,
                log=SEND_LOG,
                local=local.decode("utf-8", "replace"),
                outcomes=(),
                refused=tuple(
                    RefusedTimes(name, sent, len(times), min(times), max(times)) for sent, times in by_sent.items()
                ),
                skews=tuple(skews),
            )
        self._begin_block()

    def _key(self, rows: Sequence[Row], layout: Layout) -> _Key | None:
        """Return what sessions of one kind have in common; None where that is not certain."""
        _, connector, _, _, _, first_remote, _ = rows[0][0].split(b",", 6)
        _, same_connector, _, _, local, remote, _ = rows[layout.local][0].split(b",", 6)
        _, _, _, _, last_local, _ = rows[-1][0].split(b",", 5)
        if first_remote not in (remote, b"") or same_connector != connector or last_local != local:
            return None
        banner = _BANNER_NAME.match(_data_and_context(rows[layout.banners[0]][0])) if layout.banners else None
        parts: list[object] = []
        for refused in layout.refused:
            reply = _reply(rows[refused.reply][0])
            sender = "" if refused.sender is None else _text(_ADDRESS, rows, refused.sender)
            if reply is None or sender is None:
                return None
            parts += (reply.compared, reply.host, refused.sender is None, sender.rpartition("@")[2])
        greetings = [_data_and_context(rows[at][0]) for at in layout.greetings]
        return (id(layout), connector, local.rpartition(b":")[0], remote, banner and banner[1], *greetings, *parts)


def moment(written: bytes) -> datetime | None:
    """Return the time of a row; None where there is no such day or hour.

    The pattern of rows has matched the text, and for such texts the standard library gives what ``clock`` gives.
    """
    try:
        return datetime.fromisoformat(written.decode())  # with Z, so aware
    except ValueError:
        return None


def _reply(line: bytes) -> _Reply | None:
    """Return the reply of a row; None where it is not plain ASCII."""
    return _parsed_reply(_data_and_context(line)) if line.isascii() else None


@lru_cache(maxsize=_MOST)
def _parsed_reply(written: bytes) -> _Reply:
    text = (split_cells(line_text(written, "utf-8")) or [""])[0]
    remote = bracket(text)
    return _Reply(text, compared(text), remote.host, remote.clock)


def _text(pattern: re.Pattern[bytes], rows: Sequence[Row], at: int) -> str | None:
    """Return the address or message id of a row; None where it is not written as usual."""
    line = rows[at][0]
    match = pattern.search(line)
    return match[1].decode() if match is not None and line.isascii() else None


def _data_and_context(line: bytes) -> bytes:
    return line.split(b",", _DATA)[_DATA]
