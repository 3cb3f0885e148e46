"""How fast the analyzer is beside its peers, on inputs that it makes itself: tables, ratios, goals, growth.

Every figure is of a process of its own, from its start to its end; commands run in turns, and the median is shown.
Every answer is held against what the maker of the input knows: a wrong one ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import growth, tables
from benchmarks.machine import described
from benchmarks.measuring import MEGABYTE, WrongAnswer
from benchmarks.profile import profile
from benchmarks.sections import DISK, SECTIONS, main_input, measured

NAMES = (*SECTIONS, "growth")
BUNDLE_DISK = 150 * MEGABYTE  # the bundle, its zip, and reports


def main() -> int:
    """Parse the arguments, measure, print; 1 where an answer was wrong."""
    options = _options()
    chosen = [name for name in NAMES if name in options.only] if options.only else list(NAMES)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        _require_disk(folder, chosen, options)
        try:
            if options.profile:
                entry = main_input(options.profile, folder, options.megabytes)
                print(f"{entry.name}, {options.profile}", flush=True)
                profile(entry, folder)
                return 0
            _run(chosen, folder, options)
        except WrongAnswer as problem:
            sys.stderr.write(f"{problem}\n")
            return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=1000, help="size of each input (default: 1000)")
    parser.add_argument("--only", nargs="+", action="extend", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--runs", type=int, default=3, help="runs of each command; the median is shown (default: 3)")
    parser.add_argument("--folder", type=Path, help="keep inputs here and use them again (default: a temporary folder)")
    parser.add_argument(
        "--largest", type=float, help="MB of the largest input of the growth part (default: MEGABYTES; 10000 for 10 GB)"
    )
    parser.add_argument(
        "--before", type=Path, metavar="PYTHON", help="measure the version that this Python has installed beside"
    )
    parser.add_argument("--markdown", type=Path, help="write the tables to a file, between its marks if it has them")
    parser.add_argument("--json", type=Path, help="write every run to a file")
    parser.add_argument("--plot", type=Path, help="draw the growth part as SVG")
    parser.add_argument(
        "--profile", choices=tuple(SECTIONS), metavar="NAME", help="print what costs most, and no table"
    )
    options = parser.parse_args()
    options.largest = options.largest or options.megabytes
    return options


def _require_disk(folder: Path, chosen: list[str], options: argparse.Namespace) -> None:
    """Exit where the inputs would not fit; a temporary folder holds one section's at a time."""
    needed = _needed(chosen, options)
    free = shutil.disk_usage(folder).free
    if free < needed:
        sys.exit(f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; choose another --folder")


def _needed(chosen: list[str], options: argparse.Namespace) -> float:
    """Bytes; two reports of a dense outage are counted as large as its log, each."""
    sizes = [DISK.get(name, 0.0) * options.megabytes * MEGABYTE for name in chosen]
    inputs = sum(sizes) if options.folder else max(sizes, default=0.0)
    growing = 1.2 * options.largest * MEGABYTE if "growth" in chosen else 0.0
    reports = 2 * options.megabytes * MEGABYTE if sizes else 0.0
    return max(inputs + reports, growing) + BUNDLE_DISK


def _run(chosen: list[str], folder: Path, options: argparse.Namespace) -> None:
    texts = {"machine": described(options.runs)}
    found: dict[str, Any] = {"machine": texts["machine"].splitlines(), "sections": []}
    print(texts["machine"], flush=True)
    for name in chosen:
        sys.stderr.write(f"{name} ...\n")
        if name == "growth":
            by_size, by_share, megabytes = growth.grown(folder, options.largest, options.runs)
            texts[name] = growth.tables(by_size, by_share, megabytes)
            found["growth"] = [
                {"what": curve.name, "points": [(value, *cost) for value, cost in curve.points]}
                for curve in (*by_size, *by_share)
            ]
            if options.plot:
                options.plot.write_text(growth.picture(by_size, by_share, megabytes), encoding="utf-8")
        else:
            section = measured(name, folder, options.megabytes, options.runs, options.before)
            texts[name] = tables.section(section)
            found["sections"].append(tables.data(section))
            if not options.folder:
                _empty(folder)
        print(f"\n{texts[name]}", flush=True)
        # After each section, so that a run of hours that ends early has not been for nothing.
        if options.markdown:
            tables.written(options.markdown, texts)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()


if __name__ == "__main__":
    sys.exit(main())
