"""A worker process with a pipe of its own: if it dies, it holds no lock that other workers wait for.

The parent sends one task at a time through the pipe, and the process sends one answer for each. Processes are started
by ``spawn`` on every system, so that they inherit nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from msgspec import Struct

from evtx_analyzer.batch.memory import limit_memory
from evtx_analyzer.batch.outcome import Failed, UnwrittenError, WorkerLimits, out_of_memory, overdue
from evtx_analyzer.errors import AnalyzerError, unforeseen

BUNDLES_PER_PROCESS = 200
"""After so many tasks a process is replaced by a new one, because libraries do not give all memory back."""
_START_SECONDS = 120.0  # importing takes half a second, and much longer on a machine that swaps
_STUCK_SECONDS = 60.0  # for one message; a process that was stopped while it sent one would block the parent forever
_END_SECONDS = 5.0


class Ready(Struct, frozen=True):
    """The process has imported everything and takes tasks."""


class Done(Struct, frozen=True):
    """The task's result."""

    result: Any


class Wrong(Struct, frozen=True):
    """This program failed on the task, or needed too much memory for it."""

    reason: str


class Stopped(Struct, frozen=True):
    """No task can be done, because the worker has other rules or an option cannot be used."""

    reason: str


class Died(Struct, frozen=True):
    """The process ended without an answer."""

    exit_code: int

    @property
    def killed(self) -> bool:
        """Return whether a person, or the system for lack of memory, ended it; else it crashed by itself."""
        if sys.platform == "win32":
            return self.exit_code == 1  # the exit code that callers of TerminateProcess pass by convention
        return -self.exit_code in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


Answer = Ready | Done | Failed | Wrong | Stopped | Died


class Worker:
    """The parent's side of a worker process; ``attempt`` is what its owner remembers of the task in work."""

    def __init__(self, limits: WorkerLimits) -> None:
        context = multiprocessing.get_context("spawn")
        self._limits = limits
        self._connection, far = context.Pipe()
        self._process = context.Process(target=serve, args=(far, limits.memory), daemon=True)
        try:
            self._process.start()
        finally:
            # Now only the process holds this end, so the stream ends when the process does.
            far.close()
        self.attempt: Any = None
        self.ready, self.tasks = False, 0
        self.deadline = time.monotonic() + _START_SECONDS

    @property
    def sentinels(self) -> tuple[Any, Any]:
        """Return what ``multiprocessing.connection.wait`` waits for: an answer, and the end of the process."""
        return self._connection, self._process.sentinel

    def give(self, function: Callable[[Any], Any], task: Any, attempt: Any = None) -> None:  # noqa: ANN401  any task
        """Send a task. If the process is gone, ``hear`` says so."""
        self.attempt, self.tasks = attempt, self.tasks + 1
        self.deadline = time.monotonic() + (self._limits.seconds or float("inf"))
        with self._not_stuck(), contextlib.suppress(OSError):
            self._connection.send((function, task))

    def hear(self) -> Answer | None:
        """Return the answer that has come, or how the process ended; None while it works."""
        try:
            if self._connection.poll():
                with self._not_stuck():
                    answer: Answer = self._connection.recv()
                self.ready, self.deadline = True, float("inf")
                return answer
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._gone()
        if not self._process.is_alive():
            return self._gone()
        if time.monotonic() >= self.deadline:
            self.end()
            return Failed(overdue(self._limits.seconds or 0)) if self.ready else Died(-int(signal.SIGTERM))
        return None

    def answer(self) -> Answer:
        """Wait for the next answer."""
        while True:
            left = self.deadline - time.monotonic()
            wait(self.sentinels, None if left == float("inf") else max(left, 0))
            if (answer := self.hear()) is not None:
                return answer

    def end(self) -> None:
        """End the process, whatever it does; if it has ended already, nothing happens."""
        self._process.kill()
        self._gone()

    def _gone(self) -> Died:
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._connection.close()
        return Died(code)

    @contextlib.contextmanager
    def _not_stuck(self) -> Iterator[None]:
        timer = threading.Timer(_STUCK_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def serve(connection: Connection, memory: int | None) -> None:
    """Answer task after task, in the worker process, until the parent closes the pipe or is gone."""
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The last words of a library that crashes do not belong on the parent's stderr; the row says that it crashed.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # OpenBLAS of numpy reserves memory for every core, which counts against the limit and is of no use here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    limit_memory(memory)
    with contextlib.suppress(EOFError, OSError):
        connection.send(Ready())
        while True:
            function, task = connection.recv()
            connection.send(_answer(function, task, memory))


def _answer(function: Callable[[Any], Any], task: Any, memory: int | None) -> Answer:  # noqa: ANN401  any task
    try:
        return Done(function(task))
    except UnwrittenError as error:
        return Failed(error.reason, error.full)
    except AnalyzerError as error:
        return Stopped(str(error))
    except MemoryError:
        return Wrong(out_of_memory(memory))
    except Exception as error:  # noqa: BLE001  the boundary of a worker: whatever fails is reported, and costs one bundle
        return Wrong(unforeseen("a bundle", error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
