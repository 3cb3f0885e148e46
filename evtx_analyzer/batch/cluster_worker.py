"""Worker processes of a Dask worker, so that a bundle that crashes or uses up the memory does not end the worker.

So limits and crashes work as on one machine, and Dask only handles the loss of a whole worker.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable
from typing import Any, cast

from distributed import Worker as DaskWorker
from distributed import WorkerPlugin

from evtx_analyzer.batch.outcome import WorkerLimits
from evtx_analyzer.batch.worker import BUNDLES_PER_PROCESS, Answer, Done, Ready, Worker


class BundleProcesses(WorkerPlugin):
    """Idle worker processes of one Dask worker, kept from one bundle to the next."""

    name = "evtx-analyzer"

    def __init__(self, limits: WorkerLimits) -> None:
        self.limits = limits

    def setup(self, worker: DaskWorker) -> None:  # noqa: ARG002  as Dask calls it
        """Prepare the Dask worker; Dask calls this there."""
        # A worker below a nanny is a daemon, and multiprocessing forbids children to daemons.
        multiprocessing.current_process().daemon = False
        self.idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    def teardown(self, worker: DaskWorker) -> None:  # noqa: ARG002  as Dask calls it
        """End the processes."""
        while not self.idle.empty():
            self.idle.get().end()

    def answer(self, function: Callable[[Any], Any], task: Any) -> Answer:  # noqa: ANN401  any task
        """Do a task in an idle process, or a new one."""
        try:
            worker = self.idle.get_nowait()
        except queue.Empty:
            worker = Worker(self.limits)
            if not isinstance(started := worker.answer(), Ready):
                return started
        worker.give(function, task)
        answer = worker.answer()
        if isinstance(answer, Done) and worker.tasks < BUNDLES_PER_PROCESS:
            self.idle.put(worker)
        else:
            worker.end()
        return answer


def answer_for(function: Callable[[Any], Any], task: Any) -> Answer:  # noqa: ANN401  any task
    """Do a task in one of the processes of this Dask worker."""
    from distributed import get_worker  # noqa: PLC0415  works in a task only

    plugin = cast("BundleProcesses", get_worker().plugins[BundleProcesses.name])
    return plugin.answer(function, task)
