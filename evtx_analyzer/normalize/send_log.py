"""Exchange Send connector protocol log rows to ``SmtpEvent``.

Fields and symbols: protocol-logging.md (OfficeDocs-Exchange) and files seen from Exchange 2010 to 2019. ``date-time``
is UTC with ``Z``; a session is named by ``session-id``, which is unique per server process only; no row names the host.
"""

from __future__ import annotations

from evtx_analyzer import clock
from evtx_analyzer.model import LogRow, Loss, SmtpEvent, folder

KIND = "send-connector"
_LOG_TYPE = "smtp send protocol log"


def is_send_log(row: LogRow) -> bool:
    """Whether a row is of a Send connector log; Receive logs share the columns but tell the other direction."""
    return row.log.casefold() == _LOG_TYPE


def normalize_send_log(row: LogRow) -> SmtpEvent | Loss:
    """The typed row, or a Loss where its time cannot be read."""
    values = row.values
    time = clock.from_iso(values.get("date-time", ""))
    if time is None:
        return Loss(origin=row.origin, reason="the row's date-time cannot be read", extent="1 row")
    sequence = values.get("sequence-number", "")
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
        sequence=int(sequence) if sequence.isdigit() else None,
        local=values.get("local-endpoint", ""),
        remote=values.get("remote-endpoint", ""),
        fields={name: (value,) for name, value in values.items() if value},
    )
