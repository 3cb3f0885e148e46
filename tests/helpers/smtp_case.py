"""Files in the exact format of a log to a report, for the tests of the SMTP side."""

from __future__ import annotations

from functools import cache

import evtx_analyzer as ea
from evtx_analyzer import pipeline
from evtx_analyzer.rules import Rules


@cache
def rules():
    return Rules.load()


def analyze(folder, files, **options):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return pipeline.analyze(folder, rules=rules(), **options)


def rejections(report):
    return [rejection for incident in report.incidents for rejection in incident.rejections]


def grades(folder, written):
    """Grades by cause of a case that consists of the files ``written``, by name."""
    for name, content in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(folder, rules=rules())
    return {finding.cause: finding.grade for finding in report.findings}
