"""Joins the rejections and operations of a case: signals on their views, links between them, and incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.folded_signals import with_view_signals
from evtx_analyzer.correlate.handshake_facts import handshake_facts
from evtx_analyzer.correlate.handshake_links import joined, with_certificates
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.correlate.operation_facts import operation_facts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.model.evidence import Incident, Operation, Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.rules import Rules
from evtx_analyzer.sigma.match import with_signals


class Correlation(Struct, frozen=True, kw_only=True):
    """The operations and handshakes with all their signals, and the incidents, which hold the rejections with theirs.

    ``views`` are, by id of a rejection, those fields of the view ``smtp-session`` that were asked for. ``wire_facts``
    are the facts of the handshakes that belong to a rejection, by id of the handshake.
    """

    facts: CaseFacts
    views: Mapping[str, Fields]
    operations: Mapping[str, Operation]
    incidents: Sequence[Incident]
    handshakes: Sequence[Handshake] = ()
    wire_facts: Mapping[str, Fields] = {}


def correlate(
    facts: CaseFacts, rules: Rules, window: tuple[float, float] | None, fields: Sequence[str] = ()
) -> Correlation:
    """Match refusals and checks with all that is known of the case, and join them.

    ``window`` (seconds before, after) replaces that of link rules. Of each refusal's view only ``fields`` are kept.
    """
    signals = rules.signals
    on_wire = joined(facts.handshakes, facts.rejections)
    shown = tuple(with_certificates(facts.rejections, on_wire))
    facts = replace(facts, handshakes=tuple(on_wire), rejections=shown)
    checks = [
        with_signals(check, signals, "chain-operation", operation_facts(check, facts)) for check in facts.operations
    ]
    refused: list[Rejection] = []
    views: dict[str, Fields] = {}
    # An outage has thousands of refusals that show the same, so equal views are held once.
    known: dict[tuple[tuple[str, tuple[str, ...]], ...], Fields] = {}
    for rejection in facts.rejections:
        view = session_facts(rejection, facts)
        refused.append(with_signals(rejection, signals, "smtp-session", view))
        kept = {name: view[name] for name in fields if name in view}
        views[rejection.id] = known.setdefault(tuple(kept.items()), kept)
    by_id = {check.id: check for check in checks}
    alike = with_view_signals(facts.alike, signals, facts)
    grouped = incidents(refused, links(refused, checks, rules.links, window, alike), by_id, alike)
    handshakes, wire_facts = _handshakes(facts, rules)
    return Correlation(
        facts=facts, views=views, operations=by_id, incidents=grouped, handshakes=handshakes, wire_facts=wire_facts
    )


def _handshakes(facts: CaseFacts, rules: Rules) -> tuple[list[Handshake], dict[str, Fields]]:
    """Return the handshakes with their signals, and by id the facts of those that belong to a rejection."""
    by_id = {rejection.id: rejection for rejection in facts.rejections}
    handshakes, kept = [], {}
    for handshake in facts.handshakes:
        view = handshake_facts(handshake, by_id.get(handshake.rejection or ""), facts)
        handshakes.append(with_signals(handshake, rules.signals, "tls-handshake", view))
        if handshake.rejection is not None:
            kept[handshake.id] = view
    return handshakes, kept
