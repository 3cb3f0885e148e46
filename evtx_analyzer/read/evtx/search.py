r"""Which chunks of an EVTX file may hold certain texts, judged by their bytes: only these need be decoded.

The search misses nothing where the values of an event are text in the record that they belong to, which ``span`` makes
sure of: a bare element in UserData holds string values only (MS-EVEN6 2.2.12.2.3, ``StringType``), UTF-16LE, at odd or
even places. A chunk for which that is not certain is decoded whatever it holds. The names of elements and attributes
cannot be looked for (they stand once in a chunk), nor can what System keeps as numbers, GUIDs and SIDs.

It misses texts of which a part is written as an entity or character reference (``&``, ``<``, ``>`` and quotes are;
the texts looked for hold none of them, and no known writer does it to letters and digits), and letters that equal ASCII
ones only by Unicode's rules (``ſ`` and ``s``, the Kelvin sign and ``k``). A text in the remains of older records,
across two values or in another event does no harm: the chunk is decoded in vain.

StringZilla searches megabytes for a part of each text in which at most one letter has two cases. Around each place
where it finds the part, the whole text is compared without case.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from os.path import commonprefix

import stringzilla

CHUNK_SIZE = 0x10000  # as in chunk, which loads a decoder
_UPPER = bytes(range(256)).upper()
_SHORTEST = 4  # characters of a part; shorter ones stand in every chunk
_CASELESS = 5  # characters; a part of that length without letters is rare enough, and needs one search instead of two
_ALIKE = 6  # characters with which texts must begin alike to be looked for together
_MOST_PARTS = 30  # each is one more pass through the bytes; so many cost as much as decoding
_ONE_LETTER = re.compile(r"(?=([^A-Z]*[A-Z]?[^A-Z]*))")
_PLAIN = re.compile(r"[A-Za-z0-9{}.-]{4,}")
_Texts = tuple[str, ...]
_Parts = dict[bytes, _Texts]


class Search:
    """Search for chunks and texts that may hold an event of one of several signals.

    A signal is passed as sets of ASCII texts: each of its events holds at least one text of each set, in any case.
    Every event may be of a signal without a set.
    """

    def __init__(self, signals: Iterable[Collection[frozenset[str]]]) -> None:
        signal_sets = {frozenset(sets) for sets in signals}
        self._signals = [
            [tuple(sorted(text.upper() for text in texts)) for texts in sets]
            for sets in signal_sets
            if not any(other < sets for other in signal_sets)
        ]
        shortest = [min(filter(None, map(_parts, sets)), key=len, default=None) for sets in self._signals]
        self._parts = None if None in shortest else _together(parts for parts in shortest if parts)
        self._any = not all(self._signals) or (self._parts is not None and len(self._parts) > _MOST_PARTS)
        # With one set for each signal, a chunk that holds one of its texts needs no comparison with other sets.
        self._one_set = self._parts is not None and all(len(sets) == 1 for sets in self._signals)

    def in_text(self, text: str) -> bool:
        """Return whether a text may be that of an event that is looked for."""
        upper = text.upper()
        return any(all(any(name in upper for name in names) for names in sets) for sets in self._signals)

    def chunks(self, block: memoryview) -> set[int]:
        """Return the numbers of the chunks of a block (64 KiB each, from 0) that may hold an event looked for."""
        every = range(-(-len(block) // CHUNK_SIZE))
        if self._any:
            return set(every)
        candidates = set(every if self._parts is None else (at // CHUNK_SIZE for at in self._places(block, CHUNK_SIZE)))
        if self._one_set:
            return candidates
        return {at for at in candidates if self.in_text(_text(block[at * CHUNK_SIZE : (at + 1) * CHUNK_SIZE]))}

    def records(self, chunk: memoryview, ends: Sequence[int]) -> set[int]:
        """Return the numbers of a chunk's records that may hold an event looked for; ``ends`` is where each ends."""
        numbers = {0} if self._any or self._parts is None else {bisect_right(ends, at) for at in self._places(chunk, 1)}
        # The first record defines what all have in common: provider, channel and machine stand in no other.
        return set(range(len(ends))) if 0 in numbers else numbers

    def _places(self, block: memoryview, unit: int) -> Iterator[int]:
        """Yield places where one of the texts stands, for each part at most one in every ``unit`` bytes."""
        for part, texts in (self._parts or {}).items():
            reach = 2 * max(map(len, texts))
            at = stringzilla.find(block, part)
            while at >= 0:
                following = at + 1
                around = _text(block[max(0, at - reach) : at + reach])
                if any(text in around for text in texts):
                    yield at
                    following = (at // unit + 1) * unit
                at = stringzilla.find(block, part, following) if following < len(block) else -1


@lru_cache(maxsize=64)
def search_for(names: frozenset[str]) -> Search:
    """Return a search for any of some names; it finds everything if a name may be written in several ways."""
    return Search([[names] if all(_PLAIN.fullmatch(name) for name in names) else []])


def _text(data: memoryview) -> str:
    """Return the text of UTF-16LE bytes in upper case, as far as it is ASCII."""
    return bytes(data).translate(_UPPER, b"\0").decode("latin-1")


def _parts(texts: _Texts) -> _Parts | None:
    """Return the parts to look for, in UTF-16LE, each with the texts that hold it; None if a text has no good part."""
    beginning = commonprefix(texts)  # noqa: RUF071  texts, and no paths
    groups = {beginning: texts} if len(beginning) >= _ALIKE else {text: (text,) for text in texts}
    parts = {text: _part(text) for text in groups}
    if min(map(len, parts.values())) < _SHORTEST:
        return None
    # Without the last NUL, the part ends in a rare byte, by which StringZilla skips faster.
    return _together(
        {form.encode("utf-16-le")[:-1]: group}
        for text, group in groups.items()
        for form in (parts[text], parts[text].lower())
    )


def _together(several: Iterable[_Parts]) -> _Parts:
    """Return all parts, each with all the texts that hold it."""
    merged: dict[bytes, set[str]] = {}
    for parts in several:
        for part, texts in parts.items():
            merged.setdefault(part, set()).update(texts)
    return {part: tuple(sorted(texts)) for part, texts in merged.items()}


def _part(text: str) -> str:
    """Return a part of the text without letters if one is long enough, else the longest with one letter."""
    without = max(re.split("[A-Z]+", text), key=len)
    return without if len(without) >= _CASELESS else max(_ONE_LETTER.findall(text), key=len)
