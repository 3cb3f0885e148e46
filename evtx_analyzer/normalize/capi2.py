"""CAPI2 Operational events (provider Microsoft-Windows-CAPI2) to ``Capi2Event``.

The schemas were read off 799 real records; there is no public manifest. What a reader gets wrong there: every
``@value`` is hex without prefix; Level is not the result; ``Result`` may be absent; ``RevocationResult`` and ``Error``
are not the result; texts and usage names are in the language of the machine that wrote them.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.constants import (
    CAPI2_CHANNEL,
    CAPI2_PROVIDER,
    IS_SELF_SIGNED,
    POLICIES,
    TRUST_ERRORS,
    TRUST_INFO,
    flag_names,
    from_hex,
)
from evtx_analyzer.model import Capi2Event, Certificate, ChainElement, EventRecord, Fields, Loss, Origin
from evtx_analyzer.normalize.windows_event import (
    WindowsEvent,
    attribute,
    child,
    children,
    find,
    local_name,
    parse,
    text,
)

if TYPE_CHECKING:
    from lxml import etree

KIND = "capi2"
X509_OBJECTS = 90
"""Event id of the certificates of a chain, written as XML."""


def is_capi2(record: EventRecord) -> bool:
    """Whether a record is worth parsing as CAPI2; other channels are told apart without parsing XML."""
    return CAPI2_CHANNEL in record.xml


def normalize_capi2(record: EventRecord) -> Capi2Event | Loss | None:
    """The typed event; None for an event of another channel; a Loss for one that cannot be read."""
    if not is_capi2(record):
        return None
    event = parse(record.xml)
    if event is None:
        return Loss(origin=record.origin, reason="the event's XML cannot be parsed", extent="1 event")
    if event.provider != CAPI2_PROVIDER or event.channel != CAPI2_CHANNEL:
        return None
    time = event.time or record.time
    if time is None:
        return Loss(origin=record.origin, reason="the event has no readable time", extent="1 event")
    origin = record.origin
    if origin.record is None:
        origin = replace(origin, record=event.record_id)
    body = event.user_data
    if body is None:
        return Loss(
            origin=origin,
            reason="the event has no UserData, so no CAPI2 facts (a message-only export)",
            extent="1 event; export again with: wevtutil epl Microsoft-Windows-CAPI2/Operational capi2.evtx",
        )
    return _typed(event, body, time, origin)


def _typed(event: WindowsEvent, body: etree._Element, time: datetime, origin: Origin) -> Capi2Event:
    certificate, policy, chain = child(body, "Certificate"), child(body, "Policy"), child(body, "CertificateChain")
    task, process = child(body, "CorrelationAuxInfo"), child(body, "EventAuxInfo")
    number = from_hex(attribute(policy, "constant"))
    return Capi2Event(
        origin=origin,
        time=time,
        host=event.computer,
        event_id=event.event_id,
        level=event.level,
        process_id=event.process_id,
        thread_id=event.thread_id,
        process=attribute(process, "ProcessName"),
        task_id=attribute(task, "TaskId").upper(),
        sequence=_decimal(attribute(task, "SeqNumber")),
        chain_ref=attribute(chain, "chainRef").upper(),
        thumbprint=thumbprint(attribute(certificate, "fileRef")),
        subject=attribute(certificate, "subjectName"),
        server_name=attribute(child(body, "SSLAdditionalPolicyInfo"), "serverName"),
        policy=number,
        policy_name=attribute(policy, "type") or POLICIES.get(number or 0, ""),
        result=from_hex(attribute(child(body, "Result"), "value")),
        chain=_chain(chain),
        chain_error=None if chain is None else _status(chain, "ErrorStatus"),
        certificates=tuple(_certificate(item) for item in children(body, "Certificate")) if _is_x509(event) else (),
        fields=_with_decoded_flags(event.fields, chain),
    )


def _with_decoded_flags(fields: Fields, chain: etree._Element | None) -> Fields:
    """The flat view with the flags of the chain's ErrorStatus as its value says; the named copies may disagree."""
    error = None if chain is None else _status(chain, "ErrorStatus")
    if error is None:
        return fields
    prefix = "CertificateChain.TrustStatus.ErrorStatus."
    kept = {name: values for name, values in fields.items() if not name.startswith(f"{prefix}CERT_TRUST_")}
    return kept | {f"{prefix}{name}": ("true",) for name in flag_names(error, TRUST_ERRORS)}


def thumbprint(file_ref: str) -> str:
    """SHA-1 thumbprint from ``fileRef`` (``EC53....cer``), upper case; empty for CRLs and OCSP responses."""
    name, dot, kind = file_ref.rpartition(".")
    return name.upper() if dot and kind.lower() == "cer" else ""


def _is_x509(event: WindowsEvent) -> bool:
    return event.event_id == X509_OBJECTS


def _chain(chain: etree._Element | None) -> tuple[ChainElement, ...]:
    return () if chain is None else tuple(_chain_element(item) for item in children(chain, "ChainElement"))


def _chain_element(element: etree._Element) -> ChainElement:
    certificate = child(element, "Certificate")
    error, info = _status(element, "ErrorStatus") or 0, _status(element, "InfoStatus") or 0
    return ChainElement(
        thumbprint=thumbprint(attribute(certificate, "fileRef")),
        subject=attribute(certificate, "subjectName"),
        error=error,
        errors=flag_names(error, TRUST_ERRORS),
        info=info,
        infos=flag_names(info, TRUST_INFO),
        self_signed=bool(info & IS_SELF_SIGNED),
    )


def _status(element: etree._Element, name: str) -> int | None:
    return from_hex(attribute(find(element, f"TrustStatus/{name}"), "value"))


def _certificate(element: etree._Element) -> Certificate:
    extensions = child(element, "Extensions")
    names = None if extensions is None else child(extensions, "SubjectAltName")
    key_id = None if extensions is None else find(extensions, "AuthorityKeyIdentifier/KeyID")
    return Certificate(
        thumbprint=thumbprint(element.get("fileRef", "")),
        subject=_name(child(element, "Subject")),
        issuer=_name(child(element, "Issuer")),
        serial=text(child(element, "SerialNumber")),
        not_before=clock.from_iso(text(child(element, "NotBefore"))),
        not_after=clock.from_iso(text(child(element, "NotAfter"))),
        alternate_names=() if names is None else tuple(text(item) for item in children(names, "DNSName")),
        subject_key_id=attribute(child(element, "SubjectKeyID"), "hash"),
        authority_key_id=attribute(key_id, "hash"),
    )


def _name(element: etree._Element | None) -> str:
    """A distinguished name as Exchange prints it: ``CN=..., O=..., C=US``."""
    if element is None:
        return ""
    parts = [(local_name(item), text(item)) for item in element if local_name(item)]
    return ", ".join(f"{key}={value}" for key, value in parts)


def _decimal(value: str) -> int | None:
    return int(value) if value.isdigit() else None
