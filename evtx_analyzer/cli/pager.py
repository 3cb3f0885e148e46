"""Show a report that is longer than the screen in the pager that the user chose."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress


def page(text: str) -> bool:
    """Show a text in the pager of ``PAGER``; return False if there is none, it is turned off, or it does not start.

    ``PAGER`` set to nothing turns paging off. Without it ``less`` is used, which keeps colors and leaves the text on
    the screen (``less -FRX``), or ``more`` if there is no ``less``.
    """
    command = _command()
    if not command:
        return False
    windows = sys.platform == "win32"
    environment = {**os.environ, "LESS": os.environ.get("LESS", "FRX")}
    # ``more`` of Windows reads the code page of the console.
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
    default = next((path for name in ("less", "more") if (path := shutil.which(name))), None)
    return [default] if default else []
