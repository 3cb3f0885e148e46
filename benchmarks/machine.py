"""On what was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.peers import REPOSITORY

_PACKAGES = (
    "evtx",
    "python-evtx",
    "libevtx-python",
    "pandas",
    "polars",
    "numpy",
    "lxml",
    "msgspec",
    "stringzilla",
    "zlib-ng",
)


def described(runs: int) -> str:
    """The machine and its programs, as a Markdown list."""
    load = os.getloadavg()[0]
    packages = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name)))
    return "\n".join(
        [
            f"- {_processor()}, {os.cpu_count()} cores; {_memory()} of memory; load at the start {load:.1f}",
            f"- {_system()}, Python {platform.python_version()}; {_line(['rg', '--version']) or 'no ripgrep'}",
            f"- {packages}",
            f"- evtx-analyzer {_version('evtx-analyzer')}, commit {_commit()}; {datetime.now(UTC):%Y-%m-%d}",
            f"- median of {runs}, files in the cache",
        ]
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        match = re.search(r"^model name\s*: (.*)$", information.read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            return match[1].strip()
    return _line(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = ""
    return f"{name} ({platform.system()})" if name else platform.platform()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    found = _line(["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"])
    changed = _line(["git", "-C", str(REPOSITORY), "status", "--porcelain", "--", "evtx_analyzer", "rules"])
    return (found or "unknown") + (" and changes" if changed else "")


def _line(command: list[str]) -> str:
    """The first line that a command prints; empty where it cannot run."""
    try:
        done = subprocess.run(  # noqa: S603  command lines of this module
            command, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return (done.stdout.strip().splitlines() or [""])[0] if done.returncode == 0 else ""
