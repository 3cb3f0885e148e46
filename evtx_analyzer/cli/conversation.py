"""What the program says besides its report: on stderr, and in a log file with ``--log-file``.

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
from contextlib import suppress
from pathlib import Path
from typing import Any

from evtx_analyzer.errors import OptionError
from evtx_analyzer.plain_text import clean
from evtx_analyzer.version import VERSION

LOG = logging.getLogger("evtx_analyzer")


def set_up(*, quiet: bool, verbose: bool, log_file: Path | None) -> None:
    """Send messages to stderr, as far as the options ask for them, and to the log file.

    Raises OptionError if the log file cannot be written, or for ``-q`` with ``-v``.
    """
    end()
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False
    LOG.handlers = [_to_stderr(quiet=quiet, verbose=verbose)]
    if log_file is not None:
        LOG.addHandler(_to_file(log_file))
        LOG.debug("evtx-analyzer %s, Python %s on %s", VERSION, sys.version.split()[0], sys.platform)
    if quiet and verbose:
        raise OptionError("-q and -v contradict each other")


def end() -> None:
    """Close the log file of a run, if there is one, and send messages nowhere from now on."""
    for handler in LOG.handlers:
        # A full disk: the lines that were not written are dropped, as they were before.
        with suppress(OSError):
            handler.close()
    LOG.handlers = []


def _to_stderr(*, quiet: bool, verbose: bool) -> logging.Handler:
    handler = logging.StreamHandler() if sys.stderr is not None else logging.NullHandler()
    handler.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    # ``main`` prints an error in one line; its traceback is for -v.
    handler.addFilter(lambda record: verbose or record.exc_info is None)
    # ``complain`` has written these to stderr itself.
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
    """A log file whose lines are dropped once it can no longer be written."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """Drop the line; logging itself would print a traceback to stderr."""


class _Plain(logging.Formatter):
    """Cleans messages and tracebacks, because the names of files and members in them may hold control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """Return the message on one line, so that a name in it can neither act on a terminal nor fake a line."""
        return clean(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401  logging's own name and type
        """Return a traceback with its lines cleaned, because the texts of errors hold names too."""
        return "\n".join(clean(line) for line in super().formatException(ei).split("\n"))


def reading(progress: Callable[[str, int], None] | None) -> Callable[[str, int], None] | None:
    """Return a function that calls ``progress``, and logs the path of each source once."""
    if not any(handler.level <= logging.DEBUG for handler in LOG.handlers):
        return progress
    seen: set[str] = set()

    def logged(path: str, size: int) -> None:
        if path not in seen:
            seen.add(path)
            LOG.debug("reading %s", path)
        if progress is not None:
            progress(path, size)

    return logged
