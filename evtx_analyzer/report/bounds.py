"""Limit the lists of a saved report, so that no input makes it grow without end.

A list that is longer than its limit keeps its most telling members, in their order. ``NotListed`` says how long it was,
so that counts stay true. While the program runs, and in tables, a report holds everything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from evtx_analyzer.correlate.excerpt import MOST_KINDS, kind_of
from evtx_analyzer.model.evidence import Incident, Operation
from evtx_analyzer.model.findings import NotListed, Repair
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.stores import Store

if TYPE_CHECKING:
    from evtx_analyzer.report.document import Report

T = TypeVar("T")

MOST_BYTES = 10_000_000
"""The most bytes of a saved report, which is read by scripts and mailed. That of an ordinary case has a hundredth."""

MOST: dict[str, int] = {
    "incidents": 1_000,
    "rejections": 3_000,
    "names": 10_000,
    "operations": 1_000,
    "deliveries": 1_000,
    "handshakes": 1_000,
    "other_errors": 500,
    "context": 500,
    "clocks": 500,
    "common": 500,
    "bundles": 500,
    "stores": 500,
    "certificates": 2_000,
    "store_chains": 500,
    "sources": 2_000,
    "coverage": 2_000,
    "losses": 1_000,
    "elements": 50,
}
"""The most members of each list. ``rejections``, ``names`` (senders, recipients) and ``certificates`` are those of all
incidents and stores together, ``elements`` those of one chain."""

LISTED_WHOLE = 500
"""A list of a report that is no longer than this is listed whole in an ordinary saved report."""
_FEW_ALIKE = 20
_FEW_OF_INCIDENT = 20
_SMALLEST_SHARE = 64
_LONGEST_TEXT = 2_000
_DIGITS = re.compile(r"\d+")
_PREFERRED = ("not-read", "partial", "read", "unrecognized")


def bounded(report: Report, write: Callable[[Report], bytes]) -> bytes:
    """Return a report as ``write`` encodes it; the limits of its lists are halved until it is short enough.

    It may still be longer than ``MOST_BYTES`` if single texts are very long (``shortened``).
    """
    share, text = 1, write(_cut(report, 1))
    while len(text) > MOST_BYTES and share < _SMALLEST_SHARE:
        share *= 2
        text = write(_cut(report, share))
    return text


def shortened(text: str) -> str:
    """Return a text; a very long one is cut, and says so."""
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]} [{len(text) - _LONGEST_TEXT:,} more characters]"


# Lists without ties to others, by the key that sorts what tells most to the front.
_KEYS: dict[str, Callable[[Any], Any]] = {
    "deliveries": lambda delivery: not delivery.refused,
    "handshakes": lambda handshake: not handshake.rejection,
    "other_errors": lambda error: (not error.meaning, -error.count),
    **dict.fromkeys(("context", "clocks", "common", "bundles", "store_chains"), lambda _: 0),
}


class _Lists:
    """Cuts the lists of one report to a part of their limits, and remembers what is not listed."""

    def __init__(self, report: Report, share: int) -> None:
        self.share = share
        self.known = {not_listed.list: not_listed for not_listed in report.not_listed}

    def limit(self, name: str) -> int:
        """Return how many members of a list are kept."""
        return max(1, MOST[name] // self.share)

    def cut(self, name: str, items: Sequence[T], preferred: Iterable[int] = ()) -> tuple[T, ...]:
        """Return the members of a list that are kept, in their order: those at the preferred places, then the first."""
        self.record(name, min(self.limit(name), len(items)), len(items))
        return _most_telling(items, self.limit(name), preferred)

    def cut_by(self, name: str, items: Sequence[T], key: Callable[[T], Any]) -> tuple[T, ...]:
        """Return the members of a list that are kept, in their order: those with the smallest keys."""
        return self.cut(name, items, sorted(range(len(items)), key=lambda place: key(items[place])))

    def record(self, name: str, listed: int, count: int) -> None:
        """Record how many members of a list stand in the report, if it is not all of them."""
        if listed < count:
            # The report may be a saved one, whose list was cut before.
            earlier = self.known.get(name)
            count += earlier.count - earlier.listed if earlier else 0
            text = f"{name}: {listed:,} of {count:,} are listed in a saved report"
            self.known[name] = NotListed(list=name, listed=listed, count=count, text=text)


def _most_telling(items: Sequence[T], most: int, preferred: Iterable[int]) -> tuple[T, ...]:
    """Return at most so many members, in their order: those at the preferred places, then the first."""
    if len(items) <= most:
        return tuple(items)
    order = dict.fromkeys([*preferred, *range(len(items))])
    return tuple(items[place] for place in sorted(list(order)[:most]))


def _first_of_each(items: Iterable[tuple[int, Hashable]], count: int) -> Iterator[int]:
    """Yield the places of the first ``count`` members of each kind; ``items`` are (place, kind)."""
    seen: Counter[Hashable] = Counter()
    for place, kind in items:
        seen[kind] += 1
        if seen[kind] <= count:
            yield place


def _cut(report: Report, share: int) -> Report:
    lists = _Lists(report, share)
    incidents = _incidents(report.incidents, lists)
    operations = _operations(report.operations, incidents, lists)
    checks = {operation.id for operation in operations}
    ids = {incident.id for incident in incidents}
    sources = lists.cut_by("sources", report.sources, lambda source: _PREFERRED.index(source.status))
    shown = {source.path for source in sources}
    return replace(
        report,
        incidents=tuple(
            replace(incident, links=tuple(link for link in incident.links if link.operation in checks))
            for incident in incidents
        ),
        findings=tuple(
            replace(finding, incidents=tuple(name for name in finding.incidents if name in ids))
            for finding in report.findings
        ),
        operations=operations,
        stores=_stores(lists.cut("stores", report.stores), lists),
        sources=sources,
        coverage=lists.cut_by("coverage", report.coverage, lambda coverage: coverage.source not in shown),
        losses=_losses(report.losses, lists),
        repair=_repair(report.repair, ids, lists),
        **{name: lists.cut_by(name, getattr(report, name), key) for name, key in _KEYS.items()},
        not_listed=tuple(sorted(lists.known.values(), key=lambda not_listed: not_listed.list)),
    )


def _losses(losses: Sequence[Loss], lists: _Lists) -> tuple[Loss, ...]:
    """Return the losses; of too many the first ones of each source and reason."""
    if len(losses) <= lists.limit("losses"):
        return tuple(losses)
    kinds = [(loss.origin.source, loss.origin.member, _DIGITS.sub("", loss.reason)) for loss in losses]
    firsts = [*_first_of_each(enumerate(kinds), 1), *_first_of_each(enumerate(kinds), _FEW_ALIKE)]
    return lists.cut("losses", losses, firsts)


def _operations(operations: Sequence[Operation], incidents: Iterable[Incident], lists: _Lists) -> tuple[Operation, ...]:
    """Return the operations; of too many those paired with a refusal, then the first and the last of those alike."""
    if len(operations) > lists.limit("operations"):
        paired = {link.operation for incident in incidents for link in incident.links}
        paired |= {operation.parent for operation in operations if operation.id in paired and operation.parent}
        linked = [place for place, operation in enumerate(operations) if operation.id in paired]
        kinds = [(place, _alike(operation)) for place, operation in enumerate(operations)]
        ends = [*_first_of_each(kinds, 1), *_first_of_each(reversed(kinds), 1)]
        operations = lists.cut("operations", operations, [*linked, *ends])
    return tuple(_operation(operation, lists) for operation in operations)


def _alike(operation: Operation) -> Hashable:
    return (
        (operation.host, operation.process, operation.kind, operation.thumbprint, operation.policy, operation.result),
        (operation.chain_status, operation.missing_events, operation.signals),
    )


def _operation(operation: Operation, lists: _Lists) -> Operation:
    """Return an operation with only the ends of a chain that is too long.

    Its steps are cut too once the whole report is too long (``share`` is above 1).
    """
    most = lists.limit("elements")
    if max(len(operation.elements), len(operation.steps) * (lists.share > 1)) <= most:
        return operation
    elements, steps = _ends(operation.elements, most), _ends(operation.steps, most)
    notes = [f"of the {len(operation.elements):,} certificates of its chain {most} are listed"] * (
        elements != operation.elements
    )
    notes += [f"of its {operation.event_count:,} events {most} are listed"] * (steps != operation.steps)
    return replace(
        operation,
        elements=elements,
        steps=steps,
        origins=_ends(operation.origins, most),
        retrievals=_ends(operation.retrievals, most),
        revocations=_ends(operation.revocations, most),
        notes=(*operation.notes, *notes),
    )


def _ends(items: tuple[T, ...], most: int) -> tuple[T, ...]:
    """Return the first members and the last one, at most ``most`` together."""
    return items if len(items) <= most else (*items[: most - 1], items[-1]) if most > 1 else items[:1]


def _stores(stores: Sequence[Store], lists: _Lists) -> tuple[Store, ...]:
    most = max(_FEW_ALIKE // lists.share, lists.limit("certificates") // max(len(stores), 1), 1)
    cut = [replace(store, certificates=store.certificates[:most], keys=store.keys[:most]) for store in stores]
    count = sum(len(store.certificates) for store in stores)
    lists.record("stores[].certificates", sum(len(store.certificates) for store in cut), count)
    lists.record("stores[].keys", sum(len(store.keys) for store in cut), sum(len(store.keys) for store in stores))
    return tuple(cut)


def _repair(repair: Repair | None, ids: set[str], lists: _Lists) -> Repair | None:
    if repair is None:
        return None
    return replace(
        repair,
        incidents=tuple(incident for incident in repair.incidents if incident.incident in ids),
        sources=repair.sources[: lists.limit("sources")],
        coverage=repair.coverage[: lists.limit("coverage")],
        losses=repair.losses[: lists.limit("losses")],
    )


def _incidents(incidents: Sequence[Incident], lists: _Lists) -> tuple[Incident, ...]:
    """Return the incidents, of too many the largest, each with its share of refusals."""
    kept = lists.cut_by("incidents", incidents, lambda incident: -incident.rejection_count)
    # ``verify`` compares later logs with a refusal of each kind, so these stand in every report.
    each = max(MOST_KINDS, lists.limit("rejections") // max(len(kept), 1))
    names = max(_FEW_OF_INCIDENT, lists.limit("names") // max(len(kept), 1))
    cut = tuple(_incident(incident, each, names) for incident in kept)
    for name in ("senders", "recipients"):
        listed, count = (sum(len(getattr(incident, name)) for incident in group) for group in (cut, incidents))
        lists.record(f"incidents[].{name}", listed, count)
    lists.record("rejections", *(sum(incident.rejection_count for incident in group) for group in (cut, incidents)))
    return cut


def _incident(incident: Incident, most: int, names: int) -> Incident:
    """Return an incident with at most so many refusals: the first and the last, one of each kind, the paired ones."""
    every = incident.rejections
    kinds = _first_of_each(((place, kind_of(rejection)) for place, rejection in enumerate(every)), 1)
    paired = {link.rejection for link in incident.links}
    linked = (place for place, rejection in enumerate(every) if rejection.id in paired)
    rejections = _most_telling(every, most, (0, len(every) - 1, *kinds, *linked) if len(every) > most else ())
    ids = {rejection.id for rejection in rejections}
    return replace(
        incident,
        rejections=rejections,
        links=tuple(link for link in incident.links if link.rejection in ids),
        senders=incident.senders[:names],
        recipients=incident.recipients[:names],
        folded_count=incident.rejection_count - len(rejections),
    )
