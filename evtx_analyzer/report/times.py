"""Write times for people, in the reader's language, with a remark if they are not UTC."""

from __future__ import annotations

from datetime import datetime

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.model.evidence import Incident, ReplyText
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import Language


def moment(time: datetime | None) -> str:
    """Return date and time to the millisecond, without the zone: ``2016-12-01 03:09:55.456``; empty for None."""
    return "" if time is None else f"{time:%Y-%m-%d} {clock_time(time)}"


def when(time: datetime | None, say: Language, basis: TimeBasis = "utc") -> str:
    """Return a time as ``clock.as_text`` prints it, in the reader's language."""
    return say.phrase(clock.as_text(time, basis))


def clock_time(time: datetime | None) -> str:
    """Return the time of day to the millisecond: ``03:09:55.456``; empty for None."""
    return "" if time is None else f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}"


def difference(seconds: float, say: Language) -> str:
    """Return a signed difference in the unit that a person would use: ``+0.255 s``, ``-3.5 min``, ``-2.0 h``."""
    minute, hour = 60, 3600
    if abs(seconds) < minute:
        return say.digits(f"{seconds:+.3f}") + " s"
    if abs(seconds) < hour:
        return say.digits(f"{seconds / minute:+.1f}") + " min"
    return say.digits(f"{seconds / hour:+.1f}") + " h"


def limit_cells(incident: Incident, say: Language, *, to_second: bool = False) -> tuple[str, str]:
    """Return the times of an incident's first and last refusal as cells of a row, with a remark if they are not UTC."""
    return (
        _limit_cell(incident.start, incident.start_basis, say, to_second),
        _limit_cell(incident.end, incident.end_basis, say, to_second),
    )


def _limit_cell(time: datetime, basis: TimeBasis, say: Language, to_second: bool) -> str:
    if clock.remark(basis):
        return when(time, say, basis)
    return f"{time:%Y-%m-%d %H:%M:%S}" if to_second else moment(time)


def verdict_limits(report: Report, say: Language) -> tuple[str, str]:
    """Return the times of the first and last refusal of the case."""
    starts = (Moment(incident.start, incident.start_basis) for incident in report.incidents)
    ends = (Moment(incident.end, incident.end_basis) for incident in report.incidents)
    first, last = clock.limits([*starts, *ends])
    return when(first.time, say, first.basis), when(last.time, say, last.basis)


def reply_times(reply: ReplyText, say: Language) -> str:
    """Return when a reply came first and last, and how often at a time that is not known in UTC."""
    first, last = Moment(reply.first, reply.first_basis), Moment(reply.last, reply.last_basis)
    return say.phrase(clock.span_text(first, last, reply.unknown_zone_count))


def span_cells(span: Coverage, say: Language) -> tuple[str, str]:
    """Return the first and last time of a source as cells of a row."""
    first, last = (
        moment(time) if time is None or clock.is_known(span.time_basis) else when(time, say, span.time_basis)
        for time in (span.first, span.last)
    )
    return first, last


def machine_time(time: datetime, basis: TimeBasis) -> str:
    """Return a time for the ``datetime`` attribute of HTML, without an offset if the zone is not known."""
    return time.isoformat() if clock.is_known(basis) else time.replace(tzinfo=None).isoformat()


def span_times(first: datetime, last: datetime, basis: TimeBasis, say: Language) -> str:
    """Return the two times that a source covers; if they are local, one remark behind both says so."""
    if clock.is_known(basis):
        return clock.as_text(first) if first == last else f"{clock.as_text(first)} \u2013 {clock.as_text(last)}"
    return say.phrase(clock.span_text(Moment(first, basis), Moment(last, basis)))
