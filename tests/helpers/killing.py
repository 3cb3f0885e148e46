"""Killing the worker processes of a batch from outside, at moments of a seeded choice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path


def descendants(pid):
    """Process ids below a process, by /proc; those of the resource tracker, which is no worker, are left out."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found, level = [], {pid}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found += sorted(level)
    return found


def parents(pid):
    """Process ids above a process."""
    found = []
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(pid)
    return found


def is_worker(pid):
    """Whether a process was started by multiprocessing for work."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Killer:
    """A thread that kills one to three workers of this process again and again while it is entered."""

    def __init__(self, seed, pause, *, workers=is_worker, signals=(signal.SIGKILL,), most=10_000):
        self.random, self.pause, self.workers, self.signals, self.most = (
            random.Random(seed),
            pause,
            workers,
            signals,
            most,
        )
        self.killed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(self.random.uniform(0, 2 * self.pause)) and self.killed < self.most:
            alive = [pid for pid in descendants(os.getpid()) if self.workers(pid)]
            for pid in self.random.sample(alive, min(len(alive), self.random.choice((1, 1, 2, 3)))):
                try:
                    os.kill(pid, self.random.choice(self.signals))
                except ProcessLookupError:
                    continue
                self.killed += 1


def wait_until(condition, seconds=30):
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()
