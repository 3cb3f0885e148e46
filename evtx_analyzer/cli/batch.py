"""``batch``: many bundles, with a meter on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from evtx_analyzer.cli.app import EPILOG, app
from evtx_analyzer.cli.command import PlainCommand
from evtx_analyzer.cli.options import CaseOptions, with_case_options
from evtx_analyzer.cli.streams import require_writable, write_text
from evtx_analyzer.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from evtx_analyzer.batch import Progress


@app.command(epilog=EPILOG, cls=PlainCommand)
@with_case_options
def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="One folder: each subfolder and archive in it is a bundle, loose files together are one. "
            "Several inputs, the matches of a quoted glob, the lines of a list (@bundles.txt): each is one bundle. "
            "URLs such as s3://bucket/cases work as folders do.",
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for summary.json, .csv, .html and reports/.")
    ],
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes on this machine (default: one per core).")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on a Dask cluster, for example tcp://HOST:8786, instead."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only what is not done yet with the same contents, rules and options.")
    ] = False,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="NAME", help="A further format of reports; parquet for the summary. Repeatable."
        ),
    ] = None,
    case: CaseOptions,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Turn exit status 1 and 3 into 0.")] = False,
) -> None:
    """Analyze many bundles: a report for each under DIR/reports, and a summary of all.

    A bundle that cannot be read is a row of the summary. Example: evtx-analyzer batch cases -o out --resume
    """
    # Imported here, so that --help does not wait for parsers.
    from evtx_analyzer.batch import bundles, run, settings_for
    from evtx_analyzer.discover.archive.limits import read_password

    read_password(case.password_file)
    settings = settings_for(case.options, rules=case.rules, password_file=case.password_file)
    require_writable(output)
    found = bundles(inputs)
    # The results of an earlier run, written into the folder of the bundles, are no bundle.
    found = [item for item in found if [Path(name).resolve() for name in item.inputs] != [output.resolve()]]
    if not found:
        raise InputError(f"{inputs[0]}: the folder is empty; expected subfolders, archives or logs")
    with Meter(len(found)) as meter:
        try:
            summary = run(
                found,
                output,
                settings,
                workers=jobs,
                scheduler=scheduler,
                resume=resume,
                formats=format_ or [],
                tell=meter.tell,
            )
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted(meter)) from None
    lines = [f"{item.bundles} x {item.cause or 'no refusal'} {item.grade or ''}".rstrip() for item in summary.causes]
    lines += [f"{len(summary.not_read)} x not read"] if summary.not_read else []
    write_text(f"{summary.rejection_count} refusals with 5.7.64 in {len(summary.rows)} bundles\n")
    write_text("".join(f"  {line}\n" for line in lines) + f"{output / 'summary.html'}\n")
    code = summary.exit_code
    raise typer.Exit(0 if exit_zero and code in (1, 3) else code)


class Meter:
    """Progress of a batch with rate and time left, on stderr and only where that is a terminal."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total
        self._bar: ProgressBar | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
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
        if self._bar is not None:
            elapsed = self._bar.tasks[0].elapsed or 0.001
            rate = f"{now.done / elapsed:.1f} bundles/s, {now.done_bytes / elapsed / 1e6:.1f} MB/s"
            self._bar.update(self._task, completed=now.done, rate=rate)

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _interrupted(meter: Meter) -> int:
    done = f"{meter.done} of {meter.total} bundles are done"
    sys.stderr.write(f"evtx-analyzer: interrupted; {done}: the same command with --resume does the rest\n")
    return 130
