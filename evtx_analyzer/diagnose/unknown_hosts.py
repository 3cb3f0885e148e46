"""What to ask for where no log names the refused machine and certificate checks name others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.findings import Missing

_WITH_HOST = ("> evtx-analyzer analyze INPUT --host SEND*.LOG=EX01",)


def host_asked(incidents: Sequence[Incident], case: Case) -> Iterator[Missing]:
    """Yield the request for ``--host`` where refusals name no machine and certificate checks name some."""
    count = sum(incident.rejection_count for incident in incidents if not incident.host)
    known = sorted({operation.host for operation in case.operations.values() if operation.host})
    if count and known:
        refusals = "1 refusal" if count == 1 else f"{count} refusals"
        text = (
            f"No log names the machine of {refusals}, and it may be another one than {', '.join(known)}. "
            "Say with --host which machine wrote the SMTP log, and analyze again."
        )
        yield Missing(text=text, collect=_WITH_HOST)
