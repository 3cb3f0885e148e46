"""The typer application, with the options of all commands. Every command registers itself here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.command import Program
from evtx_analyzer.cli.conversation import set_up
from evtx_analyzer.documentation import documentation
from evtx_analyzer.version import VERSION

EPILOG = (
    "Exit status: 0 everything was read and no 5.7.64 refusal is in it (with --since or --until: none in that time; "
    "the report counts those outside of it); 1 refusals found; 2 usage error or nothing could be read; 3 no refusal "
    "found, but parts could not be read; 4 a mistake of the program, please report it; "
    "5 an output could not be written, all others were; 130 interrupted. "
    "-q, -v and --log-file FILE work with every command."
)

app = typer.Typer(
    name="evtx-analyzer",
    cls=Program,
    help="Find out why mail to Exchange Online is refused with 550 5.7.64 TenantAttribution; Relay Access Denied.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it in boxes costs more than half of the start
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evtx-analyzer {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001  its callback ends the program
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing on stderr but errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say on stderr what is read and done.")] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", metavar="FILE", help="Append all that is said, with times, to FILE.")
    ] = None,
) -> None:
    documentation()  # reports a wrong address before the work, not after it
    set_up(quiet=quiet, verbose=verbose, log_file=log_file)
