"""Archives as streams: zip, gz, bz2, xz, tar, 7z and cab, nested, with limits; no member is written to disk.

A member's name is data, never a path to write to. An archive inside an archive has to be sought in: it is unpacked into
a temporary file that has no name (in memory up to 16 MiB), and so are the members of 7z and cab, which can only be read
from their start. To add a kind: one function here, one line in ``KINDS``.
"""

from __future__ import annotations

import io
import posixpath
import re
import struct
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.discover.entries import Entry, Found
from evtx_analyzer.discover.limits import GRACE, Budget, LimitError, Limits, MemberStream, Raw, reason
from evtx_analyzer.discover.source import Source, faulty
from evtx_analyzer.discover.zips import ENCRYPTED, OFFICE_DOCUMENT, UNPACK, is_zip, zip_entries
from evtx_analyzer.model import Origin

if TYPE_CHECKING:
    import tarfile

_HEAD = 1024
_BLOCK = 1 << 20
_IN_MEMORY = 16 << 20
_KEPT_OPEN = 6
_MOST_CAB = 256 << 20
_TAR_HEADER, _CHECKSUM, _BINARY = 512, slice(148, 156), 0x80
_DRIVE = re.compile(r"[A-Za-z]:")
_MISSING = "needs a library: pip install 'evtx-analyzer[archives]'; or unpack it and give the folder"


# ------------------------------------------------------------------------------------------------- the kinds


def _single(opener: Callable[[IO[bytes]], Any], suffix: str) -> Reader:
    """The reader of a file that is compressed alone."""

    def entries(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
        del limits, password
        stem, found = posixpath.splitext(posixpath.basename(name))
        known = {suffix: stem, ".t" + suffix[1:]: stem + ".tar", ".tbz": stem + ".tar"}
        inner = known.get(found.lower(), posixpath.basename(name))
        size = file.seek(0, io.SEEK_END)
        yield Entry(
            name=inner, size=size, packed=size, open=lambda: cast("Raw", opener(cast("IO[bytes]", _Shared(file))))
        )

    return entries


def _gzip(file: IO[bytes]) -> object:
    import gzip  # noqa: PLC0415  start-up cost: only where an archive is read

    return gzip.GzipFile(fileobj=file)


def _bzip2(file: IO[bytes]) -> object:
    import bz2  # noqa: PLC0415  start-up cost: only where an archive is read

    return bz2.BZ2File(file)


def _xz(file: IO[bytes]) -> object:
    import lzma  # noqa: PLC0415  start-up cost: only where an archive is read

    return lzma.LZMAFile(file)


def _zip(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    del name
    return zip_entries(file, limits, password)


def _is_tar(head: bytes) -> bool:
    # A header has a checksum, as octal digits or with the first bit set: most files need no closer look.
    if len(head) < _TAR_HEADER or (head[_CHECKSUM].strip(b"01234567 \0") and head[_CHECKSUM.start] < _BINARY):
        return False
    import tarfile  # noqa: PLC0415  start-up cost: only where an archive is read

    try:
        tarfile.TarInfo.frombuf(head[:_TAR_HEADER], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _tar(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    del name, password
    import tarfile  # noqa: PLC0415  start-up cost: only where an archive is read

    # Without an encoding of its own a name in another one would depend on the machine that reads it.
    archive = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="replace")  # noqa: SIM115
    count = 0
    try:
        for info in archive:
            count += 1
            if count > limits.members + 1:
                break
            if not info.isdir():
                yield _tar_entry(archive, info)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        yield f"{reason(error)}; what stands behind its member {count} is not read"
        return
    # tarfile takes a damaged header for the end of the archive.
    file.seek(archive.offset)
    if count <= limits.members and file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        yield f"damaged: no member can be told from byte {archive.offset:,} on"


def _tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Entry:
    fault = "" if info.isreg() else "a link or a device, which is not followed"
    if info.issparse():
        fault = f"a sparse file, which is not read; {UNPACK}"
    return Entry(name=info.name, size=info.size, open=lambda: cast("Raw", archive.extractfile(info)), fault=fault)


def _7z(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    # An extra, and slow to import.
    try:
        import py7zr  # noqa: PLC0415
    except ImportError:
        yield f"7z {_MISSING}"
        return
    from evtx_analyzer.discover.sevenzip import sevenzip_entries  # noqa: PLC0415

    del name
    try:
        yield from sevenzip_entries(file, limits, password)
    except py7zr.exceptions.PasswordRequired:
        yield ENCRYPTED


def _cab(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    # An extra.
    try:
        from cabarchive import CabArchive  # noqa: PLC0415
    except ImportError:
        yield f"cab {_MISSING} (expand.exe -F:* FILE FOLDER on Windows)"
        return
    del name, password
    size = file.seek(0, io.SEEK_END)
    if size > _MOST_CAB:
        yield f"a cab of {size:,} bytes is too large to be read in memory; {UNPACK}"
        return
    file.seek(0)
    data = file.read()
    unpacked = _cab_size(data)
    if unpacked > min(limits.total_bytes, max(GRACE, limits.ratio * size)):
        yield f"stopped: unpacks to {unpacked:,} bytes, more than --max-ratio or --max-unpacked allow"
        return
    for inner, member in sorted(CabArchive(data).items()):
        content = member.buf or b""
        yield Entry(name=inner, size=len(content), open=lambda content=content: io.BytesIO(content))  # type: ignore[misc]


def _cab_size(data: bytes) -> int:
    """Sum of what the data blocks of a cab unpack to (MS-CAB 2.3: CFDATA is at most 32 KiB each)."""
    folders, _, flags = struct.unpack_from("<HHH", data, 26)
    position, in_folder, in_block, total = 36, 0, 0, 0
    if flags & 4:
        in_folder, in_block = data[38], data[39]
        position = 40 + struct.unpack_from("<H", data, 36)[0]
    for number in range(folders):
        at, blocks = struct.unpack_from("<IH", data, position + number * (8 + in_folder))
        for _ in range(blocks):
            packed, unpacked = struct.unpack_from("<HH", data, at + 4)
            total += unpacked
            at += 8 + in_block + packed
    return total


def _unread(what: str) -> Reader:
    def entries(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
        del file, name, limits, password
        yield f"{what}, which is not read; {UNPACK}"

    return entries


Reader = Callable[[BinaryIO, str, Limits, bytes | None], Iterator[Found]]
# By magic number; tar, which has a checksum only, stands last.
KINDS: tuple[tuple[str, Callable[[bytes], bool], Reader], ...] = (
    ("zip", is_zip, _zip),
    ("gzip", lambda head: head.startswith(b"\x1f\x8b\x08"), _single(_gzip, ".gz")),
    ("bzip2", lambda head: head.startswith(b"BZh") and head[4:10] == b"1AY&SY", _single(_bzip2, ".bz2")),
    ("xz", lambda head: head.startswith(b"\xfd7zXZ\0"), _single(_xz, ".xz")),
    ("7z", lambda head: head.startswith(b"7z\xbc\xaf\x27\x1c"), _7z),
    ("cab", lambda head: head.startswith(b"MSCF\0\0\0\0"), _cab),
    ("rar", lambda head: head.startswith(b"Rar!\x1a\x07"), _unread("a RAR archive")),
    ("zstd", lambda head: head.startswith(b"\x28\xb5\x2f\xfd"), _unread("compressed with Zstandard")),
    ("tar", _is_tar, _tar),
)  # fmt: skip
_COMPRESSED_ALONE = ("gzip", "bzip2", "xz")


def archive_kind(head: bytes) -> str | None:
    """Name of the kind of archive that begins with ``head`` (at least 512 bytes where it has them), or None."""
    return next((name for name, recognizes, _ in KINDS if recognizes(head)), None)


# -------------------------------------------------------------------------------------------------- the walk


class _Node(Struct, frozen=True, kw_only=True):
    """A run of bytes that may be an archive: ``key`` is unique in the case, ``outer`` the file that holds it."""

    origin: Origin
    key: str
    size: int
    open: Callable[[], BinaryIO]
    depth: int
    outer: str
    outer_size: int


class _Archive:
    """An archive that is open: members by their safe names, faults of the whole."""

    def __init__(self, file: BinaryIO, found: Iterable[Found], faults: list[str]) -> None:
        self.entries: dict[str, Entry] = {}
        self.faults = faults
        # Streams of members keep the archive alive; when the last one goes, the file is closed.
        # Not at exit: a thread of a cluster's worker may still be reading then.
        weakref.finalize(self, file.close).atexit = False
        try:
            for item in found:
                if isinstance(item, Entry):
                    self.entries[self._unique(_slashes(item.name))] = item
                else:
                    self.faults.append(item)
        except Exception as error:  # noqa: BLE001  the boundary of an archive: libraries raise any kind on damage
            self.faults.append(reason(error))

    def _unique(self, name: str) -> str:
        number = 1
        unique = name
        while unique in self.entries:
            number += 1
            unique = f"{name}#{number}"
        return unique


class Archives:
    """The archives of one case; the last few that were used are kept open."""

    def __init__(self, limits: Limits, password: bytes | None) -> None:
        self._limits, self._password = limits, password
        self._budget = Budget(limits)
        self._open: OrderedDict[str, _Archive] = OrderedDict()

    def expand(self, source: Source) -> Iterator[Source]:
        """The members of a source that is an archive, or the source itself."""
        path = source.path
        yield from self._walk(
            _Node(
                origin=source.origin,
                key=path,
                size=source.size,
                open=source.open,
                depth=0,
                outer=path,
                outer_size=source.size,
            )
        )

    def _walk(self, node: _Node) -> Iterator[Source]:
        head, fault = _head(node)
        kind = archive_kind(head)
        if kind is None:
            yield Source(origin=node.origin, size=node.size, open=node.open, fault="" if head else fault)
            return
        if node.depth >= self._limits.depth:
            yield faulty(node.origin, node.size, f"{node.depth + 1} archives lie in each other (--max-depth); {UNPACK}")
            return
        archive = self._archive(node, kind)
        if archive.faults == [OFFICE_DOCUMENT]:
            yield Source(origin=node.origin, size=node.size, open=node.open)
            return
        if archive.faults:
            extent = "members of it that are not listed" if archive.entries else "the whole archive"
            yield faulty(node.origin, node.size, "; ".join(archive.faults), extent)
        elif not archive.entries:
            yield faulty(node.origin, node.size, "an archive without any member")
        for name, entry in archive.entries.items():
            try:
                self._budget.enter(name)
            except LimitError as error:
                if "members" in str(error):
                    yield faulty(node.origin, node.size, f"stopped: {error}", "members of it that are not listed")
                    return
                yield faulty(_below(node, name[:100] + "..."), entry.size, f"stopped: {error}")
                continue
            yield from self._member(node, kind, name, entry)

    def _member(self, node: _Node, kind: str, name: str, entry: Entry) -> Iterator[Source]:
        origin = _below(node, name)
        fault = entry.fault or _unsafe(name)
        if fault:
            yield faulty(origin, entry.size, fault)
            return
        key = f"{node.key}!{name}"
        child = replace(
            node,
            origin=origin,
            key=key,
            size=entry.size,
            open=lambda: cast("BinaryIO", self._stream(node, kind, name, key)),
            depth=node.depth + 1,
        )
        if kind in _COMPRESSED_ALONE and archive_kind(_head(child)[0]) is not None:
            # ``logs.tar.gz!SRV1/SEND1.LOG``: the name in between tells nothing.
            child = replace(child, origin=node.origin)
        yield from self._walk(child)

    def _stream(self, node: _Node, kind: str, name: str, key: str) -> MemberStream:
        archive = self._archive(node, kind)
        entry = archive.entries[name]

        def opened() -> Raw:
            return entry.open()

        def charge(position: int) -> None:
            self._budget.charge(key, position, entry.packed, node.outer, node.outer_size)

        stream = MemberStream(opened, charge, entry.crc)
        weakref.finalize(stream, _let_go, archive).atexit = False
        return stream

    def _archive(self, node: _Node, kind: str) -> _Archive:
        """The archive of a node, opened again where it is not among the last few."""
        archive = self._open.get(node.key)
        if archive is None:
            file, faults = self._seekable(node)
            reader = next(reader for name, _, reader in KINDS if name == kind)
            name = (node.origin.member or node.origin.source).rpartition("!")[2]
            archive = _Archive(file, reader(file, name, self._limits, self._password), faults)
            self._open[node.key] = archive
            if len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(node.key)
        return archive

    def _seekable(self, node: _Node) -> tuple[BinaryIO, list[str]]:
        if not node.depth:
            return node.open(), []
        from tempfile import SpooledTemporaryFile  # noqa: PLC0415  start-up cost: only where an archive is read

        spool = cast("BinaryIO", SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115  closed with its archive
        with closing(node.open()) as stream:
            while block := stream.read(_BLOCK):
                spool.write(block)
            failure = getattr(stream, "failure", "")
        spool.seek(0)
        return spool, [failure] if failure else []


def _let_go(archive: _Archive) -> None:
    """Hold an archive until the stream that this finalizer belongs to is gone."""


def _head(node: _Node) -> tuple[bytes, str]:
    """The first bytes, and why there are none."""
    try:
        with closing(node.open()) as stream:
            return stream.read(_HEAD), getattr(stream, "failure", "")
    except OSError:
        # A file that cannot be opened is told when it is examined.
        return b"", ""


def _below(node: _Node, name: str) -> Origin:
    inside = node.origin.member
    return Origin(source=node.origin.source, member=name if inside is None else f"{inside}!{name}")


def _slashes(name: str) -> str:
    """A member's name with forward slashes and without what no encoding can write."""
    name = name.replace("\\", "/").removeprefix("./")
    return name.encode("utf-8", "replace").decode()


def _unsafe(name: str) -> str:
    """Why a name could lead out of a folder; nothing is ever written, but who packs such names means harm."""
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        return "its name leads out of the archive's folder; it is not read"
    return "" if name.strip() else "it has no name"


class _Shared:
    """A view of a file with a position of its own, for readers that never seek."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._position = file, 0

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
