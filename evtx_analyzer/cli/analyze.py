"""``analyze``, ``render`` and ``schema``: make a report or read it back, and write it to files and stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.app import EPILOG, app
from evtx_analyzer.cli.config import ConfiguredCommand
from evtx_analyzer.cli.conversation import LOG, reading
from evtx_analyzer.cli.fail_on import FailOn, exit_status, wanted
from evtx_analyzer.cli.options import STDOUT, BareRedact, CaseOptions, Outputs, with_groups
from evtx_analyzer.cli.outputs import NOT_WRITTEN, checked, deliver
from evtx_analyzer.cli.streams import progress_on_stderr, write_document


@app.command(epilog=EPILOG, cls=ConfiguredCommand)
@with_groups
def analyze(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders, archives, or - for standard input; read as one case."),
    ],
    *,
    to: Outputs,
    case: CaseOptions,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Threads that work at once: beside the analysis, files are hashed and archives unpacked (default: one "
            "per core, at most 4). The report is the same.",
        ),
    ] = None,
    fail_on: FailOn = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Turn exit status 1 and 3 into 0.")] = False,
) -> None:
    """Analyze one case: CAPI2 Operational exports, Send connector logs, IIS SMTP logs.

    For example:

    evtx-analyzer analyze case-4711 -o report.html -o report.json

    evtx-analyzer analyze capi2.evtx SmtpSend --host EX01 --window 60,30

    evtx-analyzer analyze case-4711 --redact -o for-the-vendor.html --redact-map keep-this.json
    """
    # Imported here, so that --help does not wait for parsers.
    from evtx_analyzer.pipeline import analyze_case

    say = checked(to, rules=case.rules, inputs=inputs)
    pairs = wanted(fail_on, case.rules) if fail_on else []
    options = case.here(leave_out=tuple(map(str, to.files)), jobs=jobs)
    with progress_on_stderr() as progress:
        report = analyze_case(list(inputs), options, reading(progress))
    LOG.debug("%s sources, %s losses: %s", len(report.sources), len(report.losses), report.verdict.title)
    if not deliver(report, to, say):
        raise typer.Exit(NOT_WRITTEN)
    findings = (f"{finding.cause}:{finding.grade}" for finding in report.findings)
    code = exit_status(report.exit_code, pairs, findings, lost=bool(report.losses))
    raise typer.Exit(0 if exit_zero and code in (1, 3) else code)


@app.command(cls=BareRedact)
@with_groups
def render(
    saved: Annotated[
        Path, typer.Argument(metavar="REPORT.json", help="A report saved with -o report.json, or - for standard input.")
    ],
    *,
    to: Outputs,
) -> None:
    """Render a saved report again, without its inputs; exits with 0, or with 5 where an output cannot be written.

    Example: evtx-analyzer render report.json -o report.html --lang de
    """
    from evtx_analyzer.report.document import load, loads

    say = checked(to)
    report = loads(sys.stdin.buffer.read(), "standard input") if saved == STDOUT else load(saved)
    if not deliver(report, to, say):
        raise typer.Exit(NOT_WRITTEN)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the report."""
    from evtx_analyzer.report.document import json_schema

    write_document(json_schema())
