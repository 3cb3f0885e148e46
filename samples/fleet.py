"""Many bundles made of the sample cases, packed in the ways in which they arrive; for tests and benchmarks of batch.

``python -m samples.fleet FOLDER [COUNT]`` writes them.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from samples.build import CASES
from samples.cases import Files

PACKINGS = ("folder", "zip", "tar.gz", "collector")
DAMAGES = 5


def write_fleet(into: Path, count: int, *, damaged: int = 0, killers: int = 0) -> list[str]:
    """Write ``count`` bundles, of which some are damaged and some are named ``killer``; gives their names."""
    into.mkdir(parents=True, exist_ok=True)
    cases = {name: make() for name, make in CASES.items()}
    names = list(cases)
    written = []
    for number in range(count - damaged - killers):
        case = names[number % len(names)]
        packing = PACKINGS[number // len(names) % len(PACKINGS)]
        # A line of its own makes every bundle another one.
        files = {**cases[case], "note.txt": f"bundle {number}\n".encode()}
        written.append(_write(into, f"{number:05d}-{case}", packing, files))
    written += [_damage(into, number, cases[names[0]]) for number in range(damaged)]
    written += [_write(into, f"killer-{number}", "zip", cases[names[0]]) for number in range(killers)]
    return sorted(written)


def zipped(files: Files) -> bytes:
    """A zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _tarred(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _collected(files: Files) -> bytes:
    """A zip as ExchangeLogCollector writes it: each folder a zip of its own; CAPI2 was added by hand."""
    outer: Files = {}
    for name, content in files.items():
        folder, _, last = name.rpartition("/")
        known = {"SmtpSend": "Hub_Send_Protocol_Logs.zip"}.get(folder)
        outer[known or name] = zipped({last: content}) if known else content
    return zipped(outer)


def _write(into: Path, name: str, packing: str, files: Files) -> str:
    if packing == "folder":
        for inner, content in files.items():
            path = into / name / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return name
    pack = {"zip": zipped, "tar.gz": _tarred, "collector": _collected}[packing]
    suffix = "tar.gz" if packing == "tar.gz" else "zip"
    (into / f"{name}.{suffix}").write_bytes(pack(files))
    return f"{name}.{suffix}"


def _damage(into: Path, number: int, files: Files) -> str:
    """Bundles of which nothing can be read (0, 1, 2) and some of which a part can (3, 4)."""
    whole = zipped({**files, "note.txt": f"damaged {number}\n".encode()})
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: b"PK\x03\x04" + b"\xff" * 500,
        lambda: whole[:30],
        lambda: whole[: len(whole) * 3 // 4],
        lambda: whole.replace(b"PK\x01\x02", b"XX\x01\x02"),
    )
    name = f"damaged-{number}.zip"
    (into / name).write_bytes(kinds[number % DAMAGES]())
    return name


def main(arguments: list[str] | None = None) -> int:
    """Write a fleet from the command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.fleet", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    options = parser.parse_args(arguments)
    print(f"{len(write_fleet(options.folder, options.count, damaged=DAMAGES))} bundles in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
