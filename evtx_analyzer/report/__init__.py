"""Render a report as text or bytes. To add an output, write a module here and put its suffix into ``SUFFIXES``.

The longest suffix that a file name ends in decides: ``x.csv`` holds the refusals, ``x.operations.csv`` the certificate
checks, ``x.links.csv`` the pairs of both, ``x.replies.csv`` the distinct replies, ``x.common.csv`` the traits that all
refusals share.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Literal

from evtx_analyzer.errors import ReportError
from evtx_analyzer.report.document import Report, to_json
from evtx_analyzer.report.language import ENGLISH, Language
from evtx_analyzer.whole_files import write_whole

Renderer = Callable[[Report, Language], bytes]
"""Returns a report in a language; text is in UTF-8."""
_FORMS: tuple[Literal["csv", "parquet"], ...] = ("csv", "parquet")


def _by(module: str) -> Renderer:
    """Return the renderer ``to_MODULE`` of a module, which is imported when it is needed: it is slow to import."""

    def render(report: Report, say: Language) -> bytes:
        text: str = getattr(import_module(f"{__name__}.{module}"), f"to_{module}")(report, say)
        return text.encode("utf-8", "replace")

    return render


def _table(name: str, form: Literal["csv", "parquet"]) -> Renderer:
    def render(report: Report, say: Language) -> bytes:  # noqa: ARG001  column names are ids
        from evtx_analyzer.report import csv_tables

        return csv_tables.rendered(getattr(csv_tables, name.upper()), report, form)

    return render


# The first match is taken, so a suffix stands before any other that it ends in.
SUFFIXES: dict[str, Renderer] = {
    ".json": lambda report, _: to_json(report).encode(),
    ".html": _by("html"),
    ".md": _by("markdown"),
    ".txt": _by("terminal"),
    ".timesketch.jsonl": _by("timesketch"),
    **{
        (f".{form}" if name == "rejections" else f".{name}.{form}"): _table(name, form)
        for form in _FORMS
        for name in ("operations", "links", "replies", "common", "rejections")
    },
}


_NAMES = {"markdown": "md", "text": "txt", "timesketch": "timesketch.jsonl"}


def suffix_of(name: str) -> str:
    """Return the suffix of a format by its name (``--format``); the names of most are their suffixes."""
    return f".{_NAMES.get(name, name)}"


def render_for(path: str | Path) -> Renderer:
    """Return the renderer for a file name. Raises ReportError for an unknown suffix."""
    name = Path(path).name.lower()
    for suffix, render in SUFFIXES.items():
        if name.endswith(suffix):
            return render
    raise ReportError(f"{path}: the suffix picks the format of an output; expected one of {', '.join(SUFFIXES)}")


def write(report: Report, path: str | Path, say: Language = ENGLISH) -> None:
    """Write a report, whole or not at all, in the format of the suffix. Raises ReportError if it cannot be written."""
    write_whole(path, render_for(path)(report, say))
