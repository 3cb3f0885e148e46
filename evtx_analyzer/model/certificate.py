"""The parts of CAPI2 events: certificates, chain elements, revocation checks and retrievals.

Certificates come from Send connector logs and certificate files as well.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from evtx_analyzer.model.origin import Origin


class Certificate(Struct, frozen=True, kw_only=True, gc=False):
    """What the input shows of a certificate; unknown parts are empty or None.

    ``thumbprint`` is its SHA-1 in upper-case hex, ``not_before`` and ``not_after`` are UTC. ``issuer_urls`` are the
    addresses of the issuer's certificate (Authority Information Access, RFC 5280 4.2.2.1).
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
    """What events 41 and 42 say of one certificate; ``result`` is as in ``Operation``, empty for event 42.

    ``location`` is where the list or answer came from: TvoCache, UrlCache or Wire. ``rejected`` is the check that a
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
    """One ``Action`` of a retrieval; after an error the retrieval may have gone on and succeeded."""

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
    """One ``ChainElement`` of event 11; the first is the leaf.

    ``error`` and ``info`` are the numbers of TrustStatus (``@value``, hex in the log), ``errors`` and ``infos`` the
    names of their bits.
    """

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
