"""Incidents against causes: what supports each cause, what speaks against it, what is missing, and its grade.

Grades, never percentages: ``probable``, ``possible``, ``coincident``, ``contradicted``, ``no-evidence``. A cause's
YAML says which observations reach which grade; three laws stand above every rule file:

- nearness in time, or a name that looks like the server's own, never exceeds ``possible``;
- a pair of different hosts, or of a host that is not known, never exceeds ``possible``;
- an observation that excludes the cause makes it ``contradicted``, whatever else was seen; one that only speaks
  against it does so where the cause does not reach ``possible``.

Only a wire trace or a fix that worked could make a cause certain, so nothing here says certain.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model import (
    Certificate,
    Coverage,
    Evidence,
    Fields,
    Finding,
    Grade,
    Incident,
    Link,
    Missing,
    Operation,
    Origin,
    Rejection,
    Remedy,
    Verdict,
    place,
)
from evtx_analyzer.rules import Cause, MissingRule, Observation

UNEXPLAINED = "unexplained"
RANK: dict[Grade, int] = {"probable": 4, "possible": 3, "coincident": 2, "contradicted": 1, "no-evidence": 0}
_IDENTITY = ("thumbprint", "subject")
_PAIRED = ("same", "assumed")
_SIDES = ("supports", "contradicts")
_PASSED = "0"
_MOST_EVIDENCE = 5
_SMTP = ("send-connector", "iis-smtp", "message-tracking", "ndr")


class Case(Struct, frozen=True, kw_only=True):
    """What the diagnosis looks at besides the incident itself."""

    operations: Mapping[str, Operation]
    coverage: Sequence[Coverage]
    kinds: frozenset[str]
    settings: Mapping[str, Origin] = {}
    views: Mapping[str, Fields] = {}
    certificates: Mapping[str, Certificate] = {}


class _Seen(Struct, frozen=True, kw_only=True):
    """One observation that holds for an incident: its sentences, and how far its pairs may carry a grade."""

    observation: Observation
    evidence: tuple[Evidence, ...]
    capped: bool


class _Weighed(Struct, frozen=True, kw_only=True):
    """A cause weighed against one incident."""

    incident: Incident
    grade: Grade
    seen: tuple[_Seen, ...]


def diagnose(incidents: Sequence[Incident], causes: Iterable[Cause], case: Case) -> list[Finding]:
    """Findings, best supported first; ``unexplained`` is among them only where no cause reaches ``possible``."""
    if not incidents:
        return []
    order = {cause.id: (cause.rank, cause.id) for cause in causes}
    found = [_finding(cause, incidents, case) for cause in causes]
    explained = any(RANK[item.grade] >= RANK["possible"] for item in found)
    kept = [item for item in found if item.cause != UNEXPLAINED or not explained]
    return sorted(kept, key=lambda item: (item.cause != UNEXPLAINED, -RANK[item.grade], order[item.cause]))


def graded(incidents: Sequence[Incident], causes: Iterable[Cause], case: Case) -> list[Incident]:
    """The incidents with the grade of every cause that has any evidence for or against it."""
    causes = list(causes)
    return [
        replace(
            item, grades={cause.id: grade for cause in causes if (grade := weigh(cause, item, case)) != "no-evidence"}
        )
        for item in incidents
    ]


def weigh(cause: Cause, incident: Incident, case: Case) -> Grade:
    """Grade of one cause for one incident."""
    return _weigh(cause, incident, case).grade


def verdict(
    findings: Sequence[Finding], incidents: Sequence[Incident], case: Case, losses: int, left_out: int = 0
) -> Verdict:
    """The best supported cause in a sentence; without a refusal, what that absence is worth.

    ``left_out`` is how many refusals lie outside of the time that was asked for.
    """
    if not incidents and left_out:
        title = "No 5.7.64 refusal was found in the time asked for"
        text = f"{left_out} refusals with 5.7.64 lie outside of it: take the limits of time away to see them."
        return Verdict(cause=None, grade=None, title=title, summary=text)
    if not incidents:
        return Verdict(cause=None, grade=None, title="No 5.7.64 refusal was found", summary=_absence(case, losses))
    best = findings[0]
    also = [item for item in findings[1:] if RANK[item.grade] >= RANK["possible"]]
    count = sum(item.rejection_count for item in incidents)
    start, end = min(item.start for item in incidents), max(item.end for item in incidents)
    hosts = ", ".join(sorted({item.host or "a host that no log names" for item in incidents}))
    span = clock.as_text(start) if start == end else f"{clock.as_text(start)} to {clock.as_text(end)}"
    texts = [f"{count} refusal{'s' if count > 1 else ''} with 5.7.64 on {hosts}, {span}.", _claim(best)]
    if also:
        texts.append("Also " + "; ".join(f"{item.grade}: {item.cause}" for item in also) + ".")
    return Verdict(cause=best.cause, grade=best.grade, title=best.title, summary=" ".join(texts))


def _absence(case: Case, losses: int) -> str:
    if not case.kinds & set(_SMTP):
        return (
            "No SMTP log was among what was read, so a refusal could not have been found. "
            "Add the Send connector protocol log or the IIS SMTP log."
        )
    if losses:
        return f"Absence is not shown: {losses} part{'s' if losses > 1 else ''} of the input could not be read."
    return "Everything was read. A Send connector that does not log verbosely writes no sessions, so check its level."


def _claim(best: Finding) -> str:
    if best.cause == UNEXPLAINED:
        return "No cause is supported well enough to be named; what to collect next is listed."
    if best.grade == "probable":
        return "This cause is the best supported explanation; it is not proven until the fix has worked."
    return "The evidence is consistent with this cause and does not show it: verify before you act."


# ------------------------------------------------------------------------------------------------------ weighing


def _finding(cause: Cause, incidents: Sequence[Incident], case: Case) -> Finding:
    weighed = [_weigh(cause, incident, case) for incident in incidents]
    best = max(weighed, key=lambda item: RANK[item.grade])
    least = min(RANK[best.grade], RANK["possible"])
    relevant = [item for item in weighed if RANK[item.grade] >= least]
    seen = [item for part in relevant for item in part.seen]
    against = [item for part in weighed for item in part.seen]
    names = _names(best.incident, case)
    confident = RANK[best.grade] >= RANK["possible"]
    return Finding(
        cause=cause.id,
        grade=best.grade,
        title=_fill(cause.title, names),
        why=_fill(cause.why, names),
        supports=_sentences(seen, "supports"),
        contradicts=(*_uncovered(relevant, incidents, confident), *_sentences(against, "contradicts")),
        missing=tuple(_missing(cause.missing, best, names)),
        remedy=Remedy(
            # No fix is printed as the answer where the cause is not even possible: checks only.
            steps=_steps(cause, relevant, case) if confident or cause.id == UNEXPLAINED else (),
            verify=tuple(_fill(step, names) for step in cause.verify),
            references=cause.references,
        ),
        incidents=tuple(item.incident.id for item in relevant)
        if best.grade != "no-evidence" or _is_default(cause)
        else (),
    )


def _steps(cause: Cause, relevant: Sequence[_Weighed], case: Case) -> tuple[str, ...]:
    """Steps for all incidents of the finding: a step that names other things for another incident is given again."""
    filled: list[dict[str, str]] = []
    of_certificate: dict[str, dict[str, str]] = {}
    for item in relevant:
        names = _names(item.incident, case)
        # Logs write one certificate's name in different ways: the first is kept, so that no step comes twice for it.
        first = of_certificate.setdefault(names["thumbprint"], names)
        filled.append({**names, **{key: first[key] for key in ("subject", "issuer", "missing_issuer")}})
    return tuple(text for step in cause.steps for text in dict.fromkeys(_fill(step, names) for names in filled))


def _uncovered(relevant: Sequence[_Weighed], incidents: Sequence[Incident], confident: bool) -> tuple[Evidence, ...]:
    """A sentence where the cause is not supported for all refusals."""
    count = sum(item.incident.rejection_count for item in relevant)
    total = sum(item.rejection_count for item in incidents)
    if not confident or count == total:
        return ()
    text = f"This cause covers {count} of {total} refusals; the other incidents have grades of their own."
    return (Evidence(text=text, origin=None),)


def _is_default(cause: Cause) -> bool:
    return cause.id == UNEXPLAINED


def _weigh(cause: Cause, incident: Incident, case: Case) -> _Weighed:
    identified = _identified(cause, incident, case)
    seen = tuple(item for rule in cause.observations if (item := _see(rule, incident, identified, case)) is not None)
    names = frozenset(item.observation.name for item in seen)
    capped = frozenset(item.observation.name for item in seen if item.capped)
    grade = _against_its_own(cause, incident, case, grade_of(cause, names, capped))
    return _Weighed(incident=incident, grade=grade, seen=seen)


def _against_its_own(cause: Cause, incident: Incident, case: Case, grade: Grade) -> Grade:
    """The grade, lowered where other refusals of the same incident show the contrary on the same machine.

    A refusal whose own handshake shows the opposite was not caused by this: where most refusals do, the cause is
    contradicted, where some do, it is ``possible`` at most. A check on the machine itself beats one elsewhere.
    """
    pro, contra = _sides(cause, incident, case)
    spoken = {link.rejection for link in contra} - {link.rejection for link in pro if link.host in _PAIRED}
    if not spoken or not pro:
        return grade
    if len(spoken) >= len({link.rejection for link in pro} - spoken):
        return "contradicted"
    return min(grade, "possible", key=lambda item: RANK[item])


def _sides(cause: Cause, incident: Incident, case: Case) -> tuple[list[Link], list[Link]]:
    """Sound links that speak for the cause, and those on the same machine that speak against it by a check that passed.

    A failed check of another certificate (the remote side's) is no such thing.
    """
    rules = {
        side: {item.of for item in cause.observations if item.kind == "link" and getattr(item, side)} for side in _SIDES
    }
    sound = [link for link in incident.links if link.broken_by is None and link.basis in _IDENTITY]
    against = [link for link in sound if link.rule in rules["contradicts"] and link.basis == "thumbprint"]
    return [link for link in sound if link.rule in rules["supports"]], [
        link for link in against if link.host in _PAIRED and case.operations[link.operation].result == _PASSED
    ]


def grade_of(cause: Cause, observed: AbstractSet[str], capped: AbstractSet[str] = frozenset()) -> Grade:
    """Grade that follows from the names of what was observed.

    ``capped`` are observations that rest on a name, on time or on hosts that are not the same: where every way to a
    grade needs one of them, the grade is ``possible`` at most.
    """
    grade: Grade = "no-evidence"
    for candidate in ("probable", "possible", "coincident"):
        reached = [group for group in cause.grades.get(candidate, ()) if set(group) <= observed]
        if reached:
            free = any(not capped & set(group) for group in reached)
            grade = candidate if free or RANK[candidate] <= RANK["possible"] else "possible"
            break
    against = [item for item in cause.observations if item.contradicts and item.name in observed]
    if any(item.excludes for item in against) or (against and RANK[grade] < RANK["possible"]):
        return "contradicted"
    return grade


def _identified(cause: Cause, incident: Incident, case: Case) -> list[Operation]:
    """Operations that speak for the cause and are tied to the incident by more than time: their chain is asked next."""
    rules = {item.of for item in cause.observations if item.kind == "link" and item.supports}
    sound = [link for link in incident.links if link.broken_by is None and link.basis in _IDENTITY]
    return [case.operations[name] for name in dict.fromkeys(link.operation for link in sound if link.rule in rules)]


def _see(rule: Observation, incident: Incident, identified: Sequence[Operation], case: Case) -> _Seen | None:
    """The observation with its evidence where it holds for the incident, else None."""
    text = rule.supports or rule.contradicts
    if rule.kind in ("link", "broken-link"):
        return _see_links(rule, text, incident, case)
    if rule.kind == "operation":
        found = [item for item in identified if rule.of in item.signals]
        if rule.contradicts and {item.thumbprint for item in identified} - {item.thumbprint for item in found}:
            # Another certificate with the server's name remains, of which this is not true.
            return None
        evidence = [
            Evidence(
                text=_fill(text, _names(incident, case, operation=item)),
                origin=item.chain_origin or item.origin,
                time=item.chain_time or item.time,
            )
            for item in found
        ]
        free = {link.operation for link in incident.links if link.basis == "thumbprint" and link.host in _PAIRED}
        capped = not any(item.id in free for item in found)
        return _Seen(observation=rule, evidence=tuple(evidence), capped=capped) if found else None
    if rule.kind == "rejection":
        hits = [item for item in incident.rejections if rule.of in item.signals]
        evidence = [
            Evidence(
                text=_fill(text, _names(incident, case, rejection=item)),
                origin=case.settings.get(rule.shown_by, item.origin),
                time=item.time,
            )
            for item in hits
        ]
        # What is true of some refusals only does not explain the others.
        capped = len(hits) < len(incident.rejections)
        return _Seen(observation=rule, evidence=tuple(evidence), capped=capped) if hits else None
    held = _absent(rule, incident, case)
    if not held:
        return None
    sentence = Evidence(text=_fill(text, _names(incident, case)), origin=None)
    return _Seen(observation=rule, evidence=(sentence,) if text else (), capped=False)


def _see_links(rule: Observation, text: str, incident: Incident, case: Case) -> _Seen | None:
    links = [link for link in incident.links if link.rule == rule.of]
    sound = [link for link in links if link.broken_by is None]
    # Where one pair of the rule is sound, broken pairs of other sessions do not speak against it.
    wanted = sound if rule.kind == "link" else ([] if sound else links)
    if not wanted:
        return None
    rejections = {item.id: item for item in incident.rejections}
    evidence = []
    for link in _nearest_per_operation(wanted):
        operation, rejection = case.operations[link.operation], rejections[link.rejection]
        names = _names(incident, case, link=link, operation=operation, rejection=rejection)
        origin = link.broken_by if rule.kind == "broken-link" else operation.origin
        evidence.append(Evidence(text=_fill(text, names), origin=origin, time=operation.time))
    free = any(link.basis == "thumbprint" and link.host in _PAIRED for link in wanted)
    return _Seen(observation=rule, evidence=tuple(evidence), capped=not free)


def _nearest_per_operation(links: Sequence[Link]) -> list[Link]:
    nearest: dict[str, Link] = {}
    for link in sorted(links, key=lambda item: abs(item.delta_seconds)):
        nearest.setdefault(link.operation, link)
    return list(nearest.values())


def _absent(rule: Observation, incident: Incident, case: Case) -> bool:
    if rule.kind == "no-object":
        return rule.of not in case.settings
    return _no_source(rule.of, case) if rule.kind == "no-source" else _outside(rule.of, incident, case)


def _no_source(kind: str, case: Case) -> bool:
    return not case.kinds & (set(_SMTP) if kind == "smtp" else {kind})


def _outside(kind: str, incident: Incident, case: Case) -> bool:
    """Whether the export of that kind exists and does not reach any refusal of the incident."""
    spans = [
        (item.first, item.last)
        for item in case.coverage
        if item.kind == kind and item.first and item.last and item.records
    ]
    slack = timedelta(seconds=10)
    anchors = [item.handshake_time or item.time for item in incident.rejections]
    return kind in case.kinds and not any(
        first - slack <= anchor <= last + slack for first, last in spans for anchor in anchors
    )


def _missing(rules: Iterable[MissingRule], best: _Weighed, names: Mapping[str, str]) -> Iterator[Missing]:
    held = {item.observation.name for item in best.seen}
    for rule in rules:
        if set(rule.when) <= held and not set(rule.unless) & held:
            yield Missing(text=_fill(rule.text, names), collect=tuple(_fill(item, names) for item in rule.collect))


def _sentences(seen: Iterable[_Seen], side: str) -> tuple[Evidence, ...]:
    """Distinct sentences for or against, the strongest observation first as in the rule; long runs are counted."""
    kept: list[Evidence] = []
    by_name: dict[str, list[Evidence]] = {}
    for item in seen:
        if getattr(item.observation, side):
            by_name.setdefault(item.observation.name, []).extend(item.evidence)
    for evidence in by_name.values():
        distinct = list({(item.text, item.origin): item for item in evidence}.values())
        distinct.sort(key=lambda item: (item.time is None, item.time or 0, place(item.origin) if item.origin else ()))
        kept += distinct[:_MOST_EVIDENCE]
        if len(distinct) > _MOST_EVIDENCE:
            kept.append(Evidence(text=f"... and {len(distinct) - _MOST_EVIDENCE} more of the same kind", origin=None))
    return tuple(kept)


# ------------------------------------------------------------------------------------------------------- wording


def _fill(text: str, names: Mapping[str, str]) -> str:
    return string.Template(text).safe_substitute(names)


def _names(
    incident: Incident,
    case: Case,
    *,
    link: Link | None = None,
    operation: Operation | None = None,
    rejection: Rejection | None = None,
) -> dict[str, str]:
    """Values of the placeholders that rule files may use; what is not known reads as an instruction to fill it in."""
    link = link or next((item for item in incident.links if item.basis in _IDENTITY), None)
    if operation is None and link is not None:
        operation = case.operations[link.operation]
    rejection = rejection or incident.rejections[0]
    certificate = incident.certificate
    issuer = operation.missing_issuer if operation else None
    view = case.views.get(rejection.id, {})
    known = case.certificates.get(certificate.thumbprint) if certificate else None
    return {
        "host": incident.host or "<the sending server>",
        "connector": incident.connector or "<the connector>",
        "thumbprint": certificate.thumbprint if certificate else "<thumbprint of the SMTP certificate>",
        "subject": certificate.subject if certificate else "<subject of the SMTP certificate>",
        "issuer": certificate.issuer if certificate and certificate.issuer else "<the issuer of the certificate>",
        "start": clock.as_text(incident.start),
        "end": clock.as_text(incident.end),
        "refused": str(incident.rejection_count),
        "rejection_time": clock.as_text(rejection.time),
        "remote": rejection.remote_name or rejection.remote_endpoint or "the remote side",
        "mail_from": rejection.mail_from or "<>",
        "rcpt_to": rejection.rcpt_to or "<recipient>",
        "helo": rejection.helo or "<EHLO name>",
        "attribution": rejection.attribution or "no attribution code",
        "coverage": _coverage_text(case),
        **{name: _listed(view, key, nothing) for name, (key, nothing) in _FROM_VIEW.items()},
        "sender_domain": rejection.mail_from.rpartition("@")[2] or "no domain",
        **_operation_names(operation),
        "missing_issuer": _issuer_text(issuer, known, certificate.issuer if certificate else ""),
        "delta": _delta(link),
    }


# Placeholder -> field of the session's view, and what to say where it is absent.
_FROM_VIEW = {
    "sent_names": ("SentName", "no certificate name in the logs"),
    "inbound_names": ("InboundConnector.CertificateName", "no certificate name"),
    "inbound_addresses": ("InboundConnector.Address", "no address"),
    "connector_names": ("InboundConnector.MatchingName", "by address"),
    "configured_subject": ("SendConnector.Subject", "no certificate"),
    "previous_thumbprint": ("PreviousThumbprint", "no certificate"),
    "seen_address": ("SeenAddress", "<the public address of the server>"),
    "tls": ("TlsFailure", "the log names no error"),
}


def _listed(view: Fields, key: str, nothing: str) -> str:
    return ", ".join(view.get(key, ())) or nothing


def _operation_names(operation: Operation | None) -> dict[str, str]:
    if operation is None:
        return dict.fromkeys(
            ("result", "result_name", "process", "operation_time", "chain_status", "last_element"), "?"
        )
    return {
        "result": operation.result,
        "result_name": operation.result_name,
        "process": operation.process,
        "operation_time": clock.as_text(operation.time),
        "chain_status": ", ".join(operation.chain_status) or "no error",
        "last_element": operation.elements[-1].subject if operation.elements else "?",
    }


def _issuer_text(missing: Certificate | None, leaf: Certificate | None, issuer: str) -> str:
    """The issuer that is missing, by name and key id as far as known, and where the leaf says that it is published."""
    subject = missing.subject if missing else ""
    key_id = missing.subject_key_id if missing else ""
    if leaf is not None and not subject:
        subject, key_id = leaf.issuer, leaf.authority_key_id
    text = subject or issuer or "<the issuer of the certificate>"
    text += f" (key id {key_id})" if key_id else ""
    urls = leaf.issuer_urls if leaf else ()
    return f"{text}, published at {', '.join(urls)}" if urls else text


def _delta(link: Link | None) -> str:
    if link is None:
        return "?"
    event = "the start of the TLS handshake" if link.anchor == "handshake" else "the refusal"
    hosts = {
        "same": "",
        "assumed": "; the log names no host, one host is assumed for both",
        "unknown": "; the host of the refusal is not known",
        "different": "; on a different host",
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


def _coverage_text(case: Case) -> str:
    spans = [
        f"{clock.as_text(item.first)} to {clock.as_text(item.last)}"
        for item in case.coverage
        if item.kind == "capi2" and item.records
    ]
    return "; ".join(spans) or "no CAPI2 record"
