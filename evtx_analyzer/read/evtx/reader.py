"""EVTX files: every record that is there, and a loss for every one that is not.

The ``evtx`` library decodes. It is fast, but does not say what it left out: the rest of a chunk behind one damaged
record, a truncated last chunk, all chunks of a file whose magic is gone. So each chunk is framed and accounted for here
(``chunk``) and handed to ``evtx`` alone, behind a file header of our own. Records that ``evtx`` does not return are
decoded one by one (``binxml``). Layout: libyal, "Windows XML Event Log (EVTX)".

Most chunks of a large log are not decoded at all. A sound chunk is counted from its record heads (``span``), and
decoded only if it holds a text that is looked for (``search``). The file is read into one buffer again and again. It is
not mapped: members of archives cannot be, a mapped file that is cut off while it is read ends the process (SIGBUS), and
on Windows it could not be moved or deleted meanwhile.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import repeat
from typing import Any, BinaryIO, cast

import evtx
from Evtx.Evtx import ChunkHeader, Record
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRecords, EventRecord
from evtx_analyzer.read.evtx.aligned import chunk_blocks, chunks_of, file_header, new_buffer
from evtx_analyzer.read.evtx.chunk import (
    FILE_HEADER_SIZE,
    HEADER_SIZE,
    MOST_RECORDS,
    Chunk,
    Head,
    counted_chunk,
    dense_promise,
    up_to,
)
from evtx_analyzer.read.evtx.losses import LogAccount
from evtx_analyzer.read.evtx.search import Search
from evtx_analyzer.read.evtx.span import ChunkSpan, Spans
from evtx_analyzer.read.evtx.unfolding import unfolds

# Magic, first and last chunk, next record id, size, version 3.1, bytes in front of the chunks, number of chunks.
_ONE_CHUNK = struct.pack("<8sQQQIHHHH", b"ElfFile\0", 0, 0, 1, 128, 1, 3, FILE_HEADER_SIZE, 1)
_ONE_CHUNK_HEADER = _ONE_CHUNK.ljust(FILE_HEADER_SIZE, b"\0")


@dataclass(frozen=True)
class ChunkSelection:
    """Which records of a log are read one by one; the others are counted.

    ``search`` finds chunks, and in them records, that may matter. ``countable`` is called with provider and channel of
    a chunk's records. ``counted`` has one byte for each chunk of the file in order, as far as it was read: 1 if the
    chunk was counted, so that later readings may rely on a search of its bytes. ``is_relevant`` is called with the XML
    of a record of other channels: if False, the record is counted by its id only. ``may_be_relevant`` is called with a
    chunk of other channels: if False, a sound chunk is not decoded. That it could be decoded is assumed, as in
    ``span``.
    """

    search: Search
    countable: Callable[[str, str], bool]
    counted: bytearray = field(default_factory=bytearray)
    is_relevant: Callable[[str], bool] = lambda _: True
    may_be_relevant: Callable[[bytes], bool] = lambda _: True


def read_evtx(
    stream: BinaryIO, source: Origin, selection: ChunkSelection | None = None
) -> Iterator[EventRecord | CountedRecords | Loss]:
    """Yield the records in the order in which they stand, and the losses.

    The stream is only read forwards. With a ``selection``, the records of a chunk are counted; if the search finds the
    chunk it is decoded too, and yields the records in whose text the search finds something. A chunk that cannot be
    counted is decoded, and yields all records that are relevant.
    """
    raw_header, read_ahead = file_header(stream)
    log = LogAccount(source, raw_header, bare=bool(read_ahead))
    yield from log.header_losses()
    if not read_ahead and len(raw_header) < FILE_HEADER_SIZE:
        return
    blocks = chunk_blocks(stream, read_ahead, len(raw_header), repeat(new_buffer()))
    if selection is None:
        for block, offset in blocks:
            for raw, at in chunks_of(block, offset):
                yield from _decode(log, bytes(raw), at, source)
    else:
        selection.counted.clear()
        yield from _selected(log, blocks, source, selection)
    yield from log.final_losses()


def _selected(
    log: LogAccount, blocks: Iterable[tuple[memoryview, int]], source: Origin, selection: ChunkSelection
) -> Iterator[EventRecord | CountedRecords | Loss]:
    """Count the chunks of a file and decode those that must be."""
    spans = Spans(selection.countable, _decoded)
    run: _Run | None = None
    for block, offset in blocks:
        wanted = selection.search.chunks(block)
        for number, (raw, at) in enumerate(chunks_of(block, offset)):
            if log.is_copy(raw):
                selection.counted.append(False)
                continue
            span = spans.span(raw)
            selection.counted.append(span is not None)
            if run is not None and run.goes_on(span):
                run.add(cast("ChunkSpan", span))
            else:
                yield from run.counted(log, source) if run is not None else ()
                run = _Run(span, at) if span is not None else None
            if span is not None:
                log.remember(raw)
                if number in wanted:
                    yield from _wanted(bytes(raw), at, source, selection.search)
                continue
            chunk = log.account(bytes(raw))
            if chunk is not None:
                yield from log.chunk_losses(chunk, at)
                selection.counted[-1] = yield from _concerning(chunk, at, source, selection)
    yield from run.counted(log, source) if run is not None else ()


def _decode(log: LogAccount, raw: bytes, offset: int, source: Origin) -> Iterator[EventRecord | Loss]:
    chunk = None if log.is_copy(raw) else log.account(raw)
    if chunk is not None:
        yield from log.chunk_losses(chunk, offset)
        yield from (record(head, xml, offset, source) for head, xml in texts(chunk))


def _wanted(raw: bytes, offset: int, source: Origin, search: Search) -> Iterator[EventRecord | Loss]:
    """Yield the records of a counted chunk that the search finds; a Loss for each that cannot be decoded after all."""
    for head, xml in CountedChunk(raw).matching(search):
        yield record(head, xml, offset, source, counted=True)


class _Run:
    """Adjacent chunks with consecutive ids and the same names, which are counted as if they were one.

    Coverage rests on runs of ids, on sums and on extremes, which are the same for a run as for its chunks.
    """

    def __init__(self, span: ChunkSpan, offset: int) -> None:
        self._begin, self._end, self._offset = span, span, offset
        self._chunks = 0
        self._earliest, self._latest = span.earliest, span.latest
        self._event_ids: Counter[int] = Counter()
        self.add(span)

    def goes_on(self, span: ChunkSpan | None) -> bool:
        """Return whether a chunk continues the run."""
        end = self._end
        return span is not None and (end.last + 1, end.shift, end.names) == (span.first, span.shift, span.names)

    def add(self, span: ChunkSpan) -> None:
        """Count a chunk."""
        self._end = span
        self._chunks += 1
        self._earliest, self._latest = min(self._earliest, span.earliest), max(self._latest, span.latest)
        self._event_ids.update(span.event_ids)

    def counted(self, log: LogAccount, source: Origin) -> Iterator[CountedRecords | Loss]:
        """Yield the run as one count, after what the account of the log yields for it."""
        begin, end = self._begin, self._end
        promise = dense_promise(begin.first, end.last, end.shift, end.free)
        chunk = Chunk(data=b"", promise=promise, heads=[], gaps=[], faults=[], whole=True)
        yield from log.chunk_losses(chunk, self._offset, self._chunks)
        yield CountedRecords(
            origin=replace(source, record=begin.first, offset=self._offset + HEADER_SIZE),
            last_record=end.last,
            provider=end.names.provider,
            channel=end.names.channel,
            host=end.names.host,
            first=clock.from_filetime(self._earliest),
            last=clock.from_filetime(self._latest),
            event_ids=dict(self._event_ids),
        )


# ------------------------------------------------------------------------------------------------- decoding


def texts(chunk: Chunk) -> Iterator[tuple[Head, str | Exception]]:
    """Yield the heads of a chunk's records, each with its XML or the error why it cannot be decoded."""
    decoded: dict[int, list[str]] = defaultdict(list)  # an id may stand twice in a damaged chunk
    for number, xml in _decoded(chunk.data):
        decoded[number].append(xml)
    shared: list[Any] = []
    for head in chunk.heads:
        decoded_texts = decoded.get(head.id)
        yield head, decoded_texts.pop(0) if decoded_texts else _recovered(chunk, head, shared)


class CountedChunk:
    """A chunk that was counted, and whose records are decoded when they are asked for.

    With ``whole``, all of them are decoded at the first request, so that later ones need not decode again.
    """

    def __init__(self, raw: bytes, *, whole: bool = False) -> None:
        self._whole = whole
        self._raw, self._chunk = raw, counted_chunk(raw)
        self._texts: dict[int, str] = {}
        self._end = 0  # of the last record that was decoded
        self._shared: list[Any] = []

    def matching(self, search: Search) -> Iterator[tuple[Head, str | Exception]]:
        """Yield the head and XML of each record that the search finds, or the error why it cannot be decoded."""
        if self._chunk is None:
            return
        numbers = search.records(memoryview(self._raw), [head.end for head in self._chunk.heads])
        heads = [self._chunk.heads[number] for number in sorted(numbers) if number < len(self._chunk.heads)]
        if heads and heads[-1].end > self._end:
            last = self._chunk.heads[-1] if self._whole else heads[-1]
            self._texts, self._end = dict(_decoded(up_to(self._chunk.data, last))), last.end
        for head in heads:
            xml = self._texts[head.id] if head.id in self._texts else _recovered(self._chunk, head, self._shared)
            if not isinstance(xml, str) or search.in_text(xml):
                yield head, xml


def record(
    head: Head, xml: str | Exception, offset: int, source: Origin, *, counted: bool = False
) -> EventRecord | Loss:
    """Return a record of the chunk that begins at ``offset`` in the file; a Loss if it cannot be decoded."""
    origin = replace(source, record=head.id, offset=offset + head.at)
    if isinstance(xml, str):
        time = clock.from_filetime(head.filetime)
        return EventRecord(origin=origin, xml=xml, record_id=head.id, time=time, counted=counted)
    return Loss(
        origin=origin,
        reason=f"the record cannot be decoded ({type(xml).__name__})",
        extent=f"1 record, {head.size:,} bytes",
        first_record=head.id,
        last_record=head.id,
    )


def _relevant(
    chunk: Chunk, offset: int, source: Origin, is_relevant: Callable[[str], bool]
) -> Iterator[EventRecord | Loss | int]:
    """Yield the records of a chunk; only the ids of those that are not relevant."""
    for head, xml in texts(chunk):
        other = isinstance(xml, str) and head.id and not is_relevant(xml)
        yield head.id if other else record(head, xml, offset, source)


def _concerning(
    chunk: Chunk, offset: int, source: Origin, selection: ChunkSelection
) -> Generator[EventRecord | CountedRecords | Loss, None, bool]:
    """Yield the relevant records of a chunk, the others as runs of ids; return whether all were others."""
    sound = chunk.promise.trusted and not chunk.faults and not chunk.gaps
    # An id of 0 cannot be counted in a run of ids, which begin at 1.
    if sound and all(head.id for head in chunk.heads) and not selection.may_be_relevant(chunk.data):
        records: Iterator[EventRecord | Loss | int] = (head.id for head in chunk.heads)
    else:
        records = _relevant(chunk, offset, source, selection.is_relevant)
    others = range(0)
    all_others = True
    for record_or_id in records:
        if not isinstance(record_or_id, int):
            all_others = all_others and isinstance(record_or_id, Loss)
            yield record_or_id
        elif others and record_or_id == others.stop:
            others = range(others.start, record_or_id + 1)
        else:
            yield from _others(others, source)
            others = range(record_or_id, record_or_id + 1)
    yield from _others(others, source)
    return all_others


def _others(ids: range, source: Origin) -> Iterator[CountedRecords]:
    if ids:
        origin, last = replace(source, record=ids[0]), ids[-1]
        yield CountedRecords(
            origin=origin, last_record=last, provider="", channel="", host="", first=None, last=None, event_ids={}
        )


def _decoded(chunk: bytes) -> Iterator[tuple[int, str]]:
    """Yield id and XML of all records that ``evtx`` decodes, in order; none if the chunk may unfold without end."""
    if unfolds(chunk):
        return
    records = evtx.PyEvtxParser(BytesIO(_ONE_CHUNK_HEADER + chunk), number_of_threads=1).records()
    for _ in range(MOST_RECORDS):  # after an error it may go on, or raise the same error for ever
        try:
            decoded_record = cast("dict[str, Any]", next(records))
        except StopIteration:
            break
        except (RuntimeError, OSError):
            continue
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # a panic in Rust: no Exception, and it cannot be imported
                raise
            break
        yield decoded_record["event_record_id"], decoded_record["data"]


def _recovered(chunk: Chunk, head: Head, shared: list[Any]) -> str | Exception:
    """Return a record as our own decoder renders it, or the error.

    ``shared`` holds what the chunk's records share; it is empty until the first of them needs our decoder.
    """
    from evtx_analyzer.read.evtx import binxml  # noqa: PLC0415  start-up cost: only where records are damaged

    try:
        shared[:] = shared or [binxml.Shared()]
        return binxml.render(Record(chunk.data, head.at, ChunkHeader(chunk.data, 0)), *shared)
    except Exception as error:  # noqa: BLE001  python-evtx raises any kind on damage, and this is the record's boundary
        return error
