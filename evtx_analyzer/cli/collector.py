"""``collector``: write the collection script to a file or to stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.command import PlainCommand
from evtx_analyzer.cli.streams import write_text
from evtx_analyzer.errors import OptionError
from evtx_analyzer.whole_files import write_whole


@app.command(cls=PlainCommand)
def collector(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.ps1", help="Write the script to this file instead of stdout."),
    ] = None,
) -> None:
    """Print a PowerShell 5.1 script that collects the evidence on a server.

    It changes nothing without a switch, puts back what it changed, and downloads and sends nothing. Read it before you
    run it: its behavior on Windows has not been proven. The zip that it writes is an input of analyze.

    Example: evtx-analyzer collector -o collect.ps1
    """
    from evtx_analyzer.collector import script

    if output is None:
        write_text(script().replace("\r\n", "\n"))
        return
    if output.suffix.casefold() != ".ps1":
        raise OptionError(f"-o {output}: expected a file that ends in .ps1, or PowerShell does not run it")
    write_whole(output, script().encode("ascii"))
