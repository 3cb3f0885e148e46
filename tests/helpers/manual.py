"""Tables of the manual that are generated from the code, between ``<!-- generated: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"<!-- generated: (?P<name>[\w-]+) -->\n(?P<text>.*?)<!-- end -->\n", re.DOTALL)


def table(head, rows):
    """A Markdown table; a bar inside of a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def check(path, tables, *, update):
    """Whether a page holds these tables by name, and no others; ``update`` writes them."""
    page = path.read_text(encoding="utf-8")
    assert sorted(match["name"] for match in _BLOCK.finditer(page)) == sorted(tables)
    made = _BLOCK.sub(lambda match: f"<!-- generated: {match['name']} -->\n{tables[match['name']]}<!-- end -->\n", page)
    if update:
        path.write_text(made, encoding="utf-8")
    assert update or page == made, f"{path.name} is older than the code; run this test with --update-snapshots"
