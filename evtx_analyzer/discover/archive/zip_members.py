"""Read zip archives by the directory at their end, or by their local headers where an upload was cut.

The format is that of APPNOTE.TXT 6.3.10 (PKWARE). A name is UTF-8 if bit 11 of the flags is set, else it is in an OEM
code page that the archive does not name. ``ZipFile.CreateFromDirectory`` before .NET 4.6.1 writes backslashes in names.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, BinaryIO

from evtx_analyzer.discover.archive.limits import GRACE, Limits, Raw
from evtx_analyzer.discover.archive.member import Entry, Found

if TYPE_CHECKING:
    import zipfile

OFFICE_DOCUMENT = "an Office document, not an archive of logs"
UNPACK = "unpack it with 7-Zip and give the folder"
ENCRYPTED = "encrypted; give its password with --password-file or in EVTX_ANALYZER_PASSWORD"
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_MAGIC, _DIRECTORY, _DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_LOCKED, _STREAMED, _UTF8 = 0x1, 0x8, 0x800
_STORED, _DEFLATED, _AES = 0, 8, 99
_READ = (_STORED, _DEFLATED, 12, 14)
_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd"}
_BLOCK = 64 * 1024
_SIZE_UNKNOWN = 0xFFFFFFFF


def is_zip(head: bytes) -> bool:
    """Return whether a file begins like a zip, an empty zip, or the first of several volumes."""
    return head.startswith((_MAGIC, b"PK\x05\x06", _DESCRIPTOR + _MAGIC))


def zip_entries(file: BinaryIO, limits: Limits, password: bytes | None) -> Iterator[Found]:
    """Yield the members by the directory; without one, a fault that says so, and the members by local headers."""
    import zipfile  # noqa: PLC0415  start-up cost: only where an archive is read

    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        yield f"the zip's directory is missing or damaged ({error}): members are read by their local headers"
        yield from local_entries(file, limits)
        return
    infos = archive.infolist()
    if any(info.filename == "[Content_Types].xml" for info in infos):
        yield OFFICE_DOCUMENT
        return
    for info in infos:
        if not info.is_dir() and not info.filename.endswith("\\"):
            yield _entry(archive, info, password)


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, password: bytes | None) -> Entry:
    name = info.filename if info.flag_bits & _UTF8 else oem_name(info.orig_filename.encode("cp437", "replace"))
    fault = _fault(info.compress_type, info.flag_bits, password)
    if stat.S_ISLNK(info.external_attr >> 16):
        fault = "a link, which is not followed"
    crc = info.CRC
    if not info.flag_bits & _LOCKED:
        # Where the checksum is wrong, zipfile loses the last block. Without one it does not check: MemberStream does.
        del info.CRC

    def opened() -> Raw:
        return archive.open(info, pwd=password if info.flag_bits & _LOCKED else None)

    return Entry(name=name, size=info.file_size, packed=info.compress_size, open=opened, crc=crc, fault=fault)


def _fault(method: int, flags: int, password: bytes | None) -> str:
    """Return why a member cannot be read, empty if it can."""
    if method == _AES:
        return f"encrypted with AES, which is not read; {UNPACK}"
    if method not in _READ:
        named = _METHODS.get(method, f"method {method}")
        return f"compressed with {named}, which is not read; {UNPACK}"
    return ENCRYPTED if flags & _LOCKED and password is None else ""


def oem_name(raw: bytes) -> str:
    """Return a name without the UTF-8 flag: as UTF-8 where valid, else by the first OEM page that makes letters."""
    for encoding in ("utf-8", "cp437", "cp850"):
        try:
            name = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or all(char.isascii() or char.isalpha() for char in name):
            return name
    return raw.decode("cp437")


# -------------------------------------------------------------------------------------------- without a directory


def local_entries(file: BinaryIO, limits: Limits) -> Iterator[Found]:
    """Yield the members of a zip that was cut, by their local headers, up to one whose end is not known."""
    position = 0
    while (header := _read_at(file, position, _LOCAL.size)).startswith(_MAGIC) and len(header) == _LOCAL.size:
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        raw = _read_at(file, position + _LOCAL.size, name_length + extra_length)
        start = position + _LOCAL.size + name_length + extra_length
        if _SIZE_UNKNOWN in (packed, size):
            packed, size = _zip64(raw[name_length:], packed, size)
        name = raw[:name_length].decode("utf-8", "replace") if flags & _UTF8 else oem_name(raw[:name_length])
        fault = _fault(method, flags, None)
        end: int | None = start + packed
        if flags & _STREAMED:
            end, crc, after = _streamed(file, start, method, limits) if not fault else (None, 0, None)
        else:
            after = end
        if not name.endswith(("/", "\\")):
            whole = None if end is None else end - start
            yield _local(file, name, start, whole, method, crc if after is not None else None, fault, size)
        if after is None:
            yield f"nothing behind {name} can be followed: its end is not in the file or not told"
            return
        position = after
    if not header.startswith(_DIRECTORY):
        yield "the file ends without the zip's directory; it was cut or is still being uploaded"


def _local(
    file: BinaryIO, name: str, start: int, packed: int | None, method: int, crc: int | None, fault: str, size: int
) -> Entry:
    if not fault and method not in (_STORED, _DEFLATED):
        fault = f"cannot be read without the zip's directory; {UNPACK}"
    return Entry(
        name=name, size=size, packed=packed, open=lambda: _Local(file, start, packed, method), crc=crc, fault=fault
    )


def _zip64(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """Return packed and unpacked size from the Zip64 field (id 1) of a local header, else as they are."""
    while len(extra) >= 4:  # noqa: PLR2004  id and length
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length >= 16:  # noqa: PLR2004  both sizes
            size, packed = struct.unpack_from("<QQ", extra, 4)
            break
        extra = extra[4 + length :]
    return packed, size


def _streamed(file: BinaryIO, start: int, method: int, limits: Limits) -> tuple[int | None, int, int | None]:
    """Return end of the data, checksum, and end of the descriptor of a member whose header has no size.

    The data must be unpacked to find its end. What is not found is None, and the checksum 0.
    """
    if method != _DEFLATED:
        return None, 0, None
    inflater, position, unpacked = zlib.decompressobj(-15), start, 0
    try:
        while not inflater.eof and (block := _read_at(file, position, _BLOCK)):
            position += len(block)
            unpacked += len(inflater.decompress(block))
            if unpacked > max(GRACE, limits.ratio * (position - start)):
                return None, 0, None
    except zlib.error:
        return None, 0, None
    if not inflater.eof:
        return None, 0, None
    end = position - len(inflater.unused_data)
    tail = _read_at(file, end, 24)
    skip = 4 if tail.startswith(_DESCRIPTOR) else 0
    crc = int.from_bytes(tail[skip : skip + 4], "little")
    # The signature of a descriptor is optional, and its two sizes have 4 bytes, in Zip64 8: what follows shows which.
    for sizes in (8, 16):
        after = tail[skip + 4 + sizes :][:4]
        if after in (_MAGIC, _DIRECTORY) or not after:
            return end, crc, end + skip + 4 + sizes
    after_descriptor = end + skip + 12
    following = _read_at(file, after_descriptor, 4)
    return end, crc, after_descriptor if following in (_MAGIC, _DIRECTORY, b"") else None


def _read_at(file: IO[bytes], position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


class _Local:
    """The stream of one member: ``packed`` bytes from ``start`` on, or up to the end of its data where that is None."""

    def __init__(self, file: BinaryIO, start: int, packed: int | None, method: int) -> None:
        self._file, self._position = file, start
        self._end = None if packed is None else start + packed
        self._inflater = zlib.decompressobj(-15) if method == _DEFLATED else None
        self._pending = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes, at most ``size``; raises EOFError where the data is cut."""
        if self._inflater is None:
            return self._stored(size)
        while not self._inflater.eof:
            block = self._pending or self._next(_BLOCK)
            if not block:
                raise EOFError("the data ends too early")
            part = self._inflater.decompress(block, size)
            self._pending = self._inflater.unconsumed_tail
            if part:
                return part
        return b""

    def _stored(self, size: int) -> bytes:
        part = self._next(size)
        if not part and self._end is not None and self._position < self._end:
            raise EOFError("the data ends too early")
        return part

    def _next(self, size: int) -> bytes:
        room = size if self._end is None else min(size, self._end - self._position)
        part = _read_at(self._file, self._position, room)
        self._position += len(part)
        return part

    def close(self) -> None:
        """Nothing to release: the file belongs to the archive."""
