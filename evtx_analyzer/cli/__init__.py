"""The command line: arguments in, report on stdout, conversation on stderr. The only place that prints or exits.

A command is one function in the module of its name; importing the module registers it, in the order of ``--help``.
"""

from __future__ import annotations

import sys

from evtx_analyzer.cli import analyze, batch, events, rules
from evtx_analyzer.cli.app import app
from evtx_analyzer.errors import AnalyzerError

__all__ = ["analyze", "app", "batch", "events", "main", "rules"]


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
