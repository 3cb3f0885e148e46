"""``verify``: an earlier report compared with logs of the time after the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.conversation import reading
from evtx_analyzer.cli.options import BareRedact, CaseOptions, Outputs, with_groups
from evtx_analyzer.cli.outputs import NOT_WRITTEN, checked, deliver
from evtx_analyzer.cli.streams import progress_on_stderr

EPILOG = (
    "Exit status: 0 the fix is shown to have worked; 1 mail is still refused; 2 usage error or nothing could be read; "
    "3 neither is shown (the report says what to collect); 4 a mistake of the program, please report it; 5 an output "
    "could not be written, all others were; 130 interrupted. -q, -v and --log-file FILE work with every command."
)
_EXITS = {"fixed": 0, "still-refused": 1, "not-shown": 3}


@app.command(epilog=EPILOG, cls=BareRedact)
@with_groups
def verify(
    saved: Annotated[Path, typer.Argument(metavar="REPORT.json", help="The report of before the fix.")],
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Logs of after the fix: files, folders, archives, or - for stdin."),
    ],
    *,
    to: Outputs,
    case: CaseOptions,
) -> None:
    """Look whether the fix of an earlier report worked, in logs of the time after it.

    Collect the same logs again, with mail to a recipient outside of the tenant in them.

    For example:

    evtx-analyzer analyze before -o before.json

    evtx-analyzer verify before.json after -o after.html
    """
    from evtx_analyzer.report.document import load
    from evtx_analyzer.verification import verify_case

    say = checked(to, rules=case.rules, inputs=(*inputs, str(saved)))
    options = case.here(leave_out=tuple(map(str, to.files)))
    earlier = load(saved)
    with progress_on_stderr() as progress:
        report = verify_case(earlier, list(inputs), options, reading(progress))
    if not deliver(report, to, say):
        raise typer.Exit(NOT_WRITTEN)
    assert report.repair is not None  # verify_case refuses a report without a refusal, and judges all others
    raise typer.Exit(_EXITS[report.repair.result])
