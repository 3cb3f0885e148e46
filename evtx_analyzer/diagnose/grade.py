"""The grade of a cause, from the names of what was observed: never a percentage.

A cause's YAML says which observations reach ``confirmed``, ``probable``, ``possible`` or ``coincident``; where none of
them does, the grade is ``no-evidence``. Three laws stand above every rule file:

- nearness in time, or a name that looks like the server's own, never exceeds ``possible``;
- a pair of different hosts, or of a host that is not known, never exceeds ``possible``;
- an observation that excludes the cause makes it ``contradicted``, whatever else was seen, and so do groups of them
  under ``grades: contradicted``; one that holds for some refusals of the incident only, or that caps it, leaves
  ``possible`` at most; one that only speaks against it contradicts where the cause does not reach ``possible``.

Only a network trace of the refused connection itself, or a fix that worked, makes a cause ``confirmed``. A trace shows
what was sent and not what Exchange Online made of it, so accepted mail in the same state caps a cause that a trace
shows like any other.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from evtx_analyzer.model.findings import Grade
from evtx_analyzer.rules.definitions import Cause

UNEXPLAINED = "unexplained"
RANK: dict[Grade, int] = {
    "confirmed": 5,
    "probable": 4,
    "possible": 3,
    "coincident": 2,
    "contradicted": 1,
    "no-evidence": 0,
}


def grade_of(cause: Cause, observed: AbstractSet[str], capped: AbstractSet[str] = frozenset()) -> Grade:
    """Return the grade that follows from ``observed``, the names of the observations that hold.

    ``capped`` names those that rest on a name, on time or on different hosts, or that hold for some refusals only:
    where every way to a grade needs one of them, the grade is ``possible`` at most.
    """
    grade: Grade = "no-evidence"
    for candidate in ("confirmed", "probable", "possible", "coincident"):
        if RANK[candidate] <= RANK[grade]:
            break
        reached = [group for group in cause.grades.get(candidate, ()) if set(group) <= observed]
        if reached:
            if RANK[candidate] <= RANK["possible"] or any(not capped & set(group) for group in reached):
                grade = candidate
                break
            grade = "possible"
    against = [rule for rule in cause.observations if rule.contradicts and rule.name in observed]
    if any(rule.caps for rule in against):
        grade = min(grade, "possible", key=RANK.__getitem__)
    # What is true of some refusals excludes the cause for these only: it is not that of all.
    some = {rule.name for rule in against if rule.kind == "rejection" and rule.name in capped and rule.excludes}
    if some:
        grade = min(grade, "possible", key=RANK.__getitem__)
    excluded = any(set(group) <= observed for group in cause.grades.get("contradicted", ()))
    # Accepted mail shows that a cause does not decide alone, a store what it held later: neither contradicts a cause.
    opposed = any(not (rule.caps or rule.weak) for rule in against)
    if (
        excluded
        or any(rule.excludes and rule.name not in some for rule in against)
        or (opposed and RANK[grade] < RANK["possible"])
    ):
        return "contradicted"
    return grade
