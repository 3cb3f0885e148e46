"""Hold a report against what the maker of its input knows: a fast wrong answer is worth nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.facts import Facts
from benchmarks.measuring import WrongAnswer


class _Verdict(msgspec.Struct):
    cause: str | None
    grade: str | None


class _Incident(msgspec.Struct):
    rejection_count: int


class _Coverage(msgspec.Struct):
    records: int


class _Answer(msgspec.Struct):
    """The part of the report's contract that is looked at; decoding passes over all else."""

    verdict: _Verdict
    incidents: list[_Incident]
    operations: list[msgspec.Raw]
    coverage: list[_Coverage]
    losses: list[msgspec.Raw]


def check(report: Path, facts: Facts) -> None:
    """Raise WrongAnswer unless a JSON report has the refusals, failed checks, records and cause of its input."""
    answer = msgspec.json.decode(report.read_bytes(), type=_Answer)
    counted = {
        "refusals": (sum(incident.rejection_count for incident in answer.incidents), facts.rejections),
        "failed chain checks": (len(answer.operations), facts.hits),
        "records and rows": (sum(item.records for item in answer.coverage), facts.records),
        "losses": (len(answer.losses), 0),
    }
    if facts.cause:
        counted["cause"] = (f"{answer.verdict.grade} {answer.verdict.cause}", facts.cause)  # type: ignore[assignment]
    wrong = [f"{name}: {found}, expected {known}" for name, (found, known) in counted.items() if found != known]
    if wrong:
        raise WrongAnswer(f"the report is wrong. {'; '.join(wrong)}")
