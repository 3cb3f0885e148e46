"""One executable file for machines without Python, made by PyInstaller and tried on the sample case.

    python packaging/single_file.py [--out DIR]

makes a virtual environment of its own, installs this checkout into it, writes DIR/evtx-analyzer (on Windows .exe) and
runs that file outside of the checkout. It runs on the system on which it was made: make the one for Windows on Windows.
Not in it: Parquet, Dask and cloud storage, which would more than double its size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "archives,msg,single-file"
WINDOWS = sys.platform == "win32"
UNUSED = ("distributed", "fsspec", "IPython", "matplotlib", "pyarrow", "pytest", "setuptools", "tkinter")


def main() -> int:
    """Build the file, try it, and say what it costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evtx-analyzer-single-file-", ignore_cleanup_errors=True) as folder:
        file = build(Path(folder), options.out.resolve())
        seconds = smoke_test(file, Path(folder))
    size = file.stat().st_size / 1e6
    sys.stdout.write(f"{file}: {size:.0f} MB; --version in {seconds[0]:.1f} s, the sample case in {seconds[1]:.1f} s\n")
    return 0


def build(work: Path, out: Path) -> Path:
    """Return the executable, made from an environment that holds nothing but the program and PyInstaller."""
    environment = work / "venv"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts/python.exe" if WINDOWS else "bin/python")
    run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{ROOT}[{EXTRAS}]"], ROOT)
    command = [python, "-m", "PyInstaller", "--onefile", "--name", "evtx-analyzer", "--log-level", "WARN"]
    command += ["--distpath", out, "--workpath", work / "work", "--specpath", work]
    command += ["--collect-all", "evtx_analyzer", "--collect-all", "sigma", "--copy-metadata", "pysigma"]
    command += [part for name in UNUSED for part in ("--exclude-module", name)]
    run([*command, ROOT / "packaging" / "start.py"], work)  # elsewhere: a checkout would hide what is installed
    return out / ("evtx-analyzer.exe" if WINDOWS else "evtx-analyzer")


def smoke_test(file: Path, work: Path) -> tuple[float, float]:
    """Run the file outside of the checkout; return the seconds of --version and of the sample case."""
    before = time.monotonic()
    run([file, "--version"], work)
    between = time.monotonic()
    sample = ROOT / "samples" / "kb-3212877"
    outputs = [work / name for name in ("report.json", "report.html", "report.csv")]
    run([file, "analyze", sample, *(part for output in outputs for part in ("-o", output))], work, status=1)
    after = time.monotonic()
    verdict = json.loads(outputs[0].read_text(encoding="utf-8"))["verdict"]
    if (verdict["cause"], verdict["grade"]) != ("missing-intermediate", "probable"):
        sys.exit(f"the single file says {verdict} of the sample case")
    run([file, "rules", "check"], work)
    run([file, "batch", sample, "-o", work / "batch"], work, status=1)
    if not (work / "batch" / "summary.html").is_file():
        sys.exit("the single file wrote no summary of a batch")
    return between - before, after - between


def run(command: Sequence[object], folder: Path, status: int = 0) -> None:
    """Run a command in a folder; ends the program with what it said where it ends with another status."""
    # The cache of rules of whoever builds is neither read nor written, and the modules of no other Python are found.
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603  commands of this file
        [str(part) for part in command],
        cwd=folder,
        env=without | {"EVTX_ANALYZER_NO_CACHE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}, not {status}:\n{done.stderr[-4000:]}")


if __name__ == "__main__":
    sys.exit(main())
