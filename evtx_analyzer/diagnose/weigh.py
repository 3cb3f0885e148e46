"""Incidents against causes: what supports each cause, what speaks against it, what is missing, and its grade.

What the grades mean stands in ``grade``. Of causes with the same grade, one that is capped (mail was accepted in the
very state that it claims decides) stands behind the others, whatever its rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.commands import Place, applies, instructions, sentence
from evtx_analyzer.diagnose.grade import RANK, UNEXPLAINED, grade_of
from evtx_analyzer.diagnose.observations import Seen, see
from evtx_analyzer.diagnose.scene import PAIRED, Case, Scene
from evtx_analyzer.diagnose.sentences import sentences
from evtx_analyzer.diagnose.time_zones import zone_asked
from evtx_analyzer.diagnose.unknown_hosts import host_asked
from evtx_analyzer.diagnose.wording import fill
from evtx_analyzer.model.evidence import HostBasis, Incident, Link, Operation
from evtx_analyzer.model.findings import Evidence, Finding, Grade, Missing, Remedy
from evtx_analyzer.normalize.kinds import SERVERS
from evtx_analyzer.rules.definitions import Cause, MissingRule

_SIDES = ("supports", "contradicts")
_PASSED = "0"


class _Weighed(Struct, frozen=True, kw_only=True):
    """A cause weighed against one incident."""

    scene: Scene
    grade: Grade
    seen: tuple[Seen, ...]

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
    findings = [_finding(cause, weighed[cause.id]) for cause in causes]
    order = {cause.id: (_is_capped(weighed[cause.id]), cause.rank, cause.id) for cause in causes}
    explained = any(RANK[finding.grade] >= RANK["possible"] for finding in findings)
    kept = [finding for finding in findings if finding.cause != UNEXPLAINED or not explained]
    kept.sort(key=lambda finding: (finding.cause != UNEXPLAINED, -RANK[finding.grade], order[finding.cause]))
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
        supports=sentences(seen, "supports"),
        contradicts=(
            *_uncovered(relevant, incidents, confident),
            *_unrecorded(relevant, best.grade),
            *(_elsewhere(relevant) if confident else ()),
            *sentences(against, "contradicts"),
        ),
        # What a weaker incident lacks is not missing where another one shows it.
        missing=(
            *zone_asked(incidents, best.scene.case.tz),
            *host_asked(incidents, best.scene.case),
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
    total = sum(incident.rejection_count for incident in incidents)
    if not confident or count == total:
        return ()
    text = f"This cause covers {count} of {total} refusals; the other incidents have grades of their own."
    return (Evidence(text=text, origin=None),)


def _unrecorded(relevant: Sequence[_Weighed], grade: Grade) -> tuple[Evidence, ...]:
    """A sentence where a trace shows the connections of some refusals, and the others are taken to be like them."""
    shown = sum(len({handshake.rejection for handshake in part.scene.shown}) for part in relevant)
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
    "file": "by the name of its file",
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
    seen = tuple(item for rule in cause.observations if (item := see(rule, scene, identified)) is not None)
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
        side: {
            observation.of
            for observation in cause.observations
            if observation.kind == "link" and getattr(observation, side)
        }
        for side in _SIDES
    }
    against = [link for link in scene.sound if link.rule in rules["contradicts"] and link.basis == "thumbprint"]
    operations = scene.case.operations
    return [link for link in scene.sound if link.rule in rules["supports"]], [
        link for link in against if link.host in PAIRED and operations[link.operation].result == _PASSED
    ]


def _identified(cause: Cause, scene: Scene) -> list[Operation]:
    """Operations that speak for the cause and are tied to the incident by more than time: their chain is asked next."""
    rules = {
        observation.of for observation in cause.observations if observation.kind == "link" and observation.supports
    }
    found = dict.fromkeys(link.operation for link in scene.sound if link.rule in rules)
    return [scene.case.operations[name] for name in found]


def _missing(rules: Iterable[MissingRule], weighed: Sequence[_Weighed]) -> Iterator[Missing]:
    places = _places(weighed)
    for rule in rules:
        asked = [place for place in places if applies(rule, place)]
        if asked:
            yield Missing(text=sentence(rule.text, asked[0].names), collect=instructions(rule.collect, asked))


_COLLECT_AGAIN = ("Run the collection script again on that server, in an elevated PowerShell.",)


def _uncollected(incidents: Sequence[Incident], steps: Sequence[tuple[str, str]]) -> Iterator[Missing]:
    """What the collection script tried to take on a machine of these incidents and did not get."""
    hosts = {incident.host for incident in incidents}
    for host in sorted(hosts & {host for host, _ in steps} - {""}):
        failed = "; ".join(step for other, step in steps if other == host)
        yield Missing(text=f"The collector could not take on {host}: {failed}.", collect=_COLLECT_AGAIN)
