"""Which observations of a cause hold for an incident, by which facts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from evtx_analyzer.clock import is_known
from evtx_analyzer.diagnose.scene import Fact, Scene
from evtx_analyzer.hosts import short
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.evidence import Operation
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.normalize import capi2
from evtx_analyzer.normalize.kinds import REFUSAL_KINDS
from evtx_analyzer.rules.definitions import Observation


class Seen(Struct, frozen=True, kw_only=True):
    """One observation that holds for an incident, with its facts.

    ``capped`` says that it carries no grade above ``possible`` alone. ``folded`` are folded refusals for which it holds
    as well; facts are made of them only where they are shown.
    """

    observation: Observation
    scene: Scene
    facts: Sequence[Fact]
    capped: bool
    folded: Sequence[Alike] = ()


def see(rule: Observation, scene: Scene, identified: Sequence[Operation]) -> Seen | None:
    """Return the observation with its facts, None if it does not hold for the incident.

    ``identified`` are the checks that support the cause and are joined by more than time.
    """
    facts: Sequence[Fact]
    folded: Sequence[Alike] = ()
    if rule.kind in ("link", "broken-link"):
        facts, free = scene.paired(rule.of, rule.kind)
        # That another machine passed or failed a check says nothing against a cause on this one.
        facts = [fact for fact in facts if not (rule.contradicts and fact.link and fact.link.host == "different")]
    elif rule.kind in ("handshake", "some-handshakes", "every-handshake"):
        facts, free = scene.on_wire(rule.of, rule.kind)
        # A handshake that may belong to another connection does not contradict a cause.
        facts = facts if free or not rule.contradicts else ()
    elif rule.kind == "operation":
        facts, free = _checks(rule, scene, identified)
    elif rule.kind == "rejection":
        facts, folded = scene.refused(rule.of, rule.shown_by), scene.folded(rule.of)
        # What holds for some refusals only does not explain the others.
        free = len(facts) + sum(map(len, folded)) >= scene.incident.rejection_count
    elif rule.kind == "store":
        facts, free = scene.stored(rule.of)
    elif _absent(rule, scene):
        shown = (Fact(),) if rule.supports or rule.contradicts else ()
        return Seen(observation=rule, scene=scene, facts=shown, capped=False)
    else:
        return None
    return Seen(observation=rule, scene=scene, facts=facts, capped=not free, folded=folded) if facts or folded else None


def _checks(rule: Observation, scene: Scene, identified: Sequence[Operation]) -> tuple[Sequence[Fact], bool]:
    """Return the checks with a signal as facts, and whether one of them may carry any grade."""
    checks = [check for check in identified if rule.of in check.signals]
    if rule.contradicts and {check.thumbprint for check in identified} - {check.thumbprint for check in checks}:
        # There is another certificate with the server's name, for which this does not hold.
        return (), False
    timed = [(check.chain_origin or check.origin, check.chain_time or check.time, check) for check in checks]
    facts = [Fact(origin=origin, time=time, operation=check) for origin, time, check in timed]
    return facts, any(check.id in scene.free for check in checks)


def _absent(rule: Observation, scene: Scene) -> bool:
    if rule.kind == "no-object":
        return rule.of not in scene.case.settings
    if rule.kind == "cut-object":
        return rule.of in scene.case.cut
    if rule.kind == "unread-source":
        return rule.of in scene.case.unread
    return _no_source(rule.of, scene) if rule.kind == "no-source" else _outside(rule.of, scene)


def _no_source(kind: str, scene: Scene) -> bool:
    """Return whether no log of a kind is in the input; a CAPI2 log of other machines only shows nothing of this one."""
    case = scene.case
    if not (case.kinds | case.unread) & (set(REFUSAL_KINDS) if kind == "smtp" else {kind}):
        return True
    exports = [coverage for coverage in case.coverage if coverage.kind == kind]
    return kind == capi2.KIND and kind not in case.unread and bool(exports) and not _of_machine(exports, scene)


def _of_machine(exports: Sequence[Coverage], scene: Scene) -> list[Coverage]:
    """Return the exports that are of the refused machine as far as is known."""
    refused = scene.incident.host
    return [
        coverage
        for coverage in exports
        if not refused or any(short(host) in ("", short(refused)) for host in coverage.hosts or (coverage.host,))
    ]


def _outside(kind: str, scene: Scene) -> bool:
    """Return whether the exports of a kind reach no refusal of the incident; False where there is no export.

    Where the UTC time of a refusal or of an export is not known, neither is whether the refusal lies outside.
    """
    if scene.incident.unknown_zone_count:
        return False
    slack = timedelta(seconds=10)
    exports = _of_machine([coverage for coverage in scene.case.coverage if coverage.kind == kind], scene)
    for coverage in exports:
        if coverage.records:
            if coverage.first is None or coverage.last is None or not is_known(coverage.time_basis):
                return False
            nearest = bisect_left(scene.anchors, coverage.first - slack)
            if nearest < len(scene.anchors) and scene.anchors[nearest] <= coverage.last + slack:
                return False
    return bool(exports) and kind in scene.case.kinds
