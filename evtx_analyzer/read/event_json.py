"""Windows events as JSON of other tools, and EvtxECmd's CSV: objects of the forms of ``event_forms``, as event XML."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.csv_export import whole_rows
from evtx_analyzer.read.encoding import guess
from evtx_analyzer.read.event_forms import ECMD_COLUMNS, Converted, converted
from evtx_analyzer.read.lines import as_lines, head_text, lines, split_cells
from evtx_analyzer.wincrypt import CAPI2_PROVIDER, EXPORT_AGAIN

_BLOCK = 1 << 20
_BEHIND = 1 << 14  # characters of a text that may lie before the next value
_LARGEST = 64 << 20
_BEGINS = re.compile(r'\s*(?:Record \d+\s+)?[\[{]\s*["\[{]')
_VALUE = re.compile(r'[{"]')
_NEXT_LINE = re.compile(r"\n(?=\{|Record \d+\s*\n\{)")
_NAMES_CAPI2 = re.compile(rf'"(?:ProviderName|Provider|SourceName|provider|provider_name)"\s*:\s*"{CAPI2_PROVIDER}"')
_LOOKS = re.compile(r'"Event"\s*:\s*\{\s*"(?:#attributes|@xmlns|System)|"winlog"\s*:\s*\{|"EventRecordId"\s*:')
_RECORD_ID = re.compile(r"<EventRecordID[^<>]{0,200}>\s*([0-9]{1,18})\s*<")


def is_event_json(head: bytes) -> bool:
    """Whether a file begins with a Windows event as JSON, alone, in a list, or after a line ``Record N``."""
    text = head_text(head)
    start = _VALUE.search(text) if _BEGINS.match(text) else None
    if start is None:
        return False
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start.start())
        is_event = any(True for _ in converted(value))
    except (ValueError, RecursionError):
        # An event, or an answer of many, that is longer than what was read of the file.
        is_event = _LOOKS.search(text) is not None
    return is_event or _NAMES_CAPI2.search(text) is not None


def is_event_csv(head: bytes) -> bool:
    """Whether the first line is the header of EvtxECmd's CSV."""
    return any(set(split_cells(line) or ()) >= ECMD_COLUMNS for line in as_lines(head)[:1])


def read_event_json(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Every event as XML; CAPI2 events without their facts, and values that are no JSON, as losses."""
    lost = 0
    for origin, value in _values(stream, source):
        events = value if isinstance(value, Loss) else _events(value, origin)
        if isinstance(events, Loss):
            yield events
            continue
        for number, event in enumerate(events):
            # Of several events in one value each has a place of its own: the reading of chains tells them apart by it.
            place = replace(origin, offset=(origin.offset or 0) + number)
            if event.xml:
                yield _record(event.xml, place)
            lost += not event.xml
    yield from _without_facts(lost, "JSON", source)


def read_event_csv(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Every event of EvtxECmd's CSV as XML; CAPI2 events without Payload as one loss."""
    columns: list[str] = []
    lost = 0
    for number, offset, line in whole_rows(lines(stream)):
        cells, origin = split_cells(line), replace(source, line=number, offset=offset)
        if cells is not None and set(cells) >= ECMD_COLUMNS:
            columns = cells
        elif cells is None or len(cells) < len(columns):
            yield Loss(origin=origin, reason="a row is cut or damaged", extent=f"1 row, {len(line)} characters")
        else:
            events = _events(dict(zip(columns, cells, strict=False)), origin)
            if isinstance(events, Loss):
                yield events
                continue
            yield from (_record(event.xml, origin) for event in events if event.xml)
            lost += sum(not event.xml for event in events)
    yield from _without_facts(lost, "CSV", source)


def _events(value: object, origin: Origin) -> list[Converted] | Loss:
    try:
        return list(converted(value))
    except RecursionError:
        return Loss(origin=origin, reason="an event's JSON is nested too deeply", extent="1 event")


def _without_facts(count: int, form: str, source: Origin) -> Iterator[Loss]:
    if count:
        reason = (
            f"CAPI2 events as {form} without the elements and attributes of their UserData, which hold all facts; "
            f"export again on the server with: {EXPORT_AGAIN}"
        )
        yield Loss(origin=source, reason=reason, extent=f"{count} event{'s' if count > 1 else ''}")


def _record(xml: str, origin: Origin) -> EventRecord:
    match = _RECORD_ID.search(xml)
    record = int(match[1]) if match else None
    return EventRecord(origin=replace(origin, record=record), xml=xml, record_id=record)


# ------------------------------------------------------------------------------------------------- values of a file


def _values(stream: BinaryIO, source: Origin) -> Iterator[tuple[Origin, Any]]:
    """Every top-level value, or member of a top-level list, with its place; a Loss for what is no JSON.

    A value that cannot be read ends where a line begins with the next one, so damage costs itself.
    """
    head = stream.read(_BLOCK)
    encoding, mark = guess(head)
    incremental = codecs.getincrementaldecoder(encoding)("replace")
    text, position, line, offset = incremental.decode(head[mark:]), 0, 1, mark
    decoder, more = json.JSONDecoder(), bool(head)
    while True:
        start = _VALUE.search(text, position)
        if start is not None:
            value, end = _decoded(decoder, text, start.start(), more=more and len(text) - position < _LARGEST)
            if end:
                line += text.count("\n", position, start.start())
                offset += _size(text, position, start.start(), encoding)
                place = replace(source, line=line, offset=offset)
                yield place, replace(value, origin=place) if isinstance(value, Loss) else value
                line += text.count("\n", start.start(), end)
                offset += _size(text, start.start(), end, encoding)
                position = end
                if position > _BEHIND:
                    # An error of the decoder counts the lines from the beginning of its text, so that has to stay near.
                    text, position = text[position:], 0
                continue
        if not more:
            return
        # Twice as much each time: a value longer than a block is begun again with every block.
        block = stream.read(max(_BLOCK, len(text) - position))
        more = bool(block)
        text, position = text[position:] + incremental.decode(block, final=not more), 0


def _decoded(decoder: json.JSONDecoder, text: str, start: int, *, more: bool) -> tuple[Any, int]:
    """A value and its end, or a Loss and where to go on; the end is 0 where more of the file may complete it."""
    try:
        return decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        following = _NEXT_LINE.search(text, start)
        end = following.end() if following else 0 if more else len(text)
        reason = "an event's JSON is cut or damaged"
        return Loss(origin=Origin(source=""), reason=reason, extent=f"1 event, {end - start} characters"), end


def _size(text: str, start: int, end: int, encoding: str) -> int:
    return len(text[start:end].encode(encoding, "surrogatepass"))
