"""End the program with one line on stderr and a status that says what happened, even if the disk is full."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn, TextIO

from evtx_analyzer.plain_text import clean
from evtx_analyzer.version import VERSION

INTERNAL_ERROR = 4
"""Exit status of an unforeseen error. Python's own would be 1, which means here that refusals were found."""

_PACKAGE = __name__.partition(".")[0]


def complain(text: str) -> None:
    """Write one line to stderr, if there is a stderr, and to the log file.

    Control characters are replaced, so that names of files and members in it cannot act on the terminal.
    """
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"evtx-analyzer: {clean(text)}\n")
        sys.stderr.flush()
    note(text)


def note(text: str) -> None:
    """Write to the log file a line that stands on stderr already."""
    import logging

    log = logging.getLogger(_PACKAGE)
    if log.handlers:  # else Python would write it to stderr once more
        log.error(text, extra={"said": True})


def usage_error(end: BaseException) -> str:
    """Return the message with which typer refused the arguments; empty if the program ended for another reason."""
    cause: BaseException | None = end.__context__
    message = getattr(cause, "format_message", None)
    return str(message()) if callable(message) else ""


def interrupted(end: BaseException) -> bool:
    """Return whether Ctrl-C ended the program, in whatever exceptions typer and click wrapped it."""
    cause: BaseException | None = end
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return cause is not None


def unforeseen(error: BaseException, command: list[str]) -> str:
    """Return a line on an unforeseen error: in which command and where it came. Its traceback goes to the log."""
    import logging

    # On stderr only with -v, in the log file always.
    logging.getLogger(_PACKAGE).debug("unforeseen error", exc_info=error)
    if isinstance(error, MemoryError):
        text = "the memory is used up; give it more, or fewer logs at once"
    else:
        text = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}".rstrip(": ")
    name = " ".join(word for word in command if not word.startswith("-"))
    return (
        f"unforeseen error in {f'the command {name}' if name else 'the program'}, {_place(error)}: {text}. Nothing was "
        f"diagnosed. This is a mistake of the program: please report this line and the version ({VERSION})"
    )


def _place(error: BaseException) -> str:
    """Return the innermost function of this package in an error's traceback: ``at smtp/merge.py:120, merge``."""
    place, trace = "at a place that is not known", error.__traceback__
    while trace is not None:
        file, sign, inside = trace.tb_frame.f_code.co_filename.replace(os.sep, "/").rpartition(f"/{_PACKAGE}/")
        if file and sign:
            place = f"at {inside}:{trace.tb_lineno}, {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return place


def leave(status: int) -> NoReturn:
    """End with this status, or with 2 instead of 0 if a stream cannot be flushed.

    Python would turn the status into 120 if it failed to flush a stream at its end.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not _flushed(stream):
            status = status or 2
    sys.exit(status)


def _flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
