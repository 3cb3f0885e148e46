"""Draw the outline of a report for a terminal: what to know and do first, then the evidence, and the losses last.

    probable: The server does not send its intermediate certificates (KB 3212877)
      3 refusals with 5.7.64 on CORP-SMTP1, 2016-12-01 03:09:55.774 UTC to ...

    Do this first
      Get the intermediate certificates from the issuer of the certificate ...

Control characters in text of logs are replaced, so that a certificate's name cannot move the cursor. Commands and
addresses are never broken, however narrow the terminal, so that they can be copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.style import Style

from evtx_analyzer import clock
from evtx_analyzer.plain_text import clean, clip
from evtx_analyzer.report.blocks import (
    Block,
    Bullet,
    Bullets,
    Paragraph,
    Picture,
    Reference,
    Section,
    Steps,
    Table,
    Tone,
)
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language
from evtx_analyzer.report.outline import outline
from evtx_analyzer.report.shared import lane_title
from evtx_analyzer.report.steps import Step
from evtx_analyzer.report.timeline import Bin, Lane, LaneName, Mark, Timeline

PLAIN_WIDTH = 110
_STYLES: dict[Tone, str] = {
    "": "",
    "soft": "dim",
    "strong": "bold",
    "warn": "yellow",
    "bad": "red",
    "clean": "bold green",
    "confirmed": "bold red",
    "probable": "bold red",
    "possible": "bold yellow",
    "coincident": "cyan",
    "contradicted": "magenta",
    "no-evidence": "dim",
}
_LONGEST = 1500
_LONGEST_CELL = 120
_LONGEST_WORD = 40  # the length of a thumbprint; longer words may be broken
_INDENT = "  "
_HANGING = 8  # lines below a longer sign are indented less than the text behind it
_SYMBOLS: dict[LaneName, str] = {"failures": "x", "successes": "o", "handshakes": "^", "refusals": "#"}
_LANES: dict[LaneName, str] = {
    "failures": "red",
    "successes": "green",
    "handshakes": "blue",
    "refusals": "yellow",
}


def to_terminal(
    report: Report,
    say: Language = ENGLISH,
    *,
    width: int = PLAIN_WIDTH,
    color: bool = False,
    opening_only: bool = False,
) -> str:
    """Return the report as text, in lines of at most ``width`` cells, commands and addresses apart.

    ``color`` adds color codes; ``opening_only`` leaves out everything behind the opening.
    """
    draw = _Draw(say, width, color=color)
    sections = [section for section in outline(report, say) if section.opening or not opening_only]
    return "\n\n".join("\n".join(line.rstrip() for line in draw.section(section)) for section in sections) + "\n"


def _wrapped(text: str, room: int, longest: int | None = None) -> list[str]:
    """Return a text in lines of at most ``room`` cells, broken at blanks only; words over ``longest`` are broken."""
    lines = [""]
    for word in text.split():
        while longest is not None and cell_len(word) > max(longest, room):
            lines.append(set_cell_size(word, room).rstrip())
            word = word[len(lines[-1]) :]  # noqa: PLW2901  the part that is left
        if not lines[-1] or cell_len(lines[-1]) + 1 + cell_len(word) > room:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines[1:] or [""]


class _Draw:
    """Turns sections into lines of a terminal."""

    def __init__(self, say: Language, width: int, *, color: bool) -> None:
        self._say, self._width, self._color = say, width, color

    def section(self, section: Section) -> Iterator[str]:
        yield from self.text(section.title, style=_STYLES[section.tone] or "bold")
        for block in section.blocks:
            yield from self.block(block)

    def block(self, block: Block) -> Iterator[str]:
        match block:
            case Paragraph():
                yield from self.text(block.text, _INDENT, style=_STYLES[block.tone])
            case Bullets():
                for bullet in block.bullets:
                    yield from self.bullet(bullet)
            case Table():
                yield from self.table(block)
            case Steps():
                for step in block.steps:
                    yield from self.step(step, block)
            case Reference():
                yield from self.text(f"{block.text}{':' if block.url else ''}", _INDENT)
                yield f"{_INDENT * 2}{block.url}"
            case Picture():
                yield from self.timeline(block.line)

    def styled(self, text: str, style: str) -> str:
        if not self._color or not style or not text:
            return text
        return Style.parse(style).render(text, color_system=ColorSystem.EIGHT_BIT)

    def text(
        self, text: str, begin: str = "", follow: str | None = None, *, style: str = "", begin_style: str = ""
    ) -> Iterator[str]:
        """Yield the lines of a text, with ``begin`` in front of the first one and ``follow`` in front of the others."""
        follow = " " * cell_len(begin) if follow is None else follow
        # If ``begin`` is longer, the first line has less room: dots take the difference while the text is wrapped.
        hang = max(cell_len(begin) - cell_len(follow), 0)
        lines = _wrapped(f"{'.' * (hang - 1)} {_shown(text)}" if hang else _shown(text), self._width - cell_len(follow))
        for number, line in enumerate(lines):
            if number:
                yield follow + self.styled(line, style)
            else:
                yield self.styled(begin, begin_style) + self.styled(line[hang:], style)

    def bullet(self, bullet: Bullet) -> Iterator[str]:
        style = _STYLES[bullet.tone]
        text = f"{bullet.time}: {bullet.text}" if bullet.time else bullet.text
        begin = f"{_INDENT}{_shown(bullet.sign)} "
        follow = " " * cell_len(begin) if cell_len(begin) <= _HANGING else _INDENT * 2
        yield from self.text(text, begin, follow, style=style if bullet.tone == "bad" else "", begin_style=style)
        for line in (*bullet.items, *([bullet.place] if bullet.place else [])):
            yield from self.text(line, follow, style=_STYLES["soft"])

    def step(self, step: Step, of: Steps) -> Iterator[str]:
        widest = max(len(str(other.number)) for other in of.steps)
        inner = " " * (len(_INDENT) + widest + 2) if of.numbered else _INDENT
        if step.text:
            number = f"{step.number}." if of.numbered and step.number else ""
            yield from self.text(step.text, f"{_INDENT}{number}".ljust(len(inner)), inner)
        for run in step.runs:
            for note in run.notes:
                yield from self.text(note, inner)
            for command in run.commands:
                yield inner + _INDENT + self.styled(clean(command), "green")

    def table(self, table: Table) -> Iterator[str]:
        """Yield the lines of a table; if the longest words do not fit, its cells stand below each other."""
        rows = [table.titles, *([clip(clean(cell), _LONGEST_CELL) for cell in row] for row in table.rows)]
        room = self._width - len(_INDENT)
        columns = list(zip(*rows, strict=True))
        narrow = [
            max(min(cell_len(word), _LONGEST_WORD) for cell in cells for word in f"{cell} x".split())
            for cells in columns
        ]
        gap = next((gap for gap in (3, 2) if sum(narrow) + gap * (len(narrow) - 1) <= room), 1)
        room -= gap * (len(narrow) - 1)
        if sum(narrow) > room:
            yield from self.stacked(table, rows[1:])
            return
        widths = _widths(narrow, [max(cell_len(cell) for cell in cells) for cells in columns], room)
        for number, row in enumerate(rows):
            style = "bold" if not number or number - 1 in table.marked else ""
            for line in _row(row, widths, table.numeric):
                yield _INDENT + self.styled((" " * gap).join(line).rstrip(), style)
            if not number:
                yield _INDENT + "\u2500" * (sum(widths) + gap * (len(widths) - 1))

    def stacked(self, table: Table, rows: Sequence[Sequence[str]]) -> Iterator[str]:
        """Yield the lines of a table that is too wide: a text for each cell, with the title of its column in front."""
        widest = max(cell_len(title) for title in table.titles) + 2
        for number, row in enumerate(rows):
            if number:
                yield ""
            for title, cell in zip(table.titles, row, strict=True):
                if cell:
                    begin = _INDENT + set_cell_size(title, widest)
                    yield from self.text(cell, begin, style="bold" if number in table.marked else "")

    def timeline(self, line: Timeline) -> Iterator[str]:
        """Yield four lanes of characters: a mark, a digit for several marks, dots for time that the logs cover."""
        names = [lane_title(lane, self._say) for lane in line.lanes]
        left = max(cell_len(name) for name in names) + 1
        cells = max(self._width - left - 6, 20)
        for name, lane in zip(names, line.lanes, strict=True):
            drawn = "".join(
                self.styled(_symbol(lane.name, count, covered=covered), _LANES[lane.name] if count else "dim")
                for count, covered in _cells(lane, cells)
            )
            yield f"{_INDENT}{set_cell_size(name, left)}|{drawn}|"
        start, end = clock.as_text(line.start), clock.as_text(line.end)
        if line.start.date() == line.end.date():
            end = end.partition(" ")[2]
        times = start + end.rjust(max(cells + 2 - len(start), len(end) + 1))
        yield _INDENT + " " * left + self.styled(times, "dim")


def _widths(narrow: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns, which grow from ``narrow`` to ``natural``, the narrowest first, up to ``room``."""
    widths = list(narrow)
    while (spare := room - sum(widths)) > 0:
        growing = [number for number, width in enumerate(widths) if width < natural[number]]
        if not growing:
            break
        for number in sorted(growing, key=lambda number: widths[number])[:spare]:
            widths[number] += 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[int]) -> Iterator[list[str]]:
    """Yield the lines of a row of a table, every cell as wide as its column."""
    wrapped = [_wrapped(cell, width, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        yield [
            part.rjust(width) if number in numeric else set_cell_size(part, width)
            for number, (part, width) in enumerate(zip(parts, widths, strict=True))
        ]


def _shown(text: str) -> str:
    """Return a text with control characters replaced and cut to a readable length."""
    return clip(clean(text), _LONGEST)


def _cells(lane: Lane, cells: int) -> Iterable[tuple[int, bool]]:
    """Return for each character cell how many marks fall into it, and whether a log covers it."""
    counts = [0] * cells
    drawn: tuple[Mark | Bin, ...] = (*lane.marks, *lane.bins)
    for mark in drawn:
        counts[min(int(mark.x * cells), cells - 1)] += mark.count
    middles = [(number + 0.5) / cells for number in range(cells)]
    return [(count, any(a <= x <= b for a, b in lane.covered)) for count, x in zip(counts, middles, strict=True)]


def _symbol(lane: LaneName, count: int, *, covered: bool) -> str:
    if count == 1:
        return _SYMBOLS[lane]
    if count:
        return str(count) if count <= 9 else "*"  # noqa: PLR2004  one digit
    return "." if covered else " "
