r"""Certificates of ``Get-ChildItem Cert:`` as PowerShell saves them: Clixml, JSON, CSV, list text.

``PSParentPath`` names the store: ``Microsoft.PowerShell.Security\Certificate::LocalMachine\CA`` (page
about_Certificate_Provider). Export-Clixml keeps the ``RawData`` (base64) of a whole certificate, and only the values of
selected properties; CSV writes ``System.Byte[]`` for bytes. Names of properties are never localized.
"""

from __future__ import annotations

import base64
import binascii
import re

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.model.stores import PrivateKey, StoreEntry
from evtx_analyzer.read.certificate_files import from_der
from evtx_analyzer.read.certutil_text import STORES

_PARENT = re.compile(r"(?:.*::)?\\?(LocalMachine|CurrentUser)\\([^\\]+)\\?$", re.IGNORECASE)
_LOCATIONS = {"localmachine": "LocalMachine", "currentuser": "CurrentUser"}
# The enumeration StoreName of .NET calls the store CA by another name.
_NAMES = {**STORES, "certificateauthority": "CA"}
_KEY_SPECS = {"exchange": "AT_KEYEXCHANGE", "signature": "AT_SIGNATURE", "1": "AT_KEYEXCHANGE", "2": "AT_SIGNATURE"}
_THUMBPRINT = re.compile(r"[0-9A-F]{40}")


def is_store_row(row: LogRow) -> bool:
    """Return whether a row is a certificate of ``Get-ChildItem Cert:``."""
    known = row.values.keys() & {"Thumbprint", "RawData"}
    return bool(known) and _PARENT.match(row.values.get("PSParentPath", "")) is not None


def store_entry(row: LogRow) -> StoreEntry | Loss:
    """Return the certificate with its store; its bytes are preferred to its properties.

    A Loss if neither shows a thumbprint. Only the properties say whether there is a private key.
    """
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
        reason = "a certificate of a store has no readable thumbprint"
        return Loss(origin=row.origin, reason=reason, extent="1 certificate")
    return StoreEntry(
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


def _bytes(text: str) -> bytes:
    """Return the bytes of a base64 text; empty for any other text (``System.Byte[]`` in CSV)."""
    try:
        return base64.b64decode(text, validate=True) if len(text) > 40 else b""  # noqa: PLR2004  shorter is no certificate
    except (binascii.Error, ValueError):
        return b""


def _key(values: dict[str, str], thumbprint: str) -> PrivateKey | None:
    """Return what the properties say about the private key; None where they say nothing."""
    has_key = values.get("HasPrivateKey", "").casefold()
    provider, spec = values.get("KeyProvider", ""), values.get("KeySpec", "")
    if has_key not in ("true", "false") and not provider:
        return None
    return PrivateKey(
        thumbprint=thumbprint,
        present={"true": True, "false": False}.get(has_key),
        provider=provider,
        key_spec=_KEY_SPECS.get(spec.casefold(), spec),
    )
