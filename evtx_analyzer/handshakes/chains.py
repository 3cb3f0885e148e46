"""What the certificates of a Certificate message amount to: who issued whom, and whether it ends at a public root.

Names say who may have issued a certificate, the signature says who did. Only what the trace holds can be verified so; a
public root is known by its name and key id (``public_roots``), both of which must fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.model.handshake import ChainState, WireCertificate, WireChain
from evtx_analyzer.public_roots import is_public_root

if TYPE_CHECKING:
    from cryptography import x509

_TIMESTAMPS = "1.3.6.1.4.1.11129.2.4.2"  # RFC 6962 3.3
_BROWSER_FORUM = "2.23.140.1."  # CA/Browser Forum, Baseline Requirements 7.1.6.1
_LONGEST_PATH, _MOST_WAYS, _MOST_CERTIFICATES = 10, 200, 100


class Parsed(Struct, frozen=True, kw_only=True):
    """A certificate as the report shows it, and its object; None where it could not be parsed."""

    shown: WireCertificate
    whole: x509.Certificate | None


def look_at(ders: Sequence[bytes]) -> tuple[tuple[WireCertificate, ...], WireChain]:
    """Return the certificates of one message, in its order, and what they amount to.

    Of a message with hundreds, which nobody sends, the first are shown and nothing is said.
    """
    parsed = [parse(der) for der in ders[:_MOST_CERTIFICATES]]
    following = [*parsed[1:], None] if parsed else []
    shown = tuple(
        item.shown if after is None else replace(item.shown, issued_by_next=issued(item, after))
        for item, after in zip(parsed, following, strict=True)
    )
    return shown, chain(parsed) if len(ders) <= _MOST_CERTIFICATES else WireChain(state="unreadable")


@lru_cache(maxsize=1024)
def parse(der: bytes) -> Parsed:
    """Return a certificate; one that cannot be parsed has its thumbprint and says why."""
    from cryptography import x509  # noqa: PLC0415  start-up cost: only where a trace is in the input

    from evtx_analyzer.read.certificate_files import describe, without_warnings  # noqa: PLC0415  the same

    try:
        with without_warnings():
            whole = x509.load_der_x509_certificate(der)
            known = describe(whole)
    except Exception as error:  # noqa: BLE001  the library raises many kinds, most of them no ValueError
        # SHA-1 names a certificate in Windows; nothing is secured by it.
        thumbprint = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        return Parsed(
            shown=WireCertificate(thumbprint=thumbprint, subject="", issuer="", fault=str(error) or "unreadable"),
            whole=None,
        )
    shown = WireCertificate(
        thumbprint=known.thumbprint,
        subject=known.subject,
        issuer=known.issuer,
        not_before=known.not_before,
        not_after=known.not_after,
        serial=known.serial,
        alternate_names=known.alternate_names,
        subject_key_id=known.subject_key_id,
        authority_key_id=known.authority_key_id,
        issuer_urls=known.issuer_urls,
        issuer_is_public_root=_by_name_and_key(known.issuer, known.authority_key_id),
        self_signed=_verifies(whole, whole) is True,
        publicly_logged=_publicly_logged(whole),
    )
    return Parsed(shown=shown, whole=whole)


def issued(lower: Parsed, upper: Parsed) -> bool | None:
    """Whether one certificate issued another; None where a signature of this kind cannot be verified here."""
    if lower.whole is None or upper.whole is None:
        return None
    return _verifies(lower.whole, upper.whole)


def chain(parsed: Sequence[Parsed]) -> WireChain:
    """Return what certificates amount to; they may stand in any order behind the first, and more than once."""
    if not parsed:
        return WireChain(state="empty")
    leaf = parsed[0]
    if leaf.whole is None:
        return WireChain(state="unreadable")
    best = max(islice(_ways(parsed, (0,)), _MOST_WAYS), key=lambda path: (_rank(parsed[path[-1]]), len(path)))
    last = parsed[best[-1]].shown
    others = {item.shown.thumbprint for item in parsed} - {leaf.shown.thumbprint}
    state = _state(best, last, alone=not others)
    if state in ("complete", "private-root", "self-signed"):
        return WireChain(state=state, path=best, ordered=best == tuple(range(len(best))))
    return WireChain(
        state=state,
        path=best,
        ordered=best == tuple(range(len(best))),
        missing_issuer=last.issuer,
        missing_key_id=last.authority_key_id,
        missing_issuer_urls=last.issuer_urls,
    )


def _state(path: tuple[int, ...], last: WireCertificate, *, alone: bool) -> ChainState:
    if last.issuer_is_public_root or _is_public(last):
        return "complete"
    if last.self_signed:
        return "self-signed" if len(path) == 1 else "private-root"
    # Where name and key id do not agree on a public root, nobody knows whether something is missing.
    doubtful = is_public_root(last.issuer, "") or (last.authority_key_id and is_public_root("", last.authority_key_id))
    return "alone" if alone and not doubtful and last.issuer != last.subject else "open"


def _ways(parsed: Sequence[Parsed], path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every way up from the end of a path: an issuer may be there twice (cross-signed), under one name."""
    last = parsed[path[-1]]
    if last.shown.self_signed or len(path) >= _LONGEST_PATH:
        yield path
        return
    used = {parsed[place].shown.thumbprint for place in path}
    ends = True
    for place, item in enumerate(parsed):
        if item.shown.thumbprint not in used and issued(last, item):
            used.add(item.shown.thumbprint)
            ends = False
            yield from _ways(parsed, (*path, place))
    if ends:
        yield path


def _rank(last: Parsed) -> int:
    """How far a way leads: to a public root, to another root, or to nothing."""
    if last.shown.issuer_is_public_root or _is_public(last.shown):
        return 2
    return 1 if last.shown.self_signed else 0


def _is_public(shown: WireCertificate) -> bool:
    """Whether a certificate is a public root itself."""
    return shown.self_signed and _by_name_and_key(shown.subject, shown.subject_key_id)


def _by_name_and_key(name: str, key_id: str) -> bool:
    return bool(name and key_id) and is_public_root(name, key_id) and is_public_root(name, "")


def _verifies(lower: x509.Certificate, upper: x509.Certificate) -> bool | None:
    """Whether the key of one certificate verifies the signature of another that names it as its issuer."""
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
    """Whether it holds timestamps of public logs, and a policy of the CA/Browser Forum."""
    from cryptography import x509 as types  # noqa: PLC0415  as above

    try:
        extensions = {extension.oid.dotted_string: extension.value for extension in certificate.extensions}
    except ValueError:
        return False
    policies = extensions.get(types.CertificatePolicies.oid.dotted_string)
    listed = [policy.policy_identifier.dotted_string for policy in policies] if policies else []
    return _TIMESTAMPS in extensions and any(name.startswith(_BROWSER_FORUM) for name in listed)
