"""The reasons for which a bundle can fail through no fault of its contents, and the limits of its worker process."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evtx_analyzer.batch.summary import Summary
from evtx_analyzer.errors import ReportError

DIED = (
    "its worker process died in every try; the bundle may need more memory than --memory-limit or this machine has, "
    "or crash a library"
)
"""The same words on this machine and on a cluster, so that their summaries are equal."""
KILLED = "its worker process was killed from outside again and again; look who does that, and repeat with --resume"
NO_WORKERS = "no worker process is there any more, for all were killed; repeat with --resume"
NO_ROOM = "not analyzed, because the reports of other bundles could not be written; make room and repeat with --resume"


class WorkerLimits(Struct, frozen=True, kw_only=True):
    """The limits of one bundle: ``memory`` in bytes of address space, ``seconds`` of time; None is no limit.

    The defaults are far above what real bundles need (a CAPI2 export of 2 GB: 0.9 GB, a Send log of 2 GB: 74 MB and
    50 s), and below what brings a machine down.
    """

    memory: int | None = 4 << 30
    seconds: float | None = 3600.0


class UnwrittenError(Exception):
    """Raised in a worker if the report cannot be written; ``full`` says that no other report can be written either."""

    def __init__(self, reason: str, full: bool = False) -> None:
        super().__init__(reason, full)
        self.reason, self.full = reason, full


class IncompleteError(ReportError):
    """Some outputs of a batch could not be written; ``summary`` holds what is known."""

    def __init__(self, problems: Sequence[str], summary: Summary) -> None:
        super().__init__("; ".join(problems))
        self.summary = summary


class Failed(Struct, frozen=True):
    """A bundle without a report, and the reason; ``full`` says that no other report can be written either."""

    reason: str
    full: bool = False


def why_unwritten(error: Exception) -> str:
    """Return the system's reason for which a file could not be written."""
    cause = error.__cause__ or error
    return str(getattr(cause, "strerror", None) or cause)


def overdue(seconds: float) -> str:
    """Return the reason of a bundle whose time limit, in seconds, was over."""
    return f"it took longer than --time-limit {seconds:g} (seconds); raise the limit, or look for a damaged file in it"


def out_of_memory(memory: int | None) -> str:
    """Return the reason of a bundle that ran into its memory limit, in bytes, or into the machine's."""
    limit = f"--memory-limit {memory >> 20}M" if memory else "this machine"
    return f"it needs more memory than {limit} allows"
