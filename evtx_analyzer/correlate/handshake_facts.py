"""The facts of one TLS handshake, as signals see them (Sigma service ``tls-handshake``); docs/rules.md lists them.

A field is absent where the trace does not show it: hidden, resumed or cut. Absence is never read as "no".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from evtx_analyzer.correlate.case_facts import CaseFacts, sender_key, sent_thumbprint
from evtx_analyzer.correlate.compared_mail import messages_between
from evtx_analyzer.correlate.connector_checks import Facts, texts, yes
from evtx_analyzer.correlate.handshake_links import PROOF, is_conclusive
from evtx_analyzer.distinguished_names import same_name, sorted_names
from evtx_analyzer.exchange_online import is_host_name, is_service_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.public_roots import is_public_root

_CLOCK = timedelta(days=1)
"""Clocks are off by hours at most: what expired less than a day before the handshake may not have expired yet."""


def handshake_facts(handshake: Handshake, rejection: Rejection | None, background: CaseFacts) -> Fields:
    """The view of one handshake."""
    found: Facts = {
        "LocalEndpoint": [handshake.local],
        "RemoteEndpoint": [handshake.remote],
        "Tls": [handshake.tls],
        "TlsOffered": [handshake.offered],
        "Cipher": [handshake.cipher],
        "ServerName": [handshake.server_name],
        "StartTls": [yes(handshake.starttls)],
        "Flight": [handshake.flight],
        "Completed": [yes(handshake.completed)],
        "Renegotiated": [yes(handshake.renegotiated)],
        "Conclusive": [yes(is_conclusive(handshake))],
        "Requested": [] if handshake.requested is None else [yes(handshake.requested)],
        "AlertName": [handshake.alert.partition(" by ")[0]],
        "AlertBy": [handshake.alert.partition(" by ")[2]],
        "Join": [handshake.join],
        "RefusedConnection": [yes(True)] if handshake.join in PROOF else [],
    }
    if handshake.sent_chain.state != "not-seen":
        _add_sent(found, handshake, background.certificates)
    _add_received(found, handshake)
    if rejection is not None:
        _add_accepted(found, handshake, rejection, background)
    return texts(found)


def wire_certificates(handshakes: Iterable[Handshake]) -> dict[str, Certificate]:
    """The certificates of all handshakes, by thumbprint."""
    shown = (part for item in handshakes for part in (*item.sent, *item.received) if not part.fault)
    return {part.thumbprint: certificate_of(part) for part in shown}


def certificate_of(shown: WireCertificate) -> Certificate:
    """A certificate of the wire as logs and files show certificates."""
    return Certificate(
        thumbprint=shown.thumbprint,
        subject=shown.subject,
        issuer=shown.issuer,
        serial=shown.serial,
        not_before=shown.not_before,
        not_after=shown.not_after,
        alternate_names=shown.alternate_names,
        subject_key_id=shown.subject_key_id,
        authority_key_id=shown.authority_key_id,
        issuer_urls=shown.issuer_urls,
    )


def _add_sent(found: Facts, handshake: Handshake, known: Mapping[str, Certificate]) -> None:
    chain = handshake.sent_chain
    found["SentChain"] = [chain.state]
    found["SentCount"] = [str(len(handshake.sent))]
    found["SentInOrder"] = [yes(chain.ordered)]
    if not handshake.sent:
        return
    leaf = handshake.sent[0]
    found["SentThumbprint"], found["SentSubject"], found["SentIssuer"] = (
        [leaf.thumbprint],
        [leaf.subject],
        [leaf.issuer],
    )
    found["SentName"] = list(sorted_names(leaf.subject, leaf.alternate_names))
    if leaf.not_after is not None and leaf.not_before is not None:
        found["SentExpired"] = [yes(leaf.not_after + _CLOCK < handshake.start)]
        found["SentNotYetValid"] = [yes(leaf.not_before - _CLOCK > handshake.start)]
    uppers = [handshake.sent[place] for place in chain.path[1:]]
    if uppers:
        late = [item for item in uppers if item.not_after and item.not_after + _CLOCK < handshake.start]
        found["IssuerExpired"] = [yes(bool(late))]
    if chain.state == "alone":
        found["MissingIssuer"] = ["intermediate" if _needs_intermediate(leaf, known) else "unknown"]
        found["MissingIssuerName"], found["MissingIssuerUrl"] = [chain.missing_issuer], list(chain.missing_issuer_urls)


def _needs_intermediate(leaf: WireCertificate, known: Mapping[str, Certificate]) -> bool:
    """Whether a public authority issued the certificate through an intermediate.

    Shown where the issuer's certificate is in the input, by name and key id, and is itself issued by a public root. As
    good is what the certificate itself bears: the logs of Certificate Transparency take chains of public authorities
    only, and those must not issue from their root (CA/Browser Forum, Baseline Requirements 6.1.7).
    """
    if leaf.publicly_logged:
        return True
    issuers = [item for item in known.values() if _is_issuer(item, leaf) and not same_name(item.subject, item.issuer)]
    return any(
        is_public_root(item.issuer, item.authority_key_id) and is_public_root(item.issuer, "")
        for item in issuers
        if item.authority_key_id
    )


def _is_issuer(item: Certificate, leaf: WireCertificate) -> bool:
    same_key = bool(leaf.authority_key_id) and item.subject_key_id.upper() == leaf.authority_key_id
    return same_key and same_name(item.subject, leaf.issuer)


def _add_received(found: Facts, handshake: Handshake) -> None:
    """Who the other side is, by its banner and its certificate."""
    name = handshake.banner.partition(" ")[0]
    if is_host_name(name):
        found["BannerIsExchangeOnline"] = [yes(is_service_name(name))]
    if not handshake.received or handshake.received[0].fault:
        return
    leaf = handshake.received[0]
    names = sorted_names(leaf.subject, leaf.alternate_names)
    if names:
        found["ReceivedIsExchangeOnline"] = [yes(any(is_service_name(part) for part in names))]
        found["ReceivedName"] = list(names)
    found["ReceivedIssuer"] = [leaf.issuer]
    found["ReceivedChain"] = [handshake.received_chain.state]


def _add_accepted(found: Facts, handshake: Handshake, rejection: Rejection, background: CaseFacts) -> None:
    """Mail to outside recipients that was accepted between this handshake and the last refusal, in the same state."""
    if "SentChain" not in found:
        return
    own = handshake.sent[0].thumbprint if handshake.sent else ""
    key = (*sender_key(rejection), sent_thumbprint(rejection))
    _, last = background.refused.get(key, (rejection.time, rejection.time))
    mail = [
        item
        for item in background.outside.get((rejection.host, rejection.kind), ())
        if item.state.connector == rejection.connector and item.state.thumbprint == own and item.state.tls is not False
    ]
    found["AcceptedSinceHandshake"] = messages_between(mail, handshake.start, last)
