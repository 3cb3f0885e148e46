"""Incidents against causes: what supports each cause, what speaks against it, what is missing, and its grade.

Grades, never percentages: ``probable``, ``possible``, ``coincident``, ``contradicted``, ``no-evidence``. A cause's
YAML says which observations reach which grade; three laws stand above every rule file:

- nearness in time, or a name that looks like the server's own, never exceeds ``possible``;
- a pair of different hosts, or of a host that is not known, never exceeds ``possible``;
- an observation that excludes the cause makes it ``contradicted``, whatever else was seen, and so do groups of them
  under ``grades: contradicted``; one that caps it leaves ``possible`` at most; one that only speaks against it
  contradicts where the cause does not reach ``possible``.

Of causes with the same grade, one that is capped (mail was accepted in the very state that it claims decides) stands
behind the others, whatever its rank.

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
from evtx_analyzer.clock import Moment
from evtx_analyzer.commands import SERVERS, Place, applies, instructions, sentence
from evtx_analyzer.model import (
    Certificate,
    Coverage,
    Evidence,
    Fields,
    Finding,
    Grade,
    HostBasis,
    Incident,
    Link,
    Missing,
    Operation,
    Origin,
    Rejection,
    Remedy,
    TimeBasis,
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

    ``unread`` are kinds of which the input holds a log, and none that could be read.
    The view is asked for where a sentence needs it, and not kept: an outage has as many as it has refusals. ``tz`` is
    the zone in which local times were read, None where none was given.
    """

    operations: Mapping[str, Operation]
    coverage: Sequence[Coverage]
    kinds: frozenset[str]
    unread: frozenset[str] = frozenset()
    settings: Mapping[str, Origin] = {}
    view: Callable[[Rejection], Fields] = _no_view
    certificates: Mapping[str, Certificate] = {}
    tz: str | None = None


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
    order = {cause.id: (_is_capped(weighed[cause.id]), cause.rank, cause.id) for cause in causes}
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
    hosts = ", ".join(sorted({item.host or "a host that no log names" for item in incidents}))
    texts = [f"{count} refusal{'s' if count > 1 else ''} with 5.7.64 on {hosts}, {_span(incidents)}.", _claim(best)]
    if also:
        texts.append("Also " + "; ".join(f"{item.grade}: {item.cause}" for item in also) + ".")
    return Verdict(cause=best.cause, grade=best.grade, title=best.title, summary=" ".join(texts))


def _span(incidents: Sequence[Incident]) -> str:
    """From the first refusal to the last; beside known times those of an unknown zone are counted only."""
    starts = (Moment(incident.start, incident.start_basis) for incident in incidents)
    ends = (Moment(incident.end, incident.end_basis) for incident in incidents)
    first, last = clock.limits([*starts, *ends])
    return clock.span_text(first, last, sum(incident.unknown_zone_count for incident in incidents))


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
        """Times of the handshakes, in order; in the hour that the clock showed twice, both readings."""
        rejections = self.incident.rejections
        late = [item.other_time for item in rejections if item.time_basis == "ambiguous" and item.other_time]
        return sorted([*(item.handshake_time or item.time for item in rejections), *late])

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
        known = self.case.certificates.get(certificate.thumbprint) if certificate else None
        view = self.case.view(rejection)
        return {
            **self._of_incident,
            **{name: get(rejection, view) for name, get in _OF_REJECTION.items()},
            **_operation_names(operation),
            "missing_issuer": _issuer_text(
                operation, self._last_element(operation) or known, certificate.issuer if certificate else ""
            ),
            "delta": _delta(link, operation),
        }

    def _last_element(self, operation: Operation | None) -> Certificate | None:
        """What files and other events tell of the certificate at which a chain stops."""
        if operation is None or not operation.elements:
            return None
        last = operation.elements[-1].thumbprint
        return self.case.certificates.get(last) or Certificate(thumbprint=last, subject=operation.elements[-1].subject)

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
            "start": clock.in_sentence(incident.start, incident.start_basis),
            "end": clock.in_sentence(incident.end, incident.end_basis),
            "refused": str(incident.rejection_count),
            "coverage": _coverage_text(self.case),
        }


def _finding(cause: Cause, weighed: Sequence[_Weighed]) -> Finding:
    incidents = [item.incident for item in weighed]
    best = max(weighed, key=lambda item: RANK[item.grade])
    least = min(RANK[best.grade], RANK["possible"])
    relevant = [item for item in weighed if RANK[item.grade] >= least]
    seen = [item for part in relevant for item in part.seen]
    # Accepted mail says that a cause does not decide alone, which nobody asks of one that nothing speaks for.
    supported = RANK[best.grade] >= RANK["coincident"]
    against = [item for part in weighed for item in part.seen if supported or not item.observation.caps]
    names = best.scene.names()
    confident = RANK[best.grade] >= RANK["possible"]
    return Finding(
        cause=cause.id,
        grade=best.grade,
        title=_fill(cause.title, names),
        why=_fill(cause.why, names),
        supports=_sentences(seen, "supports"),
        contradicts=(
            *_uncovered(relevant, incidents, confident),
            *(_elsewhere(relevant) if confident else ()),
            *_sentences(against, "contradicts"),
        ),
        # What a weaker incident lacks is not missing where another one shows it.
        missing=(
            *_zone_asked(incidents, best.scene.case.tz),
            *_missing(cause.missing, _best_by_server(part for part in relevant if part.grade == best.grade)),
        ),
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


def _elsewhere(relevant: Sequence[_Weighed]) -> Iterator[Evidence]:
    """A sentence where all checks that speak for the cause are of other machines than the one that was refused."""
    for item in relevant:
        links = [fact.link for seen in item.seen if seen.observation.supports for fact in seen.facts if fact.link]
        if not links or any(link.host != "different" for link in links):
            continue
        operations = item.scene.case.operations
        others = sorted({operations[link.operation].host for link in links})
        basis = _HOW_KNOWN[item.incident.rejections[0].host_basis]
        text = (
            f"The failed checks are of {', '.join(others)}, the refusals of {item.incident.host} ({basis}): they may "
            f"share the certificate. Export the CAPI2 log of {item.incident.host} itself."
        )
        yield Evidence(text=text, origin=None)


_HOW_KNOWN: dict[HostBasis, str] = {
    "option": "by --host",
    "row": "by its own rows",
    "folder": "by the name of its folder",
    "address": "by its address",
    "assumed": "assumed",
    "unknown": "not known",
}


def _is_capped(weighed: Sequence[_Weighed]) -> bool:
    """Whether an observation that caps the cause holds wherever the cause reaches its best grade."""
    best = max(RANK[item.grade] for item in weighed)
    return all(any(seen.observation.caps for seen in item.seen) for item in weighed if RANK[item.grade] == best)


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
    if any(item.caps for item in against):
        grade = min(grade, "possible", key=lambda item: RANK[item])
    excluded = any(set(group) <= observed for group in cause.grades.get("contradicted", ()))
    # Accepted mail says that a cause does not decide alone: of a cause that nothing speaks for it says nothing.
    spoken = any(not item.caps for item in against)
    if excluded or any(item.excludes for item in against) or (spoken and RANK[grade] < RANK["possible"]):
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
    if rule.kind == "unread-source":
        return rule.of in scene.case.unread
    return _no_source(rule.of, scene.case) if rule.kind == "no-source" else _outside(rule.of, scene)


def _no_source(kind: str, case: Case) -> bool:
    return not (case.kinds | case.unread) & (set(_SMTP) if kind == "smtp" else {kind})


def _outside(kind: str, scene: _Scene) -> bool:
    """Whether the export of that kind exists and does not reach any refusal of the incident.

    Where the UTC time of a refusal is not known, neither is whether it lies outside.
    """
    if scene.incident.unknown_zone_count:
        return False
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
            Evidence(
                text=item.scene.worded(_text(item), fact), origin=fact.origin, time=fact.time, time_basis=_basis(fact)
            )
            for item, fact in heapq.nsmallest(_MOST_EVIDENCE, distinct, key=_when_and_where)
        ]
        if len(distinct) > _MOST_EVIDENCE:
            kept.append(Evidence(text=f"... and {len(distinct) - _MOST_EVIDENCE} more of the same kind", origin=None))
    return tuple(kept)


def _basis(fact: _Fact) -> TimeBasis:
    """That of the refusal where the fact is one; what is joined with a certificate check has the check's time."""
    return fact.rejection.time_basis if fact.rejection and fact.operation is None else "utc"


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
    "accepted_same_security": ("AcceptedSameSecurity", "no message"),
    "accepted_same_sender": ("AcceptedSameSender", "no message"),
    "accepted_since_failed_check": ("AcceptedSinceFailedCheck", "no message"),
    "accepted_since_expiry": ("AcceptedSinceExpiry", "no message"),
    "accepted_same_address": ("AcceptedSameAddress", "no message"),
    "accepted_again": ("PreviousAcceptedAgain", "no message"),
    "accepted_addresses": ("AcceptedFromAddress", "no address"),
    "accepted_senders": ("AcceptedSender", "no domain"),
    "accepted_connectors": ("AcceptedOnAnotherConnector", "no connector"),
    "associated_domains": ("InboundConnector.AssociatedDomain", "no domain"),
    "fitting_certificates": ("ExchangeCertificate.FittingOneName", "no certificate"),
    "received_names": ("ReceivedName", "no certificate name"),
    "private_issuer": ("SentIssuerPrivate", "no issuer"),
    "reply_certificate": ("ReplyCertificateName", "no name"),
    "reply_verdict": ("ReplyCertificateVerdict", "no verdict"),
    "schannel_events": ("SchannelEvent", "no event"),
    "tls": ("TlsFailure", "the log names no error"),
}


def _listed(key: str, nothing: str) -> Callable[[Rejection, Fields], str]:
    return lambda _, view: ", ".join(view.get(key, ())) or nothing


_OF_REJECTION: dict[str, Callable[[Rejection, Fields], str]] = {
    "rejection_time": lambda item, _: clock.in_sentence(item.time, item.time_basis),
    "remote": lambda item, _: item.remote_name or item.remote_endpoint or "the remote side",
    "mail_from": lambda item, _: item.mail_from or "<>",
    "rcpt_to": lambda item, _: item.rcpt_to or "<recipient>",
    "helo": lambda item, _: item.helo or "<EHLO name>",
    "attribution": lambda item, _: item.attribution or "no attribution code",
    "sender_domain": lambda item, _: item.mail_from.rpartition("@")[2] or "no domain",
    **{name: _listed(key, nothing) for name, (key, nothing) in _FROM_VIEW.items()},
}


_WITH_ZONE = ("> evtx-analyzer analyze INPUT --tz Europe/Berlin",)
_EXPORT_WITH_ZONE = ("> Get-MessageTrackingLog -EventId FAIL -ResultSize Unlimited | Export-Clixml tracking.xml",)


def _zone_asked(incidents: Sequence[Incident], tz: str | None) -> Iterator[Missing]:
    """What comes first under what is missing where refusals have no UTC time: nothing can be joined with them by time.

    Rows behind a ``#Date`` heading have no time at all, so no zone is asked for.
    """
    if not any(incident.unknown_zone_count for incident in incidents):
        return
    rejections = [item for incident in incidents for item in incident.rejections]
    local = [item for item in rejections if item.time_basis == "unknown"]
    two_dates = sum(item.other_time is not None for item in local)
    skipped = len(local) - two_dates if tz else 0
    wrong = sum(item.time_basis == "wrong-zone" for item in rejections)
    if local and tz is None:
        text = (
            f"{_times_of(len(local))} local and no log names the time zone, so nothing is joined by time. "
            "Analyze again with --tz and the zone of the server that wrote the log, by its IANA name."
        )
        yield Missing(text=text, collect=_WITH_ZONE)
    if two_dates:
        text = (
            f"{_times_of(two_dates)} of a date whose day and month can be read both ways; shown is the month first. "
            "Give an IIS log under its own name (inYYMMDD.log), and export message tracking with Export-Clixml."
        )
        yield Missing(text=text, collect=_EXPORT_WITH_ZONE)
    for count, why in ((skipped, "in an hour that the zone skips"), (wrong, "wrong by another clock")):
        if count:
            text = (
                f"{_times_of(count)} {why}: --tz {tz} is not the zone of the server that wrote the log. "
                "Analyze again with the right one."
            )
            yield Missing(text=text, collect=_WITH_ZONE)


def _times_of(count: int) -> str:
    return "The time of 1 refusal is" if count == 1 else f"The times of {count} refusals are"


def _operation_names(operation: Operation | None) -> dict[str, str]:
    if operation is None:
        names = ("result", "result_name", "process", "operation_time", "chain_status", "last_element", "blamed_element")
        return dict.fromkeys(names, "?")
    return {
        "result": operation.result,
        "result_name": operation.result_name,
        "process": operation.process,
        "operation_time": clock.as_text(operation.time),
        "chain_status": ", ".join(operation.chain_status) or "no error",
        "last_element": operation.elements[-1].subject if operation.elements else "?",
        "blamed_element": _out_of_date(operation),
    }


def _out_of_date(operation: Operation) -> str:
    """The first element of the chain that is out of its validity period, else the one that event 30 blames."""
    late = [item.subject for item in operation.elements if "CERT_TRUST_IS_NOT_TIME_VALID" in item.errors]
    at = operation.element_index
    if late:
        return late[0]
    if at is not None and 0 <= at < len(operation.elements):
        return operation.elements[at].subject
    return "a certificate above it" if at is None or at > 0 else operation.subject


def _issuer_text(operation: Operation | None, last: Certificate | None, issuer: str) -> str:
    """The issuer that is missing, by name and key id as far as known, and where it is published.

    ``last`` is the last element of the chain, which names both; it is the leaf where no chain is known. Another
    element's address is that of another certificate.
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


def _delta(link: Link | None, operation: Operation | None = None) -> str:
    if link is None:
        return "?"
    event = "the start of the TLS handshake" if link.anchor == "handshake" else "the refusal"
    hosts = {
        "same": "",
        "assumed": "; the log names no host, one host is assumed for both",
        "unknown": "; the host of the refusal is not known",
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


def _coverage_text(case: Case) -> str:
    spans = [
        f"{clock.as_text(item.first)} to {clock.as_text(item.last)}"
        for item in case.coverage
        if item.kind == "capi2" and item.records
    ]
    return "; ".join(spans) or "no CAPI2 record"
