r"""The rows of an Exchange protocol log as columns of numbers.

A row is ``regular`` with a time as Exchange writes it, nine cells, a session-id of 16 characters, quotes only around
the whole of data or context (or both), no NUL, and no context that begins or ends with a blank or holds letters beyond
ASCII. Every other row is left to the reader of single rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evtx_analyzer.read.columns import LONGEST, MANY, WEIGHTS, Flags, Ints, Lines, Words, mixed, word_of

_COMMA, _QUOTE, _RETURN = 44, 34, 13
_LONGEST_CELL = 128 << 10
"""Behind so many letters the csv module gives up a cell."""
_COLUMNS_BEFORE_DATA = 7
_SESSION = 16
_TIME = len("2016-12-01T03:09:55.456Z")
_NUMBERS: Words = np.array([int.from_bytes(str(n).encode(), "little") for n in range(MANY)], dtype=np.uint64)


class Columns(Lines):
    """Cells of all rows of a block."""

    def __init__(self, *parts: bytes | memoryview) -> None:
        super().__init__(*parts)
        text = self.text
        commas = text.places(_COMMA)
        commas = np.append(commas, len(text.bytes))
        self._commas = commas
        first = np.searchsorted(commas, self.start)
        self._count: Ints = np.diff(first, append=len(commas) - 1)
        self._cut = [commas[np.minimum(first + number, len(commas) - 1)] for number in range(_COLUMNS_BEFORE_DATA + 1)]
        self.regular &= self._count > _COLUMNS_BEFORE_DATA
        self._place(commas[np.minimum(first + _COLUMNS_BEFORE_DATA + 1, len(commas) - 1)])
        self.tell_time(b"0000-00-", b"00T00:00", b":00.000Z")
        self._quoted()
        self._odd_bytes()
        self._odd_returns()
        self.regular &= self.stop - self.start < _LONGEST_CELL
        self.regular &= (self.connector[1] - self.connector[0] <= LONGEST) & (self.local[1] - self.local[0] <= LONGEST)

    def _place(self, after: Ints) -> None:
        cut, regular = self._cut, self.regular
        self.connector = (cut[0] + 1, cut[1])
        self.session = cut[1] + 1
        self.local = (cut[3] + 1, cut[4])
        self.event: NDArray[np.uint8] = self.byte(cut[5] + 1)
        self.data = [cut[6] + 1, cut[7].copy()]
        self.context = [cut[7] + 1, np.minimum(after, self.stop)]
        regular &= (cut[0] == self.start + _TIME) & (cut[2] - cut[1] == _SESSION + 1) & (cut[6] - cut[5] == 2)  # noqa: PLR2004

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
        closed = self.byte(place[1] + 1) == _COMMA
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
        if not self.text.data.isascii():
            places = np.flatnonzero(self.text.bytes >= 128)  # noqa: PLR2004  beyond ASCII
            rows = np.minimum(np.searchsorted(self.end, places), len(self.end) - 1)
            self.regular[rows[places >= self.context[0][rows]]] = False
        size = self.context[1] - self.context[0]
        blank = [self.byte(edge) <= 32 for edge in (self.context[0], self.context[1] - 1)]  # noqa: PLR2004  and controls
        self.regular &= (size >= 0) & ((size == 0) | ~(blank[0] | blank[1]))

    def _odd_returns(self) -> None:
        """Rows with a carriage return that ends no line: a reader of quoted cells takes it for the end of a row."""
        ends = int(np.count_nonzero(self.end - self.stop))
        if self.text.count(_RETURN) != ends:
            places = self.text.places(_RETURN)
            rows = np.minimum(np.searchsorted(self.end, places), len(self.end) - 1)
            self.regular[rows[places < self.stop[rows]]] = False

    def keys(self) -> Words:
        """A hash of the session-id of each row."""
        return key(*self.text.words(self.session, 2))

    def numbered(self, expected: Ints) -> Flags:
        """Whether each row has that sequence-number."""
        start, stop = self._cut[2] + 1, self._cut[3]
        same: Flags = self.text.cell(start, stop - start) == _NUMBERS[np.minimum(expected, MANY - 1)]
        return same & (expected < MANY) & (stop - start <= 8)  # noqa: PLR2004


def key(low: Any, high: Any) -> Words:  # noqa: ANN401  arrays and single words alike
    """The hash of a session-id from its two halves."""
    return mixed(mixed(low) * WEIGHTS[1] + mixed(high) * WEIGHTS[2])


@lru_cache(maxsize=4096)
def key_of(session: str) -> int:
    """The same hash of a session-id as text; 0 for one that no regular row has."""
    raw = session.encode("utf-8", "replace")
    if len(raw) != _SESSION:
        return 0
    halves = np.array([word_of(raw[:8]), word_of(raw[8:])], np.uint64)
    return int(key(halves[:1], halves[1:])[0])
