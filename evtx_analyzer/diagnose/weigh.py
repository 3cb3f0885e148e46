"""Causes weighed against incidents: each becomes a finding with its evidence, what is missing, and its grade.

``grade`` says what the grades mean. Among causes of the same grade, a capped one (mail was accepted in the very state
that it says decides) comes after the others, whatever its rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.commands import Place, applies, instructions, sentence
from evtx_analyzer.diagnose.grade import RANK, UNEXPLAINED, grade_of
from evtx_analyzer.diagnose.missing import asked
from evtx_analyzer.diagnose.observations import Seen, see
from evtx_analyzer.diagnose.scene import PAIRED, Case, Scene
from evtx_analyzer.diagnose.sentences import sentences
from evtx_analyzer.diagnose.wording import fill
from evtx_analyzer.model.evidence import PASSED, HostBasis, Incident, Link, Operation
from evtx_analyzer.model.findings import Evidence, Finding, Grade, Missing, Remedy
from evtx_analyzer.normalize.kinds import SERVERS
from evtx_analyzer.rules.definitions import Cause, MissingRule


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
    """Return the findings, best supported first, and the incidents with the grade of every cause that has evidence.

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
    graded = []
    for number, incident in enumerate(incidents):
        grades = {cause.id: weighed[cause.id][number].grade for cause in causes}
        shown = {cause: grade for cause, grade in grades.items() if grade != "no-evidence"}
        graded.append(replace(incident, grades=shown))
    return kept, graded


def _finding(cause: Cause, weighed: Sequence[_Weighed]) -> Finding:
    incidents = [weighing.incident for weighing in weighed]
    best = max(weighed, key=lambda weighing: RANK[weighing.grade])
    least = min(RANK[best.grade], RANK["possible"])
    relevant = [weighing for weighing in weighed if RANK[weighing.grade] >= least]
    seen = [observed for weighing in relevant for observed in weighing.seen]
    # Accepted mail shows that a cause does not decide alone, and a store what it held later: where nothing speaks for
    # the cause, neither is worth a sentence.
    supported = RANK[best.grade] >= RANK["coincident"]
    every = (observed for weighing in weighed for observed in weighing.seen)
    against = [seen for seen in every if supported or not (seen.observation.caps or seen.observation.weak)]
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
            *asked(incidents, best.scene.case),
            *_missing(cause.missing, _best_by_server(each for each in relevant if each.grade == best.grade)),
        ),
        remedy=Remedy(
            # A cause that is not even possible gets checks only: its fix must not be printed as the answer.
            steps=instructions(cause.steps, _places(relevant)) if confident or cause.id == UNEXPLAINED else (),
            verify=instructions(cause.verify, _places(_best_by_server(relevant))),
            references=cause.references,
        ),
        incidents=tuple(weighing.incident.id for weighing in relevant)
        if best.grade != "no-evidence" or cause.id == UNEXPLAINED
        else (),
    )


def _best_by_server(weighed: Iterable[_Weighed]) -> list[_Weighed]:
    """Return the best supported incident of each kind of server, the best one first."""
    best: dict[str, _Weighed] = {}
    for weighing in sorted(weighed, key=lambda weighing: -RANK[weighing.grade]):
        best.setdefault(SERVERS.get(weighing.incident.kind, ""), weighing)
    return list(best.values())


def _places(weighed: Iterable[_Weighed]) -> list[Place]:
    """Return the incidents as places where steps are carried out; a certificate has the same name in all of them."""
    places = []
    of_certificate: dict[str, dict[str, str]] = {}
    for weighing in weighed:
        names = weighing.scene.names()
        # Logs write the name of one certificate in different ways; with the first one in all, no step appears twice.
        first = of_certificate.setdefault(names["thumbprint"], names)
        places.append(
            Place(
                server=SERVERS.get(weighing.incident.kind, ""),
                observed=frozenset(seen.observation.name for seen in weighing.seen),
                names={**names, **{key: first[key] for key in ("subject", "issuer", "missing_issuer")}},
            )
        )
    return places


def _uncovered(relevant: Sequence[_Weighed], incidents: Sequence[Incident], confident: bool) -> tuple[Evidence, ...]:
    """Return a sentence that says how many refusals the cause covers, where it does not cover all of them."""
    count = sum(weighing.incident.rejection_count for weighing in relevant)
    total = sum(incident.rejection_count for incident in incidents)
    if not confident or count == total:
        return ()
    text = f"This cause covers {count} of {total} refusals; the other incidents have grades of their own."
    return (Evidence(text=text, origin=None),)


def _unrecorded(relevant: Sequence[_Weighed], grade: Grade) -> tuple[Evidence, ...]:
    """Return a sentence where a trace shows the connections of some refusals and the others are taken to be alike."""
    shown = sum(len({handshake.rejection for handshake in weighing.scene.shown}) for weighing in relevant)
    total = sum(weighing.incident.rejection_count for weighing in relevant)
    if grade != "confirmed" or not shown or shown >= total:
        return ()
    text = (
        f"The network trace shows the connections of {shown} of {total} refusals; the others are of the same server, "
        "connector and certificate."
    )
    return (Evidence(text=text, origin=None),)


def _elsewhere(relevant: Sequence[_Weighed]) -> Iterator[Evidence]:
    """Yield a sentence for each incident whose supporting checks are all of machines other than the refused one."""
    for weighing in relevant:
        links = [fact.link for seen in weighing.seen if seen.observation.supports for fact in seen.facts if fact.link]
        if not links or any(link.host != "different" for link in links):
            continue
        operations = weighing.scene.case.operations
        others = sorted({operations[link.operation].host for link in links})
        host = weighing.incident.host
        basis = _HOW_KNOWN[weighing.incident.rejections[0].host_basis]
        text = (
            f"The failed checks are of {', '.join(others)}, the refusals of {host} ({basis}): they may share the "
            f"certificate. Export the CAPI2 log of {host} itself."
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
    """Return whether an observation that caps the cause holds in every incident in which it reaches its best grade."""
    best = max(RANK[weighing.grade] for weighing in weighed)
    reaching = [weighing for weighing in weighed if RANK[weighing.grade] == best]
    return all(any(seen.observation.caps for seen in weighing.seen) for weighing in reaching)


def _weigh(cause: Cause, scene: Scene) -> _Weighed:
    identified = _identified(cause, scene)
    seen = tuple(observed for rule in cause.observations if (observed := see(rule, scene, identified)) is not None)
    names = frozenset(observed.observation.name for observed in seen)
    capped = frozenset(observed.observation.name for observed in seen if observed.capped)
    grade = _against_its_own(cause, scene, grade_of(cause, names, capped))
    return _Weighed(scene=scene, grade=grade, seen=seen)


def _against_its_own(cause: Cause, scene: Scene, grade: Grade) -> Grade:
    """Return the grade, lowered where refusals of the same incident show the contrary on the same machine.

    A refusal whose own handshake shows the opposite was not caused by this. Where at least as many refusals show the
    opposite as support the cause, it is contradicted; where fewer do, it is ``possible`` at most. A check on the
    refused machine itself counts for more than one elsewhere. Where every check that failed had just passed at the
    handshake of the same refusal, which of both decided is not known, so the cause is ``possible`` at most, too.
    """
    pro, contra = _sides(cause, scene)
    if pro and {link.operation for link in pro} <= _torn(pro, contra, scene.case.operations):
        grade = min(grade, "possible", key=RANK.__getitem__)
    opposed = {link.rejection for link in contra} - {link.rejection for link in pro if link.host in PAIRED}
    if not opposed or not pro:
        return grade
    if len(opposed) >= len({link.rejection for link in pro} - opposed):
        return "contradicted"
    return min(grade, "possible", key=RANK.__getitem__)


def _torn(pro: Iterable[Link], contra: Iterable[Link], operations: Mapping[str, Operation]) -> set[str]:
    """Return the failed checks that had just passed at the handshake of a refusal, in the same process and policy.

    What passes between failure and refusal breaks the link, what passes after the refusal may be a repair.
    """
    passed: dict[tuple[str, ...], datetime] = {}
    for link in contra:
        check = operations[link.operation]
        key = link.rejection, *_check_of(check)
        passed[key] = min(passed.get(key, check.time), check.time)
    torn = set()
    for link in pro:
        check = operations[link.operation]
        since = passed.get((link.rejection, *_check_of(check)))
        if link.host in PAIRED and since is not None and since <= check.time:
            torn.add(link.operation)
    return torn


def _check_of(operation: Operation) -> tuple[str, str, str]:
    return operation.thumbprint, operation.process, operation.policy


def _sides(cause: Cause, scene: Scene) -> tuple[list[Link], list[Link]]:
    """Return the sound links that support the cause, and those to a passed check on the refused machine against it.

    A failed check of another certificate (the remote side's) shows nothing about this one.
    """
    rules = {rule.of for rule in cause.observations if rule.kind == "link" and rule.contradicts}
    against = [link for link in scene.sound if link.rule in rules and link.basis == "thumbprint"]
    passed = [link for link in against if scene.case.operations[link.operation].result == PASSED]
    return _supporting(cause, scene), [link for link in passed if link.host in PAIRED]


def _supporting(cause: Cause, scene: Scene) -> list[Link]:
    """Return the sound links that support the cause."""
    rules = {rule.of for rule in cause.observations if rule.kind == "link" and rule.supports}
    return [link for link in scene.sound if link.rule in rules]


def _identified(cause: Cause, scene: Scene) -> list[Operation]:
    """Return the checks that support the cause and are joined by more than time: observations look at their chains."""
    ids = dict.fromkeys(link.operation for link in _supporting(cause, scene))
    return [scene.case.operations[operation_id] for operation_id in ids]


def _missing(rules: Iterable[MissingRule], weighed: Sequence[_Weighed]) -> Iterator[Missing]:
    places = _places(weighed)
    for rule in rules:
        here = [place for place in places if applies(rule, place)]
        if here:
            yield Missing(text=sentence(rule.text, here[0].names), collect=instructions(rule.collect, here))
