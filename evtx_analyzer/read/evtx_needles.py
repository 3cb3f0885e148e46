r"""Whether a chunk of an EVTX file may hold certain texts at all, told from its bytes: then only need it be decoded.

Sound where the values of an event are text in the record that they belong to, which ``evtx_counting`` makes sure of: a
bare element in UserData holds string values only (MS-EVEN6 2.2.12.2.3, ``StringType``), UTF-16LE, at odd or even
places. A chunk for which that is not certain is not left out by its caller. The names of elements and attributes are
no needles (they stand once in a chunk), nor is what System keeps as numbers, GUIDs and SIDs.

Not found are texts of which a part is written as an entity or character reference (``&``, ``<``, ``>`` and quotes are;
needles hold none of them, and no known writer does it to letters and digits), and letters that only Unicode calls the
same as ASCII ones (``ſ`` and ``s``, the Kelvin sign and ``k``). A text found in the remains of older records, across
two values or in another event is no mistake: the chunk is decoded for nothing.

A chunk of a small file is tested by itself. Of a large file many are searched at once (``evtx_words``) for what must be
in a chunk that passes; texts that cannot be looked for so (short ones, and no certain ones) leave it to the plain test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

CHUNK_SIZE = 0x10000  # as in evtx_chunks, which loads a decoder

if TYPE_CHECKING:
    from evtx_analyzer.read.evtx_words import Words

Test = Callable[[bytes], bool]

_UPPER = bytes(range(256)).upper()
_PREFIX = 4
_SHAPED = re.compile(r"\{[0-9A-Fa-f-]{36}\}|[0-9A-Fa-f]{40}")  # a GUID, a thumbprint
_ALL_SHAPED = re.compile(rb"\{[0-9A-F-]{36}\}|[0-9A-F]{40,}")
_FEW = 16
SHORTEST = 8  # letters; what ``evtx_words`` can look for


class Needles:
    """Test of a piece of a file, and of many chunks at once.

    ``necessary`` are texts of which each piece that passes holds one; empty where none are known that ``evtx_words``
    can look for. ``near`` tests for these alone; ``enough`` says that to hold one of them is to pass.
    """

    def __init__(self, test: Test, necessary: frozenset[str], near: Test, *, enough: bool) -> None:
        self._test, self._near, self._enough = test, near, enough
        self._necessary = necessary
        self.sampled = bool(necessary) and min(len(text) for text in necessary) >= SHORTEST
        self._words: Words | None = None

    def __call__(self, data: bytes) -> bool:
        """Whether a piece passes."""
        return self._test(data)

    def among(self, data: memoryview) -> set[int]:
        """Numbers of the chunks of a block that pass; only of a test that is ``sampled``."""
        if self._words is None:
            # Numpy takes a tenth of a second to import, and small files do not need it.
            from evtx_analyzer.read.evtx_words import Words  # noqa: PLC0415

            self._words = Words(self._necessary, self._near)
        found = self._words.chunks(data)
        if self._enough:
            return found
        return {at for at in found if self._test(bytes(data[at * CHUNK_SIZE : (at + 1) * CHUNK_SIZE]))}


def holding(signals: Iterable[Collection[frozenset[str]]]) -> Needles | None:
    """Test for chunks that may hold an event of one of the signals, each given as sets of texts that it cannot lack.

    An event holds at least one text of each set. None where a signal has no set: then every chunk may hold one.
    """
    given = {frozenset(clauses) for clauses in signals}
    if frozenset() in given:
        return None
    needed = [sorted(clauses, key=_rarest) for clauses in given if not any(other < clauses for other in given)]
    tests = [[_one_of(texts) for texts in clauses] for clauses in needed]
    # The rarest set of each signal that is long enough to be looked for.
    chosen = [next((texts for texts in clauses if _long(texts)), frozenset[str]()) for clauses in needed]
    necessary = frozenset[str]().union(*chosen) if all(chosen) else frozenset[str]()
    return Needles(
        lambda chunk: any(all(test(chunk) for test in parts) for parts in tests),
        necessary,
        _one_of(necessary) if necessary else _never,
        enough=False,
    )


def naming(names: Collection[str]) -> Needles | None:
    """Test for chunks that may hold one of the names; None where looking for them costs as much as decoding."""
    wanted = frozenset(name.upper() for name in names)
    if all(_SHAPED.fullmatch(name) for name in wanted):
        test = _one_in(frozenset(name.encode() for name in wanted))
    elif len(wanted) <= _FEW and all(name.isascii() and name.isalnum() for name in wanted):
        test = _one_of(frozenset(name.lower() for name in wanted))
    else:
        return None
    return Needles(test, wanted, test, enough=True)


def _long(texts: frozenset[str]) -> bool:
    return min(len(text) for text in texts) >= SHORTEST


def _never(piece: bytes) -> bool:  # noqa: ARG001  a test
    return False


def _one_in(names: frozenset[bytes]) -> Test:
    """Search for GUIDs and thumbprints; it costs the same however many they are."""
    sizes = sorted({len(name) for name in names})

    def holds_one(chunk: bytes) -> bool:
        for run in _ALL_SHAPED.findall(_squeezed(chunk)):
            for size in sizes:
                for at in range(len(run) - size + 1):
                    if run[at : at + size] in names:
                        return True
        return False

    return holds_one


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
