"""Files of certificates: .cer and .crt (DER or PEM), .p7b (PKCS #7), .p12/.pfx without a password, ``certutil`` text.

``cryptography`` parses; a private key is never read or kept. ``certutil -store`` prints ``Cert Hash(sha1):`` in the
language of the machine, but ``(sha1)`` stays; of its text only the hash is taken, which says that the certificate
is in that store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read.encoding import decode, guess

if TYPE_CHECKING:
    from cryptography import x509 as types

LARGEST = 16 << 20
_PEM = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CERTIFICATE|PKCS7)-----.*?-----END \1-----", re.DOTALL)
_HASH = re.compile(r"\(sha1\)\s*:\s*((?:[0-9a-fA-F]{2} ?){20})")
_SEQUENCE = b"\x30\x82"
# Windows writes S where RFC 4514 says ST, and E for the mail address.
_SHORT = {"ST": "S", "emailAddress": "E"}


def is_certificate_file(head: bytes) -> bool:
    """Whether a file begins as DER, holds PEM, or is what ``certutil`` prints."""
    if head.startswith(_SEQUENCE) or b"-----BEGIN CERTIFICATE-----" in head or b"-----BEGIN PKCS7-----" in head:
        return True
    encoding, mark = guess(head)
    return _HASH.search(decode(head[mark:], encoding)) is not None


def read_certificate_file(stream: BinaryIO, source: Origin) -> Iterator[CertificateFile | Loss]:
    """Every certificate of the file; one that cannot be parsed is a Loss."""
    data = stream.read(LARGEST)
    if data.startswith(_SEQUENCE):
        yield from _binary(data, source)
        return
    blocks = list(_PEM.finditer(data))
    for block in blocks:
        yield from _pem(block[0], replace(source, offset=block.start()))
    if not blocks:
        encoding, mark = guess(data)
        text = decode(data[mark:], encoding)
        for found in _HASH.finditer(text):
            thumbprint = found[1].replace(" ", "").upper()
            origin = replace(source, line=text.count("\n", 0, found.start()) + 1)
            yield CertificateFile(origin=origin, certificate=Certificate(thumbprint=thumbprint))


def _binary(data: bytes, source: Origin) -> Iterator[CertificateFile | Loss]:
    """DER: a certificate, a PKCS #7 bag or a PKCS #12 bag; which one, only parsing tells."""
    from cryptography import x509  # noqa: PLC0415  start-up cost: only where certificates are in the input
    from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12  # noqa: PLC0415

    reasons = []
    parsers: tuple[tuple[str, Callable[[], list[types.Certificate]]], ...] = (
        ("certificate", lambda: [x509.load_der_x509_certificate(data)]),
        ("PKCS #7", lambda: pkcs7.load_der_pkcs7_certificates(data)),
        ("PKCS #12", lambda: _pkcs12(pkcs12.load_pkcs12(data, None))),
    )
    for what, parse in parsers:
        try:
            found = parse()
        except Exception as error:  # noqa: BLE001  the library raises many kinds, most of them no ValueError
            reasons.append(f"{what}: {error}")
            continue
        yield from (_described(item, source) for item in found)
        return
    yield Loss(origin=source, reason=f"no certificate can be read ({'; '.join(reasons)})", extent="the whole file")


def _pkcs12(bag: object) -> list[types.Certificate]:
    own = getattr(bag, "cert", None)
    others = getattr(bag, "additional_certs", [])
    return [item.certificate for item in ([own] if own else []) + list(others)]


def _pem(block: bytes, source: Origin) -> Iterator[CertificateFile | Loss]:
    from cryptography import x509  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415

    try:
        found = (
            pkcs7.load_pem_pkcs7_certificates(block)
            if b"PKCS7" in block[:20]
            else [x509.load_pem_x509_certificate(block)]
        )
    except Exception as error:  # noqa: BLE001  as above
        yield Loss(origin=source, reason=f"a PEM block holds no readable certificate: {error}", extent="1 certificate")
        return
    yield from (_described(item, source) for item in found)


def _described(certificate: types.Certificate, source: Origin) -> CertificateFile | Loss:
    """A certificate that was parsed; names and dates in it are only looked at now, and may be none."""
    try:
        return CertificateFile(origin=source, certificate=describe(certificate))
    except Exception as error:  # noqa: BLE001  as above
        reason = f"a certificate has a part that cannot be read: {error}"
        return Loss(origin=source, reason=reason, extent="1 certificate")


def describe(certificate: types.Certificate) -> Certificate:
    """What the report keeps of a certificate."""
    from cryptography import x509  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415
    from cryptography.x509.oid import AuthorityInformationAccessOID  # noqa: PLC0415

    extensions = _extensions(certificate)
    names = extensions.get(x509.SubjectAlternativeName.oid)
    own_key, issuer_key = (
        extensions.get(x509.SubjectKeyIdentifier.oid),
        extensions.get(x509.AuthorityKeyIdentifier.oid),
    )
    access = extensions.get(x509.AuthorityInformationAccess.oid) or ()
    return Certificate(
        # SHA-1 names a certificate in Windows; nothing is secured by it.
        thumbprint=certificate.fingerprint(SHA1()).hex().upper(),  # noqa: S303
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:X}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        alternate_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        subject_key_id=own_key.digest.hex().upper() if own_key else "",
        authority_key_id=(issuer_key.key_identifier or b"").hex().upper() if issuer_key else "",
        issuer_urls=tuple(
            item.access_location.value
            for item in access
            if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(item.access_location, x509.UniformResourceIdentifier)
        ),
    )


def _extensions(certificate: types.Certificate) -> dict[object, Any]:
    """Extensions by their identifier; a certificate with broken ones is kept without any."""
    try:
        return {item.oid: item.value for item in certificate.extensions}
    except Exception:  # noqa: BLE001  as above
        return {}
