"""A stream that is read ahead by a thread: what is unpacked next is ready when it is asked for.

Decompressors, like hashes and files, leave the interpreter to other threads, so with a second core unpacking costs
little time beside reading what was unpacked. The stream is read in its own order and by nobody else meanwhile, so what
it says (its limits, its damage) does not depend on it.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

_BLOCK = 1 << 20
_WAITING = 4  # blocks
_PATIENCE = 0.05  # seconds until a full queue is looked at again, whether anybody still wants it


class Ahead:
    """Reads a stream in a thread of its own, a few megabytes ahead."""

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
        """Why a member of an archive ended too early; empty where it did not, or has not ended yet."""
        return str(getattr(self._stream, "failure", "")) if self._ended else ""

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
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
        except BaseException as error:  # noqa: BLE001  it is raised again where the bytes are asked for
            self._put(error)

    def _put(self, block: bytes | BaseException) -> bool:
        """Hand over a block; False where nobody wants it any more."""
        while not self._closed.is_set():
            try:
                self._blocks.put(block, timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False
