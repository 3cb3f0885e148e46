"""Guard all CSV cells, so that a spreadsheet or a terminal shows the text of a log and never runs it.

OWASP, CSV Injection (https://owasp.org/www-community/attacks/CSV_Injection): a cell that begins with ``= + - @`` is run
as a formula, also after blanks and control characters, and as full-width signs, which Excel folds to these.
"""

from __future__ import annotations

import re
from datetime import datetime

from evtx_analyzer.columns import Cell
from evtx_analyzer.plain_text import escaped

# With the full-width, small, raised and lowered forms that Unicode (NFKC) folds to a sign, and the minus sign.
SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207c\u207a\u207b\u208c\u208a\u208b\u2212"
# Protocol logs mark the connect and the disconnect with a lone sign, which is no formula.
_MARKS = ("+", "-")
# Excel in German and many other languages splits cells at ``;``, so a formula may begin after each of them.
_NEXT_CELL = re.compile(f";(?=\\s*[{re.escape(SIGNS)}])")


def csv_cell(value: Cell) -> str | int | float:
    """Return a value as a CSV cell: empty for None, times in ISO 8601, numbers as they are."""
    match value:
        case None:
            return ""
        case str():
            return safe_cell(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bool():
            return "true" if value else "false"
        case _:
            return value


def safe_cell(text: str) -> str:
    """Return a text as a CSV cell: control characters as escapes, and ``'`` before anything that begins a formula."""
    shown = text if text.isprintable() else escaped(text)
    if ";" in shown:
        shown = _NEXT_CELL.sub(";'", shown)
    first = _first_visible(text)
    return f"'{shown}" if first and first in SIGNS and text not in _MARKS else shown


def _first_visible(text: str) -> str:
    """Return the first character that is no blank, control or format character; empty if there is none."""
    return next((char for char in text if char.isprintable() and not char.isspace()), "")
