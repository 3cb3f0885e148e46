"""stdout carries the report, stderr the conversation: writing to both, and progress where stderr is a terminal."""

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
    """Raise OptionError before the work begins where its result could not be written."""
    if not path.absolute().parent.is_dir():
        raise OptionError(f"{path}: the folder does not exist; create it first")


# What stands for a character that an encoding lacks.
_PLAIN = {"\u2500": "-", "\u2013": "-", "\u2026": "~", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\ufffd": "?"}


def write_text(text: str) -> None:
    """Write text for people to stdout, in the encoding that its reader expects; see ``_encoding``.

    A closed pipe is the reader's choice, not an error.
    """
    stream = sys.stdout
    if stream is not None and not stream.isatty():
        encoding = _encoding()
        _write(_fitting(text, encoding), encoding)
    else:
        _write(text if stream is None else _fitting(text, stream.encoding or "utf-8"), None)


def write_document(text: str) -> None:
    """Write what a program reads (JSON, HTML, CSV) to stdout, in UTF-8 wherever that goes."""
    _write(text, "utf-8" if sys.stdout is not None and not sys.stdout.isatty() else None)


def _encoding() -> str:
    """Return how a program that reads from a pipe expects text: as the user said, as the console does, else in UTF-8.

    Windows' own tools and PowerShell 5.1 decode what a program prints by the output code page of the console.
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
    """Return the text with plain characters where the encoding lacks lines, dashes and quotes; others become ``?`` later."""
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
        # The interpreter would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_bytes(writer: Callable[[BinaryIO], None]) -> bool:
    """Write bytes to stdout as they are; False where the reader closed the pipe first, which is no error."""
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
    """Yield a function to tell of bytes read, shown on a terminal with amount and rate once reading lasts for a second."""
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

    def tell(path: str, size: int) -> None:
        bar.update(task, advance=size, description=clip(clean(path), 40))
        if not bar.live.is_started and time.monotonic() - begun >= 1:
            bar.start()

    try:
        yield tell
    finally:
        bar.stop()
