"""The time line of a report: what happened when, in four lanes, as positions that a picture or a terminal can draw.

    CAPI2 failures    |        x           |
    CAPI2 successes   |                 o  |
    TLS handshakes    |     ^              |
    Refusals          |            #       |

Lanes lie over what their logs cover, so that an empty stretch is told from one that nobody recorded. Times are UTC;
what has only a local time of an unknown zone is left out and counted.
Where a lane holds more marks than can be told apart, they are counted in bins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import LINK_BASES, Link, Operation, Rejection
from evtx_analyzer.report.document import Report

LaneName = Literal["failures", "successes", "handshakes", "refusals"]
LANES: tuple[tuple[LaneName, str], ...] = (
    ("failures", "CAPI2 failures"),
    ("successes", "CAPI2 successes"),
    ("handshakes", "TLS handshakes"),
    ("refusals", "Refusals"),
)
_At = Callable[[datetime], float]
_CAPI2: tuple[LaneName, ...] = ("failures", "successes")
_MOST_MARKS = 40
_BINS = 80
_MOST_CONNECTIONS = 150
_MOST_TICKS = 6
_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000, 31536000),
)


class Mark(Struct, frozen=True, kw_only=True):
    """What happened on a lane at one time, ``count`` times; ``x`` runs from 0 to 1."""

    lane: LaneName
    time: datetime
    label: str
    count: int = 1
    x: float = 0.0


class Bin(Struct, frozen=True, kw_only=True):
    """How many marks of a lane fall into one stretch; ``height`` is relative to the fullest bin."""

    x: float
    width: float
    count: int
    height: float


class Lane(Struct, frozen=True, kw_only=True):
    """One lane: marks, or bins where there are too many marks; ``covered`` are stretches (from, to) that logs cover.

    ``total`` is how many there are in the whole report: where it is more than ``count``, the picture is an excerpt.
    """

    name: LaneName
    title: str
    count: int
    total: int
    marks: tuple[Mark, ...]
    bins: tuple[Bin, ...]
    covered: tuple[tuple[float, float], ...]


class Connection(Struct, frozen=True, kw_only=True):
    """A line between a refusal's anchor and the check beside it."""

    from_lane: LaneName
    from_x: float
    to_lane: LaneName
    to_x: float
    basis: str
    broken: bool
    delta: float


class Tick(Struct, frozen=True, kw_only=True):
    """A time on the axis."""

    x: float
    label: str


class Timeline(Struct, frozen=True, kw_only=True):
    """All lanes between two times."""

    start: datetime
    end: datetime
    lanes: tuple[Lane, ...]
    connections: tuple[Connection, ...]
    ticks: tuple[Tick, ...]


def marks(report: Report) -> list[Mark]:
    """Everything that is drawn, by time; a session of several refused recipients has one handshake."""
    counts = Counter(_check(operation) for operation in report.operations)
    handshakes = set()
    for rejection, time, handshake in _placed(report):
        counts[Mark(lane="refusals", time=time, label=rejection.stage or rejection.kind)] += 1
        if handshake is not None:
            label = rejection.remote_name or rejection.remote_endpoint
            handshakes.add(Mark(lane="handshakes", time=handshake, label=label))
    order = [name for name, _ in LANES]
    found = [*handshakes, *(replace(mark, count=count) for mark, count in counts.items())]
    return sorted(found, key=lambda item: (item.time, order.index(item.lane), item.label))


def overview(report: Report) -> Timeline | None:
    """Return the time line from the first mark to the last, None where there is nothing to draw."""
    found = marks(report)
    if not found:
        return None
    return _drawn(report, found, *_limits(found))


def _limits(found: Sequence[Mark]) -> tuple[datetime, datetime]:
    """Return where the overview begins and ends; marks are in the order of time."""
    start, end = found[0].time, found[-1].time
    slack = max((end - start) * 0.06, timedelta(seconds=2))
    return start - slack, end + slack


def close_up(report: Report) -> Timeline | None:
    """Return the seconds around the pair that says the most, None where no refusal has one or the overview shows as much."""
    best = best_pair(report)
    if best is None:
        return None
    link, rejection, operation = best
    anchor = rejection.handshake_time or rejection.time
    # A pair hours apart has no seconds to look at.
    near = abs(link.delta_seconds) < 60  # noqa: PLR2004  one minute
    times = [anchor, rejection.time] + ([operation.time] if near else [])
    start, end = min(times), max(times)
    slack = max((end - start) * 0.15, timedelta(milliseconds=200))
    if not near:
        return None
    found = marks(report)
    first, last = _limits(found)
    return None if last - first < 3 * (end - start + 2 * slack) else _drawn(report, found, start - slack, end + slack)


def best_pair(report: Report) -> tuple[Link, Rejection, Operation] | None:
    """Return the pair that rests on the strongest basis and lies nearest, unbroken ones first."""
    operations = {operation.id: operation for operation in report.operations}
    found = [
        (link.broken_by is not None, LINK_BASES.index(link.basis), abs(link.delta_seconds), number, link, rejection)
        for number, (link, rejection) in enumerate(_pairs(report))
        if link.operation in operations
    ]
    if not found:
        return None
    *_, link, rejection = min(found, key=lambda item: item[:4])
    return link, rejection, operations[link.operation]


def _pairs(report: Report) -> Iterable[tuple[Link, Rejection]]:
    for incident in report.incidents:
        rejections = {rejection.id: rejection for rejection in incident.rejections}
        for link in incident.links:
            if link.rejection in rejections:
                yield link, rejections[link.rejection]


def _placed(report: Report) -> Iterator[tuple[Rejection, datetime, datetime | None]]:
    """Yield refusals that have a place on an axis in UTC with their times; of those that are alike what they share."""
    for incident in report.incidents:
        for rejection in incident.rejections:
            if clock.is_known(rejection.time_basis):
                yield rejection, rejection.time, rejection.handshake_time
        for group in incident.alike:
            yield from ((group.shared, differing.time, differing.handshake_time) for differing in group.differing())


def _check(operation: Operation) -> Mark:
    lane: LaneName = "successes" if operation.result in ("0", "") else "failures"
    name = f" {operation.result_name}" if operation.result_name else ""
    return Mark(
        lane=lane, time=operation.time, label=f"{operation.result}{name}: {operation.subject} ({operation.process})"
    )


def _drawn(report: Report, found: Sequence[Mark], start: datetime, end: datetime) -> Timeline:
    span = (end - start).total_seconds()

    def at(time: datetime) -> float:
        return round((time - start).total_seconds() / span, 5)

    inside = [item for item in found if start <= item.time <= end]
    totals: Counter[LaneName] = Counter()
    for mark in found:
        totals[mark.lane] += mark.count
    # A report that was read from JSON counts the folded refusals and has no marks for them.
    totals["refusals"] = report.rejection_count
    lanes = [
        _lane(name, title, totals[name], [item for item in inside if item.lane == name], at, _covered(report, name, at))
        for name, title in LANES
    ]
    return Timeline(
        start=start,
        end=end,
        lanes=tuple(lanes),
        connections=tuple(_connections(report, at)),
        ticks=tuple(_ticks(start, end, at)),
    )


def _lane(
    name: LaneName,
    title: str,
    total: int,
    found: Sequence[Mark],
    at: _At,
    covered: tuple[tuple[float, float], ...],
) -> Lane:
    dense = len(found) > _MOST_MARKS
    return Lane(
        name=name,
        title=title,
        count=sum(mark.count for mark in found),
        total=total,
        marks=() if dense else tuple([replace(mark, x=at(mark.time)) for mark in found]),
        bins=_binned((at(mark.time), mark.count) for mark in found) if dense else (),
        covered=covered,
    )


def _binned(found: Iterable[tuple[float, int]]) -> tuple[Bin, ...]:
    counts: Counter[int] = Counter()
    for x, count in found:
        counts[min(int(x * _BINS), _BINS - 1)] += count
    fullest = max(counts.values())
    return tuple(
        Bin(x=number / _BINS, width=1 / _BINS, count=count, height=round(0.2 + 0.8 * count / fullest, 3))
        for number, count in sorted(counts.items())
    )


def _covered(report: Report, lane: LaneName, at: _At) -> tuple[tuple[float, float], ...]:
    """Stretches that the logs behind a lane cover, clipped to the picture and joined where they touch."""
    spans = sorted(
        (max(0.0, at(coverage.first)), min(1.0, at(coverage.last)))
        for coverage in report.coverage
        if coverage.first is not None and coverage.last is not None and (coverage.kind == "capi2") == (lane in _CAPI2)
        if clock.is_known(coverage.time_basis)
    )
    joined: list[tuple[float, float]] = []
    for first, last in spans:
        if last < 0 or first > 1:
            continue
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def _connections(report: Report, at: _At) -> list[Connection]:
    operations = {item.id: item for item in report.operations}
    found: dict[tuple[object, ...], Connection] = {}
    for link, rejection in _pairs(report):
        operation = operations.get(link.operation)
        if operation is None:
            continue
        handshake = link.anchor == "handshake" and rejection.handshake_time is not None
        time = rejection.handshake_time if handshake and rejection.handshake_time else rejection.time
        line = Connection(
            from_lane="handshakes" if handshake else "refusals",
            from_x=at(time),
            to_lane=_check(operation).lane,
            to_x=at(operation.time),
            basis=link.basis,
            broken=link.broken_by is not None,
            delta=link.delta_seconds,
        )
        if 0 <= line.from_x <= 1 and 0 <= line.to_x <= 1:
            # Lines that would lie on each other are drawn once.
            found.setdefault((round(line.from_x, 3), round(line.to_x, 3), line.to_lane, line.broken), line)
    return list(found.values())[:_MOST_CONNECTIONS]


def _ticks(start: datetime, end: datetime, at: _At) -> Iterable[Tick]:
    """Round times on the axis, at most six."""
    span = (end - start).total_seconds()
    step = next((item for item in _STEPS if span / item <= _MOST_TICKS), _STEPS[-1])
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
    number = int((start - midnight).total_seconds() / step) + 1
    while (time := midnight + timedelta(seconds=number * step)) < end:
        yield Tick(x=at(time), label=_tick_text(time, step))
        number += 1


def _tick_text(time: datetime, step: float) -> str:
    if step >= 86400:  # noqa: PLR2004  a day
        return f"{time:%Y-%m-%d}"
    if step < 1:
        return f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}"
    return f"{time:%H:%M}" if step % 60 == 0 else f"{time:%H:%M:%S}"
