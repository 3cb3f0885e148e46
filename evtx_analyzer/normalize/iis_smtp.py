"""Rows of the Windows IIS SMTP service (SMTPSVC) in W3C extended format to ``SmtpEvent``.

Format: W3C extended log of IIS 6 services; rows are UTC with one second's resolution. Rows of outbound connections
carry ``OutboundConnectionCommand`` or ``OutboundConnectionResponse`` in cs-username, the remote address in c-ip, the
verb in cs-method and the rest in cs-uri-query with ``+`` for blank. Their sc-status is always 0. There is no session
id and nothing of certificates.
"""

from __future__ import annotations

from datetime import timedelta

from evtx_analyzer import clock
from evtx_analyzer.model import LogRow, Loss, SmtpEvent, folder

KIND = "iis-smtp"
_DIRECTIONS = {"outboundconnectioncommand": ">", "outboundconnectionresponse": "<"}
_ABSENT = ("-", "")


def is_iis_smtp(row: LogRow) -> bool:
    """Whether a W3C row tells of an outbound SMTP connection."""
    return row.values.get("cs-username", "").casefold() in _DIRECTIONS


def normalize_iis_smtp(row: LogRow) -> SmtpEvent | Loss:
    """The typed row; a Loss where neither the row nor a directive gives it a date and time."""
    values = row.values
    date = values.get("date") or values["#date"].partition(" ")[0]
    time = clock.from_iso(f"{date} {values.get('time', '')}")
    if time is None:
        return Loss(
            origin=row.origin,
            reason="the row has no date or time (the fields are switched off in the log's settings)",
            extent="1 row; it cannot be joined with anything",
        )
    elapsed = values.get("time-taken", "")
    return SmtpEvent(
        origin=row.origin,
        kind=KIND,
        scope=folder(row.origin),
        time=time,
        direction=_DIRECTIONS[values["cs-username"].casefold()],
        text=_text(values),
        host=_present(values.get("s-computername", "")),
        connector=_present(values.get("s-sitename", "")),
        remote=_present(values.get("c-ip", "")),
        resolution=timedelta(seconds=1).total_seconds(),
        elapsed_ms=int(elapsed) if elapsed.isdigit() else None,
        fields={name: (value,) for name, value in values.items() if value not in _ABSENT and not name.startswith("#")},
    )


def _text(values: dict[str, str]) -> str:
    """Verb and argument of a command, or the text of a response, with ``+`` as the blank it stands for."""
    parts = (values.get("cs-method", ""), values.get("cs-uri-query", ""))
    return " ".join(part.replace("+", " ") for part in parts if part not in _ABSENT).strip()


def _present(value: str) -> str:
    return "" if value in _ABSENT else value
