"""Refusals, certificate checks, links, replies and common traits as flat tables for CSV and Parquet, columns alike.

    id,incident,time,local_time,time_basis,other_time,host,host_basis,kind,...
    R-67567e8e03,I-a9d77377e0,2016-12-01T03:09:55.774000Z,,utc,,CORP-SMTP1,assumed,send-connector,...
    R-1b0ff42e39,I-58cc0a6f02,,2026-03-10T09:14:02,unknown,,EX01,row,message-tracking,...

Times are UTC. A refusal whose UTC time is not known has none: ``local_time`` holds the digits of its log.

A CSV cell that a spreadsheet would take for a formula (it begins with ``= + - @``, a tab or a line end) is
written with ``'`` before it, as OWASP advises; numbers stay numbers. Parquet holds the values as they are, times as
timestamps in UTC; in a report of a batch, each row begins with the name of its bundle.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.errors import ReportError
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Incident, Link, Operation, Rejection, ReplyText
from evtx_analyzer.model.origin import describe_origin
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language

Value = str | int | float | bool | datetime | None
Row = dict[str, Value]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_TYPES = {
    "delta_seconds": "float64",
    **dict.fromkeys(("starttls", "untrusted_root_hint"), "bool_"),
    **dict.fromkeys(("process_id", "count", "refused", "accepted", "compared", "unknown_zone_count"), "int64"),
}


class Table(Struct, frozen=True):
    """A table of the report: its columns, also where it has no row, and what makes its rows."""

    columns: tuple[str, ...]
    rows: Callable[[Report], Iterable[Row]]


def _refused(report: Report) -> Iterable[Row]:
    return (_rejection(incident, item) for incident in report.incidents for item in incident.rejections)


def _checked(report: Report) -> Iterable[Row]:
    return (_operation(item) for item in report.operations)


def _replied(report: Report) -> Iterable[Row]:
    return (_reply(incident, reply) for incident in report.incidents for reply in incident.replies)


def _shared(report: Report) -> Iterable[Row]:
    return (msgspec.structs.asdict(trait) for trait in report.common)


def _linked(report: Report) -> Iterable[Row]:
    checks = {item.id: item for item in report.operations}
    for incident in report.incidents:
        refused = {item.id: item for item in incident.rejections}
        for link in incident.links:
            yield _link(incident, link, refused[link.rejection], checks[link.operation])


def _rejection(incident: Incident, item: Rejection) -> Row:
    return {
        "id": item.id,
        "incident": incident.id,
        "time": _utc(item.time, item),
        "local_time": "" if clock.is_known(item.time_basis) else item.time.replace(tzinfo=None).isoformat(),
        "time_basis": item.time_basis,
        "other_time": _utc(item.other_time, item),
        "host": item.host,
        "host_basis": item.host_basis,
        "kind": item.kind,
        "connector": item.connector,
        "session": item.session,
        "local_endpoint": item.local_endpoint,
        "remote_endpoint": item.remote_endpoint,
        "remote_name": item.remote_name,
        "helo": item.helo,
        "starttls": item.starttls,
        "handshake_time": _utc(item.handshake_time, item),
        "tls": item.tls,
        **_certificate("sent", item.sent),
        **_certificate("received", item.received),
        "mail_from": item.mail_from,
        "rcpt_to": item.rcpt_to,
        "message_id": item.message_id,
        "stage": item.stage,
        "reply": item.reply,
        "attribution": item.attribution,
        "untrusted_root_hint": item.untrusted_root_hint,
        "origin": describe_origin(item.origin),
    }


def _utc(time: datetime | None, item: Rejection) -> datetime | None:
    """A time of a refusal where it is UTC: a column of UTC times holds no local ones."""
    return time if clock.is_known(item.time_basis) else None


def _certificate(side: str, item: Certificate | None) -> Row:
    return {
        f"{side}_thumbprint": item.thumbprint if item else "",
        f"{side}_subject": item.subject if item else "",
        f"{side}_issuer": item.issuer if item else "",
        f"{side}_not_before": item.not_before if item else None,
        f"{side}_not_after": item.not_after if item else None,
    }


def _operation(item: Operation) -> Row:
    return {
        "id": item.id,
        "time": item.time,
        "host": item.host,
        "process": item.process,
        "process_id": item.process_id,
        "thumbprint": item.thumbprint,
        "subject": item.subject,
        "policy": item.policy,
        "result": item.result,
        "result_name": item.result_name,
        "chain_ref": item.chain_ref,
        "task_id": item.task_id,
        "chain_result": item.chain_result,
        "chain_status": " ".join(item.chain_status),
        "elements": " > ".join(part.subject for part in item.elements),
        "missing_issuer": item.missing_issuer.subject if item.missing_issuer else "",
        "server_name": item.server_name,
        "signals": " ".join(item.signals),
        "missing_events": " ".join(str(number) for number in item.missing_events),
        "origin": describe_origin(item.origin),
        "chain_origin": describe_origin(item.chain_origin),
    }


def _link(incident: Incident, link: Link, rejection: Rejection, check: Operation) -> Row:
    return {
        "incident": incident.id,
        "rejection": link.rejection,
        "operation": link.operation,
        "rule": link.rule,
        "basis": link.basis,
        "host_relation": link.host,
        "anchor": link.anchor,
        "rejection_time": _utc(rejection.time, rejection),
        "handshake_time": _utc(rejection.handshake_time, rejection),
        "operation_time": check.time,
        "delta_seconds": link.delta_seconds,
        "host": incident.host,
        "thumbprint": check.thumbprint,
        "result": check.result,
        "result_name": check.result_name,
        "broken_by": describe_origin(link.broken_by),
    }


def _reply(incident: Incident, reply: ReplyText) -> Row:
    first_known, last_known = clock.is_known(reply.first_basis), clock.is_known(reply.last_basis)
    return {
        "incident": incident.id,
        "text": reply.text,
        "count": reply.count,
        "first_time": reply.first if first_known else None,
        "last_time": reply.last if last_known else None,
        "first_basis": reply.first_basis,
        "last_basis": reply.last_basis,
        "unknown_zone_count": reply.unknown_zone_count,
    }


_CERTIFICATE = ("thumbprint", "subject", "issuer", "not_before", "not_after")
REJECTIONS = Table(
    (
        *("id", "incident", "time", "local_time", "time_basis", "other_time", "host", "host_basis", "kind"),
        *("connector", "session", "local_endpoint"),
        *("remote_endpoint", "remote_name", "helo", "starttls", "handshake_time", "tls"),
        *(f"{side}_{name}" for side in ("sent", "received") for name in _CERTIFICATE),
        *("mail_from", "rcpt_to", "message_id", "stage", "reply", "attribution", "untrusted_root_hint", "origin"),
    ),
    _refused,
)
OPERATIONS = Table(
    (
        *("id", "time", "host", "process", "process_id", "thumbprint", "subject", "policy", "result", "result_name"),
        *("chain_ref", "task_id", "chain_result", "chain_status", "elements", "missing_issuer", "server_name"),
        *("signals", "missing_events", "origin", "chain_origin"),
    ),
    _checked,
)
LINKS = Table(
    (
        *("incident", "rejection", "operation", "rule", "basis", "host_relation", "anchor", "rejection_time"),
        *("handshake_time", "operation_time", "delta_seconds", "host", "thumbprint", "result", "result_name"),
        "broken_by",
    ),
    _linked,
)

REPLIES = Table(
    ("incident", "text", "count", "first_time", "last_time", "first_basis", "last_basis", "unknown_zone_count"),
    _replied,
)
COMMON = Table(("trait", "value", "refused", "accepted", "compared"), _shared)


def to_csv(table: Table) -> Callable[[Report, Language], str]:
    """A renderer that writes a table as CSV (RFC 4180 quoting, header first, lines end in LF)."""

    def render(report: Report, say: Language = ENGLISH) -> str:  # noqa: ARG001  column names are ids
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([_cell(row[name]) for name in table.columns] for row in table.rows(report))
        return out.getvalue()

    return render


def to_parquet(table: Table) -> Callable[[Report, Language], bytes]:
    """A renderer that writes a table as Parquet; raises ReportError where pyarrow is not installed."""

    def render(report: Report, say: Language = ENGLISH) -> bytes:  # noqa: ARG001  column names are ids
        try:
            # Here and not above: pyarrow is an extra, and costs time to import.
            import pyarrow as pa  # noqa: PLC0415
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise ReportError('Parquet needs pyarrow: pip install "evtx-analyzer[parquet]"') from None
        rows, columns = list(table.rows(report)), table.columns
        if report.batch is not None:
            # Files of many bundles are read as one table.
            rows = [{"bundle": report.batch.bundle, **row} for row in rows]
            columns = ("bundle", *columns)
        schema = pa.schema([(name, _arrow_type(name, pa)) for name in columns])
        out = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), out, compression="zstd")
        return out.getvalue()

    return render


def _arrow_type(name: str, arrow: Any) -> Any:  # noqa: ANN401  pyarrow carries no types
    if name == "time" or (name.endswith(("_time", "_not_before", "_not_after")) and name != "local_time"):
        return arrow.timestamp("us", tz="UTC")
    return getattr(arrow, _TYPES.get(name, "string"))()


def _cell(value: Value) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe(value) if isinstance(value, str) else value


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula; NUL is left out, for CSV readers stop at it."""
    text = text.replace("\0", "")
    return f"'{text}" if text.startswith(_FORMULA) else text
