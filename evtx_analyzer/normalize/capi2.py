"""CAPI2 Operational events (provider Microsoft-Windows-CAPI2) to ``Capi2Event``.

The schemas come from 799 real records; there is no public manifest. The traps: every ``@value`` is hex without prefix;
Level is not the result; ``Result`` may be absent; ``RevocationResult`` and ``Error`` are not the result; texts and
usage names are in the language of the machine that wrote them. The provider also writes classic events with other
schemas to the Application log: the channel tells them apart. A collector keeps the name of the original channel, or
writes ForwardedEvents; the machine is always ``Computer``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.events import Capi2Event
from evtx_analyzer.model.origin import Fields, Loss, Origin
from evtx_analyzer.model.records import EventRecord, LogNotice
from evtx_analyzer.normalize import capi2_elements as parts
from evtx_analyzer.normalize.windows_event import (
    WindowsEvent,
    add_element,
    attribute,
    child,
    children,
    find,
    local_name,
    parse,
    text,
)
from evtx_analyzer.plain_text import whole_number
from evtx_analyzer.wincrypt import (
    CAPI2_CHANNEL,
    CAPI2_EVENTS,
    CAPI2_PROVIDER,
    EXPORT_AGAIN,
    POLICIES,
    POLICY_NUMBERS,
    from_hex,
)

if TYPE_CHECKING:
    from lxml import etree

KIND = "capi2"
X509_OBJECTS = 90
"""Event id of the certificates of a chain, written as XML."""
_CHANNELS = (CAPI2_CHANNEL.casefold(), "forwardedevents")
_LOG_SERVICE = "Microsoft-Windows-Eventlog"
_AGAIN = f"export the log again with: {EXPORT_AGAIN}"
_RETRIEVALS = {51: "cache", 53: "network"}


def is_capi2_channel(provider: str, channel: str) -> bool:
    """Return whether records of that provider and channel are CAPI2 events, and of use for nothing else."""
    return provider == CAPI2_PROVIDER and channel.casefold() == CAPI2_CHANNEL.casefold()


def normalize_capi2(record: EventRecord) -> Capi2Event | Loss | None:
    """Return the typed event; None for an event of another channel; a Loss for one that cannot be read."""
    if CAPI2_PROVIDER not in record.xml:
        return None
    event = parse(record.xml)
    if event is None:
        return Loss(
            origin=record.origin, reason=f"the XML of a CAPI2 event cannot be parsed; {_AGAIN}", extent="1 event"
        )
    if event.provider != CAPI2_PROVIDER or event.channel.casefold() not in _CHANNELS:
        return None
    if event.channel.casefold() != CAPI2_CHANNEL.casefold() and event.user_data is None:
        return None  # forwarded from the Application log
    time = event.time or record.time
    if time is None:
        return Loss(origin=record.origin, reason=f"a CAPI2 event has no readable time; {_AGAIN}", extent="1 event")
    origin = record.origin
    if origin.record is None:
        origin = replace(origin, record=event.record_id)
    body = event.user_data
    if body is None:
        return Loss(
            origin=origin,
            reason=f"a CAPI2 event has no UserData, so no facts (a message-only export); {_AGAIN}",
            extent="1 event",
        )
    return _typed(event, body, time, origin)


def _typed(event: WindowsEvent, body: etree._Element, time: datetime, origin: Origin) -> Capi2Event:
    event_id = event.event_id
    fields, notes = _checked(event, body)
    certificate, policy, chain = child(body, "Certificate"), child(body, "Policy"), child(body, "CertificateChain")
    task, process = child(body, "CorrelationAuxInfo"), child(body, "EventAuxInfo")
    ssl, status = child(body, "SSLAdditionalPolicyInfo"), child(body, "Status")
    constant, policy_notes = _policy(policy)
    where = _RETRIEVALS.get(event_id)
    return Capi2Event(
        origin=origin,
        time=time,
        host=event.computer,
        event_id=event_id,
        level=event.level,
        process_id=event.process_id,
        thread_id=event.thread_id,
        process=attribute(process, "ProcessName"),
        task_id=attribute(task, "TaskId").upper(),
        sequence=_decimal(attribute(task, "SeqNumber")),
        chain_ref=attribute(chain, "chainRef").upper(),
        thumbprint=parts.thumbprint(attribute(certificate, "fileRef")),
        subject=attribute(certificate, "subjectName"),
        server_name=attribute(ssl, "serverName"),
        policy=constant,
        policy_name=attribute(policy, "type") or POLICIES.get(constant or 0, ""),
        result=from_hex(attribute(child(body, "Result"), "value")),
        chain=parts.chain_elements(chain),
        chain_error=None if chain is None else parts.status_of(chain, "ErrorStatus"),
        certificates=tuple(map(parts.certificate_of, children(body, "Certificate")))
        if event_id == X509_OBJECTS
        else (),
        fields=fields,
        name=local_name(body),
        channel=event.channel,
        user=attribute(process, "impersonateToken"),
        chain_refs=_chain_refs(body),
        flags=parts.decoded(child(body, "Flags"), event_id),
        ignore_flags=parts.decoded(None if ssl is None else child(ssl, "IgnoreFlags"), event_id),
        auth_type=attribute(ssl, "authType"),
        status=(_decimal(attribute(status, "chainIndex")), _decimal(attribute(status, "elementIndex"))),
        engine=attribute(child(body, "ChainEngineInfo"), "context"),
        usages=parts.usages(child(body, "ExtendedKeyUsage")),
        validation_time=clock.from_iso(text(child(body, "ValidationTime"))),
        target=_target(body),
        revocation=parts.revocation_of(body, event_id, time, origin) if event_id in (41, 42) else None,
        retrieval=parts.retrieval_of(body, event_id, where, time, origin) if where else None,  # type: ignore[arg-type]
        notes=(*notes, *policy_notes),
    )


def _checked(event: WindowsEvent, body: etree._Element) -> tuple[Fields, tuple[str, ...]]:
    """Return the flat view with flags corrected by their values, and a note for each contradiction in the event."""
    changed, notes = parts.correct_flags(body, event.event_id)
    expected = CAPI2_EVENTS.get(event.event_id)
    if expected is None:
        notes += (
            f"event id {event.event_id} ({local_name(body)}) has no known schema; its fields are kept as they are",
        )
    elif local_name(body) != expected:
        notes += (f"event {event.event_id} holds {local_name(body)} where {expected} was expected",)
    return (_with_user_data(event.fields, body) if changed else event.fields), notes


def _with_user_data(fields: Fields, body: etree._Element) -> Fields:
    """Return the flat view with UserData read anew, after its flags were corrected."""
    corrected: dict[str, list[str]] = {}
    add_element(body, "", corrected)
    roots = tuple({local_name(element) for element in body})
    kept = {name: values for name, values in fields.items() if name.partition(".")[0] not in roots}
    return kept | {name: tuple(values) for name, values in corrected.items()}


def _policy(policy: etree._Element | None) -> tuple[int | None, tuple[str, ...]]:
    """Return the number of the policy, and a note where name and number disagree; the name is believed."""
    written, name = attribute(policy, "constant"), attribute(policy, "type")
    number, known = from_hex(written), POLICY_NUMBERS.get(name)
    if known is None or number is None or known in (number, _decimal(written)):
        return (number if known is None else known), ()
    return known, (f"Policy constant {written} disagrees with its type {name}; the type is believed",)


def _chain_refs(body: etree._Element) -> tuple[str, ...]:
    """Return every chain that the event names, in order; event 81 names those of signer and time stamp."""
    named = (attribute(element, "chainRef").upper() for element in body)
    return tuple(dict.fromkeys(filter(None, named)))


def _target(body: etree._Element) -> str:
    """Return the path of the file whose signature is checked or looked up."""
    names = (
        (child(body, "FileInfo"), "filePath"),
        (find(body, "CatalogInfo/Member"), "filePath"),
        (child(body, "CATQueryInfo"), "targetFilePath"),
        (child(body, "CatalogInfo"), "filePath"),
    )
    return next((value for element, name in names if (value := attribute(element, name))), "")


def _decimal(value: str) -> int | None:
    number = whole_number(value.removeprefix("-"))
    return number if number is None or not value.startswith("-") else -number


def log_notice(record: EventRecord) -> LogNotice | None:
    """Return what a record of the System log says about the CAPI2 log; None for any other record.

    The event log service (UserData ``LogFileCleared``, event 104, and ``AutoBackup``, event 105) names the ``Channel``
    of a log that was cleared or moved into an archive, which tells such a log from one that has wrapped.
    """
    if CAPI2_CHANNEL not in record.xml or _LOG_SERVICE not in record.xml:
        return None
    event = parse(record.xml)
    if event is None or event.user_data is None or event.provider != _LOG_SERVICE:
        return None
    body, time = event.user_data, event.time or record.time
    if time is None or text(child(body, "Channel")).casefold() != CAPI2_CHANNEL.casefold():
        return None
    if local_name(body) == "LogFileCleared":
        user = "\\".join(filter(None, (text(child(body, "SubjectDomainName")), text(child(body, "SubjectUserName")))))
        notice = f"the log was cleared at {clock.as_text(time)}{f' by {user}' if user else ''}"
    elif local_name(body) == "AutoBackup":
        name = text(child(body, "BackupPath")).rpartition("\\")[2]
        notice = f"the log was full at {clock.as_text(time)} and was put into {name or 'an archive'}"
    else:
        return None
    return LogNotice(origin=record.origin, host=event.computer, time=time, text=notice)
