"""Read large SMTP logs in blocks of lines: most rows are only counted, all others are read one by one.

One regular expression splits a block into rows. Of each row it takes the whole line, the key of its session, and a
*token*: the part of the row that bears on the outcome of the session. It matches only rows that are written as usual.
Any other line (cut, damaged, a header, NUL bytes) is *irregular*: it is noticed because bytes of the block are left
over, and the row reader reads it alone.

``BlockReader`` is what all kinds of log share. A subclass says in ``judge`` what is counted and what is read:
``fold.ProtocolReader`` for Exchange logs, ``connections.ConnectionReader`` for IIS logs.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRows, CountedSessions, LogRow, Outcome, SessionRows
from evtx_analyzer.read.encoding import guess
from evtx_analyzer.read.exchange_log import ExchangeRows
from evtx_analyzer.read.lines import LONGEST_LINE, ends_in_cr, line_text, lines, long_line, skip_line, without_nul_tail
from evtx_analyzer.read.w3c_log import W3cRows
from evtx_analyzer.smtp.clock_skew import HEAD_LINES
from evtx_analyzer.smtp.outcomes import Layout, OutcomeReader

if TYPE_CHECKING:
    from evtx_analyzer.smtp.refused import RefusalReader

Readable = LogRow | Loss | SessionRows | CountedRows | CountedSessions
Row = tuple[bytes, ...]
"""Line, key of the session, token, and more where a kind of log needs it; all but the line are empty if irregular."""
Learn = Callable[[Sequence[LogRow]], Layout | None]
"""Returns the layout of a session from all of its rows; None if its kind cannot be counted."""

_BLOCK = 512 << 10  # bytes; its rows stay in the cache of a processor: a tenth less time than with 2 MiB
_HEADER, _HEADER_LINES = 64 << 10, 50
_MOST_CARRIED = 1 << 20  # bytes
_MOST_SHAPES = 4000  # some kilobytes each
_MOST_GROUPS = 8  # more than any pattern has
_LINE_OF = itemgetter(0)


RowReader = ExchangeRows | W3cRows
"""Reads a log line by line; its state is the header that applies to the next row."""


class Layouts:
    """What was learned of the sessions of a folder: a layout for each shape, None where sessions must be read.

    ``begun`` returns the ids of the sessions that are open because rows of them were read one by one: a session that
    an earlier file has in part is not counted, even if a later file has it whole. Logs without session ids need
    ``newest``: by remote address, when the newest connection began that was read one by one, in milliseconds since
    1970. ``floor`` is the same for all addresses.
    """

    def __init__(
        self, learn: Learn, begun: Callable[[], Iterable[str]] = tuple, refusals: RefusalReader | None = None
    ) -> None:
        """``refusals`` folds the refusals of sessions; without it all rows of refused sessions are read."""
        self.learn, self.begun, self.refusals = learn, begun, refusals
        self.known: dict[Any, Layout | None] = {}
        self.newest: dict[bytes, int] = {}
        self.floor = -(1 << 41)

    def keep(self, shape: object, layout: Layout | None) -> None:
        """Remember the layout of a shape; forget all others where there are too many."""
        if len(self.known) >= _MOST_SHAPES:
            self.known.clear()
        self.known[shape] = layout


Carried = list[tuple[Row, int, int]]
"""Rows that wait for the next block, each with its line number and byte offset in the file."""


class Block:
    """The rows of one block, first those carried over, then fresh ones; ``at`` is the number of a row in it, from 0."""

    def __init__(self, carried: Carried, fresh: list[Row], number: int, offset: int) -> None:
        """``number`` lines and ``offset`` bytes of the file come before the fresh rows."""
        self.rows = [row for row, *_ in carried] + fresh
        self._carried, self._number, self._offset, self._fresh = carried, number, offset, fresh
        self._carried_count = len(carried)

    def line(self, at: int) -> int:
        """Return the line number of a row in the file, from 1."""
        if at < self._carried_count:
            return self._carried[at][1]
        return self._number + 1 + at - self._carried_count

    def offset(self, at: int) -> int:
        """Return the byte offset of a row in the file."""
        if at < self._carried_count:
            return self._carried[at][2]
        # Each line before it has one byte more: its line end.
        return self._offsets[at - self._carried_count] + at - self._carried_count

    @cached_property
    def _offsets(self) -> list[int]:
        """Offsets of the fresh rows without line ends; made only where a row is read or carried over."""
        return list(accumulate(_sizes(self._fresh), initial=self._offset))

    def places(self, rows: Iterable[Row]) -> dict[int, int]:
        """Return the numbers of these rows in the block by ``id(row)``, the highest first."""
        wanted, places = {id(row) for row in rows}, dict[int, int]()
        left = len(wanted)
        # From the end, for most of them are of open sessions.
        for at, row in zip(range(len(self.rows) - 1, -1, -1), reversed(self.rows), strict=True):
            if not left:
                break
            if id(row) in wanted:
                places[id(row)] = at
                left -= 1
        return places


class BlockReader(ABC):
    """Reads one file; a subclass says below which header it can judge rows, and judges them."""

    def __init__(self, source: Origin, layouts: Layouts, rows: RowReader, outcomes: OutcomeReader) -> None:
        self.source, self.layouts, self.rows, self.outcomes = source, layouts, rows, outcomes
        self.carried: Carried = []
        self.line_count = self.offset = 0

    @abstractmethod
    def pattern(self, rows: RowReader, data: bytes) -> re.Pattern[bytes] | None:
        """Return the pattern of a regular row with its line end below this header; None if all rows must be read."""

    @abstractmethod
    def judge(self, block: Block, read_rows: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Yield the counts of a block, and add to ``read_rows`` what was read one by one.

        ``read_rows`` maps the number of a row to what is yielded in its place; it comes with the irregular lines.
        Rows of open sessions are carried over to the next block (``carry``).
        """

    @abstractmethod
    def words(self, line: bytes) -> str:
        """Return the text of a reply."""

    def unjudged(self, block: Block) -> None:  # noqa: B027  a hook: only some kinds of log need it
        """Note that all rows of a block are read one by one."""

    def begins(self, head: bytes) -> bool:
        """Return whether a file begins with a header below which rows can be judged."""
        probe = self.rows.copy()
        for line in head[:_HEADER].splitlines():
            text = line_text(line, "utf-8")
            if text and not text.startswith("#"):
                break
            list(probe.read(0, 0, text or "#"))
        return self.pattern(probe, head) is not None

    def block(self, data: bytes, size: int) -> Iterator[Readable]:
        """Yield rows and counts of the lines in the first ``size`` bytes, which end with a line end."""
        from stringzilla import count  # noqa: PLC0415  start-up cost: only for large logs; twice as fast as bytes.count

        pattern = self.pattern(self.rows, data)
        rows: list[Row] = pattern.findall(data, 0, size) if pattern else []
        irregular: list[int] = []
        # Where a row is cut, a match may run on into the next line: then there are more lines than rows.
        if not pattern or sum(_sizes(rows)) + len(rows) != size or count(data, b"\n", 0, size) != len(rows):
            rows = _one_by_one(pattern, data[:size])
            irregular = [at + len(self.carried) for at, row in enumerate(rows) if not any(row[1:])]
        block, self.carried = Block(self.carried, rows, self.line_count, self.offset), []
        self.line_count, self.offset = self.line_count + len(rows), self.offset + size
        if not pattern or self._changes(block, irregular):
            # The pattern is that of the header before the block, and does not fit the rows below another one.
            self.unjudged(block)
            for at in range(len(block.rows)):
                yield from self.read(block, at)
            return
        read_rows: dict[int, Iterable[Readable]] = {at: self.read(block, at) for at in irregular}
        yield from self.judge(block, read_rows)
        for at in sorted(read_rows):
            yield from read_rows[at]

    def end(self, last_line: bytes) -> Iterator[LogRow | Loss]:
        """Yield the rows that were carried over, and a last line without a line end."""
        carried, self.carried = self.carried, []
        for row, line, offset in carried:
            yield from self.rows.read(line, offset, line_text(row[0], "utf-8"))
        text = line_text(last_line, "utf-8")
        if text:
            yield from self.rows.read(self.line_count + 1, self.offset, text)

    def read(self, block: Block, at: int) -> list[LogRow | Loss]:
        """Return what the row reader makes of one row of a block."""
        text = line_text(block.rows[at][0], "utf-8")
        return list(self.rows.read(block.line(at), block.offset(at), text)) if text else []

    def carry(self, block: Block, numbers: Sequence[int]) -> bool:
        """Carry rows over to the next block; False where they take too much memory."""
        if sum(len(block.rows[at][0]) for at in numbers) > _MOST_CARRIED:
            return False
        self.carried = [(block.rows[at], block.line(at), block.offset(at)) for at in sorted(numbers)]
        return True

    def count(self, log: str, lines: Sequence[bytes], rows: int, host: str = "") -> Iterator[CountedRows]:
        """Yield the count of ``rows``; ``lines`` are some of them, among which are the first and the last."""
        if not lines:
            return
        size, time_of = self.outcomes.time_size, self.outcomes.time_of
        first, last = (time_of(line[:size]) for line in (min(lines), max(lines)))
        if first is None or last is None:  # a damaged row has a day or hour that does not exist
            sound = [line for line in lines if time_of(line[:size]) is not None]
            yield from self.count(log, sound, rows, host)
        else:
            yield CountedRows(origin=self.source, log=log, rows=rows, first=first, last=last, host=host)

    def _changes(self, block: Block, irregular: Iterable[int]) -> bool:
        """Return whether a line of the block changes the header."""
        probe = self.rows.copy()
        for at in irregular:
            text = line_text(block.rows[at][0], "utf-8")
            if text.startswith("#"):
                list(probe.read(0, 0, text))
                if probe.header() != self.rows.header():
                    return True
        return False


class Folded:
    """The sessions of a block that were folded: their outcomes by connector and local address, and their rows."""

    def __init__(self, reader: BlockReader, block: Block, log: str, host: str = "") -> None:
        self._reader, self._block, self._log, self._host = reader, block, log, host
        self._groups: dict[tuple[bytes, bytes], tuple[bytes, list[Outcome], list[Row]]] = {}
        self._early = block.line(0) <= HEAD_LINES
        self._rows, self._first, self._last = 0, b"~", b""

    def count(self, rows: int, first: bytes, last: bytes) -> None:
        """Count rows from a first time to a last one, as written."""
        self._rows, self._first, self._last = self._rows + rows, min(self._first, first), max(self._last, last)

    def add(self, outcome: Outcome, rows: Sequence[Row], layout: Layout, connector: bytes, local: bytes) -> None:
        """Add a session, without counting its rows."""
        group = self._groups.setdefault((connector, local.rpartition(b":")[0]), (local, [], []))
        group[1].append(outcome)
        if self._early:
            group[2].extend([rows[at] for at in layout.banners])

    def counted(self) -> Iterator[CountedSessions | CountedRows]:
        """Yield the outcomes with the banners in the first lines of the file, and the count of all rows."""
        time_size, time_of = self._reader.outcomes.time_size, self._reader.outcomes.time_of
        for local, outcomes, banners in self._groups.values():
            places = self._block.places(banners)
            early = [row[0] for row in banners if self._block.line(places[id(row)]) <= HEAD_LINES]
            times = [(time_of(line[:time_size]), line) for line in early]
            yield CountedSessions(
                origin=self._reader.source,
                log=self._log,
                local=local.decode("utf-8", "replace"),
                outcomes=tuple(outcomes),
                banners=tuple([(time, self._reader.words(line)) for time, line in times if time is not None]),
                host=self._host,
            )
        if self._rows:
            yield from self._reader.count(self._log, [self._first, self._last], self._rows, self._host)


def by_session(rows: Iterable[Row]) -> dict[bytes, list[Row]]:
    """Return rows by the key of their session."""
    sessions: dict[bytes, list[Row]] = {}
    for row in rows:
        try:
            sessions[row[1]].append(row)
        except KeyError:
            sessions[row[1]] = [row]
    return sessions


def _sizes(rows: list[Row]) -> Iterator[int]:
    """Return the lengths of the lines of rows."""
    return map(len, map(_LINE_OF, rows))


def _one_by_one(pattern: re.Pattern[bytes] | None, data: bytes) -> list[Row]:
    """Return the rows of a block in which some lines are irregular: each line is matched alone."""
    irregular = (b"",) * (pattern.groups - 1 if pattern else _MOST_GROUPS)
    rows: list[Row] = []
    for line in data.split(b"\n")[:-1]:
        match = pattern.fullmatch(line + b"\n") if pattern else None
        rows.append(match.groups(b"") if match else (line, *irregular))
    return rows


def read_blocks(stream: BinaryIO, reader: BlockReader) -> Iterator[Readable]:
    """Yield rows in the order of the log, counts of all other rows, and losses.

    All rows are yielded of a log that is not UTF-8, whose lines do not end in LF, or whose kind or columns ``reader``
    cannot judge.
    """
    head = stream.read(_BLOCK)
    encoding, mark = guess(head)
    if encoding != "utf-8" or ends_in_cr(head) or not reader.begins(head[mark:]):
        for number, offset, line in lines(cast("BinaryIO", _Joined(head, stream))):
            yield from reader.rows.read(number, offset, line)
        return
    reader.offset, data = mark, head[mark:]
    while data.startswith(b"#") and reader.line_count < _HEADER_LINES and (end := data.find(b"\n") + 1):
        list(reader.rows.read(0, 0, line_text(data[:end], "utf-8")))
        reader.line_count, reader.offset, data = reader.line_count + 1, reader.offset + end, data[end:]
    while data:
        size = data.rfind(b"\n") + 1
        if size:
            yield from reader.block(data, size)
        data = data[size:]
        if len(data) > LONGEST_LINE:
            length, data = skip_line(stream, len(data), b"\n")
            yield from reader.rows.read(reader.line_count + 1, reader.offset, long_line(length))
            reader.line_count, reader.offset = reader.line_count + 1, reader.offset + length + 1
        more = stream.read(_BLOCK)
        if not more:
            break
        data = without_nul_tail(data) + more
    yield from reader.end(data)


class _Joined:
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        return head or self._stream.read(size)
