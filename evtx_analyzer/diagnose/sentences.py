"""What was seen as sentences for and against a cause: distinct ones, the strongest first, long runs counted."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from evtx_analyzer.diagnose.observations import Seen
from evtx_analyzer.diagnose.scene import Fact
from evtx_analyzer.diagnose.wording import OF_EACH, _placeholders
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.findings import Evidence
from evtx_analyzer.model.origin import Origin, TimeBasis, sort_key
from evtx_analyzer.normalize.kinds import SESSION_KINDS
from evtx_analyzer.rules.definitions import SHOWN_ELSEWHERE

_MOST_EVIDENCE = 5
# Each refusal of a session has a row of its own; one row of message tracking or one report may hold several.
_OWN_PLACES = SESSION_KINDS


def sentences(seen: Iterable[Seen], side: str) -> tuple[Evidence, ...]:
    """Distinct sentences for or against, the strongest observation first as in the rule; long runs are counted."""
    kept: list[Evidence] = []
    by_name: dict[str, list[Seen]] = {}
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


def _text(seen: Seen) -> str:
    return seen.observation.supports or seen.observation.contradicts


def _told_apart(seen: Seen) -> Seen:
    """Return an observation with facts for folded refusals as far as they decide what is said.

    Where each stands at a place of its own, the whole ones are the first and the others are only counted. Where all
    stand at the place of an exported object or event they differ in wording, and of those that read alike the last one
    is told.
    """
    rule, scene = seen.observation, seen.scene
    exported = rule.shown_by in scene.case.settings or rule.shown_by in SHOWN_ELSEWHERE
    if not seen.folded or (not exported and all(group.shared.kind in _OWN_PLACES for group in seen.folded)):
        return seen
    if exported and OF_EACH.isdisjoint(_placeholders(_text(seen))):
        found = [group.whole(max(group.differing(), key=group.order)) for group in seen.folded]
    else:
        found = [rejection for group in seen.folded for rejection in group.rejections()]
    rejections = sorted([*(fact.rejection for fact in seen.facts if fact.rejection), *found], key=_by_time)
    return replace(seen, facts=[scene.fact(one, rule.shown_by) for one in rejections], folded=())


def _by_time(rejection: Rejection) -> tuple[object, ...]:
    return rejection.time, sort_key(rejection.origin)


def _distinct(same: Sequence[Seen]) -> list[tuple[Seen, Fact]]:
    """Return facts that differ in place or in wording; only where several stand at one place are they worded for it."""
    places = Counter(fact.origin for item in same for fact in item.facts)
    found: dict[tuple[str, Origin | None], tuple[Seen, Fact]] = {}
    for seen in same:
        text = _text(seen)
        for fact in seen.facts:
            wording = seen.scene.worded(text, fact) if places[fact.origin] > 1 else ""
            found[wording, fact.origin] = seen, fact
    return list(found.values())


def _when_and_where(pair: tuple[Seen, Fact]) -> tuple[object, ...]:
    fact = pair[1]
    return fact.time is None, fact.time or 0, sort_key(fact.origin) if fact.origin else ()
