"""Cause files: observations over signals and links, the grades that they reach, what is missing, the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from evtx_analyzer.errors import RuleError
from evtx_analyzer.exchange import CMDLETS
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.normalize import stores
from evtx_analyzer.normalize.kinds import KINDS
from evtx_analyzer.rules.definitions import CHANGES, SHOWN_ELSEWHERE, Cause, MissingRule, Observation, ObservationKind
from evtx_analyzer.rules.mistakes import Check, stem
from evtx_analyzer.rules.steps import CONDITIONS, Commands, parse_conditions, parse_steps

# ``smtp`` stands for all kinds that show refusals.
SOURCE_KINDS = ("smtp", *KINDS, stores.KIND, "network-trace")
_GRADES = ("confirmed", "probable", "possible", "coincident", "contradicted")
_CAUSE_KEYS = ("id", "rank", "title", "why", "observations", "grades", "missing", "remedy", "repair")


def parse_cause(
    file: str,
    data: dict[str, Any],
    names: Mapping[str, frozenset[str]],
    commands: Commands,
    mistakes: list[RuleError],
) -> Cause | None:
    """Return the cause of a file, None if it has a mistake; ``names`` are the links and signals that it may name."""
    check = Check(file, mistakes)
    before = len(mistakes)
    check.keys("", data, _CAUSE_KEYS)
    if data.get("id") != stem(file):
        check.wrong("id", "must be the file's name without .yml")
    observations = _observations(data.get("observations") or {}, names, check)
    observed = frozenset(observation.name for observation in observations)
    grades = _grades(data.get("grades") or {}, observed, check)
    of_stores = {observation.name for observation in observations if observation.kind == "store"}
    for name in sorted(of_stores & {name for group in grades.get("confirmed", ()) for name in group}):
        check.wrong(
            "grades.confirmed", f"{name} is of a store, which shows the time of its export and confirms nothing"
        )
    remedy = check.mapping("remedy", data.get("remedy"))
    repair = check.mapping("repair", data.get("repair") or {})
    check.keys("repair", repair, ("confirms", "fits"))
    cause = Cause(
        id=stem(file),
        rank=check.number("rank", data.get("rank")),
        title=check.text("title", data.get("title")),
        why=check.text("why", data.get("why")),
        observations=observations,
        grades=grades,
        missing=_missing(data.get("missing") or [], observed, commands, check),
        steps=parse_steps("remedy.steps", remedy.get("steps"), observed, commands, check),
        verify=parse_steps("remedy.verify", remedy.get("verify"), observed, commands, check),
        references=check.texts("remedy.references", remedy.get("references")),
        repair_confirms=_changes("confirms", repair, check),
        repair_fits=_changes("fits", repair, check),
    )
    return cause if len(mistakes) == before else None


def _changes(part: str, repair: Mapping[str, Any], check: Check) -> tuple[str, ...]:
    """Return the names of changes that repair a cause."""
    names = check.texts(f"repair.{part}", repair[part]) if part in repair else ()
    for name in names:
        check.reference(f"repair.{part}", name, frozenset(CHANGES))
    return names


def _observations(data: object, names: Mapping[str, frozenset[str]], check: Check) -> tuple[Observation, ...]:
    observations = []
    for name, content in check.mapping("observations", data).items():
        key = f"observations.{name}"
        body = check.mapping(key, content)
        kinds = [kind for kind in get_args(ObservationKind) if kind in body]
        if len(kinds) != 1:
            check.wrong(key, f"expected exactly one of {', '.join(get_args(ObservationKind))}")
            continue
        for other in set(body) - {kinds[0], "supports", "contradicts", "excludes", "caps", "weak", "shown-by"}:
            check.wrong(f"{key}.{other}", "unknown key")
        kind, of = cast("ObservationKind", kinds[0]), str(body[kinds[0]])
        if "shown-by" in body:
            check.reference(f"{key}.shown-by", body["shown-by"], frozenset((*CMDLETS, *SHOWN_ELSEWHERE)))
        check.reference(f"{key}.{kind}", of, _known(kind, names))
        observations.append(
            Observation(
                name=str(name),
                kind=kind,
                of=of,
                supports=check.optional_text(f"{key}.supports", body.get("supports")),
                contradicts=check.optional_text(f"{key}.contradicts", body.get("contradicts")),
                excludes=bool(body.get("excludes", False)),
                caps=bool(body.get("caps", False)),
                shown_by=str(body.get("shown-by", "")),
                weak=bool(body.get("weak", False)),
            )
        )
    return tuple(observations)


def _known(kind: ObservationKind, names: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if kind in ("link", "broken-link"):
        return names["link"]
    if kind in ("no-object", "cut-object"):
        return frozenset(CMDLETS)
    of_signal = ("operation", "rejection", "store", "handshake", "some-handshakes", "every-handshake")
    return names["signal"] if kind in of_signal else frozenset(SOURCE_KINDS)


def _grades(data: object, observed: frozenset[str], check: Check) -> dict[Grade, tuple[tuple[str, ...], ...]]:
    grades: dict[Grade, tuple[tuple[str, ...], ...]] = {}
    for grade, alternatives in check.mapping("grades", data).items():
        key = f"grades.{grade}"
        if grade not in _GRADES:
            check.wrong(key, f"expected one of {', '.join(_GRADES)}")
        elif not isinstance(alternatives, list) or not all(
            isinstance(alternative, list) and alternative for alternative in alternatives
        ):
            check.wrong(key, "expected a list of lists of observations (any of these, all of those)")
        else:
            for name in (name for alternative in alternatives for name in alternative):
                check.reference(key, name, observed)
            grades[cast("Grade", grade)] = tuple(tuple(alternative) for alternative in alternatives)
    return grades


def _missing(data: object, observed: frozenset[str], commands: Commands, check: Check) -> tuple[MissingRule, ...]:
    if not isinstance(data, list):
        check.wrong("missing", "expected a list")
        return ()
    rules = []
    for number, content in enumerate(data):
        key = f"missing[{number}]"
        body = check.mapping(key, content)
        check.keys(key, body, (*CONDITIONS, "text", "collect"))
        rules.append(
            MissingRule(
                **parse_conditions(key, body, observed, check),
                text=check.text(f"{key}.text", body.get("text")),
                collect=parse_steps(f"{key}.collect", body.get("collect"), observed, commands, check),
            )
        )
    return tuple(rules)
