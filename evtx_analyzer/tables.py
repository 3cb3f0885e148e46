"""Decoded events and operations as tables: rows of named, typed columns, written as CSV, JSON Lines or Parquet.

To add a kind of event: one entry in ``TABLES``. A column is ``text`` (empty where absent), ``number`` (null where
absent) or ``time`` (UTC, null where absent); results are upper-case hex without prefix beside their symbol. Rows of
CAPI2 come once, in order of time, however many exports of one log hold them; other kinds as they stand in their files.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, cast

import msgspec
from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.constants import TRUST_ERRORS, as_hex, flag_names, result_name
from evtx_analyzer.correlate.chains import operations
from evtx_analyzer.correlate.hosts import survey
from evtx_analyzer.correlate.logs import distinct
from evtx_analyzer.correlate.steps import summary
from evtx_analyzer.discover import Source, discover
from evtx_analyzer.errors import InputError, OptionError
from evtx_analyzer.intake import Examined, Ledger, examine, is_event_log, is_text_log, without_copies
from evtx_analyzer.model import (
    Capi2Event,
    ChainElement,
    Coverage,
    Loss,
    Match,
    MessageEvent,
    Operation,
    Origin,
    RecipientStatus,
    SmtpEvent,
    TimeBasis,
)
from evtx_analyzer.pipeline import Inputs, require_readable
from evtx_analyzer.report.document import sorted_losses

if TYPE_CHECKING:
    import pandas as pd

CAPI2 = "capi2"
Cell = str | int | datetime | None
Row = tuple[Cell, ...]
Format = Literal["csv", "jsonl", "parquet", "timesketch"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class RecipientRow(Struct, frozen=True):
    """One recipient of a message event: these kinds have one row per recipient."""

    event: MessageEvent
    recipient: RecipientStatus

    @property
    def time(self) -> datetime:
        """Time of the event."""
        return self.event.time


Timed = Capi2Event | SmtpEvent | RecipientRow


class Column(Struct, frozen=True):
    """One column: its name, its type, what it holds, and how it is taken from an event or operation."""

    name: str
    type: Literal["text", "number", "time"]
    meaning: str
    take: Callable[[Any], Cell]


class Table(Struct, frozen=True):
    """The columns of one kind, and a sentence per row for formats that want one."""

    columns: tuple[Column, ...]
    message: Callable[[Any], str]

    def rows(self, items: Iterable[Any]) -> Iterator[Row]:
        """One row per event or operation."""
        takes = [column.take for column in self.columns]
        return (tuple(take(item) for take in takes) for item in items)


class Filter(Struct, frozen=True, kw_only=True):
    """Which rows are wanted; all that is given must hold. Of operations, one of the events must fit."""

    ids: frozenset[int] = frozenset()
    results: frozenset[int] = frozenset()
    process: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    failed: bool = False

    @property
    def capi2_only(self) -> bool:
        """Whether it asks for what only CAPI2 events have."""
        return bool(self.ids or self.results or self.process or self.subject or self.failed)

    def accepts(self, event: Timed) -> bool:
        """Whether an event is wanted."""
        time = getattr(event, "time", None)
        if not (self._at(time) if time is not None else self.since is None and self.until is None):
            return False
        return not isinstance(event, Capi2Event) or self._accepts_capi2(event)

    def _accepts_capi2(self, event: Capi2Event) -> bool:
        return (
            (not self.ids or event.event_id in self.ids)
            and (not self.results or event.result in self.results)
            and (not self.failed or bool(event.result))
            and self._by(event.process)
            and self._about(_subjects(event))
        )

    def accepts_operation(self, item: Operation) -> bool:
        """Whether an operation is wanted: the time and process are its own, the rest is that of any event in it."""
        results = {int(step.result, 16) for step in item.steps if step.result}
        names = (item.subject, item.thumbprint, *(name for part in item.elements for name in _element_names(part)))
        return (
            self._at(item.time)
            and (not self.ids or any(step.event_id in self.ids for step in item.steps))
            and (not self.results or bool(results & self.results))
            and (not self.failed or bool(results - {0}))
            and self._by(item.process)
            and self._about(names)
        )

    def _at(self, time: datetime) -> bool:
        return (self.since is None or time >= self.since) and (self.until is None or time <= self.until)

    def _by(self, process: str) -> bool:
        wanted = self.process.casefold().removesuffix(".exe")
        return not wanted or process.casefold().removesuffix(".exe") == wanted

    def _about(self, names: Iterable[str]) -> bool:
        return not self.subject or any(self.subject.casefold() in name.casefold() for name in names)


EVERYTHING = Filter()
_NO_RECIPIENT = RecipientStatus(address="", text="")


class Extract(Struct, frozen=True, kw_only=True):
    """What was asked for, and the account of what was read and lost, which is complete when ``items`` is used up."""

    table: Table
    items: Iterable[Any]
    ledger: Ledger
    examined: tuple[Examined, ...]

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be read."""
        return sorted_losses(self.ledger.losses(self.examined))

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """The span that every source covers."""
        return tuple(self.ledger.coverage())


def extract(
    inputs: Inputs,
    *,
    kind: str = CAPI2,
    wanted: Filter = EVERYTHING,
    as_operations: bool = False,
    tz: str | None = None,
) -> Extract:
    """Events of one kind, or CAPI2 operations, from everything below ``inputs``. Raises InputError, OptionError.

    ``tz`` is the IANA time zone of logs in local time.
    """
    if kind not in TABLES:
        raise OptionError(f"--kind {kind}: expected one of {', '.join(TABLES)}")
    if kind != CAPI2 and (wanted.capi2_only or as_operations):
        raise OptionError(
            f"--kind {kind}: --id, --result, --process, --subject, --failed, --operations and --story are for {CAPI2}"
        )
    paths = [inputs] if isinstance(inputs, str | os.PathLike | Source) else list(inputs)
    every = without_copies(examine(source, _silent) for source in discover(paths))
    chosen = _chosen(every, kind)
    ledger = Ledger(clock.zone(tz) if tz else None)
    found = _events(chosen, ledger, kind)
    if kind != CAPI2:
        return Extract(table=TABLES[kind], items=filter(wanted.accepts, found), ledger=ledger, examined=chosen)
    events = [event for _, event in distinct(event for event in found if isinstance(event, Capi2Event))]
    require_readable(chosen, ledger)
    if not as_operations:
        items: list[Any] = [event for event in events if wanted.accepts(event)]
        return Extract(table=TABLES[kind], items=items, ledger=ledger, examined=chosen)
    hosts = survey(ledger.hosts(), [item.source.path for item in chosen])
    made = operations((Match(event=event, signals=()) for event in events), hosts, ledger.coverage())
    items = [item for item in made if wanted.accepts_operation(item)]
    return Extract(table=OPERATIONS, items=items, ledger=ledger, examined=chosen)


def _chosen(every: Sequence[Examined], kind: str) -> tuple[Examined, ...]:
    """Sources that may hold the kind, and those that cannot be opened; raises InputError where there is none."""
    right = is_event_log if kind == CAPI2 else is_text_log
    chosen = tuple(item for item in every if right(item) or item.error)
    if chosen:
        return chosen
    judge = Ledger()
    shown = "; ".join(f"{item.source.path}: {item.syntax or judge.status(item).reason}" for item in every[:3])
    expected = "a CAPI2 Operational export (.evtx or XML)" if kind == CAPI2 else f"logs of kind {kind}"
    raise InputError(f"nothing of kind {kind} in the input ({shown or 'no file'}); expected {expected}")


def _events(chosen: Iterable[Examined], ledger: Ledger, kind: str) -> Iterator[Timed]:
    for item in chosen:
        for event in () if item.error else ledger.events(item, _silent):
            if isinstance(event, Capi2Event):
                found: Iterable[Timed] = (event,) if kind == CAPI2 else ()
            elif isinstance(event, SmtpEvent):
                found = (event,) if event.kind == kind else ()
            elif isinstance(event, MessageEvent) and event.kind == kind:
                found = (RecipientRow(event, part) for part in event.recipients or (_NO_RECIPIENT,))
            else:
                found = ()
            yield from found


def read_capi2(inputs: Inputs) -> pd.DataFrame:
    """All CAPI2 events of a file, a folder or several of these, one row per record, in order of time.

    Columns are those of ``TABLES["capi2"]``: ``text`` is pandas' ``string``, ``number`` is ``Int64``, ``time`` is
    ``datetime64[us, UTC]``. ``attrs["losses"]`` and ``attrs["coverage"]`` say what could not be read and what span
    the exports cover. Raises InputError where nothing can be read.
    """
    found = extract(inputs)
    table = frame(found.table, found.items)
    table.attrs["losses"] = list(msgspec.to_builtins(found.losses))
    table.attrs["coverage"] = list(msgspec.to_builtins(found.coverage))
    return table


def frame(table: Table, items: Iterable[Any]) -> pd.DataFrame:
    """A table as pandas data, with its documented types."""
    # Here and not above: most commands do without pandas, and it is slow to import.
    import pandas as pd  # noqa: PLC0415

    columns = list(zip(*table.rows(items), strict=True)) or [() for _ in table.columns]
    types = {"text": "string", "number": "Int64"}
    return pd.DataFrame(
        {
            column.name: pd.Series(pd.to_datetime(list(values), utc=True)).astype("datetime64[us, UTC]")
            if column.type == "time"
            else pd.Series(list(values), dtype=types[column.type])
            for column, values in zip(table.columns, columns, strict=True)
        }
    )


def _silent(path: str, size: int) -> None:
    """No progress is shown."""


# ------------------------------------------------------------------------------------------------- writing


def format_for(path: str | os.PathLike[str]) -> Format:
    """The format that a file's suffix stands for; raises OptionError for an unknown one."""
    if os.fspath(path).lower().endswith(".timesketch.jsonl"):
        return "timesketch"
    suffix = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122  a name, not a file
    if suffix not in SUFFIXES:
        raise OptionError(
            f"{path}: the suffix picks the format; expected one of {', '.join(SUFFIXES)}, or use --format"
        )
    return SUFFIXES[suffix]


def write(found: Extract, form: Format, stream: BinaryIO, *, bom: bool = False) -> None:
    """Write a table in UTF-8; ``bom`` puts a byte order mark before CSV, which Excel needs to see that it is UTF-8."""
    if form == "parquet":
        _write_parquet(found, stream)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        if form == "jsonl":
            _write_jsonl(found, text)
        else:
            text.write("\ufeff" if bom else "")
            _write_csv(found, text, timesketch=form == "timesketch")
    finally:
        text.detach()


def _write_csv(found: Extract, stream: TextIO, *, timesketch: bool) -> None:
    names = [column.name for column in found.table.columns]
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(["message", "datetime", "timestamp_desc", *names] if timesketch else names)
    first = names.index("time")
    for item in found.items:
        (row,) = _marked(found.table.rows([item]), names)
        # Timesketch's three columns: https://timesketch.org/guides/user/import-from-json-csv/
        lead: Row = (found.table.message(item), row[first], _time_title(row, names)) if timesketch else ()
        writer.writerow([_cell(value) for value in (*lead, *row)])


def _time_title(row: Row, names: Sequence[str]) -> str:
    """What the time of a row is; Timesketch takes all for UTC, so one that is not says so."""
    remark = clock.remark(_basis(row, names))
    return f"Event logged ({remark})" if remark else "Event logged"


def _marked(rows: Iterable[Row], names: Sequence[str]) -> Iterator[Row]:
    """Rows in which times whose UTC time is not known have no offset, so that no reader takes them for UTC."""
    if "time_basis" not in names:
        yield from rows
        return
    for row in rows:
        if clock.is_known(_basis(row, names)):
            yield row
        else:
            yield tuple(value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row)


def _basis(row: Row, names: Sequence[str]) -> TimeBasis:
    return cast("TimeBasis", row[names.index("time_basis")]) if "time_basis" in names else "utc"


def _write_jsonl(found: Extract, stream: TextIO) -> None:
    names = [column.name for column in found.table.columns]
    rows = (dict(zip(names, row, strict=True)) for row in _marked(found.table.rows(found.items), names))
    stream.writelines(msgspec.json.encode(row).decode("utf-8") + "\n" for row in rows)


def _write_parquet(found: Extract, stream: BinaryIO) -> None:
    try:
        import pyarrow  # noqa: F401, ICN001, PLC0415  an extra
    except ImportError:
        raise OptionError(
            "Parquet needs pyarrow, which is not installed; run: pip install 'evtx-analyzer[parquet]'"
        ) from None
    frame(found.table, found.items).to_parquet(stream, engine="pyarrow", index=False)


def _cell(value: Cell) -> str | int:
    """A CSV cell; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    formula = isinstance(value, str) and len(value) > 1 and value.startswith(_FORMULA)
    return f"'{value}" if formula else value


# ------------------------------------------------------------------------------------------------- columns


def _joined(values: Iterable[str]) -> str:
    return " ".join(values)


def _chain(elements: Sequence[ChainElement]) -> str:
    return " > ".join(
        f"{item.subject} [{item.thumbprint}]{''.join(f' {name}' for name in item.errors)}" for item in elements
    )


def _element_names(element: ChainElement) -> tuple[str, str]:
    return element.subject, element.thumbprint


def _subjects(event: Capi2Event) -> tuple[str, ...]:
    """Names and thumbprints that an event is about."""
    names = [event.subject, event.thumbprint]
    names += [name for item in event.certificates for name in (item.subject, item.thumbprint, *item.alternate_names)]
    names += [name for item in event.chain for name in _element_names(item)]
    if event.revocation:
        names += [event.revocation.subject, event.revocation.thumbprint]
    return tuple(names)


def _of_retrieval(name: str) -> Callable[[Capi2Event], Cell]:
    """A field of whichever of retrieval and revocation the event has."""
    return lambda event: str(getattr(event.retrieval or event.revocation, name, "") or "")


def _tried(event: Capi2Event) -> str:
    attempts = event.retrieval.attempts if event.retrieval else ()
    return "; ".join(f"{item.name} {item.error} {item.error_name}" for item in attempts if item.error)


def _origin_columns(take: Callable[[Any], Origin]) -> tuple[Column, ...]:
    return (
        Column("source", "text", "file, relative to the input", lambda item: take(item).source),
        Column("member", "text", "member of an archive", lambda item: take(item).member or ""),
        Column("offset", "number", "byte offset in the file", lambda item: take(item).offset),
    )


_EVENT_COLUMNS = (
    Column("time", "time", "TimeCreated, UTC", lambda item: item.time),
    Column("host", "text", "Computer as written", lambda item: item.host),
    Column("record", "number", "EventRecordID", lambda item: item.origin.record),
    Column("event_id", "number", "EventID", lambda item: item.event_id),
    Column("event", "text", "root element of UserData", lambda item: item.name),
    Column("level", "number", "Level (2 error, 4 information); not the result", lambda item: item.level),
    Column("process", "text", "ProcessName", lambda item: item.process),
    Column("process_id", "number", "ProcessID", lambda item: item.process_id),
    Column("thread_id", "number", "ThreadID", lambda item: item.thread_id),
    Column("user", "text", "SID of the impersonated user", lambda item: item.user),
    Column("result", "text", "Result/@value, hex; empty where the event has none", lambda item: as_hex(item.result)),
    Column("result_name", "text", "symbol of the result", lambda item: result_name(item.result)),
    Column("subject", "text", "subjectName (a display name)", lambda item: item.subject),
    Column("thumbprint", "text", "SHA-1 of the certificate", lambda item: item.thumbprint),
    Column("policy", "text", "policy of event 30", lambda item: item.policy_name),
    Column("server_name", "text", "serverName of an SSL policy", lambda item: item.server_name),
    Column("auth_type", "text", "authType of an SSL policy", lambda item: item.auth_type),
    Column("ignore_flags", "text", "checks an SSL policy leaves out", lambda item: _joined(item.ignore_flags)),
    Column("flags", "text", "Flags, decoded from the value", lambda item: _joined(item.flags)),
    Column("chain_index", "number", "Status/@chainIndex of event 30", lambda item: item.status[0]),
    Column("element_index", "number", "Status/@elementIndex of event 30", lambda item: item.status[1]),
    Column("chain_error", "text", "ErrorStatus of the chain of event 11, hex", lambda item: as_hex(item.chain_error)),
    Column(
        "chain_errors",
        "text",
        "ErrorStatus by name",
        lambda item: _joined(flag_names(item.chain_error or 0, TRUST_ERRORS)),
    ),
    Column("chain", "text", "elements, leaf first, with their errors", lambda item: _chain(item.chain)),
    Column("engine", "text", "chain engine: user or machine", lambda item: item.engine),
    Column("usages", "text", "OIDs asked for", lambda item: _joined(item.usages)),
    Column(
        "issuer_thumbprint",
        "text",
        "issuer in events 41 and 42",
        lambda item: item.revocation.issuer_thumbprint if item.revocation else "",
    ),
    Column(
        "location", "text", "where a list came from", lambda item: item.revocation.location if item.revocation else ""
    ),
    Column(
        "rejected", "text", "check a list failed (42)", lambda item: item.revocation.rejected if item.revocation else ""
    ),
    Column("url", "text", "URL of events 41, 42, 51 and 53", _of_retrieval("url")),
    Column(
        "answer",
        "text",
        "first line of the response (53)",
        lambda item: item.retrieval.answer if item.retrieval else "",
    ),
    Column("attempts", "text", "failed attempts on the way (53)", _tried),
    Column("target", "text", "file of events 81 and 82", lambda item: item.target),
    Column(
        "certificates",
        "text",
        "thumbprints in event 90",
        lambda item: _joined(part.thumbprint for part in item.certificates),
    ),
    Column("task_id", "text", "TaskId", lambda item: item.task_id),
    Column("sequence", "number", "SeqNumber", lambda item: item.sequence),
    Column("chain_ref", "text", "chainRef", lambda item: item.chain_ref),
    Column("channel", "text", "Channel as written", lambda item: item.channel),
    Column("notes", "text", "where the event contradicts itself, or is not known", lambda item: "; ".join(item.notes)),
    Column("summary", "text", "the event in words", summary),
    *_origin_columns(lambda item: item.origin),
)

_SMTP_COLUMNS = (
    Column("time", "time", "time of the row, UTC", lambda item: item.time),
    Column(
        "time_basis",
        "text",
        "utc; zone, ambiguous: by --tz; heading: #Date; unknown: local",
        lambda item: item.time_basis,
    ),
    Column("host", "text", "machine, where the log names it", lambda item: item.host),
    Column("connector", "text", "connector or virtual server", lambda item: item.connector),
    Column("session", "text", "session id", lambda item: item.session),
    Column("sequence", "number", "sequence-number", lambda item: item.sequence),
    Column("local", "text", "local endpoint", lambda item: item.local),
    Column("remote", "text", "remote endpoint", lambda item: item.remote),
    Column("direction", "text", "Exchange's symbol: + - > < *", lambda item: item.direction),
    Column("text", "text", "command, reply or information", lambda item: item.text),
    Column("context", "text", "context", lambda item: item.context),
    Column("line", "number", "line in the file", lambda item: item.origin.line),
    *_origin_columns(lambda item: item.origin),
)

_MESSAGE_COLUMNS = (
    Column("time", "time", "time of the event, UTC", lambda item: item.time),
    Column(
        "time_basis",
        "text",
        "utc; zone, ambiguous: by --tz; heading: #Date; unknown: local",
        lambda item: item.event.time_basis,
    ),
    Column("host", "text", "server that wrote or reported", lambda item: item.event.host),
    Column("event", "text", "source and event-id of tracking; ndr", lambda item: item.event.layer),
    Column("message_id", "text", "id of the message", lambda item: item.event.message_id),
    Column("sender", "text", "sender", lambda item: item.event.sender),
    Column("recipient", "text", "recipient", lambda item: item.recipient.address),
    Column("status", "text", "reply of the remote side", lambda item: item.recipient.text),
    Column("remote_name", "text", "remote server", lambda item: item.recipient.remote_name or item.event.remote_name),
    Column("remote", "text", "remote address", lambda item: item.recipient.remote or item.event.remote),
    Column("connector", "text", "connector", lambda item: item.event.connector),
    Column("session", "text", "session id", lambda item: item.event.session),
    Column("line", "number", "line in the file", lambda item: item.event.origin.line),
    *_origin_columns(lambda item: item.event.origin),
)

_OPERATION_COLUMNS = (
    Column("time", "time", "time of its main event, UTC", lambda item: item.time),
    Column("end", "time", "time of its last event, UTC", lambda item: item.end),
    Column("host", "text", "machine", lambda item: item.host),
    Column("id", "text", "id of the operation", lambda item: item.id),
    Column("parent", "text", "id of the signature check it was done for", lambda item: item.parent or ""),
    Column("kind", "text", "chain, trust, catalog, revocation, retrieval ...", lambda item: item.kind),
    Column("process", "text", "ProcessName", lambda item: item.process),
    Column("process_id", "number", "ProcessID", lambda item: item.process_id),
    Column("subject", "text", "subjectName of the certificate", lambda item: item.subject),
    Column("thumbprint", "text", "SHA-1 of the certificate", lambda item: item.thumbprint),
    Column("issuer", "text", "issuer, from event 90", lambda item: item.certificate.issuer if item.certificate else ""),
    Column(
        "not_before", "time", "from event 90", lambda item: item.certificate.not_before if item.certificate else None
    ),
    Column("not_after", "time", "from event 90", lambda item: item.certificate.not_after if item.certificate else None),
    Column("policy", "text", "policy of event 30", lambda item: item.policy),
    Column("server_name", "text", "serverName", lambda item: item.server_name),
    Column("result", "text", "result, hex", lambda item: item.result),
    Column("result_name", "text", "symbol of the result", lambda item: item.result_name),
    Column("chain_result", "text", "result of event 11, hex", lambda item: item.chain_result),
    Column("chain_errors", "text", "ErrorStatus of the chain", lambda item: _joined(item.chain_status)),
    Column("chain", "text", "elements, leaf first, with their errors", lambda item: _chain(item.elements)),
    Column(
        "missing_issuer",
        "text",
        "issuer not found",
        lambda item: item.missing_issuer.subject if item.missing_issuer else "",
    ),
    Column(
        "revocation",
        "text",
        "revocation results",
        lambda item: "; ".join(f"{part.subject} {part.result or part.rejected}" for part in item.revocations),
    ),
    Column(
        "retrieval",
        "text",
        "URLs and results",
        lambda item: "; ".join(f"{part.where} {part.url} {part.result}" for part in item.retrievals),
    ),
    Column("target", "text", "file of a signature check", lambda item: item.target),
    Column("chain_ref", "text", "chainRef", lambda item: item.chain_ref),
    Column("task_id", "text", "TaskId of its main event", lambda item: item.task_id),
    Column("events", "number", "number of its events", lambda item: len(item.steps)),
    Column(
        "complete",
        "text",
        "yes, or no where a part is not in the export",
        lambda item: "yes" if item.complete else "no",
    ),
    Column("notes", "text", "what is missing and why; contradictions", lambda item: "; ".join(item.notes)),
    Column("record", "number", "EventRecordID of its main event", lambda item: item.origin.record),
    *_origin_columns(lambda item: item.origin),
)


def _operation_message(item: Operation) -> str:
    return next((step.text for step in item.steps if step.origin == item.origin), item.kind)


def _smtp_message(item: SmtpEvent) -> str:
    return f"{item.direction} {item.text}"


def _delivery_message(item: RecipientRow) -> str:
    return f"{item.event.layer}: {item.recipient.address} {item.recipient.text}"


OPERATIONS = Table(_OPERATION_COLUMNS, _operation_message)
# In the order in which messages list them.
TABLES: dict[str, Table] = {
    CAPI2: Table(_EVENT_COLUMNS, summary),
    "send-connector": Table(_SMTP_COLUMNS, _smtp_message),
    "receive-connector": Table(_SMTP_COLUMNS, _smtp_message),
    "iis-smtp": Table(_SMTP_COLUMNS, _smtp_message),
    "message-tracking": Table(_MESSAGE_COLUMNS, _delivery_message),
    "ndr": Table(_MESSAGE_COLUMNS, _delivery_message),
}
