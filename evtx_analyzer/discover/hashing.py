"""SHA-256 of large local files, made beside everything else that is done with them.

Reading and hashing leave the interpreter to other threads, so on a machine with a second core this costs no time. The
threads do not keep the program from ending.
"""

from __future__ import annotations

import hashlib
import io
import threading
import zlib
from collections import deque
from concurrent.futures import Future
from contextlib import closing
from typing import BinaryIO

from evtx_analyzer.discover.source import Source

Digest = tuple[str, int, int, OSError | None]
"""SHA-256 in hex, how many bytes were read, their CRC-32, and what ended that before the file did."""

LARGE = 1 << 20
"""Bytes. Smaller files are hashed sooner than it takes to ask for it."""
_BLOCK = 1 << 20


def is_local_file(stream: BinaryIO) -> bool:
    """Whether a stream is a file of this machine, which may be read twice at once; members of archives may not."""
    return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)


class Digests:
    """Begins digests, in the order in which they are asked for, so many at once."""

    def __init__(self, at_once: int = 1) -> None:
        self._running: deque[threading.Thread] = deque()
        self._at_once = at_once

    def begin(self, source: Source) -> Future[Digest]:
        """A digest to come."""
        made: Future[Digest] = Future()
        before = self._running.popleft() if len(self._running) >= self._at_once else None
        thread = threading.Thread(target=_run, args=(source, before, made), daemon=True)
        self._running.append(thread)
        thread.start()
        return made


def _run(source: Source, before: threading.Thread | None, made: Future[Digest]) -> None:
    if before is not None:
        before.join()
    try:
        made.set_result(_digest(source))
    except BaseException as error:  # noqa: BLE001  it is raised again where the result is asked for
        made.set_exception(error)


def _digest(source: Source) -> Digest:
    digest, size, crc, buffer = hashlib.sha256(), 0, 0, bytearray(_BLOCK)
    view = memoryview(buffer)
    try:
        with closing(source.open()) as stream:
            # No further than the file was long when it was found: what is appended meanwhile is not read either.
            while more := stream.readinto(view[: source.size - size]):  # type: ignore[attr-defined]
                digest.update(view[:more])
                crc = zlib.crc32(view[:more], crc)
                size += more
    except OSError as error:
        return "", size, 0, error
    return digest.hexdigest(), size, crc, None
