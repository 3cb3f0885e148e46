"""What a Dask worker holds for batches: processes of its own, so that a bundle's death or hunger is not the worker's.

Limits and deaths are thereby the same on a cluster as on one machine; Dask's own part is the loss of a whole worker.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable
from typing import Any, cast

from distributed import Worker as DaskWorker
from distributed import WorkerPlugin

from evtx_analyzer.batch.outcome import WorkerLimits
from evtx_analyzer.batch.worker import Answer, Died, Done, Ready, Worker

_BUNDLES_PER_PROCESS = 200


class BundleProcesses(WorkerPlugin):
    """Idle worker processes of one Dask worker, kept from one bundle to the next."""

    name = "evtx-analyzer"

    def __init__(self, limits: WorkerLimits) -> None:
        self.limits = limits

    def setup(self, worker: DaskWorker) -> None:  # noqa: ARG002  as Dask calls it
        """Run on the worker; a nanny's worker is a daemon, which may have no children but by this."""
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
        if isinstance(answer, Done) and worker.tasks < _BUNDLES_PER_PROCESS:
            self.idle.put(worker)
        elif not isinstance(answer, Died):
            worker.end()
        return answer


def answer_for(function: Callable[[Any], Any], task: Any) -> Answer:  # noqa: ANN401  any task
    """Run on a Dask worker: do a task in one of its processes."""
    from distributed import get_worker  # noqa: PLC0415  a worker's own name for itself

    plugin = cast("BundleProcesses", get_worker().plugins[BundleProcesses.name])
    return plugin.answer(function, task)
