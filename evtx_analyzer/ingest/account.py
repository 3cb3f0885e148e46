"""The account of one source: what was read of it, over which span, and what was lost.

It keeps "no event" apart from "not in the export" and from "could not be read".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from msgspec.structs import replace

from evtx_analyzer.capi2.same_log import record_id
from evtx_analyzer.errors import is_unforeseen, unforeseen
from evtx_analyzer.ingest.coverage import RecordIds, Span
from evtx_analyzer.ingest.examine import (
    EVENT_LOG,
    NEEDLE,
    OWN_REPORT,
    WITHOUT_FACTS,
    ExaminedSource,
    holds_code,
    is_event_log,
    is_text_log,
    with_digest,
)
from evtx_analyzer.ingest.streams import Contents, WatchedStream
from evtx_analyzer.model.events import Capi2Event, Event
from evtx_analyzer.model.findings import Coverage, SourceStatus
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRecords, CountedRows, LogNotice
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize import capi2
from evtx_analyzer.read import CAPTURE
from evtx_analyzer.read.not_read import NO_REFUSALS

_WHOLE_LOG = "give the log as the server wrote it, with its header lines"
_NO_FORMAT = f"holds the text 5.7.64 but is in no format that is read: {_WHOLE_LOG}"
_NO_CAPI2 = "named as an export of the CAPI2 log, and holds none: its beginning is damaged or overwritten"
_HOLDS_CODE = "; it holds the text 5.7.64"
# Names of the log's file in Windows, and of exports as people call them.
_CAPI2_FILE = re.compile(r"CAPI2[^/\\!]{0,255}\.(?:evtx|xml)$", re.IGNORECASE)
_LOG_FILE = re.compile(
    r"\.(?:evtx?|log|xml|csv|jsonl?|eml|msg|zip|7z|cab|tar|tgz|gz|bz2|xz)$"
    r"|(?:^|[/!\\])(?:SmtpSend|SmtpReceive|ProtocolLog|MessageTracking|Connectivity|SMTPSVC\d{1,5}|TransportRoles|winevt)"
    r"[/\\]",
    re.IGNORECASE,
)
# As Exchange and IIS name their logs.
_SERVER_LOG_FILE = re.compile(
    r"(?:^|[/!\\])(?:(?:SEND|RECV|MSGTRK[A-Z]{0,3}|CONNECTLOG)\d{8,10}-\d{1,9}|(?:u_)?(?:ex|in|nc)\d{6,8})\.log$",
    re.IGNORECASE,
)
_EVENT_LOG_FILE = re.compile(r"\.evtx$", re.IGNORECASE)
_MAILS = ("mail", "other-mail")
_NO_REPORT = "a mail that is no report of a mail server; files that are attached to it are listed on their own"
_WEB_LOG = re.compile(r"\.ibl$", re.IGNORECASE)
_NO_SMTP = (
    "a binary log of web sites (.ibl), which the SMTP service of IIS does not write: give the text log of its virtual "
    r"server, in %windir%\System32\LogFiles\SMTPSVC1"
)
_DISPLAY_TEXTS = re.compile(r"(?:^|/)LocaleMetaData/|\.MTA$", re.IGNORECASE)
_LOCAL_UNKNOWN = (
    "{} no UTC time (local time without --tz, a date that can be read in two ways, or none at all): refusals "
    "in them are listed and not paired"
)
_LOCAL_TWICE = (
    "{} in the hour that daylight saving repeats: both readings are noted, and refusals in them are paired "
    "only where the remote side's own clock settles which one is meant"
)
_CUT = "it was cut or replaced while it was analyzed: {:,} of {:,} bytes are left"
_APPENDED = "it was written to while it was analyzed: what was appended is not read"
_CHANGED = "its contents changed while it was analyzed: it is read more than once, and was not the same each time"
_ONE_CONTENTS = "what is in one of its contents only"
_MOST_FAILURES = 20
"""Records of one source on which this program may fail before the rest of the source is given up."""


class SourceAccount:
    """What was read and what was lost of a source; it takes memory for losses and gaps, not for records."""

    def __init__(self, source: ExaminedSource) -> None:
        self.examined = source
        self.records = 0
        self.spans: dict[str, Span] = {}
        self.notices: list[LogNotice] = []
        self.counted_chunks = bytearray()
        self._losses: dict[Loss, None] = {}
        self._bases: dict[str, Counter[str]] = {}
        self.other_ids = RecordIds()
        """The ids of records of other kinds in the same file, which are no holes."""
        self._first_read: Contents | None = None
        self._failures = 0

    # ------------------------------------------------------------------------------------------------ counting

    def count(self, kind: str, event: Event) -> None:
        """Count a typed event; its record was counted already."""
        span = self._span(kind)
        basis = getattr(event, "time_basis", "utc")
        if basis != "utc":
            self._bases.setdefault(kind, Counter())[basis] += 1
        if isinstance(event, Capi2Event):
            # A collector numbers records anew, so the id in the event is not that of its record.
            forwarded = record_id(event) != event.origin.record or event.channel == "ForwardedEvents"
            span.collected = span.collected or forwarded
            span.add(event.time, event.origin.record, event.host, event.event_id)
        elif not isinstance(event, StoreEntry) or event.certificate is not None:
            # The heading of a store is none of its certificates.
            span.add(getattr(event, "time", None), host=getattr(event, "host", ""))

    def count_records(self, run: CountedRecords) -> None:
        """Count records that are not read one by one: of CAPI2, or (without names) of no known kind."""
        assert run.origin.record is not None
        self.records += run.last_record - run.origin.record + 1
        if run.provider:
            self._span(capi2.KIND).add_counted(run)
        else:
            # Only .evtx files are counted; there all channels share one numbering.
            self.other_ids.add_run(run.origin.record, run.last_record)

    def count_rows(self, kind: str, rows: CountedRows, read: int = 0) -> None:
        """Count rows of which ``read`` are read, not only counted; without a ``kind``, they are of an unknown log."""
        self.records += rows.rows
        if kind:
            self._span(kind).add_rows(rows, read)

    def count_packets(self, rows: CountedRows | None, read: int, note: str) -> None:
        """Count the packets of a network trace, of which ``read`` were read whole; ``note`` is a remark on them."""
        self._span(CAPTURE).notes.append(note)
        if rows is not None:
            self.count_rows(CAPTURE, rows, read)

    def _span(self, kind: str) -> Span:
        span = self.spans.get(kind)
        if span is None:
            span = self.spans[kind] = Span(self.examined.source.path, kind, ring=self.examined.syntax == "evtx")
            span.notes.extend(self.examined.notes)
        return span

    # ------------------------------------------------------------------------------------------------ losses

    def lose(self, loss: Loss) -> None:
        """Record a loss; the same one in two readings counts once."""
        self._losses[loss] = None

    def stop(self, reason: str, extent: str) -> None:
        """Record as a loss that a reading ended too early."""
        self.lose(Loss(origin=self.examined.source.origin, reason=reason, extent=extent))

    def fail(self, error: BaseException, origin: Origin, extent: str) -> None:
        """Record a fault of this program as a loss."""
        self.lose(Loss(origin=origin, reason=unforeseen(self.examined.source.path, error), extent=extent))

    def fail_record(self, error: BaseException, origin: Origin) -> None:
        """Record that this program failed on one record; raise the error after too many of them."""
        self._failures += 1
        if self._failures > _MOST_FAILURES:
            raise error
        self.fail(error, origin, "1 record")

    @contextmanager
    def reading(self, stream: WatchedStream | None = None) -> Iterator[None]:
        """Make a loss of any error that ends a reading too early, so that other sources are still read."""
        try:
            yield
        except OSError as error:
            self.stop(f"reading stopped: {error.strerror or error}", self._behind(stream))
        except BaseException as error:
            if not is_unforeseen(error):
                raise
            self.fail(error, self.examined.source.origin, "the rest of the file")

    def compare(self, stream: WatchedStream) -> bool:
        """Finish a reading; return whether its bytes equal those of earlier readings.

        A difference is a loss, and so are bytes that were cut off or appended meanwhile.
        """
        appended, reference = stream.finish(), self._first_read or self.examined.contents
        contents, size = stream.contents, self.examined.length
        self._first_read = self._first_read or contents
        if stream.failure:
            self.stop(stream.failure, self._behind(stream))
        elif contents.size < size:
            self.stop(_CUT.format(contents.size, size), self._behind(stream))
        elif reference is not None and contents != reference:
            self.stop(_CHANGED, _ONE_CONTENTS)
        elif appended and not self.examined.part:
            self.stop(_APPENDED, self._behind(stream))
        return reference is None or contents == reference

    def settle(self) -> None:
        """Wait for the digest; if it is of other bytes than those analyzed, that is a loss and it is not shown."""
        before, read = self.examined, self._first_read
        source = with_digest(before)
        if source.error and read is not None:
            self.stop(source.error, "its digest")
            source = replace(before, pending=None)
        elif read is not None and source.contents not in (None, read):
            if before.pending is not None:
                cut = source.size < before.size
                self.stop(_CUT.format(source.size, before.size) if cut else _CHANGED, _ONE_CONTENTS)
            source = replace(source, sha256="", size=before.size)
        self.examined = source

    def _behind(self, stream: WatchedStream | None) -> str:
        size = stream.contents.size if stream is not None else 0
        return f"what is behind its first {size:,} bytes" if size else "the whole file"

    # ------------------------------------------------------------------------------------------------ results

    @property
    def kinds(self) -> list[str]:
        """The kinds of log that the source holds, as far as it was read."""
        return sorted(self.spans)

    @property
    def is_capi2_log(self) -> bool:
        """Whether it is a log of CAPI2, by its name or by what it shows, readable or not."""
        unread = self._losses or self.examined.syntax is None
        by_name = bool(unread and _CAPI2_FILE.search(self.examined.source.path))
        # Forms without facts are known by their provider: only CAPI2's are recognized.
        without_facts = any("CAPI2 event" in loss.reason for loss in self._losses)
        return by_name or without_facts or self.examined.syntax == WITHOUT_FACTS or capi2.KIND in self.spans

    def losses(self) -> list[Loss]:
        """Return all losses; a source that could not be read at all is one."""
        source, origin = self.examined, self.examined.source.origin
        reason, extent = source.error, source.source.extent
        if not reason and not source.duplicate_of and not self.spans and self._holds_code:
            return self._with_code(origin, f"the whole file, {source.size} bytes")
        if not reason and (reason := empty_log(source)):
            extent = f"the whole file, {source.size:,} bytes"
        unknown = source.syntax is None and source.size and not source.duplicate_of
        if not reason and unknown and _CAPI2_FILE.search(source.source.path):
            reason, extent = _NO_CAPI2, f"the whole file, {source.size} bytes"
        return [*self._losses, *([Loss(origin=origin, reason=reason, extent=extent)] if reason else [])]

    def _with_code(self, origin: Origin, extent: str) -> list[Loss]:
        """Return the losses of a source that holds a refusal and of which no row was understood.

        Where a loss says why all of it was not read, the text is added to that loss.
        """
        known = next((loss for loss in self._losses if loss.origin == origin), None)
        if known is not None:
            return [
                replace(loss, reason=loss.reason + _HOLDS_CODE) if loss is known and NEEDLE not in loss.reason else loss
                for loss in self._losses
            ]
        reason = "holds the text 5.7.64, and no row of it could be read" if self._losses else self._advice or _NO_FORMAT
        return [*self._losses, Loss(origin=origin, reason=reason, extent=extent)]

    def coverage(self) -> list[tuple[Span, Coverage]]:
        """Return the span that each kind of log in it covers."""
        return [(span, self._with_basis(span.coverage(self._losses, self.other_ids))) for span in self.spans.values()]

    def _with_basis(self, coverage: Coverage) -> Coverage:
        """Return the coverage with the time basis that its limits have where UTC times of rows are unknown."""
        counts = self._bases.get(coverage.kind, Counter())
        if counts["unknown"]:
            return replace(coverage, time_basis="unknown")
        return replace(coverage, time_basis="heading") if counts["heading"] else coverage

    def local_notes(self) -> dict[tuple[str, str], str]:
        """Return a note, by source and kind, where the UTC time of rows is not known."""
        notes = {}
        for kind, count in self._bases.items():
            texts = []
            if untimed := count["unknown"] + count["heading"]:
                rows = "1 row has" if untimed == 1 else f"{untimed} rows have"
                texts.append(_LOCAL_UNKNOWN.format(rows))
            if count["ambiguous"]:
                twice = count["ambiguous"]
                texts.append(_LOCAL_TWICE.format("1 row lies" if twice == 1 else f"{twice} rows lie"))
            if texts:
                notes[self.examined.source.path, kind] = "; ".join(texts)
        return notes

    def status(self) -> SourceStatus:
        """Return what became of the source."""
        source = self.examined
        status, reason = self._judge()
        kind = ", ".join(self.kinds) or (EVENT_LOG if is_event_log(source) else source.syntax or "unknown")
        return SourceStatus(
            path=source.source.path,
            kind=kind,
            sha256=source.sha256,
            size=source.size,
            status=status,  # type: ignore[arg-type]
            reason=reason,
            duplicate_of=source.duplicate_of,
        )

    def _judge(self) -> tuple[str, str]:
        source = self.examined
        if reason := source.error or empty_log(source):
            return "not-read", reason
        if source.duplicate_of and source.syntax is not None:
            return "read", f"the same contents as {source.duplicate_of}, counted once"
        if source.syntax is None:
            return "unrecognized", _why_unrecognized(source)
        return self._judge_read()

    def _judge_read(self) -> tuple[str, str]:
        """Return what became of a source whose syntax is known."""
        losses, count = self._losses, len(self._losses)
        without_kind = is_text_log(self.examined) and not self.spans
        if losses and (not self.records or without_kind):
            more = "" if count == 1 else f" (and {count - 1} more losses)"
            return "not-read", f"{next(iter(losses)).reason}{more}"
        if without_kind:
            if self._advice:
                return "unrecognized", self._advice
            if self.examined.syntax in _MAILS and not self._holds_code:
                return "unrecognized", _NO_REPORT
            reason = "a text log, but no row is of outbound SMTP, message tracking or a report"
            return "unrecognized", reason + (_HOLDS_CODE if self._holds_code else "")
        if losses:
            return "partial", f"{count} loss{'es' if count > 1 else ''}, listed under losses"
        if is_event_log(self.examined) and not self.records:
            return "read", "holds no event: the channel was disabled, empty or cleared"
        return "read", "" if self.spans else "no event of the CAPI2 Operational channel in it"

    @property
    def _advice(self) -> str:
        """What to give instead of a file that is known not to show refusals; empty for others."""
        return next((note for note in self.examined.notes if note in NO_REFUSALS), "")

    @cached_property
    def _holds_code(self) -> bool:
        """Whether it holds the text 5.7.64; the source is read once more where that is not known."""
        with self.reading():
            return holds_code(self.examined)
        return False


def _why_unrecognized(source: ExaminedSource) -> str:
    if not source.size:
        return "the file is empty (0 bytes)"
    if OWN_REPORT in source.notes:
        return OWN_REPORT
    if _WEB_LOG.search(source.source.path):
        return _NO_SMTP
    if _DISPLAY_TEXTS.search(source.source.path):
        return "ignored: display texts beside an export (LocaleMetaData), they hold no event"
    reason = "not a Windows event log (.evtx, XML), an SMTP log, message tracking or a non-delivery report"
    if source.notes:
        return source.notes[0]
    return f"{reason}{_HOLDS_CODE}: {_WHOLE_LOG}" if source.holds_code else reason


def empty_log(source: ExaminedSource) -> str:
    """Return why a source that was not recognized counts as a lost log; empty where it does not.

    A crash, a sparse copy or a failed transfer leaves files that should hold a log and hold nothing. Only logs that
    were read show that no refusal is in the input: such a file counts where its name or folder says that it is a log,
    and so does any file that is named as an event log, or as Exchange and IIS name theirs, and is none.
    """
    if source.syntax is not None or source.error:
        return ""
    if _LOG_FILE.search(source.source.path):
        if not source.size:
            return "the file is empty (0 bytes), and named as a log: nothing was exported, or nothing was transferred"
        if source.zeroed:
            return "the file begins with zeros only, as a crash or a copy that failed leaves it; copy it again"
    if source.size and not source.notes and _SERVER_LOG_FILE.search(source.source.path):
        return "named as a log of the server, and holds none: it was replaced, encrypted or changed; copy it again"
    if source.size and _EVENT_LOG_FILE.search(source.source.path):
        return "named as an event log (.evtx), and holds none: its beginning is damaged or overwritten"
    return ""
