"""Read a stream ahead in a thread, so that the next blocks of an archive are unpacked before they are needed.

Decompressors release Python's interpreter lock, so with a second core unpacking takes little extra time. Only the
thread reads the stream, and in its order, so limits and damage of the stream show up as without it.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

_BLOCK = 1 << 20
_WAITING = 4  # blocks
_PATIENCE = 0.05  # seconds after which the thread at a full queue looks whether the stream was closed


class Ahead:
    """A stream that a thread of its own reads a few megabytes ahead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._blocks: queue.Queue[bytes | BaseException] = queue.Queue(maxsize=_WAITING)
        self._closed = threading.Event()
        self._left = b""
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str:
        """The reason why a member of an archive ended too early; empty where it did not, or has not ended yet."""
        return str(getattr(self._stream, "failure", "")) if self._ended else ""

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end; an error of the stream is raised here."""
        parts, missing = [self._left], size - len(self._left)
        while not self._ended and (size < 0 or missing > 0):
            block = self._blocks.get()
            if isinstance(block, BaseException):
                self._ended = True
                raise block
            self._ended = not block
            parts.append(block)
            missing -= len(block)
        data = b"".join(parts)
        cut = len(data) if size < 0 else size
        self._left = data[cut:]
        return data[:cut]

    def close(self) -> None:
        """Stop reading, and close the stream."""
        self._closed.set()
        self._thread.join()
        self._stream.close()

    def _run(self) -> None:
        try:
            while block := self._stream.read(_BLOCK):
                if not self._put(block):
                    return
            self._put(b"")
        except BaseException as error:  # noqa: BLE001  ``read`` raises it again
            self._put(error)

    def _put(self, block: bytes | BaseException) -> bool:
        """Put a block into the queue; return False where the stream was closed."""
        while not self._closed.is_set():
            try:
                self._blocks.put(block, timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False
