"""The commands that are measured: ours as a user runs it, peers on the same bytes, floors that only read them."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

from benchmarks.checking import check
from benchmarks.facts import Facts
from benchmarks.measuring import Entry

REPOSITORY = Path(__file__).parents[1]
OURS = "evtx-analyzer analyze"
_INSTALL = 'pip install -e ".[bench]"'
_RIPGREP = "not there: `apt-get install ripgrep`, `brew install ripgrep`, `winget install BurntSushi.ripgrep.MSVC`"
_DIGEST = (
    "import hashlib, pathlib, sys\n"
    "root = pathlib.Path(sys.argv[1])\n"
    "for p in [root] if root.is_file() else filter(pathlib.Path.is_file, root.rglob('*')):\n"
    "    with p.open('rb') as f: hashlib.file_digest(f, 'sha256')"
)
CODE = "5.7.64"
# python-evtx renders no CAPI2 record; what it needs to walk and fail is its time.
_PYTHON_EVTX = (
    "import sys, Evtx.Evtx as E\n"
    "n = 0\n"
    "with E.Evtx(sys.argv[1]) as f:\n"
    "    for n, r in enumerate(f.records(), 1):\n"
    "        try: r.xml()\n"
    "        except Exception: pass\n"
    "print(n)"
)
_LIBEVTX = (
    "import sys, pyevtx; f = pyevtx.file(); f.open(sys.argv[1])\n"
    "for n in range(f.number_of_records):\n"
    "    try: f.get_record(n).xml_string\n"
    "    except OSError: pass\n"
    "print(f.number_of_records)"
)
_EVTX = "import sys, evtx; print(sum(1 for _ in evtx.PyEvtxParser(sys.argv[1]).records()))"
_PANDAS = (
    "import sys, pandas; print(len(pandas.read_csv(sys.argv[1], sep=sys.argv[2], skiprows=int(sys.argv[3]), "
    "header=None, dtype=object, on_bad_lines='skip')))"
)
_POLARS = (
    "import sys, polars; print(len(polars.read_csv(sys.argv[1], separator=sys.argv[2], skip_rows=int(sys.argv[3]), "
    "has_header=False, infer_schema=False, truncate_ragged_lines=True)))"
)
_ZIP = (
    "import sys, zipfile\n"
    "with zipfile.ZipFile(sys.argv[1]) as z:\n"
    "    for n in z.namelist():\n"
    "        with z.open(n) as f:\n"
    "            while b := f.read(1 << 20): b.count(b'5.7.64')"
)


def ours(path: Path, facts: Facts, name: str = OURS, *, main: bool = True) -> Entry:
    """The whole analysis to a JSON report, in a process of its own; its answer is checked."""
    command = [sys.executable, "-m", "evtx_analyzer", "analyze", str(path), "--format", "json"]
    exits = (1,) if facts.rejections else (0,)
    return Entry(name, command, facts.size, exits=exits, ours=main, check=lambda report: check(report, facts))


def python(
    name: str, code: str, *arguments: object, size: int = 0, scale: float = 1.0, needs: str = "", prints: str = ""
) -> Entry:
    """Code in a Python process that needs a module."""
    missing = f"not there: `{_INSTALL}`" if needs and importlib.util.find_spec(needs) is None else ""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return Entry(name, command, size, scale=scale, missing=missing, prints=prints)


def _ripgrep(name: str, command: list[str], size: int, prints: str = "") -> Entry:
    """Ripgrep; it ends with 1 where it finds nothing."""
    missing = "" if shutil.which("rg") else _RIPGREP
    return Entry(name, ["rg", *command], size, exits=(0, 1), missing=missing, prints=prints)


def floors(path: Path, size: int) -> list[Entry]:
    """Programs that only read the bytes: no analysis can be faster, and ours states the digest of its inputs."""
    # Not sha256sum: on many systems it does not use the processor's own instructions, which Python's OpenSSL does.
    reading = 'find "$0" -type f -exec cat {} + > /dev/null'
    return [
        Entry("read (`cat` to the null device)", ["sh", "-c", reading, str(path)], size),
        python("digest (SHA-256, hashlib)", _DIGEST, path, size=size),
    ]


def ripgrep(path: Path, facts: Facts) -> Entry:
    """The code as text."""
    # In a folder with an export -a is needed, or the search of that would end at its first zero byte.
    options = ["-c", "-a", "-F"] if path.is_dir() else ["-c", "-F"]
    prints = str(facts.rejections) if facts.rejections and path.is_file() else ""
    return _ripgrep(f"ripgrep `{' '.join(options)} {CODE}`", [*options, CODE, str(path)], facts.size, prints)


def ripgrep_wide(path: Path, size: int) -> Entry:
    """The result of a failed check as CAPI2 files hold text: UTF-16LE."""
    pattern = "(?-u)" + "".join(rf"{letter}\x00" for letter in "800B0109")
    return _ripgrep("ripgrep, 800B0109 in UTF-16LE", ["-c", "-a", "--encoding", "none", pattern, str(path)], size)


def event_logs(path: Path, facts: Facts, part: Path, piece: Facts) -> list[Entry]:
    """Readers of EVTX that give all records as XML; python-evtx reads a part, for it would need minutes or hours."""
    name, scale = f"python-evtx, {piece.size / 1e6:.1f} MB, scaled", facts.size / piece.size
    whole, few, size = str(facts.records), str(piece.records), facts.size
    return [
        python("evtx, every record as XML", _EVTX, path, size=size, needs="evtx", prints=whole),
        python("libevtx, every record as XML", _LIBEVTX, path, size=size, needs="pyevtx", prints=whole),
        python(name, _PYTHON_EVTX, part, size=size, scale=scale, needs="Evtx", prints=few),
    ]


def tables(path: Path, facts: Facts, separator: str, skip: int) -> list[Entry]:
    """Readers of delimited text that give its columns and no more."""
    return [
        python(
            f"{name}, columns only", code, path, separator, skip, size=facts.size, needs=name, prints=str(facts.records)
        )
        for name, code in (("pandas", _PANDAS), ("polars", _POLARS))
    ]


def unzipped(path: Path, size: int) -> list[Entry]:
    """The content of a zip, unpacked as a stream and searched."""
    line = f"unzip -p {shlex.quote(str(path))} | rg -c -a -F {CODE}"
    missing = "" if shutil.which("unzip") and shutil.which("rg") else f"{_RIPGREP}, and `unzip`"
    return [
        Entry("`unzip -p` to ripgrep", ["sh", "-c", line], size, exits=(0, 1), missing=missing),
        python("zipfile (Python), counting", _ZIP, path, size=size),
    ]
