r"""What a sound chunk of an EVTX file spans, read from its record heads without decoding it.

Most chunks of a large export hold nothing that is looked for. They are counted without being decoded: record ids,
event ids, first and last time, provider, channel and machine come out as they would after decoding.

Every record of a log that Windows wrote begins with the same template, which the chunk's first record defines in full:
``0F 01 01 00``, ``0C 01``, the template's id and place; behind the definition the number of values, four bytes for each
(size and type), then the values (MS-EVEN6 2.2.12.2.4; libyal, "Windows XML Event Log (EVTX)"). The same definition at
the same place means the same in every chunk, and the values that differ by record are numbers at known places.

A definition is not parsed but tried: numbers of our own are written into its first record, which ``evtx`` then decodes.
They must come out as event id, time and record id, and the definition itself must hold the three names. A chunk that is
not as described (damaged, ids with holes, a second template, a record without UserData or with a template in it) has no
span, and the caller accounts for it record by record.

Two things are assumed: that BinXML which passes the chunk's checksums can be decoded, and that the two copies of a
record's size agree. They fail only in a chunk that was edited and given new checksums; its records are counted like
their neighbors.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from zlib_ng.zlib_ng import crc32  # five times as fast as zlib's

from evtx_analyzer.read.evtx.chunk import ANY_ID, CHUNK_SIZE, HEADER_SIZE, MAGIC, RECORD_MAGIC

_HEADER = struct.Struct("<8sQQQQ8xII68xI")  # magic, numbers, ids, (sizes), free space, checksums of records and header
_RECORD = int.from_bytes(RECORD_MAGIC, "little")
_FRAME = 24  # bytes: magic, size, id, FILETIME
_PRELUDE = b"\x0f\x01\x01\x00\x0c\x01"  # and the template's id, and the place of its definition
_OPENING = 38  # bytes: frame and prelude
_DEFINITION = HEADER_SIZE + _OPENING
_KEY = struct.Struct("<6s4xII76s")  # prelude, (template's id), place, number of values, descriptors before UserData's
_LENGTH = struct.Struct("<20xI")  # (next definition, GUID), bytes that follow

# The values of Windows' System template by number: size and type (MS-EVEN6 2.2.12.5) of those that are used.
_VALUES = 20
_NUMBERS = ((3, 2, 0x06), (6, 8, 0x11), (10, 8, 0x0A))  # EventID, TimeCreated, EventRecordID
_USER_DATA, _BINXML, _BARE_ELEMENT = 19, 0x21, (0x01, 0x41)
_BODY = _FRAME + _KEY.size + 4  # where the values of a record begin, if it does not define a template itself
_MOST_KNOWN = 256  # definitions or keys; a real file has one or two

_PROBES = (("<H", 43_981), ("<Q", 133_000_000_123_456_780), ("<Q", 81_985_529_216_486_895))
_PROBED = tuple(
    re.compile(text)
    for text in (
        r"<EventID[^>]*>43981<",
        r'<TimeCreated SystemTime="2022-06-18T04:26:52\.345678',
        r"<EventRecordID>81985529216486895<",
    )
)
_NAMES = tuple(
    re.compile(text) for text in (r'<Provider Name="([^"&]+)"', r"<Channel>([^<&]+)<", r"<Computer>([^<&]+)<")
)
_CALENDAR = range(119_600_064_000_000_000, 157_469_184_000_000_000)  # FILETIME, 1980 to 2099


class Names(NamedTuple):
    """Provider, channel and machine of all records of a chunk."""

    provider: str
    channel: str
    host: str


class ChunkSpan(NamedTuple):
    """Record ids ``first`` to ``last`` without holes, with the time (FILETIME) and event id of each in order.

    ``shift`` is how far record ids are ahead of record numbers (see ``chunk``); ``earliest`` and ``latest`` are
    those of the times.
    """

    first: int
    last: int
    shift: int
    free: int
    names: Names
    times: list[int]
    event_ids: list[int]
    earliest: int
    latest: int


class _Layout(NamedTuple):
    """Where the numbers of records with the same key (prelude and descriptors) stand.

    ``unpack`` takes a buffer and a record's place in it, and returns magic, size, record id, key, size and type of
    UserData, event id, time, record id once more, and the first byte of UserData. That byte is ``body`` bytes into the
    record; ``places`` are those of event id, time and record id behind the descriptors.
    """

    unpack: Callable[[bytes | memoryview, int], tuple[Any, ...]]
    body: int
    places: tuple[int, ...]


class Spans:
    """The spans of the chunks of one file; keeps what it learned of definitions."""

    def __init__(
        self, countable: Callable[[str, str], bool], decode: Callable[[bytes], Iterator[tuple[int, str]]]
    ) -> None:
        """``countable`` is called with provider and channel; ``decode`` yields id and XML of a chunk's records."""
        self._countable, self._decode = countable, decode
        self._names: dict[bytes, Names | None] = {}

    def span(self, raw: memoryview) -> ChunkSpan | None:
        """Return what a chunk spans, as it stands in the file; None if it must be accounted for record by record."""
        if len(raw) < CHUNK_SIZE:
            return None
        magic, number, last_number, first, last, free, data_crc, header_crc = _HEADER.unpack_from(raw)
        if magic != MAGIC or not 0 < first <= last < ANY_ID.stop or last - first != last_number - number:
            return None
        if not _DEFINITION + _LENGTH.size < free <= CHUNK_SIZE or last - first > CHUNK_SIZE:
            return None
        if crc32(raw[128:HEADER_SIZE], crc32(raw[:120])) != header_crc or crc32(raw[HEADER_SIZE:free]) != data_crc:
            return None
        values = _DEFINITION + _LENGTH.size + _LENGTH.unpack_from(raw, _DEFINITION)[0]
        names = self._countable_names(raw, values)
        columns = self._columns(raw, range(first, last + 1), free, values) if names else None
        if names is None or columns is None:
            return None
        earliest, latest = min(columns[0]), max(columns[0])
        if earliest not in _CALENDAR or latest not in _CALENDAR:
            return None
        return ChunkSpan(first, last, first - number, free, names, *columns, earliest, latest)

    def _columns(self, raw: memoryview, ids: range, free: int, values: int) -> tuple[list[int], list[int]] | None:
        """Return times and event ids of all records in order; None if a record is not as expected."""
        times: list[int] = []
        event_ids: list[int] = []
        try:
            opening, size = _opening(raw, values)
            at = HEADER_SIZE + size if self._walk(opening, 0, ids[:1], times, event_ids) else None
            end = None if at is None else self._walk(raw, at, ids[1:], times, event_ids)
        except struct.error:
            return None
        # A record behind free space may be one that was being written.
        return (times, event_ids) if end == free and raw[free : free + 4] != RECORD_MAGIC else None

    def _walk(
        self, buffer: bytes | memoryview, at: int, ids: range, times: list[int], event_ids: list[int]
    ) -> int | None:
        """Add times and event ids of the records with these ids, and return where the last one ends.

        None where a record is not as expected. Every record of an export passes this loop, so it calls no function.
        """
        key = _key(buffer, at)
        layout = _layout(key)
        if layout is None:
            return None if ids else at
        unpack, body = layout.unpack, layout.body
        for number in ids:
            magic, size, record, same, length, kind, event_id, time, again, first = unpack(buffer, at)
            if same != key:
                key = same
                layout = _layout(key)
                if layout is None:
                    return None
                unpack, body = layout.unpack, layout.body
                magic, size, record, same, length, kind, event_id, time, again, first = unpack(buffer, at)
            if magic != _RECORD or not record == number == again or kind != _BINXML or not 0 < length <= size - body:
                return None
            if first not in _BARE_ELEMENT:
                return None
            times.append(time)
            event_ids.append(event_id)
            at += size
        return at

    def _countable_names(self, raw: memoryview, values: int) -> Names | None:
        """Return the names in a chunk's first definition, which ends at ``values``; None if it is not countable."""
        definition = bytes(raw[_DEFINITION:values])
        if definition not in self._names:
            if len(self._names) >= _MOST_KNOWN:
                self._names.clear()
            names = self._probed_names(raw, definition)
            self._names[definition] = names if names and self._countable(names.provider, names.channel) else None
        return self._names[definition]

    def _probed_names(self, raw: memoryview, definition: bytes) -> Names | None:
        """Return the names in a definition; None if numbers of our own, written into its record, do not come out."""
        values = _DEFINITION + len(definition)
        layout = _layout(_key(_opening(raw, values)[0], 0))
        if layout is None or values + layout.body > CHUNK_SIZE:
            return None
        probe = bytearray(raw)
        for (form, number), place in zip(_PROBES, layout.places, strict=True):
            struct.pack_into(form, probe, values + 4 + 4 * _VALUES + place, number)
        system = next((xml for _, xml in self._decode(bytes(probe))), "").partition("</System>")[0]
        if not all(pattern.search(system) for pattern in _PROBED):
            return None
        names = [match[1] for pattern in _NAMES if (match := pattern.search(system))]
        if len(names) != len(_NAMES) or any(name.encode("utf-16-le") not in definition for name in names):
            return None
        return Names(*names)


def _opening(raw: memoryview, values: int) -> tuple[bytes, int]:
    """Return the first record without the template's definition, like all others in the chunk, and its true size."""
    (size,) = struct.unpack_from("<I", raw, HEADER_SIZE + 4)
    body = bytes(raw[HEADER_SIZE + 8 : _DEFINITION]) + bytes(raw[values : HEADER_SIZE + size])
    return bytes(raw[HEADER_SIZE : HEADER_SIZE + 4]) + struct.pack("<I", len(body) + 8) + body, size


def _key(buffer: bytes | memoryview, at: int) -> bytes:
    return bytes(buffer[at + _FRAME : at + _FRAME + _KEY.size])


@lru_cache(maxsize=_MOST_KNOWN)
def _layout(key: bytes) -> _Layout | None:
    """Return where the numbers stand in records with this key; None if it is not that of Windows' template."""
    if len(key) < _KEY.size:
        return None
    prelude, place, count, descriptors = _KEY.unpack(key)
    if prelude != _PRELUDE or place != _DEFINITION or count != _VALUES:
        return None
    described = list(struct.iter_unpack("<HBx", descriptors))
    starts = [sum(size for size, _ in described[:number]) for number in range(_USER_DATA + 1)]
    if any(described[number] != (size, kind) for number, size, kind in _NUMBERS) or starts[-1] > CHUNK_SIZE // 2:
        return None
    event_id, time, record = (starts[number] for number, _, _ in _NUMBERS)
    gaps = f"{event_id}xH{time - event_id - 2}xQ{record - time - 8}xQ{starts[_USER_DATA] - record - 8}xB"
    form = struct.Struct(f"<IIQ8x{_KEY.size}sHBx{gaps}")
    return _Layout(form.unpack_from, form.size - 1, (event_id, time, record))
