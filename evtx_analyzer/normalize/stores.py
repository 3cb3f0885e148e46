r"""Entries of certificate stores: what ``certutil`` and .sst files list, and what ``Get-ChildItem Cert:`` gives.

``PSParentPath`` names the store: ``Microsoft.PowerShell.Security\Certificate::LocalMachine\CA`` (page
about_Certificate_Provider). Export-Clixml keeps of a whole certificate its ``RawData`` (base64) and of chosen properties their values;
CSV writes ``System.Byte[]`` for bytes. ``certutil`` and CSV write dates as the culture and the clock of the machine
show them: without a zone only the days are known.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.clock import DateOrder
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.model.stores import PrivateKey, StoreEntry
from evtx_analyzer.read.certificate_files import from_der
from evtx_analyzer.read.certutil_text import STORES

KIND = "certificate-store"
_PARENT = re.compile(r"(?:.*::)?\\?(LocalMachine|CurrentUser)\\([^\\]+)\\?$", re.IGNORECASE)
_LOCATIONS = {"localmachine": "LocalMachine", "currentuser": "CurrentUser"}
# The enumeration StoreName of .NET calls the store CA by another name.
_NAMES = {**STORES, "certificateauthority": "CA"}
_KEY_SPECS = {"exchange": "AT_KEYEXCHANGE", "signature": "AT_SIGNATURE", "1": "AT_KEYEXCHANGE", "2": "AT_SIGNATURE"}
_THUMBPRINT = re.compile(r"[0-9A-F]{40}")


def is_store_row(row: LogRow) -> bool:
    """Whether a row is a certificate of ``Get-ChildItem Cert:``."""
    return _PARENT.match(row.values.get("PSParentPath", "")) is not None and bool(
        row.values.keys() & {"Thumbprint", "RawData"}
    )


def normalize_store_row(row: LogRow, zone: ZoneInfo | None = None) -> StoreEntry | Loss:
    """The certificate with its store; its bytes tell more than the properties, which are there for its key."""
    values = row.values
    parent = _PARENT.match(values["PSParentPath"])
    assert parent is not None
    encoded = _bytes(values.get("RawData", ""))
    certificate = from_der(encoded) if encoded else None
    if certificate is None:
        encoded = b""
        certificate = Certificate(
            thumbprint=re.sub(r"[^0-9A-Fa-f]", "", values.get("Thumbprint", "")).upper(),
            subject=values.get("Subject", ""),
            issuer=values.get("Issuer", ""),
            serial=values.get("SerialNumber", "").lstrip("0"),
        )
    if not _THUMBPRINT.fullmatch(certificate.thumbprint):
        return Loss(
            origin=row.origin, reason="a certificate of a store has no readable thumbprint", extent="1 certificate"
        )
    entry = StoreEntry(
        origin=row.origin,
        store=_NAMES.get(parent[2].casefold(), parent[2]),
        location=_LOCATIONS[parent[1].casefold()],
        host=values.get("PSComputerName", ""),
        certificate=certificate,
        key=_key(values, certificate.thumbprint),
        encoded=encoded,
        dates=(values.get("NotBefore", ""), values.get("NotAfter", "")),
        order=values.get("#order", ""),
    )
    return normalize_store_entry(entry, zone)


def normalize_store_entry(entry: StoreEntry, zone: ZoneInfo | None = None) -> StoreEntry:
    """The entry with its validity period: times where the zone is known, days else."""
    certificate = entry.certificate
    if certificate is None or certificate.not_after is not None:
        return entry
    (first, first_known), (last, last_known) = (_time(text, entry.order, zone) for text in entry.dates)
    if first is None or last is None:
        return entry
    entry = replace(entry, first_day=first.date(), last_day=last.date())
    if not (first_known and last_known):
        return entry
    return replace(entry, certificate=replace(certificate, not_before=first, not_after=last))


def _time(text: str, order: str, zone: ZoneInfo | None) -> tuple[datetime | None, bool]:
    """A time of a culture and whether its UTC time is known; None where its day cannot be told from its month."""
    iso = clock.from_iso(text) if "T" in text else None
    if iso is not None:
        # Without an offset the digits are local.
        return iso, bool(re.search(r"(?:Z|[+-]\d\d:?\d\d)$", text.strip()))
    seconds = re.sub(
        r"(\d{1,2}[:.]\d\d)(?=\s*(?:[AaPp]\.?[Mm]\.?)?\s*$)(?<!\d\d[:.]\d\d[:.]\d\d)", r"\1:00", text.strip()
    )
    found = clock.from_local(seconds, cast("DateOrder", order), zone) or clock.from_local(
        text, cast("DateOrder", order), zone
    )
    if found is None or found.other is not None:
        return None, False
    return found.time, found.basis in ("utc", "zone")


def _bytes(text: str) -> bytes:
    """The bytes of a base64 text; empty where it is none (``System.Byte[]`` in CSV)."""
    try:
        return base64.b64decode(text, validate=True) if len(text) > 40 else b""  # noqa: PLR2004  shorter is no certificate
    except (binascii.Error, ValueError):
        return b""


def _key(values: dict[str, str], thumbprint: str) -> PrivateKey | None:
    told = values.get("HasPrivateKey", "").casefold()
    provider, spec = values.get("KeyProvider", ""), values.get("KeySpec", "")
    if told not in ("true", "false") and not provider:
        return None
    return PrivateKey(
        thumbprint=thumbprint,
        present={"true": True, "false": False}.get(told),
        provider=provider,
        key_spec=_KEY_SPECS.get(spec.casefold(), spec),
    )
