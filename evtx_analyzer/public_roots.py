"""The public root certification authorities, as ``certifi`` lists them (Mozilla's list).

It tells a root from an intermediate by name and key id. A root that is not on the list may still be public: Microsoft's
own list has others, so absence from it proves nothing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from evtx_analyzer.distinguished_names import common_name

if TYPE_CHECKING:
    from cryptography import x509

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class PublicRoots(Struct, frozen=True):
    """Common names, folded, and subject key ids, lower-case hex, of all roots."""

    names: frozenset[str]
    key_ids: frozenset[str]


def is_public_root(subject: str, key_id: str) -> bool:
    """Whether a certificate of this subject or subject key id is a public root; the key id decides where there is one.

    Reading the list takes 60 ms, so ask only where a chain stops.
    """
    roots = public_roots()
    digits = re.sub(r"[^0-9a-f]", "", key_id.casefold())
    return digits in roots.key_ids if digits else common_name(subject).casefold() in roots.names


@cache
def public_roots() -> PublicRoots:
    """The list, read once."""
    import certifi  # noqa: PLC0415  start-up cost
    from cryptography import x509  # noqa: PLC0415

    names, key_ids = set(), set()
    for certificate in _certificates(Path(certifi.where()).read_bytes()):
        parts = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names |= {str(part.value).casefold() for part in parts}
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except (x509.ExtensionNotFound, ValueError):
            continue
        key_ids.add(extension.value.digest.hex())
    return PublicRoots(frozenset(names), frozenset(key_ids))


def _certificates(data: bytes) -> Iterator[x509.Certificate]:
    from cryptography import x509  # noqa: PLC0415

    with warnings.catch_warnings():
        # Old roots have serial numbers that RFC 5280 forbids; what cannot be read is left out.
        warnings.simplefilter("ignore")
        for block in _PEM.findall(data):
            try:
                yield x509.load_pem_x509_certificate(block)
            except ValueError:
                continue
