"""Killing the worker processes of a batch from outside, at moments of a seeded choice."""

from __future__ import annotations

import os
import random
import signal
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


class Storm:
    """A batch's progress that kills one to three workers of this process after every second bundle or so.

    A kill follows a bundle that was done: a storm hits on the quickest machine, and the slowest gets on between two.
    """

    def __init__(self, seed, *, workers=is_worker, signals=(signal.SIGKILL,)):
        self.random, self.workers, self.signals = random.Random(seed), workers, signals
        self.killed = 0

    def __call__(self, progress):
        if progress.done > 1 and self.random.random() < 0.5:
            return
        # Other workers are in the middle of anything then.
        time.sleep(self.random.uniform(0, 0.3))
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
