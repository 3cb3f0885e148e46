"""What the program says beside its report: on stderr, and in a log file where one was asked for.

    -q              errors only
    (nothing)       what was written where
    -v              what is read, how long it took, and the traceback of an unforeseen error
    --log-file F    all of that with times, whatever stderr shows

Library code does not log: what a reader of a report must know stands in the report.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from evtx_analyzer.errors import OptionError

LOG = logging.getLogger("evtx_analyzer")


def set_up(*, quiet: bool, verbose: bool, log_file: Path | None) -> None:
    """Send what is said to stderr as far as asked for, and to the log file; raises OptionError where that fails."""
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False
    LOG.handlers = [_to_stderr(quiet=quiet, verbose=verbose)]
    if log_file is not None:
        LOG.addHandler(_to_file(log_file))
        LOG.debug("evtx-analyzer %s, Python %s on %s", _version(), sys.version.split()[0], sys.platform)
    if quiet and verbose:
        raise OptionError("-q and -v contradict each other")


def _version() -> str:
    from evtx_analyzer.version import VERSION

    return VERSION


def _to_stderr(*, quiet: bool, verbose: bool) -> logging.Handler:
    handler = logging.StreamHandler() if sys.stderr is not None else logging.NullHandler()
    handler.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    # Errors are said in one line by ``main``; their tracebacks are for those who ask for more.
    handler.addFilter(lambda record: verbose or record.exc_info is None)
    handler.addFilter(lambda record: not getattr(record, "said", False))
    handler.setFormatter(_Plain("%(message)s"))
    return handler


def _to_file(path: Path) -> logging.Handler:
    try:
        handler = _Log(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OptionError(f"--log-file {path}: cannot be written ({error.strerror})") from error
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
    return handler


class _Log(logging.FileHandler):
    """A log file that cannot be written to any more ends nothing, and is no matter for stderr."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """Do without the line."""


class _Plain(logging.Formatter):
    """Names of files and members can not act on a terminal, nor begin a line of their own."""

    def format(self, record: logging.LogRecord) -> str:
        from evtx_analyzer.plain_text import clean

        text, _, trace = super().format(record).partition("\nTraceback")
        return clean(text) + (f"\nTraceback{trace}" if trace else "")


def reading(tell: Callable[[str, int], None] | None) -> Callable[[str, int], None] | None:
    """Return the progress of reading, with a line in the log for each source when it is first read."""
    if not any(handler.level <= logging.DEBUG for handler in LOG.handlers):
        return tell
    seen: set[str] = set()

    def told(path: str, size: int) -> None:
        if path not in seen:
            seen.add(path)
            LOG.debug("reading %s", path)
        if tell is not None:
            tell(path, size)

    return told
