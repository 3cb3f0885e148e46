"""Options that several commands share, and the conversion of their texts into values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evtx_analyzer.cli.command import PlainCommand
from evtx_analyzer.errors import OptionError

if TYPE_CHECKING:
    from evtx_analyzer.discover.archive.limits import Limits
    from evtx_analyzer.options import AnalysisOptions

_ARCHIVES = "Archives"


class Format(StrEnum):
    """The format of stdout."""

    terminal = "terminal"
    json = "json"
    html = "html"
    markdown = "markdown"
    csv = "csv"
    timesketch = "timesketch"
    md = "md"
    text = "text"
    txt = "txt"

    @property
    def plain(self) -> Format:
        """Return the format under its main name: other commands and suffixes of files have other names for some."""
        return {Format.md: Format.markdown, Format.text: Format.terminal, Format.txt: Format.terminal}.get(self, self)


class Redact(StrEnum):
    """The values that aliases replace: names and addresses, or thumbprints, serial numbers and key ids too."""

    names = "names"
    all = "all"


class BareRedact(PlainCommand):
    """A command whose ``--redact`` needs no value, and does not take the next argument for one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own context type
        """Add the default value to a bare ``--redact`` before the arguments are parsed."""
        return super().parse_args(ctx, ["--redact=names" if arg == "--redact" else arg for arg in args])


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


STDOUT = Path("-")


class Outputs(NamedTuple):
    """The outputs of a report: its files (``-`` is stdout), the format of stdout, the language, and aliases."""

    files: tuple[Path, ...]
    format: Format
    lang: str
    full: bool
    redact: Redact | None
    redact_map: Path | None

    @property
    def whole(self) -> bool:
        """Return whether stdout gets the whole report, not only its first block."""
        return self.full or STDOUT in self.files or not self.files


def output_options(
    *,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the report; the suffix picks the format: .html, .md, .json, .txt, .csv (refusals), "
            ".operations.csv, .links.csv, .replies.csv, .common.csv, the same with .parquet, .timesketch.jsonl; - is "
            "stdout. Repeatable.",
        ),
    ] = None,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="NAME",
            help="What stdout carries: terminal, json, html, markdown, csv or timesketch (md, text and txt mean the "
            "same as markdown and terminal).",
        ),
    ] = Format.terminal,
    lang: Lang = "en",
    full: Annotated[
        bool,
        typer.Option("--full", help="Print the whole report, also with -o (where only its first block is printed)."),
    ] = False,
    redact: Redaction = None,
    redact_map: RedactMap = None,
) -> Outputs:
    """Gather the options of ``analyze``, ``verify`` and ``render`` that say where the report goes, and in what form."""
    return Outputs(tuple(output or ()), format_.plain, lang, full, redact, redact_map)


class CaseOptions(NamedTuple):
    """The options that ``analyze``, ``verify`` and ``batch`` share.

    The folder of rules and the file of the password are read later: in a batch by each worker.
    """

    options: AnalysisOptions
    rules: Path | None
    password_file: Path | None

    def here(self, **more: Any) -> AnalysisOptions:  # noqa: ANN401  fields of the options
        """Return the options of an analysis in this process, with its rules and password, and more."""
        from msgspec.structs import replace

        from evtx_analyzer.discover.archive.limits import read_password
        from evtx_analyzer.rules import Rules

        rules = Rules.load(self.rules) if self.rules else None
        return replace(self.options, rules=rules, password=read_password(self.password_file), **more)


def case_options(
    *,
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
    every_row: Annotated[
        bool,
        typer.Option(
            "--every-row",
            help="Read every row and decode every event, also those that are only counted otherwise (coverage says how "
            "many): much slower, for a log that is in doubt.",
        ),
    ] = False,
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_ARCHIVES,
            help="Password of encrypted archives: the first line of FILE; else the variable EVTX_ANALYZER_PASSWORD.",
        ),
    ] = None,
    max_unpacked: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", rich_help_panel=_ARCHIVES, help="Most bytes to unpack, such as 500M (default 100G)."
        ),
    ] = None,
    max_ratio: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            rich_help_panel=_ARCHIVES,
            help="Most times that data may grow, from 64M on (default 200).",
        ),
    ] = None,
    max_depth: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Most archives in each other (default 6)."),
    ] = None,
    max_members: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Most members of all archives (default 100000)."
        ),
    ] = None,
    max_name: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=_ARCHIVES, help="Longest name of a member (default 1000)."),
    ] = None,
    config: Annotated[  # noqa: ARG001  read before the arguments are parsed (``cli/config.py``)
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with options (default: evtx-analyzer.toml in the working folder).",
        ),
    ] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Take no options from a file.")] = False,  # noqa: ARG001
    from_config: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> CaseOptions:
    """Convert the texts of options. Raises OptionError for a text that is wrong."""
    from evtx_analyzer.options import analysis_options

    options = analysis_options(
        window=window_of(window),
        host=host,
        tz=tz,
        since=time_of("--since", since),
        until=time_of("--until", until),
        limits=_limits(
            total_bytes=size_of("--max-unpacked", max_unpacked),
            ratio=max_ratio,
            depth=max_depth,
            members=max_members,
            name_length=max_name,
        ),
        prefilter=not every_row,
        config=from_config,
    )
    return CaseOptions(options, rules, password_file)


_GROUPS: dict[str, Callable[..., Any]] = {"case": case_options, "to": output_options}


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of ``case_options`` and ``output_options``.

    It takes those as one value each, for its parameters ``case`` and ``to``.
    """
    own = inspect.signature(command, eval_str=True).parameters
    groups = {name: inspect.signature(_GROUPS[name], eval_str=True).parameters for name in own if name in _GROUPS}

    @wraps(command)
    def run(**values: Any) -> None:  # noqa: ANN401  what typer made of the arguments
        made = {
            name: _GROUPS[name](**{option: values.pop(option) for option in group}) for name, group in groups.items()
        }
        command(**made, **values)

    parameters = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        for option in groups.get(name, {name: parameter}).values()
    ]
    # typer reads a command's options from its signature.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _limits(**values: int | None) -> Limits:
    """Return the limits of unpacking; None keeps the default."""
    from evtx_analyzer.discover.archive.limits import Limits

    return Limits(**{name: value for name, value in values.items() if value is not None})


def size_of(option: str, text: str | None) -> int | None:
    """Return the bytes of ``500M`` (units of 1024); None for None. Raises OptionError for other texts."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise OptionError(f"{option} {text}: expected a number of bytes such as 500M or 20G")
    return int(match[1]) << (10 * " KMGT".index(match[2].upper() or " "))


def window_of(text: str | None) -> tuple[float, float] | None:
    """Return the seconds before and after of ``60,30``; None for None. Raises OptionError for other texts."""
    if text is None:
        return None
    try:
        before, after = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--window {text}: expected two numbers of seconds, for example --window 60,30") from None
    if not (0 <= before < float("inf") and 0 <= after < float("inf")):
        raise OptionError(f"--window {text}: the numbers must not be negative or infinite")
    return before, after


def time_of(option: str, text: str | None) -> datetime | None:
    """Return an aware time (``clock.from_user``); None for None. Raises OptionError for a text that is no time."""
    from evtx_analyzer import clock

    if text is None:
        return None
    time = clock.from_user(text)
    if time is None:
        raise OptionError(
            f"{option} {text}: expected a time such as 2016-12-01 or 2016-12-01T03:00:00Z (UTC if no zone)"
        )
    return time
