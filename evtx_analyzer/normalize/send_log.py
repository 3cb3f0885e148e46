r"""Exchange protocol log rows (Send and Receive connectors) to ``SmtpEvent``.

Fields and symbols: protocol-logging.md (OfficeDocs-Exchange) and files seen from Exchange 2010 to 2019. ``date-time``
is UTC with ``Z``; a session is named by ``session-id``, which is unique per server process only. No row of a Send
connector names the host; the connector-id of a Receive connector does (``SERVER\Default Frontend SERVER``), which
shows to which machine the address in ``local-endpoint`` belongs. In a Receive log ``>`` marks this server's replies,
which are no evidence of sending.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.events import SmtpEvent, WholeSession
from evtx_analyzer.model.origin import Loss, Origin, folder
from evtx_analyzer.model.records import LogRow, SessionRows
from evtx_analyzer.plain_text import whole_number

KIND = "send-connector"
RECEIVE_KIND = "receive-connector"
_SYMBOLS = ("+", "-", ">", "<", "*")
_FAILURES = ("4", "5")
_CHANGED = "another program changed it; give the log as the server wrote it"
_NO_VALUES: dict[str, str] = {}


def normalize_send_log(row: LogRow, zone: ZoneInfo | None = None) -> SmtpEvent | Loss:  # noqa: ARG001  always UTC
    """Return the typed row, or a Loss where its time cannot be read."""
    values = row.values
    time = clock.from_iso(values.get("date-time", ""))
    if time is None:
        return Loss(origin=row.origin, reason=f"the row's date-time cannot be read: {_CHANGED}", extent="1 row")
    if values.get("event") not in _SYMBOLS:
        return Loss(origin=row.origin, reason=f"the row's event is none of + - > < *: {_CHANGED}", extent="1 row")
    return SmtpEvent(
        origin=row.origin,
        kind=KIND,
        scope=folder(row.origin),
        time=time,
        direction=values.get("event", ""),
        text=values.get("data", ""),
        context=values.get("context", ""),
        connector=values.get("connector-id", ""),
        session=values.get("session-id", ""),
        sequence=whole_number(values.get("sequence-number", "")),
        local=values.get("local-endpoint", ""),
        remote=values.get("remote-endpoint", ""),
        values=values,
    )


def normalize_session(session_rows: SessionRows) -> WholeSession:
    """Return the typed rows of a session; only failing replies, which signals look at, have ``values``.

    The reader yields a session whole only where signals look at failing replies alone.
    """
    source, member, scope = session_rows.origin.source, session_rows.origin.member, folder(session_rows.origin)
    rows = []
    written, moment = "", None
    for cells, line, offset in zip(session_rows.rows, session_rows.lines, session_rows.offsets, strict=True):
        time, connector, session, sequence, local, remote, event, data, context = cells
        if time != written:
            written, moment = time, clock.from_iso(time)
        assert moment is not None, "the reader has read the time of each row"
        rows.append(
            SmtpEvent(
                origin=Origin(source=source, member=member, line=line, offset=offset),
                kind=KIND,
                scope=scope,
                time=moment,
                direction=event,
                text=data,
                context=context,
                connector=connector,
                session=session,
                sequence=whole_number(sequence),
                local=local,
                remote=remote,
                values=dict(zip(session_rows.columns, cells, strict=True)) if data[:1] in _FAILURES else _NO_VALUES,
            )
        )
    return WholeSession(origin=session_rows.origin, rows=tuple(rows))


def normalize_receive_log(row: LogRow, zone: ZoneInfo | None = None) -> SmtpEvent | Loss:
    """Return the typed row with the host that its connector's name begins with."""
    event = normalize_send_log(row, zone)
    if isinstance(event, Loss):
        return event
    host, separator, _ = event.connector.partition("\\")
    return replace(event, kind=RECEIVE_KIND, host=host if separator else "")
