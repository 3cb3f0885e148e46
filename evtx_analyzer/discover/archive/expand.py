"""Read archives as streams: zip, gz, bz2, xz, tar, 7z and cab, what is attached to mails, nested, with limits.

The name of a member is data, never a path to write to. Two things are unpacked into a temporary file without a name (in
memory up to 16 MiB): an archive inside an archive, for its reader must seek in it, and the members of a 7z, which can
only be unpacked from its start. A cab is unpacked in memory. ``formats`` lists the kinds.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing
from io import BytesIO
from typing import BinaryIO, cast

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.discover.archive.formats import KINDS, archive_kind
from evtx_analyzer.discover.archive.limits import Budget, LimitError, Limits, MemberStream, no_room, reason
from evtx_analyzer.discover.archive.mail_members import MAIL
from evtx_analyzer.discover.archive.member import Entry, Found, slashes, unsafe
from evtx_analyzer.discover.archive.zip_members import OFFICE_DOCUMENT, UNPACK
from evtx_analyzer.discover.source import Source, faulty
from evtx_analyzer.model.origin import Origin

_HEAD = 1024
_BLOCK = 1 << 20
_IN_MEMORY = 16 << 20
_KEPT_OPEN = 6
_COMPRESSED_ALONE = ("gzip", "bzip2", "xz")


class _Node(Struct, frozen=True):
    """A source that may be an archive: ``key`` is unique in the case, ``outer`` is the outermost file."""

    source: Source
    key: str
    depth: int
    outer: Source


class _Archive:
    """An open archive: its members by their unique names, and the faults of the archive as a whole."""

    def __init__(self, file: BinaryIO, contents: Iterable[Found], faults: list[str]) -> None:
        self.entries: dict[str, Entry] = {}
        self.faults = faults
        # The streams of its members keep the archive alive (``_let_go``); after the last one, the file is closed.
        # Not at exit: a thread of a cluster's worker may still be reading then.
        weakref.finalize(self, file.close).atexit = False
        try:
            for entry_or_fault in contents:
                if isinstance(entry_or_fault, Entry):
                    self.entries[self._unique(slashes(entry_or_fault.name))] = entry_or_fault
                else:
                    self.faults.append(entry_or_fault)
        except Exception as error:  # noqa: BLE001  the boundary of an archive: libraries raise any kind on damage
            self.faults.append(reason(error))

    def _unique(self, name: str) -> str:
        """Return a name that no member has yet: an archive may hold the same name several times."""
        number = 1
        unique = name
        while unique in self.entries:
            number += 1
            unique = f"{name}#{number}"
        return unique


class Archives:
    """The archives of one case; those that were used last stay open."""

    def __init__(self, limits: Limits, password: bytes | None) -> None:
        self._limits, self._password = limits, password
        self._budget = Budget(limits)
        self._open: OrderedDict[str, _Archive] = OrderedDict()

    def expand(self, source: Source) -> Iterator[Source]:
        """Yield the members of a source that is an archive, else the source itself."""
        yield from self._walk(_Node(source, source.path, 0, source))

    def _walk(self, node: _Node) -> Iterator[Source]:
        """Yield all sources of a node: of an archive its members, and theirs."""
        source = node.source
        head, fault = _head(source)
        kind = archive_kind(head)
        if kind is None:
            yield source if head else replace(source, fault=fault)
            return
        if kind == MAIL:
            yield source  # its own reader tells its faults
            if not self._archive(node, kind).entries:
                return
        if node.depth >= self._limits.depth:
            too_deep = f"{node.depth + 1} archives lie in each other (--max-depth); {UNPACK}"
            yield faulty(source.origin, source.size, too_deep)
            return
        archive = self._archive(node, kind)
        if archive.faults == [OFFICE_DOCUMENT]:
            yield source
            return
        if kind != MAIL:
            yield from _faults(source, archive)
        for name, entry in archive.entries.items():
            try:
                self._budget.enter(name)
            except LimitError as error:
                if "members" in str(error):
                    yield faulty(source.origin, source.size, f"stopped: {error}", "members of it that are not listed")
                    return
                yield faulty(_below(source.origin, name[:100] + "..."), entry.size, f"stopped: {error}")
                continue
            yield from self._member(node, kind, name, entry)

    def _member(self, node: _Node, kind: str, name: str, entry: Entry) -> Iterator[Source]:
        """Yield the sources of one member: itself, or what is in it where it is an archive."""
        origin = _below(node.source.origin, name)
        fault = entry.fault or unsafe(name)
        if fault:
            yield faulty(origin, entry.size, fault)
            return
        key = f"{node.key}!{name}"
        member = Source(
            origin=origin, size=entry.size, open=lambda: cast("BinaryIO", self._stream(node, kind, name, key))
        )
        if kind in _COMPRESSED_ALONE and archive_kind(_head(member)[0]) is not None:
            # ``logs.tar.gz!SRV1/SEND1.LOG``: the name in between, ``logs.tar``, is left out.
            member = replace(member, origin=node.source.origin)
        yield from self._walk(_Node(member, key, node.depth + 1, node.outer))

    def _stream(self, node: _Node, kind: str, name: str, key: str) -> MemberStream:
        archive = self._archive(node, kind)
        entry = archive.entries[name]

        def charge(position: int) -> None:
            self._budget.charge(key, position, entry.packed, node.outer.path, node.outer.size)

        stream = MemberStream(entry.open, charge, entry.crc)
        weakref.finalize(stream, _let_go, archive).atexit = False
        return stream

    def _archive(self, node: _Node, kind: str) -> _Archive:
        """Return the archive of a node, which is opened again where it was closed meanwhile."""
        archive = self._open.get(node.key)
        if archive is None:
            file, faults = self._seekable(node)
            reader = next(reader for name, _, reader in KINDS if name == kind)
            origin = node.source.origin
            name = (origin.member or origin.source).rpartition("!")[2]
            archive = _Archive(file, reader(file, name, self._limits, self._password), faults)
            self._open[node.key] = archive
            if len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(node.key)
        return archive

    def _seekable(self, node: _Node) -> tuple[BinaryIO, list[str]]:
        """Return a file in which the reader can seek, and the faults of unpacking it."""
        if not node.depth:
            return node.source.open(), []
        spool = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115  closed with its archive
        with closing(node.source.open()) as stream:
            try:
                while block := stream.read(_BLOCK):
                    spool.write(block)
            except OSError as error:  # of writing: what a member's stream cannot read is its failure
                return BytesIO(), [no_room(error)]
            failure = getattr(stream, "failure", "")
        spool.seek(0)
        return spool, [failure] if failure else []


def _faults(source: Source, archive: _Archive) -> Iterator[Source]:
    if archive.faults:
        extent = "members of it that are not listed" if archive.entries else "the whole archive"
        yield faulty(source.origin, source.size, "; ".join(archive.faults), extent)
    elif not archive.entries:
        yield faulty(source.origin, source.size, "an archive without any member")


def _let_go(archive: _Archive) -> None:
    """Do nothing: as the argument of a finalizer, the archive lives as long as the stream does."""


def _head(source: Source) -> tuple[bytes, str]:
    """Return the first bytes, or why there are none."""
    try:
        with closing(source.open()) as stream:
            return stream.read(_HEAD), getattr(stream, "failure", "")
    except OSError:
        # A file that cannot be opened becomes a loss when it is examined (``ingest/examine.py``).
        return b"", ""


def _below(origin: Origin, name: str) -> Origin:
    return replace(origin, member=name if origin.member is None else f"{origin.member}!{name}")
