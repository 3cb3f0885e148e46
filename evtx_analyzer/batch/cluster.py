"""Many bundles on many machines: the same function on the workers of a Dask cluster (extra ``cluster``).

Workers need this package in the same version, and must see the bundles and the output folder under the same paths.
Dask itself gives a task whose worker died to another one; a task that killed three is tried once more alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from evtx_analyzer.batch.outcome import DIED, BundleError, Failed
from evtx_analyzer.errors import OptionError

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")
_PACKAGE = "evtx-analyzer"
_RETRIES = 2
_WAITING_PER_THREAD = 3
_CONNECT_SECONDS = 20


def run_cluster(function: Callable[[T], R], tasks: Iterable[T], address: str) -> Iterator[tuple[T, R | Failed]]:
    """Each task with its result, in the order in which they are done; only a few wait at any time."""
    # An extra, and slow to import.
    try:
        from distributed import Client, KilledWorker, as_completed  # noqa: PLC0415
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
        most = _checked(client, address) * _WAITING_PER_THREAD
        left, again, done = deque(tasks), list[T](), as_completed(loop=client.loop)
        owners: dict[object, T] = {}

        def refill() -> None:
            while left and len(owners) < most:
                future = client.submit(function, left[0], pure=False, retries=_RETRIES)
                owners[future.key] = left.popleft()
                done.add(future)

        refill()
        for future in done:
            task = owners.pop(future.key)
            try:
                yield task, future.result()
            except (KilledWorker, BundleError):
                again.append(task)
            refill()
        for task in again:
            future = client.submit(function, task, pure=False, retries=_RETRIES)
            try:
                yield task, future.result()
            except KilledWorker:
                yield task, Failed(DIED)
            except BundleError as error:
                yield task, Failed(str(error))


def _checked(client: Client, address: str) -> int:
    """Number of threads of all workers; raises OptionError where one of them cannot do the work."""
    threads = client.nthreads()
    if not threads:
        raise OptionError(f"the Dask scheduler at {address} has no worker; start some with dask worker {address}")
    # A function of the standard library, for a worker without this package could not load one of ours.
    told = client.run(metadata.version, _PACKAGE, on_error="return")
    wrong = mismatches(told, metadata.version(_PACKAGE))
    if wrong:
        raise OptionError("\n".join(wrong))
    return sum(threads.values())


def mismatches(told: Mapping[str, Any], own: str) -> list[str]:
    """One line for each worker that lacks the package or has another version of it."""
    lines = []
    for worker, answer in sorted(told.items()):
        if isinstance(answer, metadata.PackageNotFoundError):
            lines.append(f"worker {worker} does not have the package {_PACKAGE}; install {_PACKAGE}=={own} there")
        elif isinstance(answer, BaseException):
            lines.append(f"worker {worker} does not answer ({answer}); restart it or take it out of the cluster")
        elif answer != own:
            lines.append(f"worker {worker} has {_PACKAGE} {answer}, this machine {own}; install the same on both")
    return lines
