"""Event logs in pieces for a second reading, which can be asked for what they mention before they are decoded.

A piece is a chunk of an .evtx file (``read/evtx/pieces.py``), or about as many records of another export as a chunk
holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Protocol

from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import EventRecord

_RECORDS = 32  # in a piece; a chunk of a CAPI2 log holds about as many


class Piece(Protocol):
    """Some records that stand one after the other; valid while ``capi2/neighborhoods.py`` looks back at it.

    ``first`` and ``last`` are the times of its first and last record, None where not known. ``selected`` says whether
    it may hold what the second reading looks for.
    """

    @property
    def selected(self) -> bool: ...  # noqa: D102

    @property
    def first(self) -> datetime | None: ...  # noqa: D102

    @property
    def last(self) -> datetime | None: ...  # noqa: D102

    def mentions(self, names: frozenset[str]) -> bool:
        """Return whether one of the names may stand in it."""

    def naming(self, names: frozenset[str]) -> Sequence[EventRecord | Loss]:
        """Return the records in which one of the names stands, in any case; a loss for each that cannot be decoded."""


class RecordPiece:
    """A piece whose records are all decoded."""

    selected = True

    def __init__(self, records: Sequence[EventRecord]) -> None:
        self._records = [(record, record.xml.upper()) for record in records]
        self.first, self.last = (records[0].time, records[-1].time) if records else (None, None)

    def mentions(self, names: frozenset[str]) -> bool:
        """Return whether one of the names stands in a record."""
        return any(name in text for _, text in self._records for name in names)

    def naming(self, names: frozenset[str]) -> Sequence[EventRecord]:
        """Return the records in which one of the names stands."""
        return [record for record, text in self._records if any(name in text for name in names)]


def record_pieces(readables: Iterable[object]) -> Iterator[RecordPiece]:
    """Yield the records of an export that has no chunks, some in each piece."""
    records = (readable for readable in readables if isinstance(readable, EventRecord))
    while piece := list(islice(records, _RECORDS)):
        yield RecordPiece(piece)
