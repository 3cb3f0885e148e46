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
from evtx_analyzer.cli.options import (
    BareRedact,
    CaseOptions,
    Format,
    Full,
    Lang,
    Output,
    Redaction,
    RedactMap,
    Stdout,
    with_case_options,
)
from evtx_analyzer.cli.outputs import NOT_WRITTEN, STDOUT, deliver, outputs
from evtx_analyzer.cli.streams import progress_on_stderr, write_document


@app.command(epilog=EPILOG, cls=ConfiguredCommand)
@with_case_options
def analyze(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders, archives, or - for standard input; read as one case."),
    ],
    *,
    output: Output = None,
    format_: Stdout = Format.terminal,
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
    lang: Lang = "en",
    full: Full = False,
    redact: Redaction = None,
    redact_map: RedactMap = None,
) -> None:
    """Analyze one case: CAPI2 Operational exports, Send connector logs, IIS SMTP logs.

    For example:

    evtx-analyzer analyze case-4711 -o report.html -o report.json

    evtx-analyzer analyze capi2.evtx SmtpSend --host EX01 --window 60,30

    evtx-analyzer analyze case-4711 --redact -o for-the-vendor.html --redact-map keep-this.json
    """
    # Imported here, so that --help does not wait for parsers.
    from msgspec.structs import replace

    from evtx_analyzer.discover.archive.limits import read_password
    from evtx_analyzer.pipeline import analyze_case
    from evtx_analyzer.rules import Rules

    to = outputs(
        output, format_, lang, full=full, redact=redact, redact_map=redact_map, rules=case.rules, inputs=inputs
    )
    pairs = wanted(fail_on, case.rules) if fail_on else []
    options = replace(
        case.options,
        rules=Rules.load(case.rules) if case.rules else None,
        password=read_password(case.password_file),
        leave_out=tuple(map(str, output or ())),
        jobs=jobs,
    )
    with progress_on_stderr() as progress:
        report = analyze_case(list(inputs), options, reading(progress))
    LOG.debug("%s sources, %s losses: %s", len(report.sources), len(report.losses), report.verdict.title)
    if not deliver(report, to):
        raise typer.Exit(NOT_WRITTEN)
    findings = (f"{finding.cause}:{finding.grade}" for finding in report.findings)
    code = exit_status(report.exit_code, pairs, findings, lost=bool(report.losses))
    raise typer.Exit(0 if exit_zero and code in (1, 3) else code)


@app.command(cls=BareRedact)
def render(
    saved: Annotated[
        Path, typer.Argument(metavar="REPORT.json", help="A report saved with -o report.json, or - for standard input.")
    ],
    output: Output = None,
    format_: Stdout = Format.terminal,
    lang: Lang = "en",
    full: Full = False,
    redact: Redaction = None,
    redact_map: RedactMap = None,
) -> None:
    """Render a saved report again, without its inputs; exits with 0, or with 5 where an output cannot be written.

    Example: evtx-analyzer render report.json -o report.html --lang de
    """
    from evtx_analyzer.report.document import load, loads

    to = outputs(output, format_, lang, full=full, redact=redact, redact_map=redact_map)
    report = loads(sys.stdin.buffer.read(), "standard input") if saved == STDOUT else load(saved)
    if not deliver(report, to):
        raise typer.Exit(NOT_WRITTEN)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the report."""
    from evtx_analyzer.report.document import json_schema

    write_document(json_schema())
