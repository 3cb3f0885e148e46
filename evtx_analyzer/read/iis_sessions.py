"""Outbound connections of the IIS SMTP service that went well, counted in bulk; the rows of all others are given.

These logs name no sessions: rows belong together by remote address, and by when the connection began (time minus
time-taken), see ``correlate.sessions``. Here a *segment* are the rows of one address from a banner (not the answer to
STARTTLS) to the next one. A segment is routine where it holds one QUIT and behind it at most 221, its rows began within
two seconds of the first one with a time-taken that never falls, nothing in it says no, and no connection to the same
address that was left open, or is given, began within two seconds before it: then reading row by row would put exactly
its rows together. A segment without QUIT at the end of a block waits for the next one. Its *shape* are commands, codes
of replies, and where time-taken rose; the first segment of each shape is told as every session is.

A block is given whole where it names several machines, where a row has no time-taken or is written in an unusual way.
Rows of other users than the outbound ones (inbound sessions) are counted and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
from msgspec.structs import replace

from evtx_analyzer.constants import HEAD_LINES
from evtx_analyzer.model import LogRow, Loss, Origin, Routine, RoutineSessions
from evtx_analyzer.read.bulk import Block, BulkReader, Counted, RowReader, Told
from evtx_analyzer.read.columns import (
    LONGEST,
    MANY,
    WEIGHTS,
    Flags,
    Ints,
    Lines,
    Words,
    alike,
    in_order,
    mixed,
    moment,
    times,
    word_of,
)
from evtx_analyzer.read.fieldslog import W3C_LOG, W3cRows
from evtx_analyzer.read.shapes import Shapes

_NEEDED = ("c-ip", "cs-username", "s-sitename", "s-computername", "cs-method", "cs-uri-query", "time-taken")
_COMMAND, _RESPONSE = b"OutboundConnectionCommand", b"OutboundConnectionResponse"
_SAME_CONNECTION = 2000
_SLACK = int(timedelta(minutes=1).total_seconds() * 1000)
_LOWER = np.uint64(0x2020202020202020)
_BLANK, _PLUS, _MINUS, _ASCII = 32, ord("+"), ord("-"), 128
_TWO, _THREE, _DIGITS = ord("2"), ord("3"), (ord("0"), ord("9"))
_BANNER, _BYE = word_of(b"220"), word_of(b"221")
_NEVER = 1 << 41  # milliseconds; no log is as long


class W3cColumns(Lines):
    """Cells of all rows of a block, by the names of the header, which begin with date and time."""

    def __init__(self, names: tuple[str, ...], *parts: bytes | memoryview) -> None:
        super().__init__(*parts)
        self._names = names
        self._blanks = np.append(self.text.places(_BLANK), len(self.text.bytes))
        self._first = np.searchsorted(self._blanks, self.start)
        self._count: Ints = np.diff(self._first, append=len(self._blanks) - 1)
        self.regular &= self._count >= len(names) - 1
        self.tell_time(b"0000-00-", b"00 00:00", b":00 ")

    def cell(self, name: str) -> tuple[Ints, Ints]:
        """Where the cells of a column begin and end."""
        number = self._names.index(name)
        place = np.minimum(self._first + number, len(self._blanks) - 1)
        stop = np.where(self._count > number, self._blanks[place], self.stop)
        return np.minimum(self._blanks[place - 1] + 1, stop), stop

    def short(self, name: str, size: int) -> Words:
        """Up to eight bytes of the cells of a column."""
        start, stop = self.cell(name)
        return self.text.cell(start, np.minimum(stop - start, size))

    def number(self, name: str) -> tuple[Ints, Flags]:
        """The cells of a column as numbers, and whether they are such with at most eight digits."""
        start, stop = self.cell(name)
        size = stop - start
        word = self.text.cell(start, size)
        value: Ints = np.zeros(len(start), np.int64)
        good: Flags = (size > 0) & (size <= 8)  # noqa: PLR2004
        for place in range(8):
            digit = ((word >> np.uint64(8 * place)) & np.uint64(255)).astype(np.int64) - ord("0")
            inside = size > place
            good &= ~inside | ((digit >= 0) & (digit <= 9))  # noqa: PLR2004
            value = np.where(inside, value * 10 + digit, value)
        return value, good

    def equals(self, name: str, text: bytes) -> Flags:
        """Which cells of a column are exactly this text."""
        start, stop = self.cell(name)
        same: Flags = stop - start == len(text)
        for part, word in enumerate(self.text.cells(start, stop, (len(text) + 7) // 8)):
            same &= word == word_of(text[8 * part : 8 * part + 8])
        return same


class IisReader(BulkReader):
    """Reads a W3C log of the SMTP service in bulk."""

    def __init__(self, source: Origin, shapes: Shapes) -> None:
        super().__init__(source, shapes, W3cRows(source))
        self._latest = 0

    def in_bulk(self, rows: RowReader) -> bool:
        """Whether the header names all columns that are needed, each once, and begins with date and time."""
        assert isinstance(rows, W3cRows)
        names = rows.columns
        return names[:2] == ("date", "time") and all(names.count(name) == 1 for name in (*names[:2], *_NEEDED))

    def columns(self, *parts: bytes | memoryview) -> W3cColumns:
        """The rows of a block as columns; below a header without those that are needed they mean nothing."""
        assert isinstance(self.rows, W3cRows)
        return W3cColumns(self.rows.columns if self.in_bulk(self.rows) else ("date", "time", *_NEEDED), *parts)

    def judge(self, block: Block, chosen: Ints, given: list[LogRow]) -> tuple[Told, list[Counted]]:
        """Rows that must be given, and what was counted of the others; segments without an end are carried over."""
        columns = block.columns
        assert isinstance(columns, W3cColumns)
        self._latest = max(self._latest, int(columns.time[chosen].max()))
        command, response = columns.equals("cs-username", _COMMAND), columns.equals("cs-username", _RESPONSE)
        first = columns.byte(columns.cell("cs-username")[0])
        other = (first | _BLANK != ord("o")) & (first > _BLANK) & (first < _ASCII)
        elapsed, timed = columns.number("time-taken")
        outbound = chosen[(command | response)[chosen]]
        computer = columns.cell("s-computername")
        names = columns.text.hashes(*computer)[outbound]
        known = other | ((command | response) & timed & (computer[1] - computer[0] <= LONGEST))
        aside = chosen[other[chosen]]
        counted: list[Counted] = [self.counted("", block, aside)] if len(aside) else []
        if given or (names != names[:1]).any() or not known[chosen].all():
            self.shapes.floor = self._latest
            return self.read_all(block, chosen[~other[chosen]].tolist()), counted
        if not len(outbound):
            return {}, counted
        host = columns.text.decoded(*(edge[outbound[0]] for edge in computer))
        told, found = self._segments(block, outbound, response, elapsed, "" if host == "-" else host)
        return self.read_all(block, told), counted + found

    def unjudged(self, block: Block) -> None:
        """Connections that begin near the rows of this block are given too."""
        regular = block.columns.regular
        self._latest = max(self._latest, int(block.columns.time[regular].max(initial=0)))
        self.shapes.floor = max(self.shapes.floor, self._latest + _SLACK)

    def end(self, rest: bytes, number: int, offset: int) -> Iterator[LogRow | Loss]:
        """Give what was carried; a connection of the next file that begins at the same time is given too."""
        if self.carried.data or rest:
            self.shapes.floor = max(self.shapes.floor, self._latest + _SLACK)
        return super().end(rest, number, offset)

    def _segments(
        self, block: Block, outbound: Ints, response: Flags, elapsed: Ints, host: str
    ) -> tuple[list[int], list[Counted]]:
        columns = block.columns
        assert isinstance(columns, W3cColumns)
        found = _Segments(columns, outbound, response, elapsed, self.shapes)
        groups = []
        for numbers in found.alike():
            first = int(numbers[0])
            routine = self.learned(int(found.shape[first]), block, found.session_rows(first))
            if routine is None:
                found.give(numbers)
            else:
                groups.append((routine, numbers))
        if not self.carry(block, found.rows(found.waiting)):
            found.give(np.flatnonzero(found.waiting))
        if found.given_since:
            # What is given now may reach into segments that were taken for routine: give them as well.
            found.separate()
            groups = [(routine, numbers[found.routine[numbers]]) for routine, numbers in groups]
            if not self.carry(block, found.rows(found.waiting)):
                found.give(np.flatnonzero(found.waiting))
        counted: list[Counted] = [
            self._together(block, found, routine, numbers, host) for routine, numbers in groups if len(numbers)
        ]
        rows = found.rows(found.routine | found.late)
        if len(rows):
            counted.append(self.counted(W3C_LOG, block, rows, host))
        found.remember()
        return found.rows(found.loud).tolist(), counted

    def _together(self, block: Block, found: _Segments, routine: Routine, members: Ints, host: str) -> RoutineSessions:
        columns = found.columns
        accepted = [columns.time[found.order[found.head[members] + at]] for at in routine.accepted]
        heads = found.order[found.head[members]]
        query = columns.cell("cs-uri-query")
        connector = columns.text.decoded(*(edge[heads[0]] for edge in columns.cell("s-sitename")))
        banners = heads[block.lines[heads] <= HEAD_LINES].tolist()
        return RoutineSessions(
            origin=replace(self.source, line=int(block.lines[heads].min())),
            log=W3C_LOG,
            connector="" if connector == "-" else connector,
            local="",
            thumbprint=routine.thumbprint,
            sessions=times(found.first_time[members]),
            accepted=times(np.concatenate(accepted)) if accepted else None,
            banners=tuple(
                (
                    moment(columns.time[at]),
                    columns.text.decoded(*(edge[at] for edge in query)).replace("+", " ").strip(),
                )
                for at in banners
            ),
            host=host,
        )


class _Segments:
    """Outbound rows of a block by segment: ``order`` are row numbers, and each segment begins at its ``head``.

    ``routine`` went well, ``waiting`` have no end yet, ``late`` are answers to a QUIT that was counted before, ``loud``
    must be given.
    """

    def __init__(self, columns: W3cColumns, outbound: Ints, response: Flags, elapsed: Ints, shapes: Shapes) -> None:
        self.columns, self._shapes = columns, shapes
        text = columns.text
        keys = text.hashes(*columns.cell("c-ip")) * WEIGHTS[1] + text.hashes(*columns.cell("s-computername"))
        self.order = order = in_order(keys, outbound)
        keys = keys[order]
        new_key = np.append(np.ones(1, np.bool_), keys[1:] != keys[:-1])
        method, reply = columns.short("cs-method", 8)[order], columns.short("cs-uri-query", 4)[order]
        says, command = response[order], ~response[order]
        code = reply & np.uint64(0xFFFFFF)
        starttls = command & (method | _LOWER == word_of(b"starttls"))
        begins = new_key | (says & (code == _BANNER) & ~_before(starttls))
        self.head: Ints = np.flatnonzero(begins)
        self.size: Ints = np.diff(self.head, append=len(order))
        place = np.arange(len(order)) - np.repeat(self.head, self.size)
        quits = command & ((method | _LOWER) & np.uint64(0xFFFFFFFF) == word_of(b"quit"))
        last = np.minimum.reduceat(np.where(quits, place, len(order)), self.head)
        core = place <= np.repeat(last, self.size)
        taken = elapsed[order]
        start = columns.time[order] - taken
        mail = command & (method | _LOWER == word_of(b"mail    "))
        apart = np.abs(start - np.repeat(start[self.head], self.size)) > _SAME_CONNECTION
        back = (place > 0) & ((taken < _before(taken)) | (mail & _before(mail)))
        well = core & _well(columns, order, says) & ~apart & ~back
        bye = says & (code == _BYE)
        whole = np.logical_and.reduceat(well | (~core & bye), self.head) & (self.size < MANY)
        site = text.hashes(*columns.cell("s-sitename"))[order]
        whole &= np.logical_and.reduceat(site == np.repeat(site[self.head], self.size), self.head)
        whole &= (says & (code == _BANNER))[self.head]
        self._site = site[self.head]
        self._key = keys[self.head]
        self._of_key = np.cumsum(new_key[self.head]) - 1
        self._starts = np.minimum.reduceat(start, self.head), np.maximum.reduceat(start, self.head)
        final = np.append(self._of_key[1:] != self._of_key[:-1], np.ones(1, np.bool_))
        ended = last < len(order)
        self._last = last
        self.routine: Flags = whole & ended
        self.waiting: Flags = whole & ~ended & final
        self.late: Flags = ~(says & (code == _BANNER))[self.head] & np.logical_and.reduceat(bye, self.head)
        self.loud: Flags = ~(self.routine | self.waiting | self.late)
        self.first_time: Ints = np.minimum.reduceat(np.where(core, columns.time[order], _NEVER), self.head)
        kind = np.where(says, mixed(reply) + WEIGHTS[2], text.hashes(*columns.cell("cs-method"))[order] + WEIGHTS[3])
        kind += np.where((place > 0) & (taken > _before(taken)), WEIGHTS[4], np.uint64(0))
        kind *= WEIGHTS[np.minimum(place, MANY - 1)]
        self.shape: Words = np.add.reduceat(np.where(core, kind, np.uint64(0)), self.head)
        self.separate()
        self.given_since = False

    def separate(self) -> None:
        """Make loud what began within two seconds of an open connection to the same address, or before it."""
        low, high = self._starts
        floor = int(min(low.min(), self._shapes.floor or low.min()))
        heads = np.flatnonzero(np.append(np.ones(1, np.bool_), self._of_key[1:] != self._of_key[:-1]))
        newest = np.array([self._shapes.newest.get(int(one), 0) for one in self._key[heads].tolist()], np.int64)
        known = np.maximum(newest, self._shapes.floor)[self._of_key] - floor
        base = self._of_key * _NEVER
        while True:
            loud = np.where(self.loud, high - floor, -1) + base
            before = np.append(-1, np.maximum.accumulate(loud)[:-1])
            before = np.maximum(np.where(before >= base, before - base, -1), known)
            near = ~self.loud & (low - floor <= before + _SAME_CONNECTION) & (before >= 0)
            if not near.any():
                return
            self.give(np.flatnonzero(near))

    def give(self, numbers: Ints) -> None:
        """These must be given."""
        self.loud[numbers] = True
        self.given_since = True
        for flags in (self.routine, self.waiting, self.late):
            flags[numbers] = False

    def remember(self) -> None:
        """Keep when the newest connection began that was given, by address."""
        newest = self._shapes.newest
        for number in np.flatnonzero(self.loud).tolist():
            one = int(self._key[number])
            newest[one] = max(newest.get(one, 0), int(self._starts[1][number]))

    def alike(self) -> list[Ints]:
        """The routine segments in groups of one shape and connector."""
        numbers = np.flatnonzero(self.routine)
        return [numbers[places] for places in alike(self.shape[numbers] + self._site[numbers] * WEIGHTS[5])]

    def rows(self, wanted: Flags) -> Ints:
        """Numbers of the rows of some segments."""
        found: Ints = self.order[np.repeat(wanted, self.size)]
        return found

    def session_rows(self, number: int) -> list[int]:
        """Numbers of the rows of a segment to its QUIT."""
        found: list[int] = self.order[self.head[number] : self.head[number] + self._last[number] + 1].tolist()
        return found


def _before(values: Ints | Flags) -> Ints:
    """Each row's predecessor; the first row is its own."""
    found: Ints = np.append(values[:1], values[:-1])
    return found


def _well(columns: W3cColumns, order: Ints, says: Flags) -> Flags:
    """Replies that say yes, and commands, as they are usually written."""
    method, query = columns.cell("cs-method"), columns.cell("cs-uri-query")
    letter = columns.byte(method[0])
    alone = (letter == _MINUS) & (method[1] - method[0] == 1)
    word = columns.short("cs-uri-query", 4)
    digits = [((word >> np.uint64(8 * at)) & np.uint64(255)).astype(np.int64) for at in range(3)]
    yes = alone & (query[1] - query[0] >= len(digits)) & ((digits[0] == _TWO) | (digits[0] == _THREE))
    for digit in digits[1:]:
        yes &= (digit >= _DIGITS[0]) & (digit <= _DIGITS[1])
    size = method[1] - method[0]
    asks = ~alone & (size > 0) & (size <= LONGEST) & (letter > _BLANK) & (letter < _ASCII)
    asks &= (letter != _PLUS) & (letter != _MINUS)
    found: Flags = np.where(says, yes[order], asks[order])
    return found
