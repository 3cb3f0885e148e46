r"""What a chunk of an EVTX file holds, counted without decoding it: ids, times and event ids of its records.

A chunk without the texts that are looked for need not be decoded, but the account of what an export covers must not
suffer. In the files that Windows writes every record begins with the same template, defined in full in the chunk's
first record: ``0F 01 01 00``, ``0C 01``, the template's id and place, and behind the definition the number of values,
four bytes for each (size and type), and the values (MS-EVEN6 2.2.12.2.4; libyal, "Windows XML Event Log (EVTX)"). So a
definition that was understood once is understood in every chunk where the same bytes stand at the same place, and the
values that differ by record are numbers at known places.

What a definition means is not parsed but tried: a copy of its first record is given numbers of our own and decoded by
``evtx``; they must come out as event id, time and record id, and the names of provider, channel and machine must stand
in the definition itself. Whatever is not as described here (a damaged chunk, another first record, ids with holes, a
record without UserData or with a template in it) is not counted, and the caller decodes the chunk. ``evtx_batches``
asks the same of many chunks at once.

What this rests on beyond that: BinXML that passes the chunk's checksum can be decoded. A record for which that is not
so (edited, with the checksum put right) is counted like its neighbors instead of being told as a loss.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model import CountedRecords, Origin
from evtx_analyzer.read.evtx_chunks import ANY_ID, CHUNK_SIZE, HEADER_SIZE, Chunk, Promise

MAGIC, RECORD_MAGIC, PRELUDE = b"ElfChnk\0", b"**\0\0", b"\x0f\x01\x01\x00\x0c\x01"
_HEADER = struct.Struct("<8sQQQQ8xI")  # magic, numbers, ids, (sizes), free space
_CHECKSUM, _RECORDS_CHECKSUM = struct.Struct("<124xI"), struct.Struct("<52xI")
_RECORD = struct.Struct("<4sIQQ6s4xI")  # magic, size, id, FILETIME, prelude, (template's id), place of its definition
_SIZE = struct.Struct("<I")
DEFINITION = HEADER_SIZE + _RECORD.size
RECORD_SIZE = _RECORD.size
LENGTH = struct.Struct("<20xI")  # (next definition, GUID), bytes that follow

# The values of Windows' System template by number: size and type (MS-EVEN6 2.2.12.5) of those that are used.
_VALUES = 20
_NUMBERS = ((3, 2, 0x06), (6, 8, 0x11), (10, 8, 0x0A))  # EventID, TimeCreated, EventRecordID
_USER_DATA, BINXML, BARE_ELEMENT = 19, 0x21, (0x01, 0x41)
FIXED = 4 + 4 * _USER_DATA  # bytes of count and descriptors before that of UserData
_DESCRIPTOR = struct.Struct("<HBx")
DESCRIPTOR_SIZE = _DESCRIPTOR.size
_FORMATS = (struct.Struct("<H"), struct.Struct("<Q"), struct.Struct("<Q"))

_PROBES = (43_981, 133_000_000_123_456_780, 81_985_529_216_486_895)
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
CALENDAR = range(119_600_064_000_000_000, 157_469_184_000_000_000)  # FILETIME, 1980 to 2099
Buffer = bytes | memoryview
Names = tuple[str, str, str]
"""Provider, channel and machine."""


class Layout:
    """Where the numbers of a record stand behind its descriptors, for one run of descriptors."""

    def __init__(self, places: list[int], user_data: int) -> None:
        first, second, third = places
        self.places, self.user_data = places, user_data
        self.numbers = struct.Struct(f"<{first}xH{second - first - 2}xQ{third - second - 8}xQ")


class Counter:
    """Counts the records of chunks of one file; keeps what it learned of definitions and descriptors."""

    def __init__(
        self, source: Origin, countable: Callable[[str, str], bool], decode: Callable[[bytes], list[str]]
    ) -> None:
        """``countable`` is asked for provider and channel; ``decode`` gives the XML of a chunk's first record."""
        self.source, self._countable, self._decode = source, countable, decode
        self._names: dict[bytes, Names | None] = {}
        self._layouts: dict[bytes, Layout | None] = {}

    def count(self, raw: bytes, offset: int) -> tuple[Chunk, CountedRecords] | None:
        """Account and count of a chunk as it stands in the file; None where it must be decoded."""
        promise = _sound(raw)
        if promise is None:
            return None
        values = DEFINITION + LENGTH.size + LENGTH.unpack_from(raw, DEFINITION)[0]
        names = self.names(raw, values)
        if names is None:
            return None
        found = self._numbers(raw, promise, values)
        if found is None:
            return None
        event_ids, ticks = found
        counts: dict[int, int] = {}
        for number in event_ids:
            counts[number] = counts.get(number, 0) + 1
        counted = CountedRecords(
            origin=replace(self.source, record=promise.ids[0], offset=offset + HEADER_SIZE),
            last_record=promise.ids[-1],
            provider=names[0],
            channel=names[1],
            host=names[2],
            first=clock.from_filetime(min(ticks)),
            last=clock.from_filetime(max(ticks)),
            event_ids=counts,
        )
        return Chunk(data=raw, promise=promise, heads=[], gaps=[], faults=[], whole=True), counted

    def names(self, raw: Buffer, values: int) -> Names | None:
        """What the definition in a chunk's first record says, which ends at ``values``; None if it is not countable."""
        definition = bytes(raw[DEFINITION:values])
        if definition not in self._names:
            names = self._tried(raw, definition)
            self._names[definition] = names if names is not None and self._countable(names[0], names[1]) else None
        return self._names[definition]

    def _tried(self, raw: Buffer, definition: bytes) -> Names | None:
        values = DEFINITION + len(definition)
        layout = self.layout(bytes(raw[values : values + FIXED]))
        if layout is None:
            return None
        probe = bytearray(raw)
        for form, at, number in zip(_FORMATS, layout.places, _PROBES, strict=True):
            form.pack_into(probe, values + 4 + 4 * _VALUES + at, number)
        texts = self._decode(bytes(probe))
        system = texts[0].partition("</System>")[0] if texts else ""
        if not all(pattern.search(system) for pattern in _PROBED):
            return None
        names = [found[1] for pattern in _NAMES if (found := pattern.search(system))]
        if len(names) != len(_NAMES) or any(name.encode("utf-16-le") not in definition for name in names):
            return None
        return (names[0], names[1], names[2])

    def _numbers(self, raw: bytes, promise: Promise, values: int) -> tuple[list[int], list[int]] | None:
        """Event ids and times (FILETIME) of all records, in order; None where one is not as expected."""
        event_ids, ticks, at, free = [], [], HEADER_SIZE, promise.free
        for number in promise.ids:
            if at + _RECORD.size > free:
                return None
            magic, size, identifier, _, prelude, definition = _RECORD.unpack_from(raw, at)
            end = at + size
            if magic != RECORD_MAGIC or identifier != number or prelude != PRELUDE or definition != DEFINITION:
                return None
            place = values if at == HEADER_SIZE else at + _RECORD.size
            layout = self.layout(raw[place : place + FIXED])
            if layout is None or not place < end <= free or _SIZE.unpack_from(raw, end - 4)[0] != size:
                return None
            place += FIXED
            if place + DESCRIPTOR_SIZE + layout.user_data >= end:
                return None
            length, kind = _DESCRIPTOR.unpack_from(raw, place)
            event_id, time, written = layout.numbers.unpack_from(raw, place + 4)
            body = place + 4 + layout.user_data
            if kind != BINXML or not length or body + length > end or raw[body] not in BARE_ELEMENT:
                return None
            if written != number or time not in CALENDAR:
                return None
            event_ids.append(event_id)
            ticks.append(time)
            at = end
        # A record behind free space may be one that was being written.
        return (event_ids, ticks) if at == free and raw[free : free + 4] != RECORD_MAGIC else None

    def layout(self, descriptors: bytes) -> Layout | None:
        """Where the numbers of records with such descriptors (their count and all before UserData's) stand."""
        if descriptors not in self._layouts:
            self._layouts[descriptors] = _layout_of(descriptors)
        return self._layouts[descriptors]


def _layout_of(descriptors: bytes) -> Layout | None:
    if len(descriptors) < FIXED or _SIZE.unpack_from(descriptors)[0] != _VALUES:
        return None
    described = list(_DESCRIPTOR.iter_unpack(descriptors[4:]))
    starts = [sum(size for size, _ in described[:number]) for number in range(_USER_DATA + 1)]
    if any(described[number] != (size, kind) for number, size, kind in _NUMBERS) or starts[-1] > CHUNK_SIZE // 2:
        return None
    return Layout([starts[number] for number, _, _ in _NUMBERS], starts[_USER_DATA])


def _sound(raw: bytes) -> Promise | None:
    """What the header of a whole chunk says, where both checksums agree and its ids run without holes."""
    if len(raw) < CHUNK_SIZE:
        return None
    magic, number, last_number, first, last, free = _HEADER.unpack_from(raw)
    if magic != MAGIC or not 0 < first <= last < ANY_ID.stop or last - first != last_number - number:
        return None
    if not DEFINITION + LENGTH.size < free <= CHUNK_SIZE or last - first > CHUNK_SIZE:
        return None
    if not intact(memoryview(raw), free):
        return None
    return Promise(ids=range(first, last + 1), shift=first - number, dense=True, free=free, trusted=True)


def intact(raw: memoryview, free: int) -> bool:
    """Whether both checksums of a chunk agree: of its header and of its records, which end at ``free``."""
    header = zlib.crc32(raw[128:HEADER_SIZE], zlib.crc32(raw[:120]))
    if (header,) != _CHECKSUM.unpack_from(raw):
        return False
    return (zlib.crc32(raw[HEADER_SIZE:free]),) == _RECORDS_CHECKSUM.unpack_from(raw)
