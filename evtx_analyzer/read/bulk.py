"""Text logs read in bulk: a block at a time, most rows only counted, the others given as they are read one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from msgspec.structs import replace

from evtx_analyzer.model import CountedRows, LogRow, Loss, Origin, Routine, RoutineSessions, SessionRows
from evtx_analyzer.read.columns import Ints, Lines, moment
from evtx_analyzer.read.encoding import guess
from evtx_analyzer.read.lines import line_text, lines, without_nul_tail
from evtx_analyzer.read.shapes import Shapes

Given = LogRow | Loss | SessionRows | CountedRows | RoutineSessions
Counted = CountedRows | RoutineSessions
Told = Mapping[int, Iterable[LogRow | Loss | SessionRows]]

_BLOCK = 2 << 20
_HEADER, _HEADER_LINES = 64 << 10, 50
_MOST_CARRIED = 1 << 20
_MOST_SHAPES = 10_000


class RowReader(Protocol):
    """Reads a log line by line, and knows the header that holds."""

    def read(self, number: int, offset: int, line: str) -> Iterator[LogRow | Loss]:
        """What one line holds."""

    def header(self) -> Any:  # noqa: ANN401  compared only
        """What holds for the next row."""

    def copy(self) -> RowReader:
        """Another one in the same state."""


class Carried:
    """Rows that wait for the next block."""

    def __init__(self, data: bytes, lines: Ints, offsets: Ints) -> None:
        self.data, self.lines, self.offsets = data, lines, offsets


NOTHING = Carried(b"", np.zeros(0, np.int64), np.zeros(0, np.int64))


class Block:
    """Rows that were carried over, then whole fresh lines, with their numbers and places in the file."""

    def __init__(self, columns: Lines, carried: Carried, number: int, offset: int) -> None:
        """``number`` lines and ``offset`` bytes of the file are before the fresh ones."""
        self.columns = columns
        self.count = len(columns.start)
        old = len(carried.lines)
        self.lines: Ints = np.concatenate((carried.lines, number + 1 + np.arange(self.count - old)))
        self.offsets: Ints = np.concatenate((carried.offsets, columns.start[old:] - len(carried.data) + offset))


class BulkReader(ABC):
    """State of one file; a log kind says in which header it is read in bulk, and judges the rows of a block."""

    def __init__(self, source: Origin, shapes: Shapes, rows: RowReader) -> None:
        self.source, self.shapes, self.rows = source, shapes, rows
        self.carried = NOTHING

    @abstractmethod
    def in_bulk(self, rows: RowReader) -> bool:
        """Whether rows below this header can be judged."""

    @abstractmethod
    def columns(self, *parts: bytes | memoryview) -> Lines:
        """The rows of a block as columns."""

    @abstractmethod
    def judge(self, block: Block, chosen: Ints, given: list[LogRow]) -> tuple[Told, list[Counted]]:
        """Of the chosen rows, what must be given, and what was counted of the others; the rest is carried.

        ``given`` are rows of the block that are given in any case. What must be given is told by the number of the
        row in whose place it is given.
        """

    def unjudged(self, block: Block) -> None:  # noqa: B027  nothing to note, unless a log kind needs it
        """Note that all rows of a block are given."""

    def begins(self, head: bytes) -> bool:
        """Whether a file begins with a header below which rows can be judged."""
        known = self.rows.copy()
        for line in head[:_HEADER].splitlines():
            text = line_text(line, "utf-8")
            if text and not text.startswith("#"):
                break
            list(known.read(0, 0, text or "#"))
        return self.in_bulk(known)

    def block(self, block: Block) -> Iterator[Given]:
        """Give and count the rows of a block."""
        self.carried = NOTHING
        # Columns mean what the header says that held before the block.
        usable = block.columns.regular & (self.in_bulk(self.rows) and not self._changes(block))
        read = {at: self.read(block, at) for at in np.flatnonzero(~usable).tolist()}
        given: dict[int, Iterable[Given]] = {**read}
        chosen = np.flatnonzero(usable)
        if len(chosen):
            rows = [row for found in read.values() for row in found if isinstance(row, LogRow)]
            told, counted = self.judge(block, chosen, rows)
            yield from counted
            given.update(told)
        elif given:
            self.unjudged(block)
        for at in sorted(given):
            yield from given[at]

    def end(self, rest: bytes, number: int, offset: int) -> Iterator[LogRow | Loss]:
        """Give what was carried, and a last line without an end."""
        carried, self.carried = self.carried, NOTHING
        for line, place, row in zip(carried.lines, carried.offsets, carried.data.split(b"\n"), strict=False):
            yield from self.rows.read(int(line), int(place), line_text(row, "utf-8"))
        text = line_text(rest, "utf-8")
        if text:
            yield from self.rows.read(number, offset, text)

    def read(self, block: Block, at: int) -> list[LogRow | Loss]:
        """One row of a block as it is read alone."""
        text = line_text(block.columns.row(at), "utf-8")
        return list(self.rows.read(int(block.lines[at]), int(block.offsets[at]), text)) if text else []

    def read_all(self, block: Block, rows: Iterable[int]) -> dict[int, Iterable[LogRow | Loss]]:
        """Some rows of a block as they are read alone, by their number."""
        return {at: self.read(block, at) for at in rows}

    def carry(self, block: Block, rows: Ints) -> bool:
        """Keep rows for the next block; not where they are too many."""
        rows = np.sort(rows)
        columns = block.columns
        data = b"".join([columns.text.data[columns.start[at] : columns.end[at] + 1] for at in rows.tolist()])
        if len(data) > _MOST_CARRIED:
            return False
        self.carried = Carried(data, block.lines[rows], block.offsets[rows])
        return True

    def learned(self, shape: int, block: Block, rows: list[int]) -> Routine | None:
        """What is known of a shape of sessions; the first session that has it (its rows) is told."""
        known = self.shapes.known
        if shape not in known:
            if len(known) >= _MOST_SHAPES:
                return None
            read = [row for at in rows for row in self.read(block, at)]
            known[shape] = self.shapes.learn([row for row in read if isinstance(row, LogRow)])
        return known[shape]

    def counted(self, log: str, block: Block, rows: Ints, host: str = "") -> CountedRows:
        """These rows, counted."""
        time = block.columns.time[rows]
        return CountedRows(
            origin=replace(self.source, line=int(block.lines.min())),
            log=log,
            rows=len(rows),
            first=moment(time.min()),
            last=moment(time.max()),
            host=host,
        )

    def _changes(self, block: Block) -> bool:
        """Whether a row of the block changes the header."""
        state = self.rows.copy()
        for at in np.flatnonzero(~block.columns.regular).tolist():
            text = line_text(block.columns.row(at), "utf-8")
            if text.startswith("#"):
                list(state.read(0, 0, text))
                if state.header() != self.rows.header():
                    return True
        return False


def read_in_bulk(stream: BinaryIO, reader: BulkReader) -> Iterator[Given]:
    """Read a log forwards: rows that are given in their order, counts of all others, and losses.

    A session of which a row is given is given whole, also where it goes on in the next file that is read with the same
    shapes. Logs of other kinds, encodings and columns are given whole.
    """
    head = stream.read(_BLOCK)
    encoding, mark = guess(head)
    if encoding != "utf-8" or not reader.begins(head[mark:]):
        for number, offset, line in lines(cast("BinaryIO", _Joined(head, stream))):
            yield from reader.rows.read(number, offset, line)
        return
    number, offset, rest = 0, mark, head[mark:]
    while rest.startswith(b"#") and number < _HEADER_LINES and (end := rest.find(b"\n") + 1):
        list(reader.rows.read(number + 1, offset, line_text(rest[:end], "utf-8")))
        number, offset, rest = number + 1, offset + end, rest[end:]
    while rest:
        cut = rest.rfind(b"\n") + 1
        if cut:
            columns = reader.columns(reader.carried.data, memoryview(rest)[:cut])
            block = Block(columns, reader.carried, number, offset)
            yield from reader.block(block)
            number = int(block.lines[-1])
        offset += cut
        more = stream.read(_BLOCK)
        if not more:
            yield from reader.end(rest[cut:], number + 1, offset)
            return
        rest = without_nul_tail(rest[cut:]) + more
    yield from reader.end(b"", number, offset)


class _Joined:
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        return head or self._stream.read(size)
