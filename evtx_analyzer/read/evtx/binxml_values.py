"""The text of BinXML values, by type, as the ``evtx`` library writes it (types: MS-EVEN6 2.2.12, 2.2.19)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime

from Evtx.BinaryParser import ParseException
from Evtx.Nodes import NODE_TYPES as TYPE

from evtx_analyzer import clock


def scalar(kind: int, data: bytes) -> str:
    """Return the text of one value; empty if it has no bytes, whatever its type."""
    read = _SCALARS.get(kind)
    if read is None:
        raise ParseException(f"BinXML values of type {kind:02X} are not known")
    return read(data) if data else ""


def items(kind: int, data: bytes) -> list[str]:
    """Return the values of an array (MS-EVEN6 3.1.4.7.5): strings end in NUL, other types have a fixed size."""
    if kind == TYPE.WSTRING:
        return data.decode("utf-16-le", "replace").removesuffix("\0").split("\0")
    if kind not in SIZES:
        raise ParseException(f"BinXML arrays of type {kind:02X} are not known")
    size = SIZES[kind]
    return [scalar(kind, data[at : at + size]) for at in range(0, len(data), size)]


def _number(form: str) -> Callable[[bytes], str]:
    return lambda data: str(struct.unpack(form, data)[0])


def utf16(data: bytes) -> str:
    """Return the text up to the first NUL, with U+FFFD for what is not UTF-16."""
    return data.decode("utf-16-le", "replace").partition("\0")[0]


def _hexadecimal(data: bytes) -> str:
    return f"{int.from_bytes(data, 'little'):#x}"


def _float(data: bytes) -> str:
    # The shortest digits that mean the same 32 bits, as in evtx; Python's repr would show those of 64 bits.
    (number,) = struct.unpack("<f", data)
    digits = (f"{number:.{precision}g}" for precision in range(6, 10))
    return repr(float(next((text for text in digits if struct.pack("<f", float(text)) == data), number)))


def _guid(data: bytes) -> str:
    a, b, c, d, e = struct.unpack("<IHH2s6s", data)
    return f"{a:08X}-{b:04X}-{c:04X}-{d.hex()}-{e.hex()}".upper()


def _filetime(data: bytes) -> str:
    (ticks,) = struct.unpack("<Q", data)
    time = clock.from_filetime(ticks) if ticks else datetime(1601, 1, 1, tzinfo=UTC)
    return str(ticks) if time is None else _iso(time)


def _systemtime(data: bytes) -> str:
    year, month, _, day, hour, minute, second, milli = struct.unpack("<8H", data)
    return _iso(datetime(year, month, day, hour, minute, second, milli * 1000, tzinfo=UTC))


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _sid(data: bytes) -> str:
    """Return a SID (MS-DTYP 2.4.2.2): revision, count, 48-bit big-endian authority, little-endian sub-authorities."""
    authority = int.from_bytes(data[2:8], "big")
    subs = struct.unpack_from(f"<{data[1]}I", data, 8)
    return "-".join(map(str, ("S", data[0], authority, *subs)))


_NUMBERS = {
    TYPE.SIGNED_BYTE: "<b",
    TYPE.UNSIGNED_BYTE: "<B",
    TYPE.SIGNED_WORD: "<h",
    TYPE.UNSIGNED_WORD: "<H",
    TYPE.SIGNED_DWORD: "<i",
    TYPE.UNSIGNED_DWORD: "<I",
    TYPE.SIGNED_QWORD: "<q",
    TYPE.UNSIGNED_QWORD: "<Q",
    TYPE.DOUBLE: "<d",
}
_SCALARS: dict[int, Callable[[bytes], str]] = {kind: _number(form) for kind, form in _NUMBERS.items()} | {
    TYPE.NULL: lambda _: "",
    TYPE.WSTRING: utf16,
    TYPE.STRING: lambda data: data.decode("cp1252", "replace").partition("\0")[0],
    TYPE.FLOAT: _float,
    TYPE.BOOLEAN: lambda data: "true" if any(data) else "false",
    TYPE.BINARY: lambda data: data.hex().upper(),
    TYPE.GUID: _guid,
    TYPE.SIZE: _hexadecimal,
    TYPE.FILETIME: _filetime,
    TYPE.SYSTEMTIME: _systemtime,
    TYPE.SID: _sid,
    TYPE.HEX32: _hexadecimal,
    TYPE.HEX64: _hexadecimal,
}
SIZES: dict[int, int] = {kind: struct.calcsize(form) for kind, form in _NUMBERS.items()} | {
    TYPE.FLOAT: 4,
    TYPE.BOOLEAN: 4,
    TYPE.GUID: 16,
    TYPE.FILETIME: 8,
    TYPE.SYSTEMTIME: 16,
    TYPE.HEX32: 4,
    TYPE.HEX64: 8,
}
