"""evtx-analyzer: the root cause of ``550 5.7.64 TenantAttribution; Relay Access Denied``.

import evtx_analyzer as ea

report = ea.analyze("case-4711")                    # file, folder, or several
for finding in report.findings:                     # best supported cause first
    print(finding.grade, finding.title)
    for evidence in finding.supports:
        print("  ", evidence.time, evidence.origin, evidence.text)
report.save("case-4711.json")                       # the suffix picks the renderer
again = ea.load("case-4711.json")
table = ea.read_capi2("capi2.evtx")                 # decoded CAPI2 events as pandas data
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evtx_analyzer.batch import analyze_many
    from evtx_analyzer.batch.bundles import Bundle
    from evtx_analyzer.batch.summary import Summary, merge
    from evtx_analyzer.discover.archive.limits import Limits
    from evtx_analyzer.errors import AnalyzerError, InputError, OptionError, ReportError, RuleError, RuleSetError
    from evtx_analyzer.model.certificate import Attempt, Certificate, ChainElement, Retrieval, Revocation
    from evtx_analyzer.model.events import Capi2Event, ContextEvent, MessageEvent, RecipientStatus, SmtpEvent
    from evtx_analyzer.model.evidence import (
        ClockSkew,
        CommonTrait,
        Context,
        Delivery,
        Incident,
        IncidentCertificate,
        Link,
        Operation,
        OtherError,
        Rejection,
        ReplyText,
        Step,
    )
    from evtx_analyzer.model.findings import (
        CollectorBundle,
        Coverage,
        Evidence,
        Finding,
        Gap,
        IncidentRepair,
        Missing,
        Remedy,
        Repair,
        SourceStatus,
        Verdict,
    )
    from evtx_analyzer.model.origin import Loss, Origin
    from evtx_analyzer.pipeline import analyze, events
    from evtx_analyzer.report.document import BatchEntry, Options, Report, Tool, load
    from evtx_analyzer.rules import Rules
    from evtx_analyzer.tables.frames import read_capi2, read_iis_smtp, read_ndr, read_send_log, read_tracking
    from evtx_analyzer.verification import verify

# Names load when they are first asked for, so that the command line can show its help without msgspec and parsers.
_LAZY = {
    name: module
    for module, names in {
        "batch": "analyze_many",
        "batch.bundles": "Bundle",
        "batch.summary": "Summary merge",
        "discover.archive.limits": "Limits",
        "errors": "AnalyzerError InputError OptionError ReportError RuleError RuleSetError",
        "model.certificate": "Attempt Certificate ChainElement Retrieval Revocation",
        "model.events": "Capi2Event ContextEvent MessageEvent RecipientStatus SmtpEvent",
        "model.evidence": "ClockSkew CommonTrait Context Delivery Incident IncidentCertificate Link Operation "
        "OtherError Rejection ReplyText Step",
        "model.findings": "CollectorBundle Coverage Evidence Finding Gap IncidentRepair Missing Remedy Repair "
        "SourceStatus Verdict",
        "model.origin": "Loss Origin",
        "pipeline": "analyze events",
        "report.document": "BatchEntry Options Report Tool load",
        "rules": "Rules",
        "tables.frames": "read_capi2 read_iis_smtp read_ndr read_send_log read_tracking",
        "verification": "verify",
    }.items()
    for name in names.split()
}

__all__ = [
    "AnalyzerError",
    "Attempt",
    "BatchEntry",
    "Bundle",
    "Capi2Event",
    "Certificate",
    "ChainElement",
    "ClockSkew",
    "CollectorBundle",
    "CommonTrait",
    "Context",
    "ContextEvent",
    "Coverage",
    "Delivery",
    "Evidence",
    "Finding",
    "Gap",
    "Incident",
    "IncidentCertificate",
    "IncidentRepair",
    "InputError",
    "Limits",
    "Link",
    "Loss",
    "MessageEvent",
    "Missing",
    "Operation",
    "OptionError",
    "Options",
    "Origin",
    "OtherError",
    "RecipientStatus",
    "Rejection",
    "Remedy",
    "Repair",
    "ReplyText",
    "Report",
    "ReportError",
    "Retrieval",
    "Revocation",
    "RuleError",
    "RuleSetError",
    "Rules",
    "SmtpEvent",
    "SourceStatus",
    "Step",
    "Summary",
    "Tool",
    "Verdict",
    "analyze",
    "analyze_many",
    "events",
    "load",
    "merge",
    "read_capi2",
    "read_iis_smtp",
    "read_ndr",
    "read_send_log",
    "read_tracking",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that ``dir`` and ``help`` show them although they load when they are asked for."""
    return sorted(__all__)
