"""Write a report to its files and to stdout; an output that cannot be written costs no other.

With files, stdout gets the first block of the report, and stderr the names of the files. Without files, with ``--full``
or with ``-o -`` stdout gets the whole report, on a terminal through a pager if it is longer than the screen.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evtx_analyzer.cli.conversation import LOG
from evtx_analyzer.cli.options import STDOUT, Format, Outputs, Redact
from evtx_analyzer.cli.streams import require_writable, write_document, write_text
from evtx_analyzer.errors import OptionError, ReportError
from evtx_analyzer.whole_files import write_whole

if TYPE_CHECKING:
    from evtx_analyzer.report.document import Report
    from evtx_analyzer.report.language import Language

NOT_WRITTEN = 5
"""Exit status if the analysis is done and one of its outputs could not be written."""

_TO_STDOUT = (logging.DEBUG, "wrote to standard output")
_OTHER_NAMES = 9  # report.1.csv to report.9.csv; more open copies are a mistake


def checked(to: Outputs, *, rules: Path | None = None, inputs: Iterable[str] = ()) -> Language:
    """Check the outputs before the work begins, and return their language.

    Raises ReportError for an unknown suffix, OptionError for any other output that could not be written in the end, and
    for a file that is one of ``inputs``.
    """
    from evtx_analyzer.discover import real_path
    from evtx_analyzer.report import language, render_for

    for path in to.files:
        if path != STDOUT:
            if any(name != "-" and real_path(path) == real_path(name) for name in inputs):
                raise OptionError(f"{path}: is an input; name another file for the report")
            render_for(path)
            require_writable(path)
    require_redaction(to.redact, to.redact_map)
    return language.load(to.lang, rules)


def require_redaction(redact: Redact | None, redact_map: Path | None) -> None:
    """Raise OptionError for a file of aliases that cannot be written, or that would hold none."""
    if redact_map is not None:
        require_writable(redact_map)
        if redact is None:
            raise OptionError("--redact-map needs --redact, for without it there are no aliases")


def deliver(report: Report, to: Outputs, say: Language) -> bool:
    """Write a report to all its outputs, and return whether all could be written. stderr names those that could not."""
    from evtx_analyzer.report import write

    writers: list[Callable[[], tuple[int, str]]] = []
    if to.redact is not None:
        from evtx_analyzer.report.redact import mapping_text, redacted

        report, originals = redacted(report, everything=to.redact is Redact.all)
        if to.redact_map is not None:
            mapping = mapping_text(originals).encode("utf-8", "replace")
            writers.append(partial(_write_file, to.redact_map, lambda path: write_whole(path, mapping)))
    files = [file for file in to.files if file != STDOUT]
    writers += [partial(_write_file, file, lambda path: write(report, path, say)) for file in files]
    # Files first, because stdout may wait for a reader.
    writers.append(partial(_write_stdout, report, to, say))
    # The messages come after all writing, so that they stand below the report, where they are seen.
    messages = [_attempted(writer) for writer in writers]
    for level, text in messages:
        LOG.log(level, text)
    return all(level < logging.ERROR for level, _ in messages)


def _attempted(write: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Write an output, and return the level and text of a message on it, also if it failed."""
    try:
        return write()
    except ReportError as error:
        return logging.ERROR, f"evtx-analyzer: {error}"
    except OSError as error:
        return logging.ERROR, f"evtx-analyzer: standard output: cannot be written ({error.strerror or error})"


def _write_file(path: Path, write: Callable[[Path], None]) -> tuple[int, str]:
    """Write a file, and return the level and text of a message on it.

    If another program on Windows has the file open (a table in Excel), a file ``NAME.1.SUFFIX`` is written instead.
    """
    try:
        write(path)
    except ReportError as error:
        open_elsewhere = sys.platform == "win32" and isinstance(error.__cause__, PermissionError)
        substitute = _free_name(path) if open_elsewhere else None
        if substitute is None or not path.is_file():
            raise
        write(substitute)
        return logging.WARNING, f"{path} is open in another program; wrote {substitute}"
    return logging.INFO, f"wrote {path}"


def _free_name(path: Path) -> Path | None:
    """Return ``report.1.csv`` for ``report.csv``, or the next free number; None if all are taken."""
    # In front of all suffixes, because they decide the format (``.links.csv``).
    stem, dot, suffixes = path.name.partition(".")
    names = (path.with_name(f"{stem}.{number}{dot}{suffixes}") for number in range(1, _OTHER_NAMES + 1))
    return next((name for name in names if not name.exists()), None)


def _write_stdout(report: Report, to: Outputs, say: Language) -> tuple[int, str]:
    from evtx_analyzer.report import render_for, suffix_of

    if to.format is not Format.terminal:
        text = render_for(f"stdout{suffix_of(to.format)}")(report, say).decode()
        write_text(text) if to.format is Format.markdown else write_document(text)
        return _TO_STDOUT
    import shutil

    from evtx_analyzer.report.terminal import PLAIN_WIDTH, to_terminal

    terminal = sys.stdout is not None and sys.stdout.isatty()
    size = shutil.get_terminal_size()
    text = to_terminal(
        report,
        say,
        width=max(size.columns, 40) if terminal else PLAIN_WIDTH,
        color=terminal and "NO_COLOR" not in os.environ,
        opening_only=not to.whole,
    )
    if terminal and to.whole and text.count("\n") >= size.lines:
        from evtx_analyzer.cli.pager import page

        if page(text):
            return _TO_STDOUT
    write_text(text)
    return _TO_STDOUT
