"""Where the time goes: the functions that cost most of one analysis, by cProfile in a process of its own."""

from __future__ import annotations

import pstats
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import Entry

FUNCTIONS = 20


def profile(entry: Entry, folder: Path) -> None:
    """Print them; work in other threads or processes is not seen, and a profiled program is slower."""
    found, report = folder / "profile", folder / "report"
    arguments = list(entry.command[1:])  # -m evtx_analyzer ...
    with report.open("wb") as out:
        done = subprocess.run(  # noqa: S603  our own command line
            [sys.executable, "-m", "cProfile", "-o", str(found), *arguments], stdout=out, check=False
        )
    if not found.is_file():
        raise ChildProcessError(f"the analysis ended with status {done.returncode} and left no profile")
    stats = pstats.Stats(str(found))
    stats.sort_stats("tottime").print_stats(FUNCTIONS)
    found.unlink()
    report.unlink()
