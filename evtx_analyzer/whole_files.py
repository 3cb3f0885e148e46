"""Files that are written whole or not at all: whoever reads one sees the old contents or the new, never a part."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

PART = ".part"
"""What the name of a file ends in while it is written."""
# On Windows a virus scanner or an indexer may hold a new file, or the old one, for moments.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file by way of another beside it; raises OSError, and then the old file is as it was."""
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _replace(part: Path, path: Path) -> None:
    for pause in _PAUSES:
        try:
            part.replace(path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    part.replace(path)
