"""``python -m tests.fuzz TARGET --minutes N`` tries changed inputs; ``--list`` names the targets, ``all`` is each."""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
import time
import traceback
from pathlib import Path

if "atheris" in sys.argv:
    import atheris

    # Before anything imports it: afterwards every function of every library would be instrumented, which takes minutes.
    with atheris.instrument_imports(include=["evtx_analyzer"]):
        import tests.fuzz.targets  # noqa: F401

from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS, Target, tried

_SLOW = 20.0  # seconds of processor time; the worst input of the corpus takes a tenth


def main() -> int:
    """Run what the command line asks for; 1 if any fault was found."""
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    asked.add_argument("target", nargs="?", default="all", choices=["all", *TARGETS])
    asked.add_argument("--minutes", type=float, default=1.0, help="for each target (default 1)")
    asked.add_argument("--inputs", type=int, default=0, help="stop after so many inputs of each target")
    asked.add_argument("--seed", type=int, default=0, help="the same seed tries the same inputs")
    asked.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for inputs that made faults")
    asked.add_argument("--engine", choices=["random", "atheris"], default="random")
    asked.add_argument("--list", action="store_true")
    asked.add_argument("--table", action="store_true", help="print the table of docs/reliability.md")
    options = asked.parse_args()
    if options.list:
        sys.stdout.write("".join(f"{name}\n" for name in TARGETS))
        return 0
    if options.table:
        from tests.fuzz.table import table

        sys.stdout.write(table(options.inputs or 100))
        return 0
    names = list(TARGETS) if options.target == "all" else [options.target]
    if options.engine == "atheris":
        guided(TARGETS[names[0]], options.minutes, options.found)
    faults = 0
    for name in names:
        count, distinct = fuzz(name, options.minutes * 60, options.inputs, options.seed, options.found)
        sys.stdout.write(f"{name}: {count} inputs, {len(distinct)} faults\n")
        sys.stdout.write("".join(f"  {line}\n" for line in sorted(distinct)))
        sys.stdout.flush()
        faults += len(distinct)
    return 1 if faults else 0


def fuzz(name: str, seconds: float, inputs: int, seed: int, folder: Path | None) -> tuple[int, dict[str, bytes]]:
    """How many inputs were tried, and the first input of each distinct fault, by its place."""
    target, chance = TARGETS[name], random.Random(f"{name} {seed}")
    seeds, found, count = target.seeds(), dict[str, bytes](), 0
    # Small inputs are read in less time, and a change in them meets more often what matters.
    weights = [1 / (2_000 + len(item)) for item in seeds]
    until = time.monotonic() + seconds
    while time.monotonic() < until and (not inputs or count < inputs):
        # First each input as it is, then changed ones.
        data = seeds[count] if count < len(seeds) else mutate(chance.choices(seeds, weights)[0], seeds, chance)
        began = time.process_time()
        error = tried(target, data)
        spent = time.process_time() - began
        count += 1
        fault = _place(error) if error is not None else f"took {spent:.0f} s" if spent > _SLOW else ""
        if fault and fault not in found:
            found[fault] = data
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
    return count, found


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "evtx_analyzer" in frame.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside"
    # One fault is told once, whichever number is in its words.
    return f"{type(error).__name__} at {where}: {re.sub(r'[0-9]+', 'N', str(error)[:100])}"


def guided(target: Target, minutes: float, folder: Path) -> None:
    """Let atheris guide the changes by coverage; it ends the process at the first fault, and writes the input down."""
    import atheris

    folder.mkdir(parents=True, exist_ok=True)
    seeds = folder / "corpus"
    seeds.mkdir(exist_ok=True)
    for content in target.seeds():
        (seeds / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)

    def once(data: bytes) -> None:
        error = tried(target, data)
        if error is not None:
            raise error

    limits = [f"-max_total_time={int(minutes * 60)}", f"-artifact_prefix={folder}/", "-timeout=60"]
    atheris.Setup([sys.argv[0], *limits, str(seeds)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
