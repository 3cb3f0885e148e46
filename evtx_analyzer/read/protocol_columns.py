r"""The rows of an Exchange protocol log as columns of numbers, a block of some megabytes at a time.

Most rows of a log need not become text: where its cells stand, its time, and a few hashes are all that is asked of
them. A row is ``regular`` where all of that is certain: a time as Exchange writes it, nine cells, a session-id of 16
characters, quotes only around the whole of data or context (or both), no NUL, no context that begins or ends with a
blank or holds letters beyond ASCII. Every other row is left to the reader of single rows.

Hashes are sums of words with weights drawn anew for each process, so that no log can be made to collide.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_COMMA, _QUOTE, _NEWLINE, _RETURN = 44, 34, 10, 13
_COLUMNS_BEFORE_DATA = 7
_SESSION = 16
LONGEST = 64  # characters of a connector's name or an endpoint
_TIME = len("2016-12-01T03:09:55.456Z")
_RANDOM = np.random.default_rng()
MANY = 4096
"""Rows of the longest session that is compared as a whole."""
WEIGHTS: Words = _RANDOM.integers(1, 1 << 63, MANY, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MASKS: Words = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
_NUMBERS: Words = np.array([int.from_bytes(str(n).encode(), "little") for n in range(MANY)], dtype=np.uint64)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY, _HOUR, _MINUTE, _SECOND = 86_400_000, 3_600_000, 60_000, 1000


def word_of(text: bytes) -> np.uint64:
    """Up to eight bytes as ``Text.word`` gives them."""
    return np.uint64(int.from_bytes(text, "little"))


_TIME_FORM = tuple(word_of(part) for part in (b"0000-00-", b"00T00:00", b":00.000Z"))
_SEPARATORS = tuple(
    np.uint64(sum(0xFF << 8 * at for at, letter in enumerate(part) if letter != ord("0")))
    for part in (b"0000-00-", b"00T00:00", b":00.000Z")
)
_HIGH, _SIX = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)
_ONES, _TOPS, _BLANKS = (np.uint64(number * 0x0101010101010101) for number in (1, 0x80, 0x20))


class Text:
    """Bytes of a block, read eight at a time at any place (little-endian; behind the end there are zeros)."""

    def __init__(self, *parts: bytes | memoryview) -> None:
        size = sum(len(part) for part in parts)
        self.data = b"".join((*parts, bytes(16 + -size % 8)))
        self.bytes = np.frombuffer(self.data, np.uint8)[:size]
        self._words: Words = np.frombuffer(self.data, "<u8")

    def word(self, at: Ints) -> Words:
        """The eight bytes from each of these places."""
        place, shift = at >> 3, ((at & 7) << 3).astype(np.uint64)
        low, high = self._words[place], self._words[np.minimum(place + 1, len(self._words) - 1)]
        found: Words = (low >> shift) | ((high << np.uint64(1)) << (np.uint64(63) - shift))
        return found

    def cell(self, at: Ints, size: Ints) -> Words:
        """Up to eight bytes from each place, zeros behind its size."""
        return self.word(at) & _MASKS[np.clip(size, 0, 8)]

    def hashes(self, start: Ints, stop: Ints) -> Words:
        """A hash of each of these cells; equal cells have equal ones, an empty cell has 0."""
        size = stop - start
        found = size.astype(np.uint64) * WEIGHTS[0]
        for part in range(int(size.max(initial=0) + 7) // 8):
            found += mixed(self.cell(np.minimum(start + 8 * part, stop), size - 8 * part)) * WEIGHTS[part + 1]
        return mixed(found)

    def places(self, letter: int) -> Ints:
        """Where a byte stands."""
        return np.flatnonzero(self.bytes == letter)


def mixed(words: Words) -> Words:
    """The words with their bits spread; 0 stays 0."""
    found: Words = words * WEIGHTS[-1]
    found ^= found >> np.uint64(29)
    return found


def first_word(words: Words) -> tuple[Words, Flags]:
    """What stands before the first blank of each eight bytes, and whether there is one."""
    blank = words ^ _BLANKS
    marks = (blank - _ONES) & ~blank & _TOPS
    lowest = marks & (~marks + np.uint64(1))
    return np.where(marks == 0, words, words & ((lowest >> np.uint64(7)) - np.uint64(1))), marks != 0


class Columns:
    """Cells of all rows of a block that ends with a line end; those of rows that are not ``regular`` mean nothing."""

    def __init__(self, *parts: bytes | memoryview) -> None:
        self.text = text = Text(*parts)
        ends = text.places(_NEWLINE)
        self.start: Ints = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
        self.end = ends
        self.stop: Ints = ends - ((text.bytes[np.maximum(ends - 1, 0)] == _RETURN) & (ends > self.start))
        commas = text.places(_COMMA)
        commas = np.append(commas, len(text.bytes))
        self._commas = commas
        first = np.searchsorted(commas, self.start)
        self._count: Ints = np.diff(first, append=len(commas) - 1)
        self._cut = [commas[np.minimum(first + number, len(commas) - 1)] for number in range(_COLUMNS_BEFORE_DATA + 1)]
        self.regular: Flags = self._count > _COLUMNS_BEFORE_DATA
        self._place(commas[np.minimum(first + _COLUMNS_BEFORE_DATA + 1, len(commas) - 1)])
        self._tell_time()
        self._quoted()
        self._odd_bytes()
        self.regular &= (self.connector[1] - self.connector[0] <= LONGEST) & (self.local[1] - self.local[0] <= LONGEST)

    def _place(self, after: Ints) -> None:
        cut, regular = self._cut, self.regular
        self.connector = (cut[0] + 1, cut[1])
        self.session = cut[1] + 1
        self.local = (cut[3] + 1, cut[4])
        self.event: NDArray[np.uint8] = self.text.bytes[np.minimum(cut[5] + 1, len(self.text.bytes) - 1)]
        self.data = [cut[6] + 1, cut[7].copy()]
        self.context = [cut[7] + 1, np.minimum(after, self.stop)]
        regular &= (cut[0] == self.start + _TIME) & (cut[2] - cut[1] == _SESSION + 1) & (cut[6] - cut[5] == 2)  # noqa: PLR2004

    def _tell_time(self) -> None:
        """Milliseconds since 1970; and whether the row begins with a time of the calendar."""
        digits = []
        for part, form in enumerate(_TIME_FORM):
            found = self.text.word(self.start + 8 * part) ^ form
            self.regular &= (
                ((found & _HIGH) == 0) & (((found + _SIX) & _HIGH) == 0) & ((found & _SEPARATORS[part]) == 0)
            )
            digits.append(found)

        def number(word: int, *places: int) -> Ints:
            value: Ints = np.zeros(len(self.start), np.int64)
            for place in places:
                value = value * 10 + ((digits[word] >> np.uint64(8 * place)) & np.uint64(15)).astype(np.int64)
            return value

        day = number(0, 0, 1, 2, 3, 5, 6) * 100 + number(1, 0, 1)
        hour, minute = number(1, 3, 4), number(1, 6, 7)
        second, milli = number(2, 1, 2), number(2, 4, 5, 6)
        self.regular &= (hour < 24) & (minute < 60) & (second < 60)  # noqa: PLR2004
        self.time: Ints = _days(day, self.regular) * _DAY + hour * _HOUR + minute * _MINUTE + second * _SECOND + milli
        self.regular &= self.time > 0

    def _quoted(self) -> None:
        """Rows with quotes: data, context or both are quoted as a whole, or the row is not regular."""
        quotes = self.text.places(_QUOTE)
        if not len(quotes):
            return
        rows = np.searchsorted(self.end, quotes)
        rows = rows[np.append(rows[1:] != rows[:-1], True)]
        at = np.searchsorted(quotes, self.start[rows])
        count = np.searchsorted(quotes, self.stop[rows]) - at
        place = [quotes[np.minimum(at + number, len(quotes) - 1)] for number in range(4)]
        stop, data = self.stop[rows], self.data[0][rows]
        closed = self.text.bytes[np.minimum(place[1] + 1, len(self.text.bytes) - 1)] == _COMMA
        whole = (place[0] == data) & closed & (place[1] + 1 < stop)  # data is quoted
        both = whole & (count == 4) & (place[2] == place[1] + 2) & (place[3] == stop - 1)  # noqa: PLR2004
        one = whole & (count == 2)  # noqa: PLR2004
        context = (count == 2) & (place[0] == self._cut[7][rows] + 1) & (place[1] == stop - 1)  # noqa: PLR2004
        after = self._commas[np.minimum(np.searchsorted(self._commas, place[1] + 2), len(self._commas) - 1)]
        self.data[0][rows] = np.where(whole, place[0] + 1, data)
        self.data[1][rows] = np.where(whole, place[1], self.data[1][rows])
        start = np.where(both, place[2] + 1, np.where(one, place[1] + 2, self.context[0][rows] + context))
        end = np.where(both, place[3], np.where(one, np.minimum(after, stop), np.where(context, place[1], stop)))
        self.context[0][rows], self.context[1][rows] = start, end
        self.regular[rows] &= both | one | context

    def _odd_bytes(self) -> None:
        zeros = self.text.places(0)
        if len(zeros):
            self.regular[np.minimum(np.searchsorted(self.end, zeros), len(self.end) - 1)] = False
        if not self.text.data.isascii():
            places = np.flatnonzero(self.text.bytes >= 128)  # noqa: PLR2004  beyond ASCII
            rows = np.minimum(np.searchsorted(self.end, places), len(self.end) - 1)
            self.regular[rows[places >= self.context[0][rows]]] = False
        size = self.context[1] - self.context[0]
        last = len(self.text.bytes) - 1
        edges = (self.context[0], self.context[1] - 1)
        blank = [self.text.bytes[np.clip(edge, 0, last)] <= 32 for edge in edges]  # noqa: PLR2004  blanks and controls
        self.regular &= (size >= 0) & ((size == 0) | ~(blank[0] | blank[1]))

    def keys(self) -> Words:
        """A hash of the session-id of each row."""
        return key(self.text.word(self.session), self.text.word(self.session + 8))

    def numbered(self, expected: Ints) -> Flags:
        """Whether each row has that sequence-number."""
        start, stop = self._cut[2] + 1, self._cut[3]
        same: Flags = self.text.cell(start, stop - start) == _NUMBERS[np.minimum(expected, MANY - 1)]
        return same & (expected < MANY) & (stop - start <= 8)  # noqa: PLR2004

    def row(self, number: int) -> bytes:
        """The bytes of a row without its line end."""
        return self.text.data[self.start[number] : self.stop[number]]


def key(low: Any, high: Any) -> Words:  # noqa: ANN401  arrays and single words alike
    """The hash of a session-id from its two halves."""
    return mixed(mixed(low) * WEIGHTS[1] + mixed(high) * WEIGHTS[2])


def key_of(session: str) -> int:
    """The same hash of a session-id as text; 0 for one that no regular row has."""
    raw = session.encode("utf-8", "replace")
    if len(raw) != _SESSION:
        return 0
    halves = np.array([word_of(raw[:8]), word_of(raw[8:])], np.uint64)
    return int(key(halves[:1], halves[1:])[0])


def _days(found: Ints, sound: Flags) -> Ints:
    """Days since 1970 of year, month and day written as one number; far in the past where there is no such day."""
    days: Ints = np.full(len(found), -(1 << 30), np.int64)
    known = found[sound]
    several = len(known) and known.min() != known.max()
    for one in np.unique(known).tolist() if several else known[:1].tolist():
        try:
            days[found == one] = date(one // 10000, one // 100 % 100, one % 100).toordinal() - _EPOCH
        except ValueError:
            continue
    return days


def moment(milliseconds: int) -> datetime:
    """A time of ``Columns.time`` as UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(milliseconds))
