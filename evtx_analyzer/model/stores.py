"""What certificate stores held when they were exported. The names are the JSON contract, as those in ``evidence``.

Readers yield ``StoreEntry``; ``Store`` and ``StoreChain`` are in the report.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from msgspec import Struct

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import HostBasis, HostRelation
from evtx_analyzer.model.origin import Origin

KeyTest = Literal["passed", "failed", ""]
ChainBasis = Literal["sent", "check", "connector", "name"]


class PrivateKey(Struct, frozen=True, kw_only=True):
    """What an export shows of a certificate's private key; the key itself is never read.

    ``present`` is None where the export does not show it. ``key_spec`` is ``AT_KEYEXCHANGE``, ``AT_SIGNATURE`` or
    ``0`` (a key of a Key Storage Provider), empty where it is not shown. ``test`` is the result of certutil's own test.
    """

    thumbprint: str = ""
    present: bool | None = None
    provider: str = ""
    key_spec: str = ""
    test: KeyTest = ""


class StoreEntry(Struct, frozen=True, kw_only=True):
    """One certificate of an exported store, or the store's own heading (``certificate`` is None).

    ``location`` is ``LocalMachine`` or ``CurrentUser``, empty where the export does not say. ``listing`` tells apart
    the lists of one file. ``number`` is the place in the store, where it is shown. ``whole`` is what a heading says:
    whether everything in the store is listed, None where that is not known. ``encoded`` is the DER of the certificate
    where the export holds it. ``dates`` are the validity period as a local text, ``first_day`` and ``last_day`` its
    days by the clock of the machine. ``verified`` is the result of ``certutil -verifystore`` (hex), ``0`` for success.
    """

    origin: Origin
    store: str
    location: str = ""
    host: str = ""
    listing: str = ""
    certificate: Certificate | None = None
    key: PrivateKey | None = None
    number: int | None = None
    whole: bool | None = None
    encoded: bytes = b""
    dates: tuple[str, str] = ("", "")
    order: str = ""
    first_day: date | None = None
    last_day: date | None = None
    verified: str = ""


class Store(Struct, frozen=True, kw_only=True):
    """One certificate store of one machine: ``name`` is that of Windows (``My``, ``CA``, ``Root``, ``AuthRoot``).

    ``location`` is ``LocalMachine`` or ``CurrentUser``, empty where the export does not say. ``exported`` is the time
    of the export (UTC), None if it is not known: a store shows the state at that time and not at the refusal. ``whole``
    is True if the export is known to list everything, False if it was filtered, None if that is not known: only a whole
    export shows what the store lacks. ``keys`` are the private keys that the export names.
    """

    name: str
    host: str
    certificates: tuple[Certificate, ...]
    origin: Origin
    location: str = ""
    host_basis: HostBasis = "unknown"
    exported: datetime | None = None
    whole: bool | None = None
    keys: tuple[PrivateKey, ...] = ()
    notes: tuple[str, ...] = ()


class StoreElement(Struct, frozen=True, kw_only=True):
    """One certificate of a chain that was built from stores, leaf first, and the stores that hold it.

    ``signed`` is whether the next element's key signed it, None where an export lacks the bytes to verify.
    """

    thumbprint: str
    subject: str
    issuer: str
    stores: tuple[str, ...]
    not_after: datetime | None = None
    signed: bool | None = None


class StoreChain(Struct, frozen=True, kw_only=True):
    r"""The chain of one certificate, built offline from the stores of the machine that an incident is about.

    ``basis`` says why this certificate was chosen: it was sent, CAPI2 checked it, the Send connector names it, or it
    has the server's name. ``result`` is ``complete`` (a self-signed root ends it), ``issuer-absent`` (the whole store
    LocalMachine\CA was exported and lacks the issuer), or ``unknown``. ``missing_issuer`` is that issuer as far as the
    certificate names it. ``elsewhere`` are stores that hold the missing issuer where services do not look
    (CurrentUser). ``same_name`` are other certificates of LocalMachine\My that share a name with it.
    """

    incident: str
    host: str
    host_relation: HostRelation
    basis: ChainBasis
    thumbprint: str
    subject: str
    result: Literal["complete", "issuer-absent", "unknown"]
    elements: tuple[StoreElement, ...]
    origin: Origin
    missing_issuer: Certificate | None = None
    missing_issuer_role: Literal["root", "intermediate", "unknown"] | None = None
    elsewhere: tuple[str, ...] = ()
    key: PrivateKey | None = None
    same_name: tuple[str, ...] = ()
    exported: datetime | None = None
    signals: tuple[str, ...] = ()
