"""A report that is longer than the screen, page by page, with the pager that the user chose."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress


def page(text: str) -> bool:
    """Show a text in the pager of ``PAGER``; False where there is none, it was turned off, or it did not start.

    ``PAGER`` set to nothing turns paging off. Without it ``less`` is taken where it is installed, which keeps colors
    and leaves the text on the screen (``less -FRX``), else ``more`` on Windows.
    """
    command = _command()
    if not command:
        return False
    windows = sys.platform == "win32"
    environment = {**os.environ, "LESS": os.environ.get("LESS", "FRX")}
    # Windows' ``more`` shows no colors and reads the code page of the console.
    encoding = sys.stdout.encoding if windows else "utf-8"
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603  the user's own
    except OSError:
        return False
    with suppress(BrokenPipeError, KeyboardInterrupt):  # whoever leaves the pager has read enough
        process.communicate(text.encode(encoding, "replace"))
    while process.poll() is None:
        with suppress(KeyboardInterrupt):  # Ctrl-C is the pager's own
            process.wait()
    return True


def _command() -> list[str]:
    chosen = os.environ.get("PAGER")
    if chosen is not None:
        parts = shlex.split(chosen, posix=sys.platform != "win32")
        return parts if parts and shutil.which(parts[0]) else []
    found = next((path for name in ("less", "more") if (path := shutil.which(name))), None)
    return [found] if found else []
