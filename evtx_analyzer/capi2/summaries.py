"""Say in one line what a CAPI2 event did, from its decoded values: a log's own texts are in the language of Windows."""

from __future__ import annotations

from evtx_analyzer.model.certificate import Retrieval, Revocation
from evtx_analyzer.model.events import Capi2Event
from evtx_analyzer.model.evidence import Step
from evtx_analyzer.wincrypt import TRUST_ERRORS, as_hex, flag_names, result_name

_BEGINNINGS = {
    10: "begins to build a chain",
    40: "begins to check revocation",
    50: "begins to look in the cache",
    52: "begins to ask the network",
    80: "begins to verify a signature",
}


def step(event: Capi2Event, depth: int) -> Step:
    """Return an event as a step of its operation."""
    return Step(
        event_id=event.event_id,
        name=event.name,
        time=event.time,
        task_id=event.task_id,
        sequence=event.sequence,
        depth=depth,
        result=as_hex(event.result),
        result_name=result_name(event.result),
        text=summary(event),
        origin=event.origin,
    )


def summary(event: Capi2Event) -> str:
    """Return one line about an event, with its result such as ``800B0109 CERT_E_UNTRUSTEDROOT``."""
    number = event.event_id
    if number in _BEGINNINGS:
        return _BEGINNINGS[number]
    if event.retrieval is not None:
        return _retrieval(event.retrieval)
    if event.revocation is not None:
        return _revocation(event.revocation)
    if number == 11:  # noqa: PLR2004  event ids are names here
        return _chain(event)
    texts = {
        30: f"checks {_subject(event)} under {event.policy_name or 'a policy that is not named'}",
        70: f"acquires the private key of {_subject(event)}",
        81: f"verifies the signature of {event.target or 'a file that is not named'}",
        82: f"looks for {event.target or 'a file'} in the catalogs",
        90: f"names {_count(len(event.certificates), 'certificate')}",
    }
    text = texts.get(number, f"event {number} {event.name}, not decoded")
    return text + _result(event.result)


def result_text(result: str, name: str) -> str:
    """Return ``800B0109 CERT_E_UNTRUSTEDROOT``; ``passed`` for 0; empty where there is no result."""
    if not result:
        return ""
    return "passed" if result == "0" else f"{result} {name}"


def _result(number: int | None) -> str:
    text = result_text(as_hex(number), result_name(number))
    return f": {text}" if text else ""


def _subject(event: Capi2Event) -> str:
    return event.subject or event.thumbprint or "a certificate that is not named"


def _chain(event: Capi2Event) -> str:
    errors = ", ".join(flag_names(event.chain_error or 0, TRUST_ERRORS)) or "no error in the chain"
    return (
        f"builds the chain of {_subject(event)}: {_count(len(event.chain), 'element')}, {errors}{_result(event.result)}"
    )


def _revocation(revocation: Revocation) -> str:
    source = " ".join(filter(None, (revocation.location, revocation.url)))
    if revocation.rejected:
        return f"does not accept the list of {revocation.issuer or '?'} from {source or '?'}: {revocation.rejected}"
    basis = f" from {source}" if source else ", no list or answer"
    result = result_text(revocation.result, revocation.result_name)
    return f"revocation of {revocation.subject or revocation.thumbprint or '?'}{basis}: {result}"


def _retrieval(retrieval: Retrieval) -> str:
    errors = [f"{attempt.name} {attempt.error} {attempt.error_name}" for attempt in retrieval.attempts if attempt.error]
    tried = f" (on the way: {'; '.join(dict.fromkeys(errors))})" if errors else ""
    answer = f", {retrieval.answer}" if retrieval.answer else ""
    result = result_text(retrieval.result, retrieval.result_name) or "no result"
    return f"reads {retrieval.url or '?'} from the {retrieval.where}{answer}: {result}{tried}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
