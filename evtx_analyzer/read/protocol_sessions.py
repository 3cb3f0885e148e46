"""Sessions of Exchange protocol logs that went well, counted in bulk; the rows of all others are given.

Most sessions of a Send log are alike but for times, names and numbers. A session is *routine* where its rows lie in
one file, are numbered 0, 1, 2 ... and end with a disconnect row, and its *shape* is one that was told before. The
shape is what sessions are told by: of ``+`` and ``-`` rows nothing; of a command (``>``) its first word; of a reply
(``<``) code and the sign after it; of an information row (``*``) whether its context begins a certificate or is a label
of one, and then its data. The first session of each shape is told as every session is (``learn``), and what it added
to the delivery history is added for each one that looks the same.

Never routine is a session with a reply whose first digit is none of 2 and 3, or whose TLS negotiation failed; with a
row that is not regular (``protocol_columns``); whose connector or local address changes; that has another row after the
disconnect row, or none. So a signal can only be missed that looks for something else than failing replies: the caller
must not come here with such a one. Shapes are compared by hashes with weights drawn at random for each process.

Of a Receive log nothing counts but which connector has which address, and what it refused: rows of each new connector
and address are given, and all rows that say no.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import BinaryIO, cast

import numpy as np
from msgspec.structs import replace

from evtx_analyzer.model import CountedRows, LogRow, Loss, Origin, Routine, RoutineSessions, Times
from evtx_analyzer.read.encoding import guess
from evtx_analyzer.read.fieldslog import RECEIVE_LOG, SEND_FIELDS, SEND_LOG, ExchangeRows
from evtx_analyzer.read.lines import line_text, lines, without_nul_tail
from evtx_analyzer.read.protocol_columns import (
    LONGEST,
    MANY,
    WEIGHTS,
    Columns,
    Flags,
    Ints,
    Words,
    first_word,
    key_of,
    mixed,
    moment,
    word_of,
)
from evtx_analyzer.read.shapes import HEAD_LINES, Shapes

Given = LogRow | Loss | CountedRows | RoutineSessions

_BLOCK = 2 << 20
_MOST_CARRIED = 1 << 20
_MOST_SHAPES = 10_000
_PLUS, _MINUS, _MORE, _LESS, _STAR = (ord(letter) for letter in "+-><*")
_TWO, _THREE, _DIGITS = ord("2"), ord("3"), (ord("0"), ord("9"))
_TLS_FAILED = word_of(b"tls nego")
_LOWER = np.uint64(0x2020202020202020)
_LABELS = (
    "certificate subject",
    "certificate issuer name",
    "certificate serial number",
    "certificate thumbprint",
    "certificate alternate names",
)
_SIDES = ("sending certificate", "local certificate", "received certificate", "remote certificate")
_TELLING = b"certificate thumbprint"


def _kind(rows: ExchangeRows) -> str:
    """The kind of log that the header tells; empty where rows must be given one by one."""
    kinds = (log for log in (SEND_LOG, RECEIVE_LOG) if log.casefold() == rows.log.casefold())
    return next(kinds, "") if rows.columns == SEND_FIELDS else ""


def read_protocol_log(stream: BinaryIO, source: Origin, shapes: Shapes) -> Iterator[Given]:
    """Read a log forwards: rows that are given in their order, counts of all others, and losses.

    A session whose rows are given is given whole, also where it goes on in the next file that is read with the same
    ``shapes``. Logs of other kinds, encodings and columns are given whole.
    """
    head = stream.read(_BLOCK)
    encoding, mark = guess(head)
    reader = _Reader(source, shapes)
    if encoding != "utf-8" or not reader.begins(head[mark:]):
        for number, offset, line in lines(cast("BinaryIO", _Joined(head, stream))):
            yield from reader.rows.read(number, offset, line)
        return
    number, offset, rest = 0, mark, head[mark:]
    while rest:
        cut = rest.rfind(b"\n") + 1
        if cut:
            rows = _Rows(reader.carried, memoryview(rest)[:cut], number, offset)
            yield from reader.block(rows)
            number = int(rows.lines[-1])
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


class _Rows:
    """The rows of one block with what was carried over from the one before it."""

    def __init__(self, carried: _Carried, fresh: memoryview, number: int, offset: int) -> None:
        """``number`` lines and ``offset`` bytes of the file are before the fresh ones, which are whole lines."""
        self.columns = Columns(carried.data, fresh)
        self.count = len(self.columns.start)
        old = len(carried.lines)
        self.lines: Ints = np.concatenate((carried.lines, number + 1 + np.arange(self.count - old)))
        self.offsets: Ints = np.concatenate((carried.offsets, self.columns.start[old:] - len(carried.data) + offset))


class _Carried:
    """Rows of sessions that had not ended at the end of a block."""

    def __init__(self, data: bytes, lines: Ints, offsets: Ints) -> None:
        self.data, self.lines, self.offsets = data, lines, offsets


_NOTHING = _Carried(b"", np.zeros(0, np.int64), np.zeros(0, np.int64))


class _Reader:
    """State of one file: which header holds, which rows wait for the next block, which clients were seen."""

    def __init__(self, source: Origin, shapes: Shapes) -> None:
        self.rows = ExchangeRows(source)
        self._source, self._shapes = source, shapes
        self.carried = _NOTHING
        self._seen: set[int] = set()

    def begins(self, head: bytes) -> bool:
        """Whether a file begins with the header of a protocol log with the usual columns."""
        known = ExchangeRows(self._source)
        for line in head[: 64 << 10].splitlines():
            text = line_text(line, "utf-8")
            if text and not text.startswith("#"):
                break
            list(known.read(0, 0, text or "#"))
        return _kind(known) != ""

    def block(self, rows: _Rows) -> Iterator[Given]:
        """Give and count the rows of a block."""
        self.carried = _NOTHING
        given: dict[int, list[LogRow | Loss]] = {}
        plain = self._last_change(rows) + 1
        for at in range(plain):
            given[at] = self._read(rows, at)
        usable = rows.columns.regular.copy()
        usable[:plain] = False
        kind = _kind(self.rows)
        if not kind:
            usable[:] = False
        for at in np.flatnonzero(~usable).tolist():
            if at not in given:
                given[at] = self._read(rows, at)
        irregular = {
            row.values.get("session-id", "") for found in given.values() for row in found if isinstance(row, LogRow)
        }
        chosen = np.flatnonzero(usable)
        if len(chosen):
            if kind == SEND_LOG:
                told, counted = self._sessions(rows, chosen, {key_of(session) for session in irregular})
            else:
                told, counted = self._clients(rows, chosen)
            yield from counted
            given.update((at, self._read(rows, at)) for at in told)
        for at in sorted(given):
            yield from given[at]

    def end(self, rest: bytes, number: int, offset: int) -> Iterator[LogRow | Loss]:
        """Give what has not ended, and a last line without an end."""
        carried, self.carried = self.carried, _NOTHING
        for line, place, row in zip(carried.lines, carried.offsets, carried.data.split(b"\n"), strict=False):
            yield from self.rows.read(int(line), int(place), line_text(row, "utf-8"))
        text = line_text(rest, "utf-8")
        if text:
            yield from self.rows.read(number, offset, text)

    def _read(self, rows: _Rows, at: int) -> list[LogRow | Loss]:
        text = line_text(rows.columns.row(at), "utf-8")
        return list(self.rows.read(int(rows.lines[at]), int(rows.offsets[at]), text)) if text else []

    def _last_change(self, rows: _Rows) -> int:
        """Number of the last row of the block that changes the header; -1 where none does."""
        state, last = ExchangeRows(self._source), -1
        state.columns, state.log = self.rows.columns, self.rows.log
        for at in np.flatnonzero(~rows.columns.regular).tolist():
            text = line_text(rows.columns.row(at), "utf-8")
            before = (state.columns, state.log)
            if text.startswith("#"):
                list(state.read(0, 0, text))
                last = at if (state.columns, state.log) != before else last
        return last

    # ------------------------------------------------------------------------------------------ Send connectors

    def _sessions(
        self, rows: _Rows, chosen: Ints, irregular: set[int]
    ) -> tuple[list[int], list[CountedRows | RoutineSessions]]:
        """Rows that must be given, and what was counted of the others; rows of open sessions are carried over.

        ``irregular`` are sessions that have a row which was given already.
        """
        found = _Sessions(rows.columns, chosen, irregular, self._shapes.texts)
        groups = []
        for numbers in found.alike():
            routine = self._known(rows, found, int(numbers[0]))
            if routine is None:
                found.loud[numbers] = True
            else:
                groups.append((routine, numbers))
        self._carry(rows, found)
        told: list[int] = np.concatenate([np.zeros(0, np.int64), *found.all_rows(found.loud)]).tolist()
        counted: list[CountedRows | RoutineSessions] = [
            self._together(rows, found, routine, numbers) for routine, numbers in groups
        ]
        if groups:
            inside = np.concatenate([numbers for _, numbers in groups])
            size = int(found.size[inside].sum())
            limits = (moment(found.first_time[inside].min()), moment(found.last_time[inside].max()))
            counted.append(self._counted(SEND_LOG, rows, size, limits))
        return told, counted

    def _known(self, rows: _Rows, found: _Sessions, number: int) -> Routine | None:
        """What is known of the shape of a session; the first one that has it is told."""
        known, shape = self._shapes.known, int(found.shape[number])
        if shape not in known:
            if len(known) >= _MOST_SHAPES:
                return None
            read = [row for at in found.rows(number) for row in self._read(rows, at)]
            known[shape] = self._shapes.learn([row for row in read if isinstance(row, LogRow)])
        return known[shape]

    def _carry(self, rows: _Rows, found: _Sessions) -> None:
        """Keep rows of open sessions for the next block; those of too many are given."""
        waiting = np.sort(np.concatenate([np.zeros(0, np.int64), *found.all_rows(found.waiting)]))
        columns = rows.columns
        parts = [columns.text.data[columns.start[at] : columns.end[at] + 1] for at in waiting.tolist()]
        data = b"".join(parts)
        if len(data) > _MOST_CARRIED:
            found.loud |= found.waiting
            return
        self.carried = _Carried(data, rows.lines[waiting], rows.offsets[waiting])

    def _together(self, rows: _Rows, found: _Sessions, routine: Routine, members: Ints) -> RoutineSessions:
        columns, first = rows.columns, found.first_row[members]
        time = columns.time
        local = found.local(int(members[0]))
        accepted = np.concatenate(
            [np.zeros(0, np.int64), *(time[found.order[found.head[members] + at]] for at in routine.accepted)]
        )
        early = members[rows.lines[first] <= HEAD_LINES]
        banners = [at for number in early.tolist() for at in found.rows(number) if found.is_banner(at)]
        return RoutineSessions(
            origin=replace(self._source, line=int(rows.lines[first].min())),
            log=self.rows.log,
            connector=columns.text.data[columns.connector[0][first[0]] : columns.connector[1][first[0]]].decode(
                "utf-8", "replace"
            ),
            local=local.decode("utf-8", "replace"),
            thumbprint=routine.thumbprint,
            sessions=_times(found.first_time[members]),
            accepted=_times(accepted) if len(accepted) else None,
            banners=tuple(
                (
                    moment(time[at]),
                    columns.text.data[columns.data[0][at] : columns.data[1][at]].decode("utf-8", "replace"),
                )
                for at in banners
                if rows.lines[at] <= HEAD_LINES
            ),
        )

    # --------------------------------------------------------------------------------------- Receive connectors

    def _clients(self, rows: _Rows, chosen: Ints) -> tuple[list[int], list[CountedRows | RoutineSessions]]:
        columns = rows.columns
        start = columns.data[0]
        digit = columns.text.bytes[np.minimum(start, len(columns.text.bytes) - 1)]
        says_no = (columns.event == _MORE) & (columns.data[1] > start) & (digit != _TWO) & (digit != _THREE)
        pairs = columns.text.hashes(*columns.connector) + mixed(columns.text.hashes(*columns.local))
        _, firsts = np.unique(pairs[chosen], return_index=True)
        new = [at for at in chosen[firsts].tolist() if int(pairs[at]) not in self._seen]
        self._seen.update(int(pairs[at]) for at in new)
        told = sorted({*new, *chosen[says_no[chosen]].tolist()})
        kept = np.ones(rows.count, np.bool_)
        kept[told] = False
        rest = chosen[kept[chosen]]
        if not len(rest):
            return told, []
        limits = (moment(columns.time[rest].min()), moment(columns.time[rest].max()))
        return told, [self._counted(RECEIVE_LOG, rows, len(rest), limits)]

    def _counted(self, log: str, rows: _Rows, size: int, limits: tuple[datetime, datetime]) -> CountedRows:
        origin = replace(self._source, line=int(rows.lines.min()))
        return CountedRows(origin=origin, log=log, rows=size, first=limits[0], last=limits[1])


class _Sessions:
    """Rows of a block by session: ``order`` are row numbers, session after session; each begins at its ``head``."""

    def __init__(self, columns: Columns, chosen: Ints, irregular: set[int], texts: dict[bytes, int]) -> None:
        self.columns = columns
        keys = columns.keys()
        # Sorting the numbers of rows together with the upper bits of the hash is ten times as fast as an argsort. Two
        # sessions that share these bits come apart in pieces, are numbered wrong then, and their rows are given.
        packed = (keys[chosen] & ~_LOW) | np.arange(len(chosen), dtype=np.uint64)
        packed.sort()
        self.order: Ints = chosen[(packed & _LOW).astype(np.int64)]
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
        self.last_time: Ints = np.maximum.reduceat(time, self.head)
        expected = np.zeros(len(columns.start), np.int64)
        expected[self.order] = place
        code, fine = _codes(columns, texts)
        fine &= columns.numbered(expected)
        self.shape = np.add.reduceat(code[self.order] * WEIGHTS[np.minimum(place, MANY - 1)], self.head)
        disconnects = np.add.reduceat((columns.event[self.order] == _MINUS).astype(np.int64), self.head)
        self.ended: Flags = columns.event[self.last_row] == _MINUS
        fine_so_far = np.logical_and.reduceat(fine[self.order], self.head) & self._same_places() & (self.size < MANY)
        if irregular:
            fine_so_far &= ~np.isin(self.key, np.array(list(irregular), np.uint64))
        self.routine: Flags = fine_so_far & (disconnects == 1) & self.ended
        self.waiting: Flags = fine_so_far & (disconnects == 0)
        self.loud: Flags = ~self.routine & ~self.waiting

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

    def all_rows(self, wanted: Flags) -> Iterator[Ints]:
        """Numbers of the rows of some sessions."""
        for number in np.flatnonzero(wanted).tolist():
            yield self.order[self.head[number] : self.head[number] + self.size[number]]

    def local(self, number: int) -> bytes:
        """The local endpoint in the last row of a session."""
        columns, at = self.columns, int(self.last_row[number])
        return columns.text.data[columns.local[0][at] : columns.local[1][at]]

    def alike(self) -> list[Ints]:
        """The routine sessions in groups of one shape, connector and local address (without its port)."""
        numbers = np.flatnonzero(self.routine)
        start, stop = (edge[self.last_row[numbers]] for edge in self.columns.local)
        address = stop.copy()
        for back in range(2, 7):  # a colon and a port of one to five digits
            colon = (stop - back >= start) & (self.columns.text.bytes[np.maximum(stop - back, 0)] == ord(":"))
            address = np.where(colon & (address == stop), stop - back, address)
        keys = self.shape[numbers] + self._connector[numbers] * WEIGHTS[2]
        keys += self.columns.text.hashes(start, address) * WEIGHTS[3]
        _, group = np.unique(keys, return_inverse=True)
        return [numbers[group == one] for one in range(int(group.max(initial=-1)) + 1)]

    def is_banner(self, at: int) -> bool:
        """Whether a row is a reply with the code of a banner."""
        columns, start = self.columns, int(self.columns.data[0][at])
        return bool(columns.event[at] == _LESS) and columns.text.data[start : start + 3] == b"220"


_LOW = np.uint64((1 << 20) - 1)


def _times(milliseconds: Ints) -> Times:
    return Times(len(milliseconds), moment(milliseconds.min()), moment(milliseconds.max()))


# ------------------------------------------------------------------------------------------------- shapes


def _codes(columns: Columns, texts: dict[bytes, int]) -> tuple[Words, Flags]:
    """A number for what each row adds to the shape of its session, and whether it may stand in a routine one."""
    code = columns.event.astype(np.uint64) * WEIGHTS[1]
    fine = columns.regular & np.isin(columns.event, np.array([_PLUS, _MINUS, _MORE, _LESS, _STAR], np.uint8))
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
    for part in range(3):
        at = start + 8 * part
        word, blank = first_word(columns.text.cell(np.minimum(at, stop), stop - at))
        found += np.where(over, np.uint64(0), mixed(word) * WEIGHTS[2 + part])
        over |= blank | (stop - at <= 8)  # noqa: PLR2004
    first = columns.text.bytes[np.minimum(start, len(columns.text.bytes) - 1)]
    return found, over & ((stop <= start) | (first > 32))  # noqa: PLR2004  no blank in front


def _note_codes(texts: dict[bytes, int], columns: Columns, rows: Ints) -> tuple[Words, Flags]:
    """Of information rows, those about certificates; fine is what tells of no failed handshake."""
    text = columns.text
    start, stop = columns.context[0][rows], columns.context[1][rows]
    data, end = columns.data[0][rows], columns.data[1][rows]
    words = [text.cell(np.minimum(start + 8 * part, stop), stop - start - 8 * part) | _LOWER for part in range(4)]
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
