"""Sources to typed events, with an account of what was read and what was lost.

The account (``Ledger``) is what keeps "no event" apart from "not in the export" and from "could not be read".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import BinaryIO, NamedTuple, cast
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from evtx_analyzer.capi2.same_log import record_id
from evtx_analyzer.errors import InputError
from evtx_analyzer.ingest.coverage import RecordIds, Span, joined, with_notices
from evtx_analyzer.ingest.examine import (
    _EVENT_LOG,
    _HOLDS_CODE,
    _WITHOUT_FACTS,
    ExaminedSource,
    Progress,
    _Counted,
    _failure,
    _opened,
    _tells_of_refusals,
    is_event_log,
    is_text_log,
)
from evtx_analyzer.ingest.tallies import Tallies
from evtx_analyzer.model.events import Capi2Event, Event, WholeSession
from evtx_analyzer.model.findings import Coverage, SourceStatus
from evtx_analyzer.model.origin import Loss, display_name, sort_key
from evtx_analyzer.model.records import (
    CountedRecords,
    CountedRows,
    CountedSessions,
    EventRecord,
    LogNotice,
    SessionRows,
)
from evtx_analyzer.normalize import capi2, iis_smtp, is_relevant, may_be_relevant, normalize, send_log
from evtx_analyzer.normalize.capi2 import is_capi2_channel
from evtx_analyzer.normalize.log_cleared import log_notice
from evtx_analyzer.read import CAPTURE, Readable, Record, pieces, read
from evtx_analyzer.read.evtx.search import Search
from evtx_analyzer.read.exchange_log import RECEIVE_LOG, SEND_LOG
from evtx_analyzer.read.pieces import Piece
from evtx_analyzer.read.w3c_log import W3C_LOG
from evtx_analyzer.rules import Rules
from evtx_analyzer.smtp.blocks import Layouts, read_blocks
from evtx_analyzer.smtp.connections import ConnectionReader
from evtx_analyzer.smtp.fold import ProtocolReader

_LARGE = 1 << 20
_ROW_KINDS = {SEND_LOG: send_log.KIND, RECEIVE_LOG: send_log.RECEIVE_KIND, W3C_LOG: iis_smtp.KIND}
# As Windows names the log's file, and as people name an export of it.
_CAPI2_FILE = re.compile(r"CAPI2[^/\\!]*\.(?:evtx|xml)$", re.IGNORECASE)
_DISPLAY_TEXTS = re.compile(r"(?:^|/)LocaleMetaData/|\.MTA$", re.IGNORECASE)

_LOCAL_UNKNOWN = (
    "{} rows have no UTC time (local time without --tz, a date that can be read in two ways, or none at all): refusals "
    "in them are listed and not paired"
)

_LOCAL_TWICE = (
    "{} rows lie in the hour that daylight saving repeats: both readings are noted, and refusals in them are paired "
    "only where the remote side's own clock settles which one is meant"
)

Wanted = Callable[[Record], bool]


class Ledger:
    """What was read and what was lost, source by source; grows with losses and gaps, not with records."""

    def __init__(self, zone: ZoneInfo | None = None, *, ahead: bool = False) -> None:
        """``zone`` is that of logs in local time; with ``ahead``, unpacking goes on in a thread of its own."""
        self._zone, self._ahead = zone, ahead
        self._spans: dict[tuple[str, str], Span] = {}
        self._kinds: dict[str, set[str]] = {}
        self._bases: dict[tuple[str, str], Counter[str]] = {}
        self._others: dict[str, RecordIds] = {}
        self._notices: list[LogNotice] = []
        self._losses: dict[str, list[Loss]] = {}
        self._records: dict[str, int] = {}
        self._counted: dict[str, bytearray] = {}

    def events(
        self,
        item: ExaminedSource,
        progress: Progress,
        wanted: Wanted | None = None,
        search: Search | None = None,
        layouts: Layouts | None = None,
    ) -> Iterator[Event]:
        """Yield the typed events of a source; with ``wanted``, only of records that it accepts, not counted again.

        ``search`` finds the chunks of an .evtx file that may hold what is looked for: of the others the records that
        need not be looked at for anything else are counted only, and not given. With ``layouts``, sessions that went
        well are given together as ``CountedSessions``, others as ``WholeSession`` where they stand in one file.
        """
        first_time = wanted is None
        try:
            with closing(_opened(item.source, ahead=self._ahead)) as stream:
                counted = cast("BinaryIO", _Counted(stream, item.source.path, progress))
                for thing in self._readable(item, counted, search, layouts):
                    if isinstance(thing, CountedRecords):
                        self._add(item, thing)
                    elif isinstance(thing, CountedRows):
                        self._add_rows(item, thing)
                    elif isinstance(thing, CountedSessions):
                        yield thing
                    elif isinstance(thing, SessionRows):
                        yield self._add_session(item, thing)
                    elif isinstance(thing, Loss):
                        self._lose(thing, first_time)
                    elif wanted is None or wanted(thing):
                        counts = first_time and not getattr(thing, "counted", False)
                        event = self._normalized(item, thing, counts)
                        if event is not None:
                            yield event
                self._stopped(item, _failure(stream))
        except OSError as error:
            self._stopped(item, f"reading stopped: {error.strerror or error}")

    def _readable(
        self,
        item: ExaminedSource,
        stream: BinaryIO,
        search: Search | None,
        layouts: Layouts | None,
    ) -> Iterator[Readable | SessionRows | CountedRows | CountedSessions]:
        assert item.syntax is not None
        if layouts is not None and item.syntax in ("exchange-log", "w3c-log") and item.size >= _LARGE:
            reader = (ConnectionReader if item.syntax == "w3c-log" else ProtocolReader)(item.source.origin, layouts)
            return read_blocks(stream, reader)
        if search is None or item.syntax != "evtx":
            return read(item.syntax, stream, item.source.origin)
        from evtx_analyzer.read.evtx.reader import Selection  # noqa: PLC0415  start-up cost: only where an event log is read

        counted = self._counted.setdefault(item.source.path, bytearray())
        selection = Selection(search, is_capi2_channel, counted, is_relevant, may_be_relevant)
        return read(item.syntax, stream, item.source.origin, selection)

    def pieces(self, item: ExaminedSource, progress: Progress, search: Search | None) -> Iterator[Piece]:
        """Yield the pieces of an event log that was read before; those that the search finds are ``selected``."""
        assert item.syntax is not None
        try:
            with closing(_opened(item.source, ahead=self._ahead)) as stream:
                counted = cast("BinaryIO", _Counted(stream, item.source.path, progress))
                known = bytes(self._counted.get(item.source.path, b""))
                yield from pieces(item.syntax, counted, item.source.origin, search, known)
                self._stopped(item, _failure(stream))
        except OSError as error:
            self._stopped(item, f"reading stopped: {error.strerror or error}")

    @contextmanager
    def opened(self, item: ExaminedSource, progress: Progress) -> Iterator[BinaryIO]:
        """Give the bytes of a source that has no records of its own; that it ends too early is noted."""
        try:
            with closing(_opened(item.source, ahead=self._ahead)) as stream:
                yield cast("BinaryIO", _Counted(stream, item.source.path, progress))
                self._stopped(item, _failure(stream))
        except OSError as error:
            self._stopped(item, f"reading stopped: {error.strerror or error}")

    def add_trace(
        self, item: ExaminedSource, rows: CountedRows | None, read: int, losses: Iterable[Loss], note: str
    ) -> None:
        """Account for a network trace: its packets, how many of them were read whole, what was lost and what is in."""
        span = self._span(item, CAPTURE)
        span.notes.append(note)
        if rows is not None:
            self._records[item.source.path] = rows.rows
            span.add_session_rows(rows)
            span.counted = rows.rows - read
        for loss in losses:
            self._lose(loss, first_time=True)

    def typed(self, item: ExaminedSource, record: Record) -> Event | None:
        """Return the typed event of a record that was read before; it is not counted again."""
        return self._normalized(item, record, first_time=False)

    def _add(self, item: ExaminedSource, found: CountedRecords) -> None:
        """Count records that are not given: of the CAPI2 channel, or (without names) of no known kind."""
        assert found.origin.record is not None
        path = item.source.path
        self._records[path] = self._records.get(path, 0) + found.last_record - found.origin.record + 1
        if not found.provider:
            # Only .evtx files are counted; there all channels share one numbering.
            self._others.setdefault(path, RecordIds()).add_run(found.origin.record, found.last_record)
            return
        self._span(item, capi2.KIND).add_counted(found)

    def _add_rows(self, item: ExaminedSource, found: CountedRows) -> None:
        """Count rows of a protocol log that were not given."""
        path = item.source.path
        self._records[path] = self._records.get(path, 0) + found.rows
        if found.log:
            self._span(item, _ROW_KINDS[found.log]).add_rows(found)

    def _add_session(self, item: ExaminedSource, found: SessionRows) -> WholeSession:
        """The typed rows of a whole session, counted."""
        event = send_log.normalize_session(found)
        times = [row.time for row in event.rows]
        path = item.source.path
        self._records[path] = self._records.get(path, 0) + len(times)
        rows = CountedRows(origin=found.origin, log=SEND_LOG, rows=len(times), first=min(times), last=max(times))
        self._span(item, send_log.KIND).add_session_rows(rows)
        return event

    def _stopped(self, item: ExaminedSource, reason: str) -> None:
        """Note that a source ended too early, in whichever reading; the same end in two readings is one loss."""
        extent = f"what is behind its first {item.size:,} bytes"
        loss = Loss(origin=item.source.origin, reason=reason, extent=extent)
        if reason and loss not in self._losses.get(display_name(loss.origin), ()):
            self._lose(loss, first_time=True)

    def _normalized(self, item: ExaminedSource, record: Record, first_time: bool) -> Event | None:
        path = item.source.path
        self._records[path] = self._records.get(path, 0) + first_time
        found = normalize(record, self._zone)
        if found is None:
            if first_time and isinstance(record, EventRecord) and (notice := log_notice(record)) is not None:
                self._notices.append(notice)
            # In an .evtx all channels share one numbering; in XML each event has the number of its own log.
            if first_time and item.syntax == "evtx" and isinstance(record, EventRecord) and record.record_id:
                self._others.setdefault(path, RecordIds()).add(record.record_id)
            return None
        kind, event = found
        if isinstance(event, Loss):
            self._lose(event, first_time)
            return None
        if first_time:
            self._count(item, kind, event)
        return event

    def _count(self, item: ExaminedSource, kind: str, event: Event) -> None:
        path = item.source.path
        span = self._span(item, kind)
        basis = getattr(event, "time_basis", "utc")
        if basis != "utc":
            self._bases.setdefault((path, kind), Counter())[basis] += 1
        if isinstance(event, Capi2Event):
            span.collected = (
                span.collected or record_id(event) != event.origin.record or event.channel == "ForwardedEvents"
            )
            span.add(event.time, event.origin.record, event.host, event.event_id)
        else:
            span.add(getattr(event, "time", None), host=getattr(event, "host", ""))

    def _span(self, item: ExaminedSource, kind: str) -> Span:
        key = (item.source.path, kind)
        span = self._spans.get(key)
        if span is None:
            span = self._spans[key] = Span(*key, ring=item.syntax == "evtx")
            self._kinds.setdefault(item.source.path, set()).add(kind)
            span.notes.extend(item.notes)
        return span

    def _lose(self, loss: Loss, first_time: bool) -> None:
        if first_time:
            self._losses.setdefault(display_name(loss.origin), []).append(loss)

    def losses(self, examined: Iterable[ExaminedSource]) -> list[Loss]:
        """Return all losses, among them those of sources that could not be read at all."""
        found = [loss for losses in self._losses.values() for loss in losses]
        for item in examined:
            origin = item.source.origin
            if item.error:
                found.append(Loss(origin=origin, reason=item.error, extent=item.source.extent))
            elif not item.duplicate_of and not self.kinds(item) and _tells_of_refusals(item):
                reason = "holds the text 5.7.64 but is in no format that is read"
                found.append(Loss(origin=origin, reason=reason, extent=f"the whole file, {item.size} bytes"))
            elif item.syntax is None and item.size and not item.duplicate_of and _CAPI2_FILE.search(item.source.path):
                reason = "named as an export of the CAPI2 log, and holds none: its beginning is damaged or overwritten"
                found.append(Loss(origin=origin, reason=reason, extent=f"the whole file, {item.size} bytes"))
        return found

    def unread(self, examined: Iterable[ExaminedSource]) -> frozenset[str]:
        """``capi2`` where the input holds CAPI2 logs, by name or by what they show, and none that could be read."""
        logs = [item for item in examined if not item.duplicate_of and self._is_capi2_log(item)]
        return frozenset({capi2.KIND} if logs and not any(capi2.KIND in self.kinds(item) for item in logs) else ())

    def _is_capi2_log(self, item: ExaminedSource) -> bool:
        losses = self._losses.get(item.source.path, ())
        named_so = bool(_CAPI2_FILE.search(item.source.path)) and item.size > 0
        by_name = named_so and (bool(losses) or item.syntax is None)
        # Forms without facts are known by their provider: only CAPI2's are recognized.
        without_facts = item.syntax == _WITHOUT_FACTS or any("CAPI2 event" in loss.reason for loss in losses)
        return by_name or without_facts or capi2.KIND in self.kinds(item)

    def coverage(self) -> list[Coverage]:
        """Return the coverage of every source and kind, in the order of sources."""
        spans = [span for _, span in sorted(self._spans.items())]
        made = [
            (span, span.coverage(self._losses.get(span.source, ()), self._others.get(span.source))) for span in spans
        ]
        return [self._with_basis(item) for item in with_notices(joined(made), self._notices)]

    def _with_basis(self, item: Coverage) -> Coverage:
        """The span; where the UTC time of any row is not known, neither are the limits of all."""
        counts = self._bases.get((item.source, item.kind), Counter())
        if counts["unknown"]:
            return replace(item, time_basis="unknown")
        return replace(item, time_basis="heading") if counts["heading"] else item

    def local_notes(self) -> dict[tuple[str, str], str]:
        """Return a note, by source and kind, where the UTC time of rows is not known."""
        notes = {}
        for key, count in self._bases.items():
            texts = []
            if untimed := count["unknown"] + count["heading"]:
                texts.append(_LOCAL_UNKNOWN.format(untimed))
            if count["ambiguous"]:
                texts.append(_LOCAL_TWICE.format(count["ambiguous"]))
            if texts:
                notes[key] = "; ".join(texts)
        return notes

    def hosts(self) -> list[tuple[str, str]]:
        """Return every machine that rows name, with the source that names it."""
        return sorted({(span.source, host) for span in self._spans.values() for host in span.hosts})

    def status(self, item: ExaminedSource) -> SourceStatus:
        """Return what became of a source."""
        status, reason = self._judge(item)
        kinds = self.kinds(item)
        kind = ", ".join(kinds) or (_EVENT_LOG if is_event_log(item) else item.syntax or "unknown")
        return SourceStatus(
            path=item.source.path,
            kind=kind,
            sha256=item.sha256,
            size=item.size,
            status=status,  # type: ignore[arg-type]
            reason=reason,
            duplicate_of=item.duplicate_of,
        )

    def kinds(self, item: ExaminedSource) -> list[str]:
        """Return the kinds of log that a source holds, as far as it was read."""
        return sorted(self._kinds.get(item.source.path, ()))

    def _judge(self, item: ExaminedSource) -> tuple[str, str]:
        if item.error:
            return "not-read", item.error
        if item.duplicate_of and item.syntax is not None:
            return "read", f"the same contents as {item.duplicate_of}, counted once"
        if item.syntax is None:
            return "unrecognized", _why_unrecognized(item)
        return self._judge_read(item)

    def _judge_read(self, item: ExaminedSource) -> tuple[str, str]:
        """What became of a source whose syntax is known."""
        lost, kinds = self._losses.get(item.source.path, []), self.kinds(item)
        records = self._records.get(item.source.path, 0)
        if lost and (not records or (is_text_log(item) and not kinds)):
            more = "" if len(lost) == 1 else f" (and {len(lost) - 1} more losses)"
            return "not-read", f"{lost[0].reason}{more}"
        if is_text_log(item) and not kinds:
            reason = "a text log, but no row is of outbound SMTP, message tracking or a report"
            return "unrecognized", reason + (_HOLDS_CODE if _tells_of_refusals(item) else "")
        if lost:
            return "partial", f"{len(lost)} loss{'es' if len(lost) > 1 else ''}, listed under losses"
        if is_event_log(item) and not records:
            return "read", "holds no event: the channel was disabled, empty or cleared"
        return "read", "" if kinds else "no event of the CAPI2 Operational channel in it"


def _why_unrecognized(item: ExaminedSource) -> str:
    if not item.size:
        return "the file is empty (0 bytes)"
    if _DISPLAY_TEXTS.search(item.source.path):
        return "ignored: display texts beside an export (LocaleMetaData), they hold no event"
    reason = "not a Windows event log (.evtx, XML), an SMTP log, message tracking or a non-delivery report"
    return reason + (_HOLDS_CODE if item.holds_code else "")


class Reading(NamedTuple):
    """What all readings share; with ``prefilter``, what no rule can match is counted and not looked at."""

    examined: Sequence[ExaminedSource]
    rules: Rules
    ledger: Ledger
    notes: Tallies
    tell: Progress
    prefilter: bool


def require_readable(examined: Sequence[ExaminedSource], ledger: Ledger) -> None:
    """Raise InputError where no source could be read; after all of them were."""
    statuses = [ledger.status(item) for item in examined]
    if any(item.status in ("read", "partial") for item in statuses):
        return
    expected = "expected a CAPI2 Operational export (.evtx or XML), SMTP logs, message tracking or reports"
    if not statuses:
        raise InputError(f"the input holds no file; {expected}")
    shown = "; ".join(f"{item.path}: {item.reason}" for item in statuses[:3])
    more = f"; and {len(statuses) - 3} more" if len(statuses) > 3 else ""  # noqa: PLR2004  three are shown
    raise InputError(f"nothing in the input could be read ({shown}{more}); {expected}")


def sorted_losses(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Return the losses in order of place, each once: an export is read twice, and so are its losses."""
    distinct = set(losses)
    return tuple(sorted(distinct, key=lambda item: (sort_key(item.origin), item.reason, item.extent)))
