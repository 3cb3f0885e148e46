"""Analyze many bundles on many machines: the workers of a Dask cluster run the same function (extra ``cluster``).

Workers need this package in the same version, and must see the bundles and the output folder under the same paths.
If a worker dies, Dask gives its task to another one. A bundle is analyzed in a process of its own, not in the worker's,
with the same limits and second tries as on one machine.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from importlib import metadata
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from evtx_analyzer.batch.local import Attempt, results
from evtx_analyzer.batch.outcome import NO_WORKERS, Failed, WorkerLimits
from evtx_analyzer.batch.worker import Answer, Died
from evtx_analyzer.errors import OptionError

if TYPE_CHECKING:
    from distributed import Client

    from evtx_analyzer.batch.cluster_worker import BundleProcesses

T = TypeVar("T")
R = TypeVar("R")
_PACKAGE = "evtx-analyzer"
_RETRIES = 2
_WAITING_PER_THREAD = 3
_CONNECT_SECONDS = 20
_TRIES, _PAUSE_SECONDS = 10, 1.0
# A cluster that grows with its work may need minutes for its first worker.
_LOOK_SECONDS, _ABSENT_SECONDS = 5.0, 600.0


def run_cluster(
    function: Callable[[T], R], tasks: Iterable[T], address: str, limits: WorkerLimits
) -> Iterator[tuple[T, R | Failed]]:
    """Yield each task with its result, in the order in which they are done; only a few wait in Dask at any time.

    Raises OptionError if Dask, the scheduler or this package on a worker is missing.
    """
    try:
        from distributed import Client  # noqa: PLC0415

        from evtx_analyzer.batch.cluster_worker import BundleProcesses  # noqa: PLC0415
    except ImportError:
        raise OptionError("--scheduler needs Dask: pip install 'evtx-analyzer[cluster]'") from None
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"--scheduler {address}: no Dask scheduler answers there ({error or type(error).__name__}); "
            "expected an address such as tcp://HOST:8786"
        ) from None
    with client:
        most_waiting = _prepared(client, address, BundleProcesses(limits)) * _WAITING_PER_THREAD
        yield from results(tasks, lambda queue: _answers(client, function, queue, most_waiting))


def _answers(
    client: Client, function: Callable[[T], R], queue: deque[Attempt[T]], most_waiting: int
) -> Iterator[tuple[Attempt[T], Answer]]:
    """Yield each attempt with its answer; the caller may add to the queue meanwhile."""
    from distributed import KilledWorker  # noqa: PLC0415  as above

    from evtx_analyzer.batch.cluster_worker import answer_for  # noqa: PLC0415  as above

    done: SimpleQueue[Any] = SimpleQueue()
    owners: dict[object, Attempt[T]] = {}
    while queue or owners:
        while queue and len(owners) < most_waiting:
            future = client.submit(answer_for, function, queue[0].task, pure=False, retries=_RETRIES)
            owners[future.key] = queue.popleft()
            future.add_done_callback(done.put)
        future = _next_done(done, client)
        if future is None:
            # The tasks that wait in Dask are lost with the workers, and nobody is there for the others.
            yield from ((attempt, Failed(NO_WORKERS)) for attempt in (*owners.values(), *queue))
            queue.clear()
            return
        attempt = owners.pop(future.key)
        try:
            answer: Answer = future.result(timeout=_LOOK_SECONDS)
        except TimeoutError:
            # An answer is lost with the worker that holds it: Dask repeats the task if it can, and reports it again.
            owners[future.key] = attempt
            future.add_done_callback(done.put)
            continue
        except KilledWorker:
            # The bundle runs in a process of its own, so the bundle did not kill Dask's worker.
            answer = Died(-int(signal.SIGTERM))
        except CancelledError:
            raise OptionError("the Dask scheduler is gone; start it and repeat with --resume") from None
        yield attempt, answer


def _next_done(done: SimpleQueue[Any], client: Client) -> Any:  # noqa: ANN401  a future of Dask's
    """Return the next future that is done; None if no worker has been there for ten minutes."""
    last_seen = time.monotonic()
    while True:
        try:
            return done.get(timeout=_LOOK_SECONDS)
        except Empty:
            with contextlib.suppress(OSError):
                last_seen = time.monotonic() if client.nthreads() else last_seen
            if time.monotonic() - last_seen > _ABSENT_SECONDS:
                return None


def _prepared(client: Client, address: str, plugin: BundleProcesses) -> int:
    """Check all workers, install the plugin on them, and return the number of their threads.

    A worker that dies meanwhile is started again by its nanny; then all are checked again. Raises OptionError as
    ``_checked`` does.
    """
    tries = 0
    while True:
        tries += 1
        try:
            threads = _checked(client, address)
            client.register_plugin(plugin)
        except (OSError, _AbsentError):
            if tries > _TRIES:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return threads


class _AbsentError(OptionError):
    """No worker is there, or one does not answer."""


def _checked(client: Client, address: str) -> int:
    """Return the number of threads of all workers. Raises OptionError if one of them cannot do the work."""
    threads = client.nthreads()
    if not threads:
        raise _AbsentError(f"the Dask scheduler at {address} has no worker; start some with dask worker {address}")
    # A function of the standard library, because a worker without this package could not load one of ours.
    versions = client.run(metadata.version, _PACKAGE, on_error="return")
    wrong = mismatches(versions, metadata.version(_PACKAGE))
    if wrong:
        lost = any(isinstance(answer, OSError) for answer in versions.values())
        raise (_AbsentError if lost else OptionError)("\n".join(wrong))
    return sum(threads.values())


def mismatches(versions: Mapping[str, Any], own: str) -> list[str]:
    """Return a line for each worker that lacks the package or has another version of it.

    ``versions`` holds by worker the version, or the exception that asking for it raised.
    """
    lines = []
    for worker, answer in sorted(versions.items()):
        if isinstance(answer, metadata.PackageNotFoundError):
            lines.append(f"worker {worker} does not have the package {_PACKAGE}; install {_PACKAGE}=={own} there")
        elif isinstance(answer, BaseException):
            lines.append(f"worker {worker} does not answer ({answer}); restart it or take it out of the cluster")
        elif answer != own:
            lines.append(f"worker {worker} has {_PACKAGE} {answer}, this machine {own}; install the same on both")
    return lines
