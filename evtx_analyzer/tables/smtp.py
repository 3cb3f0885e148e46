"""The columns of SMTP rows, and those of message tracking and non-delivery reports (one row per recipient)."""

from __future__ import annotations

from evtx_analyzer.tables.columns import Column, origin_columns

SMTP_COLUMNS = (
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
    *origin_columns(lambda item: item.origin),
)

MESSAGE_COLUMNS = (
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
    *origin_columns(lambda item: item.event.origin),
)
