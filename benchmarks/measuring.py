"""Run commands as a user would, in turns, and keep what each run cost."""

from __future__ import annotations

import filecmp
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LAUNCH = Path(__file__).with_name("launch.py")
MEGABYTE = 1_000_000
PATIENCE = 60.0  # seconds: what takes longer runs once


class WrongAnswer(Exception):  # noqa: N818  it is an answer, and wrong
    """A run's report is not what the maker of its input knows to be right: its speed means nothing."""


class Cost(NamedTuple):
    """Of one run: seconds by the clock, seconds of processor time, and peak memory in MB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Entry:
    """A command to measure.

    ``missing`` tells why it cannot run and how to get it. ``size`` is the bytes of the whole input, ``scale`` how often
    the part that is read goes into it. ``check`` is given the output of a run outside the timing and raises
    WrongAnswer; all timed runs must then give the same bytes. ``prints`` is what a peer must print, such as its number
    of rows. ``ours`` marks what the others are compared with.
    """

    name: str
    command: Sequence[str]
    size: int = 0
    scale: float = 1.0
    exits: tuple[int, ...] = (0,)
    missing: str = ""
    prints: str = ""
    ours: bool = False
    check: Callable[[Path], None] | None = None


@dataclass
class Measured:
    """An entry with its runs; ``failed`` says why there are none."""

    entry: Entry
    costs: list[Cost] = field(default_factory=list)
    failed: str = ""

    @property
    def wall(self) -> float:
        """Median seconds by the clock, for the whole input."""
        return statistics.median(cost.wall for cost in self.costs) * self.entry.scale

    @property
    def cpu(self) -> float:
        """Median seconds of processor time, for the whole input."""
        return statistics.median(cost.cpu for cost in self.costs) * self.entry.scale

    @property
    def memory(self) -> float:
        """The most of all runs, in MB."""
        return max(cost.memory for cost in self.costs)

    @property
    def spread(self) -> tuple[float, float]:
        """Least and most seconds by the clock."""
        walls = [cost.wall * self.entry.scale for cost in self.costs]
        return min(walls), max(walls)


def measure(entries: Sequence[Entry], runs: int, folder: Path) -> list[Measured]:
    """Run all entries in turns (A B C A B C), so that a busy machine is busy for all; outputs go to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [Measured(entry, failed=entry.missing) for entry in entries]
    for number, item in enumerate(found):
        if item.entry.check and not item.failed:
            first = folder / f"right-{number}"
            run(item.entry, first, folder / "errors")
            item.entry.check(first)
    for turn in range(runs):
        for number, item in enumerate(found):
            if item.failed or (turn and item.costs[0].wall > PATIENCE):
                continue
            out, errors = folder / "out", folder / "errors"
            try:
                item.costs.append(run(item.entry, out, errors))
            except ChildProcessError as problem:
                item.failed = str(problem)
                continue
            if item.entry.check and not filecmp.cmp(out, folder / f"right-{number}", shallow=False):
                raise WrongAnswer(f"{item.entry.name}: two runs gave different reports")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return found


def run(entry: Entry, out: Path, errors: Path) -> Cost:
    """One run; ChildProcessError where its exit status, or what it prints, is not expected."""
    command = [sys.executable, "-I", "-S", str(LAUNCH), str(out), str(errors), *entry.command]
    told = subprocess.run(  # noqa: S603  our own command lines
        command, check=True, capture_output=True, text=True
    ).stdout.split()
    if int(told[0]) not in entry.exits:
        last = (errors.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
        problem = f"ended with status {told[0]}: {last[:200]}"
        raise WrongAnswer(f"{entry.name} {problem}") if entry.check else ChildProcessError(problem)
    if entry.prints and out.read_text(encoding="utf-8").strip() != entry.prints:
        raise ChildProcessError(f"did not print {entry.prints}, so it has not read the whole input")
    return Cost(float(told[1]), float(told[2]), max(int(told[3]), int(told[4])) / MEGABYTE)
