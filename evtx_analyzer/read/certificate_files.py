"""Files of certificates: .cer and .crt (DER or PEM), .p7b (PKCS #7), .p12/.pfx without a password.

``cryptography`` parses; a private key is never read or kept. A PKCS #12 file begins with its version 3 (RFC 7292 4), a
PKCS #7 file with the identifier of signed data (RFC 2315 14), a certificate with a sequence. A PKCS #12 file that a
password protects is refused: only its certificates are needed, and nobody should send a private key.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile
from evtx_analyzer.model.origin import Loss, Origin

if TYPE_CHECKING:
    from cryptography import x509 as types
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

LARGEST = 16 << 20
without_warnings = partial(warnings.catch_warnings, action="ignore")
"""Silences what the library says about other people's certificates, such as a serial number of zero."""
# X509 CERTIFICATE is what older OpenSSL writes (RFC 7468 5.1).
_PEM_BEGIN = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CERTIFICATE|PKCS7)-----")
_PEM = re.compile(_PEM_BEGIN.pattern + rb"(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL)
_SEQUENCE = b"\x30\x82"  # of 256 to 65,535 bytes, as every certificate is
# A sequence of any length (ITU-T X.690 8.1.3) that begins with the number 3, or with identifier 1.2.840.113549.1.7.2.
_ANY_SEQUENCE = rb"\x30(?:\x80|[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)"
_PKCS12 = re.compile(_ANY_SEQUENCE + rb"\x02\x01\x03[\x30\xa0]", re.DOTALL)
_PKCS7 = re.compile(_ANY_SEQUENCE + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", re.DOTALL)
_REFUSED = (
    "a PKCS #12 file (.pfx, .p12) under a password: it holds a private key, and nothing of it was read. Send the "
    "certificates alone: certutil -store My > store-my.txt on the server, or Export-Certificate; a private key should "
    "stay where it is"
)
# Windows writes S where RFC 4514 says ST, E for the mail address (PKCS #9), SERIALNUMBER for that of a subject.
_WINDOWS_KEYS = {"2.5.4.8": "S", "1.2.840.113549.1.9.1": "E", "2.5.4.5": "SERIALNUMBER"}
_QUOTED = frozenset(',+"\\<>;=\n')


def is_certificate_file(head: bytes) -> bool:
    """Return whether a file begins as DER or holds PEM."""
    return _is_binary(head) or _PEM_BEGIN.search(_one_byte_each(head)) is not None


def _is_binary(head: bytes) -> bool:
    return head.startswith(_SEQUENCE) or bool(_PKCS12.match(head) or _PKCS7.match(head))


def read_certificate_file(stream: BinaryIO, source: Origin) -> Iterator[CertificateFile | Loss]:
    """Yield every certificate of the file, and a Loss for each that cannot be parsed."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        reason = f"the certificate file is larger than {LARGEST} bytes"
        yield Loss(origin=source, reason=reason, extent="what lies beyond")
    if _is_binary(data):
        yield from _binary(data, source)
        return
    text = _one_byte_each(data)
    for begin in _PEM_BEGIN.finditer(text):
        offset = begin.start() * (1 if text is data else 2)
        origin, block = replace(source, offset=offset), _PEM.match(text, begin.start())
        if block is None:
            yield Loss(origin=origin, reason="a PEM block is cut: it has no end", extent="1 certificate")
        else:
            yield from _pem(block[0], origin)


def _one_byte_each(data: bytes) -> bytes:
    """Return PEM in UTF-16, as Windows PowerShell's ``>`` writes it, without its NULs; any other bytes as they are."""
    forms = (data, data[::2], data[1::2])  # of UTF-16, little and big endian, the bytes that ASCII has
    return next((form for form in forms if _PEM_BEGIN.search(form)), data)


def from_der(data: bytes) -> Certificate | None:
    """Return the certificate in DER bytes as a report shows it; None if it cannot be parsed."""
    from cryptography import x509  # noqa: PLC0415  start-up cost: only where certificates are in the input

    try:
        with without_warnings():
            return describe(x509.load_der_x509_certificate(data))
    except Exception:  # noqa: BLE001  the library raises many kinds, such as InvalidVersion, that are no ValueError
        return None


def _binary(data: bytes, source: Origin) -> Iterator[CertificateFile | Loss]:
    """Yield the certificates of a binary file: DER, PKCS #7 or PKCS #12, which only parsing tells apart."""
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
            with without_warnings():
                certificates = parse()
        except Exception as error:  # noqa: BLE001  the library raises many kinds, most of them no ValueError
            reasons.append(f"{what}: {error}")
            continue
        yield from (_described(certificate, source) for certificate in certificates)
        return
    reason = _REFUSED if _PKCS12.match(data) else f"no certificate can be read ({'; '.join(reasons)})"
    yield Loss(origin=source, reason=reason, extent="the whole file")


def _pkcs12(bag: PKCS12KeyAndCertificates) -> list[types.Certificate]:
    return [entry.certificate for entry in (bag.cert, *bag.additional_certs) if entry]


def _pem(block: bytes, source: Origin) -> Iterator[CertificateFile | Loss]:
    from cryptography import x509  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415

    try:
        with without_warnings():
            certificates = (
                pkcs7.load_pem_pkcs7_certificates(block)
                if b"PKCS7" in block[:20]
                else [x509.load_pem_x509_certificate(block)]
            )
    except Exception as error:  # noqa: BLE001  as above
        yield Loss(origin=source, reason=f"a PEM block holds no readable certificate: {error}", extent="1 certificate")
        return
    yield from (_described(certificate, source) for certificate in certificates)


def _described(certificate: types.Certificate, source: Origin) -> CertificateFile | Loss:
    """Return a parsed certificate as an event; a Loss if a name or date in it, decoded only now, is invalid."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  as above

    try:
        with without_warnings():
            encoded = certificate.public_bytes(Encoding.DER)
            return CertificateFile(origin=source, certificate=describe(certificate), encoded=encoded)
    except Exception as error:  # noqa: BLE001  as above
        reason = f"a certificate has a part that cannot be read: {error}"
        return Loss(origin=source, reason=reason, extent="1 certificate")


def describe(certificate: types.Certificate) -> Certificate:
    """Return a certificate as a report shows it."""
    from cryptography import x509  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415
    from cryptography.x509.oid import AuthorityInformationAccessOID  # noqa: PLC0415

    extensions = _extensions(certificate)
    names = extensions.get(x509.SubjectAlternativeName.oid)
    own_key = extensions.get(x509.SubjectKeyIdentifier.oid)
    issuer_key = extensions.get(x509.AuthorityKeyIdentifier.oid)
    access = extensions.get(x509.AuthorityInformationAccess.oid) or ()
    return Certificate(
        # SHA-1 names a certificate in Windows; nothing is secured by it.
        thumbprint=certificate.fingerprint(SHA1()).hex().upper(),  # noqa: S303
        subject=_windows_name(certificate.subject),
        issuer=_windows_name(certificate.issuer),
        serial=f"{certificate.serial_number:X}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        alternate_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        subject_key_id=own_key.digest.hex().upper() if own_key else "",
        authority_key_id=(issuer_key.key_identifier or b"").hex().upper() if issuer_key else "",
        issuer_urls=tuple(
            description.access_location.value
            for description in access
            if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(description.access_location, x509.UniformResourceIdentifier)
        ),
    )


def _windows_name(name: types.Name) -> str:
    """Return a distinguished name as Windows and Exchange write it, so that a report holds one notation only.

    The most specific part comes first, each comma is followed by a blank, and a value with a comma stands in quotes.
    """
    parts = ["+".join(_windows_attribute(attribute) for attribute in rdn) for rdn in reversed(list(name.rdns))]
    return ", ".join(parts)


def _windows_attribute(attribute: types.NameAttribute[Any]) -> str:
    key = _WINDOWS_KEYS.get(attribute.oid.dotted_string, attribute.rfc4514_attribute_name)
    value = attribute.value if isinstance(attribute.value, str) else f"#{attribute.value.hex()}"
    quoted = '"' + value.replace('"', '""') + '"'
    return f"{key}={quoted if set(value) & _QUOTED or value != value.strip() else value}"


def _extensions(certificate: types.Certificate) -> dict[object, Any]:
    """Return the extensions by their identifier; none if any is broken, so that the certificate is kept."""
    try:
        return {extension.oid: extension.value for extension in certificate.extensions}
    except Exception:  # noqa: BLE001  as above
        return {}
