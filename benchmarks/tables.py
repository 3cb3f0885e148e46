"""What was measured as Markdown, and into a document between its marks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import Measured
from benchmarks.sections import Goal, Section, net

_HEAD = ("what", "wall s", "least to most", "CPU s", "peak MB", "GB/s", "wall, ours = 1", "CPU, ours = 1")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; where any cell of a column begins with a digit, it is set right."""
    body = [list(row) for row in rows]
    numbers = [any(row[column][:1].isdigit() for row in body) for column in range(len(head))]
    rule = ["---", *("---:" if right else "---" for right in numbers[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), rule, *body])


def section(item: Section) -> str:
    """A section: its table, what it costs without the start, and its goals."""
    parts = [f"### {item.title}", table(_HEAD, (_row(entry, item.measured) for entry in item.measured))]
    net = _net(item.measured)
    parts += [net] if net else []
    parts += [item.note] if item.note else []
    if item.goals:
        parts.append(table(("goal", "measured", "state"), (_goal(goal, item.measured) for goal in item.goals)))
    return "\n\n".join(parts)


def _row(measured: Measured, others: Sequence[Measured]) -> list[str]:
    if not measured.costs:
        return [measured.entry.name, measured.failed, *[""] * (len(_HEAD) - 2)]
    least, most = measured.spread
    ours = next((other for other in others if other.entry.ours and other.costs), None)
    return [
        measured.entry.name,
        seconds(measured.wall),
        f"{seconds(least)} to {seconds(most)}" if len(measured.costs) > 1 else "one run",
        seconds(measured.cpu),
        f"{measured.memory:.0f}",
        speed(measured.entry.size / measured.wall) if measured.entry.size else "",
        ratio(measured.wall / ours.wall) if ours else "",
        ratio(measured.cpu / ours.cpu) if ours and ours.cpu else "",
    ]


def seconds(value: float) -> str:
    """Three digits that count, and no more than a thousandth."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def speed(value: float) -> str:
    """Bytes a second in GB/s."""
    return f"{value / 1e9:.2f}" if value >= 1e8 else f"{value / 1e9:.2g}"


def ratio(value: float) -> str:
    """Two digits that count, or more where they stand before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _net(measured: Sequence[Measured]) -> str:
    """What our own speed is where the start is not counted."""
    ours = next((item for item in measured if item.entry.ours and item.costs), None)
    first = next((item for item in measured if item.entry.name.endswith("its start") and item.costs), None)
    if ours is None or first is None:
        return ""
    try:
        rest = net({item.entry.name: item for item in (ours, first)})
    except ValueError as problem:
        return f"Speed without the start: {problem}."
    return (
        f"Without its start ({seconds(first.cpu)} s) ours reads {speed(ours.entry.size / rest)} GB in a second of CPU."
    )


def _goal(goal: Goal, measured: Sequence[Measured]) -> list[str]:
    found = {item.entry.name: item for item in measured if item.costs}
    try:
        value = goal.value(found)
    except ValueError as problem:
        return [goal.text, "", str(problem)]
    return [goal.text, f"{ratio(value)} {goal.unit}", verdict(value, goal.limit, least=goal.least)]


def verdict(value: float, limit: float, *, least: bool) -> str:
    """Whether a goal is reached, and if not, by which factor it is missed."""
    factor = value / limit if not least else limit / value if value else math.inf
    return "reached" if factor <= 1 else f"**missed** by a factor of {ratio(factor)}"


def data(item: Section) -> dict[str, Any]:
    """A section as plain data."""
    return {
        "name": item.name,
        "title": item.title,
        "rows": [
            {
                "what": row.entry.name,
                "size": row.entry.size,
                "scale": row.entry.scale,
                "ours": row.entry.ours,
                "failed": row.failed,
                "runs": [cost._asdict() for cost in row.costs],
            }
            for row in item.measured
        ],
    }


def written(path: Path, texts: dict[str, str]) -> None:
    """Write texts to a document: each between its marks ``<!-- NAME -->`` and ``<!-- end -->`` where it has these."""
    document = path.read_text(encoding="utf-8") if path.is_file() else ""
    for name, text in texts.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if marked.search(document):
            document = marked.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", document)  # type: ignore[misc]
        else:
            document += f"<!-- {name} -->\n{text}\n<!-- end -->\n\n"
    path.write_text(document, encoding="utf-8")
