"""The placeholders of rule files, and how each is filled from a refusal, a check and the link between them.

An unknown value reads as an instruction to fill it in (``<the connector>``) or as a statement (``no domain``).
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from evtx_analyzer import clock
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Link, Operation, Rejection
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.model.stores import PrivateKey, StoreChain


def fill(text: str, names: Mapping[str, str]) -> str:
    """Return a sentence with its placeholders filled; unknown ones stay as they are."""
    return string.Template(text).safe_substitute(names)


@cache
def placeholders_of(text: str) -> frozenset[str]:
    """Return the placeholders in a sentence."""
    return frozenset(string.Template(text).get_identifiers())


# Placeholder -> field of the session's view, and what to say where it is absent.
_FROM_VIEW = {
    "sent_names": ("SentName", "no certificate name in the logs"),
    "inbound_names": ("InboundConnector.CertificateName", "no certificate name"),
    "inbound_connector": ("InboundConnector.ToChange", "<name of the inbound connector>"),
    "inbound_not_working": ("InboundConnector.NotWorking", "none at all"),
    "inbound_addresses": ("InboundConnector.Address", "no address"),
    "connector_names": ("InboundConnector.MatchingName", "by address"),
    "changed_inbound": ("InboundConnector.ChangedSince", "at no known time"),
    "changed_send": ("SendConnector.ChangedSince", "at no known time"),
    "configured_subject": ("SendConnector.Subject", "no certificate"),
    "previous_thumbprint": ("PreviousThumbprint", "no certificate"),
    "seen_address": ("SeenAddress", "<the public address of the server>"),
    "accepted_same_security": ("AcceptedSameSecurity", "no message"),
    "accepted_same_sender": ("AcceptedSameSender", "no message"),
    "accepted_since_failed_check": ("AcceptedSinceFailedCheck", "no message"),
    "accepted_since_expiry": ("AcceptedSinceExpiry", "no message"),
    "accepted_same_address": ("AcceptedSameAddress", "no message"),
    "refused_with_certificate": ("RefusedWithCertificate", "no message"),
    "accepted_since_change": ("AcceptedSameCertificateSinceChange", "no message"),
    "relayed_same_sender": ("RelayedSameSender", "no message"),
    "accepted_again": ("PreviousAcceptedAgain", "no message"),
    "accepted_addresses": ("AcceptedFromAddress", "no address"),
    "accepted_senders": ("AcceptedSender", "no domain"),
    "domain_connectors": ("AcceptedDomain.FitsSendConnector", "no connector"),
    "fitting_connectors": ("InboundConnector.FitsSendConnector", "no connector"),
    "accepted_connectors": ("AcceptedOnAnotherConnector", "no connector"),
    "associated_domains": ("InboundConnector.AssociatedDomain", "no domain"),
    "fitting_certificates": ("ExchangeCertificate.FittingOneName", "no certificate"),
    "received_names": ("ReceivedName", "no certificate name"),
    "private_issuer": ("SentIssuerPrivate", "no issuer"),
    "reply_certificate": ("ReplyCertificateName", "no name"),
    "reply_verdict": ("ReplyCertificateVerdict", "no verdict"),
    "schannel_events": ("SchannelEvent", "no event"),
    "tls": ("TlsFailure", "the log names no error"),
    "wire_tls_failure": ("WireTlsFailure", "no alert"),
}

SHOWN_FIELDS = tuple(sorted({field for field, _ in _FROM_VIEW.values()}))
"""Fields of the view ``smtp-session`` that sentences name."""


def _listed(key: str, nothing: str) -> Callable[[Rejection, Fields], str]:
    return lambda _, view: ", ".join(view.get(key, ())) or nothing


# Placeholders whose values differ even between refusals that are alike.
OF_EACH = frozenset({"rejection_time", "mail_from", "rcpt_to"})
_OF_REJECTION: dict[str, Callable[[Rejection, Fields], str]] = {
    "rejection_time": lambda rejection, _: clock.in_sentence(rejection.time, rejection.time_basis),
    "remote": lambda rejection, _: rejection.remote_name or rejection.remote_endpoint or "the remote side",
    "mail_from": lambda rejection, _: rejection.mail_from or "<>",
    "rcpt_to": lambda rejection, _: rejection.rcpt_to or "<recipient>",
    "helo": lambda rejection, _: rejection.helo or "<EHLO name>",
    "sent_validity": lambda rejection, _: _validity(rejection.sent),
    "attribution": lambda rejection, _: rejection.attribution or "no attribution code",
    "sender_domain": lambda rejection, _: rejection.mail_from.rpartition("@")[2] or "no domain",
    **{name: _listed(key, nothing) for name, (key, nothing) in _FROM_VIEW.items()},
}


def _validity(certificate: Certificate | None) -> str:
    if certificate is None or certificate.not_before is None or certificate.not_after is None:
        return "whose dates the log does not hold"
    return f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"


def store_names(chain: StoreChain) -> dict[str, str]:
    """Return what sentences name of a chain that was built from stores."""
    missing, key = chain.missing_issuer, chain.key
    between = sorted({store for element in chain.elements[1:] for store in element.stores})
    hosts = {"unknown": "; the exports do not name their machine", "assumed": "; one host is assumed for both"}
    when = f"exported {clock.as_text(chain.exported)}" if chain.exported else "exported at a time that is not known"
    return {
        "store_elsewhere": ", ".join(chain.elsewhere) or "no store",
        "store_host": chain.host or "the machine",
        "store_intermediates": ", ".join(between) or "no store",
        "store_issuer": _with_place(missing.subject, missing.subject_key_id, missing.issuer_urls)
        if missing
        else "none",
        "store_key": _key_text(key),
        "store_root": chain.elements[-1].subject or "?",
        "store_same_name": ", ".join(chain.same_name) or "no other",
        "store_subject": chain.subject or "?",
        "store_thumbprint": chain.thumbprint,
        "store_time": when + hosts.get(chain.host_relation, ""),
    }


def _key_text(key: PrivateKey | None) -> str:
    if key is None:
        return "not shown"
    parts = [key.provider, f"KeySpec {key.key_spec}" if key.key_spec else "", f"test {key.test}" if key.test else ""]
    return ", ".join(part for part in parts if part) or "no provider"


def operation_names(operation: Operation) -> dict[str, str]:
    """Return what sentences name of a check."""
    return {
        "result": operation.result,
        "result_name": operation.result_name,
        "process": operation.process,
        "operation_time": clock.as_text(operation.time),
        "chain_status": ", ".join(operation.chain_status) or "no error",
        "last_element": operation.elements[-1].subject if operation.elements else "?",
        "blamed_element": _out_of_date(operation),
    }


_MOST_NAMED = 5
_SURE, _NOT_SURE = "of the refused connection", "of a connection that may be another one than the refused one"


def handshake_names(handshake: Handshake, facts: Fields) -> dict[str, str]:
    """Return what sentences name of a handshake in a network trace."""
    chain, received = handshake.sent_chain, handshake.received
    return {
        "wire_alert": handshake.alert or "no alert",
        "wire_authorities": "; ".join(handshake.authorities[:_MOST_NAMED]) or "no authority",
        "wire_client": handshake.local,
        "wire_count": str(len(handshake.sent)),
        "wire_issuer": received[-1].issuer if received else "?",
        "wire_join": _SURE if facts.get("RefusedConnection") == ("true",) else _NOT_SURE,
        "wire_missing_issuer": _with_place(chain.missing_issuer, chain.missing_key_id, chain.missing_issuer_urls)
        if chain.missing_issuer
        else "?",
        "wire_received": _certificate_text(received[0]) if received else "no certificate",
        "wire_sent": ", then ".join(_certificate_text(wire_certificate) for wire_certificate in handshake.sent)
        or "no certificate",
        "wire_server": handshake.remote,
        "wire_time": clock.in_sentence(handshake.start, "utc"),
        "accepted_since_handshake": ", ".join(facts.get("AcceptedSinceHandshake", ())) or "no message",
    }


def _certificate_text(certificate: WireCertificate) -> str:
    return f"{certificate.subject or 'a certificate that cannot be parsed'} ({certificate.thumbprint})"


def _out_of_date(operation: Operation) -> str:
    """Return the first element of the chain that is out of its validity period, else the one that event 30 blames."""
    late = [element.subject for element in operation.elements if "CERT_TRUST_IS_NOT_TIME_VALID" in element.errors]
    blamed = operation.element_index
    if late:
        return late[0]
    if blamed is not None and 0 <= blamed < len(operation.elements):
        return operation.elements[blamed].subject
    return "a certificate above it" if blamed is None or blamed > 0 else operation.subject


def issuer_text(operation: Operation | None, last: Certificate | None, issuer: str) -> str:
    """Return the name and, as far as they are known, the key id and the address of the missing issuer.

    ``last`` is the last element of the chain, or the leaf where no chain is known: it alone names the missing issuer,
    and the addresses in other elements are those of other certificates.
    """
    missing = operation.missing_issuer if operation else None
    urls = (operation.missing_issuer_urls if operation else ()) or (last.issuer_urls if last else ())
    if missing is not None and missing.subject:
        return _with_place(missing.subject, missing.subject_key_id, urls)
    if last is not None and last.issuer:
        return _with_place(last.issuer, last.authority_key_id, urls)
    if operation is not None and len(operation.elements) > 1:
        return f"the issuer of {operation.elements[-1].subject}"
    return issuer or "<the issuer of the certificate>"


def _with_place(subject: str, key_id: str, urls: Sequence[str]) -> str:
    text = f"{subject} (key id {key_id})" if key_id else subject
    return f"{text}, published at {', '.join(urls)}" if urls else text


def delta(link: Link, operation: Operation | None) -> str:
    """Return how far a check is from its anchor."""
    event = "the start of the TLS handshake" if link.anchor == "handshake" else "the refusal"
    hosts = {
        "same": "",
        "assumed": "; the log names no host, one host is assumed for both",
        "unknown": f"; the check is of {operation.host}, the host of the refusal is not known"
        if operation and operation.host
        else "; the host of the refusal is not known",
        "different": f"; on a different host, {operation.host}" if operation else "; on a different host",
    }[link.host]
    if not link.delta_seconds:
        return f"at the same time as {event}{hosts}"
    side = "before" if link.delta_seconds < 0 else "after"
    return f"{_duration(abs(link.delta_seconds))} {side} {event}{hosts}"


def _duration(seconds: float) -> str:
    minute, hour = 60, 3600
    if seconds < minute:
        return f"{seconds:.3f} s"
    return f"{seconds / minute:.1f} min" if seconds < hour else f"{seconds / hour:.1f} h"
