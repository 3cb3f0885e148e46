"""Two small line plots side by side as SVG: seconds over what is on the axis below."""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH, _HEIGHT, _MARGIN = 320, 220, 46


def plot(panels: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """One panel for each (title of the axis, points)."""
    parts = [_panel(number * _WIDTH, title, points) for number, (title, points) in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH * len(panels)}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(left: int, title: str, points: Sequence[tuple[float, float]]) -> str:
    right, top = max(x for x, _ in points) or 1, max(y for _, y in points) or 1
    wide, high = _WIDTH - 1.5 * _MARGIN, _HEIGHT - 2 * _MARGIN
    placed = [(left + _MARGIN + x / right * wide, _HEIGHT - _MARGIN - y / top * high) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{value:g}: {seconds:.2f} s</title></circle>\n'
        for (x, y), (value, seconds) in zip(placed, points, strict=True)
    )
    x0, y0 = left + _MARGIN, _HEIGHT - _MARGIN
    return (
        f'<path d="M{x0},{_MARGIN}V{y0}H{x0 + wide:.0f}" fill="none" stroke="gray"/>\n'
        f'<polyline points="{line}" fill="none" stroke="black"/>\n{dots}'
        f'<text x="{x0 - 4}" y="{_MARGIN}" text-anchor="end">{top:.1f} s</text>\n'
        f'<text x="{x0 - 4}" y="{y0}" text-anchor="end">0</text>\n'
        f'<text x="{x0 + wide:.0f}" y="{y0 + 14}" text-anchor="end">{right:g}</text>\n'
        f'<text x="{x0 + wide / 2:.0f}" y="{y0 + 30}" text-anchor="middle">{title}</text>\n'
    )
