"""Sessions of Exchange protocol logs that went well, counted in bulk; the rows of all others are given.

Most sessions of a Send log are alike but for times, names and numbers. A session is *routine* where its rows lie in
one file, are numbered 0, 1, 2 ... and end with a disconnect row, and its *shape* is one that was told before. The
shape is what sessions are told by: of ``+`` and ``-`` rows nothing; of a command (``>``) its first word; of a reply
(``<``) code and the sign after it; of an information row (``*``) whether its context begins a certificate or is a label
of one, and then its data. The first session of each shape is told as every session is (``learn``), and what it added
to the delivery history is added for each one that looks the same.

Never routine is a session with a reply whose first digit is none of 2 and 3, or whose TLS negotiation failed; with a
row that is not regular (``protocol_columns``); whose connector or local address changes; that has another row after the
disconnect row, or none; of which an earlier file has a part. So a signal can only be missed that looks for something
else than failing replies: the caller must not come here with such a one. Shapes are compared by hashes with weights
drawn at random for each process.

A session that is not routine is given as a whole (``SessionRows``) where it is complete in a block, with what waited
for it; else row by row. Both in the order of the log: a whole one in the place of its last row.

Of a Receive log nothing counts but which connector has which address, and what it refused: rows of each new connector
and address are given, and all rows that say no.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from msgspec.structs import replace

from evtx_analyzer.constants import HEAD_LINES
from evtx_analyzer.model import LogRow, Loss, Origin, Routine, RoutineSessions, SessionRows
from evtx_analyzer.read.bulk import Block, BulkReader, Counted, RowReader, Told
from evtx_analyzer.read.columns import (
    LONGEST,
    MANY,
    WEIGHTS,
    Flags,
    Ints,
    Words,
    alike,
    first_word,
    in_order,
    mixed,
    moment,
    times,
    word_of,
)
from evtx_analyzer.read.fieldslog import RECEIVE_LOG, SEND_FIELDS, SEND_LOG, ExchangeRows
from evtx_analyzer.read.lines import split_cells
from evtx_analyzer.read.protocol_columns import Columns, key_of
from evtx_analyzer.read.shapes import Shapes

_PLUS, _MINUS, _MORE, _LESS, _STAR = (ord(letter) for letter in "+-><*")
_EVENTS: Flags = np.array([number in (_PLUS, _MINUS, _MORE, _LESS, _STAR) for number in range(256)])
_TWO, _THREE, _DIGITS = ord("2"), ord("3"), (ord("0"), ord("9"))
_TLS_FAILED = word_of(b"tls nego")
_LOWER = np.uint64(0x2020202020202020)
_CELLS, _SESSION_ID = len(SEND_FIELDS), SEND_FIELDS.index("session-id")
_LABELS = (
    "certificate subject",
    "certificate issuer name",
    "certificate serial number",
    "certificate thumbprint",
    "certificate alternate names",
)
_SIDES = ("sending certificate", "local certificate", "received certificate", "remote certificate")
_TELLING = b"certificate thumbprint"


def _kind(rows: RowReader) -> str:
    """The kind of log that the header tells; empty where rows must be given one by one."""
    assert isinstance(rows, ExchangeRows)
    kinds = (log for log in (SEND_LOG, RECEIVE_LOG) if log.casefold() == rows.log.casefold())
    return next(kinds, "") if rows.columns == SEND_FIELDS else ""


class ProtocolReader(BulkReader):
    """Reads an Exchange protocol log in bulk."""

    def __init__(self, source: Origin, shapes: Shapes) -> None:
        super().__init__(source, shapes, ExchangeRows(source))
        self._seen: set[int] = set()

    def in_bulk(self, rows: RowReader) -> bool:
        """Whether the header is that of a Send or Receive connector, with the usual columns."""
        return _kind(rows) != ""

    def columns(self, *parts: bytes | memoryview) -> Columns:
        """The rows of a block as columns."""
        return Columns(*parts)

    def judge(self, block: Block, chosen: Ints, given: list[LogRow]) -> tuple[Told, list[Counted]]:
        """What must be given, and what was counted of the others; rows of open sessions are carried over."""
        if _kind(self.rows) == RECEIVE_LOG:
            return self._clients(block, chosen)
        irregular = {key_of(session) for session in {row.values.get("session-id", "") for row in given}}
        begun = {key_of(session) for session in self.shapes.begun()}
        found = _Sessions(_columns(block), chosen, irregular, begun, self.shapes.texts)
        groups = []
        for numbers in found.alike():
            first = int(numbers[0])
            routine = self.learned(int(found.shape[first]), block, found.rows(first))
            if routine is None:
                found.loud[numbers] = True
            else:
                groups.append((routine, numbers))
        # Where too many rows wait, those that cannot become routine are given first.
        for some in (found.waiting, found.waiting & found.fine, found.none):
            if self.carry(block, found.all_rows(some)):
                found.loud |= found.waiting & ~some
                break
        counted: list[Counted] = [self._together(block, found, routine, numbers) for routine, numbers in groups]
        if groups:
            inside = np.zeros(len(found.head), np.bool_)
            inside[np.concatenate([numbers for _, numbers in groups])] = True
            counted.append(self.counted(SEND_LOG, block, found.all_rows(inside)))
        whole = np.flatnonzero(found.loud & found.complete).tolist()
        rows = found.all_rows(found.loud & ~found.complete).tolist()
        return {
            **self.read_all(block, rows),
            **{int(found.last_row[number]): self._whole(block, found, number) for number in whole},
        }, counted

    def _whole(self, block: Block, found: _Sessions, number: int) -> Iterator[LogRow | Loss | SessionRows]:
        """A complete session that is not routine; made when it is asked for, and given in the place of its last row."""
        at = found.order[found.head[number] : found.head[number] + found.size[number]]
        rows = [split_cells(text) for text in found.columns.texts(at)]
        cells = [row if len(row) == _CELLS else row[:_CELLS] for row in rows if row is not None]
        ids = {row[_SESSION_ID] for row in cells}
        if len(cells) < len(rows) or len(ids) > 1:
            # A regular row is never damaged, but bytes that are not UTF-8 can be read in more ways than one.
            for row in at.tolist():
                yield from self.read(block, row)
            return
        yield SessionRows(
            origin=self.source,
            columns=SEND_FIELDS,
            lines=block.lines[at].tolist(),
            offsets=block.offsets[at].tolist(),
            rows=cells,
        )

    def _together(self, block: Block, found: _Sessions, routine: Routine, members: Ints) -> RoutineSessions:
        columns, first = found.columns, found.first_row[members]
        accepted = [columns.time[found.order[found.head[members] + at]] for at in routine.accepted]
        early = members[block.lines[first] <= HEAD_LINES]
        banners = [at for number in early.tolist() for at in found.rows(number) if found.is_banner(at)]
        return RoutineSessions(
            origin=replace(self.source, line=int(block.lines[first].min())),
            log=SEND_LOG,
            connector=columns.text.decoded(*(edge[first[0]] for edge in columns.connector)),
            local=columns.text.decoded(*(edge[found.last_row[members[0]]] for edge in columns.local)),
            thumbprint=routine.thumbprint,
            sessions=times(found.first_time[members]),
            accepted=times(np.concatenate(accepted)) if accepted else None,
            banners=tuple(
                (moment(columns.time[at]), columns.text.decoded(*(edge[at] for edge in columns.data)))
                for at in banners
                if block.lines[at] <= HEAD_LINES
            ),
        )

    def _clients(self, block: Block, chosen: Ints) -> tuple[Told, list[Counted]]:
        """Of a Receive log: rows of new pairs of connector and address, and what this server refused."""
        columns = _columns(block)
        start = columns.data[0]
        digit = columns.byte(start)
        says_no = (columns.event == _MORE) & (columns.data[1] > start) & (digit != _TWO) & (digit != _THREE)
        pairs = columns.text.hashes(*columns.connector) + mixed(columns.text.hashes(*columns.local))
        firsts = [int(chosen[places[0]]) for places in alike(pairs[chosen])]
        new = [at for at in firsts if int(pairs[at]) not in self._seen]
        self._seen.update(int(pairs[at]) for at in new)
        told = sorted({*new, *chosen[says_no[chosen]].tolist()})
        kept = np.ones(block.count, np.bool_)
        kept[told] = False
        rest = chosen[kept[chosen]]
        return self.read_all(block, told), [self.counted(RECEIVE_LOG, block, rest)] if len(rest) else []


def _columns(block: Block) -> Columns:
    assert isinstance(block.columns, Columns)
    return block.columns


class _Sessions:
    """Rows of a block by session: ``order`` are row numbers, session after session; each begins at its ``head``.

    A session is ``complete`` from its row 0 to its disconnect row, and ``waiting`` where only the end is missing.
    """

    def __init__(
        self, columns: Columns, chosen: Ints, irregular: set[int], begun: set[int], texts: dict[bytes, int]
    ) -> None:
        self.columns = columns
        keys = columns.keys()
        self.order = in_order(keys, chosen)
        ordered = keys[self.order]
        changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        self.head: Ints = np.concatenate((np.zeros(1, np.int64), changes))
        self.size: Ints = np.diff(self.head, append=len(self.order))
        self.key: Words = ordered[self.head]
        self.first_row = self.order[self.head]
        self.last_row = self.order[self.head + self.size - 1]
        place = np.arange(len(self.order)) - np.repeat(self.head, self.size)
        time = columns.time[self.order]
        self.first_time: Ints = np.minimum.reduceat(time, self.head)
        expected = np.zeros(len(columns.start), np.int64)
        expected[self.order] = place
        code, fine = _codes(columns, texts)
        self.shape = np.add.reduceat(code[self.order] * WEIGHTS[np.minimum(place, MANY - 1)], self.head)
        disconnects = np.add.reduceat((columns.event[self.order] == _MINUS).astype(np.int64), self.head)
        self.ended: Flags = columns.event[self.last_row] == _MINUS
        sound: Flags = np.logical_and.reduceat(columns.numbered(expected)[self.order], self.head) & (self.size < MANY)
        sound &= ~self._among(irregular)
        self.complete: Flags = sound & (disconnects == 1) & self.ended
        self.waiting: Flags = sound & (disconnects == 0)
        self.fine: Flags = np.logical_and.reduceat(fine[self.order], self.head) & self._same_places()
        self.fine &= ~self._among(begun)
        self.routine: Flags = self.complete & self.fine
        self.loud: Flags = ~self.routine & ~self.waiting
        self.none: Flags = np.zeros(len(self.head), np.bool_)

    def _among(self, keys: set[int]) -> Flags:
        return np.array([one in keys for one in self.key.tolist()], np.bool_)

    def _same_places(self) -> Flags:
        """Whether all rows of a session have one connector, and one local endpoint as far as they have any."""
        text = self.columns.text
        connector = text.hashes(*self.columns.connector)[self.order]
        local = text.hashes(*self.columns.local)[self.order]
        # It is empty in the rows before the connection stands, and never again.
        last = np.repeat(local[self.head + self.size - 1], self.size)
        same = (local == 0) | (local == last)
        self._connector = connector[self.head]
        same &= connector == np.repeat(self._connector, self.size)
        return np.logical_and.reduceat(same, self.head)

    def rows(self, number: int) -> list[int]:
        """Numbers of a session's rows."""
        found: list[int] = self.order[self.head[number] : self.head[number] + self.size[number]].tolist()
        return found

    def all_rows(self, wanted: Flags) -> Ints:
        """Numbers of the rows of some sessions."""
        found: Ints = self.order[np.repeat(wanted, self.size)]
        return found

    def alike(self) -> list[Ints]:
        """The routine sessions in groups of one shape, connector and local address (without its port)."""
        numbers = np.flatnonzero(self.routine)
        start, stop = (edge[self.last_row[numbers]] for edge in self.columns.local)
        address = stop.copy()
        for back in range(2, 7):  # a colon and a port of one to five digits
            colon = (stop - back >= start) & (self.columns.byte(stop - back) == ord(":"))
            address = np.where(colon & (address == stop), stop - back, address)
        keys = self.shape[numbers] + self._connector[numbers] * WEIGHTS[2]
        keys += self.columns.text.hashes(start, address) * WEIGHTS[3]
        return [numbers[places] for places in alike(keys)]

    def is_banner(self, at: int) -> bool:
        """Whether a row is a reply with the code of a banner."""
        columns, start = self.columns, int(self.columns.data[0][at])
        return bool(columns.event[at] == _LESS) and columns.text.data[start : start + 3] == b"220"


# ------------------------------------------------------------------------------------------------- shapes


def _codes(columns: Columns, texts: dict[bytes, int]) -> tuple[Words, Flags]:
    """A number for what each row adds to the shape of its session, and whether it may stand in a routine one."""
    code = columns.event.astype(np.uint64) * WEIGHTS[1]
    fine = columns.regular & _EVENTS[columns.event]
    tellers: tuple[tuple[int, Callable[[Columns, Ints], tuple[Words, Flags]]], ...] = (
        (_LESS, _reply_codes),
        (_MORE, _command_codes),
        (_STAR, partial(_note_codes, texts)),
    )
    for event, tell in tellers:
        rows = np.flatnonzero(fine & (columns.event == event))
        if len(rows):
            found, good = tell(columns, rows)
            code[rows] += found
            fine[rows] &= good
    return code, fine


def _reply_codes(columns: Columns, rows: Ints) -> tuple[Words, Flags]:
    """Code and the sign after it; fine are codes that say yes."""
    start, stop = columns.data[0][rows], columns.data[1][rows]
    word = columns.text.cell(start, np.minimum(stop - start, 4))
    digits = [((word >> np.uint64(8 * at)) & np.uint64(255)).astype(np.int64) for at in range(3)]
    fine = (digits[0] == _TWO) | (digits[0] == _THREE)
    for digit in digits[1:]:
        fine &= (digit >= _DIGITS[0]) & (digit <= _DIGITS[1])
    return mixed(word), fine


def _command_codes(columns: Columns, rows: Ints) -> tuple[Words, Flags]:
    """The first word of a command, which has at most 24 bytes."""
    start, stop = columns.data[0][rows], columns.data[1][rows]
    found: Words = np.zeros(len(rows), np.uint64)
    over: Flags = np.zeros(len(rows), np.bool_)
    for part, cell in enumerate(columns.text.cells(start, stop, 3)):
        word, blank = first_word(cell)
        found += np.where(over, np.uint64(0), mixed(word) * WEIGHTS[2 + part])
        over |= blank | (stop - start <= 8 * part + 8)
    first = columns.byte(start)
    return found, over & ((stop <= start) | (first > 32))  # noqa: PLR2004  no blank in front


def _note_codes(texts: dict[bytes, int], columns: Columns, rows: Ints) -> tuple[Words, Flags]:
    """Of information rows, those about certificates; fine is what tells of no failed handshake."""
    text = columns.text
    start, stop = columns.context[0][rows], columns.context[1][rows]
    data, end = columns.data[0][rows], columns.data[1][rows]
    words = [word | _LOWER for word in text.cells(start, stop, 4)]
    size = stop - start
    found: Words = np.zeros(len(rows), np.uint64)
    odd: Flags = np.zeros(len(rows), np.bool_)
    for number, label in enumerate(_LABELS):
        same = size == len(label)
        for part, word in enumerate(words):
            piece = label[8 * part : 8 * part + 8].encode().ljust(8, b" ")
            same = same & (word == word_of(piece))
        found[same] = WEIGHTS[10 + number]
        if label.encode() == _TELLING:
            found[same] += text.hashes(data[same], np.minimum(end, data + LONGEST)[same])
            odd[same] = (end - data)[same] > LONGEST
    for number, side in enumerate(_SIDES):
        same = size >= len(side)
        for part in range((len(side) + 7) // 8):
            piece = side[8 * part : 8 * part + 8].encode()
            mask = np.uint64((1 << 8 * len(piece)) - 1)
            same = same & ((words[part] & mask) == word_of(piece))
        found[same] = WEIGHTS[20 + number]
        for at in np.flatnonzero(same & (end > data)).tolist():
            written = text.data[data[at] : end[at]]
            found[at] ^= np.uint64(texts.setdefault(written, secrets.randbits(64)))
    odd |= (words[0] == _TLS_FAILED) | ((text.cell(data, end - data) | _LOWER) == _TLS_FAILED)
    return found, ~odd
