"""Read 7z archives with py7zr: they are unpacked once, in their own order, into one temporary file without a name.

Their members are packed together, so that none of them can be unpacked without those before it.
"""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import py7zr
from py7zr.io import Py7zIO, WriterFactory

from evtx_analyzer.discover.archive.limits import GRACE, LimitError, Limits, Raw, reason
from evtx_analyzer.discover.archive.member import Entry, Found, slashes, unsafe

_IN_MEMORY = 16 << 20


def sevenzip_entries(file: BinaryIO, limits: Limits, password: bytes | None) -> Iterator[Found]:
    """Yield the members of a 7z archive; raises PasswordRequired where it is encrypted and there is no password."""
    packed = file.seek(0, io.SEEK_END)
    file.seek(0)
    with py7zr.SevenZipFile(file, password=password.decode() if password is not None else None) as archive:
        if archive.needs_password() and password is None:
            raise py7zr.exceptions.PasswordRequired
        links = {member.filename for member in archive.files if member.is_symlink or member.is_junction}
        infos = [info for info in archive.list() if not info.is_directory]
        wanted = {info.filename for info in infos if info.filename not in links and not unsafe(slashes(info.filename))}
        arena = _Arena(min(limits.total_bytes, max(GRACE, limits.ratio * packed)))
        fault = ""
        try:
            archive.extract(targets=wanted, factory=arena)
        except Exception as error:  # noqa: BLE001  the boundary of an archive: py7zr raises any kind on damage
            fault = reason(error)
    for info in infos:
        yield _entry(arena, info, fault, linked=info.filename in links, wanted=info.filename in wanted)
    if fault:
        yield fault


def _entry(arena: _Arena, info: py7zr.FileInfo, fault: str, *, linked: bool, wanted: bool) -> Entry:
    part = arena.parts.get(info.filename)
    own_fault = ""
    if linked:
        own_fault = "a link, which is not followed"
    elif wanted and info.uncompressed and (part is None or not part.length):
        own_fault = fault or "damaged: nothing of it could be unpacked"
    return Entry(
        name=info.filename,
        size=info.uncompressed,
        open=lambda: cast("Raw", _Runs(arena.file, part.runs if part is not None else ())),
        crc=info.crc32 if part is not None else None,
        fault=own_fault,
    )


class _Arena(WriterFactory):
    """The file into which members are unpacked, one after the other."""

    def __init__(self, most: int) -> None:
        self.file = cast("BinaryIO", SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115  closed with the arena
        self.parts: dict[str, _Part] = {}
        self.end, self._most = 0, most
        weakref.finalize(self, self.file.close).atexit = False

    def create(self, filename: str) -> Py7zIO:
        return self.parts.setdefault(filename, _Part(self))

    def append(self, data: bytes) -> int:
        if self.end + len(data) > self._most:
            raise LimitError("the archive unpacks to more than --max-ratio or --max-unpacked allow")
        self.file.seek(self.end)
        self.file.write(data)
        at, self.end = self.end, self.end + len(data)
        return at


class _Part(Py7zIO):
    """One member: runs of (offset in the arena, length)."""

    def __init__(self, arena: _Arena) -> None:
        self._arena = weakref.proxy(arena)
        self.runs: list[tuple[int, int]] = []
        self.length = 0

    def write(self, s: bytes | bytearray) -> int:
        at = self._arena.append(bytes(s))
        if self.runs and sum(self.runs[-1]) == at:
            self.runs[-1] = (self.runs[-1][0], self.runs[-1][1] + len(s))
        else:
            self.runs.append((at, len(s)))
        self.length += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        del size
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        del offset, whence
        return 0

    def flush(self) -> None:
        """Nothing is held back."""

    def size(self) -> int:
        return self.length


class _Runs:
    """The stream of a member, read from the arena."""

    def __init__(self, file: BinaryIO, runs: Iterable[tuple[int, int]]) -> None:
        self._file, self._runs = file, list(runs)

    def read(self, size: int = -1) -> bytes:
        if not self._runs:
            return b""
        at, length = self._runs[0]
        take = length if size < 0 else min(size, length)
        self._file.seek(at)
        data = self._file.read(take)
        self._runs[0] = (at + take, length - take)
        if take == length:
            del self._runs[0]
        return data

    def close(self) -> None:
        """Nothing to release: the arena belongs to the archive."""
