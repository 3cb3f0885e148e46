"""Certificate stores as ``certutil -store`` and the collection script save them, and the sample cases that hold them.

The certificates of ``collector-bundle`` are real ones: keys come from fixed seeds and Ed25519 signs without chance, so
that they are the same each time.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from samples import capi2
from samples.capi2 import PARTIAL_CHAIN, Cert, Recorder
from samples.cases import HOST, KB_TIME, LEAF, ROOT, Files, _send, kb_event_xml, noise
from samples.evtx_writer import write_evtx

_ROOT_AGENCY = ("06376c00aa00648a11cfb8d4aa5c35f4", "CN=Root Agency", "CN=Root Agency")
_HARDWARE = (
    "CN=Microsoft Windows Hardware Compatibility, OU=Microsoft Corporation, OU=Microsoft Windows Hardware "
    "Compatibility Intermediate CA, OU=Copyright (c) 1997 Microsoft Corp."
)
_AUTHORITY = "CN=Microsoft Root Authority, OU=Microsoft Corporation, OU=Copyright (c) 1997 Microsoft Corp."
# What every Windows brings in LocalMachine\CA: serial number, issuer, subject, thumbprint.
WINDOWS_OWN = (
    (*_ROOT_AGENCY, "fee449ee0e3965a5246f000e87fde2a065fd89d4"),
    ("198b11d13f9a8ffe69a0", _AUTHORITY, _HARDWARE, "109f1caed645bb78b3ea2b94c0697c740733031c"),
)
_DATES = ("1/1/2016 12:00 AM", "12/31/2018 11:59 PM")
_END = "CertUtil: -store command completed successfully.\r\n"
_OIDS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "C": NameOID.COUNTRY_NAME}


def name(parts: Sequence[tuple[str, str]]) -> str:
    """A distinguished name as Windows writes it."""
    return ", ".join(f'{key}="{value}"' if "," in value else f"{key}={value}" for key, value in parts)


def listed(store: str, title: str, certificates: Sequence[Cert], *, key: str = "", own: bool = False) -> bytes:
    """One store; ``key`` is the provider of the private keys, ``own`` adds the certificates that Windows brings."""
    entries = list(WINDOWS_OWN if own else ())
    entries += [
        (
            certificate.serial.lower(),
            name(certificate.issuer),
            name(certificate.subject),
            certificate.thumbprint.lower(),
        )
        for certificate in certificates
    ]
    lines = [f'{store} "{title}"']
    for number, (serial, issuer, subject, thumbprint) in enumerate(entries):
        lines += [f"================ Certificate {number} ================", f"Serial Number: {serial}"]
        lines += [f"Issuer: {issuer}", f" NotBefore: {_DATES[0]}", f" NotAfter: {_DATES[1]}", f"Subject: {subject}"]
        lines += ["Root Certificate: Subject matches Issuer" if issuer == subject else "Non-root Certificate"]
        lines += [f"Cert Hash(sha1): {thumbprint}"]
        if key:
            lines += [
                "  Key Container = le-SmtpServer-9c41",
                "  Unique container name: 5f1d2c3b4a5968778695a4b3c2d1e0f1",
            ]
            lines += [f"  Provider = {key}", "Private key is NOT exportable", "Encryption test passed"]
        else:
            lines += ["No key provider information", "Cannot find the certificate and private key for decryption."]
        lines += [""]
    return ("\r\n".join(lines) + "\r\n" + _END).encode("cp437")


def stores_missing_intermediate() -> Files:
    """Event 11 has wrapped away; the machine's stores, listed by certutil, lack the issuer of the certificate."""
    return {
        **kb_event_xml(),
        "store-my.txt": listed("My", "Personal", [LEAF], key="Microsoft RSA SChannel Cryptographic Provider"),
        "store-ca.txt": listed("CA", "Intermediate Certification Authorities", [], own=True),
        "store-root.txt": listed("Root", "Trusted Root Certification Authorities", [ROOT]),
    }


# ------------------------------------------------------------------------------------------------ collector-bundle

_FOLDER = "5764-CORP-SMTP1-20161201-033000"
_AUTHORITIES: dict[str, tuple[tuple[str, str], ...]] = {
    "root": (("C", "US"), ("O", "Example Trust, Inc."), ("CN", "Example Trust Global Root")),
    "issuing": (("C", "US"), ("O", "Example Trust, Inc."), ("CN", "Example Trust TLS CA 2016")),
    "leaf": (("C", "US"), ("O", "ServerName Corp."), ("CN", "*.ServerName.com")),
}


def _key(who: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"sample {who}".encode()).digest())


def _key_id(who: str) -> str:
    return x509.SubjectKeyIdentifier.from_public_key(_key(who).public_key()).digest.hex().upper()


def _name(who: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(_OIDS[key], value) for key, value in _AUTHORITIES[who]])


def der(who: str, issuer: str) -> bytes:
    """A certificate with key ids; the leaf has the names of the server."""
    key, above = _key(who).public_key(), _key(issuer).public_key()
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(who))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(int.from_bytes(hashlib.sha256(who.encode()).digest()[:15], "big"))
        .not_valid_before(datetime(2016, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2018, 12, 31, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=who != "leaf", path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )
    if who == "leaf":
        names = [x509.DNSName("*.servername.com"), x509.DNSName("servername.com")]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(_key(issuer), None).public_bytes(Encoding.DER)


def clixml(location: str, store: str, certificates: Sequence[bytes], *, key: bool = False) -> bytes:
    """A store as the script saves it: chosen properties, the bytes in base64; UTF-16, as Export-Clixml writes."""
    objects = []
    for number, data in enumerate(certificates):
        found = x509.load_der_x509_certificate(data)
        values = {
            "PSParentPath": f"Microsoft.PowerShell.Security\\Certificate::{location}\\{store}",
            "Thumbprint": hashlib.sha1(data, usedforsecurity=False).hexdigest().upper(),
            "Subject": found.subject.rfc4514_string(),
            "Issuer": found.issuer.rfc4514_string(),
            "SerialNumber": f"{found.serial_number:X}",
            "FriendlyName": "",
            "RawData": base64.b64encode(data).decode(),
        }
        texts = "".join(f'<S N="{name}">{value}</S>' for name, value in values.items())
        objects.append(f'<Obj RefId="{number}"><MS>{texts}<B N="HasPrivateKey">{str(key).lower()}</B></MS></Obj>')
    head = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
    return f"{head}{''.join(objects)}</Objs>".encode("utf-16")


def manifest(**changes: Any) -> bytes:  # noqa: ANN401  JSON
    """The manifest of a run on the machine of the sample; ``changes`` replace its values."""
    steps = [("CAPI2 log", "ok", "capi2.evtx"), ("Send connector log Hub", "ok", "1 files")]
    steps += [("message tracking", "failed", "The operation could not be performed because of a time-out.")]
    steps += [("Exchange Online configuration", "absent", "not connected with Connect-ExchangeOnline")]
    steps += [(f"store {name}", "ok", "") for name in ("LocalMachine\\My", "LocalMachine\\CA", "LocalMachine\\Root")]
    zone = {"id": "Pacific Standard Time", "baseUtcOffsetMinutes": -480, "daylightSaving": True}
    values = {
        "collector": "evtx-analyzer collector",
        "manifest": 1,
        "version": "0.1.0",
        "state": "completed",
        "host": "CORP-SMTP1",
        "fqdn": HOST,
        "timeZone": zone,
        "since": "2016-11-30T03:30:00.0000000Z",
        "started": "2016-12-01T03:30:00.0000000Z",
        "ended": "2016-12-01T03:31:12.0000000Z",
        "elevated": True,
        "changes": [],
        "notPutBack": [],
        "steps": [{"name": name, "status": status, "detail": detail} for name, status, detail in steps],
    }
    return b"\xef\xbb\xbf" + json.dumps(values | changes, indent=4).replace("\n", "\r\n").encode()


def collector_bundle() -> Files:
    """What the collection script packs: the intermediate was imported for a user, where the service does not see it."""
    root, issuing, leaf = der("root", "root"), der("issuing", "root"), der("leaf", "issuing")
    thumbprint = hashlib.sha1(leaf, usedforsecurity=False).hexdigest().upper()
    names = {who: tuple(reversed(parts)) for who, parts in _AUTHORITIES.items()}
    sent = Cert(
        thumbprint,
        names["leaf"],
        names["issuing"],
        names=("*.ServerName.com", "ServerName.com"),
        key_id=_key_id("leaf"),
        issuer_key_id=_key_id("issuing"),
    )
    recorder = noise(Recorder(HOST, next_record=2900), KB_TIME, 3)
    broken: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
    capi2.check(recorder, KB_TIME, [(sent, 0)], seed="bundle", **broken)
    agency = _windows_own("Root Agency"), _windows_own("Microsoft Windows Hardware Compatibility")
    files = {
        "manifest.json": manifest(),
        "events/capi2.evtx": write_evtx(recorder.events),
        "SmtpSend-Hub/SEND2016120103-1.LOG": _send(sent).encode(),
        "stores/LocalMachine-My.xml": clixml("LocalMachine", "My", [leaf], key=True),
        "stores/LocalMachine-CA.xml": clixml("LocalMachine", "CA", agency),
        "stores/LocalMachine-Root.xml": clixml("LocalMachine", "Root", [root]),
        "stores/CurrentUser-CA.xml": clixml("CurrentUser", "CA", [*agency, issuing]),
    }
    return {f"{_FOLDER}/{name}": content for name, content in files.items()}


def _windows_own(name: str) -> bytes:
    """A certificate that stands for one of those that Windows brings; its bytes are made up, as its thumbprint is."""
    _AUTHORITIES[name] = (("CN", name),)
    return der(name, name)


STORES: dict[str, Callable[[], Files]] = {
    "stores-missing-intermediate": stores_missing_intermediate,
    "collector-bundle": collector_bundle,
}
