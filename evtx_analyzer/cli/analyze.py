"""``analyze``, ``render`` and ``schema``: one report, made or read back, to files and stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evtx_analyzer.cli.app import EPILOG, app
from evtx_analyzer.cli.options import (
    BareRedact,
    CaseOptions,
    Format,
    Lang,
    Output,
    Redact,
    Redaction,
    RedactMap,
    Stdout,
    with_case_options,
)
from evtx_analyzer.cli.streams import progress_on_stderr, require_writable, write_text
from evtx_analyzer.errors import OptionError

if TYPE_CHECKING:
    from evtx_analyzer.report.document import Report
    from evtx_analyzer.report.language import Language


@app.command(epilog=EPILOG, cls=BareRedact)
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
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Turn exit status 1 and 3 into 0.")] = False,
    lang: Lang = "en",
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

    for path in output or ():
        if any(name != "-" and path.resolve() == Path(name).resolve() for name in inputs):
            raise OptionError(f"{path}: is an input; name another file for the report")
    say = ready(output, lang, redact, redact_map, case.rules)
    options = replace(
        case.options,
        rules=Rules.load(case.rules) if case.rules else None,
        password=read_password(case.password_file),
        leave_out=tuple(map(str, output or ())),
        jobs=jobs,
    )
    with progress_on_stderr() as tell:
        report = analyze_case(list(inputs), options, tell)
    deliver(report, output, format_, say, redact, redact_map)
    code = report.exit_code
    raise typer.Exit(0 if exit_zero and code in (1, 3) else code)


@app.command(cls=BareRedact)
def render(
    saved: Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report saved with -o report.json.")],
    output: Output = None,
    format_: Stdout = Format.terminal,
    lang: Lang = "en",
    redact: Redaction = None,
    redact_map: RedactMap = None,
) -> None:
    """Render a saved report again, without its inputs; exits with 0.

    Example: evtx-analyzer render report.json -o report.html --lang de
    """
    from evtx_analyzer.report.document import load

    say = ready(output, lang, redact, redact_map, None)
    deliver(load(saved), output, format_, say, redact, redact_map)


def ready(
    output: list[Path] | None, lang: str, redact: Redact | None, redact_map: Path | None, rules: Path | None
) -> Language:
    """The language, after everything was checked that would spoil the run at its end."""
    from evtx_analyzer.report import language, render_for

    for path in output or []:
        render_for(path)
        require_writable(path)
    if redact_map is not None:
        require_writable(redact_map)
        if redact is None:
            raise OptionError("--redact-map needs --redact, for without it there are no aliases")
    return language.load(lang, rules)


def deliver(
    report: Report,
    output: list[Path] | None,
    format_: Format,
    say: Language,
    redact: Redact | None,
    redact_map: Path | None,
) -> None:
    """Write a report to its files and to stdout."""
    from evtx_analyzer.report import render_for, write

    if redact is not None:
        from evtx_analyzer.report.redact import mapping_text, redacted

        report, originals = redacted(report, everything=redact is Redact.all)
        if redact_map is not None:
            redact_map.write_text(mapping_text(originals), encoding="utf-8", newline="\n")
    for path in output or []:
        write(report, path, say)
    if format_ is not Format.terminal:
        suffix = {"markdown": "md"}.get(format_, format_.value)
        write_text(str(render_for(f"stdout.{suffix}")(report, say)))
        return
    import shutil

    from evtx_analyzer.report.terminal import PLAIN_WIDTH, to_terminal

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PLAIN_WIDTH
    write_text(to_terminal(report, say, width=max(width, 40), color=color))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the report."""
    from evtx_analyzer.report.document import json_schema

    write_text(json_schema())
