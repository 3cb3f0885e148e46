"""Serialized certificate stores (.sst): ``Export-Certificate -Type SST``, ``certutil``, the certificates snap-in.

MS-OSHARED 2.3.9.1 (DocSigSerializedCertStore) and 2.3.2.5.1 to 2.3.2.5.4: a version of 0 and the type ``CERT``; then
entries of id, encoding, length and value (little-endian, four bytes each). An entry of id 32 is a certificate, those
before it are its properties; 33 and 34 are revocation and trust lists; id 0 ends the store. Property 2 is
CERT_KEY_PROV_INFO_PROP_ID (wincrypt.h): Windows knows a private key. The file does not name its store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.stores import PrivateKey, StoreEntry

MAGIC = b"\0\0\0\0CERT"
LARGEST = 64 << 20
_END, _CERTIFICATE, _HEAD = 0, 32, 12
_LISTS = (33, 34)
_KEY_PROVIDER, _ARCHIVED = 2, 19


def is_serialized_store(head: bytes) -> bool:
    """Return whether a file begins as a serialized store."""
    return head.startswith(MAGIC)


def read_serialized_store(stream: BinaryIO, source: Origin) -> Iterator[StoreEntry | Loss]:
    """Yield a heading and every certificate of the store; a Loss for one that cannot be parsed.

    A store that ends too early is a Loss, too. Archived certificates are left out.
    """
    from evtx_analyzer.read.certificate_files import from_der  # noqa: PLC0415  start-up cost: only where there is one

    data = stream.read(LARGEST + 1)
    yield StoreEntry(origin=source, store="", listing="0")
    place, properties, count = len(MAGIC), set[int](), 0
    while place + _HEAD <= len(data):
        kind, _, size = (int.from_bytes(data[place + at : place + at + 4], "little") for at in (0, 4, 8))
        value = data[place + _HEAD : place + _HEAD + size]
        origin = replace(source, offset=place)
        if kind == _END:
            return
        if len(value) < size:
            break
        place += _HEAD + size
        if kind == _CERTIFICATE:
            certificate = from_der(value)
            if certificate is None:
                reason = f"certificate {count} of the serialized store cannot be parsed"
                yield Loss(origin=origin, reason=reason, extent=f"1 certificate, {size} bytes")
            elif _ARCHIVED not in properties:
                known = PrivateKey(thumbprint=certificate.thumbprint, present=True)
                key = known if _KEY_PROVIDER in properties else None
                entry = StoreEntry(origin=origin, store="", listing="0", number=count, key=key)
                yield replace(entry, certificate=certificate, encoded=value)
            count += 1
        properties = set() if kind in (_CERTIFICATE, *_LISTS) else properties | {kind}
    origin, extent = replace(source, offset=place), f"what follows its first {count} certificates"
    yield Loss(origin=origin, reason="the serialized store ends too early: the file is cut", extent=extent)
