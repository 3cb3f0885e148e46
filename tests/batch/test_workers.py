"""Worker processes may be killed at any moment, in any number, again and again: every bundle has its row.

EVTX_ANALYZER_KILL_SECONDS=60 makes the storms as long as that; some seconds are the default.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from killing import Storm, descendants, is_worker, parents, wait_until

import evtx_analyzer as ea
from evtx_analyzer.batch import run, settings_for
from evtx_analyzer.batch.bundles import bundles
from evtx_analyzer.batch.cluster import _answers
from evtx_analyzer.batch.local import Attempt, run_local
from evtx_analyzer.batch.outcome import DIED, KILLED, NO_WORKERS, Failed, WorkerLimits, overdue
from evtx_analyzer.batch.work import summarize
from evtx_analyzer.batch.worker import Done
from samples.fleet import write_fleet

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")]

LIMITS = WorkerLimits(memory=2 << 30, seconds=60)
SECONDS = float(os.environ.get("EVTX_ANALYZER_KILL_SECONDS", "4"))
COUNT = 24


def double(number):
    return number * 2


def slowly(number):
    time.sleep(0.05)
    return number * 2


def crash(task):
    number, folder = task
    if number == 3:
        with (Path(folder) / "tries").open("a") as stream:
            stream.write(f"{len([pid for pid in descendants(os.getppid()) if is_worker(pid)])} ")
        os.kill(os.getpid(), signal.SIGABRT)
    return number


def killed(task):
    number, folder = task
    tries = Path(folder) / str(number)
    with tries.open("a") as stream:
        stream.write(".")
    # What the machine does to others: bundle 1 has bad luck five times, bundle 2 for ever.
    if number == 2 or (number == 1 and tries.stat().st_size <= 5):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hungry(number):
    if number == 1:
        bytearray(8 << 30)
    return number


def endless(number):
    while number == 1:
        time.sleep(1)
    return number


def slow_summarize(task):
    """As the work of a batch, and slow enough on any machine for a storm to hit it."""
    time.sleep(0.2)
    return summarize(task)


def wrong(number):
    if number == 1:
        raise ValueError("a mistake of ours")
    return number


def half_an_answer(task):
    """Send half of an answer, and die."""
    number, folder = task
    marker = Path(folder) / "half"
    if number == 1 and not marker.exists():
        marker.touch()

        def half(connection, data, *_):
            os.write(connection.fileno(), bytes(data[: len(data) // 2]))
            os.kill(os.getpid(), signal.SIGKILL)

        connections: Any = Connection
        connections._send = half
    return number


def lasting(folder):
    (Path(folder) / "begun").touch()
    time.sleep(600)


# --------------------------------------------------------------------------------------------------- single faults


def test_results_come_for_all_and_only_once():
    assert sorted(run_local(double, range(50), 3, LIMITS)) == [(number, number * 2) for number in range(50)]
    assert list(run_local(double, [], 3, LIMITS)) == []


def test_a_crash_is_tried_once_more_alone_and_is_then_told(tmp_path):
    tasks = [(number, str(tmp_path)) for number in range(8)]
    results = {task[0]: result for task, result in run_local(crash, tasks, 3, LIMITS)}
    assert results == {number: number if number != 3 else Failed(DIED) for number in range(8)}
    tries = (tmp_path / "tries").read_text().split()
    assert len(tries) == 2
    assert tries[1] == "1", "no other worker beside the second try"


def test_who_is_killed_from_outside_is_tried_again_a_number_of_times(tmp_path):
    tasks = [(number, str(tmp_path)) for number in range(4)]
    results = {task[0]: result for task, result in run_local(killed, tasks, 2, LIMITS)}
    assert results == {0: 0, 1: 1, 2: Failed(KILLED), 3: 3}
    assert (tmp_path / "1").stat().st_size == 6
    assert (tmp_path / "2").stat().st_size == 8


def test_too_much_memory_and_too_much_time_are_told():
    ((_, zero), (_, one)) = sorted(run_local(hungry, range(2), 1, WorkerLimits(memory=1 << 30, seconds=60)))
    assert zero == 0
    assert one == Failed("it needs more memory than --memory-limit 1024M allows")
    results = dict(run_local(endless, range(3), 2, WorkerLimits(memory=None, seconds=5)))
    assert results == {0: 0, 1: Failed(overdue(5)), 2: 2}


def test_the_limit_of_memory_is_no_limit_of_the_parent():
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert list(run_local(double, [1], 1, LIMITS)) == [(1, 2)]
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_what_fails_twice_in_this_program_is_told():
    results = dict(run_local(wrong, range(4), 2, LIMITS))
    assert results == {
        0: 0,
        1: Failed("this program failed on it (ValueError: a mistake of ours); please report this"),
        2: 2,
        3: 3,
    }


def test_a_worker_that_dies_while_it_answers_is_no_answer(tmp_path):
    tasks = [(number, str(tmp_path)) for number in range(4)]
    results: Any = [result for _, result in run_local(half_an_answer, tasks, 2, LIMITS)]
    assert sorted(results) == [0, 1, 2, 3]


def test_a_stopped_worker_is_ended_by_its_time(tmp_path):
    def stop():
        alive = [pid for pid in descendants(os.getpid()) if is_worker(pid)]
        os.kill(alive[0], signal.SIGSTOP)

    results = {}
    for number, result in run_local(slowly, range(20), 1, WorkerLimits(seconds=8)):
        results[number] = result
        if len(results) == 2:
            stop()
    lost = [number for number, result in results.items() if isinstance(result, Failed)]
    assert len(results) == 20
    assert [results[number] for number in lost] in ([], [Failed(overdue(8))])


def test_no_worker_is_left_over(tmp_path):
    results: Any = run_local(slowly, range(20), 2, LIMITS)
    next(results)
    assert any(is_worker(pid) for pid in descendants(os.getpid()))
    results.close()
    assert wait_until(lambda: not any(is_worker(pid) for pid in descendants(os.getpid())))


def test_workers_end_with_their_parent(tmp_path):
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from test_workers import LIMITS, lasting\nfrom evtx_analyzer.batch.local import run_local\n"
        f"list(run_local(lasting, [{str(tmp_path)!r}], 1, LIMITS))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid = parent.pid
    assert wait_until((tmp_path / "begun").exists)
    workers = [descendant for descendant in descendants(pid) if is_worker(descendant)]
    assert workers
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not any(is_worker(worker) for worker in workers))


def test_processes_that_cannot_begin_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("evtx_analyzer.batch.worker.serve", None)
    with pytest.raises(ea.OptionError, match="no worker process can be started"):
        list(run_local(double, range(4), 2, LIMITS))


# ----------------------------------------------------------------------------------------------------------- storms


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    write_fleet(folder, COUNT, damaged=5)
    return bundles(str(folder))


@pytest.fixture(scope="module")
def undisturbed(fleet, tmp_path_factory):
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("undisturbed")
    run(fleet, out, settings_for(), workers=2)
    return tree(out)


def tree(folder):
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "index.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_kills_changes_no_byte(fleet, undisturbed, tmp_path, monkeypatch, seed):
    # A storm may kill one bundle as often as is enough to give it up, which another test is about.
    monkeypatch.setattr("evtx_analyzer.batch.local._KILLS", 100)
    end, rounds = time.monotonic() + SECONDS, 0
    while not rounds or time.monotonic() < end:
        out, storm = tmp_path / str(rounds), Storm(f"{seed} {rounds}", signals=(signal.SIGKILL, signal.SIGTERM))
        run(fleet, out, settings_for(), workers=2, work=slow_summarize, progress=storm)
        assert storm.killed
        assert tree(out) == undisturbed
        rounds += 1


def test_two_workers_killed_at_once_end_nothing(fleet, undisturbed, tmp_path):
    """What an out-of-memory killer does: the report of it was a traceback, or a batch that waited for ever."""

    def kill(progress):
        if progress.done == 1:
            for pid in descendants(os.getpid()):
                if is_worker(pid):
                    os.kill(pid, signal.SIGKILL)

    run(fleet, tmp_path, settings_for(), workers=2, progress=kill)
    assert tree(tmp_path) == undisturbed


@pytest.fixture
def cluster():
    """A function that starts a Dask cluster of two workers, whose nannies never give up on a worker that is gone."""
    distributed = pytest.importorskip("distributed")
    import dask.config  # noqa: PLC0415  an extra, like Dask itself

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}):
        yield lambda: distributed.LocalCluster(**options, silence_logs=50)


def is_running(nanny):
    process = nanny.process
    return nanny.status.name == "running" and process is not None and process.status.name == "running"


@pytest.mark.server
@pytest.mark.filterwarnings("default")
def test_a_storm_on_a_cluster_changes_no_byte(cluster, fleet, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("evtx_analyzer.batch.local._KILLS", 100)
    end, rounds = time.monotonic() + SECONDS, 0
    while not rounds or time.monotonic() < end:
        with cluster() as dask:

            def victim(pid, dask=dask):
                """Whether a process is a Dask worker that runs, or does bundles for one; nannies give up on others."""
                running = {nanny.pid for nanny in dask.workers.values() if is_running(nanny)}
                return is_worker(pid) and (pid in running or not running.isdisjoint(parents(pid)))

            out, storm = tmp_path / str(rounds), Storm(f"cluster {rounds}", workers=victim)
            more = {"scheduler": dask.scheduler_address, "work": slow_summarize, "progress": storm}
            run(fleet, out, settings_for(), **more)
        assert storm.killed
        assert tree(out) == undisturbed
        rounds += 1


@pytest.mark.server
@pytest.mark.filterwarnings("default")
def test_a_cluster_without_workers_ends_in_rows(cluster, fleet, tmp_path, monkeypatch):
    monkeypatch.setattr("evtx_analyzer.batch.cluster._LOOK_SECONDS", 0.5)
    monkeypatch.setattr("evtx_analyzer.batch.cluster._ABSENT_SECONDS", 3)
    with cluster() as dask:

        def leave(progress):
            if progress.done == 3:
                dask.scale(0)

        more = {"scheduler": dask.scheduler_address, "work": slow_summarize, "progress": leave}
        summary = run(fleet, tmp_path, settings_for(), **more)
    assert len(summary.rows) == COUNT
    assert {row.reason for row in summary.rows if row.status == "failed"} == {NO_WORKERS}


class LostOnce:
    """A future of Dask's whose answer left with its worker before it was fetched, and is made again."""

    def __init__(self, key, answer, lost):
        self.key, self.answer, self.lost = key, answer, lost

    def add_done_callback(self, call):
        call(self)

    def result(self, timeout=None):
        assert timeout is not None, "it would wait for ever"
        if self.lost:
            self.lost -= 1
            raise TimeoutError
        return self.answer


class Losing:
    """A client of Dask's whose second task loses its answer twice."""

    def submit(self, _answer_for, _function, task, **_):
        return LostOnce(task, Done(task * 10), 2 if task == 2 else 0)


@pytest.mark.server
def test_an_answer_that_left_with_its_worker_is_waited_for_again():
    pytest.importorskip("distributed")
    queue = deque(Attempt(task) for task in (1, 2, 3))
    client: Any = Losing()
    answers = {attempt.task: answer for attempt, answer in _answers(client, str, queue, 2)}
    assert answers == {1: Done(10), 2: Done(20), 3: Done(30)}
