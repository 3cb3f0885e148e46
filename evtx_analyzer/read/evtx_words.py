r"""Where any of many texts stand as UTF-16LE in a large block, told from a sample of its words at memory speed.

A text of n letters takes 2n - 1 bytes (without its last NUL). If that is at least ``stride + 7`` then, wherever the
text begins, it covers one whole 8-byte word at a multiple of ``stride``: so of a block only the words there are looked
at, in one table that holds the ``stride`` words that each text can show there. For a thumbprint (79 bytes)
the stride is 64 and one word in eight is read; for eight letters (15 bytes) it is 8 and every word is.

Case is taken away by setting bit 0x20 in all bytes, of texts and block alike: never a text lost, and what else becomes
the same by that is told apart afterwards, as are all that the tables let through: first by the word's neighbor inside
the text, then by a search in the bytes around it. So the places that are given are right, however many texts there
are; and the more there are the less the tables keep away.

Invalid for texts that are not ASCII (other letters change case by other bits) and shorter than eight letters: these
have no ``Words``. A text that crosses the border of two chunks is not given, for no record does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from evtx_analyzer.read.evtx_chunks import CHUNK_SIZE

_WORD = 8
_STRIDES = (64, 32, 16, 8)
_SLICE = 1 << 20  # bytes; all that is made of it stays in a core's cache
_CASE = 0x20
_CASES = np.uint64(0x2020202020202020)
_FACTOR, _NEXT, _PREVIOUS = (  # odd numbers that spread their factor over the upper bits (multiplicative hashing)
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
)
_INDEX_BITS, _MOST_BITS = 16, 24
_Numbers = NDArray[np.uint64]
_Places = NDArray[np.intp]


class Words:
    """Texts (ASCII, each of eight letters or more, in any case) to be looked for together.

    ``near`` says of a few hundred bytes whether one of the texts stands in them.
    """

    def __init__(self, texts: Collection[str], near: Callable[[bytes], bool]) -> None:
        self._near = near
        self._reach = 2 * max(len(text) for text in texts)
        shortest = 2 * min(len(text) for text in texts) - 1
        self._stride = next(size for size in _STRIDES if size + _WORD - 1 <= shortest)
        # Kept, for memory that is asked for anew must be cleared anew: that took four times as long as the search.
        most = _SLICE // self._stride
        self._words, self._keys = np.empty(most, np.uint64), np.empty(most, np.uint64)
        self._likely = np.empty(most, np.bool_)
        self._table = np.zeros(1 << _INDEX_BITS, np.bool_)
        # A text of 24 bytes has a neighbor on one side of any word in it.
        self._pair_bits = min(_MOST_BITS, max(_INDEX_BITS, (len(texts) * self._stride).bit_length() + 4))
        self._pairs = np.zeros(1 << self._pair_bits, np.bool_) if shortest >= 3 * _WORD else None
        by_length: dict[int, list[str]] = {}
        for text in texts:
            by_length.setdefault(len(text), []).append(text)
        for same in by_length.values():
            self._enter(same)

    def _enter(self, texts: Collection[str]) -> None:
        """Note, of texts of one length, the words that can stand at a multiple of the stride, with their neighbors."""
        data = np.frombuffer(b"".join(text.encode("utf-16-le") for text in texts), np.uint8)
        data = data.reshape(len(texts), -1) | np.uint8(_CASE)
        size = data.shape[1] - 1

        def at(place: int) -> _Numbers:
            return np.ascontiguousarray(data[:, place : place + _WORD]).view("<u8")[:, 0]

        for place in range(self._stride):
            keys = at(place) * _FACTOR
            self._table[_upper(keys, _INDEX_BITS)] = True
            if self._pairs is not None:
                behind = place + 2 * _WORD <= size
                other = at(place + _WORD) * _NEXT if behind else at(place - _WORD) * _PREVIOUS
                self._pairs[_upper((keys ^ other) * _FACTOR, self._pair_bits)] = True

    def chunks(self, data: memoryview) -> set[int]:
        """Numbers of the chunks (64 KiB each, the first is 0) of a block that hold one of the texts."""
        found: set[int] = set()
        for start in range(0, len(data), _SLICE):
            part = data[start : start + _SLICE]
            for at in self._candidates(part).tolist():
                number = (start + at) // CHUNK_SIZE
                if number not in found and self._holds(part, at):
                    found.add(number)
        return found

    def _candidates(self, data: memoryview) -> _Places:
        """Places of words that may belong to a text."""
        every = np.frombuffer(data, "<u8", count=len(data) // _WORD)
        step = self._stride // _WORD
        sampled = every[::step]
        count = len(sampled)
        words, keys, likely = self._words[:count], self._keys[:count], self._likely[: -(-count // _WORD) * _WORD]
        np.bitwise_or(sampled, _CASES, out=words)
        np.multiply(words, _FACTOR, out=keys)
        np.right_shift(keys, np.uint64(64 - _INDEX_BITS), out=keys)
        likely[count:] = False
        # With "clip" and a place to put it, numpy neither checks nor copies: twice as fast; no key is out of range.
        np.take(self._table, keys.view(np.int64), out=likely[:count], mode="clip")
        chosen = _set(likely)
        if self._pairs is not None and len(chosen):
            first, places = words[chosen] * _FACTOR, chosen * step
            following = every[np.minimum(places + 1, len(every) - 1)] | _CASES
            previous = every[np.maximum(places - 1, 0)] | _CASES
            pairs = first ^ (following * _NEXT), first ^ (previous * _PREVIOUS)
            known = [self._pairs[_upper(pair * _FACTOR, self._pair_bits)] for pair in pairs]
            chosen = chosen[known[0] | known[1]]
        return chosen * self._stride

    def _holds(self, data: memoryview, at: int) -> bool:
        start = at - at % CHUNK_SIZE
        piece = data[max(start, at - self._reach) : min(start + CHUNK_SIZE, at + _WORD + self._reach)]
        return self._near(bytes(piece))


def _upper(numbers: _Numbers, bits: int) -> NDArray[np.int64]:
    return (numbers >> np.uint64(64 - bits)).view(np.int64)


def _set(flags: NDArray[np.bool_]) -> _Places:
    """Places of the flags that are set; eight at a time, for most are not."""
    groups = np.flatnonzero(flags.view(np.uint64))
    found = np.flatnonzero(flags.reshape(-1, _WORD)[groups])
    places: _Places = groups[found // _WORD] * _WORD + found % _WORD
    return places
