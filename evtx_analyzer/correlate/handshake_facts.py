"""The facts of one TLS handshake, as signals see them (Sigma service ``tls-handshake``).

A field is absent where the trace does not show it: hidden, resumed or cut. Absence is never read as "no".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.compared_mail import messages_between
from evtx_analyzer.correlate.fields import Answer, Field, facts, verdict
from evtx_analyzer.correlate.handshake_links import PROOF, SAME_CONNECTION, is_conclusive
from evtx_analyzer.correlate.refused_session import RECENT
from evtx_analyzer.distinguished_names import same_name, sorted_names
from evtx_analyzer.exchange_online import is_host_name, is_service_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.public_roots import is_public_root

_CLOCK = timedelta(days=1)
"""Clocks are off by hours at most: what expired within a day of the handshake may still have been valid."""


class _Wire(Struct, frozen=True):
    """A handshake, the refusal in its connection if there is one, and the facts of the case."""

    handshake: Handshake
    rejection: Rejection | None
    case: CaseFacts

    @property
    def leaf(self) -> WireCertificate | None:
        """Return the certificate that the client sent, where that is seen."""
        seen = self.handshake.sent_chain.state != "not-seen"
        return self.handshake.sent[0] if seen and self.handshake.sent else None

    @property
    def received(self) -> WireCertificate | None:
        """Return the certificate of the server, where it can be read."""
        received = self.handshake.received
        return received[0] if received and not received[0].fault else None


def handshake_facts(handshake: Handshake, rejection: Rejection | None, background: CaseFacts) -> Fields:
    """Return the view of one handshake."""
    return facts(FIELDS, _Wire(handshake, rejection, background))


def recorded_times(handshakes: Iterable[Handshake]) -> Iterator[tuple[datetime, datetime]]:
    """Yield from when to when a refusal may be of a handshake, or follows one that failed (``WireTlsFailure``).

    No refusal of such a time is folded.
    """
    apart = timedelta(seconds=SAME_CONNECTION)
    for handshake in handshakes:
        first, last = handshake.opened or handshake.start, handshake.end or handshake.start
        yield first - apart, max(last + apart, handshake.start + RECENT if handshake.alert else last)


# -------------------------------------------------------------------------------------------- what the client sent


def _of_leaf(take: Callable[[WireCertificate, Handshake], Answer]) -> Callable[[_Wire], Answer]:
    return lambda wire: None if wire.leaf is None else take(wire.leaf, wire.handshake)


def _expired(leaf: WireCertificate, handshake: Handshake) -> bool | None:
    return None if leaf.not_after is None else leaf.not_after + _CLOCK < handshake.start


def _not_yet_valid(leaf: WireCertificate, handshake: Handshake) -> bool | None:
    return None if leaf.not_before is None else leaf.not_before - _CLOCK > handshake.start


def _issuer_expired(leaf: WireCertificate, handshake: Handshake) -> bool | None:  # noqa: ARG001  as ``_of_leaf`` calls
    uppers = [handshake.sent[place] for place in handshake.sent_chain.path[1:]]
    return verdict(_expired(upper, handshake) for upper in uppers)


def _missing_issuer(wire: _Wire) -> str | None:
    if wire.leaf is None or wire.handshake.sent_chain.state != "alone":
        return None
    return "intermediate" if _needs_intermediate(wire.leaf, wire.case.certificates) else "unknown"


def _needs_intermediate(leaf: WireCertificate, known: Mapping[str, Certificate]) -> bool:
    """Return whether a public authority issued the certificate through an intermediate.

    That is shown if the input holds the issuer's certificate (by name and key id) and a public root issued it. A
    certificate with signed timestamps shows it as well: the logs of Certificate Transparency take chains of public
    authorities only, and those must not issue from their root (CA/Browser Forum, Baseline Requirements 6.1.7).
    """
    if leaf.publicly_logged:
        return True
    issuers = [issuer for issuer in known.values() if issuer.authority_key_id and _is_issuer(issuer, leaf)]
    signed = [issuer for issuer in issuers if not same_name(issuer.subject, issuer.issuer)]
    return any(
        is_public_root(issuer.issuer, issuer.authority_key_id) and is_public_root(issuer.issuer, "")
        for issuer in signed
    )


def _is_issuer(certificate: Certificate, leaf: WireCertificate) -> bool:
    same_key = bool(leaf.authority_key_id) and certificate.subject_key_id.upper() == leaf.authority_key_id
    return same_key and same_name(certificate.subject, leaf.issuer)


def _accepted_since(wire: _Wire) -> list[str]:
    """Return the mail accepted in the same state between this handshake and the last refusal, as rules show it."""
    rejection, case = wire.rejection, wire.case
    if rejection is None or wire.handshake.sent_chain.state == "not-seen":
        return []
    own = wire.leaf.thumbprint if wire.leaf else ""
    mail = [
        row
        for row in case.outside.get((rejection.host, rejection.kind), ())
        if (row.state.connector, row.state.thumbprint) == (rejection.connector, own) and row.state.tls is not False
    ]
    return messages_between(mail, wire.handshake.start, case.refused_span(rejection)[1])


# ------------------------------------------------------------------------------------------------ who the other side is


def _banner_online(wire: _Wire) -> bool | None:
    name = wire.handshake.banner.partition(" ")[0]
    return is_service_name(name) if is_host_name(name) else None


def _received_names(wire: _Wire) -> tuple[str, ...]:
    return sorted_names(wire.received.subject, wire.received.alternate_names) if wire.received else ()


def _received_online(wire: _Wire) -> bool | None:
    names = _received_names(wire)
    return any(is_service_name(name) for name in names) if names else None


def _sent_chain(wire: _Wire) -> str | None:
    state = wire.handshake.sent_chain.state
    return None if state == "not-seen" else state


FIELDS = (
    Field("LocalEndpoint", "address and port of the client", lambda wire: wire.handshake.local),
    Field("RemoteEndpoint", "address and port of the server", lambda wire: wire.handshake.remote),
    Field("Tls", "version agreed on (`TLS 1.2`)", lambda wire: wire.handshake.tls),
    Field("TlsOffered", "highest version that the client offers", lambda wire: wire.handshake.offered),
    Field("Cipher", "cipher suite", lambda wire: wire.handshake.cipher),
    Field("ServerName", "name that the client asks for (SNI)", lambda wire: wire.handshake.server_name),
    Field("StartTls", "`false` where the connection begins with TLS", lambda wire: wire.handshake.starttls),
    Field(
        "Flight",
        "how much of the client's answer is seen: `whole`, `resumed`, `hidden` (TLS 1.3), `cut` (packets are missing), "
        "`repeated`, `none`",
        lambda wire: wire.handshake.flight,
    ),
    Field("Completed", "whether both sides went on to encrypted data", lambda wire: wire.handshake.completed),
    Field(
        "Renegotiated",
        "whether another handshake followed inside of TLS, unseen",
        lambda wire: wire.handshake.renegotiated,
    ),
    Field(
        "Conclusive",
        "whether all that the client sent is seen: whole, completed, not renegotiated",
        lambda wire: is_conclusive(wire.handshake),
    ),
    Field("Requested", "whether the server asked for a certificate", lambda wire: wire.handshake.requested),
    Field("AlertName", "fatal alert", lambda wire: wire.handshake.alert.partition(" by ")[0]),
    Field("AlertBy", "who sent it: `client`, `server`", lambda wire: wire.handshake.alert.partition(" by ")[2]),
    Field(
        "Join",
        "how it was joined with a refusal: `endpoints`, `port`, `thumbprint`, `address`",
        lambda wire: wire.handshake.join,
    ),
    Field(
        "RefusedConnection",
        "`true` where it is the refused connection itself (`endpoints`, `port`)",
        lambda wire: True if wire.handshake.join in PROOF else None,
    ),
    Field(
        "SentChain",
        "what the client's certificates amount to: `empty`, `alone` (its issuer is neither sent nor a public root), "
        "`self-signed`, `open` (leads to no root), `private-root`, `complete` (leads to a public root), `unreadable`",
        _sent_chain,
    ),
    Field("SentCount", "how many there are", lambda wire: str(len(wire.handshake.sent)) if _sent_chain(wire) else None),
    Field(
        "SentInOrder",
        "whether each is issued by the next",
        lambda wire: wire.handshake.sent_chain.ordered if _sent_chain(wire) else None,
    ),
    Field("SentThumbprint", "SHA-1 of the first", _of_leaf(lambda leaf, _: leaf.thumbprint)),
    Field("SentSubject", "its subject", _of_leaf(lambda leaf, _: leaf.subject)),
    Field("SentIssuer", "its issuer", _of_leaf(lambda leaf, _: leaf.issuer)),
    Field(
        "SentName",
        "its common name and alternate names",
        _of_leaf(lambda leaf, _: sorted_names(leaf.subject, leaf.alternate_names)),
    ),
    Field("SentExpired", "whether it had expired more than a day before", _of_leaf(_expired)),
    Field("SentNotYetValid", "whether it was valid only more than a day later", _of_leaf(_not_yet_valid)),
    Field("IssuerExpired", "the same of a certificate above it", _of_leaf(_issuer_expired)),
    Field(
        "MissingIssuer",
        "what is missing above a certificate that was sent alone: `intermediate` of a public authority, or `unknown`",
        _missing_issuer,
    ),
    Field("MissingIssuerName", "the issuer that a chain lacks", lambda wire: wire.handshake.sent_chain.missing_issuer),
    Field("MissingIssuerUrl", "where it is published", lambda wire: wire.handshake.sent_chain.missing_issuer_urls),
    Field("BannerIsExchangeOnline", "whether the banner is of Exchange Online", _banner_online),
    Field("ReceivedIsExchangeOnline", "whether the server's certificate is of Exchange Online", _received_online),
    Field("ReceivedName", "names in it", _received_names),
    Field("ReceivedIssuer", "its issuer", lambda wire: wire.received and wire.received.issuer),
    Field(
        "ReceivedChain",
        "what the server's certificates amount to, as `SentChain`",
        lambda wire: wire.handshake.received_chain.state if wire.received else None,
    ),
    Field(
        "AcceptedSinceHandshake",
        "mail to outside recipients accepted in the same state between this handshake and the last refusal",
        _accepted_since,
    ),
)
