"""Write the report to stdout in the encoding of its reader, and show progress on stderr if that is a terminal."""

from __future__ import annotations

import codecs
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from evtx_analyzer.errors import OptionError


def require_writable(path: Path) -> None:
    """Raise OptionError if the folder of an output does not exist, so that it is known before the work begins."""
    if not path.absolute().parent.is_dir():
        raise OptionError(f"{path}: the folder does not exist; create it first")


# Replacements for characters that an encoding lacks.
_PLAIN = {"\u2500": "-", "\u2013": "-", "\u2026": "~", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\ufffd": "?"}


def write_text(text: str) -> None:
    """Write text for people to stdout, in the encoding that its reader expects (``_encoding``).

    A closed pipe is no error: the reader has seen enough.
    """
    stream = sys.stdout
    if stream is not None and not stream.isatty():
        encoding = _encoding()
        _write(_fitting(text, encoding), encoding)
    else:
        _write(text if stream is None else _fitting(text, stream.encoding or "utf-8"), None)


def write_document(text: str) -> None:
    """Write a text for programs (JSON, HTML, CSV) to stdout: in UTF-8 to files and pipes, to a terminal in its own."""
    _write(text, "utf-8" if sys.stdout is not None and not sys.stdout.isatty() else None)


def _encoding() -> str:
    """Return the encoding that a reader of a pipe or file expects: the user's choice, the console's, or UTF-8.

    The tools of Windows and PowerShell 5.1 decode the output of a program by the output code page of the console.
    """
    if "PYTHONIOENCODING" in os.environ:
        return sys.stdout.encoding or "utf-8"
    if sys.platform != "win32" or sys.flags.utf8_mode:
        return "utf-8"
    import ctypes

    page: int = ctypes.windll.kernel32.GetConsoleOutputCP()
    try:
        return codecs.lookup(f"cp{page}").name if page else "utf-8"
    except LookupError:
        return "utf-8"


def _fitting(text: str, encoding: str) -> str:
    """Return the text with lines, dashes and quotes replaced that the encoding lacks."""
    # Other characters that it lacks become ``?`` when the text is written.
    lacking = {ord(mark): plain for mark, plain in _PLAIN.items() if not _has(encoding, mark)}
    return text.translate(lacking) if lacking else text


def _has(encoding: str, mark: str) -> bool:
    try:
        mark.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(text: str, encoding: str | None) -> None:
    stream = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if hasattr(stream, "reconfigure"):
        forced = {} if encoding is None else {"encoding": encoding, "newline": "\n"}
        stream.reconfigure(errors="replace", **forced)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The interpreter flushes stdout at exit, and would print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_bytes(writer: Callable[[BinaryIO], None]) -> bool:
    """Write bytes to stdout; return False if the reader closed the pipe first, which is no error."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        writer(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


@contextmanager
def progress_on_stderr() -> Iterator[Callable[[str, int], None] | None]:
    """Yield a function that takes a path and the bytes read of it; None if stderr is no terminal.

    A line with amount and rate appears once reading has lasted for a second.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, FileSizeColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    from evtx_analyzer.plain_text import clean, clip

    # How often a file is read depends on what is found in it, so there is no total to count towards.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), FileSizeColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)
    begun = time.monotonic()

    def progress(path: str, size: int) -> None:
        bar.update(task, advance=size, description=clip(clean(path), 40))
        if not bar.live.is_started and time.monotonic() - begun >= 1:
            bar.start()

    try:
        yield progress
    finally:
        bar.stop()
