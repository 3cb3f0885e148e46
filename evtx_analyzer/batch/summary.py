"""Summarize many reports: a row per bundle, counts per cause and grade, incidents over time, certificates.

``merge`` is associative and has the empty summary as identity, so parts may be made anywhere and merged in any order.
As JSON:

    {"bundles": [{"bundle", "status", "outcome", "cause", "grade", "rejection_count", "report", ...}],
     "causes": [{"outcome", "cause", "grade", "bundles", "rejections"}],
     "timeline": [...], "certificates": [...], "not_read": [...], "comparison": {"new", "gone", "changed"} | null}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.discover import natural_key
from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.report.document import Report

if TYPE_CHECKING:
    import pandas as pd

REPORTS = "reports"
_GRADES: tuple[Grade | None, ...] = (*get_args(Grade), None)
_NAMED = ("confirmed", "probable", "possible")


Outcome = Literal["refused", "no-refusal", "absence-not-shown", "not-read", "failed"]
Change = Literal["", "new", "changed", "same"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
OUTCOME_NAMES = {
    "refused": "refusals found",
    "no-refusal": "no refusal",
    "absence-not-shown": "absence not shown, parts could not be read",
    "not-read": "not read",
    "failed": "failed",
}


class Row(Struct, frozen=True, kw_only=True):
    """One bundle. ``report`` is the path of its JSON report, empty if there is none.

    ``outcome`` keeps a bundle without a refusal apart from one in which a refusal may lie in a part that could not be
    read. ``findings`` are all supported causes as ``cause:grade``; ``readable`` is the path of the report for people.
    ``first`` and ``last`` are the times of refusals that are known in UTC; ``time_note`` tells of the others in words.
    ``change`` and ``before`` compare with an earlier summary.
    """

    bundle: str
    status: str
    cause: str | None
    grade: Grade | None
    rejection_count: int
    report: str
    title: str
    incident_count: int
    first: datetime | None
    last: datetime | None
    hosts: tuple[str, ...]
    source_count: int
    loss_count: int
    reason: str
    time_note: str = ""
    outcome: Outcome = "refused"
    findings: tuple[str, ...] = ()
    readable: str = ""
    change: Change = ""
    before: str = ""


class FleetIncident(Struct, frozen=True, kw_only=True):
    """One incident of one bundle; ``cause`` is its best supported cause, ``unexplained`` if none is even possible."""

    start: datetime
    end: datetime
    bundle: str
    incident: str
    host: str
    connector: str
    kind: str
    rejection_count: int
    cause: str
    grade: Grade
    thumbprint: str
    subject: str
    issuer: str
    start_basis: TimeBasis = "utc"
    end_basis: TimeBasis = "utc"


class CauseCount(Struct, frozen=True, kw_only=True):
    """The number of bundles with one verdict. Without refusals ``cause`` is None, and ``outcome`` says why."""

    outcome: Outcome
    cause: str | None
    grade: Grade | None
    bundles: int
    rejections: int


class CertificateCount(Struct, frozen=True, kw_only=True):
    """The incidents and refusals of one certificate that was sent, over all bundles."""

    thumbprint: str
    subject: str
    issuer: str
    bundles: int
    incidents: int
    rejections: int
    first: datetime
    last: datetime
    first_basis: TimeBasis = "utc"
    last_basis: TimeBasis = "utc"


class Comparison(Struct, frozen=True, kw_only=True):
    """The names of bundles that differ from an earlier summary; ``gone`` holds name and earlier result."""

    new: tuple[str, ...]
    gone: tuple[dict[str, str], ...]
    changed: tuple[str, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """The summary of many reports; rows are in the order of bundles, incidents in the order of time."""

    rows: tuple[Row, ...] = ()
    incidents: tuple[FleetIncident, ...] = ()
    comparison: Comparison | None = None

    @property
    def rejection_count(self) -> int:
        """Return the number of refusals with 5.7.64 in all bundles."""
        return sum(row.rejection_count for row in self.rows)

    @property
    def statuses(self) -> dict[str, int]:
        """Return how many bundles were read, partly read, not read, or failed."""
        counts = Counter(row.status for row in self.rows)
        return {status: counts[status] for status in ("read", "partial", "not-read", "failed")}

    @property
    def not_read(self) -> tuple[Row, ...]:
        """Return the bundles of which nothing could be read, and those that could not be analyzed."""
        return tuple(row for row in self.rows if row.status in ("not-read", "failed"))

    @property
    def causes(self) -> tuple[CauseCount, ...]:
        """Return the bundles and refusals per cause and grade, the most frequent first."""
        rejections: dict[tuple[Outcome, str | None, Grade | None], list[int]] = {}
        for row in self.rows:
            if row.status in ("read", "partial"):
                rejections.setdefault((row.outcome, row.cause, row.grade), []).append(row.rejection_count)
        causes = [
            CauseCount(outcome=outcome, cause=cause, grade=grade, bundles=len(counts), rejections=sum(counts))
            for (outcome, cause, grade), counts in rejections.items()
        ]

        def order(count: CauseCount) -> tuple[int, str, int, int]:
            return -count.bundles, count.cause or "", _GRADES.index(count.grade), OUTCOMES.index(count.outcome)

        return tuple(sorted(causes, key=order))

    @property
    def outcomes(self) -> dict[str, int]:
        """Return how many bundles have each outcome."""
        counts = Counter(row.outcome for row in self.rows)
        return {outcome: counts[outcome] for outcome in OUTCOMES}

    @property
    def certificates(self) -> tuple[CertificateCount, ...]:
        """Return the certificates of incidents, those with the most refusals first."""
        groups: dict[str, list[FleetIncident]] = {}
        for incident in self.incidents:
            if incident.thumbprint:
                groups.setdefault(incident.thumbprint, []).append(incident)
        counts = [_certificate(thumbprint, group) for thumbprint, group in groups.items()]
        return tuple(sorted(counts, key=lambda count: (-count.rejections, count.thumbprint)))

    @property
    def exit_code(self) -> int:
        """Return the exit status as for one case: 1 refusals found, 2 nothing read, 3 no refusal but losses, else 0."""
        if self.rejection_count:
            return 1
        if all(row.status in ("not-read", "failed") for row in self.rows):
            return 2
        return 3 if any(row.loss_count or row.status != "read" for row in self.rows) else 0

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per bundle, with the columns of ``summary.csv``; times are ``datetime64[ns, UTC]``."""
        # Slow to import, and needed here only.
        import pandas as pd  # noqa: PLC0415

        frame = pd.DataFrame([cells(row) for row in self.rows], columns=list(Row.__struct_fields__))
        for name in ("first", "last"):
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
        return frame


def merge(parts: Iterable[Report | Summary]) -> Summary:
    """Return reports and summaries merged into one summary."""
    rows: list[Row] = []
    incidents: list[FleetIncident] = []
    for part in parts:
        if isinstance(part, Summary):
            rows += part.rows
            incidents += part.incidents
        else:
            row = _row(part)
            rows.append(row)
            incidents += (_incident(incident, row.bundle, part) for incident in part.incidents)
    return Summary(
        rows=tuple(sorted(rows, key=lambda row: (natural_key(row.bundle), row.bundle, row.report))),
        incidents=tuple(sorted(incidents, key=lambda incident: (incident.start, incident.bundle, incident.incident))),
    )


def _row(report: Report) -> Row:
    entry, verdict = report.batch, report.verdict
    status = entry.status if entry else ("partial" if report.losses else "read")
    first, last = _limits(report.incidents)
    # A report that no batch made is named by its first input.
    named = report.sources[0].path.partition("!")[0] if report.sources else ""
    return Row(
        bundle=entry.bundle if entry else named,
        status=status,
        cause=verdict.cause,
        grade=verdict.grade,
        rejection_count=report.rejection_count,
        report="",
        title=verdict.title,
        incident_count=report.incident_count,
        first=_utc(first),
        last=_utc(last),
        hosts=tuple(sorted({incident.host for incident in report.incidents if incident.host})),
        source_count=report.source_count,
        loss_count=report.loss_count,
        reason=entry.reason if entry else "",
        time_note=_time_note(report, first, last),
        outcome=_outcome(report, status),
        findings=tuple(
            f"{finding.cause}:{finding.grade}"
            for finding in report.findings
            if finding.grade in _NAMED or finding.cause == "unexplained"
        ),
    )


def _outcome(report: Report, status: str) -> Outcome:
    if status in ("not-read", "failed"):
        return status  # type: ignore[return-value]
    if report.rejection_count:
        return "refused"
    return "absence-not-shown" if report.losses or status != "read" else "no-refusal"


def _limits(incidents: Iterable[Incident | FleetIncident]) -> tuple[Moment | None, Moment | None]:
    ends = [
        Moment(time, basis)
        for incident in incidents
        for time, basis in ((incident.start, incident.start_basis), (incident.end, incident.end_basis))
    ]
    return clock.limits(ends) if ends else (None, None)


def _utc(moment: Moment | None) -> datetime | None:
    return moment.time if moment is not None and clock.is_known(moment.basis) else None


def _time_note(report: Report, first: Moment | None, last: Moment | None) -> str:
    unknown = sum(incident.unknown_zone_count for incident in report.incidents)
    if not unknown or first is None or last is None:
        return ""
    if clock.is_known(first.basis):
        return f"{unknown} of {report.rejection_count} refusals at a time that is not known in UTC"
    return clock.span_text(first, last)


def _incident(incident: Incident, bundle: str, report: Report) -> FleetIncident:
    cause, grade = _best(incident, report)
    certificate = incident.certificate
    return FleetIncident(
        start=incident.start,
        end=incident.end,
        bundle=bundle,
        incident=incident.id,
        host=incident.host,
        connector=incident.connector,
        kind=incident.kind,
        rejection_count=incident.rejection_count,
        cause=cause,
        grade=grade,
        thumbprint=_thumbprint(certificate.thumbprint, bundle, report) if certificate else "",
        subject=certificate.subject if certificate else "",
        issuer=certificate.issuer if certificate else "",
        start_basis=incident.start_basis,
        end_basis=incident.end_basis,
    )


def _thumbprint(thumbprint: str, bundle: str, report: Report) -> str:
    """Return the thumbprint by which certificates are counted; an alias gets the name of its bundle."""
    # THUMBPRINT-1 stands for another certificate in every report.
    return f"{thumbprint} ({bundle})" if report.options.redact == "all" and thumbprint else thumbprint


def _best(incident: Incident, report: Report) -> tuple[str, Grade]:
    """Return the best supported cause of an incident; among equal grades the one that the report names first."""
    order = [finding.cause for finding in report.findings]
    graded = [
        (_GRADES.index(grade), order.index(cause), cause) for cause, grade in incident.grades.items() if cause in order
    ]
    if not graded or (best := min(graded))[0] >= len(_NAMED):
        return "unexplained", "no-evidence"
    return best[2], _NAMED[best[0]]  # type: ignore[return-value]


def _certificate(thumbprint: str, group: list[FleetIncident]) -> CertificateCount:
    first, last = _limits(group)
    assert first is not None
    assert last is not None
    return CertificateCount(
        thumbprint=thumbprint,
        subject=group[0].subject,
        issuer=group[0].issuer,
        bundles=len({incident.bundle for incident in group}),
        incidents=len(group),
        rejections=sum(incident.rejection_count for incident in group),
        first=first.time,
        last=last.time,
        first_basis=first.basis,
        last_basis=last.basis,
    )


def cells(row: Row) -> dict[str, Any]:
    """Return a row's values as a table takes them: lists as one text, times as RFC 3339."""
    return {name: _cell(getattr(row, name)) for name in Row.__struct_fields__}


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return "; ".join(map(str, value))
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
