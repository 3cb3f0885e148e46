"""SMTP logs are read forwards, a block of lines at a time: most rows are counted, the plain reader reads the others.

One regular expression takes a block apart into rows: the whole line, the key of its session, and a token, which is what
of the row bears on the session's outcome. It matches a row only where it is written as usual. Any other line (cut,
damaged, a header, NUL bytes) shows by the bytes that are left over, and is read by the plain reader.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, cast

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRows, CountedSessions, LogRow, SessionRows
from evtx_analyzer.read.encoding import guess
from evtx_analyzer.read.lines import LONGEST_LINE, line_text, lines, long_line, skip_line, without_nul_tail
from evtx_analyzer.smtp.outcomes import Layout

if TYPE_CHECKING:
    from evtx_analyzer.smtp.refused import RefusalReader

Readable = LogRow | Loss | SessionRows | CountedRows | CountedSessions
Row = tuple[bytes, ...]
"""Line, key and token, and what a kind of log needs besides; of an irregular line all but the line are empty."""
Learn = Callable[[Sequence[LogRow]], Layout | None]

_BLOCK = 512 << 10  # its rows stay in the cache of a processor: a tenth less time than with 2 MiB
_HEADER, _HEADER_LINES = 64 << 10, 50
_MOST_CARRIED = 1 << 20
_MOST_SHAPES = 4000  # some kilobytes each
_MOST_GROUPS = 8  # of any pattern
_LINE_OF = itemgetter(0)


class RowReader(Protocol):
    """Reads a log line by line, and knows the header that holds."""

    def read(self, number: int, offset: int, line: str) -> Iterator[LogRow | Loss]:
        """Yield what one line holds."""

    def header(self) -> Any:  # noqa: ANN401  compared only
        """Return what holds for the next row."""

    def copy(self) -> RowReader:
        """Return another reader in the same state."""


class Layouts:
    """What was learned of the sessions of a folder: a layout for each shape, None for one that must be read.

    ``begun`` names the sessions of which rows were given and that have not ended: what an earlier file has in part is
    not counted, though a later one has it whole. ``newest`` is when the newest connection began that was given, by
    address, and ``floor`` that of all addresses (milliseconds since 1970): logs without session ids
    need it.
    """

    def __init__(
        self,
        learn: Learn,
        begun: Callable[[], Iterable[str]] = tuple,
        refusals: RefusalReader | None = None,
    ) -> None:
        """``refusals`` takes refusals from the rows of sessions; without it refused sessions are given whole."""
        self.learn, self.begun, self.refusals = learn, begun, refusals
        self.known: dict[Any, Layout | None] = {}
        self.newest: dict[bytes, int] = {}
        self.floor = -(1 << 41)

    def keep(self, shape: object, layout: Layout | None) -> None:
        """Remember the layout of a shape; all are forgotten where there are too many."""
        if len(self.known) >= _MOST_SHAPES:
            self.known.clear()
        self.known[shape] = layout


class Carried(NamedTuple):
    """Rows that wait for the next block, with their line numbers and byte offsets in the file."""

    rows: list[Row]
    lines: list[int]
    offsets: list[int]


class Block:
    """Rows that were carried over, then those of whole fresh lines."""

    def __init__(self, carried: Carried, fresh: list[Row], number: int, offset: int) -> None:
        """``number`` lines and ``offset`` bytes of the file are before the fresh rows."""
        self.rows = carried.rows + fresh
        self._carried, self._number, self._offset, self._fresh = carried, number, offset, fresh
        self._old = len(carried.rows)

    def line(self, at: int) -> int:
        """Return the line number of a row, from 1."""
        return self._carried.lines[at] if at < self._old else self._number + 1 + at - self._old

    def offset(self, at: int) -> int:
        """Return the byte offset of a row in the file."""
        return self._carried.offsets[at] if at < self._old else self._offsets[at - self._old] + at - self._old

    @cached_property
    def _offsets(self) -> list[int]:
        """Return the offsets of the fresh rows as if lines had no ends; made only if a row is given or carried."""
        return list(accumulate(_sizes(self._fresh), initial=self._offset))

    def places(self, rows: Iterable[Row]) -> dict[int, int]:
        """Return the numbers of these rows in the block, by their identity, in falling order."""
        wanted, places = {id(row) for row in rows}, dict[int, int]()
        left = len(wanted)
        # Most of them are of open sessions, so that they stand near the end.
        for at, row in zip(range(len(self.rows) - 1, -1, -1), reversed(self.rows), strict=True):
            if not left:
                break
            if id(row) in wanted:
                places[id(row)] = at
                left -= 1
        return places

    def carry(self, at: Sequence[int]) -> Carried:
        """Return some rows as they wait for the next block."""
        return Carried([self.rows[n] for n in at], [self.line(n) for n in at], [self.offset(n) for n in at])


class BlockReader(ABC):
    """State of one file; a log kind says in which header its rows can be judged, and judges them."""

    def __init__(self, source: Origin, layouts: Layouts, rows: RowReader) -> None:
        self.source, self.layouts, self.rows = source, layouts, rows
        self.carried = Carried([], [], [])
        self.line_count = self.offset = 0

    @abstractmethod
    def pattern(self, rows: RowReader, data: bytes) -> re.Pattern[bytes] | None:
        """Return the pattern of a regular row with its line end below this header; None if it must be read alone."""

    @abstractmethod
    def judge(self, block: Block, given: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Yield what was counted, and add what must be given, by the number of the row in whose place it is given.

        ``given`` holds the irregular lines, read alone. Rows that wait for the next block are carried.
        """

    def unjudged(self, block: Block) -> None:  # noqa: B027  nothing to note, unless a log kind needs it
        """Note that all rows of a block are given."""

    def begins(self, head: bytes) -> bool:
        """Return whether a file begins with a header below which rows can be judged."""
        known = self.rows.copy()
        for line in head[:_HEADER].splitlines():
            text = line_text(line, "utf-8")
            if text and not text.startswith("#"):
                break
            list(known.read(0, 0, text or "#"))
        return self.pattern(known, head) is not None

    def block(self, data: bytes, size: int) -> Iterator[Readable]:
        """Give and count the rows of whole lines, the first ``size`` bytes; ``offset`` bytes went before them."""
        from stringzilla import count  # noqa: PLC0415  start-up cost: only for large logs; twice as fast as bytes.count

        pattern = self.pattern(self.rows, data)
        rows: list[Row] = pattern.findall(data, 0, size) if pattern else []
        irregular: list[int] = []
        # A match may run on from a row that is cut into the next one: then there are more lines than rows.
        if not pattern or sum(_sizes(rows)) + len(rows) != size or count(data, b"\n", 0, size) != len(rows):
            rows = _one_by_one(pattern, data[:size])
            irregular = [at + len(self.carried.rows) for at, row in enumerate(rows) if not any(row[1:])]
        block, self.carried = Block(self.carried, rows, self.line_count, self.offset), Carried([], [], [])
        self.line_count, self.offset = self.line_count + len(rows), self.offset + size
        if not pattern or self._changes(block, irregular):
            # Columns mean what the header says that held before the block.
            self.unjudged(block)
            for at in range(len(block.rows)):
                yield from self.read(block, at)
            return
        given: dict[int, Iterable[Readable]] = {at: self.read(block, at) for at in irregular}
        yield from self.judge(block, given)
        for at in sorted(given):
            yield from given[at]

    def end(self, rest: bytes) -> Iterator[LogRow | Loss]:
        """Give what was carried, and a last line without an end."""
        carried, self.carried = self.carried, Carried([], [], [])
        for row, line, place in zip(*carried, strict=True):
            yield from self.rows.read(line, place, line_text(row[0], "utf-8"))
        text = line_text(rest, "utf-8")
        if text:
            yield from self.rows.read(self.line_count + 1, self.offset, text)

    def read(self, block: Block, at: int) -> list[LogRow | Loss]:
        """Return one row of a block as it is read alone."""
        text = line_text(block.rows[at][0], "utf-8")
        return list(self.rows.read(block.line(at), block.offset(at), text)) if text else []

    def carry(self, block: Block, at: Sequence[int]) -> bool:
        """Keep rows for the next block; not where they are too many."""
        if sum(len(block.rows[n][0]) for n in at) > _MOST_CARRIED:
            return False
        self.carried = block.carry(sorted(at))
        return True

    def _changes(self, block: Block, irregular: Iterable[int]) -> bool:
        """Return whether a line of the block changes the header."""
        state = self.rows.copy()
        for at in irregular:
            text = line_text(block.rows[at][0], "utf-8")
            if text.startswith("#"):
                list(state.read(0, 0, text))
                if state.header() != self.rows.header():
                    return True
        return False


def _sizes(rows: list[Row]) -> Iterator[int]:
    """Return the lengths of the lines of rows."""
    return map(len, map(_LINE_OF, rows))


def _one_by_one(pattern: re.Pattern[bytes] | None, data: bytes) -> list[Row]:
    """Return the rows of a block in which some lines are irregular."""
    irregular = (b"",) * (pattern.groups - 1 if pattern else _MOST_GROUPS)
    rows: list[Row] = []
    for line in data.split(b"\n")[:-1]:
        match = pattern.fullmatch(line + b"\n") if pattern else None
        rows.append(match.groups(b"") if match else (line, *irregular))
    return rows


def read_blocks(stream: BinaryIO, reader: BlockReader) -> Iterator[Readable]:
    """Read a log forwards: what is given in the order of the log, counts of everything else, and losses.

    Logs of other kinds, encodings and columns are given whole.
    """
    head = stream.read(_BLOCK)
    encoding, mark = guess(head)
    if encoding != "utf-8" or not reader.begins(head[mark:]):
        for number, offset, line in lines(cast("BinaryIO", _Joined(head, stream))):
            yield from reader.rows.read(number, offset, line)
        return
    reader.offset, rest = mark, head[mark:]
    while rest.startswith(b"#") and reader.line_count < _HEADER_LINES and (end := rest.find(b"\n") + 1):
        list(reader.rows.read(0, 0, line_text(rest[:end], "utf-8")))
        reader.line_count, reader.offset, rest = reader.line_count + 1, reader.offset + end, rest[end:]
    while rest:
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield from reader.block(rest, cut)
        rest = rest[cut:]
        if len(rest) > LONGEST_LINE:
            size, rest = skip_line(stream, len(rest), b"\n")
            yield from reader.rows.read(reader.line_count + 1, reader.offset, long_line(size))
            reader.line_count, reader.offset = reader.line_count + 1, reader.offset + size + 1
        more = stream.read(_BLOCK)
        if not more:
            break
        rest = without_nul_tail(rest) + more
    yield from reader.end(rest)


class _Joined:
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        return head or self._stream.read(size)
