"""The kinds of archives: by which bytes each is recognized, and how its members are listed and opened.

To add a kind: one function here, one line in ``KINDS``. Sources: RFC 1952 (gzip), the bzip2 and xz file formats, POSIX
ustar (the checksum of a tar header), MS-CAB 2.3; zip and 7z have modules of their own.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import posixpath
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from evtx_analyzer.discover.archive.limits import GRACE, Limits, Raw, reason
from evtx_analyzer.discover.archive.mail_members import MAIL, is_mail, mail_entries
from evtx_analyzer.discover.archive.member import Entry, Found
from evtx_analyzer.discover.archive.zip_members import ENCRYPTED, UNPACK, is_zip, zip_entries
from evtx_analyzer.discover.source import View

if TYPE_CHECKING:
    import tarfile


Reader = Callable[[BinaryIO, str, Limits, bytes | None], Iterator[Found]]
"""Takes a file in which it can seek, its name, the limits and the password; yields members and faults."""

_MOST_CAB = 256 << 20
_TAR_HEADER, _CHECKSUM, _BINARY = 512, slice(148, 156), 0x80
_MISSING = "needs a library: pip install 'evtx-analyzer[archives]'; or unpack it and give the folder"


def _single(opener: Callable[[Any], object], suffix: str) -> Reader:
    """Return the reader of a single compressed file; its one member has the name of the file without the suffix."""

    def entries(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
        del limits, password
        stem, extension = posixpath.splitext(posixpath.basename(name))
        known = {suffix: stem, ".t" + suffix[1:]: stem + ".tar", ".tbz": stem + ".tar"}
        inner = known.get(extension.lower(), posixpath.basename(name))
        size = file.seek(0, io.SEEK_END)
        yield Entry(name=inner, size=size, packed=size, open=lambda: cast("Raw", opener(View(file))))

    return entries


def _is_tar(head: bytes) -> bool:
    # The checksum in the header is octal digits, or has its first bit set: most other files are ruled out here.
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

    # The default encoding is that of the machine: names would differ from one machine to the other.
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
    # tarfile takes a damaged header for the end of the archive: at the real end there are only zero bytes.
    file.seek(archive.offset)
    if count <= limits.members and file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        yield f"damaged: no member can be told from byte {archive.offset:,} on"


def _tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Entry:
    fault = "" if info.isreg() else "a link or a device, which is not followed"
    if info.issparse():
        fault = f"a sparse file, which is not read; {UNPACK}"
    return Entry(name=info.name, size=info.size, open=lambda: cast("Raw", archive.extractfile(info)), fault=fault)


def _7z(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    try:
        import py7zr  # noqa: PLC0415  of the extra ``archives``, and slow to import
    except ImportError:
        yield f"7z {_MISSING}"
        return
    from evtx_analyzer.discover.archive.sevenzip import sevenzip_entries  # noqa: PLC0415

    del name
    try:
        yield from sevenzip_entries(file, limits, password)
    except py7zr.exceptions.PasswordRequired:
        yield ENCRYPTED


def _cab(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    try:
        from cabarchive import CabArchive  # noqa: PLC0415  of the extra ``archives``
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
    """Return to how many bytes the data blocks of a cab unpack (MS-CAB 2.3: each CFDATA to at most 32 KiB)."""
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
    """Return the reader of a kind that is recognized and not read."""

    def entries(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
        del file, name, limits, password
        yield f"{what}, which is not read; {UNPACK}"

    return entries


# By magic number; then tar, which is recognized by a checksum only, and mail, by its first header.
KINDS: tuple[tuple[str, Callable[[bytes], bool], Reader], ...] = (
    ("zip", is_zip, lambda file, _, limits, password: zip_entries(file, limits, password)),
    ("gzip", lambda head: head.startswith(b"\x1f\x8b\x08"), _single(lambda file: gzip.GzipFile(fileobj=file), ".gz")),
    ("bzip2", lambda head: head.startswith(b"BZh") and head[4:10] == b"1AY&SY", _single(bz2.BZ2File, ".bz2")),
    ("xz", lambda head: head.startswith(b"\xfd7zXZ\0"), _single(lzma.LZMAFile, ".xz")),
    (
        "lzma",
        lambda head: head[:3] == b"\x5d\0\0" and head[11:13] in (b"\0\0", b"\xff\xff"),
        _single(lzma.LZMAFile, ".lzma"),
    ),
    ("7z", lambda head: head.startswith(b"7z\xbc\xaf\x27\x1c"), _7z),
    ("cab", lambda head: head.startswith(b"MSCF\0\0\0\0"), _cab),
    ("rar", lambda head: head.startswith(b"Rar!\x1a\x07"), _unread("a RAR archive")),
    ("zstd", lambda head: head.startswith(b"\x28\xb5\x2f\xfd"), _unread("compressed with Zstandard")),
    ("lz4", lambda head: head.startswith(b"\x04\x22\x4d\x18"), _unread("compressed with LZ4")),
    ("compress", lambda head: head.startswith((b"\x1f\x9d", b"\x1f\xa0")), _unread("compressed with compress (.Z)")),
    ("lzh", lambda head: head[2:5] == b"-lh" and head[6:7] == b"-", _unread("an LZH archive")),
    ("image", lambda head: head.startswith((b"MSWIM\0\0\0", b"vhdxfile", b"conectix")), _unread("a disk image")),
    ("tar", _is_tar, _tar),
    (MAIL, is_mail, mail_entries),
)  # fmt: skip


def archive_kind(head: bytes) -> str | None:
    """Return the kind of archive that begins with ``head`` (512 bytes, if it has so many); None if it is no archive."""
    return next((name for name, recognizes, _ in KINDS if recognizes(head)), None)
