"""stdout carries the report, stderr the conversation: writing to both, and progress where stderr is a terminal."""

from __future__ import annotations

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


def write_text(text: str) -> None:
    """Write to stdout in UTF-8 where it is no terminal; a closed pipe is the reader's choice, not an error."""
    stream = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if hasattr(stream, "reconfigure"):
        encoding = {} if stream.isatty() else {"encoding": "utf-8", "newline": "\n"}
        stream.reconfigure(errors="replace", **encoding)
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
    """A function to tell of bytes read, shown on a terminal with amount and rate once reading lasts for a second."""
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
