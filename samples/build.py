"""``python -m samples.build [CASE ...]`` writes the sample cases again, byte for byte; ``--check`` only compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from samples.cases import KB_CASES
from samples.causes import CAUSES
from samples.repairs import REPAIRS
from samples.stores import STORES
from samples.traces import TRACES

HERE = Path(__file__).parent
CASES = {**KB_CASES, **CAUSES, **REPAIRS, **STORES, **TRACES}


def main(arguments: list[str] | None = None) -> int:
    """Write or compare; 1 where a comparison finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m samples.build", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"one of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--check", action="store_true", help="compare with the files here and write nothing")
    parser.add_argument("--into", type=Path, default=HERE, help="folder to write to (default: samples)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.case if name not in CASES]
    if unknown:
        parser.error(f"there is no case {', '.join(unknown)}")
    different = [name for case in options.case or CASES for name in _build(case, options.into, check=options.check)]
    for name in different:
        print(f"{'differs' if options.check else 'written'}: {name}")
    return 1 if options.check and different else 0


def _build(case: str, into: Path, *, check: bool) -> list[str]:
    """Names of the files of a case that were not as they should be; they are written unless only checked."""
    changed = []
    for name, content in CASES[case]().items():
        path = into / case / name
        if path.exists() and path.read_bytes() == content:
            continue
        changed.append(f"{case}/{name}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return changed


if __name__ == "__main__":
    sys.exit(main())
