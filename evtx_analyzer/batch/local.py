"""Analyze many bundles on one machine, in worker processes of which any number may die at any moment.

A bundle whose worker crashed, or on which this program failed, is tried once more when all others are done, and alone;
if that fails too, it is a failed row. A bundle whose worker was killed from outside is not at fault: it is tried again,
a limited number of times.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import Generic, TypeVar

from msgspec import Struct

from evtx_analyzer.batch.outcome import DIED, KILLED, NO_WORKERS, Failed, WorkerLimits
from evtx_analyzer.batch.worker import BUNDLES_PER_PROCESS, Answer, Died, Done, Ready, Stopped, Worker, Wrong
from evtx_analyzer.errors import OptionError

T = TypeVar("T")
R = TypeVar("R")
_KILLS_WITH_OTHERS, _KILLS = 4, 8
# Processes that end before they take a task: by an error of Python, which will come again, or killed from outside.
_BAD_STARTS, _KILLED_STARTS = 3, 100
_CRASHES = 2
_FIRST_PAUSE, _PAUSE_SECONDS = 0.02, 1.0
_LOOK_SECONDS = 1.0


class Attempt(Struct, Generic[T]):
    """A task, and how often its worker crashed or was killed so far."""

    task: T
    crashes: int = 0
    kills: int = 0


def run_local(
    function: Callable[[T], R], tasks: Iterable[T], workers: int | None, limits: WorkerLimits
) -> Iterator[tuple[T, R | Failed]]:
    """Yield each task with its result, in the order in which they are done."""
    crew = _Crew(function, limits, workers or os.cpu_count() or 1)
    try:
        # The only process on the machine, and a new one, has the most memory.
        yield from results(tasks, crew.answers, before_alone=crew.end)
    finally:
        crew.end()


def results(
    tasks: Iterable[T],
    answers: Callable[[deque[Attempt[T]]], Iterator[tuple[Attempt[T], Answer]]],
    before_alone: Callable[[], None] = lambda: None,
) -> Iterator[tuple[T, R | Failed]]:
    """Yield each task with its result; ``answers`` yields an answer for each attempt of a queue, which may grow."""
    queue, alone = deque(Attempt(task) for task in tasks), deque[Attempt[T]]()
    while queue or alone:
        with_others = bool(queue)
        if not with_others:
            before_alone()
            queue.append(alone.popleft())
        for attempt, answer in answers(queue):
            final = _settled(attempt, answer)
            if final is not None:
                yield attempt.task, final.result if isinstance(final, Done) else final
            elif with_others and not attempt.crashes and attempt.kills < _KILLS_WITH_OTHERS:
                queue.append(attempt)
            else:
                alone.append(attempt)


def _settled(attempt: Attempt[T], answer: Answer) -> Done | Failed | None:
    """Return the final result of a task; None if it is to be tried again.

    Raises OptionError for an answer that no task of the batch can do better than (other rules, a wrong option).
    """
    if isinstance(answer, Stopped):
        raise OptionError(answer.reason)
    if isinstance(answer, Done | Failed):
        return answer
    if isinstance(answer, Died) and answer.killed:
        attempt.kills += 1
        return Failed(KILLED) if attempt.kills >= _KILLS else None
    attempt.crashes += 1
    if attempt.crashes < _CRASHES:
        return None
    return Failed(answer.reason if isinstance(answer, Wrong) else DIED)


class _NoWorkersError(Exception):
    """No process lives long enough to take a task."""


class _Crew(Generic[T, R]):
    """Up to ``size`` worker processes; one that is gone is replaced if there is work for another."""

    def __init__(self, function: Callable[[T], R], limits: WorkerLimits, size: int) -> None:
        self._function, self._limits, self._size = function, limits, size
        self._workers: list[Worker] = []
        self._bad_starts, self._any_ready, self._start_at = 0, False, 0.0

    def answers(self, queue: deque[Attempt[T]]) -> Iterator[tuple[Attempt[T], Answer]]:
        """Yield each attempt with its answer until none is left; the caller may add to the queue meanwhile."""
        try:
            while queue or self._busy():
                self._start(len(queue))
                for worker in self._workers:
                    if queue and worker.ready and worker.attempt is None:
                        attempt = queue.popleft()
                        worker.give(self._function, attempt.task, attempt)
                yield from self._heard()
        except _NoWorkersError:
            yield from ((attempt, Failed(NO_WORKERS)) for attempt in queue)
            queue.clear()

    def end(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _busy(self) -> int:
        return sum(worker.attempt is not None for worker in self._workers)

    def _start(self, waiting: int) -> None:
        wanted = min(self._size, self._busy() + waiting)
        while len(self._workers) < wanted and time.monotonic() >= self._start_at:
            try:
                self._workers.append(Worker(self._limits))
            except OSError:
                self._not_started(Died(0))

    def _heard(self) -> Iterator[tuple[Attempt[T], Answer]]:
        """Wait until something happens, and yield the answers to tasks."""
        now = time.monotonic()
        moments = [worker.deadline for worker in self._workers] + [self._start_at] * (self._start_at > now)
        left = max(0.0, min([moment - now for moment in moments] + [_LOOK_SECONDS]))
        sentinels = [sentinel for worker in self._workers for sentinel in worker.sentinels]
        if not sentinels:
            # On Windows ``wait`` raises for an empty list.
            time.sleep(left)
        happened = set(wait(sentinels, left)) if sentinels else set()
        for worker in list(self._workers):
            due = happened.intersection(worker.sentinels) or time.monotonic() >= worker.deadline
            answer, attempt = worker.hear() if due else None, worker.attempt
            if answer is None:
                continue
            if isinstance(answer, Ready):
                self._any_ready, self._bad_starts = True, 0
                continue
            worker.attempt = None
            self._after(worker, answer)
            if attempt is not None:
                yield attempt, answer

    def _after(self, worker: Worker, answer: Answer) -> None:
        """Keep a worker for the next task, unless it is gone, has done many tasks, or has failed on one."""
        if isinstance(answer, Done) and worker.tasks < BUNDLES_PER_PROCESS:
            return
        self._workers.remove(worker)
        if isinstance(answer, Died) and not worker.ready:
            self._not_started(answer)
        else:
            worker.end()

    def _not_started(self, answer: Died) -> None:
        self._bad_starts += 1
        self._start_at = time.monotonic() + min(_PAUSE_SECONDS, _FIRST_PAUSE * 2**self._bad_starts)
        if self._busy() or self._bad_starts < (_KILLED_STARTS if answer.killed else _BAD_STARTS):
            return
        if not self._any_ready and not answer.killed:
            raise OptionError(
                f"no worker process can be started (it ended with {answer.exit_code}); a script must call this below "
                'if __name__ == "__main__":, and --memory-limit must leave room for the program itself'
            )
        raise _NoWorkersError
