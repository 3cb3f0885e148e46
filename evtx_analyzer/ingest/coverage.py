"""The span of time and records that each source covers, gathered while it is read, and how exports of one log join.

Record ids of an export run without holes unless it was filtered by a query (ids missing inside sound data), cleared,
or damaged (the reader says which ids it lost). A first id above 1 means that older records were overwritten or left
out; an id lower than the one before it in an .evtx file means a ring that has wrapped. XML exports may run backwards
(``wevtutil qe /rd:true``), which means nothing. Archives (``Archive-*.evtx``) and the live log of one machine continue
each other's ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal

from msgspec.structs import replace

from evtx_analyzer.model.findings import Coverage, Gap
from evtx_analyzer.model.origin import Loss, sort_key
from evtx_analyzer.model.records import CountedRecords, CountedRows, LogNotice
from evtx_analyzer.normalize import capi2
from evtx_analyzer.wincrypt import CAPI2_EVENTS

_MOST_GAPS = 50
_FEW_IDS = 5
# Of an .evtx file in which chunks were overwritten.
_TWICE = "record ids that stand in it more than once count once ({:,}), but in the counts by event id"
_Runs = list[tuple[int, int]]


class RecordIds:
    """The record ids that were seen, as runs; it takes memory for the holes between them only."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []
        self._last: int | None = None
        self.fell = False

    def add(self, record: int) -> None:
        """Add one id."""
        self.fell = self.fell or (self._last is not None and record < self._last)
        self._last = record
        run = self._runs[-1] if self._runs else None
        if run and run[0] - 1 <= record <= run[1] + 1:
            run[0], run[1] = min(run[0], record), max(run[1], record)
        else:
            self._runs.append([record, record])

    def add_run(self, first: int, last: int) -> None:
        """Add consecutive ids, in their order."""
        self.add(first)
        self._last = last
        self._runs[-1][1] = max(self._runs[-1][1], last)

    def runs(self) -> _Runs:
        """Return the runs of ids without holes, in order."""
        return _merged((first, last) for first, last in self._runs)


class Span:
    """First and last time and record id of a source, and the holes between its ids.

    It takes memory for the holes only. ``ring`` is set for files in which the order of records shows a ring that has
    wrapped (.evtx). ``collected`` is set by the first record that a collector numbered anew: its ids are no log's own.
    """

    def __init__(self, source: str, kind: str, *, ring: bool = False) -> None:
        self.source, self.kind, self.ring = source, kind, ring
        self.records = 0
        self.counted = 0
        self.notes: list[str] = []
        self.collected = False
        self._hosts: dict[str, None] = {}
        self._event_ids: Counter[int] = Counter()
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._ids = RecordIds()

    def add(
        self, time: datetime | None, record: int | None = None, host: str = "", event_id: int | None = None
    ) -> None:
        """Count one record."""
        self.records += 1
        if host:
            self._hosts[host] = None
        if event_id is not None:
            self._event_ids[event_id] += 1
        self._add_time(time)
        if record is not None:
            self._ids.add(record)

    def _add_time(self, time: datetime | None) -> None:
        if time is not None:
            self._first = time if self._first is None or time < self._first else self._first
            self._last = time if self._last is None or time > self._last else self._last

    def add_counted(self, run: CountedRecords) -> None:
        """Count records that were not decoded."""
        assert run.origin.record is not None
        self.records += run.last_record - run.origin.record
        self.add(run.first, host=run.host)
        self._add_time(run.last)
        self._event_ids.update(run.event_ids)
        self._ids.add_run(run.origin.record, run.last_record)

    def add_rows(self, rows: CountedRows, read: int) -> None:
        """Count rows of which ``read`` were read, and not only counted."""
        self.counted += rows.rows - read
        self.records += rows.rows - 1
        self.add(rows.first, host=rows.host)
        self._add_time(rows.last)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of machines in its records, in the order in which they came."""
        return tuple(self._hosts)

    def runs(self) -> _Runs:
        """Return the runs of its record ids."""
        return self._ids.runs()

    def coverage(self, losses: Iterable[Loss] = (), others: RecordIds | None = None) -> Coverage:
        """Return the coverage so far: holes in the ids are ``lost`` where a loss names them, else filtered or cleared.

        ``others`` are the ids of records of other kinds in the same file: they are no holes.
        """
        lost = [
            (loss.first_record, loss.last_record or loss.first_record)
            for loss in losses
            if loss.first_record is not None
        ]
        runs = self.runs()
        whole = _merged([*runs, *(others.runs() if others else [])]) if runs else []
        holes = [(left[1] + 1, right[0] - 1) for left, right in pairwise(whole)]
        gaps = [
            Gap(first_record=first, last_record=last, kind=_gap_kind(first, last, lost))
            for first, last in holes
            if first > runs[0][0] and last < runs[-1][1]
        ]
        twice = max(0, self.records - sum(last - first + 1 for first, last in runs)) if self.ring else 0
        return Coverage(
            source=self.source,
            kind=self.kind,
            host=next(iter(self._hosts), ""),
            first=self._first,
            last=self._last,
            records=self.records - twice,
            gaps=tuple(gaps[:_MOST_GAPS]),
            first_record=runs[0][0] if runs else None,
            last_record=runs[-1][1] if runs else None,
            notes=(*self._notes(runs, gaps), *([_TWICE.format(twice)] if twice else [])),
            hosts=tuple(self._hosts),
            event_ids=dict(sorted(self._event_ids.items())),
            per_minute=self._per_minute(),
            # Counted and decoded records of an .evtx file overlap.
            read=None if self.kind == capi2.KIND else self.records - self.counted,
        )

    def _per_minute(self) -> float | None:
        if self._first is None or self._last is None or self._last <= self._first:
            return None
        return round(self.records / ((self._last - self._first).total_seconds() / 60), 6)

    def _notes(self, runs: _Runs, gaps: Sequence[Gap]) -> Iterator[str]:
        if self.ring and self._ids.fell:
            first = f"; its oldest record is {runs[0][0]}" if runs else ""
            yield f"the log is a ring that has wrapped: records older than the first are overwritten{first}"
        elif runs and runs[0][0] > 1:
            yield f"the first record is {runs[0][0]}: older records were overwritten, cleared or not exported"
        if self.collected:
            yield "events that a collector gathered: record ids are the collector's"
        if len(self._hosts) > 1:
            yield f"written under {len(self._hosts)} machine names: {', '.join(self._hosts)}"
        yield from self._filter_notes(gaps)
        unknown = {number: count for number, count in self._event_ids.items() if number not in CAPI2_EVENTS}
        if unknown and self.kind == capi2.KIND:
            listed = ", ".join(f"{number} ({count})" for number, count in sorted(unknown.items()))
            yield f"event ids without a known schema, kept as they are (records): {listed}"
        if len(gaps) > _MOST_GAPS:
            yield f"only the first {_MOST_GAPS} of {len(gaps)} gaps are listed"
        yield from self.notes

    def _filter_notes(self, gaps: Sequence[Gap]) -> Iterator[str]:
        filtered = [gap for gap in gaps if gap.kind == "filtered-or-cleared"]
        if not filtered:
            return
        yield (
            f"record ids are missing in {len(filtered)} place{'' if len(filtered) == 1 else 's'} inside sound data: "
            "exported through a query, or cleared; this is no loss"
        )
        if 0 < len(self._event_ids) <= _FEW_IDS:
            yield f"it holds only the event ids {', '.join(map(str, sorted(self._event_ids)))}"


def joined(spans: Sequence[tuple[Span, Coverage]]) -> list[Coverage]:
    """Return the coverage of all sources, with notes on what exports of one log share, continue or leave out."""
    result = {id(span): coverage for span, coverage in spans}
    logs = [pair for pair in spans if pair[0].kind == capi2.KIND and not pair[0].collected]
    ordered = sorted(
        (pair for pair in logs if pair[1].first_record is not None),
        key=lambda pair: (pair[1].first_record or 0, pair[1].last_record or 0, pair[1].source),
    )
    for number, (span, coverage) in enumerate(ordered):
        earlier = [(other, known) for other, known in ordered[:number] if _same_log(known, coverage)]
        if earlier:
            result[id(span)] = _joined(span, coverage, earlier)
    return [result[id(span)] for span, _ in spans]


def _joined(span: Span, coverage: Coverage, earlier: Sequence[tuple[Span, Coverage]]) -> Coverage:
    """Return the coverage of an export, with notes on how it joins ``earlier`` ones of the same log."""
    shared = [(other.source, _common(span.runs(), other.runs())) for other, _ in earlier]
    known = _merged(run for other, _ in earlier for run in other.runs())
    notes = [f"{count} of its records are also in {source} and count once" for source, count in shared if count]
    before, first = known[-1][1], coverage.first_record or 0
    if first == before + 1:
        last = max(earlier, key=lambda pair: pair[1].last_record or 0)[1].source
        notes.append(f"continues {last} without a gap")
    elif first > before + 1:
        notes.append(f"records {before + 1} to {first - 1} before it are in no export of this log")
    return replace(coverage, notes=(*coverage.notes, *notes), duplicates=_common(span.runs(), known))


def with_notices(coverage: Sequence[Coverage], notices: Sequence[LogNotice]) -> list[Coverage]:
    """Return the coverage, with what the System log of the same machine says about CAPI2 logs in the notes."""
    ordered = sorted(notices, key=lambda notice: (notice.time, sort_key(notice.origin)))
    result = []
    for covered in coverage:
        names = {name.casefold() for name in covered.hosts} if covered.kind == capi2.KIND else set()
        about = [notice for notice in ordered if notice.host.casefold() in names]
        texts = (f"{notice.text} ({notice.origin.source} record {notice.origin.record})" for notice in about)
        result.append(replace(covered, notes=(*covered.notes, *texts)))
    return result


def _same_log(left: Coverage, right: Coverage) -> bool:
    """Return whether two exports may be of one log: a machine in common, and times that rise with the record ids."""
    if not {name.casefold() for name in left.hosts} & {name.casefold() for name in right.hosts}:
        return False
    points = ((left.first_record, left.first), (left.last_record, left.last))
    others = ((right.first_record, right.first), (right.last_record, right.last))
    return all(
        time == moment if record == other else (record < other) == (time < moment) or time == moment
        for record, time in points
        for other, moment in others
        if record is not None and other is not None and time is not None and moment is not None
    )


def _common(left: _Runs, right: _Runs) -> int:
    """Return how many ids two lists of runs share."""
    return sum(
        max(0, min(last, other_last) - max(first, other_first) + 1)
        for first, last in left
        for other_first, other_last in right
    )


def _merged(runs: Iterable[tuple[int, int]]) -> _Runs:
    merged: _Runs = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _gap_kind(first: int, last: int, lost: Sequence[tuple[int, int]]) -> Literal["filtered-or-cleared", "lost"]:
    inside = any(start <= last and end >= first for start, end in lost)
    return "lost" if inside else "filtered-or-cleared"
