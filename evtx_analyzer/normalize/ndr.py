"""Delivery status of one recipient (RFC 3464, from .eml and .msg) to ``MessageEvent``.

Only fields are read, no prose: Exchange localizes the body. ``Transcript`` is the reply that only the text part of the
report holds (the reader adds it). ``Reporting-MTA`` is the server that made the report; where that is Exchange Online
itself, the report does not name the sending server. The time is ``Last-Attempt-Date`` or the report's own date, with
one second's resolution; both come a little after the refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from evtx_analyzer import clock
from evtx_analyzer.model.events import MessageEvent, RecipientStatus
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import LogRow

KIND = "ndr"
_COMMENT = re.compile(r"(?<!\s)\s*\([^()]*\)")
_TYPE = re.compile(r"^\s*[\w.-]+\s*;\s*")
_ONLINE = (".outlook.com", ".office365.com")


def normalize_ndr(row: LogRow, zone: ZoneInfo | None = None) -> MessageEvent | Loss:  # noqa: ARG001  has an offset
    """Return the typed record; a Loss where no field holds a time."""
    from email.utils import parseaddr  # noqa: PLC0415  start-up cost: only where reports are in the input

    values = {name.casefold(): value for name, value in row.values.items()}
    times = (values.get(name, "") for name in ("last-attempt-date", "date", "arrival-date"))
    read = (clock.from_iso(text) or clock.from_mail(text) for text in times if text)
    time = next(filter(None, read), None)
    if time is None:
        return Loss(origin=row.origin, reason="the report has no date that can be read", extent="1 recipient")
    reporter = _machine(values, "reporting-mta")
    online = reporter.casefold().endswith(_ONLINE)
    status = RecipientStatus(
        address=_address(values, "final-recipient") or _address(values, "original-recipient"),
        text=values.get("transcript", "") or _name(values, "diagnostic-code") or values.get("status", ""),
        remote_name=_machine(values, "remote-mta"),
    )
    return MessageEvent(
        origin=row.origin,
        kind=KIND,
        layer=KIND,
        time=time,
        host="" if online else reporter,
        message_id=values.get("message-id", ""),
        sender=parseaddr(values.get("return-path") or values.get("from", ""))[1],
        null_sender=null_sender(values.get("return-path", "")),
        recipients=(status,),
        remote_name=status.remote_name,
        by_exchange_online=online,
        resolution=1.0,
        fields={name: (value,) for name, value in row.values.items() if value},
    )


def null_sender(return_path: str) -> bool | None:
    """Return whether a return path is the empty one of RFC 5321 (``<>``); None where none is written."""
    return None if not return_path.strip() else return_path.replace(" ", "") == "<>"


def _machine(values: Mapping[str, str], name: str) -> str:
    """Return the name of a mail server, without the comment in which some write its address or their channel."""
    return _COMMENT.sub("", _name(values, name))


def _address(values: Mapping[str, str], name: str) -> str:
    return _name(values, name).strip("<>")


def _name(values: Mapping[str, str], name: str) -> str:
    """Return the value of a field without its type (``dns;``, ``rfc822;``, ``smtp;``)."""
    return _TYPE.sub("", values.get(name, ""), count=1).strip()
