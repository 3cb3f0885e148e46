"""The kinds of log that are read: one entry for each, with all that other modules ask of a kind.

To add a kind: a file in this folder that recognizes and types its records, and an entry here; docs/add-a-log-kind.md is
an example. Other modules name a kind only where it means something that no other kind can mean: CAPI2, whose events
are certificate checks; hand-overs inside Exchange (``smtp/rejections.py``); certificates that IIS takes by name
(``stores/candidates.py``); the logs that are counted in bulk (``ingest/tallies.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from evtx_analyzer.columns import Table
from evtx_analyzer.commands import Server
from evtx_analyzer.model.events import Event
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import EventRecord, LogRow
from evtx_analyzer.normalize import capi2, configuration, iis_smtp, ndr, send_log, supporting, tracking
from evtx_analyzer.normalize.columns import CONNECTOR_ROWS, IIS_ROWS, NDR_ROWS, TRACKING_ROWS


class LogKind(Struct, frozen=True, kw_only=True):
    """A kind of text log.

    ``recognizes`` says whether a row is of the kind. ``typed`` is called with the row and the zone of local times, and
    returns the row's event, or a Loss, or None for a row that says nothing of use. ``rows`` says what the events are:
    ``sessions`` (``SmtpEvent``, outbound) and ``messages`` (``MessageEvent``) can show refusals; ``received`` are
    inbound sessions, which only show to which machine an address belongs; ``other`` is everything else.

    ``title`` is what readers of a report call it; without one they read the name.

    What follows is for kinds that show refusals. ``log_source`` is the Sigma log source (product, service) under which
    signals look at the rows. ``server`` is the kind of server that writes the log, for steps that differ; empty where
    the log does not tell. ``shows_certificates`` is set where a session's rows name the certificate that it sends.
    ``is_report`` is set where each row is a report of a failure, written up to a minute later and perhaps by another
    machine. ``table`` has the columns for the command ``events``; without one, the kind is not offered there.
    """

    name: str
    recognizes: Callable[[LogRow], bool]
    typed: Callable[[LogRow, ZoneInfo | None], Event | Loss | None]
    rows: Literal["sessions", "messages", "received", "other"] = "other"
    title: str = ""
    log_source: tuple[str, str] | None = None
    server: Server = ""
    shows_certificates: bool = False
    is_report: bool = False
    table: Table | None = None


class EventKind(Struct, frozen=True, kw_only=True):
    """A kind of Windows event; ``typed`` returns None for a record of another kind, or one that says nothing of use.

    ``word`` stands in the XML of each of its records, in lower case; ``searched`` are byte strings of which one stands
    in each chunk of an .evtx file that holds such a record, in upper case and without NULs. Some names are compared
    without case, and ``ſ`` folds to an ``s``: in UTF-16LE it is 0x7F 0x01.
    """

    name: str
    typed: Callable[[EventRecord], Event | Loss | None]
    word: str
    searched: tuple[bytes, ...]
    title: str = ""
    log_source: tuple[str, str] | None = None


def _named(*logs: str) -> Callable[[LogRow], bool]:
    """Return whether a row is of a log with one of these names, in any case."""
    return lambda row: row.log.casefold() in logs


# The first that recognizes a row takes it. Where several logs show one refusal, the first of them has the most to say.
ROW_KINDS = (
    LogKind(
        name=send_log.KIND,
        title="Send connector log",
        recognizes=_named("smtp send protocol log"),
        typed=send_log.normalize_send_log,
        rows="sessions",
        log_source=("exchange", "smtp-send"),
        server="exchange",
        shows_certificates=True,
        table=CONNECTOR_ROWS,
    ),
    LogKind(
        name=send_log.RECEIVE_KIND,
        title="Receive connector log",
        recognizes=_named("smtp receive protocol log"),
        typed=send_log.normalize_receive_log,
        rows="received",
        table=CONNECTOR_ROWS,
    ),
    LogKind(
        name=iis_smtp.KIND,
        title="IIS SMTP log",
        recognizes=iis_smtp.is_iis_smtp,
        typed=iis_smtp.normalize_iis_smtp,
        rows="sessions",
        log_source=("windows", "smtpsvc"),
        server="iis",
        table=IIS_ROWS,
    ),
    LogKind(
        name=configuration.KIND,
        title="exported settings",
        recognizes=configuration.is_configuration,
        typed=configuration.normalize_configuration,
    ),
    LogKind(
        name=tracking.KIND,
        title="message tracking",
        recognizes=_named("message tracking log", "get-messagetrackinglog"),
        typed=tracking.normalize_tracking,
        rows="messages",
        log_source=("exchange", "message-tracking"),
        server="exchange",
        table=TRACKING_ROWS,
    ),
    LogKind(
        name=ndr.KIND,
        title="non-delivery report",
        recognizes=_named("ndr"),
        typed=ndr.normalize_ndr,
        rows="messages",
        log_source=("exchange", "ndr"),
        is_report=True,
        table=NDR_ROWS,
    ),
    LogKind(
        name=supporting.CONNECTIVITY,
        recognizes=_named("transport connectivity log"),
        typed=supporting.normalize_connectivity,
    ),
    LogKind(name=supporting.QUEUE, recognizes=_named("get-queue", "get-message"), typed=supporting.normalize_queue),
    LogKind(
        name=supporting.EVENT_LIST,
        recognizes=_named("get-eventlog"),
        typed=supporting.normalize_event_entry,
    ),
)
EVENT_KINDS = (
    EventKind(
        name=capi2.KIND,
        title="CAPI2 log",
        typed=capi2.normalize_capi2,
        word="capi2",
        searched=(b"CAPI2",),
        log_source=("windows", "capi2"),
    ),
    EventKind(
        name=supporting.SCHANNEL,
        title="Schannel events",
        typed=supporting.normalize_schannel,
        word="schannel",
        searched=(b"SCHANNEL", b"\x7f\x01CHANNEL"),
    ),
    EventKind(
        name=supporting.TRANSPORT,
        typed=supporting.normalize_transport,
        word="msexchangetransport",
        searched=(b"EXCHANGETRAN",),  # the longest part without an S
    ),
)

# For other modules: names of kinds, the one with the most to say first.
SESSION_KINDS = tuple(kind.name for kind in ROW_KINDS if kind.rows == "sessions")
REFUSAL_KINDS = tuple(kind.name for kind in ROW_KINDS if kind.rows in ("sessions", "messages"))
RECEIVED_KINDS = tuple(kind.name for kind in ROW_KINDS if kind.rows == "received")
REPORT_KINDS = tuple(kind.name for kind in ROW_KINDS if kind.is_report)
KINDS_WITH_CERTIFICATES = tuple(kind.name for kind in ROW_KINDS if kind.shows_certificates)
SERVERS: dict[str, Server] = {kind.name: kind.server for kind in ROW_KINDS if kind.server}
LOG_SOURCES: dict[tuple[str | None, str | None], str] = {
    kind.log_source: kind.name for kind in (*EVENT_KINDS, *ROW_KINDS) if kind.log_source
}
ROW_TABLES = {kind.name: kind.table for kind in ROW_KINDS if kind.table}
KINDS = tuple(kind.name for kind in (*EVENT_KINDS, *ROW_KINDS))
TITLES = {kind.name: kind.title for kind in (*EVENT_KINDS, *ROW_KINDS) if kind.title}
