"""The typed events of a source; each record that is read, counted or lost goes to the source's account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast
from zoneinfo import ZoneInfo

from evtx_analyzer.errors import is_unforeseen
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.streams import Progress, WatchedStream, silent
from evtx_analyzer.ingest.tallies import BULK_KINDS, Tallies
from evtx_analyzer.model.events import Event, WholeSession
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import CountedRecords, CountedRows, CountedSessions, EventRecord, SessionRows
from evtx_analyzer.normalize import is_relevant, may_be_relevant, normalize, send_log
from evtx_analyzer.normalize.capi2 import is_capi2_channel, log_notice
from evtx_analyzer.read import Record, read
from evtx_analyzer.read.evtx.search import Search
from evtx_analyzer.read.exchange_log import SEND_LOG
from evtx_analyzer.smtp.blocks import Layouts, read_blocks
from evtx_analyzer.smtp.connections import ConnectionReader
from evtx_analyzer.smtp.fold import ProtocolReader

if TYPE_CHECKING:
    from evtx_analyzer.rules import Rules

_LARGE = 1 << 20


class Selection(NamedTuple):
    """Which records of a source one reading wants.

    Only records that are ``wanted`` are typed; without that, all are, and are counted, as the first reading does.
    ``search`` finds the chunks of an .evtx file that may hold what is
    looked for: in other chunks, records that nothing else needs are only counted. With ``layouts``, sessions of large
    logs that went well are yielded together as ``CountedSessions``, others as ``WholeSession`` where all their rows
    stand in one file.
    """

    wanted: Callable[[Record], bool] | None = None
    search: Search | None = None
    layouts: Layouts | None = None


EVERYTHING = Selection()


class ReadingOptions(NamedTuple):
    """How all sources of a case are read: the zone of local times, unpacking in a thread of its own, progress.

    ``zones`` are those in manifests of the collector, by path; ``zone`` is that of the user, and is preferred.
    """

    zone: ZoneInfo | None = None
    ahead: bool = False
    progress: Progress = silent
    zones: Mapping[str, ZoneInfo] = MappingProxyType({})


PLAIN = ReadingOptions()


class Reading(NamedTuple):
    """What all readings of a case share; with ``prefilter``, records that no rule matches are counted only."""

    accounts: Sequence[SourceAccount]
    rules: Rules
    tallies: Tallies
    options: ReadingOptions
    prefilter: bool


def events(account: SourceAccount, options: ReadingOptions = PLAIN, select: Selection = EVERYTHING) -> Iterator[Event]:
    """Yield the typed events of a source that are selected, in the order in which they stand.

    Faults of the source, and of this program, raise nothing: they become losses in the account.
    """
    stream = watched(account, options)
    with account.reading(stream), closing(stream):
        for readable in _readables(account, stream, select):
            event = _event(account, readable, select, options)
            if event is not None:
                yield event
        account.compare(stream)


def watched(account: SourceAccount, options: ReadingOptions) -> WatchedStream:
    """Return the bytes of a source for one more reading."""
    return WatchedStream(account.examined.source, account.examined.length, options.progress, ahead=options.ahead)


def typed(account: SourceAccount, record: Record, options: ReadingOptions, *, counting: bool = False) -> Event | None:
    """Return the typed event of a record; None for a record of no known kind, and for one that is lost."""
    try:
        normalized = normalize(record, options.zone or options.zones.get(account.examined.source.path))
    except BaseException as error:
        if not is_unforeseen(error):
            raise
        account.fail_record(error, record.origin)
        return None
    if normalized is None:
        if counting and isinstance(record, EventRecord):
            _count_other(account, record)
        return None
    kind, event = normalized
    if isinstance(event, Loss):
        account.lose(event)
        return None
    if counting:
        account.count(kind, event)
    return event


def _event(account: SourceAccount, readable: object, select: Selection, options: ReadingOptions) -> Event | None:
    """Return the event of what the reader yields, if it has one; losses and counts go to the account."""
    match readable:
        case CountedRecords():
            account.count_records(readable)
        case CountedRows():
            account.count_rows(BULK_KINDS[readable.log] if readable.log else "", readable)
        case CountedSessions():
            return readable
        case SessionRows():
            return _session(account, readable)
        case Loss():
            account.lose(readable)
        case _ if select.wanted is None or select.wanted(cast("Record", readable)):
            counting = select.wanted is None and not getattr(readable, "counted", False)
            account.records += counting
            return typed(account, cast("Record", readable), options, counting=counting)
    return None


def _count_other(account: SourceAccount, record: EventRecord) -> None:
    """Count a record of no known kind by its id, and keep its notice if it has one about the CAPI2 log."""
    notice = log_notice(record)
    if notice is not None:
        account.notices.append(notice)
    # In an .evtx all channels share one numbering; in XML each event has the number of its own log.
    if account.examined.syntax == "evtx" and record.record_id:
        account.other_ids.add(record.record_id)


def _session(account: SourceAccount, rows: SessionRows) -> WholeSession:
    """Return the typed rows of a whole session, which are counted here."""
    event = send_log.normalize_session(rows)
    times = [row.time for row in event.rows]
    counted = CountedRows(origin=rows.origin, log=SEND_LOG, rows=len(times), first=min(times), last=max(times))
    account.count_rows(send_log.KIND, counted, read=len(times))
    return event


def _readables(account: SourceAccount, stream: WatchedStream, select: Selection) -> Iterator[object]:
    """Yield what the reader of the source's syntax yields: records, counts, losses."""
    source, origin = account.examined, account.examined.source.origin
    assert source.syntax is not None
    # Readers only read forwards.
    data = cast("BinaryIO", stream)
    if select.layouts is not None and source.syntax in ("exchange-log", "w3c-log") and source.size >= _LARGE:
        reader = (ConnectionReader if source.syntax == "w3c-log" else ProtocolReader)(origin, select.layouts)
        return read_blocks(data, reader)
    if select.search is None or source.syntax != "evtx":
        return read(source.syntax, data, origin)
    from evtx_analyzer.read.evtx.reader import ChunkSelection  # noqa: PLC0415  start-up cost: only for event logs

    chunks = ChunkSelection(select.search, is_capi2_channel, account.counted_chunks, is_relevant, may_be_relevant)
    return read(source.syntax, data, origin, chunks)
