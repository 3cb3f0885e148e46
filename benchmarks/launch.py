"""Run one command and print what it cost: ``python -I -S launch.py OUT ERR COMMAND...``.

A process of its own, for a new process begins with the peak memory of the one that started it, and the measuring
program has pandas and numpy in memory. This one imports next to nothing: no figure is under its 9 MB or so.

Prints: exit status, seconds by the clock, seconds of processor time (those of child processes too), peak memory in
bytes, and that of all processes of the command together where it had children (0 where not, or where unknown).
"""

from __future__ import annotations

import os
import select
import sys
import time

_PAUSE = 100  # ms between two looks at child processes


def _together(root: int) -> int:
    """Resident bytes of a process and all its descendants; 0 where it has none (pages they share count twice)."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  pathlib is memory and time of its own
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                    parents[int(name)] = int(stat.read().rpartition(b")")[2].split()[1])
            except OSError:  # it has ended
                continue
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    if len(tree) == 1:
        return 0
    total = 0
    for pid in tree:
        try:
            with open(f"/proc/{pid}/statm", "rb") as statm:  # noqa: PTH123
                total += int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total


def _watch(pid: int) -> int:
    """Wait for the end of a process; the most memory that it had together with its children."""
    if not hasattr(os, "pidfd_open"):
        return 0
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    most = 0
    while not poll.poll(_PAUSE):
        most = max(most, _together(pid))
    os.close(handle)
    return most


def main() -> None:
    """Start, watch, account."""
    out, err, *command = sys.argv[1:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, fd, path, flags, 0o600) for fd, path in ((1, out), (2, err))]
    # Whoever has installed a program runs it compiled; some development machines tell Python not to keep that.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
    together = _watch(pid)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, memory, together)


main()
