"""Build the chain of the certificates in a Certificate message: who issued whom, and whether it leads to a public root.

Names say who may have issued a certificate, the signature says who did. Only certificates that the trace holds can be
verified in this way. A public root, which is usually not sent, is recognized by name and key id (``public_roots``),
both of which must fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct, convert
from msgspec.structs import replace

from evtx_analyzer.model.handshake import ChainState, WireCertificate, WireChain
from evtx_analyzer.public_roots import is_public_root

if TYPE_CHECKING:
    from cryptography import x509

_TIMESTAMPS = "1.3.6.1.4.1.11129.2.4.2"  # RFC 6962 3.3
_BROWSER_FORUM = "2.23.140.1."  # CA/Browser Forum, Baseline Requirements 7.1.6.1
_LONGEST_PATH, _MOST_WAYS, _MOST_CERTIFICATES = 10, 200, 100


class Parsed(Struct, frozen=True, kw_only=True):
    """A certificate as the report shows it (``shown``), and as cryptography has it; None where it cannot be parsed."""

    shown: WireCertificate
    whole: x509.Certificate | None


def look_at(ders: Sequence[bytes]) -> tuple[tuple[WireCertificate, ...], WireChain]:
    """Return the certificates of one message in its order, and the chain that they make.

    Of a message with more than a hundred, which nobody sends, only the first are shown, and the chain is unreadable.
    """
    parsed = [parse(der) for der in ders[:_MOST_CERTIFICATES]]
    following = [*parsed[1:], None] if parsed else []
    shown = tuple(
        certificate.shown if after is None else replace(certificate.shown, issued_by_next=issued(certificate, after))
        for certificate, after in zip(parsed, following, strict=True)
    )
    return shown, chain(parsed) if len(ders) <= _MOST_CERTIFICATES else WireChain(state="unreadable")


@lru_cache(maxsize=1024)
def parse(der: bytes) -> Parsed:
    """Return a certificate; one that cannot be parsed has only its thumbprint and the reason (``fault``)."""
    from cryptography import x509  # noqa: PLC0415  start-up cost: only where a trace is in the input

    from evtx_analyzer.read.certificate_files import describe, without_warnings  # noqa: PLC0415  the same

    try:
        with without_warnings():
            whole = x509.load_der_x509_certificate(der)
            known = describe(whole)
    except Exception as error:  # noqa: BLE001  the library raises many kinds, most of them no ValueError
        # SHA-1 names a certificate in Windows; nothing is secured by it.
        thumbprint = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        unread = WireCertificate(thumbprint=thumbprint, subject="", issuer="", fault=str(error) or "unreadable")
        return Parsed(shown=unread, whole=None)
    shown = replace(
        convert(known, WireCertificate, from_attributes=True),
        issuer_is_public_root=_by_name_and_key(known.issuer, known.authority_key_id),
        self_signed=_verifies(whole, whole) is True,
        publicly_logged=_publicly_logged(whole),
    )
    return Parsed(shown=shown, whole=whole)


def issued(lower: Parsed, upper: Parsed) -> bool | None:
    """Return whether ``upper`` issued ``lower``; None where that cannot be verified."""
    if lower.whole is None or upper.whole is None:
        return None
    return _verifies(lower.whole, upper.whole)


def chain(parsed: Sequence[Parsed]) -> WireChain:
    """Return the chain of the first certificate; the others may come in any order, and more than once."""
    if not parsed:
        return WireChain(state="empty")
    leaf = parsed[0]
    if leaf.whole is None:
        return WireChain(state="unreadable")
    best = max(islice(_ways(parsed, (0,)), _MOST_WAYS), key=lambda path: (_rank(parsed[path[-1]]), len(path)))
    last = parsed[best[-1]].shown
    others = {certificate.shown.thumbprint for certificate in parsed} - {leaf.shown.thumbprint}
    state = _state(best, last, alone=not others)
    wire_chain = WireChain(state=state, path=best, ordered=best == tuple(range(len(best))))
    if state in ("complete", "private-root", "self-signed"):
        return wire_chain
    key_id, urls = last.authority_key_id, last.issuer_urls
    return replace(wire_chain, missing_issuer=last.issuer, missing_key_id=key_id, missing_issuer_urls=urls)


def _state(path: tuple[int, ...], last: WireCertificate, *, alone: bool) -> ChainState:
    """Return the state of a chain (see ``WireChain``); ``alone`` is whether no other certificate was sent."""
    if last.issuer_is_public_root or _is_public(last):
        return "complete"
    if last.self_signed:
        return "self-signed" if len(path) == 1 else "private-root"
    # Where only the name or only the key id is that of a public root, nobody knows whether a certificate is missing.
    doubtful = is_public_root(last.issuer, "") or (last.authority_key_id and is_public_root("", last.authority_key_id))
    return "alone" if alone and not doubtful and last.issuer != last.subject else "open"


def _ways(parsed: Sequence[Parsed], path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every path upwards that begins with this one: a name may have several certificates (cross-signed)."""
    last = parsed[path[-1]]
    if last.shown.self_signed or len(path) >= _LONGEST_PATH:
        yield path
        return
    used = {parsed[place].shown.thumbprint for place in path}
    ends = True
    for place, upper in enumerate(parsed):
        if upper.shown.thumbprint not in used and issued(last, upper):
            used.add(upper.shown.thumbprint)
            ends = False
            yield from _ways(parsed, (*path, place))
    if ends:
        yield path


def _rank(last: Parsed) -> int:
    """Return 2 where a path leads to a public root, 1 to another root, 0 to none."""
    if last.shown.issuer_is_public_root or _is_public(last.shown):
        return 2
    return 1 if last.shown.self_signed else 0


def _is_public(shown: WireCertificate) -> bool:
    """Return whether a certificate is a public root itself."""
    return shown.self_signed and _by_name_and_key(shown.subject, shown.subject_key_id)


def _by_name_and_key(name: str, key_id: str) -> bool:
    """Return whether both name and key id are those of a public root."""
    return bool(name and key_id) and is_public_root(name, key_id) and is_public_root(name, "")


def _verifies(lower: x509.Certificate, upper: x509.Certificate) -> bool | None:
    """Return whether ``lower`` names ``upper`` as issuer and the key of that verifies it; None if unsupported."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  as above

    if lower.issuer != upper.subject:
        return False
    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, ValueError):
        return False
    except Exception:  # noqa: BLE001  as above
        return None
    return True


def _publicly_logged(certificate: x509.Certificate) -> bool:
    """Return whether a certificate holds timestamps of public logs and a policy of the CA/Browser Forum."""
    from cryptography import x509 as types  # noqa: PLC0415  as above

    try:
        extensions = {extension.oid.dotted_string: extension.value for extension in certificate.extensions}
    except ValueError:
        return False
    policies = extensions.get(types.CertificatePolicies.oid.dotted_string)
    listed = [policy.policy_identifier.dotted_string for policy in policies] if policies else []
    return _TIMESTAMPS in extensions and any(name.startswith(_BROWSER_FORUM) for name in listed)
