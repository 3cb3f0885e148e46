"""Compute the SHA-256 of large local files in threads, while the files are analyzed.

Reading and hashing release Python's interpreter lock, so on a machine with a second core this costs no time. The
threads are daemons: they do not keep the program from ending.
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
"""SHA-256 in hex, number of bytes, their CRC-32, and the error that stopped reading; after one the hash is empty."""

LARGE = 1 << 20
"""Bytes; a thread for a smaller file would cost more time than it saves."""
_BLOCK = 1 << 20


def is_local_file(stream: BinaryIO) -> bool:
    """Return whether a stream is a file of this machine: only such a file can be read by two threads at a time."""
    return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)


class Digests:
    """Computes digests in the order in which they are begun, ``at_once`` at a time."""

    def __init__(self, at_once: int = 1) -> None:
        self._running: deque[threading.Thread] = deque()
        self._at_once = at_once

    def begin(self, source: Source) -> Future[Digest]:
        """Begin the digest of a source, and return its future."""
        future: Future[Digest] = Future()
        before = self._running.popleft() if len(self._running) >= self._at_once else None
        thread = threading.Thread(target=_run, args=(source, before, future), daemon=True)
        self._running.append(thread)
        thread.start()
        return future


def _run(source: Source, before: threading.Thread | None, future: Future[Digest]) -> None:
    if before is not None:
        before.join()
    try:
        future.set_result(_digest(source))
    except BaseException as error:  # noqa: BLE001  the future raises it again in the thread that asks for the result
        future.set_exception(error)


def _digest(source: Source) -> Digest:
    digest, size, crc, buffer = hashlib.sha256(), 0, 0, bytearray(_BLOCK)
    view = memoryview(buffer)
    try:
        with closing(source.open()) as stream:
            # Only as far as the file was long at the first look: the analysis does not read what is appended either.
            while more := stream.readinto(view[: source.size - size]):  # type: ignore[attr-defined]
                digest.update(view[:more])
                crc = zlib.crc32(view[:more], crc)
                size += more
    except OSError as error:
        return "", size, 0, error
    return digest.hexdigest(), size, crc, None
