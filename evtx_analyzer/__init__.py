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
    from evtx_analyzer.batch import Bundle, Summary, analyze_many, merge
    from evtx_analyzer.discover import Limits
    from evtx_analyzer.errors import AnalyzerError, InputError, OptionError, ReportError, RuleError, RuleSetError
    from evtx_analyzer.model import (
        Attempt,
        Capi2Event,
        Certificate,
        ChainElement,
        ClockSkew,
        CollectorBundle,
        Context,
        ContextEvent,
        Coverage,
        Delivery,
        Evidence,
        Finding,
        Gap,
        Incident,
        IncidentCertificate,
        Link,
        Loss,
        MessageEvent,
        Missing,
        Operation,
        Origin,
        OtherError,
        RecipientStatus,
        Rejection,
        Remedy,
        Retrieval,
        Revocation,
        SmtpEvent,
        SourceStatus,
        Step,
        Verdict,
    )
    from evtx_analyzer.pipeline import analyze, events
    from evtx_analyzer.report.document import BatchEntry, Options, Report, Tool, load
    from evtx_analyzer.rules import Rules
    from evtx_analyzer.smtp_tables import read_iis_smtp, read_ndr, read_send_log, read_tracking
    from evtx_analyzer.tables import read_capi2

# Names load when they are first asked for, so that the command line can show its help without msgspec and parsers.
_LAZY = {
    name: module
    for module, names in {
        "batch": ("Bundle", "Summary", "analyze_many", "merge"),
        "discover": ("Limits",),
        "errors": ("AnalyzerError", "InputError", "OptionError", "ReportError", "RuleError", "RuleSetError"),
        "model": (
            "Attempt",
            "Capi2Event",
            "Certificate",
            "ChainElement",
            "ClockSkew",
            "CollectorBundle",
            "Context",
            "ContextEvent",
            "Coverage",
            "Delivery",
            "Evidence",
            "Finding",
            "Gap",
            "Incident",
            "IncidentCertificate",
            "Link",
            "Loss",
            "MessageEvent",
            "Missing",
            "Operation",
            "Origin",
            "OtherError",
            "RecipientStatus",
            "Rejection",
            "Remedy",
            "Retrieval",
            "Revocation",
            "SmtpEvent",
            "SourceStatus",
            "Step",
            "Verdict",
        ),
        "pipeline": ("analyze", "events"),
        "report.document": ("BatchEntry", "Options", "Report", "Tool", "load"),
        "rules": ("Rules",),
        "smtp_tables": ("read_iis_smtp", "read_ndr", "read_send_log", "read_tracking"),
        "tables": ("read_capi2",),
    }.items()
    for name in names
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
    "Context",
    "ContextEvent",
    "Coverage",
    "Delivery",
    "Evidence",
    "Finding",
    "Gap",
    "Incident",
    "IncidentCertificate",
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
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
