"""SMTP-side logs as pandas tables: one row per row of the log, everything that was read, nothing judged.

    table = evtx_analyzer.read_send_log("SmtpSend")           # a file, a folder, or several
    refused = table[table["data"].str.contains("5.7.64", regex=False)]

Times are ``datetime64[us, UTC]``. Columns that all tables end with: ``source`` (path within the input), ``line`` (from
1; <NA> where a format has no lines). ``table.attrs["losses"]`` is a list of ``Loss``: what could not be read. Rows of
the log that are of another kind are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from evtx_analyzer import clock
from evtx_analyzer.discover import discover
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.case_account import losses_of
from evtx_analyzer.ingest.events import ReadingOptions, events
from evtx_analyzer.ingest.examine import examine, source_paths, without_copies
from evtx_analyzer.ingest.streams import silent
from evtx_analyzer.model.events import Event, MessageEvent, SmtpEvent
from evtx_analyzer.model.origin import Origin, display_name

if TYPE_CHECKING:
    import pandas as pd

Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Row = dict[str, Any]

SEND_LOG_COLUMNS = (
    "time",  # of the row, milliseconds
    "connector",  # connector-id: the Send connector's name
    "session",  # session-id, unique per server process only
    "sequence",  # sequence-number
    "local",  # local-endpoint
    "remote",  # remote-endpoint
    "event",  # + - > < *
    "data",
    "context",
    "source",
    "line",
)
IIS_SMTP_COLUMNS = (
    "time",  # true within one second
    "time_basis",  # utc, zone (by tz), ambiguous (in the repeated hour), heading (#Date), unknown (local digits)
    "other_time",  # the second reading of an ambiguous time
    "host",  # s-computername
    "service",  # s-sitename
    "remote",  # c-ip
    "direction",  # > command, < response
    "text",  # verb and argument, or the response
    "elapsed_ms",  # time-taken: milliseconds since the connect
    "source",
    "line",
)
MESSAGE_COLUMNS = (
    "time",
    "time_basis",
    "host",  # the server that wrote of sending (tracking), or that made the report
    "event",  # source and event-id of tracking; ndr
    "message_id",  # of the message that failed
    "sender",
    "recipient",
    "status",  # the reply of the remote side for this recipient
    "remote_name",
    "remote",
    "connector",
    "source",
    "line",
)


def read_send_log(inputs: Inputs) -> pd.DataFrame:
    """Rows of Exchange Send connector protocol logs, with the columns of ``SEND_LOG_COLUMNS``."""

    def rows(event: Event) -> Iterator[Row]:
        if isinstance(event, SmtpEvent) and event.kind == "send-connector":
            yield {
                "time": event.time,
                "connector": event.connector,
                "session": event.session,
                "sequence": event.sequence,
                "local": event.local,
                "remote": event.remote,
                "event": event.direction,
                "data": event.text,
                "context": event.context,
                **_place(event.origin),
            }

    return _table(inputs, None, rows, SEND_LOG_COLUMNS)


def read_iis_smtp(inputs: Inputs, *, tz: str | None = None) -> pd.DataFrame:
    """Outbound rows of IIS SMTP logs in any format, with the columns of ``IIS_SMTP_COLUMNS``.

    ``tz`` is the IANA zone of formats in local time; without it their digits stand as UTC, basis ``unknown``.
    """

    def rows(event: Event) -> Iterator[Row]:
        if isinstance(event, SmtpEvent) and event.kind == "iis-smtp":
            yield {
                "time": event.time,
                "time_basis": event.time_basis,
                "other_time": event.other_time,
                "host": event.host,
                "service": event.connector,
                "remote": event.remote,
                "direction": event.direction,
                "text": event.text,
                "elapsed_ms": event.elapsed_ms,
                **_place(event.origin),
            }

    return _table(inputs, tz, rows, IIS_SMTP_COLUMNS)


def read_tracking(inputs: Inputs, *, tz: str | None = None) -> pd.DataFrame:
    """Message tracking (log files and exports), one row per row and recipient, columns of ``MESSAGE_COLUMNS``."""
    return _table(inputs, tz, lambda event: _message(event, "message-tracking"), MESSAGE_COLUMNS)


def read_ndr(inputs: Inputs) -> pd.DataFrame:
    """Non-delivery reports (.eml, .msg), one row per recipient, with the columns of ``MESSAGE_COLUMNS``."""
    return _table(inputs, None, lambda event: _message(event, "ndr"), MESSAGE_COLUMNS)


def _message(event: Event, kind: str) -> Iterator[Row]:
    if not isinstance(event, MessageEvent) or event.kind != kind:
        return
    for recipient in event.recipients:
        yield {
            "time": event.time,
            "time_basis": event.time_basis,
            "host": event.host,
            "event": event.layer.removeprefix("message-tracking "),
            "message_id": event.message_id,
            "sender": event.sender,
            "recipient": recipient.address,
            "status": recipient.text,
            "remote_name": recipient.remote_name or event.remote_name,
            "remote": recipient.remote or event.remote,
            "connector": event.connector,
            **_place(event.origin),
        }


def _place(origin: Origin) -> Row:
    path = display_name(origin)
    return {"source": path, "line": origin.line}


def _table(
    inputs: Inputs, tz: str | None, rows: Callable[[Event], Iterable[Row]], columns: Sequence[str]
) -> pd.DataFrame:
    # Here and not above: pandas takes half a second to import.
    import pandas as pd  # noqa: PLC0415

    how = ReadingOptions(clock.zone(tz) if tz else None)
    examined = without_copies(examine(source, silent) for source in discover(source_paths(inputs)))
    accounts = [SourceAccount(item) for item in examined if not item.duplicate_of]
    found = [
        row for account in accounts if account.item.syntax for event in events(account, how) for row in rows(event)
    ]
    table = pd.DataFrame(found, columns=list(columns))
    for name in columns:
        if name in ("time", "other_time"):
            table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
        elif name in ("sequence", "elapsed_ms", "line"):
            table[name] = table[name].astype("Int64")
        else:
            table[name] = table[name].astype("string")
    table.attrs["losses"] = losses_of(accounts)
    return table
