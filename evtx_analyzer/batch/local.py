"""Many bundles on one machine: worker processes that are started anew (spawn), each for a limited number of bundles.

A bundle that kills its worker (out of memory, a crash in a native library) or fails in another way is tried once more
when all others are done, with no other beside it. pebble is used because the standard pool loses every waiting task
with one dead worker.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from evtx_analyzer.batch.outcome import DIED, BundleError, Failed

T = TypeVar("T")
R = TypeVar("R")
_BUNDLES_PER_PROCESS = 50
_WAITING_PER_WORKER = 2


def run_local(function: Callable[[T], R], tasks: Iterable[T], workers: int | None) -> Iterator[tuple[T, R | Failed]]:
    """Each task with its result, in the order in which they are done; only a few wait at any time."""
    count = workers or os.cpu_count() or 1
    again: list[T] = []
    with _pool(count) as pool:
        for task, future in _scheduled(pool, function, deque(tasks), count * _WAITING_PER_WORKER):
            try:
                yield task, future.result()
            except (ProcessExpired, BundleError):
                again.append(task)
    for task in again:
        with _pool(1) as pool:
            try:
                yield task, pool.schedule(function, args=(task,)).result()
            except ProcessExpired:
                yield task, Failed(DIED)
            except BundleError as error:
                yield task, Failed(str(error))


def _scheduled(
    pool: ProcessPool, function: Callable[[T], R], tasks: deque[T], most: int
) -> Iterator[tuple[T, Future[R]]]:
    waiting: dict[Future[R], T] = {}
    while tasks or waiting:
        while tasks and len(waiting) < most:
            task = tasks.popleft()
            waiting[pool.schedule(function, args=(task,))] = task
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPool]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=workers, max_tasks=_BUNDLES_PER_PROCESS, context=context)
    try:
        yield pool
        pool.close()
    finally:
        # After close nothing runs any more; after an interrupt the rest is thrown away.
        pool.stop()
        pool.join()
