"""Certificate stores as ``certutil -store`` prints them, and the sample cases that hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from samples.capi2 import Cert
from samples.cases import LEAF, ROOT, Files, kb_event_xml

# What every Windows brings in LocalMachine\CA.
WINDOWS_OWN = (
    (
        "06376c00aa00648a11cfb8d4aa5c35f4",
        "CN=Root Agency",
        "CN=Root Agency",
        "fee449ee0e3965a5246f000e87fde2a065fd89d4",
    ),
    (
        "198b11d13f9a8ffe69a0",
        "CN=Microsoft Root Authority, OU=Microsoft Corporation, OU=Copyright (c) 1997 Microsoft Corp.",
        "CN=Microsoft Windows Hardware Compatibility, OU=Microsoft Corporation, OU=Microsoft Windows Hardware "
        "Compatibility Intermediate CA, OU=Copyright (c) 1997 Microsoft Corp.",
        "109f1caed645bb78b3ea2b94c0697c740733031c",
    ),
)
_DATES = ("1/1/2016 12:00 AM", "12/31/2018 11:59 PM")
_END = "CertUtil: -store command completed successfully.\r\n"


def name(parts: Sequence[tuple[str, str]]) -> str:
    """A distinguished name as Windows writes it."""
    return ", ".join(f'{key}="{value}"' if "," in value else f"{key}={value}" for key, value in parts)


def listed(store: str, title: str, certificates: Sequence[Cert], *, key: str = "", own: bool = False) -> bytes:
    """One store; ``key`` is the provider of the private keys, ``own`` adds the certificates that Windows brings."""
    entries = list(WINDOWS_OWN if own else ())
    entries += [
        (item.serial.lower(), name(item.issuer), name(item.subject), item.thumbprint.lower()) for item in certificates
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


STORES: dict[str, Callable[[], Files]] = {"stores-missing-intermediate": stores_missing_intermediate}
