"""Report to text. To add an output: one file here, its suffix in ``SUFFIXES``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evtx_analyzer.errors import ReportError
from evtx_analyzer.report.document import Report, to_json

SUFFIXES: dict[str, Callable[[Report], str]] = {
    ".json": to_json,
}


def render_for(path: str | Path) -> Callable[[Report], str]:
    """The renderer for a file name; raises ReportError where its suffix is none of ours."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ReportError(f"{path}: the suffix picks the format of an output; expected one of {known}")
    return SUFFIXES[suffix]
