"""Supporting events, which prove nothing alone, to ``ContextEvent``: recognized by id and never by text.

Schannel writes to the System log, MSExchangeTransport to the Application log; texts there are localized, ids are not.
Connectivity logs have the Send connector's session id and the next hop; queues keep the last error.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from evtx_analyzer import clock
from evtx_analyzer.model.events import ContextEvent
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import EventRecord, LogRow
from evtx_analyzer.normalize.tracking import exported_time
from evtx_analyzer.normalize.windows_event import parse
from evtx_analyzer.plain_text import whole_number

SCHANNEL, TRANSPORT, CONNECTIVITY, QUEUE = "schannel", "exchange-transport", "connectivity", "queue"
EVENT_LIST = "event-log-export"

# "Schannel Events", learn.microsoft.com dn786445.
SCHANNEL_EVENTS = {
    36869: "a certificate of this server has no private key attached",
    36870: "the private key of a certificate of this server cannot be used",
    36871: "a fatal error occurred while a TLS credential was created",
    36872: "the chain of a certificate of this server could not be built",
    36873: "this server had no cipher suite to offer for a connection",
    36874: "the remote side and this one share no cipher suite",
    36875: "the remote side asked for a certificate and this server found none to send",
    36876: "the certificate of the remote side did not pass its check",
    36880: "a TLS handshake succeeded",
    36881: "the certificate of the remote side is out of its validity period",
    36882: "this server does not trust the certificate of the remote side",
    36883: "the certificate of the remote side has been revoked",
    36884: "the remote side's certificate does not carry the expected name",
    36885: "the list of trusted authorities is too long and was cut",
    36886: "no suitable server credential exists on this server",
    36887: "the remote side sent a fatal TLS alert",
    36888: "this server sent a fatal TLS alert",
}
TRANSPORT_EVENTS = {
    12014: "no certificate in the store carries the connector's FQDN, so STARTTLS can not use one",
    12015: "an internal transport certificate has expired",
    12016: "the certificate for the connector's FQDN has expired",
    12017: "an internal transport certificate expires soon",
    12018: "the STARTTLS certificate expires soon",
    12023: "the internal transport certificate can not be loaded",
    12024: "the internal transport certificate can not be used",
}
_PROVIDERS = {
    "schannel": (SCHANNEL, SCHANNEL_EVENTS),
    "msexchangetransport": (TRANSPORT, TRANSPORT_EVENTS),
}
_NAMES = {
    SCHANNEL: re.compile(r"""Name=["'](?:Microsoft-Windows-)?Schannel(?:-Events)?["']""", re.IGNORECASE),
    TRANSPORT: re.compile(r"""Name=["']MSExchangeTransport["']""", re.IGNORECASE),
}
_REPLY = re.compile(r"(?<![\d.])([245]\d\d)[ -]+#?(?:\d{3} )?#?([245]\.\d{1,3}\.\d{1,3})?")
_CODE_DIGITS = 0xFFFF


def normalize_schannel(record: EventRecord) -> ContextEvent | Loss | None:
    """Return the typed event; None for an id that says nothing of certificates or handshakes."""
    return _windows_event(record, SCHANNEL, SCHANNEL_EVENTS)


def normalize_transport(record: EventRecord) -> ContextEvent | Loss | None:
    """Return the typed event; None for an id that says nothing of certificates."""
    return _windows_event(record, TRANSPORT, TRANSPORT_EVENTS)


def _windows_event(record: EventRecord, kind: str, titles: dict[int, str]) -> ContextEvent | Loss | None:
    if not _NAMES[kind].search(record.xml):
        return None
    event = parse(record.xml)
    if event is None:
        return Loss(origin=record.origin, reason="the event's XML cannot be parsed", extent="1 event")
    if event.event_id not in titles:
        return None
    system = ("Provider", "TimeCreated", "Correlation", "Execution", "Security", "EventID")
    known = ("Level", "Task", "Opcode", "Keywords", "EventRecordID", "Channel", "Computer", "Version", "Qualifiers")
    data = [
        value
        for name, values in event.fields.items()
        if not name.startswith(system) and name not in known
        for value in values
        if value
    ]
    return ContextEvent(
        origin=record.origin,
        kind=kind,
        time=event.time or record.time,
        host=event.computer,
        code=str(event.event_id),
        title=titles[event.event_id],
        text="; ".join(data),
        fields=event.fields,
    )


def normalize_event_entry(row: LogRow, zone: ZoneInfo | None = None) -> ContextEvent | Loss | None:
    """Return an exported entry with a known provider and id, else None; its time is local without an offset."""
    values = row.values
    kind, titles = _PROVIDERS.get(values.get("Source", "").casefold(), ("", {}))
    written = values.get("EventID", "")
    # Get-EventLog may keep the qualifiers above the low 16 bits, which are the event id; the number may be negative.
    sign, number = written.startswith("-"), whole_number(written.removeprefix("-")) or 0
    number = (-number if sign else number) & _CODE_DIGITS
    if number not in titles:
        return None
    local_time = exported_time(values.get("TimeGenerated", ""), values.get("#order", ""), zone)
    return ContextEvent(
        origin=row.origin,
        kind=kind,
        time=local_time.time if local_time else None,
        host=values.get("MachineName", ""),
        code=str(number),
        title=titles[number],
        text=values.get("ReplacementStrings", ""),
        time_basis=local_time.basis if local_time else "unknown",
        fields={name: (value,) for name, value in values.items() if value},
    )


def normalize_connectivity(row: LogRow, zone: ZoneInfo | None = None) -> ContextEvent | Loss:  # noqa: ARG001  UTC
    """Return the typed row; a Loss where its time cannot be read.

    Names of columns differ in case between documentation and files.
    """
    values = {name.casefold(): value for name, value in row.values.items()}
    time = clock.from_iso(values.get("date-time", ""))
    if time is None:
        return Loss(origin=row.origin, reason="the row's date-time cannot be read", extent="1 row")
    return ContextEvent(
        origin=row.origin,
        kind=CONNECTIVITY,
        time=time,
        host="",
        code=reply_code(values.get("description", "")),
        title=f"connection to {values.get('destination', '')}",
        text=values.get("description", ""),
        session=values.get("session", ""),
        fields={name: (value,) for name, value in row.values.items() if value},
    )


def normalize_queue(row: LogRow, zone: ZoneInfo | None = None) -> ContextEvent | None:  # noqa: ARG001  no time is read
    """Return the typed queue, or message in a queue; None where it keeps no error."""
    values = {name.casefold(): value for name, value in row.values.items()}
    error = values.get("lasterror", "").strip()
    if not error:
        return None
    return ContextEvent(
        origin=row.origin,
        kind=QUEUE,
        time=None,
        host=values.get("identity", "").partition("\\")[0],
        code=reply_code(error),
        title=f"a message in queue {values.get('queue', '')}"
        if "fromaddress" in values
        else f"queue {values.get('identity', '')} to {values.get('nexthopdomain', '')}",
        text=error,
        fields={name: (value,) for name, value in row.values.items() if value},
    )


def reply_code(text: str) -> str:
    """Return the reply code and enhanced status of a text (``451 4.4.62``); empty where it holds none."""
    match = _REPLY.search(text)
    return " ".join(part for part in match.groups() if part) if match else ""
