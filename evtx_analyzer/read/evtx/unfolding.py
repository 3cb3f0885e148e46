r"""Whether a chunk's records may unfold to far more text than they have bytes, judged without decoding them.

A template may name one value thousands of times, a value may hold a template whose values hold templates, and an
element with arrays is written once for each combination of their items (MS-EVEN6 2.2.12, 3.1.4.7.5). The ``evtx``
library follows all of it and takes gigabytes, or ends the process. So each record's greatest size is estimated, too
high rather than too low: its bytes and those of its templates, times how often a template names the same value, times
the items of its arrays. Windows' own records come to less than a hundredth of the limit.
"""

from __future__ import annotations

import re
import struct
from collections import Counter

from evtx_analyzer.read.evtx.chunk import CHUNK_SIZE, HEADER_SIZE, RECORD_MAGIC

_MOST_OF_RECORD = 16 << 20  # bytes: evtx takes about 50 MB of memory for as many
_MOST_OF_CHUNK = 128 << 20
_INSTANCE = re.compile(rb"\x0c(?=.{5}(..)\0\0)", re.DOTALL)  # version, id, place of the definition
_INSTANCE_HEAD = 10  # bytes: token, version, id, place of the definition
_SUBSTITUTION = re.compile(rb"[\x0d\x0e](?=(..)[\x00-\x25\x81-\xa5])", re.DOTALL)  # number and type of the value
_ARRAY, _STRING = 0x80, 0x01  # MS-EVEN6 2.2.12.5
_DEFINITION_HEAD = 24  # bytes: next definition, GUID, length of what follows
_LENGTH = struct.Struct("<I")
_FRAGMENT, _OPEN, _MORE = b"\x0f\x01\x01", 0x01, 0x40
_ELEMENT = struct.Struct("<3xII")  # token, dependency id, (size, place of the name)
_CONTENT = re.compile(rb"[\x0d\x0e]..[\x00-\x25\x81-\xa5]|[\x05\x45]\x01|[\x07-\x0c\x47-\x49]", re.DOTALL)
_ENDLESS = 1 << 40


def unfolds(chunk: bytes) -> bool:
    """Return whether the records of a chunk may unfold to more than ``evtx`` can be trusted with."""
    instances = [(match.start(), int.from_bytes(match[1], "little")) for match in _INSTANCE.finditer(chunk)]
    definitions: dict[int, tuple[int, int] | None] = {}
    total = number = 0
    for start, stop in _records(chunk):
        size, times = stop - start, 1
        while number < len(instances) and instances[number][0] < stop:
            place, definition = instances[number]
            number += 1
            if place < start:
                continue
            if definition not in definitions:
                definitions[definition] = _definition(chunk, definition, instances)
            template = definitions[definition]
            if template is None:
                continue
            length, named = template
            size += length
            times *= named * _combinations(chunk, place + _INSTANCE_HEAD, definition, length)
        total += size * times
        if size * times > _MOST_OF_RECORD or total > _MOST_OF_CHUNK:
            return True
    return False


def _records(chunk: bytes) -> list[tuple[int, int]]:
    """Return where the records begin and end, as a decoder goes through them; all that is left counts as one."""
    bounds, at = [], HEADER_SIZE
    while chunk.startswith(RECORD_MAGIC, at) and at + 8 <= len(chunk):
        (size,) = _LENGTH.unpack_from(chunk, at + 4)
        if not size or at + size > len(chunk):
            break
        bounds.append((at, at + size))
        at += size
    return [*bounds, (at, len(chunk))]


def _definition(chunk: bytes, place: int, instances: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the length of a template's definition, and how often it names the value that it names most often.

    None where no definition stands there, as behind the bytes of a text that look like a template instance.
    """
    content = _content(chunk, place)
    if content is None:
        return None
    begin, end = content
    if any(begin <= at < end and _content(chunk, other) for at, other in instances):
        return end - begin, _ENDLESS  # a template in a template's definition: Windows writes none
    named = Counter(match[1] for match in _SUBSTITUTION.finditer(chunk, begin, end))
    return end - begin, max(named.values(), default=1)


def _content(chunk: bytes, definition: int) -> tuple[int, int] | None:
    """Return where the BinXML of a template's definition begins and ends; None where no definition stands."""
    begin = definition + _DEFINITION_HEAD
    if begin > len(chunk):
        return None
    end = begin + _LENGTH.unpack_from(chunk, begin - 4)[0]
    return (begin, end) if end <= len(chunk) and _is_content(chunk, begin, end) else None


def _is_content(chunk: bytes, begin: int, end: int) -> bool:
    """Return whether BinXML may begin here.

    It begins with a fragment header, an element whose size and name lie inside the chunk, a text or a value.
    """
    first = chunk[begin] & ~_MORE if begin < end else 0
    if first == _OPEN and begin + _ELEMENT.size <= end:
        size, name = _ELEMENT.unpack_from(chunk, begin)
        return bool(size <= end - begin and HEADER_SIZE <= name < CHUNK_SIZE)
    return chunk.startswith(_FRAGMENT, begin) or _CONTENT.match(chunk, begin, end) is not None


def _combinations(chunk: bytes, values: int, definition: int, length: int) -> int:
    """Return how often an element is written that has all arrays among a template instance's values.

    The values stand behind the instance, or behind the definition where that stands there: their number, the size and
    type of each, then each.
    """
    if definition == values:
        values += _DEFINITION_HEAD + length
    if values + _LENGTH.size > len(chunk):
        return 1
    (count,) = _LENGTH.unpack_from(chunk, values)
    at, times = values + 4 + 4 * count, 1
    described = chunk[values + 4 : at]
    if at > len(chunk) or max(described[2::4], default=0) < _ARRAY:
        return 1
    for size, kind in struct.iter_unpack("<HBx", described):
        if kind & _ARRAY:
            # Texts end with a NUL of two bytes; items of any other type are of one byte at least.
            texts = kind & ~_ARRAY == _STRING
            times *= max(1, chunk.count(b"\0\0", at, at + size) + 1 if texts else size)
        at += size
    return times if at <= len(chunk) else 1
