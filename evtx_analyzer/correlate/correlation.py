"""Rejections and operations of a case, joined: signals over what surrounds each, links between them, incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.folded_signals import with_view_signals
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.correlate.operation_facts import operation_facts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.model.evidence import Incident, Operation
from evtx_analyzer.rules import Rules
from evtx_analyzer.sigma.match import with_signals


class Correlation(Struct, frozen=True, kw_only=True):
    """The operations with all their signals, and the incidents, which hold the rejections with theirs."""

    facts: CaseFacts
    operations: Mapping[str, Operation]
    incidents: Sequence[Incident]


def correlate(facts: CaseFacts, rules: Rules, window: tuple[float, float] | None) -> Correlation:
    """Match both sides with all that is known of the case, and join them; ``window`` replaces that of link rules."""
    signals = rules.signals
    checks = [with_signals(item, signals, "chain-operation", operation_facts(item, facts)) for item in facts.operations]
    refused = [with_signals(item, signals, "smtp-session", session_facts(item, facts)) for item in facts.rejections]
    by_id = {item.id: item for item in checks}
    alike = with_view_signals(facts.alike, signals, facts)
    grouped = incidents(refused, links(refused, checks, rules.links, window, alike), by_id, alike)
    return Correlation(facts=facts, operations=by_id, incidents=grouped)
