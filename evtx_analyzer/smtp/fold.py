r"""Exchange protocol logs: sessions that went well are folded to their outcomes, the rows of all others are given.

Most sessions of a Send log are alike but for times, names and numbers. The *shape* of a session is the exact tuple of
its rows' tokens: of ``+`` and ``-`` rows the sign; of a command (``>``) its first word; of a reply (``<``) code and the
sign after it; of an information row (``*``) data and context as written. The first session of each shape is read by the
plain reader, and gives the layout by which the outcomes of all others are made (``outcomes``). There is no other way to
be counted: a shape with a failing reply or a failed TLS negotiation has no layout, and its sessions are given whole.

So is a session with an irregular row, without row 0 or the disconnect row, with a row missing, with times that run
backwards, or of which an earlier file has a part. Rows of open sessions wait for the next block.

A fast run cannot see a reply code outside of 1xx to 5xx as a failure, numbers that are out of order in the middle of a
session while its first, last and number of rows fit, and a day or hour that does not exist in a row that tells nothing.

Of a Receive log nothing counts but which connector has which address, and what it refused: rows of each new connector
and address are given, and all rows that say no.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRows, CountedSessions, LogRow, Outcome, SessionRows
from evtx_analyzer.read.encoding import decode
from evtx_analyzer.read.exchange_log import RECEIVE_LOG, SEND_FIELDS, SEND_LOG, ExchangeRows
from evtx_analyzer.read.lines import line_text, split_cells
from evtx_analyzer.smtp.blocks import Block, BlockReader, Layouts, Readable, Row, RowReader
from evtx_analyzer.smtp.clock_skew import HEAD_LINES
from evtx_analyzer.smtp.outcomes import Layout, OutcomeReader
from evtx_analyzer.smtp.refused import RefusalReader, RefusedInBlock

_TIME_SIZE = len("2016-12-01T03:09:55.456Z")
_TIME = rb"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z"
_CELL = rb"(?:\"[^\"\n]*+(?:\"\"[^\"\n]*+)*+\"|[^\",\n][^,\n]*+|)"
# What is not closed or has no context is cut. Only data and context may be quoted, and commands and replies have no
# context. Ids of messages stand in a row of their own and say nothing of the outcome. A cell that is not quoted is
# matched up to a comma only, which is several times as fast as up to a comma or a line end: behind a comma in the next
# line stands never what must follow here.
_TOKEN = (
    rb"(\*,(?:(?!,send).*)?"
    rb"|[<>],(?:\d\d\d[- ]?(?=[^,]*+,\r?\n)|[A-Za-z-]*+(?=[ ,])(?=[^,]*+,\r?\n)|\"[^\s\",]++[ -](?=.*\",\r?\n))"
    rb"|[-+](?=,,[^\"\n]*\n))"
)
_SEND = re.compile(rb"(%s,[^,]*+,(.{16}),\d++,[^,]*+,[^,]*+,%s.*)\n" % (_TIME, _TOKEN))
_RECEIVE = re.compile(rb"(%s,([^,\n\"]*+),.{16},\d++,([^,\n\"]*+),[^,\n\"]*+,(.)%s.*)\n" % (_TIME, rb",\"?[0-9]?"))
_NOTE = re.compile(rb"\*,(%s),(%s)\r?" % (_CELL, rb"\"[^\"\n]*+(?:\"\"[^\"\n]*+)*+\"|[^\",\r\n][^\",\r\n]*+|"))
# Of information rows, those that tell of a certificate or of TLS; what is not plain ASCII may be one.
_TELLING = re.compile(rb"\"?\s*(?:(?:sending|local|received|remote)? ?certificate|tls )|.*[\x80-\xff]", re.IGNORECASE)
_USUAL = re.compile(rb",>,(?:MAIL FROM|RCPT TO):<[^>\s@]*+@([^>\s@]++)>")
_END = b"-"
_CODE = b"5.7.64"
_BEFORE_EVENT = len("2016-12-01T03:09:55.456Z,,08D50D3D00000001,0,,")
"""At least so many bytes of a line stand before the event."""
_CELLS, _SESSION_ID = len(SEND_FIELDS), SEND_FIELDS.index("session-id")
_SEQUENCE, _LOCAL, _DATA = (SEND_FIELDS.index(name) for name in ("sequence-number", "local-endpoint", "data"))


def _kind(rows: RowReader) -> str:
    """Return the kind of log that the header names; empty where rows must be read one by one."""
    assert isinstance(rows, ExchangeRows)
    kinds = (log for log in (SEND_LOG, RECEIVE_LOG) if log.casefold() == rows.log.casefold())
    return next(kinds, "") if rows.columns == SEND_FIELDS else ""


class ProtocolReader(BlockReader):
    """Reads an Exchange protocol log."""

    def __init__(self, source: Origin, layouts: Layouts) -> None:
        super().__init__(source, layouts, ExchangeRows(source))
        self._clients: set[tuple[bytes, ...]] = set()
        self._connectors: dict[bytes, str] = {}
        self._outcome_reader = OutcomeReader(_data, _moment, _USUAL)
        self._refusals = layouts.refusals
        if self._refusals is not None:
            self._refusals.begin(source)

    def pattern(self, rows: RowReader, data: bytes) -> re.Pattern[bytes] | None:  # noqa: ARG002  of every block
        """Return the pattern of rows of a Send or Receive connector with the usual columns."""
        return {SEND_LOG: _SEND, RECEIVE_LOG: _RECEIVE}.get(_kind(rows))

    def judge(self, block: Block, given: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Fold what went well and give the rest; rows of open sessions are carried over."""
        if _kind(self.rows) == RECEIVE_LOG:
            yield from self._receive(block, given)
            return
        sessions: dict[bytes, list[Row]] = {}
        for row in block.rows:
            try:
                sessions[row[1]].append(row)
            except KeyError:
                sessions[row[1]] = [row]
        sessions.pop(b"", None)
        odd, known, groups = self._odd(given), self.layouts.known, _Groups(block, self.source)
        others: dict[bytes, list[Row]] = {}
        for key, rows in sessions.items():
            layout = known.get(tuple([row[2] for row in rows]))
            if layout is None or key in odd or not self._fold(rows, layout, groups):
                others[key] = rows
        waiting: list[int] = []
        places = block.places(row for rows in others.values() for row in rows)
        for key, rows in others.items():
            numbers = [places[id(row)] for row in rows]
            if key in odd:
                given.update({at: self.read(block, at) for at in numbers})
            else:
                waiting += self._in_parts(block, numbers, groups, given)
        if not self.carry(block, waiting):
            given.update({at: self.read(block, at) for at in waiting})
        yield from groups.counted(self._refusals)

    def _odd(self, given: dict[int, Iterable[Readable]]) -> set[bytes]:
        """Return the ids of sessions that have an irregular row or have begun in an earlier file."""
        rows = [row for rows in given.values() for row in rows if isinstance(row, LogRow)]
        names = {row.values.get("session-id", "") for row in rows}.union(self.layouts.begun())
        return {name.encode("utf-8", "replace") for name in names}

    def _in_parts(
        self, block: Block, numbers: list[int], groups: _Groups, given: dict[int, Iterable[Readable]]
    ) -> list[int]:
        """Fold or give the rows of one session up to each disconnect row; return what has not ended and waits."""
        start = 0
        for place, at in enumerate(numbers):
            if block.rows[at][2] == _END:
                part, start = numbers[start : place + 1], place + 1
                if not self._learned(block, part, groups):
                    given[at] = self._whole(block, part)
        rest = numbers[start:]
        if rest and (start or _sequence(block.rows[rest[0]][0]) != b"0"):
            # What comes behind a disconnect row belongs to no session that went before.
            given.update({at: self.read(block, at) for at in rest})
            return []
        return rest

    def _learned(self, block: Block, part: list[int], groups: _Groups) -> bool:
        """Fold an ended session by the layout of its shape without what tells nothing; learn it if need be."""
        rows, known = [block.rows[at] for at in part], self.layouts.known
        written = tuple([row[2] for row in rows])
        # Codes are in a shape, texts are not: the first session of it may have failed otherwise than this one.
        again = any(_CODE in row[0] for row in rows)
        if written in known and known[written] is None and not again:
            return False
        notes = [_note(token) if token[:1] == b"*" else token for token in written]
        if None in notes or any(_sequence(row[0]) != str(n).encode() for n, row in enumerate(rows)):
            return False
        shape = tuple(notes)
        if shape not in known or (known[shape] is None and again):
            read = self._rows(block, part)
            if len(read) < len(part):
                return False
            self.layouts.keep(shape, self.layouts.learn(read))
        layout = known[shape]
        self.layouts.keep(written, layout)
        if layout is None or self._fold(rows, layout, groups):
            return layout is not None
        if not layout.refused or self._refusals is None:
            return False
        self._refusals.learn(rows, layout, lambda: self._rows(block, part))
        return self._fold(rows, layout, groups)

    def _rows(self, block: Block, part: list[int]) -> list[LogRow]:
        """Return rows of a block as they are read alone."""
        return [row for at in part for row in self.read(block, at) if isinstance(row, LogRow)]

    def _fold(self, rows: list[Row], layout: Layout, groups: _Groups) -> bool:
        """Add the outcome of a session to its group; not where anything in its rows is not as the layout needs it."""
        begin, connector, _, sequence, _ = rows[0][0].split(b",", 4)
        end, _, _, count, local, _ = rows[-1][0].split(b",", 5)
        if sequence != b"0" or count != str(len(rows) - 1).encode():
            return False
        name, accepted = self._connector(connector), self._outcome_reader.acceptances(rows, layout, _TIME_SIZE)
        if name is None or accepted is None:
            return False
        # Times are of one length, so that their texts are in the order of time.
        times = [begin, *[rows[message.accepted][0][:_TIME_SIZE] for message in layout.messages], end]
        first = _moment(begin)
        if first is None or times != sorted(times):
            return False
        if layout.refused and not self._take(rows, layout, begin, end):
            return False
        groups.add(
            connector,
            local,
            self._outcome_reader.outcome(rows, layout, name, first, accepted),
            rows,
            layout.banners,
            end,
        )
        return True

    def _take(self, rows: list[Row], layout: Layout, begin: bytes, end: bytes) -> bool:
        """Take the refusals of a session; False where anything in its rows is not as the layout needs it."""
        if self._refusals is None:
            return False
        replies = [rows[refused.reply][0][:_TIME_SIZE] for refused in layout.refused]
        handshake = [] if layout.handshake is None else [rows[layout.handshake][0][:_TIME_SIZE]]
        times = [begin, *handshake, *replies, end]
        if times != sorted(times):
            return False
        moments = [_moment(time) for time in replies]
        began = _moment(handshake[0]) if handshake else None
        if None in moments or (handshake and began is None):
            return False
        return self._refusals.take(rows, layout, [*moments, began])

    def _connector(self, written: bytes) -> str | None:
        """Return the name of a connector; None where it is quoted."""
        name = self._connectors.get(written)
        if name is None and b'"' not in written:
            name = self._connectors[written] = decode(written, "utf-8")
        return name

    def _whole(self, block: Block, part: list[int]) -> Iterator[LogRow | Loss | SessionRows]:
        """Yield an ended session; it is made when it is asked for, and stands where its last row stood."""
        lines = [block.rows[at][0] for at in part]
        rows = [split_cells(text) for text in _texts(lines)]
        cells = [row[:_CELLS] for row in rows if row is not None]
        ids = {row[_SESSION_ID] for row in cells if len(row) >= _CELLS}
        times = {line[:_TIME_SIZE] for line in lines}
        if len(cells) < len(rows) or min(map(len, cells)) < _CELLS or len(ids) > 1 or None in map(_moment, times):
            for at in part:
                yield from self.read(block, at)
            return
        yield SessionRows(
            origin=self.source,
            columns=SEND_FIELDS,
            lines=[block.line(at) for at in part],
            offsets=[block.offset(at) for at in part],
            rows=cells,
        )

    def _receive(self, block: Block, given: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Give rows of new pairs of connector and address, and what this server refused; count the others."""
        counted: list[bytes] = []
        for at, (line, *client, event) in enumerate(block.rows):
            pair = tuple(client)
            if not pair[0]:
                continue
            if pair in self._clients and not (event == b">" and _says_no(line)):
                counted.append(line)
            else:
                self._clients.add(pair)
                given[at] = self.read(block, at)
        if counted:
            first, last = _moment(min(counted)[:_TIME_SIZE]), _moment(max(counted)[:_TIME_SIZE])
            assert first is not None
            assert last is not None
            yield CountedRows(origin=self.source, log=RECEIVE_LOG, rows=len(counted), first=first, last=last)


class _Groups:
    """Outcomes of a block by connector and local address."""

    def __init__(self, block: Block, source: Origin) -> None:
        self._block, self._source = block, source
        self._groups: dict[tuple[bytes, bytes], tuple[bytes, list[Outcome], list[Row]]] = {}
        self._early = block.line(0) <= HEAD_LINES
        self._rows = 0
        self._first: datetime | None = None
        self._last = b""

    def add(
        self,
        connector: bytes,
        local: bytes,
        outcome: Outcome,
        rows: list[Row],
        banners: tuple[int, ...],
        last: bytes,
    ) -> None:
        """Add a session with its local endpoint, the numbers of its banners, and the time of its last row."""
        _, outcomes, greetings = self._groups.setdefault((connector, local.rpartition(b":")[0]), (local, [], []))
        outcomes.append(outcome)
        if self._early:
            greetings += [rows[at] for at in banners]
        self._rows += len(rows)
        self._first = outcome.first if self._first is None or outcome.first < self._first else self._first
        self._last = max(self._last, last)

    def counted(self, refusals: RefusalReader | None) -> Iterator[Readable]:
        """Yield the groups, and the count of their rows."""
        refused = refusals.placed(self._block) if refusals is not None else {}
        early = (
            {id(row) for at, row in enumerate(self._block.rows) if self._block.line(at) <= HEAD_LINES}
            if self._early
            else set()
        )
        for where, (local, outcomes, greetings) in self._groups.items():
            refused_here = refused.get(where, RefusedInBlock())
            lines = [row[0] for row in greetings if id(row) in early]
            yield CountedSessions(
                origin=self._source,
                log=SEND_LOG,
                local=local.decode("utf-8", "replace"),
                outcomes=tuple(outcomes),
                banners=tuple(
                    [(time, _text(line)) for line in lines if (time := _moment(line[:_TIME_SIZE])) is not None]
                ),
                refused=refused_here.times,
                skews=refused_here.skews,
            )
        if self._first is not None:
            last = _moment(self._last) or self._first
            yield CountedRows(origin=self._source, log=SEND_LOG, rows=self._rows, first=self._first, last=last)


def _moment(written: bytes) -> datetime | None:
    """Return the time of a row.

    Its digits are in their places, so that the standard library gives what ``clock`` gives.
    """
    try:
        return datetime.fromisoformat(written.decode())  # with Z, so aware
    except ValueError:
        return None


def _sequence(line: bytes) -> bytes:
    return line.split(b",", 4)[_SEQUENCE]


def _data(line: bytes) -> bytes:
    """Return the data of a command or reply.

    Of a quoted reply what stands before a comma, of a quoted command nothing.
    """
    at = line.find(b",<,", _BEFORE_EVENT)
    if at < 0:
        at = line.find(b",>,", _BEFORE_EVENT)
    data = line[at + 3 :].partition(b",")[0]
    return data if data[:1] != b'"' else data[1:] if data[1:2].isdigit() else b""


def _texts(lines: Sequence[bytes]) -> list[str]:
    """Return the lines as text, as ``line_text`` gives each of them: at once where that is the same."""
    data = b"\n".join(lines)
    if data.isascii() and b"\0" not in data:
        return [text.rstrip("\r") for text in data.decode().split("\n")]
    return [line_text(line, "utf-8") for line in lines]


def _text(line: bytes) -> str:
    """Return the data of a row as text."""
    return (split_cells(line_text(line, "utf-8")) or [""] * _CELLS)[_DATA]


def _says_no(line: bytes) -> bool:
    data = line.split(b",", _DATA + 1)[_DATA].lstrip(b'"')
    return data != b"" and data[:1] not in b"23"


def _note(token: bytes) -> bytes | None:
    """Return the token of an information row without what varies and says nothing; None if the row is not sound."""
    match = _NOTE.fullmatch(token)
    if match is None:
        return b"*" if token == b"*," else None
    return token if any(_TELLING.match(cell) for cell in match.groups()) else b"*"
