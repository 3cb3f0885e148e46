"""Lay out the time line of a report: four lanes of marks, as positions that a picture or a terminal can draw.

    CAPI2 failures    |        x           |
    CAPI2 successes   |                 o  |
    TLS handshakes    |     ^              |
    Refusals          |            #       |

Each lane shows what its logs cover, so that a stretch without events differs from one that nobody recorded. Times are
UTC; facts that have only a local time of an unknown zone are left out and counted. If a lane holds more marks than can
be told apart, they are counted in bins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.pairs import linked, strength

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
# Seconds between two ticks, from 10 ms to a year.
_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000, 31536000),
)


class Mark(Struct, frozen=True, kw_only=True):
    """What happened on a lane at one time, ``count`` times; ``x`` is its position, from 0 to 1."""

    lane: LaneName
    time: datetime
    label: str
    count: int = 1
    x: float = 0.0


class Bin(Struct, frozen=True, kw_only=True):
    """The number of marks of a lane in one stretch; ``height`` is relative to the fullest bin."""

    x: float
    width: float
    count: int
    height: float


class Lane(Struct, frozen=True, kw_only=True):
    """One lane: marks, or bins if there are too many marks; ``covered`` are the stretches (from, to) that logs cover.

    ``total`` is the number in the whole report: if it is more than ``count``, the picture is an excerpt.
    """

    name: LaneName
    title: str
    count: int
    total: int
    marks: tuple[Mark, ...]
    bins: tuple[Bin, ...]
    covered: tuple[tuple[float, float], ...]


class Connection(Struct, frozen=True, kw_only=True):
    """A line between a refusal's anchor and the check that is paired with it."""

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
    """Return all marks by time; a session with several refused recipients has one handshake."""
    counts = Counter(_check(operation) for operation in report.operations)
    handshakes = set()
    for rejection, time, handshake in _placed(report):
        counts[Mark(lane="refusals", time=time, label=rejection.stage or rejection.kind)] += 1
        if handshake is not None:
            label = rejection.remote_name or rejection.remote_endpoint
            handshakes.add(Mark(lane="handshakes", time=handshake, label=label))
    order = [name for name, _ in LANES]
    every = [*handshakes, *(replace(mark, count=count) for mark, count in counts.items())]
    return sorted(every, key=lambda mark: (mark.time, order.index(mark.lane), mark.label))


def overview(report: Report, every: Sequence[Mark]) -> Timeline | None:
    """Return the time line from the first of the report's marks to the last, None if there is nothing to draw."""
    return _drawn(report, every, *_limits(every)) if every else None


def _limits(every: Sequence[Mark]) -> tuple[datetime, datetime]:
    """Return where the overview begins and ends; the marks must be in the order of time."""
    start, end = every[0].time, every[-1].time
    slack = max((end - start) * 0.06, timedelta(seconds=2))
    return start - slack, end + slack


def close_up(report: Report, every: Sequence[Mark]) -> Timeline | None:
    """Return the seconds around the best pair; None if it spans a minute or more, or the overview shows as much.

    The best pair is unbroken rather than broken, then the strongest. Of equal ones min takes the first.
    """
    best = min(linked(report), key=lambda pair: (pair[1].broken_by is not None, strength(pair[1])), default=None)
    if best is None or abs(best[1].delta_seconds) >= 60:  # noqa: PLR2004  one minute
        return None
    _, _, rejection, operation = best
    times = [rejection.handshake_time or rejection.time, rejection.time, operation.time]
    start, end = min(times), max(times)
    slack = max((end - start) * 0.15, timedelta(milliseconds=200))
    first, last = _limits(every)
    return None if last - first < 3 * (end - start + 2 * slack) else _drawn(report, every, start - slack, end + slack)


def _placed(report: Report) -> Iterator[tuple[Rejection, datetime, datetime | None]]:
    """Yield the refusals whose UTC time is known, with the times of refusal and handshake.

    A folded refusal is represented by what it shares with those that are alike.
    """
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


def _drawn(report: Report, every: Sequence[Mark], start: datetime, end: datetime) -> Timeline:
    span = (end - start).total_seconds()

    def at(time: datetime) -> float:
        return round((time - start).total_seconds() / span, 5)

    totals: Counter[LaneName] = Counter()
    for mark in every:
        totals[mark.lane] += mark.count
    # A report that was read from JSON counts the folded refusals and has no marks for them.
    totals["refusals"] = report.rejection_count
    inside = [replace(mark, x=at(mark.time)) for mark in every if start <= mark.time <= end]
    lanes = [
        _lane(name, title, totals[name], [mark for mark in inside if mark.lane == name], _covered(report, name, at))
        for name, title in LANES
    ]
    connections, ticks = tuple(_connections(report, at)), tuple(_ticks(start, end, at))
    return Timeline(start=start, end=end, lanes=tuple(lanes), connections=connections, ticks=ticks)


def _lane(
    name: LaneName, title: str, total: int, shown: Sequence[Mark], covered: tuple[tuple[float, float], ...]
) -> Lane:
    dense = len(shown) > _MOST_MARKS
    return Lane(
        name=name,
        title=title,
        count=sum(mark.count for mark in shown),
        total=total,
        marks=() if dense else tuple(shown),
        bins=_binned(shown) if dense else (),
        covered=covered,
    )


def _binned(shown: Iterable[Mark]) -> tuple[Bin, ...]:
    counts: Counter[int] = Counter()
    for mark in shown:
        counts[min(int(mark.x * _BINS), _BINS - 1)] += mark.count
    fullest = max(counts.values())
    return tuple(
        Bin(x=number / _BINS, width=1 / _BINS, count=count, height=round(0.2 + 0.8 * count / fullest, 3))
        for number, count in sorted(counts.items())
    )


def _covered(report: Report, lane: LaneName, at: _At) -> tuple[tuple[float, float], ...]:
    """Return the stretches that the logs of a lane cover, clipped to the picture and joined if they overlap."""
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
    connections: dict[tuple[object, ...], Connection] = {}
    for _, link, rejection, operation in linked(report):
        handshake = rejection.handshake_time if link.anchor == "handshake" else None
        line = Connection(
            from_lane="handshakes" if handshake else "refusals",
            from_x=at(handshake or rejection.time),
            to_lane=_check(operation).lane,
            to_x=at(operation.time),
            basis=link.basis,
            broken=link.broken_by is not None,
            delta=link.delta_seconds,
        )
        if 0 <= line.from_x <= 1 and 0 <= line.to_x <= 1:
            # Lines that would lie on each other are drawn once.
            connections.setdefault((round(line.from_x, 3), round(line.to_x, 3), line.to_lane, line.broken), line)
    return list(connections.values())[:_MOST_CONNECTIONS]


def _ticks(start: datetime, end: datetime, at: _At) -> Iterable[Tick]:
    """Yield ticks at round times, about six at most."""
    span = (end - start).total_seconds()
    step = next((step for step in _STEPS if span / step <= _MOST_TICKS), _STEPS[-1])
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
