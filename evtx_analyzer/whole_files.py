"""Write files whole or not at all: the earlier file stays until the new contents are on the disk.

A part file in the same folder takes the contents, is flushed to the disk and replaces the target in one step. A full
disk, an error and a kill leave the earlier file as it was. A kill may leave the part file behind, which ``discover``
recognizes by its name and leaves out.
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
    """Return whether a file name is that of a part file, which stays behind if the program is killed."""
    return _PART.fullmatch(name) is not None


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises ReportError if it cannot be written."""
    with whole_file(path) as stream:
        stream.write(data)


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a stream to write to; the file has the contents if the block ends, and is as before if it raises.

    A device or a pipe is written to directly. Of a link the target is replaced, not the link. Raises ReportError if the
    file cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))
        earlier = _status(target)
        if earlier is not None and not stat.S_ISREG(earlier.st_mode):
            with target.open("wb") as stream:
                yield stream
        else:
            yield from _part_file(target, earlier)
    except OSError as error:
        kept = "" if not os.path.exists(path) else "; the file that stood there is as it was"
        raise ReportError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _part_file(target: Path, earlier: os.stat_result | None) -> Iterator[BinaryIO]:
    # In the same folder, because a file can be renamed in one step only within a file system.
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
    """Replace the target by the part file; retry, because Windows refuses that while a program has the target open."""
    for wait in _WAITS:
        try:
            part.replace(target)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    part.replace(target)
