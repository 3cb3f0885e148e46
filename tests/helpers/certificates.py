"""Real certificates for tests, made by ``cryptography``, and a serialized store written by the specification."""

from __future__ import annotations

import base64
import hashlib
import struct
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

START, END = datetime(2016, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)


@cache
def key(name):
    return ec.generate_private_key(ec.SECP256R1())


def dn(text):
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, text)]
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example, Inc."), *parts])


def make(subject, issuer, *, subject_key=None, issuer_key=None, names=(), end=END, key_ids=True):
    """A certificate; the keys are those of the names unless others are given, so that names and keys can differ."""
    own, above = key(subject_key or subject), key(issuer_key or issuer)
    made = (
        x509.CertificateBuilder()
        .subject_name(dn(subject))
        .issuer_name(dn(issuer))
        .public_key(own.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(f"{subject}{issuer}{issuer_key}".encode()).digest()[:12], "big"))
        .not_valid_before(START)
        .not_valid_after(end)
    )
    if key_ids:
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False
        )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return made.sign(above, hashes.SHA256()).public_bytes(Encoding.DER)


def thumbprint(data):
    return hashlib.sha1(data).hexdigest().upper()


def serialized_store(certificates, *, keys=(), end=True):
    """MS-OSHARED 2.3.9.1: version, type, entries of id, encoding 1, length and value, the end."""
    data = struct.pack("<II", 0, 0x54524543)
    for certificate in certificates:
        if certificate in keys:
            data += struct.pack("<III", 2, 1, 4) + b"info"
        data += struct.pack("<III", 3, 1, 20) + hashlib.sha1(certificate).digest()
        data += struct.pack("<III", 32, 1, len(certificate)) + certificate
    return data + (struct.pack("<III", 0, 0, 0) if end else b"")


def clixml(entries, encoding="utf-16"):
    """Whole certificates as Export-Clixml writes them: RawData in Props, the provider's properties in MS."""
    objects = "".join(
        f'<Obj RefId="{number}"><TN RefId="0"><T>System.Security.Cryptography.X509Certificates.X509Certificate2</T>'
        f"</TN>"
        f'<ToString>[Subject]_x000D__x000A_</ToString><Props><BA N="RawData">{base64.b64encode(data).decode()}</BA>'
        f'</Props><MS><S N="PSPath">{path}\\{thumbprint(data)}</S><S N="PSParentPath">{path}</S>'
        f'<B N="PSIsContainer">false</B></MS></Obj>'
        for number, (path, data) in enumerate(entries)
    )
    head = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
    return f"{head}{objects}</Objs>".encode(encoding)


def path(location, store):
    return f"Microsoft.PowerShell.Security\\Certificate::{location}\\{store}"


def certutil(store, title, entries, *, command="", first=0, end="CertUtil: -store command completed successfully."):
    """What ``certutil -store`` prints of (serial, issuer, subject, hash) and lines on the key."""
    lines = [command] if command else []
    lines += [f'{store} "{title}"']
    for number, (issuer, subject, hashed, *more) in enumerate(entries, first):
        lines += [f"================ Certificate {number} ================", "Serial Number: 0a1b2c"]
        lines += [f"Issuer: {issuer}", " NotBefore: 1/1/2016 1:00 AM", " NotAfter: 1/13/2019 1:00 AM"]
        lines += [f"Subject: {subject}", "Non-root Certificate", f"Cert Hash(sha1): {hashed.lower()}", *more, ""]
    return "\r\n".join([*lines, end, ""] if end else lines)
