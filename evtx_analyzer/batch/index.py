"""The index of the reports that a batch wrote, ``reports/index.jsonl``: one line for each, sorted at the end.

``--resume`` trusts a report only if its digest stands here. A bundle is not read again if its files still have the same
sizes, times and inodes. A file that was changed and got its old time back is seen only by its contents
(``--verify-contents``).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from evtx_analyzer.batch.bundles import Bundle
from evtx_analyzer.discover.remote import is_url, versions
from evtx_analyzer.errors import AnalyzerError, ReportError
from evtx_analyzer.report.document import Report, load
from evtx_analyzer.whole_files import write_whole

NAME = "index.jsonl"
# FAT keeps times to two seconds, so a file that was changed just now may change once more and keep its time.
_YOUNG_SECONDS = 2.0


class Record(Struct, frozen=True, kw_only=True):
    """A report that was written: ``files`` holds the SHA-256 of each of its files, by suffix.

    ``signature`` is a digest of size, times and inode of the bundle's files, empty if they could not be trusted;
    ``content`` of their names and contents; ``settings`` of everything else that decides what the report says.
    ``lang`` is the language of the readable files.
    """

    name: str
    signature: str
    content: str
    settings: str
    lang: str
    files: dict[str, str]


class Index:
    """The records of a folder of reports; each is written to the file as soon as it is added."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.records = {record.name: record for record in _read(self._path)}
        self._journal: IO[bytes] | None = None

    def add(self, record: Record) -> None:
        """Add the record of a report. Raises OSError if it cannot be written."""
        self.records[record.name] = record
        if self._journal is None:
            self._journal = self._path.open("ab")
        self._journal.write(msgspec.json.encode(record) + b"\n")
        self._journal.flush()

    def close(self) -> None:
        """Write the whole file again, sorted and with each report once."""
        if self._journal is not None:
            self._journal.close()
        lines = [msgspec.json.encode(self.records[name]) for name in sorted(self.records)]
        write_whole(self._path, b"".join(line + b"\n" for line in lines))


def _read(path: Path) -> Iterator[Record]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # the last line of a run that was killed; its bundle is done again


def believed(folder: Path, record: Record, settings: str) -> Report | None:
    """Return the report of an earlier run; None if its settings were others or its file has changed since."""
    path = folder / f"{record.name}.json"
    if record.settings != settings or digest_of(path) != record.files.get(".json"):
        return None
    try:
        return load(path)
    except ReportError:
        return None


def missing(folder: Path, record: Record, suffixes: Iterable[str]) -> tuple[str, ...]:
    """Return the suffixes whose files are gone or have changed since they were written."""
    # A file that cannot be read has the digest "", so the default must be another text.
    return tuple(
        suffix for suffix in suffixes if digest_of(folder / f"{record.name}{suffix}") != record.files.get(suffix, "-")
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def signature(bundle: Bundle) -> str:
    """Return a digest of size, times and inode of all files of a bundle; empty if it could not be trusted.

    It cannot if a file was changed just now, or if a remote store has no versions of its objects.
    """
    try:
        lines = sorted(line for name in bundle.inputs for line in (_remote(name) if is_url(name) else _local(name)))
    except (OSError, AnalyzerError, _UntrustedError):
        return ""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class _UntrustedError(Exception):
    """A file's time does not show whether it changes."""


def _local(name: str) -> Iterator[str]:
    if not os.path.isdir(name):
        yield _stamp(name)
        return
    for folder, _, names in os.walk(name):
        yield folder
        yield from (_stamp(f"{folder}/{file}") for file in names)


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116  a name, also of a link to nowhere
    except OSError:
        status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return f"{path}\0{status.st_mode}"
    if abs(time.time() - status.st_mtime) < _YOUNG_SECONDS:
        raise _UntrustedError
    # On POSIX ctime is the time of the last change of any kind, which nobody can put back; on Windows of the creation.
    changed = 0 if os.name == "nt" else status.st_ctime_ns
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{changed}\0{status.st_ino}"


def _remote(name: str) -> Iterator[str]:
    for url, version in versions(name):
        if not version:
            raise _UntrustedError
        yield f"{url}\0{version}"
