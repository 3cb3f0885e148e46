"""Incidents against causes: what supports each cause, what speaks against it, what is missing, and its grade.

What the grades mean stands in ``grade``. Of causes with the same grade, one that is capped (mail was accepted in the
very state that it claims decides) stands behind the others, whatever its rank.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.commands import Place, applies, instructions, sentence
from evtx_analyzer.diagnose.grade import RANK, UNEXPLAINED, grade_of
from evtx_analyzer.diagnose.scene import PAIRED, Case, Fact, Scene
from evtx_analyzer.diagnose.time_zones import zone_asked
from evtx_analyzer.diagnose.wording import OF_EACH, _placeholders, fill
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.evidence import HostBasis, Incident, Link, Operation, Rejection
from evtx_analyzer.model.findings import Evidence, Finding, Grade, Missing, Remedy
from evtx_analyzer.model.origin import Origin, TimeBasis, sort_key
from evtx_analyzer.normalize.kinds import REFUSAL_KINDS, SERVERS, SESSION_KINDS
from evtx_analyzer.rules.definitions import SHOWN_ELSEWHERE, Cause, MissingRule, Observation

_SIDES = ("supports", "contradicts")
_PASSED = "0"
_MOST_EVIDENCE = 5
# Each refusal of a session has a row of its own; one row of message tracking or one report may hold several.
_OWN_PLACES = SESSION_KINDS


class _Seen(Struct, frozen=True, kw_only=True):
    """One observation that holds for an incident: its facts, and how far its pairs may carry a grade.

    ``folded`` are refusals of which it is true too, and that are no facts yet.
    """

    observation: Observation
    scene: Scene
    facts: Sequence[Fact]
    capped: bool
    folded: Sequence[Alike] = ()


class _Weighed(Struct, frozen=True, kw_only=True):
    """A cause weighed against one incident."""

    scene: Scene
    grade: Grade
    seen: tuple[_Seen, ...]

    @property
    def incident(self) -> Incident:
        return self.scene.incident


def diagnose(
    incidents: Sequence[Incident], causes: Iterable[Cause], case: Case
) -> tuple[list[Finding], list[Incident]]:
    """The findings, best supported first, and the incidents with the grade of every cause that has any evidence.

    ``unexplained`` is among the findings only where no cause reaches ``possible``.
    """
    if not incidents:
        return [], []
    causes = list(causes)
    scenes = [Scene(incident, case) for incident in incidents]
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


def _finding(cause: Cause, weighed: Sequence[_Weighed]) -> Finding:
    incidents = [item.incident for item in weighed]
    best = max(weighed, key=lambda item: RANK[item.grade])
    least = min(RANK[best.grade], RANK["possible"])
    relevant = [item for item in weighed if RANK[item.grade] >= least]
    seen = [item for part in relevant for item in part.seen]
    # Accepted mail says that a cause does not decide alone, and a store what it held later: nobody asks that of a cause
    # that nothing speaks for.
    supported = RANK[best.grade] >= RANK["coincident"]
    against = [
        item
        for part in weighed
        for item in part.seen
        if supported or not (item.observation.caps or item.observation.weak)
    ]
    names = best.scene.names()
    confident = RANK[best.grade] >= RANK["possible"]
    return Finding(
        cause=cause.id,
        grade=best.grade,
        title=fill(cause.title, names),
        why=fill(cause.why, names),
        supports=_sentences(seen, "supports"),
        contradicts=(
            *_uncovered(relevant, incidents, confident),
            *_unrecorded(relevant, best.grade),
            *(_elsewhere(relevant) if confident else ()),
            *_sentences(against, "contradicts"),
        ),
        # What a weaker incident lacks is not missing where another one shows it.
        missing=(
            *zone_asked(incidents, best.scene.case.tz),
            *_uncollected(incidents, best.scene.case.uncollected),
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


def _unrecorded(relevant: Sequence[_Weighed], grade: Grade) -> tuple[Evidence, ...]:
    """A sentence where a trace shows the connections of some refusals, and the others are taken to be like them."""
    shown = sum(len({item.rejection for item in part.scene.shown}) for part in relevant)
    total = sum(part.incident.rejection_count for part in relevant)
    if grade != "confirmed" or not shown or shown >= total:
        return ()
    text = (
        f"The network trace shows the connections of {shown} of {total} refusals; the others are of the same server, "
        "connector and certificate."
    )
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
    "manifest": "by the collector's manifest",
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


def _weigh(cause: Cause, scene: Scene) -> _Weighed:
    identified = _identified(cause, scene)
    seen = tuple(item for rule in cause.observations if (item := _see(rule, scene, identified)) is not None)
    names = frozenset(item.observation.name for item in seen)
    capped = frozenset(item.observation.name for item in seen if item.capped)
    grade = _against_its_own(cause, scene, grade_of(cause, names, capped))
    return _Weighed(scene=scene, grade=grade, seen=seen)


def _against_its_own(cause: Cause, scene: Scene, grade: Grade) -> Grade:
    """The grade, lowered where other refusals of the same incident show the contrary on the same machine.

    A refusal whose own handshake shows the opposite was not caused by this: where most refusals do, the cause is
    contradicted, where some do, it is ``possible`` at most. A check on the machine itself beats one elsewhere.
    """
    pro, contra = _sides(cause, scene)
    spoken = {link.rejection for link in contra} - {link.rejection for link in pro if link.host in PAIRED}
    if not spoken or not pro:
        return grade
    if len(spoken) >= len({link.rejection for link in pro} - spoken):
        return "contradicted"
    return min(grade, "possible", key=lambda item: RANK[item])


def _sides(cause: Cause, scene: Scene) -> tuple[list[Link], list[Link]]:
    """Sound links that speak for the cause, and those on the same machine that speak against it by a check that passed.

    A failed check of another certificate (the remote side's) is no such thing.
    """
    rules = {
        side: {item.of for item in cause.observations if item.kind == "link" and getattr(item, side)} for side in _SIDES
    }
    against = [link for link in scene.sound if link.rule in rules["contradicts"] and link.basis == "thumbprint"]
    operations = scene.case.operations
    return [link for link in scene.sound if link.rule in rules["supports"]], [
        link for link in against if link.host in PAIRED and operations[link.operation].result == _PASSED
    ]


def _identified(cause: Cause, scene: Scene) -> list[Operation]:
    """Operations that speak for the cause and are tied to the incident by more than time: their chain is asked next."""
    rules = {item.of for item in cause.observations if item.kind == "link" and item.supports}
    found = dict.fromkeys(link.operation for link in scene.sound if link.rule in rules)
    return [scene.case.operations[name] for name in found]


def _see(rule: Observation, scene: Scene, identified: Sequence[Operation]) -> _Seen | None:
    """The observation with its facts where it holds for the incident, else None."""
    if rule.kind in ("link", "broken-link"):
        facts, free = scene.paired(rule.of, rule.kind)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=not free) if facts else None
    if rule.kind in ("handshake", "some-handshakes", "every-handshake"):
        facts, sure = scene.on_wire(rule.of, rule.kind)
        # What may be another connection beside the refused one takes no cause away.
        held = facts and (sure or not rule.contradicts)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=not sure) if held else None
    if rule.kind == "operation":
        found = [item for item in identified if rule.of in item.signals]
        if rule.contradicts and {item.thumbprint for item in identified} - {item.thumbprint for item in found}:
            # Another certificate with the server's name remains, of which this is not true.
            return None
        facts = [
            Fact(origin=item.chain_origin or item.origin, time=item.chain_time or item.time, operation=item)
            for item in found
        ]
        capped = not any(item.id in scene.free for item in found)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=capped) if found else None
    if rule.kind == "rejection":
        facts = scene.refused(rule.of, rule.shown_by)
        folded = scene.folded(rule.of)
        # What is true of some refusals only does not explain the others.
        capped = len(facts) + sum(map(len, folded)) < scene.incident.rejection_count
        return (
            _Seen(observation=rule, scene=scene, facts=facts, capped=capped, folded=folded) if facts or folded else None
        )
    if rule.kind == "store":
        facts, free = scene.stored(rule.of)
        return _Seen(observation=rule, scene=scene, facts=facts, capped=not free) if facts else None
    if not _absent(rule, scene):
        return None
    return _Seen(
        observation=rule, scene=scene, facts=(Fact(),) if rule.supports or rule.contradicts else (), capped=False
    )


def _absent(rule: Observation, scene: Scene) -> bool:
    if rule.kind == "no-object":
        return rule.of not in scene.case.settings
    if rule.kind == "unread-source":
        return rule.of in scene.case.unread
    return _no_source(rule.of, scene.case) if rule.kind == "no-source" else _outside(rule.of, scene)


def _no_source(kind: str, case: Case) -> bool:
    return not (case.kinds | case.unread) & (set(REFUSAL_KINDS) if kind == "smtp" else {kind})


def _outside(kind: str, scene: Scene) -> bool:
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
        asked = [_told_apart(item) for item in same]
        distinct = _distinct(asked)
        more = len(distinct) - _MOST_EVIDENCE + sum(len(group) for item in asked for group in item.folded)
        kept += [
            Evidence(
                text=item.scene.worded(_text(item), fact), origin=fact.origin, time=fact.time, time_basis=_basis(fact)
            )
            for item, fact in heapq.nsmallest(_MOST_EVIDENCE, distinct, key=_when_and_where)
        ]
        if more > 0:
            kept.append(Evidence(text=f"... and {more} more of the same kind", origin=None))
    return tuple(kept)


def _basis(fact: Fact) -> TimeBasis:
    """That of the refusal where the fact is one; what is joined with a certificate check has the check's time."""
    return fact.rejection.time_basis if fact.rejection and fact.operation is None else "utc"


def _text(item: _Seen) -> str:
    return item.observation.supports or item.observation.contradicts


def _told_apart(item: _Seen) -> _Seen:
    """Return an observation with facts for folded refusals as far as they decide what is said.

    Where each stands at a place of its own, the whole ones are the first and the others are only counted. Where all
    stand at the place of an exported object or event they differ in wording, and of those that read alike the last one
    is told.
    """
    rule, scene = item.observation, item.scene
    exported = rule.shown_by in scene.case.settings or rule.shown_by in SHOWN_ELSEWHERE
    if not item.folded or (not exported and all(group.shared.kind in _OWN_PLACES for group in item.folded)):
        return item
    if exported and OF_EACH.isdisjoint(_placeholders(_text(item))):
        found = [group.whole(max(group.differing(), key=group.order)) for group in item.folded]
    else:
        found = [rejection for group in item.folded for rejection in group.rejections()]
    rejections = sorted([*(fact.rejection for fact in item.facts if fact.rejection), *found], key=_by_time)
    return replace(item, facts=[scene.fact(one, rule.shown_by) for one in rejections], folded=())


def _by_time(item: Rejection) -> tuple[object, ...]:
    return item.time, sort_key(item.origin)


def _distinct(same: Sequence[_Seen]) -> list[tuple[_Seen, Fact]]:
    """Return facts that differ in place or in wording; only where several stand at one place are they worded for it."""
    places = Counter(fact.origin for item in same for fact in item.facts)
    found: dict[tuple[str, Origin | None], tuple[_Seen, Fact]] = {}
    for item in same:
        text = _text(item)
        for fact in item.facts:
            wording = item.scene.worded(text, fact) if places[fact.origin] > 1 else ""
            found[wording, fact.origin] = item, fact
    return list(found.values())


def _when_and_where(pair: tuple[_Seen, Fact]) -> tuple[object, ...]:
    fact = pair[1]
    return fact.time is None, fact.time or 0, sort_key(fact.origin) if fact.origin else ()


_COLLECT_AGAIN = ("Run the collection script again on that server, in an elevated PowerShell.",)


def _uncollected(incidents: Sequence[Incident], steps: Sequence[tuple[str, str]]) -> Iterator[Missing]:
    """What the collection script tried to take on a machine of these incidents and did not get."""
    hosts = {incident.host for incident in incidents}
    for host in sorted(hosts & {host for host, _ in steps} - {""}):
        failed = "; ".join(step for other, step in steps if other == host)
        yield Missing(text=f"The collector could not take on {host}: {failed}.", collect=_COLLECT_AGAIN)
