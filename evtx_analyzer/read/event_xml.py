"""Event XML in all the forms it is exported, as a stream of single events.

``wevtutil qe /f:xml`` writes fragments without a root, ``/e:Events`` and Event Viewer write a root, ``ToXml()``
one event per line, some scripts a declaration before each event. All of them hold ``<Event ...>...</Event>``, so
the file is cut there: one damaged event costs itself, an event's origin is its byte offset, and a DTD or an entity
definition (which can only stand outside of an event) never reaches a parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.encoding import decode, guess

_BLOCK = 1 << 20
_LARGEST_EVENT = 4 << 20
_RECORD_ID = re.compile(r"<EventRecordID[^<>]{0,200}>\s*([0-9]{1,18})\s*<")
_SYSTEM = re.compile(r"<(?:\w+:)?System[\s/>]")
_STARTS_EVENT = re.compile(r"<Event[\s>]")


def is_event_xml(head: bytes) -> bool:
    """Whether a file's first bytes hold the start of a Windows event."""
    encoding, mark = guess(head)
    text = decode(head[mark:], encoding)
    return bool(_STARTS_EVENT.search(text)) or ("<Events" in text and "<?xml" in text[:200])


def read_event_xml(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Every ``<Event>`` element of the stream as an EventRecord; what was cut or too long as a Loss."""
    head = stream.read(_BLOCK)
    encoding, start = guess(head)
    opening, closing = _patterns(encoding)
    buffer, base = head[start:], start
    while True:
        position = 0
        while (begin := opening.search(buffer, position)) is not None:
            end = closing.search(buffer, begin.end())
            next_begin = opening.search(buffer, begin.end())
            if next_begin is not None and (end is None or next_begin.start() < end.start()):
                yield _cut(source, base + begin.start(), next_begin.start() - begin.start(), "has no end")
                position = next_begin.start()
                continue
            if end is None:
                break
            yield _record(buffer[begin.start() : end.end()], base + begin.start(), encoding, source)
            position = end.end()
        begin = opening.search(buffer, position)
        keep = begin.start() if begin else max(position, len(buffer) - 32 & ~1)
        if begin and len(buffer) - keep > _LARGEST_EVENT:
            yield _cut(source, base + keep, len(buffer) - keep, f"is longer than {_LARGEST_EVENT} bytes")
            keep = len(buffer)
        block = stream.read(_BLOCK)
        if not block:
            if begin and keep < len(buffer):
                yield _cut(source, base + keep, len(buffer) - keep, "is cut at the end of the file")
            return
        base += keep
        buffer = buffer[keep:] + block


def _patterns(encoding: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Start and end of an event as bytes; ``<EventData>`` and ``<Events>`` do not match."""

    def wide(char: str) -> bytes:
        return re.escape(char.encode(encoding))

    start = b"".join(wide(char) for char in "<Event") + b"(?:" + b"|".join(wide(c) for c in " \t\r\n>") + b")"
    end = b"".join(wide(char) for char in "</Event") + b"(?:" + wide(" ") + b")*" + wide(">")
    return re.compile(start), re.compile(end)


def _record(data: bytes, offset: int, encoding: str, source: Origin) -> EventRecord | Loss:
    text = decode(data, encoding)
    if not _SYSTEM.search(text):
        # As some editors and copies of the Details tab keep it.
        reason = "an event has no System part, and so no time, machine or channel"
        return Loss(origin=replace(source, offset=offset), reason=reason, extent=f"1 event, {len(data)} bytes")
    found = _RECORD_ID.search(text)
    record_id = int(found[1]) if found else None
    return EventRecord(origin=replace(source, record=record_id, offset=offset), xml=text, record_id=record_id)


def _cut(source: Origin, offset: int, size: int, what: str) -> Loss:
    return Loss(origin=replace(source, offset=offset), reason=f"an event {what}", extent=f"1 event, {size} bytes")
