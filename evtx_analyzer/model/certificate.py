"""The parts of CAPI2 events: certificates, chain elements, revocation checks and retrievals.

Certificates come from Send connector logs and certificate files as well.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from evtx_analyzer.model.origin import Origin


class Certificate(Struct, frozen=True, kw_only=True, gc=False):
    """What a log says of a certificate; ``thumbprint`` is SHA-1. Absent parts are empty or None.

    ``issuer_urls`` are the places of the issuer's certificate (Authority Information Access, RFC 5280 4.2.2.1).
    """

    thumbprint: str = ""
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    alternate_names: tuple[str, ...] = ()
    subject_key_id: str = ""
    authority_key_id: str = ""
    usages: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()


class Revocation(Struct, frozen=True, kw_only=True):
    """What events 41 and 42 say of one certificate; ``result`` as ``Operation.result``, empty for event 42.

    ``location`` is TvoCache, UrlCache or Wire: where the list or answer came from. ``rejected`` is the check that a
    list did not pass (event 42: ``CheckTimeValidity``). ``object`` is the file name of the CRL or OCSP answer.
    """

    event_id: int
    time: datetime
    thumbprint: str
    subject: str
    issuer_thumbprint: str
    issuer: str
    result: str
    result_name: str
    reason: str
    location: str
    url: str
    object: str
    rejected: str
    origin: Origin


class Attempt(Struct, frozen=True, kw_only=True):
    """One ``Action`` inside a retrieval; its error does not mean that the retrieval failed: it may have gone on."""

    name: str
    parameter: str
    error: str
    error_name: str


class Retrieval(Struct, frozen=True, kw_only=True):
    """What events 51 (``cache``) and 53 (``network``) say of one URL; ``answer`` is the first line of the response."""

    event_id: int
    time: datetime
    where: Literal["cache", "network"]
    url: str
    object: str
    result: str
    result_name: str
    attempts: tuple[Attempt, ...]
    answer: str
    origin: Origin


class ChainElement(Struct, frozen=True, kw_only=True, gc=False):
    """One ``ChainElement`` of event 11, leaf first; status values decoded from ``@value`` (hex)."""

    thumbprint: str
    subject: str
    error: int
    errors: tuple[str, ...]
    info: int
    infos: tuple[str, ...]
    self_signed: bool
    signature: str = ""
    key: str = ""
    revocation_result: str = ""
    revocation_result_name: str = ""
