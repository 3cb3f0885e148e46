"""Rows of a text log as columns of numbers, a block of some megabytes at a time.

Most rows of a log need not become text: where its cells stand, its time, and a few hashes are all that is asked of
them. Hashes are sums of words with weights drawn anew for each process, so that no log can be made to collide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evtx_analyzer.model import Times
from evtx_analyzer.read.encoding import decode

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

LONGEST = 64
"""Bytes of a cell that is compared by its hash."""
_NEWLINE, _RETURN = 10, 13
MANY = 4096
"""Rows of the longest session that is compared as a whole."""
# Odd, so that no bit of a word is lost. Not from numpy.random: that takes as long to load as a megabyte to read.
WEIGHTS: Words = np.frombuffer(os.urandom(8 * MANY), np.uint64) | np.uint64(1)
_MASKS: Words = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY, _HOUR, _MINUTE, _SECOND = 86_400_000, 3_600_000, 60_000, 1000


def word_of(text: bytes) -> np.uint64:
    """Up to eight bytes as ``Text.word`` gives them."""
    return np.uint64(int.from_bytes(text, "little"))


_TEN, _BYTE, _LAST = np.uint64(10), np.uint64(8), np.uint64(255)
_HIGH, _SIX = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)
_PADDING = 256
_AT_ONCE = 16  # words, from any place in the text; the padding holds them
_ONE, _THREE, _SEVEN, _ALL = (np.uint64(number) for number in (1, 3, 7, 63))
_LOW = np.uint64((1 << 20) - 1)
_ONES, _TOPS, _BLANKS = (np.uint64(number * 0x0101010101010101) for number in (1, 0x80, 0x20))


class Text:
    """Bytes of a block, read eight at a time (little-endian) at any place, and a little behind the end: zeros."""

    def __init__(self, *parts: bytes | memoryview) -> None:
        size = sum(len(part) for part in parts)
        self.data = b"".join((*parts, bytes(_PADDING + -size % 8)))
        self.bytes = np.frombuffer(self.data, np.uint8)[:size]
        self._words: Words = np.frombuffer(self.data, "<u8")
        self._same: Flags = np.empty(size, np.bool_)

    def words(self, at: Ints, count: int) -> Iterator[Words]:
        """The eight bytes from each of these places, then the next eight, and so on: at most 24 of them."""
        place, shift = at >> 3, (at.view(np.uint64) & _SEVEN) << _THREE
        rest = shift ^ _ALL
        low = self._words[place]
        for part in range(1, count + 1):
            high = self._words[place + part]
            found = high << _ONE
            found <<= rest
            found |= low >> shift
            yield found
            low = high

    def cell(self, at: Ints, size: Ints) -> Words:
        """Up to eight bytes from each place, zeros behind its size."""
        return next(self.words(at, 1)) & _MASKS[np.clip(size, 0, 8)]

    def cells(self, start: Ints, stop: Ints, count: int) -> Iterator[Words]:
        """The first eight bytes of each of these cells, the next eight, and so on; zeros behind its end."""
        size = stop - start
        for part, word in enumerate(self.words(start, count)):
            yield word & _MASKS[np.clip(size - 8 * part, 0, 8)]

    def hashes(self, start: Ints, stop: Ints) -> Words:
        """A hash of each of these cells; equal cells have equal ones, an empty cell has 0."""
        size = stop - start
        found = size.astype(np.uint64) * WEIGHTS[0]
        full, parts = int(size.min(initial=0)) // 8, int(size.max(initial=0) + 7) // 8
        for part, word in enumerate(self.words(start, min(parts, _AT_ONCE))):
            whole = word if part < full else word & _MASKS[np.clip(size - 8 * part, 0, 8)]
            found += mixed(whole) * WEIGHTS[part + 1]
        for part in range(_AT_ONCE, parts):
            found += mixed(self.cell(np.minimum(start + 8 * part, stop), size - 8 * part)) * WEIGHTS[part + 1]
        return mixed(found)

    def decoded(self, start: int, stop: int) -> str:
        """A cell as text."""
        return self.data[start:stop].decode("utf-8", "replace")

    @cached_property
    def letters(self) -> str | None:
        """The whole block as text, where bytes and letters are the same."""
        return self.data.decode("ascii") if self.data.isascii() else None

    def places(self, letter: int) -> Ints:
        """Where a byte stands."""
        return np.flatnonzero(np.equal(self.bytes, letter, out=self._same))

    def count(self, letter: int) -> int:
        """How often a byte stands; several times as fast as ``bytes.count``."""
        return int(np.count_nonzero(np.equal(self.bytes, letter, out=self._same)))


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


class Lines:
    """The rows of a block that ends with a line end: ``start``, ``stop`` (without its end) and ``end`` of each.

    ``regular`` are rows of which everything is certain; of others the cells mean nothing. ``time`` is in milliseconds
    since 1970.
    """

    def __init__(self, *parts: bytes | memoryview) -> None:
        self.text = text = Text(*parts)
        self.end: Ints = text.places(_NEWLINE)
        self.start: Ints = np.concatenate((np.zeros(1, np.int64), self.end[:-1] + 1))
        self.stop: Ints = self.end - ((text.bytes[np.maximum(self.end - 1, 0)] == _RETURN) & (self.end > self.start))
        self.regular: Flags = self.stop > self.start
        self.time: Ints = np.zeros(0, np.int64)
        zeros = text.places(0)
        if len(zeros):
            self.regular[np.minimum(np.searchsorted(self.end, zeros), len(self.end) - 1)] = False

    def row(self, number: int) -> bytes:
        """The bytes of a row without its line end."""
        return self.text.data[self.start[number] : self.stop[number]]

    def texts(self, rows: Ints) -> list[str]:
        """Rows as text, as ``line_text`` gives those that are regular: nothing around them is to be stripped."""
        places = zip(self.start[rows].tolist(), self.stop[rows].tolist(), strict=True)
        letters = self.text.letters
        if letters is not None:
            return [letters[start:stop] for start, stop in places]
        return [decode(self.text.data[start:stop], "utf-8") for start, stop in places]

    def byte(self, at: Ints) -> NDArray[np.uint8]:
        """The byte at each place; the last one for a place behind the end."""
        return self.text.bytes[np.clip(at, 0, len(self.text.bytes) - 1)]

    def tell_time(self, *forms: bytes) -> None:
        """Read the time at the beginning of each row: eight bytes for each form, in which 0 stands for a digit.

        Year, month, day, hour, minute and second in this order, then milliseconds if there are any.
        """
        numbers: list[Ints] = []
        for word, form in zip(self.text.words(self.start, len(forms)), forms, strict=True):
            found = word & _MASKS[len(form)] ^ word_of(form)
            others = np.uint64(sum(0xFF << 8 * at for at, letter in enumerate(form) if letter != ord("0")))
            self.regular &= ((found & _HIGH) == 0) & (((found + _SIX) & _HIGH) == 0) & ((found & others) == 0)
            # Each byte becomes ten times itself and the next one: two digits at once.
            pairs = found * _TEN + (found >> _BYTE)
            for digits in re.finditer(rb"00?", form):
                number = ((pairs >> np.uint64(8 * digits.start())) & _LAST).astype(np.int64)
                numbers.append(number if len(digits[0]) > 1 else number // 10)
        century, year, month, day, hour, minute, second, *milli = numbers
        self.regular &= (hour < 24) & (minute < 60) & (second < 60)  # noqa: PLR2004
        time = _days(((century * 100 + year) * 100 + month) * 100 + day, self.regular) * _DAY
        time += hour * _HOUR + minute * _MINUTE + second * _SECOND
        for part, number in enumerate(milli):
            time += number * (10 if part == 0 else 1)
        self.time = time
        self.regular &= self.time > 0


def in_order(keys: Words, chosen: Ints) -> Ints:
    """The chosen row numbers, equal keys together and each key's in their order.

    Sorting the numbers together with the upper bits of the keys is ten times as fast as an argsort. Keys that share
    these bits (random for each process) come apart in pieces.
    """
    packed = (keys[chosen] & ~_LOW) | np.arange(len(chosen), dtype=np.uint64)
    packed.sort()
    return chosen[(packed & _LOW).astype(np.int64)]


def alike(keys: Words) -> list[Ints]:
    """The places of equal keys, each key's in their order. Not by numpy.unique, which loads more than it needs."""
    if not len(keys):
        return []
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def times(milliseconds: Ints) -> Times:
    """How often, and when first and last."""
    return Times(len(milliseconds), moment(milliseconds.min()), moment(milliseconds.max()))


def _days(found: Ints, sound: Flags) -> Ints:
    """Days since 1970 of year, month and day written as one number; far in the past where there is no such day."""
    days: Ints = np.full(len(found), -(1 << 30), np.int64)
    known = found[sound]
    alone = len(known) > 0 and bool((known == known[0]).all())
    for one in [int(known[0])] if alone else set(known.tolist()):
        try:
            days[found == one] = date(one // 10000, one // 100 % 100, one % 100).toordinal() - _EPOCH
        except ValueError:
            continue
    return days


def moment(milliseconds: int) -> datetime:
    """A time of ``Columns.time`` as UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(milliseconds))
