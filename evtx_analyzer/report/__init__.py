"""Render a report as text or bytes. To add an output, write a module here and put its suffix into ``SUFFIXES``.

The longest suffix that a file name ends in decides: ``x.csv`` holds the refusals, ``x.operations.csv`` the certificate
checks, ``x.links.csv`` the pairs of both, ``x.replies.csv`` the distinct replies, ``x.common.csv`` the traits that all
refusals share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evtx_analyzer.errors import ReportError
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language
from evtx_analyzer.whole_files import write_whole

Renderer = Callable[[Report, Language], str | bytes]


def _json(report: Report, say: Language) -> str:  # noqa: ARG001  JSON is the same in every language
    from evtx_analyzer.report.document import to_json

    return to_json(report)


def _html(report: Report, say: Language) -> str:
    from evtx_analyzer.report.html import to_html

    return to_html(report, say)


def _markdown(report: Report, say: Language) -> str:
    from evtx_analyzer.report.markdown import to_markdown

    return to_markdown(report, say)


def _text(report: Report, say: Language) -> str:
    from evtx_analyzer.report.terminal import to_terminal

    return to_terminal(report, say)


def _timesketch(report: Report, say: Language) -> str:
    from evtx_analyzer.report.timesketch import to_timesketch

    return to_timesketch(report, say)


def _table(name: str, form: str) -> Renderer:
    def render(report: Report, say: Language) -> str | bytes:
        from evtx_analyzer.report import csv_tables as flat

        table: flat.ReportTable = getattr(flat, name.upper())
        return flat.to_csv(table)(report, say) if form == "csv" else flat.to_parquet(table)(report, say)

    return render


# The first match is taken, so a suffix stands before any other that it ends in.
SUFFIXES: dict[str, Renderer] = {
    ".json": _json,
    ".html": _html,
    ".md": _markdown,
    ".txt": _text,
    ".timesketch.jsonl": _timesketch,
    ".operations.csv": _table("operations", "csv"),
    ".links.csv": _table("links", "csv"),
    ".replies.csv": _table("replies", "csv"),
    ".common.csv": _table("common", "csv"),
    ".csv": _table("rejections", "csv"),
    ".operations.parquet": _table("operations", "parquet"),
    ".links.parquet": _table("links", "parquet"),
    ".replies.parquet": _table("replies", "parquet"),
    ".common.parquet": _table("common", "parquet"),
    ".parquet": _table("rejections", "parquet"),
}


def render_for(path: str | Path) -> Renderer:
    """Return the renderer for a file name. Raises ReportError for an unknown suffix."""
    name = Path(path).name.lower()
    for suffix, render in SUFFIXES.items():
        if name.endswith(suffix):
            return render
    raise ReportError(f"{path}: the suffix picks the format of an output; expected one of {', '.join(SUFFIXES)}")


def rendered(report: Report, path: str | Path, say: Language = ENGLISH) -> bytes:
    """Return the bytes of a report in the format of a file's suffix. Raises ReportError for an unknown one."""
    content = render_for(path)(report, say)
    return content.encode("utf-8", errors="replace") if isinstance(content, str) else content


def write(report: Report, path: str | Path, say: Language = ENGLISH) -> None:
    """Write a report, whole or not at all, in the format of the suffix. Raises ReportError if it cannot be written."""
    write_whole(path, rendered(report, path, say))
