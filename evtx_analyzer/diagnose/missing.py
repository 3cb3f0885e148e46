"""What to ask for whatever the cause: the zone of local times, the machine of a log, what was not collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.model.evidence import Incident, Rejection
from evtx_analyzer.model.findings import Missing

# Seconds: a quarter of an hour, and how far a reply may be logged from the time that is written in it.
_QUARTER, _NEAR = 900, 120
_WITH_ZONE = ("> evtx-analyzer analyze INPUT --tz Europe/Berlin",)
_WITH_HOST = ("> evtx-analyzer analyze INPUT --host SEND*.LOG=EX01",)
_COLLECT_AGAIN = ("Run the collection script again on that server, in an elevated PowerShell.",)
_EXPORT_WITH_ZONE = ("> Get-MessageTrackingLog -EventId FAIL -ResultSize Unlimited | Export-Clixml tracking.xml",)


def asked(incidents: Sequence[Incident], case: Case) -> Iterator[Missing]:
    """Yield what the case lacks for these incidents."""
    yield from _zone_asked(incidents, case.tz)
    yield from _host_asked(incidents, case)
    yield from _uncollected(incidents, case)


def _zone_asked(incidents: Sequence[Incident], tz: str | None) -> Iterator[Missing]:
    """Yield what to ask for where refusals have no UTC time, so that nothing can be joined with them by time.

    Rows after a ``#Date`` heading have no time of their own, so no zone can help them.
    """
    if not any(incident.unknown_zone_count for incident in incidents):
        return
    rejections = [rejection for incident in incidents for rejection in incident.rejections]
    local = [rejection for rejection in rejections if rejection.time_basis == "unknown"]
    two_dates = sum(rejection.other_time is not None for rejection in local)
    skipped = len(local) - two_dates if tz else 0
    wrong = sum(rejection.time_basis == "wrong-zone" for rejection in rejections)
    if local and tz is None:
        text = (
            f"{_times_of(len(local))} local and no log names the time zone, so nothing is joined by time. "
            "Analyze again with --tz and the zone of the server that wrote the log, by its IANA name."
        )
        offset = _offset(local)
        if offset is not None:
            text += f" The time in the reply of Exchange Online says that the zone was {_as_text(offset)} then."
        yield Missing(text=text, collect=_WITH_ZONE)
    if two_dates:
        text = (
            f"{_times_of(two_dates)} of a date whose day and month can be read both ways; shown is the month first. "
            "Give an IIS log under its own name (inYYMMDD.log), and export message tracking with Export-Clixml."
        )
        yield Missing(text=text, collect=_EXPORT_WITH_ZONE)
    for count, why in ((skipped, "in an hour that the zone skips"), (wrong, "wrong by another clock")):
        if count:
            text = (
                f"{_times_of(count)} {why}: --tz {tz} is not the zone of the server that wrote the log. "
                "Analyze again with the right one."
            )
            yield Missing(text=text, collect=_WITH_ZONE)


def _offset(local: Sequence[Rejection]) -> int | None:
    """Return how many minutes local times are ahead of UTC by the clock in replies, None if that is not known.

    Zones differ from UTC by quarters of an hour; a reply is logged within seconds of the time in it.
    """
    offsets = set()
    for rejection in local:
        if rejection.remote_clock is not None and rejection.other_time is None:
            seconds = (rejection.time - rejection.remote_clock).total_seconds()
            quarters = round(seconds / _QUARTER)
            offsets.add(quarters * 15 if abs(seconds - quarters * _QUARTER) <= _NEAR else None)
    return offsets.pop() if len(offsets) == 1 else None


def _as_text(minutes: int) -> str:
    """Return an offset as UTC+9, UTC-3:30 or UTC."""
    hours, odd_minutes = divmod(abs(minutes), 60)
    if not minutes:
        return "UTC"
    return f"UTC{'+' if minutes > 0 else '-'}{hours}" + (f":{odd_minutes:02d}" if odd_minutes else "")


def _times_of(count: int) -> str:
    return "The time of 1 refusal is" if count == 1 else f"The times of {count} refusals are"


def _host_asked(incidents: Sequence[Incident], case: Case) -> Iterator[Missing]:
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


def _uncollected(incidents: Sequence[Incident], case: Case) -> Iterator[Missing]:
    """Yield, machine by machine, what the collection script could not collect."""
    hosts = {incident.host for incident in incidents}
    for host in sorted(hosts & {host for host, _ in case.uncollected} - {""}):
        failed = "; ".join(step for other, step in case.uncollected if other == host)
        yield Missing(text=f"On {host} the collector did not get: {failed}.", collect=_COLLECT_AGAIN)
