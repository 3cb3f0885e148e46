"""The list of sources in a report, bounded: a folder may hold thousands of files that are no logs."""

from __future__ import annotations

from collections.abc import Iterable

from evtx_analyzer.model.findings import SourceStatus

MOST_UNRECOGNIZED = 1_000
"""Files of no known kind that are listed one by one; 20,000 of them would take 10 MB in a report."""


def bounded(statuses: Iterable[SourceStatus]) -> tuple[SourceStatus, ...]:
    """Return the sources in their order, with an entry for the number of unrecognized ones beyond the limit.

    Sources that were read, in part, or not at all for a reason are always listed.
    """
    listed: list[SourceStatus] = []
    unlisted: list[SourceStatus] = []
    unrecognized = 0
    for status in statuses:
        unrecognized += status.status == "unrecognized"
        (unlisted if status.status == "unrecognized" and unrecognized > MOST_UNRECOGNIZED else listed).append(status)
    if unlisted:
        reason = f"{len(unlisted):,} more files that are no log of a known kind; they are not listed one by one"
        size = sum(source.size for source in unlisted)
        listed.append(
            SourceStatus(
                path="(more files)", kind="unknown", sha256="", size=size, status="unrecognized", reason=reason
            )
        )
    return tuple(listed)
