"""1,000 generated bundles through ``batch``: one machine, one machine interrupted and resumed, a Dask LocalCluster.

    python -m benchmarks.batch [COUNT] [--workers N]

Five bundles are damaged and one kills its worker; a worker of the cluster is killed half way. All runs must give the
same bytes. Prints rates, the memory of this process
(resident, from the first tenth of the bundles to the last) and the ratio of one to N workers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from evtx_analyzer.batch import Progress, bundles, run, settings_for
from evtx_analyzer.batch.bundles import Bundle
from evtx_analyzer.batch.summary import Summary
from evtx_analyzer.batch.work import Finished, Task, summarize
from samples.fleet import DAMAGES, write_fleet


def work(task: Task) -> Finished:
    """What a worker does here: one bundle kills it."""
    if "killer" in task.bundle.name:
        os._exit(9)
    return summarize(task)


class Watch:
    """Time and resident memory of this process while a batch goes on; may interrupt, or kill a worker, half way."""

    def __init__(self, half_way: object = None) -> None:
        self.began, self.sizes, self._half_way = time.perf_counter(), list[int](), half_way

    def tell(self, now: Progress) -> None:
        """Note memory at every bundle."""
        self.sizes.append(_resident())
        if now.done == now.total // 2 and callable(self._half_way):
            self._half_way()

    def told(self, name: str) -> float:
        """Print what was seen; gives the seconds."""
        seconds = time.perf_counter() - self.began
        tenth = max(len(self.sizes) // 10, 1)
        first, last = max(self.sizes[:tenth]), max(self.sizes[-tenth:])
        count = len(self.sizes)
        print(
            f"{name:28} {count:5} bundles {seconds:7.1f} s {count / seconds:6.1f}/s   "
            f"parent {first >> 20} -> {last >> 20} MiB ({(last - first) / count / 1024:+.1f} KiB a bundle)",
            flush=True,
        )
        return seconds


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _bytes(folder: Path) -> dict[str, bytes]:
    """Every file of an output."""
    # The index holds times of files, and each record twice while a run goes on.
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "index.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def main() -> int:
    """Run all; 1 where two runs differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="fleet-"))
    try:
        return _compare(place, options.count, options.workers)
    finally:
        shutil.rmtree(place)


def _compare(place: Path, count: int, workers: int) -> int:
    write_fleet(place / "in", count, damaged=DAMAGES, killers=1)
    found, settings = bundles(str(place / "in")), settings_for()

    watch = Watch()
    local = run(found, place / "local", settings, workers=workers, work=work, progress=watch.tell)
    many = watch.told(f"{workers} processes")
    print("   ", local.statuses, "refusals", local.rejection_count)

    watch = Watch(_interrupt)
    try:
        run(found, place / "resumed", settings, workers=workers, work=work, progress=watch.tell)
    except KeyboardInterrupt:
        watch.told("  interrupted half way")
    watch = Watch()
    run(found, place / "resumed", settings, workers=workers, work=work, resume=True, progress=watch.tell)
    watch.told("  resumed")
    watch = Watch()
    run(found, place / "resumed", settings, workers=workers, work=work, resume=True, progress=watch.tell)
    watch.told("  again, all done")

    watch = Watch()
    run(found, place / "one", settings, workers=1, work=work, progress=watch.tell)
    one = watch.told("1 process")

    cluster = _cluster(found, place, workers)
    whole = _bytes(place / "local")
    same = whole == _bytes(place / "resumed") == _bytes(place / "one")
    equal = whole == _bytes(place / "cluster") and cluster == local
    print(f"{workers} processes against 1: {one / many:.2f} times as fast")
    print(f"interrupted and resumed gives the same bytes: {same}; so does the cluster: {equal}")
    return 0 if same and equal else 1


def _cluster(found: list[Bundle], place: Path, workers: int) -> Summary:
    from distributed import LocalCluster  # noqa: PLC0415  only here

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        # A worker that is being started again has no process yet.
        watch = Watch(lambda: os.kill(next(worker.pid for worker in cluster.workers.values() if worker.pid), 9))
        summary = run(
            found,
            place / "cluster",
            settings_for(),
            scheduler=cluster.scheduler_address,
            work=work,
            progress=watch.tell,
        )
        watch.told(f"Dask, {workers} workers, 1 killed")
    return summary


if __name__ == "__main__":
    sys.exit(main())
