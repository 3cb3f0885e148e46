"""The program as typer sees it, with what holds for all commands. A command registers itself here."""

from __future__ import annotations

from typing import Annotated

import typer

from evtx_analyzer.cli.command import PlainGroup
from evtx_analyzer.version import VERSION

EPILOG = (
    "Exit status: 0 everything was read and no 5.7.64 refusal is in it; 1 refusals found; 2 usage error or nothing "
    "could be read; 3 no refusal found, but parts could not be read; 4 a mistake of the program, please report it."
)

app = typer.Typer(
    name="evtx-analyzer",
    cls=PlainGroup,
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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
