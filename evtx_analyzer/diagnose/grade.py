"""The grade of a cause, from the names of what was observed: never a percentage.

A cause's YAML says which observations reach ``confirmed``, ``probable``, ``possible`` or ``coincident``; nothing
observed for it is ``no-evidence``. Three laws stand above every rule file:

- nearness in time, or a name that looks like the server's own, never exceeds ``possible``;
- a pair of different hosts, or of a host that is not known, never exceeds ``possible``;
- an observation that excludes the cause makes it ``contradicted``, whatever else was seen, and so do groups of them
  under ``grades: contradicted``; one that caps it leaves ``possible`` at most; one that only speaks against it
  contradicts where the cause does not reach ``possible``.

Only a network trace of the refused connection itself, or a fix that worked, makes a cause ``confirmed``. A trace shows
what was sent and not what Exchange Online made of it: mail that was accepted in the same state caps a cause that a
trace shows as it caps any other.
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
    """Return the grade that follows from the names of what was observed.

    ``capped`` are observations that rest on a name, on time or on hosts that are not the same: where every way to a
    grade needs one of them, the grade is ``possible`` at most.
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
    against = [
        observation for observation in cause.observations if observation.contradicts and observation.name in observed
    ]
    if any(item.caps for item in against):
        grade = min(grade, "possible", key=lambda item: RANK[item])
    excluded = any(set(group) <= observed for group in cause.grades.get("contradicted", ()))
    # Accepted mail says that a cause does not decide alone, a store what it held later: of a cause that nothing speaks
    # for they say nothing.
    spoken = any(not (item.caps or item.weak) for item in against)
    if excluded or any(item.excludes for item in against) or (spoken and RANK[grade] < RANK["possible"]):
        return "contradicted"
    return grade
