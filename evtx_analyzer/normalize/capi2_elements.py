"""Parts of CAPI2 events: certificates, chain elements, revocation, retrieval, and flags.

Flags are decoded from ``@value``; the named attributes next to it are copies that may disagree.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from evtx_analyzer import clock
from evtx_analyzer.model.certificate import Attempt, Certificate, ChainElement, Retrieval, Revocation
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.normalize.windows_event import attribute, child, children, find, local_name, text
from evtx_analyzer.wincrypt import (
    FLAG_ELEMENTS,
    IS_SELF_SIGNED,
    TRUST_ERRORS,
    TRUST_INFO,
    as_hex,
    flag_names,
    flag_table,
    from_hex,
    result_name,
)

if TYPE_CHECKING:
    from lxml import etree


def thumbprint(file_ref: str) -> str:
    """Return the SHA-1 thumbprint from ``fileRef`` (``EC53....cer``), upper case; empty for CRLs and OCSP responses."""
    name, dot, kind = file_ref.rpartition(".")
    return name.upper() if dot and kind.lower() == "cer" else ""


def result_of(element: etree._Element | None) -> tuple[str, str]:
    """Return an element's ``@value`` as (hex, symbol); both empty where there is none."""
    number = from_hex(attribute(element, "value"))
    return as_hex(number), result_name(number)


def status_of(element: etree._Element, name: str) -> int | None:
    """Return ``TrustStatus/ErrorStatus`` or ``TrustStatus/InfoStatus`` of a chain or an element."""
    return from_hex(attribute(find(element, f"TrustStatus/{name}"), "value"))


def usages(element: etree._Element | None) -> tuple[str, ...]:
    """Return the OIDs of all ``Usage`` children; their names are localized."""
    return () if element is None else tuple(attribute(child, "oid") for child in children(element, "Usage"))


def chain_elements(chain: etree._Element | None) -> tuple[ChainElement, ...]:
    """Return all ``ChainElement`` of event 11, leaf first."""
    return () if chain is None else tuple(_chain_element(child) for child in children(chain, "ChainElement"))


def _chain_element(element: etree._Element) -> ChainElement:
    certificate = child(element, "Certificate")
    error, info = status_of(element, "ErrorStatus") or 0, status_of(element, "InfoStatus") or 0
    signature, key = child(element, "SignatureAlgorithm"), child(element, "PublicKeyAlgorithm")
    revocation, revocation_name = result_of(find(element, "RevocationInfo/RevocationResult"))
    return ChainElement(
        thumbprint=thumbprint(attribute(certificate, "fileRef")),
        subject=attribute(certificate, "subjectName"),
        error=error,
        errors=flag_names(error, TRUST_ERRORS),
        info=info,
        infos=flag_names(info, TRUST_INFO),
        self_signed=bool(info & IS_SELF_SIGNED),
        signature="/".join(filter(None, (attribute(signature, "publicKeyName"), attribute(signature, "hashName")))),
        key="/".join(filter(None, (attribute(key, "publicKeyName"), attribute(key, "publicKeyLength")))),
        revocation_result=revocation,
        revocation_result_name=revocation_name,
    )


def certificate_of(element: etree._Element) -> Certificate:
    """Return one ``Certificate`` of event 90."""
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
        alternate_names=() if names is None else tuple(text(name) for name in children(names, "DNSName")),
        subject_key_id=attribute(child(element, "SubjectKeyID"), "hash"),
        authority_key_id=attribute(key_id, "hash"),
        usages=usages(None if extensions is None else child(extensions, "ExtendedKeyUsage")),
        issuer_urls=_urls(None if extensions is None else child(extensions, "AuthorityInfoAccess")),
    )


def _urls(element: etree._Element | None) -> tuple[str, ...]:
    """Return every URL below an element, as text or attribute: no export shows which of them it is."""
    if element is None:
        return ()
    values = [value for below in element.iter() for value in (text(below), *map(str, below.attrib.values()))]
    return tuple(dict.fromkeys(value for value in values if value.startswith(("http://", "https://", "ldap://"))))


def _name(element: etree._Element | None) -> str:
    """Return a distinguished name as Exchange prints it: ``CN=..., O=..., C=US``."""
    if element is None:
        return ""
    parts = [(local_name(part), text(part)) for part in element if local_name(part)]
    return ", ".join(f"{key}={value}" for key, value in parts)


def revocation_of(body: etree._Element, event_id: int, time: datetime, origin: Origin) -> Revocation:
    """Return the revocation check of event 41, or of 42, which says that a list was not accepted."""
    certificate = child(body, "Certificate")
    certificate = child(body, "SubjectCertificate") if certificate is None else certificate
    issuer, status = child(body, "IssuerCertificate"), child(body, "RevocationStatus")
    source = child(body, "CertificateRevocationList")
    source = child(body, "OCSPResponse") if source is None else source
    result, name = result_of(child(body, "Result"))
    return Revocation(
        event_id=event_id,
        time=time,
        thumbprint=thumbprint(attribute(certificate, "fileRef")),
        subject=attribute(certificate, "subjectName"),
        issuer_thumbprint=thumbprint(attribute(issuer, "fileRef")),
        issuer=attribute(issuer, "subjectName"),
        result=result,
        result_name=name,
        reason=attribute(status, "reason"),
        location=attribute(source, "location"),
        url=attribute(source, "url"),
        object=attribute(source, "fileRef"),
        rejected=attribute(child(body, "Action"), "name"),
        origin=origin,
    )


def retrieval_of(
    body: etree._Element, event_id: int, where: Literal["cache", "network"], time: datetime, origin: Origin
) -> Retrieval:
    """Return the retrieval of event 51 or 53: where an object was looked for, every attempt, and the result."""
    details = child(body, "AdditionalInfo")
    answers = find(body, "AdditionalInfo/HTTPResponseHeadersInfo")
    headers = [] if answers is None else children(answers, "Header")
    result, name = result_of(child(body, "Result"))
    return Retrieval(
        event_id=event_id,
        time=time,
        where=where,
        url=text(child(body, "URL")),
        object=attribute(child(body, "Object"), "type"),
        result=result,
        result_name=name,
        attempts=() if details is None else tuple(_attempt(action) for action in children(details, "Action")),
        answer=text(headers[0]) if headers else "",
        origin=origin,
    )


def _attempt(action: etree._Element) -> Attempt:
    error, name = result_of(child(action, "Error"))
    return Attempt(
        name=attribute(action, "name"), parameter=attribute(action, "parameter1"), error=error, error_name=name
    )


# ------------------------------------------------------------------------------------------------------------ flags


def decoded(element: etree._Element | None, event_id: int) -> tuple[str, ...]:
    """Return the names of the flags that an element's ``@value`` has set."""
    if element is None:
        return ()
    return flag_names(from_hex(attribute(element, "value")) or 0, flag_table(event_id, local_name(element)) or {})


def correct_flags(body: etree._Element, event_id: int) -> tuple[bool, tuple[str, ...]]:
    """Correct the named flags below ``body``; return whether any changed, and a note for each disagreement.

    Rules read the named flags, so these are corrected in the tree by ``@value``. A value without any named flag is no
    disagreement.
    """
    changed, notes = False, []
    tables = {name: table for (number, name), table in FLAG_ELEMENTS.items() if number in (0, event_id)}
    for element in body.iter(*(f"{{*}}{name}" for name in tables)):
        table, value = tables[local_name(element)], from_hex(attribute(element, "value"))
        if value is None:
            continue
        meant = {name for bit, name in table.items() if value & bit}
        named = {str(name) for name, on in element.attrib.items() if name in table.values() and on == "true"}
        if named == meant:
            continue
        changed = True
        if named:
            notes.append(_disagreement(element, value, named, meant))
        for name in named - meant:
            del element.attrib[name]
        for name in sorted(meant):
            element.set(name, "true")
    return changed, tuple(notes)


def _disagreement(element: etree._Element, value: int, named: set[str], meant: set[str]) -> str:
    extra = [f"names {name}, which the value does not hold" for name in sorted(named - meant)]
    absent = [f"does not name {name}, which the value holds" for name in sorted(meant - named)]
    return f"{local_name(element)} value {value:X} {' and '.join(extra + absent)}; the value is believed"
