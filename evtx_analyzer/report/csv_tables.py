"""Write refusals, certificate checks, links, replies and common traits as flat tables, as CSV or Parquet.

    id,incident,time,local_time,time_basis,other_time,host,host_basis,kind,...
    R-67567e8e03,I-a9d77377e0,2016-12-01T03:09:55.774000Z,,utc,,CORP-SMTP1,assumed,send-connector,...
    R-1b0ff42e39,I-58cc0a6f02,,2026-03-10T09:14:02,unknown,,EX01,row,message-tracking,...

Columns have the names of the JSON report, because a refusal may stand in logs of several kinds with different names.
Times are UTC. If the UTC time of a refusal is not known, ``time`` is empty and ``local_time`` holds the digits of its
log. ``tables.write`` says how cells are written. In Parquet, each row of a batch's report begins with its bundle.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import datetime
from operator import attrgetter, methodcaller
from typing import Any, Literal

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.columns import Column, Table, joined, of_part
from evtx_analyzer.errors import OptionError, ReportError
from evtx_analyzer.model.evidence import Incident, Link, Operation, Rejection, ReplyText
from evtx_analyzer.model.origin import describe_origin
from evtx_analyzer.report.document import Report
from evtx_analyzer.tables.write import write as write_table


class ReportTable(Struct, frozen=True):
    """A table of the report: its columns, and a function that returns the entries for its rows."""

    columns: tuple[Column, ...]
    items: Callable[[Report], Iterable[Any]]


class _Refusal(Struct, frozen=True):
    """A refusal with its incident."""

    incident: Incident
    rejection: Rejection

    def utc(self, name: str) -> datetime | None:
        """Return a time of the refusal; None if it is not known in UTC, because the column is of UTC times."""
        time: datetime | None = getattr(self.rejection, name)
        return time if clock.is_known(self.rejection.time_basis) else None

    @property
    def local_time(self) -> str:
        """The digits of a time that is not known in UTC; empty for others."""
        return "" if self.utc("time") else self.rejection.time.replace(tzinfo=None).isoformat()


class _Pair(_Refusal, frozen=True):
    """A link with both of its sides."""

    link: Link
    operation: Operation


class _Reply(Struct, frozen=True):
    """A distinct reply with its incident."""

    incident: Incident
    reply: ReplyText

    def utc(self, name: str) -> datetime | None:
        """Return the first or last time of the reply; None if it is not known in UTC."""
        time: datetime = getattr(self.reply, name)
        return time if clock.is_known(getattr(self.reply, f"{name}_basis")) else None


def _pairs(report: Report) -> Iterable[_Pair]:
    operations = {operation.id: operation for operation in report.operations}
    for incident in report.incidents:
        linked = {link.rejection for link in incident.every_link}
        # Without links the folded refusals need not be decoded.
        every = incident.every_rejection() if linked else ()
        rejections = {rejection.id: rejection for rejection in every if rejection.id in linked}
        for link in incident.every_link:
            yield _Pair(incident, rejections[link.rejection], link, operations[link.operation])


def _certificate_columns(side: str) -> tuple[Column, ...]:
    """Return the columns of the certificate that was ``sent`` or ``received``."""

    def of(name: str, absent: str | None = "") -> Callable[[_Refusal], Any]:
        return lambda refusal: getattr(getattr(refusal.rejection, side), name, absent)

    return (
        Column(f"{side}_thumbprint", "text", f"SHA-1 of the certificate {side}", of("thumbprint")),
        Column(f"{side}_subject", "text", "its subject", of("subject")),
        Column(f"{side}_issuer", "text", "its issuer", of("issuer")),
        Column(f"{side}_not_before", "time", "valid from", of("not_before", None)),
        Column(f"{side}_not_after", "time", "valid until", of("not_after", None)),
    )


REJECTIONS = ReportTable(
    (
        Column("id", "text", "id of the refusal", attrgetter("rejection.id")),
        Column("incident", "text", "id of its incident", attrgetter("incident.id")),
        Column("time", "time", "time, where it is known in UTC", methodcaller("utc", "time")),
        Column("local_time", "text", "digits of the log where it is not", attrgetter("local_time")),
        Column("time_basis", "text", "how the time became UTC", attrgetter("rejection.time_basis")),
        Column("other_time", "time", "second reading of a time that is ambiguous", methodcaller("utc", "other_time")),
        Column("host", "text", "machine that was refused", attrgetter("rejection.host")),
        Column("host_basis", "text", "how the machine is known", attrgetter("rejection.host_basis")),
        Column("kind", "text", "kind of log", attrgetter("rejection.kind")),
        Column("connector", "text", "connector or virtual server", attrgetter("rejection.connector")),
        Column("session", "text", "session id", attrgetter("rejection.session")),
        Column("local_endpoint", "text", "local address:port", attrgetter("rejection.local_endpoint")),
        Column("remote_endpoint", "text", "remote address:port", attrgetter("rejection.remote_endpoint")),
        Column("remote_name", "text", "name of the remote server", attrgetter("rejection.remote_name")),
        Column("helo", "text", "name in EHLO or HELO", attrgetter("rejection.helo")),
        Column("starttls", "flag", "whether the log shows STARTTLS", attrgetter("rejection.starttls")),
        Column("handshake_time", "time", "start of the TLS handshake", methodcaller("utc", "handshake_time")),
        Column("tls", "text", "TLS as the log tells it", attrgetter("rejection.tls")),
        *_certificate_columns("sent"),
        *_certificate_columns("received"),
        Column("mail_from", "text", "sender", attrgetter("rejection.mail_from")),
        Column("rcpt_to", "text", "recipients", attrgetter("rejection.rcpt_to")),
        Column("message_id", "text", "id of the message", attrgetter("rejection.message_id")),
        Column("stage", "text", "command that was refused", attrgetter("rejection.stage")),
        Column("reply", "text", "the reply", attrgetter("rejection.reply")),
        Column("attribution", "text", "code in the reply, such as ATTR36", attrgetter("rejection.attribution")),
        Column(
            "untrusted_root_hint",
            "flag",
            "whether the reply says untrustedroot",
            attrgetter("rejection.untrusted_root_hint"),
        ),
        Column("origin", "text", "where it stands", lambda refusal: describe_origin(refusal.rejection.origin)),
    ),
    lambda report: (
        _Refusal(incident, rejection) for incident in report.incidents for rejection in incident.every_rejection()
    ),
)
OPERATIONS = ReportTable(
    (
        Column("id", "text", "id of the check", attrgetter("id")),
        Column("time", "time", "time of its main event", attrgetter("time")),
        Column("host", "text", "machine", attrgetter("host")),
        Column("process", "text", "ProcessName", attrgetter("process")),
        Column("process_id", "number", "ProcessID", attrgetter("process_id")),
        Column("thumbprint", "text", "SHA-1 of the certificate", attrgetter("thumbprint")),
        Column("subject", "text", "subjectName", attrgetter("subject")),
        Column("policy", "text", "policy of event 30", attrgetter("policy")),
        Column("result", "text", "result, hex", attrgetter("result")),
        Column("result_name", "text", "symbol of the result", attrgetter("result_name")),
        Column("chain_ref", "text", "chainRef", attrgetter("chain_ref")),
        Column("task_id", "text", "TaskId", attrgetter("task_id")),
        Column("chain_result", "text", "result of event 11, hex", attrgetter("chain_result")),
        Column("chain_status", "text", "ErrorStatus of the chain", joined("chain_status")),
        Column(
            "elements", "text", "chain, leaf first", lambda check: " > ".join(part.subject for part in check.elements)
        ),
        Column("missing_issuer", "text", "issuer not found", of_part("missing_issuer", "subject")),
        Column("server_name", "text", "serverName", attrgetter("server_name")),
        Column("signals", "text", "signals that it matches", joined("signals")),
        Column(
            "missing_events",
            "text",
            "event ids not in the export",
            lambda check: " ".join(map(str, check.missing_events)),
        ),
        Column("origin", "text", "where its main event stands", lambda check: describe_origin(check.origin)),
        Column("chain_origin", "text", "where event 11 stands", lambda check: describe_origin(check.chain_origin)),
    ),
    lambda report: report.operations,
)
LINKS = ReportTable(
    (
        Column("incident", "text", "id of the incident", attrgetter("incident.id")),
        Column("rejection", "text", "id of the refusal", attrgetter("link.rejection")),
        Column("operation", "text", "id of the check", attrgetter("link.operation")),
        Column("rule", "text", "link rule", attrgetter("link.rule")),
        Column("basis", "text", "thumbprint, subject or time", attrgetter("link.basis")),
        Column("host_relation", "text", "whether both are of one machine", attrgetter("link.host")),
        Column("anchor", "text", "handshake or refusal", attrgetter("link.anchor")),
        Column("rejection_time", "time", "time of the refusal", methodcaller("utc", "time")),
        Column("handshake_time", "time", "start of the TLS handshake", methodcaller("utc", "handshake_time")),
        Column("operation_time", "time", "time of the check", attrgetter("operation.time")),
        Column("delta_seconds", "decimal", "check minus anchor", attrgetter("link.delta_seconds")),
        Column("host", "text", "machine that was refused", attrgetter("incident.host")),
        Column("thumbprint", "text", "SHA-1 of the checked certificate", attrgetter("operation.thumbprint")),
        Column("result", "text", "result of the check, hex", attrgetter("operation.result")),
        Column("result_name", "text", "symbol of the result", attrgetter("operation.result_name")),
        Column("broken_by", "text", "later success of the check", lambda pair: describe_origin(pair.link.broken_by)),
    ),
    _pairs,
)
REPLIES = ReportTable(
    (
        Column("incident", "text", "id of the incident", attrgetter("incident.id")),
        Column("text", "text", "the reply", attrgetter("reply.text")),
        Column("count", "number", "how often", attrgetter("reply.count")),
        Column("first_time", "time", "first time, where it is known in UTC", methodcaller("utc", "first")),
        Column("last_time", "time", "last time, where it is known in UTC", methodcaller("utc", "last")),
        Column("first_basis", "text", "how the first time became UTC", attrgetter("reply.first_basis")),
        Column("last_basis", "text", "how the last time became UTC", attrgetter("reply.last_basis")),
        Column("unknown_zone_count", "number", "times not known in UTC", attrgetter("reply.unknown_zone_count")),
    ),
    lambda report: (_Reply(incident, reply) for incident in report.incidents for reply in incident.replies),
)
COMMON = ReportTable(
    (
        Column("trait", "text", "what all refused mail shares", attrgetter("trait")),
        Column("value", "text", "its value", attrgetter("value")),
        Column("refused", "number", "refusals that have it", attrgetter("refused")),
        Column("accepted", "number", "accepted messages that have it too", attrgetter("accepted")),
        Column("compared", "number", "accepted messages that were compared", attrgetter("compared")),
    ),
    lambda report: report.common,
)


def rendered(table: ReportTable, report: Report, form: Literal["csv", "parquet"]) -> bytes:
    """Return a table of a report as CSV or Parquet. Raises ReportError for Parquet if pyarrow is not installed."""
    out = io.BytesIO()
    columns = table.columns
    if form == "parquet" and report.batch is not None:
        # Parquet readers take many files as one table, whose rows must name their bundles.
        bundle = report.batch.bundle
        columns = (Column("bundle", "text", "name of the bundle", lambda _: bundle), *columns)
    try:
        write_table(Table(columns), table.items(report), form, out)
    except OptionError as error:
        raise ReportError(str(error)) from None
    return out.getvalue()
