"""EVTX files with right checksums whose records unfold without end, made with the parts of the samples' writer."""

from __future__ import annotations

from samples import evtx_writer as writer
from samples.event_records import Element, Filled, Record, Slot
from samples.evtx_writer import _Chunk

TEXT, BINXML, TEXTS = 0x01, 0x21, 0x81
_TIME = 131_251_000_000_000_000


def _sealed(*roots, first=1):
    chunk = _Chunk(first)
    for number, root in enumerate(roots, first):
        assert chunk.add(Record(number, _TIME, root)), "fits a chunk"
    return writer._file_header(1, 0, first + len(roots), 1, dirty=False) + chunk.sealed()


# Only what may be of a known provider is decoded at all.
_PROVIDER = Element("Provider", (("Name", "Microsoft-Windows-CAPI2"),))


def _root(content, values):
    return Filled(Element("Event", (), (_PROVIDER, *content)), tuple(values))


def laughs(width=50, levels=6):
    """A template that names its value 50 times, and that is what the same value of the next one holds, six levels."""
    inner = _root([Slot(0, TEXT, False)], [(TEXT, "ha".encode("utf-16-le"))])
    for level in range(levels):
        slots = [Slot(0, BINXML, False)] * width
        inner = Filled(Element(f"L{level}", (), tuple(slots)), ((BINXML, inner),))
    return _sealed(_root([Slot(0, BINXML, False)], [(BINXML, inner)]))


def arrays(items=4_000):
    """Two arrays in one element: it is written once for each pair of items."""
    text = "a\0".encode("utf-16-le") * items
    return _sealed(_root([Element("D", (), (Slot(0, TEXTS, False), Slot(1, TEXTS, False)))], [(TEXTS, text)] * 2))


def text(length=9_000, times=6_000):
    """One long value, named thousands of times."""
    return _sealed(_root([Slot(0, TEXT, False)] * times, [(TEXT, ("x" * length).encode("utf-16-le"))]))


def array_of_long(items=4_000):
    """An array in an element with a long text of its own."""
    long = Element("D", (), ("y" * 15_000, Slot(0, TEXTS, False)))
    return _sealed(_root([long], [(TEXTS, "a\0".encode("utf-16-le") * items)]))


def numbers(items=60_000):
    """An array of one-byte numbers and a text, in one element."""
    return _sealed(_root([Element("D", (), (Slot(0, 0x84, False), "z" * 900))], [(0x84, bytes(items))]))


def many(bomb, chunks):
    """The same chunk again and again."""
    data = bomb()
    return data[:4096] + data[4096:] * chunks


BOMBS = {"laughs": laughs, "arrays": arrays, "text": text, "array-of-long": array_of_long, "numbers": numbers}
