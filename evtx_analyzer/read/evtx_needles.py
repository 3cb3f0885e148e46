r"""Whether a chunk of an EVTX file may hold certain texts at all, told from its bytes: then only need it be decoded.

Sound where the values of an event are text in the record that they belong to, which ``evtx_counting`` makes sure of: a
bare element in UserData holds string values only (MS-EVEN6 2.2.12.2.3, ``StringType``), UTF-16LE, at odd or even
places. A chunk for which that is not certain is not left out by its caller. The names of elements and attributes are
no needles (they stand once in a chunk), nor is what System keeps as numbers, GUIDs and SIDs.

Not found are texts of which a part is written as an entity or character reference (``&``, ``<``, ``>`` and quotes are;
needles hold none of them, and no known writer does it to letters and digits), and letters that only Unicode calls the
same as ASCII ones (``ſ`` and ``s``, the Kelvin sign and ``k``). A text found in the remains of older records, across
two values or in another event is no mistake: the chunk is decoded for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

Test = Callable[[bytes], bool]

_UPPER = bytes(range(256)).upper()
_PREFIX = 4
_FEW = 16
_GUID = re.compile(r"\{[0-9A-Fa-f-]{36}\}")
_GUIDS = re.compile(rb"\{[0-9A-F-]{36}\}")


def holding(signals: Iterable[Collection[frozenset[str]]]) -> Test | None:
    """Test for chunks that may hold an event of one of the signals, each given as sets of texts that it cannot lack.

    An event holds at least one text of each set. None where a signal has no set: then every chunk may hold one.
    """
    given = {frozenset(clauses) for clauses in signals}
    if frozenset() in given:
        return None
    needed = [clauses for clauses in given if not any(other < clauses for other in given)]
    tests = [[_one_of(texts) for texts in sorted(clauses, key=_rarest)] for clauses in needed]
    return lambda chunk: any(all(test(chunk) for test in parts) for parts in tests)


def naming(names: Collection[str]) -> Test | None:
    """Test for chunks that may hold one of the names; None where looking for them costs as much as decoding."""
    if all(_GUID.fullmatch(name) for name in names):
        wanted = {name.upper().encode() for name in names}
        return lambda chunk: not wanted.isdisjoint(_GUIDS.findall(_squeezed(chunk)))
    if len(names) > _FEW or not all(name.isascii() and name.isalnum() for name in names):
        return None
    return _one_of(frozenset(name.lower() for name in names))


def _rarest(texts: frozenset[str]) -> tuple[int, list[str]]:
    """Long common beginnings first: they are searched for fastest."""
    return -len(_beginning(texts)), sorted(texts)


def _beginning(texts: frozenset[str]) -> str:
    """What all the texts begin with."""
    first, last = min(texts), max(texts)
    same = [left == right for left, right in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _one_of(texts: frozenset[str]) -> Test:
    """One compiled search where the texts begin alike, else one search each in the chunk without its NULs."""
    if len(_beginning(texts)) >= _PREFIX:
        search = re.compile(b"|".join(_pattern(text) for text in sorted(texts))).search
        return lambda chunk: search(chunk) is not None
    needles = sorted(text.upper().encode() for text in texts)

    def holds_one(chunk: bytes) -> bool:
        squeezed = _squeezed(chunk)
        return any(needle in squeezed for needle in needles)

    return holds_one


def _pattern(text: str) -> bytes:
    """The text in UTF-16LE and both cases, without the last NUL: the search then ends on a byte that counts."""
    return rb"\x00".join(
        f"[{letter.upper()}{letter.lower()}]".encode() if letter.isalpha() else re.escape(letter).encode()
        for letter in text
    )


def _squeezed(chunk: bytes) -> bytes:
    """Without NULs and in upper case: whatever stood there as UTF-16LE stands there as ASCII."""
    return chunk.translate(_UPPER, b"\0")
