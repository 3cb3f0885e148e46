"""Message tracking, from the log files (MSGTRK*.LOG) and from exports of Get-MessageTrackingLog, to ``MessageEvent``.

Columns are read by name, for their number grew over versions (message-tracking.md in OfficeDocs-Exchange). Log files
are UTC; exports are local time in the culture's format, except Clixml, which keeps the offset. ``recipient-status`` has
one part per recipient, in braces (``[{LED=550 5.7.64 ...};{MSG=};{FQDN=...};{IP=...};{LRT=...}]``, in any order) or as
plain text; ``LRT`` is in the culture's format and is never read. In ``fields`` it is the reply of each recipient, and
names are those of the log.

``return-path`` is the sender of the envelope, ``<>`` for automatic replies and reports (message-tracking.md: "never
empty, it can have the null sender address"); ``sender-address`` is that of the message's header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.clock import LocalTime
from evtx_analyzer.model.events import MessageEvent, RecipientStatus
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.normalize.ndr import null_sender

KIND = "message-tracking"
_EXPORT = "Get-MessageTrackingLog"
_NAMES = (
    *("client-ip", "client-hostname", "server-ip", "server-hostname", "source-context", "connector-id", "source"),
    *("event-id", "message-id", "recipient-status", "reference", "return-path"),
)
_EXPORTED = {name.replace("-", ""): name for name in _NAMES} | {
    "recipients": "recipient-address",
    "sender": "sender-address",
}
_NOT_EXPORTED = ("System.String[]", "Microsoft.Exchange.Data")
_SENDING = ("SEND", "SENDEXTERNAL", "FAIL", "DEFER")
# Each match stops where the next one would begin, so that a text in which none ends is scanned once only.
_GROUP = re.compile(r"\[\{(?:(?!\[\{).)*?\}\](?=\s{0,9}(?:[;,}]|$))", re.DOTALL)
_PART = re.compile(r"\{(LED|MSG|FQDN|IP|LRT)=((?:(?!\{(?:LED|MSG|FQDN|IP|LRT)=).)*?)\}(?=;\{|\]|\s{0,9}$)", re.DOTALL)
_FAILED = ("FAIL", "DSN")
_NEXT_REPLY = re.compile(r";\s*(?=[245]\d\d[ -])")
# ConvertTo-Json of Windows PowerShell 5.1 writes milliseconds since 1970.
_JSON_DATE = re.compile(r"/Date\((\d{1,11})(\d{3})\)/")
_SESSION = re.compile(r"\b[0-9A-F]{16}\b")


def normalize_tracking(row: LogRow, zone: ZoneInfo | None = None) -> MessageEvent | Loss:
    """Return the typed row; a Loss where its time cannot be read or the export dropped what failed."""
    values = row.values
    if row.log == _EXPORT:
        known = ((_EXPORTED.get(name.casefold()), value) for name, value in values.items())
        values = {name: value for name, value in known if name}
    local_time = _time(row, zone)
    if local_time is None:
        again = "; export again with Export-Clixml, which keeps times whole" if row.log == _EXPORT else ""
        return Loss(origin=row.origin, reason=f"the row's time cannot be read{again}", extent="1 row")
    event, source = values.get("event-id", "").upper(), values.get("source", "").upper()
    if event in _FAILED and (loss := _without_status(row, values.get("recipient-status"))) is not None:
        return loss
    recipients = statuses(values.get("recipient-address", ""), values.get("recipient-status", ""))
    sent = source == "SMTP" and event in _SENDING
    us, them = ("client", "server") if sent else ("server", "client")
    is_report = event == "DSN"
    session = _SESSION.search(values.get("source-context", ""))
    return MessageEvent(
        origin=row.origin,
        kind=KIND,
        layer=f"{KIND} {source} {event}",
        time=local_time.time,
        host=values.get(f"{us}-hostname", "") if sent or event in ("RECEIVE", "FAIL", "DSN") else "",
        address=values.get(f"{us}-ip", "") if source == "SMTP" else "",
        remote=values.get(f"{them}-ip", "") if sent else "",
        remote_name=values.get(f"{them}-hostname", "") if sent else "",
        message_id=values.get("reference" if is_report else "message-id", "").strip("{} "),
        # The row of a report (DSN) has the report's recipient, who is the sender of the failed message, and the
        # report's own return path.
        sender=values.get("recipient-address", "") if is_report else _sender(values),
        null_sender=None if is_report else null_sender(values.get("return-path", "")),
        recipients=tuple(RecipientStatus(address="", text=recipient.text) for recipient in recipients)
        if is_report
        else recipients,
        connector=values.get("connector-id", ""),
        session=session[0] if session and sent else "",
        time_basis=local_time.basis,
        other_time=local_time.other,
        fields={
            **{name: (value,) for name, value in values.items() if value},
            "recipient-status": tuple(recipient.text for recipient in recipients if recipient.text),
        },
    )


def _without_status(row: LogRow, status: str | None) -> Loss | None:
    """Return the loss for a failed message of which the export does not hold the replies; None if it holds them."""
    if status is None:
        return Loss(
            origin=replace(row.origin, line=None, offset=None),
            reason="the export leaves out RecipientStatus, which holds the replies: no refusal can be seen in it; "
            "export all properties with Export-Clixml",
            extent="all failed messages of the file",
        )
    reason = "the export holds no recipient status, only the name of its type; export with Export-Clixml instead"
    lost = status.startswith(_NOT_EXPORTED)
    return Loss(origin=row.origin, reason=reason, extent="1 failed message") if lost else None


def _sender(values: Mapping[str, str]) -> str:
    """Return the sender of the envelope where the row has it, else that of the header."""
    path = values.get("return-path", "").strip()
    return path.strip("<> ") if path else values.get("sender-address", "")


def statuses(addresses: str, status: str) -> tuple[RecipientStatus, ...]:
    """Return every recipient with its part of the status; a single part holds for all of them."""
    names = [name.strip() for name in re.split(r"[;,]", addresses.strip("{} ")) if name.strip()]
    groups = _GROUP.findall(status)
    texts = groups or [part.strip() for part in _NEXT_REPLY.split(status) if part.strip()]
    if len(texts) == 1:
        texts = texts * max(len(names), 1)
    return tuple(_status(name, text) for name, text in zip_longest(names, texts, fillvalue=""))


def _status(name: str, text: str) -> RecipientStatus:
    """Return a recipient's status; plain text is taken for the reply (``LED``, last enhanced DSN code)."""
    parts = {part: value.strip() for part, value in _PART.findall(text)} or {"LED": text.strip()}
    led, fqdn, ip = (parts.get(part, "") for part in ("LED", "FQDN", "IP"))
    return RecipientStatus(address=name, text=led, remote_name=fqdn, remote=ip)


def _time(row: LogRow, zone: ZoneInfo | None) -> LocalTime | None:
    if row.log != _EXPORT:
        time = clock.from_iso(row.values.get("date-time", ""))
        return None if time is None else LocalTime(time, None, "utc")
    written = next((value for name, value in row.values.items() if name.casefold() == "timestamp"), "")
    return exported_time(written, row.values.get("#order", ""), zone)


def exported_time(text: str, order: str, zone: ZoneInfo | None) -> LocalTime | None:
    """Return the time of an exported object: UTC where the text has a zone, else local."""
    if re.search(r"(Z|[+-]\d\d:\d\d)$", text):
        time = clock.from_iso(text)
        return None if time is None else LocalTime(time, None, "utc")
    if number := _JSON_DATE.fullmatch(text):
        return LocalTime(
            datetime.fromtimestamp(int(number[1]), UTC) + timedelta(milliseconds=int(number[2])), None, "utc"
        )
    return clock.from_local(text, order, zone)  # type: ignore[arg-type]
