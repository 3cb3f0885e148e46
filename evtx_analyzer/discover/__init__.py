"""Find the sources of an input: files, folders, archives, URLs and standard input, in a fixed order.

This folder knows containers and nothing about logs. The name of a source is relative to the input and never shows where
the input lies on this machine: a single folder is the root of its files, a single file has only its own name, and
several inputs are named from the folder that holds them all.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from evtx_analyzer.discover.archive.expand import Archives
from evtx_analyzer.discover.archive.limits import Limits
from evtx_analyzer.discover.remote import is_url, remote_sources
from evtx_analyzer.discover.source import Source, faulty
from evtx_analyzer.errors import InputError, is_unforeseen, unforeseen
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.origin import folder as folder_of
from evtx_analyzer.whole_files import is_part

__all__ = ["Limits", "Source", "discover", "files", "folders", "natural_key"]

Input = str | os.PathLike[str] | Source

STDIN = "-"
_NOT_LISTED = "members of it that are not listed"
_DIGITS = re.compile(r"([0-9]+)")


def discover(
    inputs: Sequence[Input],
    limits: Limits | None = None,
    password: bytes | None = None,
    leave_out: Collection[str | os.PathLike[str]] = (),
) -> list[Source]:
    """Return every file below ``inputs`` and every member of archives, sorted by ``natural_key``.

    A file that comes twice is one source. What cannot be read in an archive is a source with a fault. A missing path
    raises InputError. ``leave_out`` are files that are not input, such as the report of an earlier run.
    """
    archives = Archives(limits or Limits(), password)
    sources = [member for source in files(inputs, leave_out) for member in _members(archives, source)]
    return sorted(sources, key=lambda source: natural_key(source.path))


def _members(archives: Archives, source: Source) -> Iterator[Source]:
    """Yield the members of an archive, and any other source itself; what cannot be listed is a source with a fault."""
    try:
        yield from archives.expand(source)
    except OSError as error:
        yield faulty(source.origin, source.size, f"reading stopped: {error.strerror or error}", _NOT_LISTED)
    except BaseException as error:
        if not is_unforeseen(error):
            raise
        yield faulty(source.origin, source.size, unforeseen(source.path, error), _NOT_LISTED)


def files(inputs: Sequence[Input], leave_out: Collection[str | os.PathLike[str]] = ()) -> list[Source]:
    """Return every file below ``inputs``, archives as they are, and every ``Source`` among ``inputs``.

    A folder that cannot be listed, and a link to a folder (which could lead in circles), is a source with a fault.
    """
    ready = [source for source in inputs if isinstance(source, Source)]
    wanted = [os.fspath(name) for name in inputs if not isinstance(name, Source)]
    if not wanted and ready:
        return ready
    if not wanted:
        raise InputError("no input: name a file, a folder, several of these, or - for standard input")
    urls = [name for name in wanted if is_url(name)]
    paths = [Path(name) for name in wanted if name != STDIN and name not in urls]
    for path in paths:
        _require_input(path)
    root = _root(paths)
    unwanted = {real_path(path) for path in leave_out}
    walked = [(path, fault) for top in paths for path, fault in _files(top)]
    by_real_path = {real_path(path): path for path, fault in walked if not fault}
    sources = ready + [_file_source(path, root) for real, path in by_real_path.items() if real not in unwanted]
    sources += [faulty(_origin(path, root), 0, fault) for path, fault in walked if fault]
    sources += [source for url in urls for source in remote_sources(url)]
    if STDIN in wanted:
        sources.append(_stdin_source())
    return sorted(sources, key=lambda source: natural_key(source.path))


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return a path without links; one that leads in a circle, or is too long for the system, stays as it is.

    ``Path.resolve`` raises RuntimeError or OSError for these, and ``Path.is_dir`` for some of them.
    """
    return Path(os.path.realpath(path))


def _require_input(path: Path) -> None:
    """Raise InputError for a path that is not there or cannot be reached."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file or folder; check the path, and quote it if it holds blanks") from None
    except OSError as error:
        reason = f"{path}: the input cannot be opened ({error.strerror}); check the path and its rights"
        raise InputError(reason) from None


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that compares digits as numbers and letters without case: ``SEND-2`` before ``SEND-10``."""
    return tuple(_sortable(part) for part in _DIGITS.split(name))


def _sortable(part: str) -> tuple[int, int, str]:
    """Return the key of one part; digits compare by their count, then as text, for ``int`` refuses thousands."""
    if not _DIGITS.fullmatch(part):
        return (0, 0, part.casefold())
    digits = part.lstrip("0")
    return (1, len(digits), digits)


def _root(paths: Sequence[Path]) -> Path | None:
    """Return the folder to which names are relative; None where the inputs share none (two drives)."""
    tops = {real_path(path) if os.path.isdir(path) else real_path(path).parent for path in paths}
    if len(tops) == 1:
        return next(iter(tops))
    try:
        return Path(os.path.commonpath([str(top) for top in tops])) if tops else None
    except ValueError:
        return None


def _files(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file with an empty text, and every folder that is not walked with the reason."""
    if not os.path.isdir(top):
        yield top, ""
        return
    faults: list[OSError] = []
    for folder, below, names in os.walk(top, onerror=faults.append):
        for name in names:
            if not is_part(name):
                yield Path(folder) / name, ""
        for name in below:
            if os.path.islink(Path(folder) / name):
                yield Path(folder) / name, "a link to a folder, which is not followed"
    for error in faults:
        yield Path(error.filename), f"the folder cannot be read: {error.strerror}"


def _origin(path: Path, root: Path | None) -> Origin:
    full = path.absolute() if os.path.islink(path) else real_path(path)
    name = full.relative_to(root if root is not None and full.is_relative_to(root) else full.anchor).as_posix()
    # Python keeps undecodable bytes as surrogates, which cannot be written as UTF-8.
    return Origin(source=os.fsencode(name).decode("utf-8", "replace"))


def _file_source(path: Path, root: Path | None) -> Source:
    origin = _origin(path, root)
    try:
        status = path.stat()
    except OSError:
        return Source(origin=origin, size=0, open=lambda: path.open("rb"))
    if not stat.S_ISREG(status.st_mode):
        return faulty(origin, 0, "not a file that can be read to its end (a device or a pipe)")
    return Source(origin=origin, size=status.st_size, open=lambda: path.open("rb"))


def _stdin_source() -> Source:
    """Return standard input as a source in memory: it can be read only once, and the pipeline reads sources twice."""
    if sys.stdin is None:
        raise InputError("-: standard input is closed; name a file, or give one by < or a pipe")
    try:
        content = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"-: standard input cannot be read ({error.strerror or error})") from None
    return Source(origin=Origin(source="stdin"), size=len(content), open=lambda: io.BytesIO(content))


def folders(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Return the sources by the folder that holds them, in their order: sessions of a protocol log cross its files."""
    grouped: dict[str, list[Source]] = {}
    for source in sources:
        grouped.setdefault(folder_of(source.origin), []).append(source)
    return grouped
