"""Writes Windows event XML as an EVTX file, in the shape that real CAPI2 Operational exports have.

Public material holds no .evtx with the event this project is about, so its samples are made, and made so that the
same input gives the same bytes. Sources of the format: libyal, "Windows XML Event Log (EVTX)" format documentation;
[MS-EVEN6] 2.2.12 (BinXml); and a token by token reading of 799 records in 29 chunks of two real CAPI2 exports. Those
exports, read as XML and written here, come out with the bytes that Windows wrote, except for the GUIDs of templates
and what Windows leaves in unused places. What they showed beyond the documentation:

- ``System`` is a template with substitutions 0..19; provider, channel and computer are plain text inside it;
- ``UserData`` is optional substitution 19 of type BinXml. Its value begins with the element itself: no fragment
  header, no template, no dependency ids;
- a name stands at its first use in a chunk and is an offset afterwards; both hash tables chain the newest first;
- ``"`` ``&`` ``<`` ``>`` ``'`` are entity references between value tokens; only an attribute's value must end with a
  value token, if need be an empty one.

``EventData`` (other channels) is substitution 19 directly below ``Event``: a fragment with a template of its own. The
chunk of a log without events follows A. Schuster, "Evtx Chunk Header" (2007). For these two, readers agree but no real
file was at hand to compare with.

An event comes back from a reader as it went in, or it is refused with a ``ValueError``. Refused on purpose: text
beside child elements, attributes with a namespace, elements and attributes that ``System`` of a CAPI2 event does not
have, ``EventData`` other than ``Data`` with an optional ``Name``, identifiers that do not rise. Not kept: comments,
white space between elements, prefixes of namespaces. Not written at all: CDATA, character references, typed values
in ``UserData``, and the leftovers of older records that real files carry behind the last one.
"""

from __future__ import annotations

import re
import struct
import uuid
import zlib
from typing import TYPE_CHECKING

from samples.event_records import EVENT_NAMESPACE, STRING, Element, Filled, Record, Slot, record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILE_HEADER_SIZE = 4096
CHUNK_SIZE = 65536
CHUNK_HEADER_SIZE = 512

_MORE = 0x40  # flag of a token: an element with attributes, an attribute or piece of text that is not the last
_RECORD_MAGIC = int.from_bytes(b"**\0\0", "little")
_FRAGMENT_HEADER = b"\x0f\x01\x01\x00"
_NO_DEPENDENCY = 0xFFFF
_ENTITIES = {'"': "quot", "&": "amp", "<": "lt", ">": "gt", "'": "apos"}


# The whole file


def write_evtx(
    events: Iterable[str],
    *,
    oldest_chunk: int = 0,
    file_chunks: int = 0,
    dirty: bool = False,
    minor_version: int = 1,
) -> bytes:
    """Events, oldest first, as the bytes of an EVTX file; without events, the file of a channel never enabled.

    ``oldest_chunk`` is the place of the oldest chunk in a log that has wrapped. ``file_chunks`` lengthens the file
    with zero bytes to that many chunks (16 for the 1 MiB of a CAPI2 log). ``dirty`` sets the header's flag of a log
    that was not closed. ``minor_version`` is 1, from Windows 11 on 2.
    """
    chunks = list(_chunks(map(record_of, events))) or [_Chunk(1)]
    if not 0 <= oldest_chunk < len(chunks):
        raise ValueError(f"oldest_chunk is {oldest_chunk}, there are {len(chunks)} chunks")
    if oldest_chunk and file_chunks > len(chunks):
        raise ValueError(f"a log of {len(chunks)} chunks has not wrapped while its file has room for {file_chunks}")
    sealed = [chunk.sealed() for chunk in chunks]
    placed = sealed[-oldest_chunk:] + sealed[:-oldest_chunk] if oldest_chunk else sealed
    header = _file_header(len(chunks), oldest_chunk, chunks[-1].last_identifier + 1, minor_version, dirty=dirty)
    return header + b"".join(placed) + bytes(CHUNK_SIZE * max(0, file_chunks - len(chunks)))


def _file_header(chunks: int, oldest: int, next_identifier: int, minor_version: int, *, dirty: bool) -> bytes:
    newest = (oldest - 1) % chunks
    fields = (b"ElfFile\0", oldest, newest, next_identifier, 128, minor_version, 3, FILE_HEADER_SIZE, chunks)
    start = struct.pack("<8sQQQIHHHH", *fields).ljust(120, b"\0")
    return (start + struct.pack("<II", dirty, zlib.crc32(start))).ljust(FILE_HEADER_SIZE, b"\0")


def _chunks(records: Iterable[Record]) -> Iterator[_Chunk]:
    chunk: _Chunk | None = None
    for record in records:
        if chunk is None:
            chunk = _Chunk(record.identifier)
        elif record.identifier <= chunk.last_identifier:
            raise ValueError(f"EventRecordID {record.identifier} does not rise above {chunk.last_identifier}")
        if not chunk.add(record):
            yield chunk
            chunk = _Chunk(chunk.next_number)
            if not chunk.add(record):
                raise ValueError(f"event {record.identifier} is larger than a chunk")
    if chunk is not None:
        yield chunk


class _Chunk:
    """64 KiB with name and template tables of its own; every offset counts from its beginning.

    Record numbers run on without gaps from the first event's identifier, as they do in a whole channel, where
    number and identifier are the same.
    """

    def __init__(self, first_number: int) -> None:
        self.first_number = self.next_number = first_number
        self.identifiers: list[int] = []
        self.last_record = 0
        self.data = bytearray(CHUNK_HEADER_SIZE)
        self.names: dict[str, int] = {}
        self.name_buckets = [0] * 64
        self.templates: dict[Element, int] = {}
        self.template_buckets = [0] * 32

    @property
    def last_identifier(self) -> int:
        return self.identifiers[-1] if self.identifiers else 0

    def add(self, record: Record) -> bool:
        """Write a record; or take it back, names and templates included, and say no: then the chunk is complete."""
        start = len(self.data)
        before = self.name_buckets.copy(), self.template_buckets.copy()
        _write_record(self, record)
        if len(self.data) > CHUNK_SIZE:
            del self.data[start:]
            self.name_buckets, self.template_buckets = before
            return False
        self.last_record = start
        self.identifiers.append(record.identifier)
        self.next_number += 1
        return True

    def sealed(self) -> bytes:
        """The chunk with its header and both checksums, filled up to 64 KiB."""
        numbers = (self.first_number, *[2**64 - 1] * 3)
        if self.identifiers:
            numbers = (self.first_number, self.next_number - 1, self.identifiers[0], self.identifiers[-1])
        records = zlib.crc32(self.data[CHUNK_HEADER_SIZE:])
        start = struct.pack("<8sQQQQIIII", b"ElfChnk\0", *numbers, 128, self.last_record, len(self.data), records)
        start = start.ljust(120, b"\0")
        tables = struct.pack("<64I32I", *self.name_buckets, *self.template_buckets)
        flags_and_checksum = struct.pack("<II", 1, zlib.crc32(start + tables))
        return (start + flags_and_checksum + tables + self.data[CHUNK_HEADER_SIZE:]).ljust(CHUNK_SIZE, b"\0")

    def put(self, layout: str, *values: int) -> int:
        """Append packed integers and return the offset at which they stand."""
        offset = len(self.data)
        self.data += struct.pack("<" + layout, *values)
        return offset

    def close(self, length_field: int) -> None:
        """Fill in a length that counts from behind its own four bytes to here."""
        struct.pack_into("<I", self.data, length_field, len(self.data) - length_field - 4)


# Tokens of BinXml, [MS-EVEN6] 2.2.12


def _write_record(chunk: _Chunk, record: Record) -> None:
    start = chunk.put("IIQQ", _RECORD_MAGIC, 0, record.identifier, record.written)
    _write_fragment(chunk, record.root)
    padding = -(len(chunk.data) + 4 - start) % 8
    size = len(chunk.data) + padding + 4 - start
    chunk.data += bytes(padding)
    chunk.put("I", size)
    struct.pack_into("<I", chunk.data, start + 4, size)


def _write_fragment(chunk: _Chunk, filled: Filled) -> None:
    chunk.data += _FRAGMENT_HEADER
    _write_template(chunk, filled.template)
    _write_values(chunk, filled.values)
    chunk.data += b"\0"


def _write_template(chunk: _Chunk, template: Element) -> None:
    """Refer to a template, and define it here if the chunk does not have it yet."""
    # The samples are kept byte for byte: their GUIDs were made of these classes' earlier names.
    shape = re.sub(r"\b(Element|Slot)\(", r"_\1(", repr(template))
    guid = uuid.uuid5(uuid.NAMESPACE_URL, f"{EVENT_NAMESPACE}#{shape}").bytes_le
    known = chunk.templates.get(template)
    offset = len(chunk.data) + 10 if known is None else known
    chunk.put("BBII", 0x0C, 1, int.from_bytes(guid[:4], "little"), offset)
    if known is not None:
        return
    bucket = _hash(struct.unpack("<8H", guid)) % 32
    chunk.put("I", chunk.template_buckets[bucket])
    chunk.data += guid
    length = chunk.put("I", 0)
    chunk.data += _FRAGMENT_HEADER
    _write_element(chunk, template, in_template=True)
    chunk.data += b"\0"
    chunk.close(length)
    chunk.templates[template] = chunk.template_buckets[bucket] = offset


def _write_values(chunk: _Chunk, values: Sequence[tuple[int, bytes | Element | Filled]]) -> None:
    chunk.put("I", len(values))
    descriptions = [chunk.put("HBB", 0, kind, 0) for kind, _ in values]
    for (_, value), description in zip(values, descriptions, strict=True):
        start = len(chunk.data)
        if isinstance(value, Filled):
            _write_fragment(chunk, value)
        elif isinstance(value, Element):
            _write_element(chunk, value, in_template=False)
            chunk.data += b"\0"
        else:
            chunk.data += value
        struct.pack_into("<H", chunk.data, description, _at_most_16_bits(len(chunk.data) - start))


def _write_element(chunk: _Chunk, element: Element, *, in_template: bool) -> None:
    chunk.put("B", 0x01 | (_MORE if element.attributes else 0))
    if in_template:
        chunk.put("H", _dependency(element))
    length = chunk.put("I", 0)
    _write_name(chunk, element.name)
    if element.attributes:
        _write_attributes(chunk, element.attributes)
    if element.content:
        chunk.put("B", 0x02)
        for part in element.content:
            _write_content(chunk, part, in_template=in_template)
        chunk.put("B", 0x04)
    else:
        chunk.put("B", 0x03)
    chunk.close(length)


def _write_content(chunk: _Chunk, part: str | Slot | Element, *, in_template: bool) -> None:
    if isinstance(part, Element):
        _write_element(chunk, part, in_template=in_template)
    elif isinstance(part, Slot):
        _write_slot(chunk, part)
    else:
        _write_pieces(chunk, _pieces(part))


def _dependency(element: Element) -> int:
    """The slot without whose value the whole element is left out."""
    match element.content:
        case (Slot(number, _, True),):
            return number
    return _NO_DEPENDENCY


def _write_attributes(chunk: _Chunk, attributes: Sequence[tuple[str, str | Slot]]) -> None:
    length = chunk.put("I", 0)
    for index, (name, value) in enumerate(attributes, start=1):
        chunk.put("B", 0x06 | (_MORE if index < len(attributes) else 0))
        _write_name(chunk, name)
        if isinstance(value, Slot):
            _write_slot(chunk, value)
        else:
            pieces = _pieces(value)
            _write_pieces(chunk, pieces if pieces and pieces[-1] not in _ENTITIES else [*pieces, ""])
    chunk.close(length)


def _write_slot(chunk: _Chunk, slot: Slot) -> None:
    chunk.put("BHB", 0x0E if slot.optional else 0x0D, slot.number, slot.kind)


def _pieces(text: str) -> list[str]:
    return [piece for piece in re.split("([\"&<>'])", text) if piece]


def _write_pieces(chunk: _Chunk, pieces: Sequence[str]) -> None:
    for index, piece in enumerate(pieces, start=1):
        more = _MORE if index < len(pieces) else 0
        if piece in _ENTITIES:
            chunk.put("B", 0x09 | more)
            _write_name(chunk, _ENTITIES[piece])
        else:
            encoded = piece.encode("utf-16-le")
            chunk.put("BBH", 0x05 | more, STRING, _at_most_16_bits(len(encoded) // 2))
            chunk.data += encoded


def _write_name(chunk: _Chunk, name: str) -> None:
    """Refer to a name, and define it here if the chunk does not have it yet."""
    known = chunk.names.get(name)
    offset = chunk.put("I", 0) + 4 if known is None else chunk.put("I", known)
    if known is not None:
        return
    struct.pack_into("<I", chunk.data, offset - 4, offset)
    encoded = name.encode("utf-16-le")
    units = struct.unpack(f"<{len(encoded) // 2}H", encoded)
    value = _hash(units)
    chunk.put("IHH", chunk.name_buckets[value % 64], value, len(units))
    chunk.data += encoded + b"\0\0"
    chunk.names[name] = chunk.name_buckets[value % 64] = offset


def _hash(units: Iterable[int]) -> int:
    """The hash of both tables; held for every name and template of the real files."""
    value = 0
    for unit in units:
        value = (value * 65599 + unit) & 0xFFFF
    return value


def _at_most_16_bits(length: int) -> int:
    if length > 0xFFFF:
        raise ValueError("an event is larger than a chunk")
    return length
