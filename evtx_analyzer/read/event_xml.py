"""Event XML in all the forms in which it is exported, as a stream of single events.

``wevtutil qe /f:xml`` writes fragments without a root, ``/e:Events`` and Event Viewer write a root, ``ToXml()``
one event per line, some scripts a declaration before each event. All of them hold ``<Event ...>...</Event>``, so
the file is cut there: damage costs one event only, an event's origin is its byte offset, and a DTD or an entity
definition (which can only stand outside of an event) never reaches a parser. One file may hold UTF-8 and UTF-16, where
PowerShell appended to it (``>>``). In a CSV (Splunk's, with the XML in ``_raw``) each quotation mark stands twice.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, cast

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.encoding import as_text, decode, guess

_BLOCK = 1 << 20
_LARGEST_EVENT = 4 << 20
_RECORD_ID = re.compile(r"<EventRecordID[^<>]{0,200}>\s*([0-9]{1,18})\s*<")
_SYSTEM = re.compile(r"<(?:\w+:)?System[\s/>]")
_STARTS_EVENT = re.compile(r"<Event[\s>]")
_DOUBLED = re.compile(r'<Event [^<>]*?=""\w')


def is_event_xml(head: bytes) -> bool:
    """Return whether a file's first bytes hold the start of a Windows event."""
    text = as_text(head)
    return bool(_STARTS_EVENT.search(text)) or ("<Events" in text and "<?xml" in text[:200])


def read_event_xml(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Yield every ``<Event>`` element as an EventRecord, and a Loss for each that is cut or too long."""
    head = stream.read(_BLOCK)
    encoding, start = guess(head)
    if encoding.startswith("utf-32"):
        # Such a file is rare. Offsets are then those in UTF-8.
        head += stream.read(-len(head) % 4)
        stream = cast("BinaryIO", codecs.EncodedFile(stream, "utf-8", encoding, "replace"))
        head, encoding, start = as_text(head).encode("utf-8", "replace"), "utf-8", 0
    tags = _tags(encoding)
    buffer, base = head[start:], start
    endless = _Endless(source)
    while True:
        begin, position = -1, 0
        for tag in tags.finditer(buffer):
            if tag[1] is not None:
                if begin >= 0:
                    endless.add(base + begin, tag.start() - begin)
                begin = tag.start()
            elif begin >= 0:
                yield from endless.loss()
                yield _record(buffer[begin : tag.end()], base + begin, encoding, source)
                begin, position = -1, tag.end()
        # A tag may go on in the next block: keep more bytes than one has, an even number for UTF-16.
        keep = begin if begin >= 0 else max(position, len(buffer) - 32 & ~1)
        if begin >= 0 and len(buffer) - keep > _LARGEST_EVENT:
            yield from endless.loss()
            yield _cut(source, base + keep, len(buffer) - keep, f"is longer than {_LARGEST_EVENT} bytes")
            begin, keep = -1, len(buffer)
        block = stream.read(_BLOCK)
        if not block:
            yield from endless.loss()
            if begin >= 0:
                yield _cut(source, base + keep, len(buffer) - keep, "is cut at the end of the file")
            return
        base += keep
        buffer = buffer[keep:] + block


class _Endless:
    """Successive events without an end tag, which become one loss however many they are."""

    def __init__(self, source: Origin) -> None:
        self._source, self._count, self._offset, self._size = source, 0, 0, 0

    def add(self, offset: int, size: int) -> None:
        """Count an event that begins at ``offset``; the next one begins ``size`` bytes later."""
        self._offset = self._offset if self._count else offset
        self._count += 1
        self._size += size

    def loss(self) -> Iterator[Loss]:
        """Yield the loss so far, if there is any, and begin anew."""
        if self._count:
            events = "1 event" if self._count == 1 else f"{self._count:,} events"
            origin = replace(self._source, offset=self._offset)
            yield Loss(origin=origin, reason="an event has no end", extent=f"{events}, {self._size} bytes")
        self._count = self._size = 0


def _tags(encoding: str) -> re.Pattern[bytes]:
    """Return a pattern for the start (group 1) or end of an event; ``<EventData>`` does not match."""
    before, after = (rb"\0", b"") if encoding == "utf-16-be" else (b"", rb"\0?")

    def spelled(*characters: bytes) -> bytes:
        return b"".join(before + character + after for character in characters)

    start = spelled(b"<", b"E", b"v", b"e", b"n", b"t", rb"[ \t\r\n>]")
    blanks = rb"(?:" + spelled(b" ") + rb"){0,9}"
    end = spelled(b"<", b"/", b"E", b"v", b"e", b"n", b"t") + blanks + spelled(b">")
    return re.compile(b"(" + start + b")|" + end)


def _record(data: bytes, offset: int, encoding: str, source: Origin) -> EventRecord | Loss:
    if encoding != "utf-16-be":
        encoding = "utf-8" if data[1] else "utf-16-le"
    text = decode(data, encoding)
    if _DOUBLED.match(text):
        text = text.replace('""', '"')
    if not _SYSTEM.search(text):
        # Some editors, and copies of the Details tab, leave it out.
        reason = "an event has no System part, and so no time, machine or channel"
        return Loss(origin=replace(source, offset=offset), reason=reason, extent=f"1 event, {len(data)} bytes")
    return event_record(text, replace(source, offset=offset))


def event_record(xml: str, origin: Origin) -> EventRecord:
    """Return the record of an event's XML, with the record id that stands in it."""
    match = _RECORD_ID.search(xml)
    record_id = int(match[1]) if match else None
    return EventRecord(origin=replace(origin, record=record_id), xml=xml, record_id=record_id)


def _cut(source: Origin, offset: int, size: int, what: str) -> Loss:
    return Loss(origin=replace(source, offset=offset), reason=f"an event {what}", extent=f"1 event, {size} bytes")
