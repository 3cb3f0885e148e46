"""``batch``: analyze many bundles into a folder of reports and a summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evtx_analyzer.cli.app import EPILOG, app
from evtx_analyzer.cli.config import ConfiguredCommand
from evtx_analyzer.cli.ending import complain
from evtx_analyzer.cli.fail_on import FailOn, exit_status, wanted
from evtx_analyzer.cli.meter import Meter, ProgressForm
from evtx_analyzer.cli.options import CaseOptions, Lang, Redaction, RedactMap, size_of, with_groups
from evtx_analyzer.cli.outputs import NOT_WRITTEN, require_redaction
from evtx_analyzer.cli.streams import require_writable, write_text
from evtx_analyzer.errors import InputError, OptionError
from evtx_analyzer.plain_text import clean

if TYPE_CHECKING:
    from evtx_analyzer.batch.bundles import Bundle
    from evtx_analyzer.batch.outcome import WorkerLimits
    from evtx_analyzer.batch.summary import Row, Summary
    from evtx_analyzer.report.language import Language

_LEAST_MEMORY = 300 << 20
_MOST_CHANGES = 20
_MOST_UNREAD = 5


@app.command(epilog=EPILOG, cls=ConfiguredCommand)
@with_groups
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
        bool,
        typer.Option(
            "--resume",
            help="Only what is not done yet with the same files, rules and options. A file counts as the same where "
            "its size, time and inode are.",
        ),
    ] = False,
    verify_contents: Annotated[
        bool,
        typer.Option("--verify-contents", help="With --resume: read all files to see whether they are the same."),
    ] = False,
    memory_limit: Annotated[
        str, typer.Option(metavar="SIZE", help="Most memory (address space) for one bundle, such as 2G; 0: no limit.")
    ] = "4G",
    time_limit: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="Most time for one bundle; 0: no limit.")
    ] = 3600,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="A further format of reports, such as html, md, csv, parquet (of the summary too). Repeatable.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="SUMMARY.json", help="Tell what is new, gone or changed since an earlier summary; DIR's own too."
        ),
    ] = None,
    fail_on: FailOn = None,
    progress: Annotated[
        ProgressForm,
        typer.Option(help="auto: a bar on a terminal; json: a line on stderr for each bundle; none."),
    ] = ProgressForm.auto,
    case: CaseOptions,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Turn exit status 1 and 3 into 0.")] = False,
    lang: Lang = "en",
    redact: Redaction = None,
    redact_map: RedactMap = None,
) -> None:
    """Analyze many bundles: a report for each under DIR/reports, and a summary of all.

    A bundle that cannot be read is a row of the summary. For example:

    evtx-analyzer batch cases -o out --resume --format html --compare out/summary.json
    """
    # Imported here, so that --help does not wait for parsers.
    from evtx_analyzer.batch import outputs_for, run, settings_for
    from evtx_analyzer.batch.compare import load_summary
    from evtx_analyzer.batch.outcome import IncompleteError
    from evtx_analyzer.discover.archive.limits import read_password
    from evtx_analyzer.report import language

    read_password(case.password_file)
    settings = settings_for(case.options, rules=case.rules, password_file=case.password_file)
    outputs = outputs_for(format_ or (), lang, redact.value if redact else "")
    say = language.load(lang, case.rules)
    limits = _limits(memory_limit, time_limit)
    pairs = wanted(fail_on, case.rules) if fail_on else []
    earlier = load_summary(compare) if compare else None
    require_writable(output)
    require_redaction(redact, redact_map)
    if verify_contents and not resume:
        raise OptionError("--verify-contents needs --resume, for without it all is analyzed anew")
    bundles = _bundles(inputs, output)
    problem = ""
    with Meter(len(bundles), progress) as meter:
        try:
            summary = run(
                bundles,
                output,
                settings,
                workers=jobs,
                scheduler=scheduler,
                limits=limits,
                resume=resume,
                verify_contents=verify_contents,
                outputs=outputs,
                redact_map=redact_map,
                earlier=earlier,
                progress=meter.tell,
            )
        except IncompleteError as error:
            summary, problem = error.summary, str(error)
        except KeyboardInterrupt:
            done = f"{meter.done} of {meter.total} bundles are done"
            complain(f"interrupted; {done}: the same command with --resume does the rest")
            raise typer.Exit(130) from None
    write_text("".join(f"{line}\n" for line in _lines(summary, say)) + f"{output / 'summary.html'}\n")
    if problem:
        complain(problem)
        # A full disk leaves bundles undone, which is worse than an output that could not be written.
        raise typer.Exit(2 if any(row.status == "failed" for row in summary.rows) else NOT_WRITTEN)
    lost = any(row.loss_count or row.status != "read" for row in summary.rows)
    code = exit_status(
        summary.exit_code, pairs, (finding for row in summary.rows for finding in row.findings), lost=lost
    )
    raise typer.Exit(0 if exit_zero and code in (1, 3) else code)


def _bundles(inputs: list[str], output: Path) -> list[Bundle]:
    from evtx_analyzer.batch.bundles import bundles
    from evtx_analyzer.discover import real_path

    # The results of an earlier run, written into the folder of the bundles, are no bundle.
    own = [real_path(output)]
    others = [bundle for bundle in bundles(inputs) if [real_path(name) for name in bundle.inputs] != own]
    if not others:
        raise InputError(f"{inputs[0]}: the folder is empty; expected subfolders, archives or logs")
    return others


def _limits(memory: str, seconds: int) -> WorkerLimits:
    from evtx_analyzer.batch.outcome import WorkerLimits

    size = size_of("--memory-limit", memory) or 0
    if 0 < size < _LEAST_MEMORY:
        raise OptionError(f"--memory-limit {memory}: the program itself takes 300M; expected more, or 0 for no limit")
    return WorkerLimits(memory=size or None, seconds=seconds or None)


def _lines(summary: Summary, say: Language) -> list[str]:
    """Return the lines of stdout: refusals, causes and outcomes with their numbers, and what changed."""
    from evtx_analyzer.batch.compare import words
    from evtx_analyzer.batch.summary import OUTCOME_NAMES
    from evtx_analyzer.batch.summary_page import headline

    lines = [headline(summary, say)]
    for cause in summary.causes:
        grade = f" {say(cause.grade)}" if cause.cause and cause.grade else ""
        lines.append(f"  {cause.bundles} x {cause.cause or say(OUTCOME_NAMES[cause.outcome])}{grade}")
    counts = {outcome: summary.outcomes[outcome] for outcome in ("not-read", "failed")}
    for outcome, count in counts.items():
        lines += [f"  {count} x {say(OUTCOME_NAMES[outcome])}"] if count else []
        unread = [row for row in summary.rows if row.outcome == outcome]
        lines += [f"    {clean(row.bundle)}: {_reason(row, say)}" for row in unread[:_MOST_UNREAD]]
    if (compared := summary.comparison) is not None:
        new, changed, gone = len(compared.new), len(compared.changed), len(compared.gone)
        lines.append(say("$new new, $changed changed, $gone gone", new=new, changed=changed, gone=gone))
        rows: list[tuple[str, str, str, str]] = [
            (row.change, row.bundle, row.before, words(row)) for row in summary.rows if row.change != "same"
        ]
        rows += [("gone", row["bundle"], row["before"], "") for row in compared.gone]
        for change, bundle, before, now in rows[:_MOST_CHANGES]:
            results = " -> ".join(say.sentence(text) for text in (before, now) if text)
            lines.append(f"  {say(change)}: {clean(bundle)}: {results}")
        if len(rows) > _MOST_CHANGES:
            lines.append("  " + say("and $count more", count=len(rows) - _MOST_CHANGES))
    return lines


def _reason(row: Row, say: Language) -> str:
    """Return why a bundle was not read, without its name, with which the text of an error begins."""
    return clean(say.sentence(row.reason).removeprefix(f"{row.bundle}: "))
