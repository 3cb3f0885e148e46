r"""Read Exchange protocol logs in blocks: sessions of a known shape are folded, the rows of all others are read.

To *fold* a session is to reduce it to its outcome without making events of its rows. Most sessions of a Send log
differ in times, names and numbers only. The *shape* of a session is the tuple of the tokens of its rows. A token is::

    +  -   the sign
    >      the first word of the command
    <      the code of the reply and the sign after it
    *      data and context of the information row as written

A session of a block takes this way:

1. Its shape is known and has a layout: it is folded by the layout (``_fold``; see ``outcomes``).
2. Its shape is new: the row reader reads the session, and a layout is learned from it (``_learned``).
3. Its shape has no layout, for a reply or the TLS negotiation failed: its rows are read (``_whole``). A session that
   was refused with 5.7.64 and nothing else can have one: then ``refused`` folds its refusals.
4. It has an irregular row, lacks row 0 or another row, its times run backwards, or an earlier file has a part of it:
   its rows are read.
5. It has no disconnect row: its rows are carried over to the next block.

A folded session is not checked for everything: it may have a reply code outside of 1xx to 5xx, rows out of order in
the middle while the first, the last and the number of rows fit, or a day or hour that does not exist in a row that has
no part in the outcome.

Of a Receive log two things are needed: which connector has which address, and what it refused. So the first row of
each pair of connector and address is read, and every row that refuses; the others are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow, SessionRows
from evtx_analyzer.read.encoding import decode
from evtx_analyzer.read.exchange_log import RECEIVE_LOG, SEND_FIELDS, SEND_LOG, ExchangeRows
from evtx_analyzer.read.lines import line_text, split_cells
from evtx_analyzer.smtp.blocks import Block, BlockReader, Folded, Layouts, Readable, Row, RowReader, by_session
from evtx_analyzer.smtp.outcomes import Layout, OutcomeReader
from evtx_analyzer.smtp.refused import TIME_SIZE, moment

_TIME = rb"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z"
_CELL = rb"(?:\"[^\"\n]*+(?:\"\"[^\"\n]*+)*+\"|[^\",\n][^,\n]*+|)"
# A row whose quotes are not closed, or that has no cell for its context, is cut: it is irregular. Only data and context
# may be quoted, and commands and replies have an empty context. The token of "*,,sending message with RecordId ..." is
# "*," alone, for its ids differ from message to message and have no part in the outcome.
# A cell without quotes is matched up to a comma, several times as fast as up to a comma or a line end. It cannot run on
# into the next line unnoticed, for what follows a comma there never fits here.
_TOKEN = (
    rb"(\*,(?:(?!,send).*)?"
    rb"|[<>],(?:\d\d\d[- ]?(?=[^,]*+,\r?\n)|[A-Za-z-]*+(?=[ ,])(?=[^,]*+,\r?\n)|\"[^\s\",]++[ -](?=.*\",\r?\n))"
    rb"|[-+](?=,,[^\",\n]*\n))"
)
_SEND = re.compile(rb"(%s,[^,]*+,(.{16}),\d++,[^,]*+,[^,]*+,%s.*)\n" % (_TIME, _TOKEN))
_RECEIVE = re.compile(
    rb"(%s,([^,\n\"]*+),.{16},\d++,([^,\n\"]*+),[^,\n\"]*+,([-+<>*])%s.*)\n" % (_TIME, rb",\"?[0-9]?")
)
_INFORMATION = re.compile(rb"\*,(%s),(%s)\r?" % (_CELL, rb"\"[^\"\n]*+(?:\"\"[^\"\n]*+)*+\"|[^\",\r\n][^\",\r\n]*+|"))
# Data or context of an information row about a certificate or TLS; what is not plain ASCII may be about one.
_TLS = re.compile(rb"\"?\s*(?:(?:sending|local|received|remote)? ?certificate|tls )|.*[\x80-\xff]", re.IGNORECASE)
_USUAL = re.compile(rb",>,(?:MAIL FROM|RCPT TO):<[^>\s@]*+@([^>\s@]++)>")
_END = b"-"
_CODE = b"5.7.64"
_BEFORE_EVENT = len("2016-12-01T03:09:55.456Z,,08D50D3D00000001,0,,")
"""At least so many bytes of a row come before its event."""
_CELLS, _SESSION_ID = len(SEND_FIELDS), SEND_FIELDS.index("session-id")
_SEQUENCE, _LOCAL, _DATA = (SEND_FIELDS.index(name) for name in ("sequence-number", "local-endpoint", "data"))


def _kind(rows: RowReader) -> str:
    """Return the kind of log that the header names; empty where all rows must be read one by one."""
    assert isinstance(rows, ExchangeRows)
    kinds = (log for log in (SEND_LOG, RECEIVE_LOG) if log.casefold() == rows.log.casefold())
    return next(kinds, "") if rows.columns == SEND_FIELDS else ""


class ProtocolReader(BlockReader):
    """Reads the log of a Send or Receive connector of Exchange."""

    def __init__(self, source: Origin, layouts: Layouts) -> None:
        super().__init__(source, layouts, ExchangeRows(source), OutcomeReader(_data, moment, TIME_SIZE, _USUAL))
        self._pairs: set[tuple[bytes, bytes]] = set()
        self._refusals = layouts.refusals
        if self._refusals is not None:
            self._refusals.begin(source)

    def pattern(self, rows: RowReader, data: bytes) -> re.Pattern[bytes] | None:  # noqa: ARG002  the same for all data
        """Return the pattern of rows of a Send or Receive connector with the usual columns."""
        return {SEND_LOG: _SEND, RECEIVE_LOG: _RECEIVE}.get(_kind(rows))

    def judge(self, block: Block, read_rows: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Fold the sessions of a known shape and read the others; rows of open sessions are carried over."""
        if _kind(self.rows) == RECEIVE_LOG:
            yield from self._receive(block, read_rows)
            return
        sessions = by_session(block.rows)
        sessions.pop(b"", None)  # irregular lines: they are in ``read_rows``
        odd, known, folded = self._odd(read_rows), self.layouts.known, Folded(self, block, SEND_LOG)
        unfolded: dict[bytes, list[Row]] = {}
        for key, rows in sessions.items():
            layout = known.get(tuple([row[2] for row in rows]))
            if layout is None or key in odd or not self._fold(rows, layout, folded):
                unfolded[key] = rows
        waiting: list[int] = []
        places = block.places(row for rows in unfolded.values() for row in rows)
        for key, rows in unfolded.items():
            numbers = [places[id(row)] for row in rows]
            if key in odd:
                read_rows.update({at: self.read(block, at) for at in numbers})
            else:
                waiting += self._in_parts(block, numbers, folded, read_rows)
        if not self.carry(block, waiting):
            read_rows.update({at: self.read(block, at) for at in waiting})
        yield from folded.counted()
        if self._refusals is not None:
            yield from self._refusals.placed(block)

    def words(self, line: bytes) -> str:
        """Return the data of a row as text."""
        return (split_cells(line_text(line, "utf-8")) or [""] * _CELLS)[_DATA]

    def _odd(self, read_rows: dict[int, Iterable[Readable]]) -> set[bytes]:
        """Return the ids of sessions that have an irregular row or began in an earlier file."""
        rows = [row for rows in read_rows.values() for row in rows if isinstance(row, LogRow)]
        names = {row.values.get("session-id", "") for row in rows}.union(self.layouts.begun())
        return {name.encode("utf-8", "replace") for name in names}

    def _in_parts(
        self, block: Block, numbers: list[int], folded: Folded, read_rows: dict[int, Iterable[Readable]]
    ) -> list[int]:
        """Fold or read the rows of one session id up to each disconnect row; return the rows of an open session."""
        start = 0
        for place, at in enumerate(numbers):
            if block.rows[at][2] == _END:
                part, start = numbers[start : place + 1], place + 1
                if not self._learned(block, part, folded):
                    read_rows[at] = self._whole(block, part)
        unended = numbers[start:]
        if unended and (start or _sequence(block.rows[unended[0]][0]) != b"0"):
            # Rows behind a disconnect row, or without row 0, can never be a whole session: no block completes them.
            read_rows.update({at: self.read(block, at) for at in unended})
            return []
        return unended

    def _learned(self, block: Block, part: list[int], folded: Folded) -> bool:
        """Fold an ended session whose shape as written has no layout yet; False if it must be read.

        Its reduced shape leaves out what information rows say of other things than TLS. A layout is learned for the
        reduced shape, and kept for both.
        """
        rows, known = [block.rows[at] for at in part], self.layouts.known
        written = tuple([row[2] for row in rows])
        # Reply codes are in a shape, texts are not: the session from which it was learned may have failed with another
        # 550, and this one with 5.7.64.
        has_code = any(_CODE in row[0] for row in rows)
        if written in known and known[written] is None and not has_code:
            return False
        tokens = [_reduced(token) if token[:1] == b"*" else token for token in written]
        if None in tokens or any(_sequence(row[0]) != str(number).encode() for number, row in enumerate(rows)):
            return False
        shape = tuple(tokens)
        if shape not in known or (known[shape] is None and has_code):
            log_rows = self._rows(block, part)
            if len(log_rows) < len(part):
                return False
            self.layouts.keep(shape, self.layouts.learn(log_rows))
        layout = known[shape]
        self.layouts.keep(written, layout)
        if layout is None or self._fold(rows, layout, folded):
            return layout is not None
        if not layout.refused or self._refusals is None:
            return False
        self._refusals.learn(rows, layout, lambda: self._rows(block, part))
        return self._fold(rows, layout, folded)

    def _rows(self, block: Block, part: list[int]) -> list[LogRow]:
        """Return what the row reader makes of rows of a block, without losses."""
        return [row for at in part for row in self.read(block, at) if isinstance(row, LogRow)]

    def _fold(self, rows: list[Row], layout: Layout, folded: Folded) -> bool:
        """Add a session to those that were folded; False where a row is not what the layout needs."""
        begin, connector, _, sequence, _ = rows[0][0].split(b",", 4)
        end, _, _, count, local, _ = rows[-1][0].split(b",", 5)
        # All times have the same length and end in Z, so their texts sort in the order of time.
        times = [begin, *[rows[message.reply][0][:TIME_SIZE] for message in layout.messages], end]
        name = _connector(connector)
        if sequence != b"0" or count != str(len(rows) - 1).encode() or times != sorted(times) or name is None:
            return False
        outcome = self.outcomes.outcome(rows, layout, name, begin)
        if outcome is None:
            return False
        if layout.refused and (self._refusals is None or not self._refusals.take(rows, layout)):
            return False
        folded.add(outcome, rows, layout, connector, local)
        folded.count(len(rows), begin, end)
        return True

    def _whole(self, block: Block, part: list[int]) -> Iterator[LogRow | Loss | SessionRows]:
        """Yield the rows of an ended session as one ``SessionRows``, or one by one where a row is damaged."""
        lines = [block.rows[at][0] for at in part]
        rows = [split_cells(text) for text in _texts(lines)]
        cells = [row for row in rows if row is not None and len(row) == _CELLS]
        ids = {row[_SESSION_ID] for row in cells}
        times = {line[:TIME_SIZE] for line in lines}
        if len(cells) < len(rows) or len(ids) > 1 or None in map(moment, times):
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

    def _receive(self, block: Block, read_rows: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Read the first row of each pair of connector and address, and what this server refused; count the others."""
        counted: list[bytes] = []
        for at, (line, connector, local, event) in enumerate(block.rows):
            if not connector:
                continue
            pair = connector, local
            # In a Receive log ">" is what this server says.
            if pair in self._pairs and not (event == b">" and _is_refusal(line)):
                counted.append(line)
            else:
                self._pairs.add(pair)
                read_rows[at] = self.read(block, at)
        yield from self.count(RECEIVE_LOG, counted, len(counted))


@lru_cache(maxsize=256)
def _connector(written: bytes) -> str | None:
    """Return the name of a connector; None where it is quoted, which only the row reader undoes."""
    return None if b'"' in written else decode(written, "utf-8")


def _sequence(line: bytes) -> bytes:
    return line.split(b",", 4)[_SEQUENCE]


def _data(line: bytes) -> bytes:
    """Return the data of a command or reply up to its first comma; nothing of a quoted command."""
    at = line.find(b",<,", _BEFORE_EVENT)
    if at < 0:
        at = line.find(b",>,", _BEFORE_EVENT)
    data = line[at + 3 :].partition(b",")[0]
    return data if data[:1] != b'"' else data[1:] if data[1:2].isdigit() else b""


def _texts(lines: Sequence[bytes]) -> list[str]:
    """Return what ``line_text`` returns for each line; ASCII lines are decoded at once, which is faster."""
    data = b"\n".join(lines)
    if data.isascii() and b"\0" not in data:
        return [text.rstrip("\r") for text in data.decode().split("\n")]
    return [line_text(line, "utf-8") for line in lines]


def _is_refusal(line: bytes) -> bool:
    """Return whether the data of a row is a reply other than 2xx and 3xx."""
    data = line.split(b",", _DATA + 1)[_DATA].lstrip(b'"')
    return data != b"" and data[:1] not in b"23"


def _reduced(token: bytes) -> bytes | None:
    """Return the token of an information row, reduced to ``*`` unless it is about TLS; None if the row is damaged."""
    match = _INFORMATION.fullmatch(token)
    if match is None:
        return b"*" if token == b"*," else None
    return token if any(_TLS.match(cell) for cell in match.groups()) else b"*"
