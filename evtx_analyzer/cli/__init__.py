"""The command line: arguments in, report on stdout, conversation on stderr. The only place that prints or exits.

A command is one function in the module of its name; importing the module registers it, in the order of ``--help``.
"""

from __future__ import annotations

import gc
import sys

from evtx_analyzer.cli import analyze, batch, events, rules, verify
from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.outputs import NOT_WRITTEN
from evtx_analyzer.errors import AnalyzerError, RuleSetError

__all__ = ["analyze", "app", "batch", "events", "main", "rules", "verify"]

# Objects made until the next look for cycles. Rows and events are frozen and in none: looking every 700 of them, which
# is the default, costs a tenth of an outage's time.
_YOUNG = 200_000


def main() -> None:
    """Entry point of the console script."""
    gc.set_threshold(_YOUNG, 10, 10)
    try:
        app(prog_name="evtx-analyzer")
    except AnalyzerError as error:
        # All mistakes of a rule set stand in one error, a line each; anything else is one line.
        mistakes = error.mistakes if isinstance(error, RuleSetError) else (error,)
        for mistake in mistakes:
            _complain(str(mistake))
        sys.exit(2)
    except OSError as error:
        # Inputs that cannot be read are losses, so what fails here is an output: a full disk, a folder without rights.
        _complain(f"{error.filename or 'standard output'}: cannot be written ({error.strerror or error})")
        sys.exit(NOT_WRITTEN)
    except KeyboardInterrupt:
        sys.stderr.write("evtx-analyzer: interrupted\n")
        sys.exit(130)


def _complain(text: str) -> None:
    """One line on stderr; names of files and members can not act on the terminal."""
    from evtx_analyzer.plain_text import clean

    sys.stderr.write(f"evtx-analyzer: {clean(text)}\n")
