"""Rows of the Windows IIS SMTP service (SMTPSVC), in all of its four formats, to ``SmtpEvent``.

W3C extended: UTC, one second's resolution, ``+`` for blank (a literal ``+`` looks the same). Microsoft IIS and ODBC:
local time of the server without offset, text as it is. NCSA: local time with offset, no computer, ``+`` for blank. Rows
of outbound connections carry ``OutboundConnectionCommand`` or ``OutboundConnectionResponse`` as the user, the remote
address as the client, the verb as the method. Their status is always 0. No row has a session id or names a certificate.
``values`` has W3C names for all formats, so that one signal fits all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.clock import DateOrder, LocalTime
from evtx_analyzer.model.events import SmtpEvent
from evtx_analyzer.model.origin import Loss, TimeBasis, folder
from evtx_analyzer.model.records import LogRow

KIND = "iis-smtp"
_DIRECTIONS = {"outboundconnectioncommand": ">", "outboundconnectionresponse": "<"}
_ABSENT = ("-", "")
_MOST_DIGITS = 9  # of milliseconds since the connect: eleven days
_ODBC = {
    "clienthost": "c-ip",
    "username": "cs-username",
    "logtime": "time",
    "service": "s-sitename",
    "machine": "s-computername",
    "serverip": "s-ip",
    "processingtime": "time-taken",
    "bytesrecvd": "cs-bytes",
    "bytessent": "sc-bytes",
    "servicestatus": "sc-status",
    "win32status": "sc-win32-status",
    "operation": "cs-method",
    "target": "cs-uri-stem",
    "parameters": "cs-uri-query",
}


def is_iis_smtp(row: LogRow) -> bool:
    """Return whether a row belongs to an outbound SMTP connection."""
    return _direction(_named(row).get("cs-username", "")) != ""


@lru_cache(maxsize=64)
def _direction(user: str) -> str:
    """Return ``>`` for a command and ``<`` for a reply; empty for a row of anything but an outbound connection."""
    return _DIRECTIONS.get(user.strip().casefold(), "")


def normalize_iis_smtp(row: LogRow, zone: ZoneInfo | None = None) -> SmtpEvent | Loss:
    """Return the typed row; a Loss where neither the row nor a directive gives it a date."""
    values = _named(row)
    local_time = _time(row.log, values, zone)
    if local_time is None:
        return Loss(
            origin=row.origin,
            reason="the row has no date (the fields are switched off in the log's settings) or one that is none",
            extent="1 row; it cannot be joined with anything",
        )
    direction = _direction(values["cs-username"])
    if direction == "<" and "cs-uri-query" not in values:
        # This holds for every row of the file: without a line the losses are equal, and count as one.
        return Loss(
            origin=replace(row.origin, line=None, offset=None),
            reason="the log's fields leave out cs-uri-query, which holds the replies: no refusal can be seen in it",
            extent="all replies of the file",
        )
    elapsed = values.get("time-taken", "")
    # Milliseconds since the connect are of use only with the row's own time.
    timed = row.log != "W3C" or "time" in values
    return SmtpEvent(
        origin=row.origin,
        kind=KIND,
        scope=folder(row.origin),
        time=local_time.time,
        direction=direction,
        text=_text(values, plus=row.log in ("W3C", "NCSA")),
        host=_present(values.get("s-computername", "")),
        connector=_present(values.get("s-sitename", "")),
        remote=_present(values.get("c-ip", "")),
        resolution=1.0,
        elapsed_ms=int(elapsed) if elapsed.isdecimal() and len(elapsed) <= _MOST_DIGITS and timed else None,
        time_basis=local_time.basis,
        other_time=local_time.other,
        values=values,
        dash_is_absent=True,
    )


def _named(row: LogRow) -> dict[str, str]:
    if row.log != "ODBC":
        return row.values
    return {_ODBC.get(name.casefold(), name): value for name, value in row.values.items()}


def _time(log: str, values: dict[str, str], zone: ZoneInfo | None) -> LocalTime | None:
    """Return the time of a row: that of W3C is UTC, that of NCSA has an offset, the others are local."""
    if log == "W3C":
        date, time = values.get("date") or values.get("#date", ""), values.get("time")
        # A row without a time has that of the last directive.
        return _utc(f"{date} {time}", "utc") if time else _utc(f"{date} {values.get('#time', '')}", "heading")
    if log == "NCSA":
        day, _, time = values["time"].partition(":")
        instant = clock.from_mail(f"{day.replace('/', ' ')} {time}")
        return None if instant is None else LocalTime(instant, None, "utc")
    written = f"{values['date']} {values['time']}" if log == "IIS" else values.get("time", "")
    return clock.from_local(written, cast("DateOrder", values.get("#order", "")), zone)


@lru_cache(maxsize=256)
def _utc(text: str, basis: TimeBasis) -> LocalTime | None:
    """Return a time of a W3C log; cached, because many rows share their second."""
    instant = clock.from_iso(text)
    return None if instant is None else LocalTime(instant, None, basis)


def _text(values: dict[str, str], *, plus: bool) -> str:
    """Return the verb and argument of a command, or the text of a reply; ``plus`` turns each ``+`` into a blank."""
    parts = [values.get(name, "").strip() for name in ("cs-method", "cs-uri-query")]
    joined = " ".join(part for part in parts if part not in _ABSENT)
    return (joined.replace("+", " ") if plus else joined).strip()


def _present(value: str) -> str:
    return "" if value in _ABSENT else value
