"""The command line: arguments in, report on stdout, conversation on stderr. The only place that prints or exits."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Self

import typer
from typer.core import TyperCommand

from evtx_analyzer.errors import AnalyzerError, InputError, OptionError

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from evtx_analyzer.batch import Progress
    from evtx_analyzer.discover.limits import Limits
    from evtx_analyzer.report.document import Report
    from evtx_analyzer.report.language import Language

EPILOG = (
    "Exit status: 0 everything was read and no 5.7.64 refusal is in it; 1 refusals found; 2 usage error or nothing "
    "could be read; 3 no refusal found, but parts could not be read."
)
_MOST_LOSSES = 20
app = typer.Typer(
    name="evtx-analyzer",
    help="Find out why mail to Exchange Online is refused with 550 5.7.64 TenantAttribution; Relay Access Denied.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it in boxes costs more than half of the start
    context_settings={"help_option_names": ["-h", "--help"]},
)


_ARCHIVES = "Archives"
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=_ARCHIVES,
        help="Password of encrypted archives: the first line of FILE; else the variable EVTX_ANALYZER_PASSWORD.",
    ),
]
MaxUnpacked = Annotated[
    str | None,
    typer.Option(metavar="SIZE", rich_help_panel=_ARCHIVES, help="Most bytes to unpack, such as 500M (default 100G)."),
]
MaxRatio = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Most times that data may grow, from 64M on (default 200)."
    ),
]
MaxDepth = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Most archives in each other (default 6)."),
]
MaxMembers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Most members of all archives (default 100000)."),
]
MaxName = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Longest name of a member (default 1000)."),
]


class Format(StrEnum):
    """What stdout carries."""

    terminal = "terminal"
    json = "json"
    html = "html"
    markdown = "markdown"
    csv = "csv"


class Redact(StrEnum):
    """What is replaced by aliases: names and addresses, or thumbprints, serial numbers and key ids too."""

    names = "names"
    all = "all"


class BareRedact(TyperCommand):
    """A command that takes ``--redact`` without a value, and does not take the next argument for one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own context type
        """Write the value out before the arguments are parsed."""
        return super().parse_args(ctx, ["--redact=names" if item == "--redact" else item for item in args])


Output = Annotated[
    list[Path] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write the report; the suffix picks the format: .html, .md, .json, .txt, .csv (refusals), "
        ".operations.csv, .links.csv, the same with .parquet, .timesketch.jsonl. Repeatable.",
    ),
]
Stdout = Annotated[Format, typer.Option("--format", help="What stdout carries.")]
Lang = Annotated[
    str,
    typer.Option(
        "--lang",
        metavar="en|de",
        envvar="EVTX_ANALYZER_LANG",
        help="Language of readable reports; ids stay as they are.",
    ),
]
Redaction = Annotated[
    Redact | None,
    typer.Option(
        "--redact",
        help="Replace mailboxes, hosts, domains, addresses and subject names by aliases in every output "
        "(--redact alone means names); =all also thumbprints, serial numbers and key ids.",
    ),
]
RedactMap = Annotated[
    Path | None,
    typer.Option("--redact-map", metavar="FILE", help="Write which alias stands for what, as JSON; keep it."),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evtx-analyzer {metadata.version('evtx-analyzer')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(epilog=EPILOG, cls=BareRedact)
def analyze(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders, archives, or - for standard input; read as one case."),
    ],
    output: Output = None,
    format_: Stdout = Format.terminal,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="BEFORE,AFTER",
            help="Seconds before and after the TLS handshake in which a CAPI2 event may lie (default 10,5).",
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PATTERN=]NAME",
            help="The machine that wrote the SMTP logs: NAME for all of them, or PATTERN=NAME for those whose path, "
            "folder or file name fits (EX01*=EX01). Repeatable.",
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Time zone of logs in local time (IIS format, ODBC, PowerShell exports), such as Europe/Berlin.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only refusals from this time on, for example 2016-12-01T03:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only refusals up to this time.")] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Add the rules of this folder (signals/, links/, causes/); a rule of the same name overrides ours.",
        ),
    ] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Turn exit status 1 and 3 into 0.")] = False,
    lang: Lang = "en",
    redact: Redaction = None,
    redact_map: RedactMap = None,
    password_file: PasswordFile = None,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = None,
    max_depth: MaxDepth = None,
    max_members: MaxMembers = None,
    max_name: MaxName = None,
) -> None:
    """Analyze one case: CAPI2 Operational exports, Send connector logs, IIS SMTP logs.

    For example:

    evtx-analyzer analyze case-4711 -o report.html -o report.json

    evtx-analyzer analyze capi2.evtx SmtpSend --host EX01 --window 60,30

    evtx-analyzer analyze case-4711 --redact -o for-the-vendor.html --redact-map keep-this.json
    """
    # Imported here, so that --help does not wait for parsers.
    from evtx_analyzer.discover.limits import read_password
    from evtx_analyzer.pipeline import analyze as run
    from evtx_analyzer.rules import Rules

    say = _ready(output, lang, redact, redact_map, rules)
    with progress_on_stderr() as tell:
        report = run(
            list(inputs),
            rules=Rules.load(rules) if rules else None,
            window=_window(window),
            host=host or None,
            tz=tz,
            since=_time("--since", since),
            until=_time("--until", until),
            limits=_limits(max_unpacked, max_ratio, max_depth, max_members, max_name),
            password=read_password(password_file),
            progress=tell,
        )
    _deliver(report, output, format_, say, redact, redact_map)
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

    say = _ready(output, lang, redact, redact_map, None)
    _deliver(load(saved), output, format_, say, redact, redact_map)


def _ready(
    output: list[Path] | None, lang: str, redact: Redact | None, redact_map: Path | None, rules: Path | None
) -> Language:
    """The language, after everything was checked that would spoil the run at its end."""
    from evtx_analyzer.report import language, render_for

    for path in output or []:
        render_for(path)
        _writable(path)
    if redact_map is not None:
        _writable(redact_map)
        if redact is None:
            raise OptionError("--redact-map needs --redact, for without it there are no aliases")
    return language.load(lang, rules)


def _deliver(
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
        _write(str(render_for(f"stdout.{suffix}")(report, say)))
        return
    from evtx_analyzer.report.terminal import PLAIN_WIDTH, to_terminal

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PLAIN_WIDTH
    _write(to_terminal(report, say, width=max(width, 60), color=color))


@contextmanager
def progress_on_stderr() -> Iterator[Callable[[str, int], None] | None]:
    """A function to tell of bytes read, shown on a terminal with amount and rate once reading lasts for a second."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, FileSizeColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    from evtx_analyzer.report.tables import clean, clip

    # How often a file is read depends on what is found in it, so there is no total to count towards.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), FileSizeColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)
    begun = time.monotonic()

    def tell(path: str, size: int) -> None:
        bar.update(task, advance=size, description=clip(clean(path), 40))
        if not bar.live.is_started and time.monotonic() - begun >= 1:
            bar.start()

    try:
        yield tell
    finally:
        bar.stop()


class TableFormat(StrEnum):
    """How a table is written."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    timesketch = "timesketch"


@app.command(
    epilog="Exit status: 0 everything was read; 2 usage error or nothing could be read; 3 parts could not be read, "
    "they are listed on stderr."
)
def events(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Files, folders, or - for standard input; read as one.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write here instead of stdout; .csv .jsonl .parquet."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="What to give: capi2, send-connector, receive-connector, iis-smtp, message-tracking or ndr.",
        ),
    ] = "capi2",
    format_: Annotated[
        TableFormat | None,
        typer.Option("--format", help="Default: what the suffix of FILE says, else csv. timesketch is CSV to import."),
    ] = None,
    as_operations: Annotated[
        bool, typer.Option("--operations", help="One row per CAPI2 operation instead of one per record.")
    ] = False,
    as_story: Annotated[
        bool, typer.Option("--story", help="Tell the CAPI2 operations as indented text instead of a table.")
    ] = False,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only these event ids: 11 or 11,30.")
    ] = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--result", metavar="CODE", help="Only these results: 800B0109 or CERT_E_UNTRUSTEDROOT."),
    ] = None,
    process: Annotated[str, typer.Option(metavar="NAME", help="Only of this process: lsass.exe.")] = "",
    subject: Annotated[
        str, typer.Option(metavar="TEXT", help="Only where a certificate's name or thumbprint holds this text.")
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this time on, for example 2016-12-01T03:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time.")] = None,
    tz: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Time zone of logs in local time (IIS, NCSA): an IANA name, Europe/Berlin."),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only with a result that is not 0 (Level says nothing about it).")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin CSV with a byte order mark, which Excel needs.")] = False,
) -> None:
    """Give decoded events as a table: one row per record, or per operation, or a story to read.

    Of operations, --id, --result, --subject and --failed ask for those in which any event fits.

    Example: evtx-analyzer events capi2.evtx --failed -o failures.csv
    """
    from evtx_analyzer.tables import Filter, extract, format_for, write

    if as_story and (format_ or as_operations or bom):
        raise OptionError("--story is text of its own: leave out --format, --operations and --bom")
    form = format_.value if format_ else "csv" if output is None or as_story else format_for(output)
    if bom and form not in ("csv", "timesketch"):
        raise OptionError(f"--bom is for CSV, not for {form}")
    if form == "parquet" and output is None:
        raise OptionError("Parquet is no text: name a file, for example -o events.parquet")
    if output is not None:
        _writable(output)
    wanted = Filter(
        ids=_numbers(ids),
        results=_results(results),
        process=process,
        subject=subject,
        since=_time("--since", since),
        until=_time("--until", until),
        failed=failed,
    )
    found = extract(list(inputs), kind=kind, wanted=wanted, as_operations=as_operations or as_story, tz=tz)
    if as_story:
        from evtx_analyzer.report.story import story

        text = "\n".join(story(found.items, found.coverage)) + "\n"
        _write(text) if output is None else output.write_text(text, encoding="utf-8", newline="\n")
    elif output is None:
        _write_bytes(lambda stream: write(found, form, stream, bom=bom))
    else:
        with output.open("wb") as stream:
            write(found, form, stream, bom=bom)
    losses = found.losses
    for loss in losses[:_MOST_LOSSES]:
        from evtx_analyzer.report.document import place_text
        from evtx_analyzer.report.tables import clean

        sys.stderr.write(clean(f"evtx-analyzer: {place_text(loss.origin)}: {loss.reason} ({loss.extent})") + "\n")
    if len(losses) > _MOST_LOSSES:
        sys.stderr.write(f"evtx-analyzer: and {len(losses) - _MOST_LOSSES} more losses\n")
    raise typer.Exit(3 if losses else 0)


def _numbers(texts: list[str] | None) -> frozenset[int]:
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise OptionError(f"--id {wrong[0]}: expected event ids, for example --id 11,30")
    return frozenset(map(int, parts))


def _results(texts: list[str] | None) -> frozenset[int]:
    from evtx_analyzer.constants import result_number

    found: set[int] = set()
    for part in (part for text in texts or () for part in text.split(",")):
        number = result_number(part)
        if number is None:
            raise OptionError(
                f"--result {part}: expected hex or a symbol, for example 800B0109 or CERT_E_UNTRUSTEDROOT"
            )
        found.add(number)
    return frozenset(found)


@app.command(epilog=EPILOG)
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
    window: Annotated[
        str | None, typer.Option(metavar="BEFORE,AFTER", help="As for analyze; the same for all bundles.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(metavar="[PATTERN=]NAME", help="As for analyze; the same for all bundles.")
    ] = None,
    tz: Annotated[str | None, typer.Option(metavar="ZONE", help="As for analyze; the same for all bundles.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only refusals from this time on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only refusals up to this time.")] = None,
    rules: Annotated[Path | None, typer.Option(metavar="DIR", help="As for analyze.")] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Turn exit status 1 and 3 into 0.")] = False,
    password_file: PasswordFile = None,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = None,
    max_depth: MaxDepth = None,
    max_members: MaxMembers = None,
    max_name: MaxName = None,
) -> None:
    """Analyze many bundles: a report for each under DIR/reports, and a summary of all.

    A bundle that cannot be read is a row of the summary. Example: evtx-analyzer batch cases -o out --resume
    """
    # Imported here, so that --help does not wait for parsers.
    from evtx_analyzer.batch import bundles, run, settings_for
    from evtx_analyzer.discover.limits import read_password

    read_password(password_file)
    settings = settings_for(
        rules=rules,
        window=_window(window),
        host=host or None,
        tz=tz,
        since=_time("--since", since),
        until=_time("--until", until),
        limits=_limits(max_unpacked, max_ratio, max_depth, max_members, max_name),
        password_file=password_file,
    )
    _writable(output)
    found = bundles(inputs)
    if not found:
        raise InputError(f"{inputs[0]}: the folder is empty; expected subfolders, archives or logs")
    with _Meter(len(found)) as meter:
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
    _write(f"{summary.rejection_count} refusals with 5.7.64 in {len(summary.rows)} bundles\n")
    _write("".join(f"  {line}\n" for line in lines) + f"{output / 'summary.html'}\n")
    code = summary.exit_code
    raise typer.Exit(0 if exit_zero and code in (1, 3) else code)


class _Meter:
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
        self.done = now.done
        if self._bar is not None:
            elapsed = self._bar.tasks[0].elapsed or 0.001
            rate = f"{now.done / elapsed:.1f} bundles/s, {now.done_bytes / elapsed / 1e6:.1f} MB/s"
            self._bar.update(self._task, completed=now.done, rate=rate)

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _interrupted(meter: _Meter) -> int:
    done = f"{meter.done} of {meter.total} bundles are done"
    sys.stderr.write(f"evtx-analyzer: interrupted; {done}: the same command with --resume does the rest\n")
    return 130


@app.command()
def schema() -> None:
    """Print the JSON Schema of the report."""
    from evtx_analyzer.report.document import json_schema

    _write(json_schema())


rules_app = typer.Typer(help="List, check, test and convert rules.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
RulesFolder = Annotated[
    Path | None,
    typer.Option(
        "--rules", metavar="DIR", help="Add the rules of this folder; a rule of the same name overrides ours."
    ),
]


@rules_app.command("list")
def rules_list(rules: RulesFolder = None) -> None:
    """List all signals, links and causes with their titles."""
    from evtx_analyzer.rules import Rules

    found = Rules.load(rules)
    rows = [("signal", item.name, item.title) for item in found.signals]
    rows += [("link", item.name, item.title) for item in found.links]
    rows += [("cause", item.id, item.title) for item in found.causes]
    width = max(len(name) for _, name, _ in rows)
    _write("".join(f"{kind:6}  {name:{width}}  {title}\n" for kind, name, title in rows))


@rules_app.command("check")
def rules_check(rules: RulesFolder = None) -> None:
    """Check all rule files and report every mistake at once, as file:key: message (exit status 2)."""
    from evtx_analyzer.rules import Rules

    found = Rules.load(rules)
    _write(f"{len(found.signals)} signals, {len(found.links)} links, {len(found.causes)} causes: no mistake found\n")


@rules_app.command("test")
def rules_test(rules: RulesFolder = None) -> None:
    """Run the cases of every rule (cases/signals, cases/links, cases/causes); exit status 1 where one fails."""
    from evtx_analyzer.rule_cases import run_cases
    from evtx_analyzer.rules import Rules, rule_folders

    outcomes = run_cases(Rules.load(rules), rule_folders(rules))
    failed = [item for item in outcomes if item.problem]
    for item in failed:
        _write(f"{item.file}:{item.case}: {item.problem}\n")
    _write(f"{len(outcomes) - len(failed)} cases passed, {len(failed)} failed\n")
    raise typer.Exit(1 if failed else 0)


@rules_app.command("convert")
def rules_convert(
    target: Annotated[str, typer.Option("--target", metavar="BACKEND", help="A pySigma backend, for example splunk.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE]...", help="Signals or links (default: all).")
    ] = None,
    rules: RulesFolder = None,
) -> None:
    """Convert signals and links to queries of a SIEM; needs the extra siem.

    Example: evtx-analyzer rules convert --target splunk chain_policy_failed
    """
    from evtx_analyzer.rule_convert import convert
    from evtx_analyzer.rules import Rules, rule_folders

    Rules.load(rules)
    found = list(convert(rule_folders(rules), target, names or ()))
    for item in found:
        if item.problem:
            sys.stderr.write(f"evtx-analyzer: {item.name} cannot be converted: {item.problem}\n")
        else:
            _write(f"# {item.name}\n{item.query}\n\n")
    raise typer.Exit(0 if any(item.query for item in found) else 2)


def _limits(
    unpacked: str | None, ratio: int | None, depth: int | None, members: int | None, name: int | None
) -> Limits:
    from evtx_analyzer.discover.limits import Limits

    given = {
        "total_bytes": _size("--max-unpacked", unpacked),
        "ratio": ratio,
        "depth": depth,
        "members": members,
        "name_length": name,
    }
    return Limits(**{key: value for key, value in given.items() if value is not None})


def _size(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise OptionError(f"{option} {text}: expected a number of bytes such as 500M or 20G")
    return int(found[1]) << (10 * " KMGT".index(found[2].upper() or " "))


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        before, after = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--window {text}: expected two numbers of seconds, for example --window 60,30") from None
    if not (0 <= before < float("inf") and 0 <= after < float("inf")):
        raise OptionError(f"--window {text}: the numbers must not be negative or infinite")
    return before, after


def _time(option: str, text: str | None) -> datetime | None:
    from evtx_analyzer import clock

    if text is None:
        return None
    found = clock.from_user(text)
    if found is None:
        raise OptionError(
            f"{option} {text}: expected a time such as 2016-12-01 or 2016-12-01T03:00:00Z (UTC if no zone)"
        )
    return found


def _writable(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise OptionError(f"{path}: the folder does not exist; create it first")


def _write(text: str) -> None:
    """Write to stdout in UTF-8 where it is no terminal; a closed pipe is the reader's choice, not an error."""
    stream = sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace") if stream.isatty() else stream.reconfigure(encoding="utf-8", newline="\n")
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The interpreter would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_bytes(writer: Callable[[BinaryIO], None]) -> None:
    """Write bytes to stdout as they are; a closed pipe is the reader's choice, not an error."""
    try:
        writer(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point of the console script."""
    try:
        app(prog_name="evtx-analyzer")
    except AnalyzerError as error:
        # All mistakes of a rule set stand in one error, a line each.
        sys.stderr.write("".join(f"evtx-analyzer: {line}\n" for line in str(error).splitlines()))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("evtx-analyzer: interrupted\n")
        sys.exit(130)
