"""The options of an analysis, declared here and passed on as one value by the command line, batches and the library.

To add one, write a keyword in ``CaseArguments`` (if it holds for every bundle of a batch) or ``AnalysisArguments``, a
field of the same name in ``AnalysisOptions``, and its option in ``evtx_analyzer/cli/options.py``. If it changes what a
report says, the report names it too (``Options`` in ``evtx_analyzer/report/document.py``).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime
from typing import Any, TypedDict, Unpack

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.discover.archive.limits import Limits
from evtx_analyzer.errors import OptionError
from evtx_analyzer.hosts import HostNames, HostOverrides, host_overrides
from evtx_analyzer.rules import Rules

_MOST_JOBS = 4


class CaseArguments(TypedDict, total=False):
    """Keyword arguments that ``analyze`` and ``analyze_many`` have in common."""

    window: tuple[float, float] | None
    host: HostNames | None
    tz: str | None
    since: datetime | None
    until: datetime | None
    limits: Limits | None
    config: str | None


class AnalysisArguments(CaseArguments, total=False):
    """Keyword arguments of ``analyze``."""

    rules: Rules | None
    password: bytes | None
    anyway: bool
    leave_out: Collection[str | os.PathLike[str]]
    prefilter: bool
    jobs: int | None


class AnalysisOptions(Struct, frozen=True, kw_only=True):
    """The options of an analysis after they were checked; ``analysis_options`` makes them.

    ``window`` is in seconds before and after the handshake; None keeps the window of each link rule. ``host`` holds
    pairs of a pattern and a name. ``tz`` is an IANA name. ``since`` and ``until`` are aware times. ``rules`` is None
    for the built-in rules. ``jobs`` is a number of threads, None for one per core, at most four. ``config`` says in
    words which options came from which file. ``certificates`` are thumbprints whose checks matter besides those that
    the case shows (``verify`` names those of the earlier report).
    """

    window: tuple[float, float] | None = None
    host: HostOverrides = ()
    tz: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limits: Limits = Limits()
    config: str | None = None
    rules: Rules | None = None
    password: bytes | None = None
    anyway: bool = False
    leave_out: tuple[str, ...] = ()
    prefilter: bool = True
    jobs: int | None = None
    certificates: frozenset[str] = frozenset()

    @property
    def helpers(self) -> int:
        """Return how many threads may work at the same time as the analysis."""
        return (self.jobs or min(os.cpu_count() or 1, _MOST_JOBS)) - 1


def analysis_options(**arguments: Unpack[AnalysisArguments]) -> AnalysisOptions:
    """Check keyword arguments and return them as options. Raises OptionError for a value that cannot be used."""
    tz, jobs = arguments.get("tz"), arguments.get("jobs")
    since, until = arguments.get("since"), arguments.get("until")
    if tz is not None:
        clock.zone(tz)
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs={jobs}: expected a number of threads from 1 on")
    if since is not None and until is not None and since > until:
        raise OptionError("--since lies after --until, so that no time is left")
    checked: dict[str, Any] = {
        **arguments,
        "host": host_overrides(arguments.get("host")),
        "limits": arguments.get("limits") or Limits(),
        "leave_out": tuple(os.fspath(path) for path in arguments.get("leave_out", ())),
    }
    return AnalysisOptions(**checked)
