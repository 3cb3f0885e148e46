"""The command line: the report goes to stdout, messages go to stderr. No other package prints or exits.

A command is one function in the module of its name; importing the module registers it, in the order of ``--help``.
"""

from __future__ import annotations

import gc
import sys

from evtx_analyzer.cli import analyze, batch, collector, conversation, events, rules, verify
from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.ending import INTERNAL_ERROR, complain, interrupted, leave, note, unforeseen, usage_error
from evtx_analyzer.cli.outputs import NOT_WRITTEN
from evtx_analyzer.errors import AnalyzerError, RuleSetError

__all__ = ["analyze", "app", "batch", "collector", "events", "main", "rules", "verify"]

# New objects after which Python looks for reference cycles. Rows and events are frozen and in no cycle; to look every
# 700 of them, the default, costs a tenth of the time for a log of an outage.
_COLLECT_AFTER = 200_000


def main() -> None:
    """Run the command line, and end with an exit status whatever happens."""
    gc.set_threshold(_COLLECT_AFTER, 10, 10)
    try:
        app(prog_name="evtx-analyzer")
        status = 0
    except AnalyzerError as error:
        # The error of a rule set holds all its mistakes, each of which gets a line.
        for mistake in error.mistakes if isinstance(error, RuleSetError) else (error,):
            complain(str(mistake))
        status = 2
    except OSError as error:
        # Inputs that cannot be read are losses, so what fails here is an output: a full disk, a folder without rights.
        complain(f"{error.filename or 'standard output'}: cannot be written ({error.strerror or error})")
        status = NOT_WRITTEN
    except KeyboardInterrupt:
        complain("interrupted")
        status = 130
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 2
        if interrupted(end):  # typer ends without a word, click with 1
            complain("interrupted")
            status = 130
        elif text := usage_error(end):
            note(text)
    except BaseException as error:  # noqa: BLE001  the last boundary: an unforeseen error has a status of its own
        complain(unforeseen(error, sys.argv[1:2]))
        status = INTERNAL_ERROR
    conversation.end()
    leave(status)
