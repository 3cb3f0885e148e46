"""Options that several commands share, and texts of options to values; a wrong text is an OptionError."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evtx_analyzer.cli.command import PlainCommand
from evtx_analyzer.errors import OptionError

if TYPE_CHECKING:
    from evtx_analyzer.discover.archive.limits import Limits

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


EveryRow = Annotated[
    bool,
    typer.Option(
        "--every-row",
        help="Read every row and decode every event, also those that are only counted otherwise (coverage says how "
        "many): much slower, for a log that is in doubt.",
    ),
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


class BareRedact(PlainCommand):
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
        ".operations.csv, .links.csv, .replies.csv, .common.csv, the same with .parquet, .timesketch.jsonl. "
        "Repeatable.",
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


def limits(unpacked: str | None, ratio: int | None, depth: int | None, members: int | None, name: int | None) -> Limits:
    """Limits of unpacking, with the defaults where an option is not given."""
    from evtx_analyzer.discover.archive.limits import Limits

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


def window_of(text: str | None) -> tuple[float, float] | None:
    """Seconds before and after, from ``60,30``."""
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
    """A time as a person types it, UTC where no zone is given."""
    from evtx_analyzer import clock

    if text is None:
        return None
    found = clock.from_user(text)
    if found is None:
        raise OptionError(
            f"{option} {text}: expected a time such as 2016-12-01 or 2016-12-01T03:00:00Z (UTC if no zone)"
        )
    return found
