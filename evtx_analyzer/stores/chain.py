"""The chain of a certificate from the stores of a machine, offline: who issued whom, and which issuer is absent.

An issuer has the name that the certificate gives, and its key id where both write one (RFC 5280 4.2.1.1); where the
bytes of both are there, its key must verify the signature. Where several certificates fit (cross-signed authorities),
the path that ends in a trusted root is taken, then the longest one.

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
    r"""A certificate with the stores that hold it (``LocalMachine\\CA``); ``entry`` is the one that tells most."""

    certificate: Certificate
    stores: tuple[str, ...] = ()
    encoded: bytes = b""
    entry: StoreEntry | None = None


class Pool(Struct, frozen=True, kw_only=True):
    """The certificates of one machine's stores: what its services find, and what only a user does."""

    machine: tuple[Held, ...]
    user: tuple[Held, ...]
    whole: frozenset[str]

    def of(self, thumbprint: str) -> Held | None:
        """The certificate of this thumbprint in a store of the machine."""
        return next((held for held in self.machine if held.certificate.thumbprint == thumbprint), None)

    def in_my(self) -> Iterator[Held]:
        r"""Certificates of LocalMachine\\My."""
        return (held for held in self.machine if f"{MACHINE}\\My" in held.stores)


def pool(contents: Iterable[StoreContents]) -> Pool:
    """The certificates of one machine's stores, each once."""
    sides: dict[str, dict[str, list[tuple[str, StoreEntry]]]] = {MACHINE: {}, USER: {}}
    whole = set()
    for item in contents:
        # The stores of the machine are what certutil lists unless it is told otherwise.
        location = item.store.location or MACHINE
        label = f"{location}\\{item.store.name}"
        if item.store.whole:
            whole.add(label)
        if location in sides and item.store.name in SEARCHED:
            for entry in item.entries:
                assert entry.certificate is not None
                sides[location].setdefault(entry.certificate.thumbprint, []).append((label, entry))
    machine, user = (tuple(_held(found) for _, found in sorted(sides[side].items())) for side in (MACHINE, USER))
    return Pool(machine=machine, user=user, whole=frozenset(whole))


def _held(found: Sequence[tuple[str, StoreEntry]]) -> Held:
    best = max((entry for _, entry in found), key=lambda entry: (bool(entry.encoded), entry.key is not None))
    assert best.certificate is not None
    return Held(
        certificate=best.certificate,
        stores=tuple(sorted({label for label, _ in found})),
        encoded=best.encoded,
        entry=best,
    )


def path(leaf: Held, held: Sequence[Held]) -> list[Held]:
    """The best path from a certificate upwards through these certificates; the certificate alone where none fits."""
    best, tried = [leaf], 0
    waiting = [[leaf]]
    while waiting and tried < _MOST_PATHS:
        so_far = waiting.pop()
        tried += 1
        if _rank(so_far) > _rank(best):
            best = so_far
        if len(so_far) < _DEEPEST and not is_self_signed(so_far[-1].certificate):
            known = {item.certificate.thumbprint for item in so_far}
            above = [item for item in issuers(so_far[-1], held) if item.certificate.thumbprint not in known]
            waiting += [[*so_far, item] for item in reversed(above)]
    return best


def _rank(path: Sequence[Held]) -> tuple[bool, bool, int]:
    ended = is_self_signed(path[-1].certificate)
    return ended and bool(TRUSTED & set(path[-1].stores)), ended, len(path)


def issuers(below: Held, held: Iterable[Held]) -> list[Held]:
    """The certificates that may have issued one, those whose signature was verified first."""
    fitting = [(item, signed(below, item)) for item in held if _fits(below.certificate, item.certificate)]
    return [item for item, verified in sorted(fitting, key=lambda pair: pair[1] is None) if verified is not False]


def _fits(below: Certificate, issuer: Certificate) -> bool:
    if below.thumbprint == issuer.thumbprint:
        return False
    if below.authority_key_id and issuer.subject_key_id and below.authority_key_id != issuer.subject_key_id:
        return False
    return bool(issuer.subject) and name_key(issuer.subject) == name_key(below.issuer)


def may_be_held(missing: Certificate, held: Iterable[Held]) -> bool:
    """Whether a certificate might be the missing one though it was not taken: by key id, or by its common name alone.

    Exports write names in different ways; where only one part looks alike, absence is not shown.
    """
    name = common_name(missing.subject).casefold()
    return any(
        (missing.subject_key_id and item.certificate.subject_key_id == missing.subject_key_id)
        or (common_name(item.certificate.subject).casefold() == name and not _other_key(missing, item.certificate))
        for item in held
    )


def _other_key(missing: Certificate, other: Certificate) -> bool:
    return bool(missing.subject_key_id and other.subject_key_id) and missing.subject_key_id != other.subject_key_id


def is_self_signed(certificate: Certificate) -> bool:
    """Whether a certificate names itself as its issuer."""
    return bool(certificate.subject) and name_key(certificate.subject) == name_key(certificate.issuer)


@lru_cache(maxsize=4096)
def name_key(name: str) -> tuple[tuple[str, str], ...]:
    """A distinguished name as it is compared: RFC 4514's escapes and the quotes of Windows mean the same."""
    plain = re.sub(r"\\(.)", r"\1", name.replace('""', '"'))
    return tuple(sorted((key.removeprefix("oid."), " ".join(value.split())) for key, value in name_parts(plain)))


def signed(below: Held, issuer: Held) -> bool | None:
    """Whether the issuer's key made the signature of a certificate; None where bytes are missing or not understood."""
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
        # Also where names differ in their encoding, which RFC 5280 7.1 compares as equal.
        return None
    return True
