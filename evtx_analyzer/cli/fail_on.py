"""``--fail-on CAUSE[:GRADE]``: exit with 1 for certain causes only, so that a monitor wakes nobody for others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.errors import OptionError

ANY = "any"
UNEXPLAINED = "unexplained"
# From strong to weak; weaker grades do not support a cause.
GRADES = ("confirmed", "probable", "possible")

FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="CAUSE[:GRADE]",
        help="Exit with 1 only where this cause is found with this grade or a better one (default possible); any is "
        "every cause. Repeatable. Without a match: 0, or 3 where parts could not be read.",
    ),
]


def wanted(texts: Iterable[str], rules: Path | None) -> list[tuple[str, str]]:
    """Return the values of the option as pairs of cause and grade. Raises OptionError for an unknown cause or grade."""
    from evtx_analyzer.rules import Rules

    pairs = []
    causes = {ANY, UNEXPLAINED, *(cause.id for cause in Rules.load(rules).causes)}
    for text in texts:
        cause, colon, grade = text.partition(":")
        if cause not in causes:
            raise OptionError(f"--fail-on {text}: expected one of {', '.join(sorted(causes))}")
        if colon and grade not in GRADES:
            raise OptionError(f"--fail-on {text}: expected one of {', '.join(GRADES)} after the colon")
        pairs.append((cause, grade or GRADES[-1]))
    return pairs


def exit_status(code: int, pairs: Sequence[tuple[str, str]], findings: Iterable[str], *, lost: bool) -> int:
    """Return 1 only if a finding (``cause:grade``) matches a pair; else 3 if parts are not read (``lost``), or 0.

    Other codes than 1 stay, and so does every code without pairs.
    """
    if code != 1 or not pairs:
        return code
    graded = [tuple(finding.split(":")) for finding in findings]
    if any(_matches(cause, grade, *pair) for cause, grade in graded for pair in pairs):
        return 1
    return 3 if lost else 0


def _matches(cause: str, grade: str, wanted_cause: str, wanted_grade: str) -> bool:
    if cause == UNEXPLAINED:
        return wanted_cause in (ANY, UNEXPLAINED) and wanted_grade == GRADES[-1]
    strong_enough = grade in GRADES and GRADES.index(grade) <= GRADES.index(wanted_grade)
    return strong_enough and wanted_cause in (ANY, cause)
