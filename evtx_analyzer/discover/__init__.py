"""Paths to sources: files, folders and standard input, in a fixed order, each with a name relative to the input.

Knows containers, nothing of logs. The name of a source never holds a part of this machine's path: a single folder is
its own root, a single file is named alone, several inputs are named from the folder that holds them all.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import BinaryIO

from msgspec import Struct

from evtx_analyzer.errors import InputError

STDIN = "-"
_DIGITS = re.compile(r"(\d+)")


class Source(Struct, frozen=True, kw_only=True):
    """A named run of bytes that can be opened more than once; ``open`` gives a stream at its start."""

    path: str
    size: int
    open: Callable[[], BinaryIO]


def discover(inputs: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Every file below ``inputs``, sorted so that ``SEND-2`` comes before ``SEND-10``.

    A file that is named twice is one source. A missing path raises InputError.
    """
    wanted = [os.fspath(item) for item in inputs]
    if not wanted:
        raise InputError("no input: name a file, a folder, several of these, or - for standard input")
    paths = [Path(item) for item in wanted if item != STDIN]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path, and quote it if it holds blanks")
    root = _root(paths)
    found = {path.resolve(): path for top in paths for path in _files(top)}
    sources = [_file_source(path, root) for path in found.values()]
    if STDIN in wanted:
        sources.append(_stdin_source())
    return sorted(sources, key=lambda source: natural_key(source.path))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares digits as numbers and letters without case."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part.casefold()) for part in _DIGITS.split(name))


def _root(paths: Sequence[Path]) -> Path | None:
    """The folder that names are relative to; None where the inputs share none (two drives)."""
    tops = {path.resolve() if path.is_dir() else path.resolve().parent for path in paths}
    if len(tops) == 1:
        return next(iter(tops))
    try:
        return Path(os.path.commonpath([str(top) for top in tops])) if tops else None
    except ValueError:
        return None


def _files(top: Path) -> Iterator[Path]:
    if not top.is_dir():
        yield top
        return
    for folder, _, names in os.walk(top):
        for name in names:
            yield Path(folder) / name


def _file_source(path: Path, root: Path | None) -> Source:
    full = path.absolute() if path.is_symlink() else path.resolve()
    name = full.relative_to(root) if root is not None and full.is_relative_to(root) else _without_drive(full)
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return Source(path=PurePath(name).as_posix(), size=size, open=lambda: path.open("rb"))


def _without_drive(path: Path) -> PurePath:
    return path.relative_to(path.anchor)


def _stdin_source() -> Source:
    """Standard input is kept in memory: it can be read once only, and the pipeline reads a CAPI2 export twice."""
    content = sys.stdin.buffer.read()
    return Source(path="stdin", size=len(content), open=lambda: io.BytesIO(content))


def folders(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Sources by the folder that holds them, in order: sessions of a protocol log cross its files."""
    grouped: dict[str, list[Source]] = {}
    for source in sources:
        grouped.setdefault(PurePath(source.path).parent.as_posix(), []).append(source)
    return grouped
