"""``events``: write decoded events as a table or a story."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.command import PlainCommand
from evtx_analyzer.cli.ending import complain
from evtx_analyzer.cli.options import time_of
from evtx_analyzer.cli.streams import require_writable, write_bytes, write_text
from evtx_analyzer.errors import OptionError
from evtx_analyzer.whole_files import whole_file, write_whole

_MOST_LOSSES = 20


class TableFormat(StrEnum):
    """The format of a table."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    timesketch = "timesketch"


@app.command(
    cls=PlainCommand,
    epilog="Exit status: 0 everything was read; 2 usage error or nothing could be read; 3 parts could not be read, "
    "they are listed on stderr; 4 a mistake of the program, please report it.",
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
    old_names: Annotated[
        bool, typer.Option("--old-names/--no-old-names", help="Give renamed columns under their old names too.")
    ] = True,
) -> None:
    """Give decoded events as a table: one row per record, or per operation, or a story to read.

    Of operations, --id, --result, --subject and --failed ask for those in which any event fits.

    Example: evtx-analyzer events capi2.evtx --failed -o failures.csv
    """
    from evtx_analyzer.tables.select import CAPI2, Filter, extract
    from evtx_analyzer.tables.write import Format, format_for, write

    if as_story and (format_ or as_operations or bom):
        raise OptionError("--story is text of its own: leave out --format, --operations and --bom")
    asked: Format | None = format_.value if format_ else None
    form = asked or "csv" if output is None or as_story else format_for(output, asked)
    if bom and form not in ("csv", "timesketch"):
        raise OptionError(f"--bom is for CSV, not for {form}")
    if form == "parquet" and output is None:
        raise OptionError("Parquet is no text: name a file, for example -o events.parquet")
    if output is not None:
        require_writable(output)
    wanted = Filter(
        ids=_numbers(ids),
        results=_results(results),
        process=process,
        subject=subject,
        since=time_of("--since", since),
        until=time_of("--until", until),
        failed=failed,
    )
    extracted = extract(
        list(inputs),
        kind=kind,
        wanted=wanted,
        as_operations=as_operations or as_story,
        tz=tz,
        old_names=old_names,
    )
    if as_story:
        from evtx_analyzer.tables.story import story

        text = "\n".join(story(extracted.items, extracted.coverage)) + "\n"
        write_text(text) if output is None else write_whole(output, text.encode("utf-8", "replace"))
    elif output is None:
        written = write_bytes(lambda stream: write(extracted.table, extracted.items, form, stream, bom=bom))
        # Rows of logs are written while they are read: after a closed pipe (| head) the account of losses is not
        # complete, and a log that was not reached would look like one that nobody can read.
        if not written and kind != CAPI2:
            raise typer.Exit
    else:
        with whole_file(output) as stream:
            write(extracted.table, extracted.items, form, stream, bom=bom)
    losses = extracted.losses
    for loss in losses[:_MOST_LOSSES]:
        from evtx_analyzer.model.origin import describe_origin

        complain(f"{describe_origin(loss.origin)}: {loss.reason} ({loss.extent})")
    if len(losses) > _MOST_LOSSES:
        complain(f"and {len(losses) - _MOST_LOSSES} more losses")
    raise typer.Exit(3 if losses else 0)


def _numbers(texts: list[str] | None) -> frozenset[int]:
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise OptionError(f"--id {wrong[0]}: expected event ids, for example --id 11,30")
    return frozenset(map(int, parts))


def _results(texts: list[str] | None) -> frozenset[int]:
    from evtx_analyzer.wincrypt import result_number

    numbers: set[int] = set()
    for part in (part for text in texts or () for part in text.split(",")):
        number = result_number(part)
        if number is None:
            raise OptionError(
                f"--result {part}: expected hex or a symbol, for example 800B0109 or CERT_E_UNTRUSTEDROOT"
            )
        numbers.add(number)
    return frozenset(numbers)
