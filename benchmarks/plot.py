"""Line plots side by side as one static SVG: two in a row, each with a legend of its own.

Colors are Okabe and Ito's, told apart by color-blind readers too; each line also has its own marks and dashes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

Series = tuple[str, int, Sequence[tuple[float, float]]]  # name, number of its color and marks, points
_WIDTH, _HEIGHT = 480, 360  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 24, 104, 56  # around its axes
_TITLE = 44
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
_INK, _FAINT = "#222222", "#d9d9d9"


class Panel(NamedTuple):
    """Title, what is on the axes, lines; ``log`` axes are logarithmic; ``guide`` draws y = guide * x, in gray."""

    title: str
    across: str
    up: str
    series: Sequence[Series]
    log: bool
    guide: float = 0.0


class _Axis(NamedTuple):
    """From a value to a place between two: least and most value, and their places."""

    least: float
    most: float
    start: float
    end: float
    log: bool

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        if self.log:
            share = math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        else:
            share = (value - self.least) / (self.most - self.least)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Values with a line: powers of ten, or some four round numbers."""
        if self.log:
            first, last = round(math.log10(self.least)), round(math.log10(self.most))
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step(self.most / 4)
        return [step * number for number in range(int(self.most / step + 1e-9) + 1)]


def plot(title: str, panels: Sequence[Panel]) -> str:
    """The picture."""
    wide, high = 2 * _WIDTH, _TITLE + (len(panels) + 1) // 2 * _HEIGHT
    drawn = "".join(
        f'<g transform="translate({number % 2 * _WIDTH} {_TITLE + number // 2 * _HEIGHT})">\n{_panel(panel)}</g>\n'
        for number, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}" role="img" aria-labelledby="title">\n'
        f'<title id="title">{escape(title)}</title>\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'<text x="{wide / 2:g}" y="30" font-size="19" font-weight="600" text-anchor="middle">{escape(title)}</text>\n'
        f"{drawn}</svg>\n"
    )


def _panel(panel: Panel) -> str:
    across, up = _axes(panel)
    parts = [
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="600">{escape(panel.title)}</text>\n',
        *(_across_tick(across, value, up) for value in across.ticks()),
        *(_up_tick(up, value, across) for value in up.ticks()),
        f'<path d="M{across.start} {up.end}V{up.start}H{across.end}" fill="none" stroke="{_INK}"/>\n',
        _centered(f'x="{(across.start + across.end) / 2:g}" y="{up.start + 40}"', panel.across),
        _centered(f'transform="translate(16 {(up.start + up.end) / 2:g}) rotate(-90)"', panel.up),
        _guide(panel, across, up),
    ]
    for row, (name, style, points) in enumerate(panel.series):
        parts += [_line(name, style, points, panel.up, across, up), _legend(row, style, name)]
    return "".join(parts)


def _centered(where: str, text: str) -> str:
    return f'<text {where} text-anchor="middle">{escape(text)}</text>\n'


def _axes(panel: Panel) -> tuple[_Axis, _Axis]:
    xs = [x for _, _, points in panel.series for x, _ in points]
    ys = [y for _, _, points in panel.series for _, y in points]
    places = (_LEFT, _WIDTH - _RIGHT), (_HEIGHT - _BOTTOM, _TOP)
    if panel.log:
        return _Axis(*_decades(xs), *places[0], True), _Axis(*_decades(ys), *places[1], True)
    top = max(ys) * 1.05 or 1.0
    step = _round_step(top / 4)
    return _Axis(0, max(xs) or 1.0, *places[0], False), _Axis(0, math.ceil(top / step) * step, *places[1], False)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around values, two different ones."""
    least = math.floor(math.log10(max(min(values), 1e-3)) + 1e-9)
    return 10.0**least, 10.0 ** max(math.ceil(math.log10(max(*values, 1e-3)) - 1e-9), least + 1)


def _round_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _across_tick(axis: _Axis, value: float, other: _Axis) -> str:
    x = axis.place(value)
    return (
        f'<path d="M{x:.1f} {other.start}V{other.end}" stroke="{_FAINT}"/>\n'
        f'<text x="{x:.1f}" y="{other.start + 18}" text-anchor="middle">{value:,g}</text>\n'
    )


def _up_tick(axis: _Axis, value: float, other: _Axis) -> str:
    y = axis.place(value)
    return (
        f'<path d="M{other.start} {y:.1f}H{other.end}" stroke="{_FAINT}"/>\n'
        f'<text x="{other.start - 7}" y="{y + 4.5:.1f}" text-anchor="end">{value:,g}</text>\n'
    )


def _guide(panel: Panel, across: _Axis, up: _Axis) -> str:
    """A gray line for 1 GB/s, as far as it lies between the axes; named at its low end, where no start-up is."""
    if not panel.guide:
        return ""
    left = max(across.least, up.least / panel.guide)
    right = min(across.most, up.most / panel.guide)
    if left >= right:
        return ""
    ends = [(across.place(x), up.place(x * panel.guide)) for x in (left, right)]
    return (
        f'<path d="M{ends[0][0]:.1f} {ends[0][1]:.1f}L{ends[1][0]:.1f} {ends[1][1]:.1f}" stroke="#767676"/>\n'
        f'<text x="{ends[0][0] + 36:.1f}" y="{ends[0][1] - 6:.1f}" font-size="12" fill="#595959">1 GB/s</text>\n'
    )


def _stroke(style: int) -> str:
    dash = f' stroke-dasharray="{_DASHES[style]}"' if _DASHES[style] else ""
    return f'fill="none" stroke="{_COLORS[style]}" stroke-width="2"{dash}'


def _line(name: str, style: int, points: Sequence[tuple[float, float]], unit: str, across: _Axis, up: _Axis) -> str:
    placed = [(across.place(x), up.place(y)) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    marks = "".join(
        f"<g>{_mark(style, x, y)}<title>{escape(name)}: {value:g}: {amount:.3g} {escape(unit)}</title></g>\n"
        for (x, y), (value, amount) in zip(placed, points, strict=True)
    )
    return f'<polyline points="{line}" {_stroke(style)}/>\n{marks}'


def _legend(row: int, style: int, name: str) -> str:
    y = 40 + 18 * row
    return (
        f'<path d="M{_LEFT} {y}h36" {_stroke(style)}/>\n{_mark(style, _LEFT + 18, y)}\n'
        f'<text x="{_LEFT + 44}" y="{y + 4.5}">{escape(name)}</text>\n'
    )


def _mark(style: int, x: float, y: float) -> str:
    """A filled circle, square, triangle or diamond."""
    color = _COLORS[style]
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{color}"/>',
        f'<path d="M{x - 4:.1f} {y - 4:.1f}h8v8h-8z" fill="{color}"/>',
        f'<path d="M{x:.1f} {y - 5.5:.1f}l5 9h-10z" fill="{color}"/>',
        f'<path d="M{x:.1f} {y - 6:.1f}l5 6l-5 6l-5 -6z" fill="{color}"/>',
    )
    return shapes[style]
