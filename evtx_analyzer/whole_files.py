"""Files that are written whole or not at all: what stood there before stays until the new contents are on the disk.

A file beside the target takes the contents, is flushed to the disk and takes the target's place in one step. A full
disk, an error and a kill leave the earlier file as it was; a kill may leave the file beside it, which ``discover``
knows by its name and leaves out.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from evtx_analyzer.errors import ReportError

_PART = re.compile(r"\.evtx-analyzer-[0-9a-f]{8}\.part")
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds; a virus scanner or an indexer lets go of a file within these
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def is_part(name: str) -> bool:
    """Whether a file name is that of contents which were never finished, because the program was killed."""
    return _PART.fullmatch(name) is not None


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all; raises ReportError where that cannot be done."""
    with whole_file(path) as stream:
        stream.write(data)


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A stream to write to; the file has the contents if the block ends, and is as before if it raises.

    Raises ReportError for an OSError of writing. A device or a pipe is written to as it is, and the target of a link
    is replaced, not the link.
    """
    try:
        target = Path(os.path.realpath(path))
        earlier = _status(target)
        if earlier is not None and not stat.S_ISREG(earlier.st_mode):
            with target.open("wb") as stream:
                yield stream
        else:
            yield from _beside(target, earlier)
    except OSError as error:
        kept = "" if not os.path.exists(path) else "; the file that stood there is as it was"
        raise ReportError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _beside(target: Path, earlier: os.stat_result | None) -> Iterator[BinaryIO]:
    part = target.with_name(f".evtx-analyzer-{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as stream:
            yield stream
            _flush(stream)
        if earlier is not None:
            with suppress(OSError):  # a share that keeps no modes
                part.chmod(stat.S_IMODE(earlier.st_mode))
        _replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    try:
        os.fsync(stream.fileno())
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:  # some network file systems have no way to do it
            raise


def _replace(part: Path, target: Path) -> None:
    """Put a file in another's place; Windows refuses while somebody has that open, so it is tried again."""
    for wait in _WAITS:
        try:
            part.replace(target)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    part.replace(target)
