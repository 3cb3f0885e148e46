"""The columns of SMTP rows by the names of their logs, and those of message tracking and non-delivery reports.

Send and Receive connectors: protocol-logging.md (OfficeDocs-Exchange). IIS SMTP: the W3C names, whatever the format.
Message tracking: message-tracking.md (OfficeDocs-Exchange). Reports: RFC 3464. Both have one row per recipient.
"""

from __future__ import annotations

from collections.abc import Callable

from evtx_analyzer.columns import Cell, Column, Table, origin_columns, shown_time
from evtx_analyzer.model.events import SmtpEvent

_BASIS = "utc; zone, ambiguous: by --tz; heading: #Date; unknown: local"
_TIME_COLUMNS = (
    Column("time", "time", "time of the row, UTC", lambda row: shown_time(row.time, row.time_basis)),
    Column("time_basis", "text", _BASIS, lambda row: row.time_basis),
)
_PLACE_COLUMNS = (
    Column("line", "number", "line in the file", lambda row: row.origin.line),
    *origin_columns(lambda row: row.origin),
)


def _smtp_message(row: SmtpEvent) -> str:
    return f"{row.direction} {row.text}"


CONNECTOR_ROWS = Table(
    (
        *_TIME_COLUMNS,
        Column("host", "text", "machine, where the log names it", lambda row: row.host),
        Column("connector-id", "text", "connector", lambda row: row.connector, ("connector",)),
        Column("session-id", "text", "unique per server process only", lambda row: row.session, ("session",)),
        Column("sequence-number", "number", "from 0 in each session", lambda row: row.sequence, ("sequence",)),
        Column("local-endpoint", "text", "local address:port", lambda row: row.local, ("local",)),
        Column("remote-endpoint", "text", "remote address:port", lambda row: row.remote, ("remote",)),
        Column("event", "text", "+ - > < *", lambda row: row.direction, ("direction",)),
        Column("data", "text", "command, reply or information", lambda row: row.text, ("text",)),
        Column("context", "text", "what the row is about", lambda row: row.context),
        *_PLACE_COLUMNS,
    ),
    _smtp_message,
)


def _written(name: str) -> Callable[[SmtpEvent], Cell]:
    return lambda row: row.values.get(name, "")


IIS_ROWS = Table(
    (
        *_TIME_COLUMNS,
        Column(
            "other_time",
            "time",
            "second reading of a time that the clock shows twice",
            lambda row: shown_time(row.other_time, row.time_basis),
        ),
        Column("s-computername", "text", "machine, where the log names it", lambda row: row.host, ("host",)),
        Column("s-sitename", "text", "virtual server", lambda row: row.connector, ("connector", "service")),
        Column("c-ip", "text", "remote address", lambda row: row.remote, ("remote",)),
        Column("cs-username", "text", "OutboundConnectionCommand or -Response", _written("cs-username")),
        Column("cs-method", "text", "verb as written", _written("cs-method")),
        Column("cs-uri-query", "text", "argument or reply as written", _written("cs-uri-query")),
        Column("time-taken", "number", "milliseconds since the connect", lambda row: row.elapsed_ms, ("elapsed_ms",)),
        Column("direction", "text", "> command, < reply", lambda row: row.direction),
        Column("text", "text", "verb and argument, or the reply, with its blanks", lambda row: row.text),
        *_PLACE_COLUMNS,
    ),
    _smtp_message,
)


def _messages(*columns: Column) -> Table:
    """Return a table with one row for each recipient of a message; ``columns`` stand between time and place."""
    return Table(
        (
            Column(
                "time", "time", "time of the event, UTC", lambda row: shown_time(row.event.time, row.event.time_basis)
            ),
            Column("time_basis", "text", _BASIS, lambda row: row.event.time_basis),
            *columns,
            Column("line", "number", "line in the file", lambda row: row.event.origin.line),
            *origin_columns(lambda row: row.event.origin),
        ),
        lambda row: f"{row.event.layer}: {row.recipient.address} {row.recipient.text}",
    )


MESSAGE_ROWS = _messages(
    Column("host", "text", "server that wrote the row", lambda row: row.event.host),
    Column("event", "text", "what the row tells of", lambda row: row.event.layer),
    Column("message_id", "text", "id of the message", lambda row: row.event.message_id),
    Column("sender", "text", "sender", lambda row: row.event.sender),
    Column("recipient", "text", "recipient", lambda row: row.recipient.address),
    Column("status", "text", "reply for this recipient", lambda row: row.recipient.text),
    Column("remote_name", "text", "remote server", lambda row: row.recipient.remote_name or row.event.remote_name),
    Column("remote", "text", "remote address", lambda row: row.recipient.remote or row.event.remote),
)
"""For a kind without columns of its own."""

TRACKING_ROWS = _messages(
    Column("host", "text", "server that wrote the row", lambda row: row.event.host),
    Column("event", "text", "source and event-id", lambda row: row.event.layer.removeprefix("message-tracking ")),
    Column("event-id", "text", "event-id as written", lambda row: "".join(row.event.fields.get("event-id", ()))),
    Column("message-id", "text", "id of the message", lambda row: row.event.message_id, ("message_id",)),
    Column("sender", "text", "return-path, else sender-address", lambda row: row.event.sender),
    Column("recipient-address", "text", "recipient", lambda row: row.recipient.address, ("recipient",)),
    Column("recipient-status", "text", "reply for this recipient", lambda row: row.recipient.text, ("status",)),
    Column("remote_name", "text", "remote server", lambda row: row.recipient.remote_name or row.event.remote_name),
    Column("remote", "text", "remote address", lambda row: row.recipient.remote or row.event.remote),
    Column("connector-id", "text", "connector", lambda row: row.event.connector, ("connector",)),
    Column("session", "text", "session id in source-context", lambda row: row.event.session),
)

NDR_ROWS = _messages(
    Column("host", "text", "server that reported; empty for Exchange Online", lambda row: row.event.host),
    Column("event", "text", "ndr", lambda row: row.event.layer),
    Column("Message-ID", "text", "id of the message that failed", lambda row: row.event.message_id, ("message_id",)),
    Column("sender", "text", "Return-Path of that message, else From", lambda row: row.event.sender),
    Column("Final-Recipient", "text", "recipient", lambda row: row.recipient.address, ("recipient",)),
    Column("Diagnostic-Code", "text", "reply for this recipient", lambda row: row.recipient.text, ("status",)),
    Column(
        "Remote-MTA",
        "text",
        "remote server",
        lambda row: row.recipient.remote_name or row.event.remote_name,
        ("remote_name",),
    ),
    Column("remote", "text", "remote address", lambda row: row.recipient.remote or row.event.remote),
)
