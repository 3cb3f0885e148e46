"""Verify a fix by an earlier report and logs of the time after the fix."""

from __future__ import annotations

from typing import Unpack

from msgspec.structs import replace

from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.diagnose.verdict import verdict
from evtx_analyzer.errors import ReportError
from evtx_analyzer.ingest.examine import Inputs
from evtx_analyzer.ingest.streams import Progress
from evtx_analyzer.options import AnalysisArguments, AnalysisOptions, analysis_options
from evtx_analyzer.pipeline import analyze_with_evidence
from evtx_analyzer.repair.judge import RepairCase, lost_in_smtp_logs, repair_of
from evtx_analyzer.report.document import Report
from evtx_analyzer.rules import Rules


def verify(
    earlier: Report, inputs: Inputs, *, progress: Progress | None = None, **arguments: Unpack[AnalysisArguments]
) -> Report:
    """Return an earlier report with what later inputs show of the fix: ``repair``, and the grades that follow from it.

    ``inputs`` are logs of the time after the fix; they may hold the earlier time too. ``arguments`` are those of
    ``analyze``. The origins in ``repair`` are of the later inputs, all others of the earlier ones. Raises ReportError
    if the earlier report has no refusal, and whatever ``analyze`` raises.
    """
    return verify_case(earlier, inputs, analysis_options(**arguments), progress)


def verify_case(earlier: Report, inputs: Inputs, options: AnalysisOptions, progress: Progress | None = None) -> Report:
    """Verify as ``verify`` does, with the options as one value."""
    if not earlier.incidents:
        raise ReportError("the earlier report has no refusal, so there is no fix to verify")
    rules = options.rules or Rules.load()
    options = replace(options, rules=rules, certificates=options.certificates | _thumbprints(earlier))
    analyzed = analyze_with_evidence(inputs, options, progress)
    now = analyzed.report
    case = RepairCase(
        incidents=earlier.incidents,
        findings=earlier.findings,
        operations={operation.id: operation for operation in earlier.operations},
        causes=rules.causes,
        deliveries=earlier.deliveries,
    )
    judged = repair_of(case, analyzed.later, lossy=lost_in_smtp_logs(now.losses, now.sources))
    assert judged.repair is not None  # there are incidents
    kinds = frozenset(coverage.kind for coverage in earlier.coverage)
    scene = Case(operations=case.operations, coverage=earlier.coverage, kinds=kinds)
    return replace(
        earlier,
        findings=tuple(judged.findings),
        incidents=tuple(judged.incidents),
        verdict=verdict(judged.findings, judged.incidents, scene, len(earlier.losses), 0, judged.repair),
        repair=replace(
            judged.repair,
            verdict=now.verdict,
            sources=now.sources,
            coverage=now.coverage,
            losses=now.losses,
        ),
    )


def _thumbprints(earlier: Report) -> frozenset[str]:
    """Return the certificates whose checks matter: those that were sent or received, and those whose checks failed."""
    rejections = [rejection for incident in earlier.incidents for rejection in incident.rejections]
    sides = (side for rejection in rejections for side in (rejection.sent, rejection.received))
    shown = {certificate.thumbprint for certificate in sides if certificate}
    by_id = {operation.id: operation.thumbprint for operation in earlier.operations}
    linked = {by_id.get(link.operation, "") for incident in earlier.incidents for link in incident.links}
    return frozenset((shown | linked) - {""})
