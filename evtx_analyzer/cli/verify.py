"""``verify``: an earlier report compared with logs of the time after the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.conversation import reading
from evtx_analyzer.cli.options import (
    BareRedact,
    CaseOptions,
    Format,
    Full,
    Lang,
    Output,
    Redaction,
    RedactMap,
    Stdout,
    with_case_options,
)
from evtx_analyzer.cli.outputs import NOT_WRITTEN, deliver, outputs
from evtx_analyzer.cli.streams import progress_on_stderr

EPILOG = (
    "Exit status: 0 the fix is shown to have worked; 1 mail is still refused; 2 usage error or nothing could be read; "
    "3 neither is shown (the report says what to collect); 4 a mistake of the program, please report it; 5 an output "
    "could not be written, all others were; 130 interrupted. -q, -v and --log-file FILE work with every command."
)
_EXITS = {"fixed": 0, "still-refused": 1, "not-shown": 3}


@app.command(epilog=EPILOG, cls=BareRedact)
@with_case_options
def verify(
    saved: Annotated[Path, typer.Argument(metavar="REPORT.json", help="The report of before the fix.")],
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Logs of after the fix: files, folders, archives, or - for stdin."),
    ],
    *,
    output: Output = None,
    format_: Stdout = Format.terminal,
    case: CaseOptions,
    lang: Lang = "en",
    full: Full = False,
    redact: Redaction = None,
    redact_map: RedactMap = None,
) -> None:
    """Look whether the fix of an earlier report worked, in logs of the time after it.

    Collect the same logs again, with mail to a recipient outside of the tenant in them.

    For example:

    evtx-analyzer analyze before -o before.json

    evtx-analyzer verify before.json after -o after.html
    """
    from msgspec.structs import replace

    from evtx_analyzer.discover.archive.limits import read_password
    from evtx_analyzer.report.document import load
    from evtx_analyzer.rules import Rules
    from evtx_analyzer.verification import verify_case

    wanted = outputs(
        output,
        format_,
        lang,
        full=full,
        redact=redact,
        redact_map=redact_map,
        rules=case.rules,
        inputs=(*inputs, str(saved)),
    )
    options = replace(
        case.options,
        rules=Rules.load(case.rules) if case.rules else None,
        password=read_password(case.password_file),
        leave_out=tuple(map(str, output or ())),
    )
    earlier = load(saved)
    with progress_on_stderr() as progress:
        report = verify_case(earlier, list(inputs), options, reading(progress))
    if not deliver(report, wanted):
        raise typer.Exit(NOT_WRITTEN)
    assert report.repair is not None  # verify_case refuses a report without a refusal, and judges all others
    raise typer.Exit(_EXITS[report.repair.result])
