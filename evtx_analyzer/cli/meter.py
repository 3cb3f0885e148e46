"""Progress of a batch on stderr: a bar on a terminal, or a line of JSON for each bundle."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from evtx_analyzer.batch import Progress


class ProgressForm(StrEnum):
    """The form of progress: a bar if stderr is a terminal, lines of JSON, or nothing."""

    auto = "auto"
    json = "json"
    none = "none"


class Meter:
    """The progress of a batch as a context manager; the bar also shows rate and time left."""

    def __init__(self, total: int, form: ProgressForm) -> None:
        self.done, self.total, self._form = 0, total, form
        self._bar: ProgressBar | None = None

    def __enter__(self) -> Self:
        if self._form is ProgressForm.auto and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.completed:.0f} of {task.total:.0f} bundles"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
            )
            self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, rate="")
        return self

    def tell(self, now: Progress) -> None:
        """Show how far the batch is."""
        self.done = now.done
        if self._form is ProgressForm.json:
            import msgspec

            sys.stderr.write(msgspec.json.encode(now).decode() + "\n")
            sys.stderr.flush()
        elif self._bar is not None:
            elapsed = self._bar.tasks[0].elapsed or 0.001
            rate = f"{now.done / elapsed:.1f} bundles/s, {now.done_bytes / elapsed / 1e6:.1f} MB/s"
            self._bar.update(self._task, completed=now.done, rate=rate)

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()
