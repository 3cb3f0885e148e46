"""Windows events in JSON of other tools and in EvtxECmd's CSV, as event XML (``event_forms`` has the forms)."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from msgspec.structs import replace

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.csv_export import whole_rows
from evtx_analyzer.read.encoding import as_text, guess
from evtx_analyzer.read.event_forms import ECMD_COLUMNS, converted
from evtx_analyzer.read.event_xml import event_record
from evtx_analyzer.read.lines import as_lines, damaged_row, lines, split_cells
from evtx_analyzer.wincrypt import CAPI2_PROVIDER, EXPORT_AGAIN

_BLOCK = 1 << 20
_BEHIND = 1 << 14  # characters before the next value, after which the text is cut off
_LARGEST = 64 << 20
_BEGINS = re.compile(r'\s*(?:Record \d+\s+)?[\[{]\s*["\[{]')
_VALUE = re.compile(r'[{"]')
_NEXT_LINE = re.compile(r"\n(?=\{|Record \d+\s*\n\{)")
_NAMES_CAPI2 = re.compile(
    rf'"(?:ProviderName|Provider|SourceName|Source|provider|provider_name)"\s*:\s*"{CAPI2_PROVIDER}"'
)
_LOOKS = re.compile(r'"Event"\s*:\s*\{\s*"(?:#attributes|@xmlns|System)|"winlog"\s*:\s*\{|"EventRecordId"\s*:')


def is_event_json(head: bytes) -> bool:
    """Return whether a file begins with a Windows event in JSON, alone, in a list, or after ``Record N``."""
    text = as_text(head)
    start = _VALUE.search(text) if _BEGINS.match(text) else None
    if start is None:
        return False
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start.start())
        is_event = any(True for _ in converted(value))
    except (ValueError, RecursionError):
        # The value is longer than the beginning of the file that is seen here.
        is_event = _LOOKS.search(text) is not None
    return is_event or _NAMES_CAPI2.search(text) is not None


def is_event_csv(head: bytes) -> bool:
    """Return whether the first line is the header of EvtxECmd's CSV."""
    return any(set(split_cells(line) or ()) >= ECMD_COLUMNS for line in as_lines(head)[:1])


def read_event_json(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Yield every event as XML; a Loss for each value that is no JSON, and one for CAPI2 events without facts."""
    return _read(json_values(stream, source), "JSON", source)


def read_event_csv(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Yield every event of EvtxECmd's CSV as XML; one Loss for all CAPI2 events without Payload."""
    return _read(_rows(stream, source), "CSV", source)


def _rows(stream: BinaryIO, source: Origin) -> Iterator[tuple[Origin, dict[str, str] | Loss]]:
    """Yield every row by the names of its columns, with its place; a Loss for a damaged one."""
    columns: list[str] = []
    for number, offset, line in whole_rows(lines(stream)):
        cells, origin = split_cells(line), replace(source, line=number, offset=offset)
        if cells is not None and set(cells) >= ECMD_COLUMNS:
            columns = cells
        elif cells is None or len(cells) < len(columns):
            yield origin, damaged_row(line, origin)
        else:
            yield origin, dict(zip(columns, cells, strict=False))


def _read(values: Iterable[tuple[Origin, Any]], form: str, source: Origin) -> Iterator[EventRecord | Loss]:
    """Yield the events in values of a ``form``, which are Losses where they could not be read."""
    lost = 0
    for origin, value in values:
        events: list[str] = []
        try:
            if isinstance(value, Loss):
                yield value
            else:
                events = list(converted(value))
        except RecursionError:
            yield Loss(origin=origin, reason="an event's JSON is nested too deeply", extent="1 event")
        for number, xml in enumerate(events):
            # Events are told apart by their origin, so each of several in one value needs an offset of its own.
            if xml:
                yield event_record(xml, replace(origin, offset=(origin.offset or 0) + number))
            lost += not xml
    if lost:
        reason = (
            f"CAPI2 events as {form} without the elements and attributes of their UserData, which hold all facts; "
            f"export again on the server with: {EXPORT_AGAIN}"
        )
        yield Loss(origin=source, reason=reason, extent=f"{lost} event{'s' if lost > 1 else ''}")


# ------------------------------------------------------------------------------------------------- values of a file


def json_values(stream: BinaryIO, source: Origin) -> Iterator[tuple[Origin, Any]]:
    """Yield every top-level value, or member of a top-level list, with its place; a Loss for damaged JSON.

    Damage costs one value: reading goes on at the next line that begins with a value.
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
                    # The decoder's errors count lines from the beginning of the text, which takes long in a long one.
                    text, position = text[position:], 0
                continue
        if not more:
            return
        # Twice as much each time: decoding of a value longer than a block starts over with every block.
        block = stream.read(max(_BLOCK, len(text) - position))
        more = bool(block)
        text, position = text[position:] + incremental.decode(block, final=not more), 0


def _decoded(decoder: json.JSONDecoder, text: str, start: int, *, more: bool) -> tuple[Any, int]:
    """Return a value and its end, or a Loss and where to go on; an end of 0 asks for more of the file."""
    try:
        return decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        following = _NEXT_LINE.search(text, start)
        end = following.end() if following else 0 if more else len(text)
        reason = "an event's JSON is cut or damaged"
        return Loss(origin=Origin(source=""), reason=reason, extent=f"1 event, {end - start} characters"), end


def _size(text: str, start: int, end: int, encoding: str) -> int:
    return len(text[start:end].encode(encoding, "surrogatepass"))
