"""Observations worded as sentences for and against a cause: the strongest first, long runs cut short and counted."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from evtx_analyzer.diagnose.observations import Seen
from evtx_analyzer.diagnose.scene import Fact
from evtx_analyzer.diagnose.wording import OF_EACH, placeholders_of
from evtx_analyzer.model.findings import Evidence
from evtx_analyzer.model.origin import Origin, sort_key
from evtx_analyzer.normalize.kinds import SESSION_KINDS
from evtx_analyzer.rules.definitions import SHOWN_ELSEWHERE

_MOST_EVIDENCE = 5


def sentences(seen: Iterable[Seen], side: str) -> tuple[Evidence, ...]:
    """Return distinct sentences on one side (``supports`` or ``contradicts``), in the order of the rule's observations.

    Of one observation at most five are worded; the others are counted.
    """
    kept: list[Evidence] = []
    by_name: dict[str, list[Seen]] = {}
    for observed in seen:
        if getattr(observed.observation, side):
            by_name.setdefault(observed.observation.name, []).append(observed)
    for same in by_name.values():
        unfolded = [_unfolded(observed) for observed in same]
        distinct = _distinct(unfolded)
        more = len(distinct) - _MOST_EVIDENCE + sum(len(group) for observed in unfolded for group in observed.folded)
        kept += [
            Evidence(
                text=observed.scene.worded(_text(observed), fact),
                origin=fact.origin,
                time=fact.time,
                # A fact about a certificate check has the check's time, which is UTC.
                time_basis=fact.rejection.time_basis if fact.rejection and fact.operation is None else "utc",
            )
            for observed, fact in heapq.nsmallest(_MOST_EVIDENCE, distinct, key=_when_and_where)
        ]
        if more > 0:
            kept.append(Evidence(text=f"... and {more} more of the same kind", origin=None))
    return tuple(kept)


def _text(seen: Seen) -> str:
    return seen.observation.supports or seen.observation.contradicts


def _unfolded(seen: Seen) -> Seen:
    """Return an observation with facts of those folded refusals that may be worded.

    Where each refusal has a place of its own, those that are not folded come first and the others are only counted.
    Where all point to one exported object or event they may differ in wording only, and of those that read alike the
    last one is worded.
    """
    rule, scene = seen.observation, seen.scene
    exported = rule.shown_by in scene.case.settings or rule.shown_by in SHOWN_ELSEWHERE
    # Each refusal of a session has a row of its own; one row of message tracking or one report may hold several.
    if not seen.folded or (not exported and all(group.shared.kind in SESSION_KINDS for group in seen.folded)):
        return seen
    if exported and OF_EACH.isdisjoint(placeholders_of(_text(seen))):
        folded = [group.whole(max(group.differing(), key=group.order)) for group in seen.folded]
    else:
        folded = [rejection for group in seen.folded for rejection in group.rejections()]
    refused = [*(fact.rejection for fact in seen.facts if fact.rejection), *folded]
    rejections = sorted(refused, key=lambda rejection: (rejection.time, sort_key(rejection.origin)))
    return replace(seen, facts=[scene.fact(rejection, rule.shown_by) for rejection in rejections], folded=())


def _distinct(same: Sequence[Seen]) -> list[tuple[Seen, Fact]]:
    """Return facts that differ in place or in wording; to save time, wording is compared only at shared places."""
    places = Counter(fact.origin for observed in same for fact in observed.facts)
    distinct: dict[tuple[str, Origin | None], tuple[Seen, Fact]] = {}
    for seen in same:
        text = _text(seen)
        for fact in seen.facts:
            wording = seen.scene.worded(text, fact) if places[fact.origin] > 1 else ""
            distinct[wording, fact.origin] = seen, fact
    return list(distinct.values())


def _when_and_where(pair: tuple[Seen, Fact]) -> tuple[object, ...]:
    fact = pair[1]
    return fact.time is None, fact.time or 0, sort_key(fact.origin) if fact.origin else ()
