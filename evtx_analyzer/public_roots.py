"""The public root certification authorities, as ``certifi`` lists them (Mozilla's list).

The list tells a root from an intermediate by key id or name. A root that is not on it may still be public: Microsoft's
own list has others, so absence proves nothing.

The certificates are searched for encoded bytes (ITU-T X.690; subject key identifier: RFC 5280 4.2.1.2, common name:
X.520). Parsing all of them would take longer than a small analysis.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from evtx_analyzer.distinguished_names import common_name

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_KEY_ID = bytes.fromhex("0603551D0E0416" + "0414")  # OID 2.5.29.14, an octet string around another one of 20 bytes
_COMMON_NAME = bytes.fromhex("0603550403")  # OID 2.5.4.3
_UTF8, _PRINTABLE = 0x0C, 0x13  # tags of the strings in which names are written
_KEY_ID_SIZE = 20
_LONGEST_NAME = 127  # in bytes; from 128 on DER writes the length in another form (X.690 8.1.3)


def is_public_root(subject: str, key_id: str) -> bool:
    """Return whether a certificate is a public root: by its subject key id (20 bytes in hex), else by its subject."""
    digits = re.sub(r"[^0-9A-Fa-f]", "", key_id)
    if len(digits) == 2 * _KEY_ID_SIZE:
        sought = [_KEY_ID + bytes.fromhex(digits)]
    else:
        name = common_name(subject).encode()
        tags = (_UTF8, _PRINTABLE) if 0 < len(name) <= _LONGEST_NAME else ()
        sought = [_COMMON_NAME + bytes((tag, len(name))) + name for tag in tags]
    roots = public_roots()
    return any(text in root for text in sought for root in roots)


def is_public_root_thumbprint(thumbprint: str) -> bool:
    """Return whether a SHA-1 thumbprint (40 hex digits) is that of a public root itself."""
    return thumbprint.upper() in _thumbprints()


@cache
def _thumbprints() -> frozenset[str]:
    return frozenset(hashlib.sha1(root, usedforsecurity=False).hexdigest().upper() for root in public_roots())


@cache
def public_roots() -> tuple[bytes, ...]:
    """Return all roots as DER, read once."""
    import certifi  # noqa: PLC0415  start-up cost: only where a chain stops

    return tuple(base64.b64decode(block) for block in _PEM.findall(Path(certifi.where()).read_bytes()))
