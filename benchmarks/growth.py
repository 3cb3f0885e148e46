"""How cost grows: with the size of the input, and with the share of it that matters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import inputs, peers
from benchmarks.facts import Facts
from benchmarks.measuring import MEGABYTE, Cost, measure
from benchmarks.plot import Panel, Series, plot
from benchmarks.sections import HITS, SPARSE
from benchmarks.tables import seconds, table

SIZES = (10, 100, 1000, 10_000)  # MB
SHARES = (0.0, 0.01, 0.03, 0.1, 0.25, 0.5, 1.0)
FIXED = 5  # chunks with a failure where their number stays the same: 3 % of 10 MB
ONCE = 100  # MB: what is larger runs once


@dataclass
class Curve:
    """Costs over sizes in MB, or over shares in percent; a kind of log has the same style in all plots."""

    name: str
    style: int
    points: list[tuple[float, Cost]] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """An input that can be made of any size and share."""

    name: str
    style: int
    make: Callable[[Path, int, float], Facts]


def _capi2(path: Path, size: int, share: float) -> Facts:
    return inputs.capi2(path, size, share)


def _fixed(path: Path, size: int, share: float) -> Facts:  # noqa: ARG001  the number stays the same
    return inputs.capi2(path, size, FIXED)


def _send(path: Path, size: int, share: float) -> Facts:
    return inputs.send_log(path, size, share)[0]


CAPI2 = Kind("CAPI2, share of chunks hit", 0, _capi2)
SEND = Kind("Send log, share of sessions refused", 2, _send)
BY_SIZE = (
    (Kind(f"CAPI2, {HITS * 100:g} % of chunks hit", 0, _capi2), HITS),
    (Kind(f"CAPI2, {FIXED} chunks hit at any size", 1, _fixed), HITS),
    (Kind(f"Send log, {SPARSE * 100:g} % refused", 2, _send), SPARSE),
)


def grown(folder: Path, largest: float, runs: int) -> tuple[list[Curve], list[Curve], float]:
    """Curves by size (to ``largest`` MB) and by share, and the size in MB that the latter are of.

    Inputs are made one at a time and deleted.
    """
    sizes = [size for size in SIZES if size < largest] + [largest]
    fixed = min(largest, max(10.0, largest / 10), 100.0)
    by_size = [
        Curve(kind.name, kind.style, [(size, _cost(folder, kind, size, share, runs)) for size in _told(kind, sizes)])
        for kind, share in BY_SIZE
    ]
    by_share = [
        Curve(
            kind.name,
            kind.style,
            [(share * 100, _cost(folder, kind, fixed, share, runs)) for share in _told(kind, SHARES)],
        )
        for kind in (CAPI2, SEND)
    ]
    return by_size, by_share, fixed


def _told(kind: Kind, values: Sequence[float]) -> Iterator[float]:
    for value in values:
        sys.stderr.write(f"growth: {kind.name}, {value:g}\n")
        yield value


def _cost(folder: Path, kind: Kind, megabytes: float, share: float, runs: int) -> Cost:
    """The least of the runs, for a curve is about its shape and a busy machine only adds; one run of what is large."""
    path = folder / "grows"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        facts = kind.make(path, int(megabytes * MEGABYTE), share)
        measured = measure([peers.ours(path, facts)], 1 if megabytes > ONCE else runs, folder / "out")[0]
    finally:
        inputs.remove(path)
    return Cost(*(min(values) for values in zip(*measured.costs, strict=True)))


def tables(by_size: Sequence[Curve], by_share: Sequence[Curve], megabytes: float) -> str:
    """One table by size, one by share."""
    return "\n\n".join(
        [
            "### Growth with size",
            _table(by_size, lambda value: f"{value:g} MB"),
            f"### Growth with the share that matters, inputs of {megabytes:g} MB",
            _table(by_share, lambda value: f"{value:g} %"),
        ]
    )


def _table(curves: Sequence[Curve], shown: Callable[[float], str]) -> str:
    head = ["input", *(shown(value) for value, _ in curves[0].points)]
    rows = []
    for curve in curves:
        rows.append([f"{curve.name}: CPU s", *(seconds(cost.cpu) for _, cost in curve.points)])
        rows.append([f"{curve.name}: peak MB", *(f"{cost.memory:.0f}" for _, cost in curve.points)])
    return table(head, rows)


def picture(by_size: Sequence[Curve], by_share: Sequence[Curve], megabytes: float) -> str:
    """Four panels as SVG: processor time and memory, by size and by share."""

    def series(curves: Sequence[Curve], value: Callable[[Cost], float]) -> list[Series]:
        return [(curve.name, curve.style, [(at, value(cost)) for at, cost in curve.points]) for curve in curves]

    def time(cost: Cost) -> float:
        return cost.cpu

    def memory(cost: Cost) -> float:
        return cost.memory

    of = f"inputs of {megabytes:g} MB"
    return plot(
        "How the cost of an analysis grows",
        [
            Panel("Time by size", "size of the input, MB", "CPU seconds", series(by_size, time), True, 1 / 1000),
            Panel("Peak memory by size", "size of the input, MB", "MB", series(by_size, memory), True),
            Panel(f"Time by share, {of}", "share that matters, %", "CPU seconds", series(by_share, time), False),
            Panel(f"Peak memory by share, {of}", "share that matters, %", "MB", series(by_share, memory), False),
        ],
    )
