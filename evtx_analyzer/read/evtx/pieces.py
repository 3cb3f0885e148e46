"""The chunks of an EVTX file as pieces for a second reading (``read/pieces.py``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import cycle
from typing import BinaryIO

from evtx_analyzer import clock
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.evtx.aligned import chunk_blocks, chunks_of, file_header, new_buffer
from evtx_analyzer.read.evtx.chunk import CHUNK_SIZE, HEADER_SIZE, account
from evtx_analyzer.read.evtx.reader import CountedChunk, record, texts
from evtx_analyzer.read.evtx.search import Search, search_for
from evtx_analyzer.read.pieces import Piece, RecordPiece

_BLOCKS = 4
"""Buffers in turn: a chunk stays valid while the chunks of three more blocks are read."""
_TIME = struct.Struct("<16xQ")  # of a record: (magic, size, id), FILETIME
_LAST = struct.Struct("<44xI")  # of a chunk: place of the last record
_IDS = struct.Struct("<24xQQ")  # of a chunk: first and last record id


class ChunkPiece:
    """A counted chunk as a piece, whose texts can be searched for without decoding it."""

    def __init__(self, raw: memoryview, offset: int, source: Origin, *, selected: bool) -> None:
        self._raw, self._offset, self._source, self.selected = raw, offset, source, selected

    @property
    def first(self) -> datetime | None:
        """The time of the first record, from its head."""
        return self._time(HEADER_SIZE)

    @property
    def last(self) -> datetime | None:
        """The time of the last record, from its head."""
        return self._time(_LAST.unpack_from(self._raw)[0]) if len(self._raw) == CHUNK_SIZE else None

    def _time(self, place: int) -> datetime | None:
        inside = place <= len(self._raw) - _TIME.size
        return clock.from_filetime(_TIME.unpack_from(self._raw, place)[0]) if inside else None

    def mentions(self, names: frozenset[str]) -> bool:
        """Return whether one of the names may stand in the chunk."""
        return bool(search_for(names).chunks(self._raw))

    def naming(self, names: frozenset[str]) -> Sequence[EventRecord | Loss]:
        """Return the records in which one of the names stands; the chunk is decoded only once."""
        return [record(head, xml, self._offset, self._source) for head, xml in self._chunk.matching(search_for(names))]

    @cached_property
    def _chunk(self) -> CountedChunk:
        return CountedChunk(bytes(self._raw), whole=True)


def evtx_pieces(stream: BinaryIO, source: Origin, search: Search | None, counted: bytes) -> Iterator[Piece]:
    """Yield the chunks of a file that was read before.

    ``counted`` is what the first reading found (see ``ChunkSelection``): a chunk that was counted is ``selected`` if
    the search finds it; all others are decoded. Without a search, all chunks are decoded. A log is a ring: where the
    ids of its first chunk follow on those of its last one, the first chunk is yielded again at the end, so that a task
    that crosses the seam is whole.
    """
    header, read_ahead = file_header(stream)
    number, opening, ending = 0, b"", b""
    for block, offset in chunk_blocks(stream, read_ahead, len(header), cycle([new_buffer() for _ in range(_BLOCKS)])):
        selected = search.chunks(block) if search is not None else ()
        for place, (raw, at) in enumerate(chunks_of(block, offset)):
            if search is not None and any(counted[number : number + 1]):
                yield ChunkPiece(raw, at, source, selected=place in selected)
            else:
                yield _decoded(bytes(raw), at, source)
            number += 1
        opening = opening or bytes(block[:CHUNK_SIZE])
        ending = bytes(block[-CHUNK_SIZE:])
    if number > 1 and _follows(ending, opening):
        yield _decoded(opening, len(header), source)


def _follows(chunk: bytes, other: bytes) -> bool:
    """Return whether the record ids of ``other`` follow directly on those of ``chunk``."""
    whole = len(chunk) == len(other) == CHUNK_SIZE
    return whole and bool(_IDS.unpack_from(other)[0] == _IDS.unpack_from(chunk)[1] + 1)


def _decoded(raw: bytes, offset: int, source: Origin) -> RecordPiece:
    chunk = account(raw)
    records = [record(head, xml, offset, source) for head, xml in texts(chunk)] if chunk is not None else []
    return RecordPiece([decoded for decoded in records if isinstance(decoded, EventRecord)])
