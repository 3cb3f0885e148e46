"""The parts that an outline is made of: plain data, in the reader's language, without any layout."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from evtx_analyzer.model.findings import Grade
from evtx_analyzer.report.steps import Step
from evtx_analyzer.report.timeline import Timeline

Tone = Grade | Literal["", "soft", "strong", "warn", "bad", "clean"]
"""The emphasis of a text: that of a grade, or another one."""


class Paragraph(Struct, frozen=True):
    """A text that is wrapped to the width of the output."""

    text: str
    tone: Tone = ""


class Bullet(Struct, frozen=True):
    """A line of a list: the sign in front of it, when and where it was observed, and the lines below it."""

    text: str
    sign: str = "-"
    time: str = ""
    place: str = ""
    tone: Tone = ""
    items: tuple[str, ...] = ()


class Bullets(Struct, frozen=True):
    """A list."""

    bullets: tuple[Bullet, ...]


class Table(Struct, frozen=True):
    """Rows of as many cells as titles; ``numeric`` are the columns of numbers, ``marked`` the rows that stand out."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()


class Steps(Struct, frozen=True):
    """Steps to do, with numbers or without."""

    steps: tuple[Step, ...]
    numbered: bool = True


class Reference(Struct, frozen=True):
    """A source of what the report says; ``url`` may be empty."""

    text: str
    url: str


class Picture(Struct, frozen=True):
    """A time line, for an output that can draw one."""

    line: Timeline


Block = Paragraph | Bullets | Table | Steps | Reference | Picture


class Section(Struct, frozen=True):
    """A heading with its blocks; the sections with ``opening`` come first in every output."""

    title: str
    blocks: tuple[Block, ...]
    opening: bool = False
    tone: Tone = ""
