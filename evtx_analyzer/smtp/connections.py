"""Read IIS SMTP logs (W3C) in blocks: outbound connections that went well are folded, the rows of all others are read.

These logs name no sessions. Rows belong together by their remote address and the start of the connection (time minus
time-taken), as ``sessions`` says. Here a *segment* is the run of rows of one address from a banner (not the reply to
STARTTLS) to the next one. It is folded if the row reader and ``sessions`` would make one session of exactly its rows:

- it has one QUIT, and behind it nothing but a reply 221;
- all its rows show a start within two seconds of that of the first, and time-taken never falls;
- no connection to the same address that is open, or whose rows are read, began up to two seconds before it or later;
- its shape has a layout (``outcomes``): the shape is its commands, the codes of its replies, and where time-taken rose.

A segment without QUIT at the end of a block is carried over to the next block. All rows of a block are read where it
names several machines or has an irregular row. Rows of inbound sessions are counted: nothing is taken from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from operator import lt
from typing import NamedTuple, TypeVar

from evtx_analyzer import clock
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.encoding import decode
from evtx_analyzer.read.w3c_log import W3C_LOG, W3cRows
from evtx_analyzer.smtp.blocks import Block, BlockReader, Folded, Layouts, Readable, Row, RowReader, by_session
from evtx_analyzer.smtp.outcomes import OutcomeReader
from evtx_analyzer.smtp.sessions import SAME_CONNECTION

_NEEDED = ("c-ip", "cs-username", "s-sitename", "s-computername", "cs-method", "cs-uri-query", "time-taken")
_TIME_SIZE = len("2016-12-01 03:09:55")
_TIME_CELLS = rb"20\d\d-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d"
_CELL = rb"[^ \n]*+"
# In milliseconds, as time-taken is. Connections that begin up to a minute after rows that were all read are read too,
# for some of those rows may be theirs.
_SAME_CONNECTION, _SLACK = SAME_CONNECTION // timedelta(milliseconds=1), 60_000
_LINE, _ADDRESS, _, _TOKEN, _TAKEN, _INBOUND = range(6)
_NEVER = -(1 << 41)  # milliseconds since 1970: the year 1900, before any log
_USUAL = re.compile(rb" (?:MAIL|RCPT) - (?:FROM|TO):<[^>\s@+]*+@([^>\s@+]++)>")
Value = TypeVar("Value")
_MANY = 4096
"""Rows of the longest segment that is compared as a whole."""


class ConnectionReader(BlockReader):
    """Reads a W3C log of the IIS SMTP service."""

    def __init__(self, source: Origin, layouts: Layouts) -> None:
        super().__init__(source, layouts, W3cRows(source), OutcomeReader(self._text, _moment, _TIME_SIZE, _USUAL))
        self._latest = _NEVER

    def pattern(self, rows: RowReader, data: bytes) -> re.Pattern[bytes] | None:
        """Return the pattern of rows if the header begins with date and time and names all needed columns once."""
        assert isinstance(rows, W3cRows)
        names = rows.columns
        if names[:2] != ("date", "time") or any(names.count(name) != 1 for name in (*names[:2], *_NEEDED)):
            return None
        # IIS writes the columns always in this order, whichever are switched on; the pattern relies on it.
        if [names.index(name) for name in _NEEDED] != sorted(names.index(name) for name in _NEEDED):
            return None
        self._query = names.index("cs-uri-query")
        self._machine = _machine(names, data)
        return _pattern(names, *self._machine)

    def judge(self, block: Block, read_rows: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Fold the connections of a known shape and read the others; segments without QUIT are carried over."""
        outbound = by_session(block.rows)
        inbound = [row[_LINE] for row in outbound.pop(b"", ()) if row[_INBOUND]]
        yield from self.count("", inbound, len(inbound))
        self._note_latest(block)
        if read_rows:
            self.layouts.floor = self._latest
            read_rows.update({at: self.read(block, at) for at, row in enumerate(block.rows) if row[_TOKEN]})
            return
        segments = _Segments(self, block, *map(_name, self._machine))
        for address, rows in outbound.items():
            segments.add(address, rows)
        if not self.carry(block, segments.places(segments.waiting)):
            segments.read_waiting()
        read_rows.update({at: self.read(block, at) for at in segments.places(segments.to_read)})
        yield from segments.folded.counted()

    def unjudged(self, block: Block) -> None:
        """Note that connections which begin near the rows of this block must be read too."""
        self._note_latest(block)
        self.layouts.floor = max(self.layouts.floor, self._latest + _SLACK)

    def end(self, last_line: bytes) -> Iterator[LogRow | Loss]:
        """Yield the rows that were carried over; connections of the next file that begin near them are read too."""
        if self.carried or last_line:
            self.layouts.floor = max(self.layouts.floor, self._latest + _SLACK)
        return super().end(last_line)

    def words(self, line: bytes) -> str:
        """Return the text of a reply."""
        return self._text(line).decode("utf-8", "replace").strip()

    def _text(self, line: bytes) -> bytes:
        """Return the argument of a command, or the text of a reply; IIS writes a blank as ``+``."""
        return line.split(b" ", self._query + 1)[self._query].replace(b"+", b" ")

    def _note_latest(self, block: Block) -> None:
        times = {row[_LINE][:_TIME_SIZE] for row in block.rows}
        self._latest = max([self._latest, *[_MILLISECONDS[time] for time in times]])


class _Segments:
    """Judges the segments of a block: folded, ``waiting`` for the next block, or ``to_read``."""

    def __init__(self, reader: ConnectionReader, block: Block, site: str, computer: str) -> None:
        self._reader, self._block, self._layouts, self._site = reader, block, reader.layouts, site
        self.to_read: list[Row] = []
        self.waiting: list[Row] = []
        self.folded = Folded(reader, block, W3C_LOG, computer)

    def add(self, address: bytes, rows: list[Row]) -> None:
        """Judge all rows of one address."""
        tokens = [row[_TOKEN] for row in rows]
        kinds = "".join(map(_KINDS.__getitem__, tokens))
        taken = [int(row[_TAKEN]) for row in rows]
        times = [row[_LINE][:_TIME_SIZE] for row in rows]
        starts = [_MILLISECONDS[time] - elapsed for time, elapsed in zip(times, taken, strict=True)]
        heads = [match.start() for match in _HEAD.finditer(kinds)]
        newest = max(self._layouts.newest.get(address, _NEVER), self._layouts.floor)
        for first, stop in pairwise(dict.fromkeys([0, *heads, len(rows)])):
            part = slice(first, stop)
            began = starts[part]
            segment = _Segment(rows[part], tokens[part], kinds[part], times[part], began, taken[part])
            near = min(began) <= newest + _SAME_CONNECTION
            if near or not self._judge(segment, final=stop == len(rows)):
                self.to_read += segment.rows
                newest = self._layouts.newest[address] = max(newest, *began)

    def read_waiting(self) -> None:
        """Have the waiting rows read, for they are too many to be carried over."""
        self.to_read += self.waiting
        newest = self._layouts.newest
        for row in self.waiting:
            start = _MILLISECONDS[row[_LINE][:_TIME_SIZE]] - int(row[_TAKEN])
            newest[row[_ADDRESS]] = max(newest.get(row[_ADDRESS], start), start)

    def places(self, rows: Sequence[Row]) -> list[int]:
        """Return the numbers of some rows in the block."""
        return sorted(self._block.places(rows).values())

    def _judge(self, segment: _Segment, *, final: bool) -> bool:
        """Fold a segment, or let it wait; False where it must be read."""
        kinds = segment.kinds
        if kinds[0] != "b":
            # Replies to QUIT that come late belong to no session (see ``sessions``).
            late = not kinds.strip("y")
            if late:
                self.folded.count(len(segment.rows), min(segment.times), max(segment.times))
            return late
        size = (kinds.find("q") + 1) or len(kinds)
        starts, elapsed = segment.starts[:size], segment.taken[:size]
        if max(starts) - starts[0] > _SAME_CONNECTION or starts[0] - min(starts) > _SAME_CONNECTION:
            return False
        if elapsed != sorted(elapsed) or size >= _MANY or kinds[size:].strip("y"):
            return False
        if kinds[size - 1] != "q":
            self.waiting += segment.rows if final else []
            return final
        # Two MAIL in a row are of two connections.
        if "mm" in kinds or not self._fold(segment, size):
            return False
        self.folded.count(len(segment.rows), min(segment.times), max(segment.times))
        return True

    def _fold(self, segment: _Segment, size: int) -> bool:
        """Add the outcome of the first ``size`` rows of a segment; False where their shape has no layout."""
        rows, elapsed = segment.rows[:size], segment.taken[:size]
        shape = (*segment.tokens[:size], *map(lt, elapsed, elapsed[1:]))
        known = self._layouts.known
        if shape not in known:
            log_rows = [row for at in self.places(rows) for row in self._reader.read(self._block, at)]
            self._layouts.keep(shape, self._layouts.learn([row for row in log_rows if isinstance(row, LogRow)]))
        layout = known[shape]
        # Refused connections are always read: without session ids, ``refused`` cannot take refusals from rows.
        if layout is None or layout.refused:
            return False
        outcome = self._reader.outcomes.outcome(rows, layout, self._site, min(segment.times[:size]))
        if outcome is None:
            return False
        self.folded.add(outcome, rows, layout, b"", b"")
        return True


class _Segment(NamedTuple):
    """Rows of a segment, and of each row: token, kind, time as written, start and time-taken (milliseconds)."""

    rows: list[Row]
    tokens: list[bytes]
    kinds: str
    times: list[bytes]
    starts: list[int]
    taken: list[int]


def _kind(token: bytes) -> str:
    """Return a letter: b for code 220, y for 221, t for STARTTLS, q for QUIT, m for MAIL, ``-`` for other tokens."""
    code = token.rstrip(b"+-")[-3:] if token[:1] == b"-" else b""
    words = {b"STARTTLS": "t", b"QUIT": "q", b"MAIL": "m"}
    return {b"220": "b", b"221": "y"}.get(code) or words.get(token.upper(), "-")


_HEAD = re.compile(r"(?<!t)b")  # a banner that is not the answer to STARTTLS


def _name(written: bytes) -> str:
    """Return a name as text; IIS writes ``-`` for none."""
    name = decode(written, "utf-8")
    return "" if name == "-" else name


@lru_cache(maxsize=_MANY)
def _moment(written: bytes) -> datetime | None:
    """Return a time as aware UTC; cached, for many rows have the same second."""
    return clock.from_iso(written.decode("ascii", "replace"))


def _milliseconds(written: bytes) -> int:
    """Return a time in milliseconds since 1970."""
    time = _moment(written)
    return _NEVER if time is None else int(time.timestamp()) * 1000


class _Known(dict[bytes, Value]):
    """Keeps what a function returned. It is asked for every row, and is twice as fast as ``lru_cache``."""

    def __init__(self, function: Callable[[bytes], Value]) -> None:
        self._function = function

    def __missing__(self, asked: bytes) -> Value:
        if len(self) >= _MANY:
            self.clear()
        value = self[asked] = self._function(asked)
        return value


_KINDS, _MILLISECONDS = _Known(_kind), _Known(_milliseconds)


def _machine(names: Sequence[str], data: bytes) -> tuple[bytes, bytes]:
    """Return site and computer of the first outbound row; ``-`` where there is none."""
    at = data.find(b" OutboundConnection")
    cells = data[data.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0].split(b" ") if at >= 0 else []
    if len(cells) < len(names):
        return b"-", b"-"
    return cells[names.index("s-sitename")], cells[names.index("s-computername")]


@lru_cache(maxsize=16)
def _pattern(names: tuple[str, ...], site: bytes, computer: bytes) -> re.Pattern[bytes]:
    """Return the pattern of a row; its groups are numbered as ``_LINE`` to ``_INBOUND``.

    The groups of an outbound row are: line, remote address, ``C`` for a command, token, time-taken. That of an inbound
    row is a letter of its user name. The token of a command is its verb; that of a reply begins with ``-`` and ends
    with the sign after the code. A cell is matched up to a blank, several times as fast as up to a blank or a line end.
    So a match may run on from a cut row into the next line, though seldom, for site, computer and time-taken must stand
    in their places. Then two lines make one row, which ``BlockReader.block`` notices by their count.
    """
    method, query, taken = (names.index(name) for name in ("cs-method", "cs-uri-query", "time-taken"))
    between = b"(?:[^ ]*+ ){%d}" % (query - method - 1)
    reply = rb"- %s\d\d\d(?:[-+]|(?= ))" % between
    talk = rb"((?(3)[A-Za-z][^+ ]*+|%s))(?(3) %s)[^ ]*+" % (reply, between)
    outbound = {
        "c-ip": rb"([^ ]++)",
        "cs-username": rb"OutboundConnection(?:(C)ommand|Response)(?= )",
        "s-sitename": re.escape(site),
        "s-computername": re.escape(computer),
        "time-taken": rb"(\d{1,8})(?![^ \r\n])",
    }
    before = [outbound.get(name, b"[^ ]*+") for name in names[2:method]]
    after = [outbound.get(name, b"[^ ]*+" if at < taken else _CELL) for at, name in enumerate(names) if at > query]
    others = [rb"([!-NP-np-~])%s" % _CELL if name == "cs-username" else _CELL for name in names[2:]]
    rows = b" ".join([*before, talk, *after]), b" ".join(others)
    return re.compile(rb"(%s (?:%s|%s)[^\n]*+)\n" % (_TIME_CELLS, *rows))
