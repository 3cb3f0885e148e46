"""Build the chain of a certificate from the stores of a machine, offline: who issued whom, and which issuer is absent.

An issuer has the name that the certificate says, and the key id where both have one (RFC 5280 4.2.1.1); where the bytes
of both are known, its key must verify the signature. Where several certificates fit (cross-signed authorities), a path
that ends in a trusted root is preferred, then the longest one.

Windows looks for issuers in the stores CA, Root, AuthRoot, My and Trust of the machine (CertGetCertificateChain); a
service does not see those of a user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from evtx_analyzer.distinguished_names import common_name, name_parts
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.stores.assemble import MACHINE, USER, StoreContents

SEARCHED = ("CA", "Root", "AuthRoot", "My", "Trust")
TRUSTED = frozenset({f"{MACHINE}\\Root", f"{MACHINE}\\AuthRoot"})
_DEEPEST, _MOST_PATHS = 10, 200


class Held(Struct, frozen=True, kw_only=True):
    r"""A certificate with the stores that hold it (``LocalMachine\\CA``); ``entry`` is the one that has most data."""

    certificate: Certificate
    stores: tuple[str, ...] = ()
    encoded: bytes = b""
    entry: StoreEntry | None = None


class Pool(Struct, frozen=True, kw_only=True):
    """The certificates of one machine: in its own stores, which its services search, and in stores of a user.

    ``whole`` are the stores that were exported whole.
    """

    machine: tuple[Held, ...]
    user: tuple[Held, ...]
    whole: frozenset[str]

    def of(self, thumbprint: str) -> Held | None:
        """Return the certificate with this thumbprint from a store of the machine; None if there is none."""
        return next((held for held in self.machine if held.certificate.thumbprint == thumbprint), None)

    def in_my(self) -> Iterator[Held]:
        r"""Yield the certificates of LocalMachine\\My."""
        return (held for held in self.machine if f"{MACHINE}\\My" in held.stores)


def pool(contents: Iterable[StoreContents]) -> Pool:
    """Return the certificates of one machine's stores, each once."""
    by_location: dict[str, dict[str, list[tuple[str, StoreEntry]]]] = {MACHINE: {}, USER: {}}
    whole = set()
    for content in contents:
        # certutil lists the stores of the machine unless -user is on its command line.
        location = content.store.location or MACHINE
        label = f"{location}\\{content.store.name}"
        if content.store.whole:
            whole.add(label)
        if location in by_location and content.store.name in SEARCHED:
            for entry in content.entries:
                assert entry.certificate is not None
                by_location[location].setdefault(entry.certificate.thumbprint, []).append((label, entry))
    machine, user = (
        tuple(_held(entries) for _, entries in sorted(by_location[location].items())) for location in (MACHINE, USER)
    )
    return Pool(machine=machine, user=user, whole=frozenset(whole))


def _held(entries: Sequence[tuple[str, StoreEntry]]) -> Held:
    """Return a certificate from all of its entries with the names of their stores."""
    best = max((entry for _, entry in entries), key=lambda entry: (bool(entry.encoded), entry.key is not None))
    assert best.certificate is not None
    return Held(
        certificate=best.certificate,
        stores=tuple(sorted({label for label, _ in entries})),
        encoded=best.encoded,
        entry=best,
    )


def path(leaf: Held, held: Sequence[Held]) -> list[Held]:
    """Return the best path from a certificate upwards through ``held``; only the certificate where no issuer fits."""
    best, tried = [leaf], 0
    waiting = [[leaf]]
    while waiting and tried < _MOST_PATHS:
        so_far = waiting.pop()
        tried += 1
        if _rank(so_far) > _rank(best):
            best = so_far
        if len(so_far) < _DEEPEST and not is_self_signed(so_far[-1].certificate):
            used = {step.certificate.thumbprint for step in so_far}
            above = [issuer for issuer in issuers(so_far[-1], held) if issuer.certificate.thumbprint not in used]
            waiting += [[*so_far, issuer] for issuer in reversed(above)]
    return best


def _rank(path: Sequence[Held]) -> tuple[bool, bool, int]:
    """Return the order of paths: to a trusted root, to any root, the longest."""
    ended = is_self_signed(path[-1].certificate)
    return ended and bool(TRUSTED & set(path[-1].stores)), ended, len(path)


def issuers(below: Held, held: Iterable[Held]) -> list[Held]:
    """Return the certificates that may have issued one; those that verify its signature come first."""
    fitting = [(issuer, signed(below, issuer)) for issuer in held if _fits(below.certificate, issuer.certificate)]
    return [issuer for issuer, verified in sorted(fitting, key=lambda pair: pair[1] is None) if verified is not False]


def _fits(below: Certificate, issuer: Certificate) -> bool:
    """Return whether the name, and the key id where both have one, are those of the issuer."""
    if below.thumbprint == issuer.thumbprint or _differ(below.authority_key_id, issuer.subject_key_id):
        return False
    return bool(issuer.subject) and name_key(issuer.subject) == name_key(below.issuer)


def may_be_held(missing: Certificate, held: Iterable[Held]) -> bool:
    """Return whether a certificate may be the missing one though ``issuers`` did not return it.

    Exports write names in different ways: a certificate with the same key id or common name leaves it open whether the
    missing one is absent.
    """
    name = common_name(missing.subject).casefold()
    return any(
        (missing.subject_key_id and other.certificate.subject_key_id == missing.subject_key_id)
        or (common_name(other.certificate.subject).casefold() == name and not has_other_key(missing, other.certificate))
        for other in held
    )


def has_other_key(missing: Certificate, other: Certificate) -> bool:
    """Return whether the subject key ids of two certificates are known and differ."""
    return _differ(missing.subject_key_id, other.subject_key_id)


def _differ(left: str, right: str) -> bool:
    return bool(left and right) and left != right


def is_self_signed(certificate: Certificate) -> bool:
    """Return whether a certificate names itself as its issuer."""
    return bool(certificate.subject) and name_key(certificate.subject) == name_key(certificate.issuer)


@lru_cache(maxsize=4096)
def name_key(name: str) -> tuple[tuple[str, str], ...]:
    """Return a distinguished name in the form in which names are compared, without escapes of RFC 4514 or Windows."""
    plain = re.sub(r"\\(.)", r"\1", name.replace('""', '"'))
    return tuple(sorted((key.removeprefix("oid."), " ".join(value.split())) for key, value in name_parts(plain)))


def signed(below: Held, issuer: Held) -> bool | None:
    """Return whether the issuer's key verifies the signature of a certificate; None where that cannot be checked."""
    if not below.encoded or not issuer.encoded:
        return None
    return _signed(below.encoded, issuer.encoded)


@lru_cache(maxsize=4096)
def _signed(below: bytes, issuer: bytes) -> bool | None:
    from cryptography import x509  # noqa: PLC0415  start-up cost: only where stores with bytes are in the input
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        x509.load_der_x509_certificate(below).verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
    except InvalidSignature:
        return False
    except Exception:  # noqa: BLE001  the library raises many kinds, most of them no ValueError
        # It also raises where the encoding of two names differs, which are equal by RFC 5280 7.1.
        return None
    return True
