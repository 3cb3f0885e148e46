"""List the refusals that the verdict does not cover, with their likely cause and the first step of its fix.

A case may hold refusals of two causes. The verdict, its fix and its evidence are about one of them, so the reader must
see at once that there are others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from evtx_analyzer.documentation import page_of
from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.findings import Finding
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import Language
from evtx_analyzer.report.steps import steps
from evtx_analyzer.rules.files import is_builtin_cause

_NAMED = ("confirmed", "probable", "possible")
_MOST_PLACES = 4


class OtherRefusals(Struct, frozen=True, kw_only=True):
    """Refusals besides those of the verdict that have one cause, or none, in the reader's language.

    ``count`` is their number, ``places`` names the connectors and machines over which they went. ``first`` is the first
    step of the fix and ``page`` the address of the cause's documentation; both are empty if no cause is named.
    """

    count: int
    places: str
    grade: str = ""
    title: str
    first: str = ""
    page: str = ""


def other_refusals(report: Report, say: Language) -> tuple[OtherRefusals, ...]:
    """Return the refusals that the verdict does not cover, those with the best supported cause first."""
    best = report.findings[0] if report.findings else None
    if best is None or best.cause == "unexplained":
        return ()
    unexplained = [incident for incident in report.incidents if incident.id not in best.incidents]
    others: list[OtherRefusals] = []
    for finding in (finding for finding in report.findings[1:] if finding.grade in _NAMED):
        own = [incident for incident in unexplained if incident.id in finding.incidents]
        unexplained = [incident for incident in unexplained if incident.id not in finding.incidents]
        others += [_of_cause(finding, own, say)] if own else []
    if unexplained:
        title = say("no cause is supported well enough to be named")
        others.append(OtherRefusals(count=_count(unexplained), places=_places(unexplained, say), title=title))
    return tuple(others)


def _of_cause(finding: Finding, incidents: Sequence[Incident], say: Language) -> OtherRefusals:
    todo = [step.text for step in steps(finding.remedy.steps, say) if step.text] if finding.remedy else []
    return OtherRefusals(
        count=_count(incidents),
        places=_places(incidents, say),
        grade=say(finding.grade),
        title=say.sentence(finding.title),
        first=todo[0] if todo else "",
        page=page_of(finding.cause) if is_builtin_cause(finding.cause) else "",
    )


def _count(incidents: Iterable[Incident]) -> int:
    return sum(incident.rejection_count for incident in incidents)


def _places(incidents: Iterable[Incident], say: Language) -> str:
    """Return where refusals happened, in the order of the incidents: connector and machine, if logs name them."""
    names = dict.fromkeys(_place(incident, say) for incident in incidents)
    more = f", +{len(names) - _MOST_PLACES}" if len(names) > _MOST_PLACES else ""
    return ", ".join(list(names)[:_MOST_PLACES]) + more


def _place(incident: Incident, say: Language) -> str:
    host = incident.host or say("a host that no log names")
    return say("$connector on $host", connector=incident.connector, host=host) if incident.connector else host
