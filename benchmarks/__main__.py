"""Measure and print: ``python -m benchmarks [--megabytes 100] [--runs 3] [--plot docs/performance.svg]``.

Every figure is of a process of its own, from its start to its end, with the operating system's account of it; the
median of the runs is shown. The ratio compares with the peer that is named in the same block, in the same call.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import inputs
from benchmarks.plot import plot

MEGABYTE = 1 << 20
PART = 1.5  # MB of CAPI2 that python-evtx is given: it needs minutes for more
OURS = "import evtx_analyzer as ea; ea.analyze(sys.argv[1])"
PLAIN = "import evtx_analyzer as ea; ea.analyze(sys.argv[1], prefilter=False)"
CAPI2_PEERS = (
    ("evtx, every record as XML", "import evtx; sum(1 for _ in evtx.PyEvtxParser(sys.argv[1]).records())"),
    (
        "libevtx, every record as XML",
        (
            "import pyevtx; f = pyevtx.file(); f.open(sys.argv[1])\n"
            "for n in range(f.number_of_records):\n"
            "    try: f.get_record(n).xml_string\n"
            "    except OSError: pass"
        ),
    ),
)
# python-evtx renders no CAPI2 record; what it needs to walk and fail is its time.
PYTHON_EVTX = (
    "import Evtx.Evtx as E\n"
    "with E.Evtx(sys.argv[1]) as f:\n"
    "    for r in f.records():\n"
    "        try: r.xml()\n"
    "        except Exception: pass"
)
LOG_PEERS = (
    (
        "pandas, columns only",
        "import pandas; pandas.read_csv(sys.argv[1], skiprows=5, header=None, dtype=object, on_bad_lines='skip')",
    ),
    (
        "polars, columns only",
        "import polars; polars.read_csv(sys.argv[1], skip_rows=5, has_header=False, infer_schema=False)",
    ),
)


class Cost(NamedTuple):
    """Of one process: seconds by the clock and of processor time, and the most memory in MB."""

    wall: float
    cpu: float
    memory: float


def measure(command: list[str], runs: int) -> Cost | None:
    """Median over some runs; None where the command fails."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryFile() as out:  # not the null device: grep stops at the first hit if it writes there
            start = time.perf_counter()
            actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), fd) for fd in (1, 2)]
            pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
            _, status, usage = os.wait4(pid, 0)
            wall = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status) not in (0, 1):
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        found.append(Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / MEGABYTE))
    return Cost(*(statistics.median(values) for values in zip(*found, strict=True)))


def python(code: str, *arguments: Path) -> list[str]:
    """A command that runs code with ``sys`` imported."""
    return [sys.executable, "-c", f"import sys\n{code}", *map(str, arguments)]


def block(title: str, size: int, commands: list[tuple[str, list[str], float]], runs: int) -> None:
    """A table of commands over one input; the first one is ours, and all others are told as ratios to it."""
    print(f"\n### {title}\n")
    print("| what | wall s | CPU s | peak MB | GB/s | wall time, ours = 1 |\n|---|---|---|---|---|---|")
    ours: Cost | None = None
    for name, command, scale in commands:
        cost = measure(command, runs)
        if cost is None:
            print(f"| {name} | not there | | | | |")
            continue
        wall, cpu = cost.wall * scale, cost.cpu * scale
        ours = ours or cost
        speed = f"{size / wall / 1e9:.3f}" if size else ""
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {cost.memory:.0f} | {speed} | {wall / ours.wall:.2f} |", flush=True)


def tables(folder: Path, megabytes: float, runs: int) -> None:
    """All tables on inputs of that size."""
    size = int(megabytes * MEGABYTE)
    export, part = folder / "capi2.evtx", folder / "part.evtx"
    inputs.capi2(export, size, 0.03)
    inputs.capi2(part, int(PART * MEGABYTE), 0.03)
    block(
        f"CAPI2 export of {megabytes:g} MB, 3 % of its chunks with a failure",
        export.stat().st_size,
        [
            ("evtx-analyzer, the whole analysis", python(OURS, export), 1),
            ("evtx-analyzer without prefilter", python(PLAIN, export), 1),
            *((name, python(code, export), 1) for name, code in CAPI2_PEERS),
            (
                f"python-evtx, {PART:g} MB, scaled",
                python(PYTHON_EVTX, part),
                export.stat().st_size / part.stat().st_size,
            ),
        ],
        runs,
    )
    ripgrep = [("ripgrep 5.7.64", ["rg", "-c", "-F", "5.7.64"], 1.0)] if shutil.which("rg") else []
    grep = [("grep 5.7.64", ["grep", "-c", "-F", "5.7.64"], 1.0)] if shutil.which("grep") else []
    for share in (0.001, 0.5):
        log = folder / f"SEND-{share}.LOG"
        inputs.send_log(log, size // 2, share)
        block(
            f"Send connector log of {megabytes / 2:g} MB, {share * 100:g} % of its sessions refused",
            log.stat().st_size,
            [
                ("evtx-analyzer, the whole analysis", python(OURS, log), 1.0),
                *((name, [*command, str(log)], scale) for name, command, scale in [*ripgrep, *grep]),
                *((name, python(code, log), 1.0) for name, code in LOG_PEERS),
            ],
            runs,
        )
    command = [sys.executable, "-m", "evtx_analyzer"]
    block(
        "Start-up",
        0,
        [
            ("evtx-analyzer --help", [*command, "--help"], 1),
            ("evtx-analyzer analyze of the sample kb-3212877", [*command, "analyze", "samples/kb-3212877"], 1),
            ("python -c pass", python("pass"), 1),
            ("import pandas", python("import pandas"), 1),
        ],
        max(runs, 3),
    )


def growth(folder: Path, megabytes: float) -> tuple[list[tuple[float, Cost]], list[tuple[float, Cost]]]:
    """Cost by size of a CAPI2 export (to eight times ``megabytes``), and by its share of chunks with a failure."""
    by_size, by_share = [], []
    for size in (megabytes / 10, megabytes, megabytes * 4, megabytes * 8):
        export = folder / "grows.evtx"
        inputs.capi2(export, int(size * MEGABYTE), 0.03)
        cost = measure(python(OURS, export), 1)
        by_size += [(size, cost)] if cost else []
        export.unlink()
    for share in (0.0, 0.03, 0.1, 0.25, 0.5, 1.0):
        export = folder / "share.evtx"
        inputs.capi2(export, int(megabytes * MEGABYTE), share)
        cost = measure(python(OURS, export), 1)
        by_share += [(share * 100, cost)] if cost else []
    return by_size, by_share


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100, help="size of the CAPI2 export (1000 for 1 GB)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each command; the median is shown")
    parser.add_argument("--plot", type=Path, help="also measure how cost grows, and draw it as SVG")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(f"{os.cpu_count()} processors, Python {sys.version.split()[0]}, median of {options.runs}")
        tables(Path(name), options.megabytes, options.runs)
        if options.plot:
            by_size, by_share = growth(Path(name), options.megabytes)
            print("\n| CAPI2 MB | wall s | peak MB |\n|---|---|---|")
            print("\n".join(f"| {size:g} | {cost.wall:.2f} | {cost.memory:.0f} |" for size, cost in by_size))
            print("\n| chunks hit % | wall s | peak MB |\n|---|---|---|")
            print("\n".join(f"| {share:g} | {cost.wall:.2f} | {cost.memory:.0f} |" for share, cost in by_share))
            options.plot.write_text(
                plot(
                    [
                        ("CAPI2 export, MB", [(size, cost.wall) for size, cost in by_size]),
                        (
                            f"{options.megabytes:g} MB, % of chunks hit",
                            [(share, cost.wall) for share, cost in by_share],
                        ),
                    ]
                ),
                encoding="utf-8",
            )


main()
