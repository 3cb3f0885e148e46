"""One record's XML from its BinXML, for records that the ``evtx`` library cannot decode.

Follows MS-EVEN6 2.2.12 ("BinXml") and libyal's "Windows XML Event Log (EVTX)". python-evtx frames the record and
reads its names; its own nodes cannot render CAPI2, because they take three things for granted which real
``UserData`` values (type 0x21) do not have:

- a fragment header and a template instance: the value is a bare element;
- a dependency id in every open-start-element: only template definitions have one (MS-EVEN6 2.2.12.2, ``DependencyID``);
- one value per attribute: an ``&`` or ``"`` splits a value into text, entity reference, text.

Its nodes also follow the chunk's name and template tables on construction, and those may run in a circle where a
chunk is damaged. So the tokens are walked here, and every name is read at the offset where it is used.

The content is as from the ``evtx`` library: same elements, attributes and texts, absent values omitted, arrays
as repeated elements, GUIDs in upper case without braces, binary as hexadecimal, times in ISO 8601. What differs:
no indentation, no XML declaration, no processing instructions; characters that XML 1.0 forbids become U+FFFD
(``evtx`` leaves them, and its output is then not well-formed); a float's exponent may be spelled otherwise; a time
that no calendar holds is its number of ticks.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from Evtx.BinaryParser import ParseException
from Evtx.Evtx import ChunkHeader, Record
from Evtx.Nodes import NODE_TYPES as TYPE
from Evtx.Nodes import SYSTEM_TOKENS as TOKEN
from Evtx.Nodes import NameStringNode

from evtx_analyzer.read.evtx.binxml_values import SIZES, items, scalar, utf16

_HEAD = 24  # bytes of a record before its BinXML
_DEFINITION_HEAD = 24  # bytes of a template definition before its fragment: next, GUID, length
_ARRAY = 0x80
_CHARACTER_REFERENCE, _ENTITY_REFERENCE = 0x08, 0x09  # python-evtx gives 0x08 the name of 0x09

_BUDGET = 1 << 22
_TOKEN_COST = 32
"""A chunk holds 64 KiB, but a crafted record may name the same long or nested value thousands of times. All records of
a chunk that Windows wrote take a twelfth of the budget."""

_NAME = re.compile(r"[^\W\d][\w.:-]*")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&apos;"}
_ENTITIES = ("amp", "lt", "gt", "quot", "apos")


@dataclass
class Shared:
    """What the records of one chunk share: how many bytes they may still unfold to, and names (text, bytes) by offset.

    Crafted records cannot hold up the reader for long.
    """

    left: int = _BUDGET
    names: dict[int, tuple[str, int]] = field(default_factory=dict)

    def pay(self, cost: int) -> None:
        """Take some of what is left; raises ParseException where there is not enough."""
        self.left -= cost
        if self.left < 0:
            raise ParseException("the record unfolds to more than a record can mean")


def render(record: Record, shared: Shared | None = None) -> str:
    """Return the record's XML on one line.

    Raises python-evtx's ParseException, among others, where the record is damaged.
    """
    at, end = record.offset() + _HEAD, record.offset() + record.size() - 4
    shared = shared or Shared()
    fragment = _Fragment(record._buf, record._chunk, at, end, shared)  # noqa: SLF001  it has no accessor
    parts = [part for part in fragment.content() if part]
    if len(parts) != 1 or not isinstance(parts[0], _Element):
        raise ParseException("the record does not hold exactly one element")
    return _write(parts[0], shared)


@dataclass
class _Element:
    name: str
    attributes: list[tuple[str, list[_Part]]] = field(default_factory=list)
    children: list[_Part] = field(default_factory=list)
    repeats: bool = True


_Part = _Element | str | tuple[str, ...]
"""An element, a piece of escaped text, or the escaped items of an array."""


@dataclass
class _Fragment:
    """A run of tokens in the chunk ``buf``, with a read position; all offsets count from the start of the chunk.

    ``values`` are the substitutions of the template whose definition this is; None outside of definitions.
    """

    buf: bytes
    chunk: ChunkHeader
    at: int
    end: int
    shared: Shared
    values: list[_Value] | None = None

    def content(self, *, last: int = TOKEN.EndOfStreamToken) -> list[_Part]:
        """Return all parts up to the token ``last``: a close tag, or the end, whose token may be missing."""
        parts: list[_Part] = []
        while last or self.at < self.end:
            token = self._token()
            if token == last:
                break
            parts += self._read(_CONTENT, token)
        return parts

    def _read(self, readers: dict[int, _Reader], token: int) -> list[_Part]:
        if token not in readers:
            raise ParseException(f"unexpected BinXML token {token:02X} at {self.at - 1}")
        return readers[token](self)

    def element(self) -> list[_Part]:
        attributed = self.buf[self.at - 1] & 0x40
        self._take(6 if self.values is not None else 4)  # dependency id, byte length
        element = _Element(self._name())
        if attributed:
            self._take(4)  # byte length of the attributes
        while (token := self._token()) == TOKEN.AttributeToken:
            element.attributes.append((self._name(), self._attribute_value()))
        element.children = self._read(_START_TAG_ENDS, token)
        return [element]

    def _attribute_value(self) -> list[_Part]:
        parts: list[_Part] = []
        while self.buf[self.at] & 0x0F in _TEXT:
            parts += self._read(_TEXT, self._token())
        return parts

    def text(self) -> list[_Part]:
        kind = self._number("<B")
        if kind == TYPE.WSTRING:
            return [_escaped(utf16(self._counted()))]
        if kind not in SIZES:
            raise ParseException(f"unexpected type {kind:02X} of a text at {self.at - 1}")
        return [_escaped(scalar(kind, self._take(SIZES[kind])))]

    def cdata(self) -> list[_Part]:
        return [_escaped(utf16(self._counted()))]

    def character(self) -> list[_Part]:
        return [_escaped(chr(self._number("<H")))]

    def entity(self) -> list[_Part]:
        name = self._name()
        return [f"&{name};" if name in _ENTITIES else f"&amp;{name};"]

    def instruction_target(self) -> list[_Part]:
        self._name()
        return []

    def instruction_data(self) -> list[_Part]:
        self._counted()
        return []

    def start(self) -> list[_Part]:
        self._take(3)  # major and minor version, flags
        return []

    def substitution(self) -> list[_Part]:
        index, _ = self._number("<H"), self._take(1)
        if self.values is None:
            raise ParseException(f"a substitution outside of a template at {self.at - 4}")
        return self._substituted(self.values[index]) if index < len(self.values) else []

    def _substituted(self, value: _Value) -> list[_Part]:
        if value.kind == TYPE.BXML:
            return replace(self, at=value.at, end=value.at + value.size, values=None).content()
        data = self.buf[value.at : value.at + value.size]
        self.shared.pay(value.size)
        if value.kind & _ARRAY:
            values = tuple(_escaped(item) for item in items(value.kind & ~_ARRAY, data))
            return [values if len(values) > 1 else "".join(values)]
        return [_escaped(scalar(value.kind, data))]

    def template(self) -> list[_Part]:
        """Return the parts of a template instance.

        Its definition stands here on its first use in the chunk, and later instances refer to that place.
        """
        _, definition = self._take(5), self._number("<I")
        (length,) = struct.unpack_from("<I", self.buf, definition + 20)
        body = definition + _DEFINITION_HEAD
        if definition == self.at:
            self._take(_DEFINITION_HEAD + length)
        parts = replace(self, at=body, end=body + length, values=self._values()).content()
        for part in parts:
            if isinstance(part, _Element):
                part.repeats = False  # as in evtx: an array repeats what is inside of an instance
        return parts

    def _values(self) -> list[_Value]:
        values = []
        for size, kind in struct.iter_unpack("<HBx", self._take(4 * self._number("<I"))):
            values.append(_Value(kind, self.at, size))
            self._take(size)
        return values

    def _name(self) -> str:
        offset = self._number("<I")
        if offset not in self.shared.names:
            self.shared.names[offset] = self._name_at(offset)
        name, length = self.shared.names[offset]
        if offset == self.at:
            self._take(length)
        self.shared.pay(len(name))
        return name

    def _name_at(self, offset: int) -> tuple[str, int]:
        node = NameStringNode(self.buf, offset, self.chunk, None)
        name = node.string()
        if not _NAME.fullmatch(name):
            raise ParseException(f"no XML name at {offset}")
        return name, node.length()

    def _token(self) -> int:
        self.shared.pay(_TOKEN_COST)
        return self._number("<B") & 0x0F

    def _counted(self) -> bytes:
        return self._take(2 * self._number("<H"))

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(number)

    def _take(self, size: int) -> bytes:
        taken = self.buf[self.at : self.at + size]
        if self.at + size > self.end or len(taken) < size:
            raise ParseException(f"BinXML runs past its end at {self.at}")
        self.at += size
        return taken


class _Value(NamedTuple):
    """Where a template instance holds one of its values."""

    kind: int
    at: int
    size: int


_Reader = Callable[[_Fragment], list[_Part]]
_TEXT: dict[int, _Reader] = {
    TOKEN.ValueToken: _Fragment.text,
    _CHARACTER_REFERENCE: _Fragment.character,
    _ENTITY_REFERENCE: _Fragment.entity,
    TOKEN.NormalSubstitutionToken: _Fragment.substitution,
    TOKEN.ConditionalSubstitutionToken: _Fragment.substitution,
}
_CONTENT = _TEXT | {
    TOKEN.OpenStartElementToken: _Fragment.element,
    TOKEN.CDataSectionToken: _Fragment.cdata,
    TOKEN.ProcessingInstructionTargetToken: _Fragment.instruction_target,
    TOKEN.ProcessingInstructionDataToken: _Fragment.instruction_data,
    TOKEN.TemplateInstanceToken: _Fragment.template,
    TOKEN.StartOfStreamToken: _Fragment.start,
}
_START_TAG_ENDS: dict[int, _Reader] = {
    TOKEN.CloseStartElementToken: lambda fragment: fragment.content(last=TOKEN.CloseElementToken),
    TOKEN.CloseEmptyElementToken: lambda _: [],
}


# --------------------------------------------------------------------------------------------------- text


def _escaped(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text).translate(_ESCAPES)


def _write(part: _Part, shared: Shared) -> str:
    if isinstance(part, _Element):
        return "".join(_write_element(element, shared) for element in _repeated(part))
    text = part if isinstance(part, str) else ",".join(part)
    shared.pay(1 + len(text))
    return text


def _write_element(element: _Element, shared: Shared) -> str:
    shared.pay(_TOKEN_COST)
    attributes = [(name, "".join(_write(part, shared) for part in value)) for name, value in element.attributes]
    head = "".join(f' {name}="{value}"' for name, value in attributes if value)
    body = "".join(_write(child, shared) for child in element.children)
    return f"<{element.name}{head}>{body}</{element.name}>"


def _repeated(element: _Element) -> Iterator[_Element]:
    """Yield the element once per item of the first array in it, and so on for further arrays (MS-EVEN6 3.1.4.7.5)."""
    lists = [element.children, *(value for _, value in element.attributes)]
    arrays = ((i, k, part) for i, parts in enumerate(lists) for k, part in enumerate(parts) if isinstance(part, tuple))
    i, k, array = next(arrays, (0, 0, ()))
    if not array or not element.repeats:
        yield element
        return
    for item in array:
        copies = [list(parts) for parts in lists]
        copies[i][k] = item
        names = (name for name, _ in element.attributes)
        yield from _repeated(_Element(element.name, list(zip(names, copies[1:], strict=True)), copies[0]))
