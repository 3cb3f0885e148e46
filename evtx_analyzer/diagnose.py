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

import heapq
import string
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import cache, cached_property

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.commands import SERVERS, Place, applies, instructions, sentence
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


def _no_view(rejection: Rejection) -> Fields:  # noqa: ARG001  the signature of ``Case.view``
    return {}


class Case(Struct, frozen=True, kw_only=True):
    """What the diagnosis looks at besides the incident itself; ``view`` gives a refused session's fields.

    The view is asked for where a sentence needs it, and not kept: an outage has as many as it has refusals.
    """

    operations: Mapping[str, Operation]
    coverage: Sequence[Coverage]
    kinds: frozenset[str]
    settings: Mapping[str, Origin] = {}
    view: Callable[[Rejection], Fields] = _no_view
    certificates: Mapping[str, Certificate] = {}


class _Fact(Struct, frozen=True, kw_only=True):
    """What one sentence of evidence is about, where that stands and when it was; worded only where it is shown."""

    origin: Origin | None = None
    time: datetime | None = None
    link: Link | None = None
    operation: Operation | None = None
    rejection: Rejection | None = None


class _Seen(Struct, frozen=True, kw_only=True):
    """One observation that holds for an incident: its facts, and how far its pairs may carry a grade."""

    observation: Observation
    scene: _Scene
    facts: Sequence[_Fact]
    capped: bool


class _Weighed(Struct, frozen=True, kw_only=True):
    """A cause weighed against one incident."""

    scene: _Scene
    grade: Grade
    seen: tuple[_Seen, ...]

    @property
    def incident(self) -> Incident:
        return self.scene.incident


def diagnose(incidents: Sequence[Incident], causes: Iterable[Cause], case: Case) -> list[Finding]:
    """Findings, best supported first; ``unexplained`` is among them only where no cause reaches ``possible``."""
    return diagnosed(incidents, causes, case)[0]


def diagnosed(
    incidents: Sequence[Incident], causes: Iterable[Cause], case: Case
) -> tuple[list[Finding], list[Incident]]:
    """The findings, and the incidents with the grade of every cause that has any evidence for or against it."""
    if not incidents:
        return [], []
    causes = list(causes)
    scenes = [_Scene(incident, case) for incident in incidents]
    weighed = {cause.id: [_weigh(cause, scene) for scene in scenes] for cause in causes}
    found = [_finding(cause, weighed[cause.id]) for cause in causes]
    order = {cause.id: (cause.rank, cause.id) for cause in causes}
    explained = any(RANK[item.grade] >= RANK["possible"] for item in found)
    kept = [item for item in found if item.cause != UNEXPLAINED or not explained]
    kept.sort(key=lambda item: (item.cause != UNEXPLAINED, -RANK[item.grade], order[item.cause]))
    grades: list[dict[str, Grade]] = [{} for _ in incidents]
    for cause in causes:
        for held, item in zip(grades, weighed[cause.id], strict=True):
            if item.grade != "no-evidence":
                held[cause.id] = item.grade
    return kept, [replace(item, grades=held) for item, held in zip(incidents, grades, strict=True)]


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


class _Scene:
    """An incident with what the causes ask of it: thousands of refusals are gone through once, not for each cause."""

    def __init__(self, incident: Incident, case: Case) -> None:
        self.incident, self.case = incident, case
        self.sound = [link for link in incident.links if link.broken_by is None and link.basis in _IDENTITY]
        self.first_link = next((item for item in incident.links if item.basis in _IDENTITY), None)
        self._refused: dict[tuple[str, str], list[_Fact]] = {}
        self._paired: dict[tuple[str, str], tuple[list[_Fact], bool]] = {}
        self._texts: dict[tuple[object, ...], str] = {}
        self._views: dict[str, tuple[str, ...]] = {}
        self._equal: dict[tuple[str, ...], tuple[str, ...]] = {}

    @cached_property
    def hits(self) -> Mapping[str, list[Rejection]]:
        """Refusals by signal."""
        found: dict[str, list[Rejection]] = {}
        for item in self.incident.rejections:
            for name in set(item.signals):
                found.setdefault(name, []).append(item)
        return found

    @cached_property
    def links(self) -> Mapping[str, list[Link]]:
        """Links by rule."""
        found: dict[str, list[Link]] = {}
        for link in self.incident.links:
            found.setdefault(link.rule, []).append(link)
        return found

    @cached_property
    def free(self) -> frozenset[str]:
        """Checks that are joined by thumbprint on the same machine."""
        links = self.incident.links
        return frozenset(link.operation for link in links if link.basis == "thumbprint" and link.host in _PAIRED)

    @cached_property
    def anchors(self) -> list[datetime]:
        """Times of the handshakes, in order."""
        return sorted(item.handshake_time or item.time for item in self.incident.rejections)

    def refused(self, signal: str, shown_by: str) -> list[_Fact]:
        """The refusals of a signal as facts; they stand in the export that shows them, where there is one."""
        key = (signal, shown_by)
        if key not in self._refused:
            place_of = self.case.settings.get(shown_by)
            self._refused[key] = [
                _Fact(origin=place_of or item.origin, time=item.time, rejection=item)
                for item in self.hits.get(signal, ())
            ]
        return self._refused[key]

    def paired(self, rule: str, kind: str) -> tuple[list[_Fact], bool]:
        """Sound or broken links of a rule as facts, one for each check, and whether any may carry a grade freely."""
        key = (rule, kind)
        if key not in self._paired:
            links = self.links.get(rule, [])
            sound = [link for link in links if link.broken_by is None]
            # Where one pair of the rule is sound, broken pairs of other sessions do not speak against it.
            wanted = sound if kind == "link" else ([] if sound else links)
            rejections = {item.id: item for item in self.incident.rejections} if wanted else {}
            facts = [
                _Fact(
                    origin=link.broken_by if kind == "broken-link" else operation.origin,
                    time=operation.time,
                    link=link,
                    operation=operation,
                    rejection=rejections[link.rejection],
                )
                for link in _nearest_per_operation(wanted)
                for operation in (self.case.operations[link.operation],)
            ]
            free = any(link.basis == "thumbprint" and link.host in _PAIRED for link in wanted)
            self._paired[key] = facts, free
        return self._paired[key]

    def worded(self, text: str, fact: _Fact) -> str:
        """The sentence of a fact; refusals that differ in nothing that it names share it."""
        if fact.link is not None or fact.operation is not None or fact.rejection is None:
            return _fill(text, self.names(fact))
        used = _placeholders(text)
        values = [get(fact.rejection, {}) for name, get in _OF_REJECTION.items() if name in used]
        key = (text, *values, () if used.isdisjoint(_FROM_VIEW) else self._of_view(fact.rejection))
        if key not in self._texts:
            self._texts[key] = _fill(text, self.names(fact))
        return self._texts[key]

    def _of_view(self, rejection: Rejection) -> tuple[str, ...]:
        """What sentences name of a session's view; the view is made once for all of them, and equal values are shared.

        Sessions of one outage show much the same, so little is kept.
        """
        found = self._views.get(rejection.id)
        if found is None:
            view = self.case.view(rejection)
            values = tuple(_OF_REJECTION[name](rejection, view) for name in _FROM_VIEW)
            found = self._views[rejection.id] = self._equal.setdefault(values, values)
        return found

    def names(self, fact: _Fact | None = None) -> dict[str, str]:
        """Values of the placeholders that rule files may use; what is not known reads as an instruction to fill it in.

        Without a fact they are those of the first refusal and of the first check that is joined by more than time.
        """
        link = (fact.link if fact else None) or self.first_link
        operation = fact.operation if fact else None
        if operation is None and link is not None:
            operation = self.case.operations[link.operation]
        rejection = (fact.rejection if fact else None) or self.incident.rejections[0]
        certificate = self.incident.certificate
        issuer = operation.missing_issuer if operation else None
        known = self.case.certificates.get(certificate.thumbprint) if certificate else None
        view = self.case.view(rejection)
        return {
            **self._of_incident,
            **{name: get(rejection, view) for name, get in _OF_REJECTION.items()},
            **_operation_names(operation),
            "missing_issuer": _issuer_text(issuer, known, certificate.issuer if certificate else ""),
            "delta": _delta(link),
        }

    @cached_property
    def _of_incident(self) -> dict[str, str]:
        incident = self.incident
        certificate = incident.certificate
        return {
            "host": incident.host or "<the sending server>",
            "connector": incident.connector or "<the connector>",
            "thumbprint": certificate.thumbprint if certificate else "<thumbprint of the SMTP certificate>",
            "subject": certificate.subject if certificate else "<subject of the SMTP certificate>",
            "issuer": certificate.issuer if certificate and certificate.issuer else "<the issuer of the certificate>",
            "start": clock.as_text(incident.start),
            "end": clock.as_text(incident.end),
            "refused": str(incident.rejection_count),
            "coverage": _coverage_text(self.case),
        }


def _finding(cause: Cause, weighed: Sequence[_Weighed]) -> Finding:
    incidents = [item.incident for item in weighed]
    best = max(weighed, key=lambda item: RANK[item.grade])
    least = min(RANK[best.grade], RANK["possible"])
    relevant = [item for item in weighed if RANK[item.grade] >= least]
    seen = [item for part in relevant for item in part.seen]
    against = [item for part in weighed for item in part.seen]
    names = best.scene.names()
    confident = RANK[best.grade] >= RANK["possible"]
    return Finding(
        cause=cause.id,
        grade=best.grade,
        title=_fill(cause.title, names),
        why=_fill(cause.why, names),
        supports=_sentences(seen, "supports"),
        contradicts=(*_uncovered(relevant, incidents, confident), *_sentences(against, "contradicts")),
        # What a weaker incident lacks is not missing where another one shows it.
        missing=tuple(_missing(cause.missing, _best_by_server(part for part in relevant if part.grade == best.grade))),
        remedy=Remedy(
            # No fix is printed as the answer where the cause is not even possible: checks only.
            steps=instructions(cause.steps, _places(relevant)) if confident or cause.id == UNEXPLAINED else (),
            verify=instructions(cause.verify, _places(_best_by_server(relevant))),
            references=cause.references,
        ),
        incidents=tuple(item.incident.id for item in relevant)
        if best.grade != "no-evidence" or _is_default(cause)
        else (),
    )


def _best_by_server(weighed: Iterable[_Weighed]) -> list[_Weighed]:
    """The best supported incident of each kind of server, the best first."""
    best: dict[str, _Weighed] = {}
    for item in sorted(weighed, key=lambda part: -RANK[part.grade]):
        best.setdefault(SERVERS.get(item.incident.kind, ""), item)
    return list(best.values())


def _places(weighed: Iterable[_Weighed]) -> list[Place]:
    """The incidents as places where steps are done; a certificate has one name in all of them."""
    places = []
    of_certificate: dict[str, dict[str, str]] = {}
    for item in weighed:
        names = item.scene.names()
        # Logs write one certificate's name in different ways: the first is kept, so that no step comes twice for it.
        first = of_certificate.setdefault(names["thumbprint"], names)
        places.append(
            Place(
                server=SERVERS.get(item.incident.kind, ""),
                observed=frozenset(seen.observation.name for seen in item.seen),
                names={**names, **{key: first[key] for key in ("subject", "issuer", "missing_issuer")}},
            )
        )
    return places


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


def _weigh(cause: Cause, scene: _Scene) -> _Weighed:
    identified = _identified(cause, scene)
    seen = tuple(item for rule in cause.observations if (item := _see(rule, scene, identified)) is not None)
    names = frozenset(item.observation.name for item in seen)
    capped = frozenset(item.observation.name for item in seen if item.capped)
    grade = _against_its_own(cause, scene, grade_of(cause, names, capped))
    return _Weighed(scene=scene, grade=grade, seen=seen)


def _against_its_own(cause: Cause, scene: _Scene, grade: Grade) -> Grade:
    """The grade, lowered where other refusals of the same incident show the contrary on the same machine.

    A refusal whose own handshake shows the opposite was not caused by this: where most refusals do, the cause is
    contradicted, where some do, it is ``possible`` at most. A check on the machine itself beats one elsewhere.
    """
    pro, contra = _sides(cause, scene)
    spoken = {link.rejection for link in contra} - {link.rejection for link in pro if link.host in _PAIRED}
    if not spoken or not pro:
        return grade
    if len(spoken) >= len({link.rejection for link in pro} - spoken):
        return "contradicted"
    return min(grade, "possible", key=lambda item: RANK[item])


def _sides(cause: Cause, scene: _Scene) -> tuple[list[Link], list[Link]]:
    """Sound links that speak for the cause, and those on the same machine that speak against it by a check that passed.

    A failed check of another certificate (the remote side's) is no such thing.
    """
    rules = {
        side: {item.of for item in cause.observations if item.kind == "link" and getattr(item, side)} for side in _SIDES
    }
    against = [link for link in scene.sound if link.rule in rules["contradicts"] and link.basis == "thumbprint"]
    operations = scene.case.operations
    return [link for link in scene.sound if link.rule in rules["supports"]], [
        link for link in against if link.host in _PAIRED and operations[link.operation].result == _PASSED
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


def _identified(cause: Cause, scene: _Scene) -> list[Operation]:
    """Operations that speak for the cause and are tied to the incident by more than time: their chain is asked next."""
    rules = {item.of for item in cause.observations if item.kind == "link" and item.supports}
    found = dict.fromkeys(link.operation for link in scene.sound if link.rule in rules)
    return [scene.case.operations[name] for name in found]


def _see(rule: Observation, scene: _Scene, identified: Sequence[Operation]) -> _Seen | None:
    """The observation with its facts where it holds for the incident, else None."""
    if rule.kind in ("link", "broken-link"):
        facts, free = scene.paired(rule.of, rule.kind)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=not free) if facts else None
    if rule.kind == "operation":
        found = [item for item in identified if rule.of in item.signals]
        if rule.contradicts and {item.thumbprint for item in identified} - {item.thumbprint for item in found}:
            # Another certificate with the server's name remains, of which this is not true.
            return None
        facts = [
            _Fact(origin=item.chain_origin or item.origin, time=item.chain_time or item.time, operation=item)
            for item in found
        ]
        capped = not any(item.id in scene.free for item in found)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=capped) if found else None
    if rule.kind == "rejection":
        facts = scene.refused(rule.of, rule.shown_by)
        # What is true of some refusals only does not explain the others.
        capped = len(facts) < len(scene.incident.rejections)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=capped) if facts else None
    if not _absent(rule, scene):
        return None
    return _Seen(
        observation=rule, scene=scene, facts=(_Fact(),) if rule.supports or rule.contradicts else (), capped=False
    )


def _nearest_per_operation(links: Sequence[Link]) -> list[Link]:
    nearest: dict[str, Link] = {}
    for link in sorted(links, key=lambda item: abs(item.delta_seconds)):
        nearest.setdefault(link.operation, link)
    return list(nearest.values())


def _absent(rule: Observation, scene: _Scene) -> bool:
    if rule.kind == "no-object":
        return rule.of not in scene.case.settings
    return _no_source(rule.of, scene.case) if rule.kind == "no-source" else _outside(rule.of, scene)


def _no_source(kind: str, case: Case) -> bool:
    return not case.kinds & (set(_SMTP) if kind == "smtp" else {kind})


def _outside(kind: str, scene: _Scene) -> bool:
    """Whether the export of that kind exists and does not reach any refusal of the incident."""
    slack = timedelta(seconds=10)
    for item in scene.case.coverage:
        if item.kind == kind and item.first and item.last and item.records:
            nearest = bisect_left(scene.anchors, item.first - slack)
            if nearest < len(scene.anchors) and scene.anchors[nearest] <= item.last + slack:
                return False
    return kind in scene.case.kinds


def _missing(rules: Iterable[MissingRule], weighed: Sequence[_Weighed]) -> Iterator[Missing]:
    places = _places(weighed)
    for rule in rules:
        asked = [place for place in places if applies(rule, place)]
        if asked:
            yield Missing(text=sentence(rule.text, asked[0].names), collect=instructions(rule.collect, asked))


def _sentences(seen: Iterable[_Seen], side: str) -> tuple[Evidence, ...]:
    """Distinct sentences for or against, the strongest observation first as in the rule; long runs are counted."""
    kept: list[Evidence] = []
    by_name: dict[str, list[_Seen]] = {}
    for item in seen:
        if getattr(item.observation, side):
            by_name.setdefault(item.observation.name, []).append(item)
    for same in by_name.values():
        distinct = _distinct(same)
        kept += [
            Evidence(text=item.scene.worded(_text(item), fact), origin=fact.origin, time=fact.time)
            for item, fact in heapq.nsmallest(_MOST_EVIDENCE, distinct, key=_when_and_where)
        ]
        if len(distinct) > _MOST_EVIDENCE:
            kept.append(Evidence(text=f"... and {len(distinct) - _MOST_EVIDENCE} more of the same kind", origin=None))
    return tuple(kept)


def _text(item: _Seen) -> str:
    return item.observation.supports or item.observation.contradicts


def _distinct(same: Sequence[_Seen]) -> list[tuple[_Seen, _Fact]]:
    """Facts that differ in place or in wording; only where several stand at one place are they worded for it."""
    places = Counter(fact.origin for item in same for fact in item.facts)
    found: dict[tuple[str, Origin | None], tuple[_Seen, _Fact]] = {}
    for item in same:
        text = _text(item)
        for fact in item.facts:
            wording = item.scene.worded(text, fact) if places[fact.origin] > 1 else ""
            found[wording, fact.origin] = item, fact
    return list(found.values())


def _when_and_where(pair: tuple[_Seen, _Fact]) -> tuple[object, ...]:
    fact = pair[1]
    return fact.time is None, fact.time or 0, place(fact.origin) if fact.origin else ()


# ------------------------------------------------------------------------------------------------------- wording


def _fill(text: str, names: Mapping[str, str]) -> str:
    return string.Template(text).safe_substitute(names)


@cache
def _placeholders(text: str) -> frozenset[str]:
    return frozenset(string.Template(text).get_identifiers())


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


def _listed(key: str, nothing: str) -> Callable[[Rejection, Fields], str]:
    return lambda _, view: ", ".join(view.get(key, ())) or nothing


_OF_REJECTION: dict[str, Callable[[Rejection, Fields], str]] = {
    "rejection_time": lambda item, _: clock.as_text(item.time),
    "remote": lambda item, _: item.remote_name or item.remote_endpoint or "the remote side",
    "mail_from": lambda item, _: item.mail_from or "<>",
    "rcpt_to": lambda item, _: item.rcpt_to or "<recipient>",
    "helo": lambda item, _: item.helo or "<EHLO name>",
    "attribution": lambda item, _: item.attribution or "no attribution code",
    "sender_domain": lambda item, _: item.mail_from.rpartition("@")[2] or "no domain",
    **{name: _listed(key, nothing) for name, (key, nothing) in _FROM_VIEW.items()},
}


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
