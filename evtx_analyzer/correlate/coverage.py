"""What span of time and records each source covers, gathered while it is read.

Record ids of an export run without holes unless it was filtered by a query (ids missing inside sound data), cleared,
or damaged (the reader says which ids it lost). A first id above 1 means that older records were overwritten or left
out; ids that fall in file order mean a ring that has wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal

from evtx_analyzer.model import Coverage, Gap, Loss

_MOST_GAPS = 50


class Span:
    """First and last time and record id of a source, and the holes between its ids; grows with the holes only."""

    def __init__(self, source: str, kind: str) -> None:
        self.source, self.kind, self.host = source, kind, ""
        self.hosts: set[str] = set()
        self.records = 0
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._runs: list[list[int]] = []
        self._wrapped = False

    def add(self, time: datetime | None, record: int | None = None, host: str = "") -> None:
        """Count one record."""
        self.records += 1
        self.host = self.host or host
        if host:
            self.hosts.add(host)
        if time is not None:
            self._first = time if self._first is None or time < self._first else self._first
            self._last = time if self._last is None or time > self._last else self._last
        if record is not None:
            self._add_record(record)

    def _add_record(self, record: int) -> None:
        if self._runs and record == self._runs[-1][1] + 1:
            self._runs[-1][1] = record
            return
        self._wrapped = self._wrapped or bool(self._runs and record < self._runs[-1][0])
        self._runs.append([record, record])

    def coverage(self, losses: Iterable[Loss]) -> Coverage:
        """The span so far; ids that a loss names are lost, other holes are filtering or clearing."""
        lost = [
            (item.first_record, item.last_record or item.first_record)
            for item in losses
            if item.origin.source == self.source and item.first_record is not None
        ]
        runs = _merged(self._runs)
        gaps = [Gap(first_record=a, last_record=b, kind=_gap_kind(a, b, lost)) for a, b in _holes(runs)]
        return Coverage(
            source=self.source,
            kind=self.kind,
            host=self.host,
            first=self._first,
            last=self._last,
            records=self.records,
            gaps=tuple(gaps[:_MOST_GAPS]),
            first_record=runs[0][0] if runs else None,
            last_record=runs[-1][1] if runs else None,
            notes=tuple(self._notes(runs, gaps)),
        )

    def _notes(self, runs: list[list[int]], gaps: list[Gap]) -> Iterable[str]:
        if self.kind == "capi2" and not self.records:
            yield "the export holds no CAPI2 record: the channel was disabled, empty or cleared"
        if self._wrapped:
            yield "the log is a ring that has wrapped: records older than the first are overwritten"
        elif runs and runs[0][0] > 1:
            yield f"the first record is {runs[0][0]}: older records were overwritten, cleared or not exported"
        filtered = sum(1 for gap in gaps if gap.kind == "filtered-or-cleared")
        if filtered:
            yield f"record ids are missing in {filtered} places inside sound data: exported through a query, or cleared"
        if len(gaps) > _MOST_GAPS:
            yield f"only the first {_MOST_GAPS} of {len(gaps)} gaps are listed"


def _merged(runs: Iterable[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged


def _holes(runs: list[list[int]]) -> list[tuple[int, int]]:
    return [(left[1] + 1, right[0] - 1) for left, right in pairwise(runs)]


def _gap_kind(first: int, last: int, lost: Sequence[tuple[int, int]]) -> Literal["filtered-or-cleared", "lost"]:
    inside = any(start <= last and end >= first for start, end in lost)
    return "lost" if inside else "filtered-or-cleared"
