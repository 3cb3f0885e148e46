"""What a summary counts, from reports that are made by hand: rows, outcomes, causes, certificates and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from evtx_analyzer.batch.summary import Row, Summary, merge
from evtx_analyzer.model.evidence import Incident, IncidentCertificate
from evtx_analyzer.model.findings import Finding, SourceStatus, Verdict
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.report.document import SCHEMA_VERSION, BatchEntry, Options, Report, Tool

DAY = datetime(2026, 3, 10, tzinfo=UTC)
LOST = (Loss(origin=Origin(source="a.evtx"), reason="damaged", extent="1 chunk"),)
ONE, OTHER = "A" * 40, "B" * 40


def incident(number, hour=1, count=1, *, sent=ONE, host="EX01", grades=None, **values):
    """``count`` refusals from an hour of the day on, for an hour."""
    plain = {
        "id": f"I{number}",
        "host": host,
        "connector": "EXO",
        "kind": "send-connector",
        "start": DAY + timedelta(hours=hour),
        "end": DAY + timedelta(hours=hour + 1),
        "rejection_count": count,
        "certificate": IncidentCertificate(thumbprint=sent, subject=f"CN={sent[:1]}", issuer="CN=CA") if sent else None,
        "rejections": (),
        "links": (),
        "grades": grades or {},
    }
    return Incident(**{**plain, **values})


def finding(cause, grade):
    empty = {"supports": (), "contradicts": (), "missing": (), "incidents": ()}
    return Finding(cause=cause, grade=grade, title=cause, why="", remedy=None, **empty)


def report(bundle, *incidents, status="read", losses=(), findings=(), batch=True, paths=("in.LOG",), **values):
    best = findings[0] if findings else None
    entry = BatchEntry(
        bundle=bundle, content="", settings="", status=status, reason="why" if status == "failed" else ""
    )
    plain = {
        "schema_version": SCHEMA_VERSION,
        "tool": Tool(name="evtx-analyzer", version="0"),
        "options": Options(),
        "verdict": Verdict(cause=best and best.cause, grade=best and best.grade, title="", summary=""),
        "findings": tuple(findings),
        "incidents": incidents,
        "operations": (),
        "deliveries": (),
        "sources": tuple(
            SourceStatus(path=path, kind="send-connector", sha256="", size=0, status="read", reason="")
            for path in paths
        ),
        "coverage": (),
        "losses": losses,
        "batch": entry if batch else None,
    }
    return Report(**{**plain, **values})


def row_of(made):
    (row,) = merge([made]).rows
    return row


# -------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("status", "losses", "incidents", "outcome"),
    [
        ("read", (), (), "no-refusal"),
        ("read", LOST, (), "absence-not-shown"),
        ("partial", (), (), "absence-not-shown"),
        ("partial", LOST, (incident(1),), "refused"),
        ("read", (), (incident(1),), "refused"),
        ("not-read", LOST, (), "not-read"),
        ("failed", (), (), "failed"),
    ],
)
def test_no_refusal_is_told_only_of_what_was_read_whole(status, losses, incidents, outcome):
    row = row_of(report("a", *incidents, status=status, losses=losses))
    assert (row.bundle, row.status, row.outcome) == ("a", status, outcome)
    assert (row.rejection_count, row.loss_count, row.incident_count) == (len(incidents), len(losses), len(incidents))
    assert row.reason == ("why" if status == "failed" else "")


@pytest.mark.parametrize(("losses", "status"), [((), "read"), (LOST, "partial")])
def test_a_report_that_no_batch_made_is_called_after_its_first_input(losses, status):
    row = row_of(report("", batch=False, losses=losses, paths=("case.zip!SEND.LOG", "other.zip!x.LOG")))
    assert (row.bundle, row.status) == ("case.zip", status)
    assert row_of(report("", batch=False, paths=())).bundle == ""


def test_a_row_names_each_host_once_and_every_cause_that_is_at_least_possible():
    incidents = [incident(1, host="EX02"), incident(2), incident(3, host=""), incident(4, host="EX02")]
    findings = [finding("a", "probable"), finding("b", "possible"), finding("c", "coincident")]
    row = row_of(report("a", *incidents, findings=findings))
    assert row.hosts == ("EX01", "EX02")
    assert row.findings == ("a:probable", "b:possible")
    unexplained = finding("unexplained", "no-evidence")
    assert row_of(report("a", incident(1), findings=[unexplained])).findings == ("unexplained:no-evidence",)


def test_times_of_a_row_are_those_that_are_known_in_utc():
    local = {"start_basis": "unknown", "end_basis": "unknown"}
    known = [incident(1, 5), incident(2, 3, count=2)]
    row = row_of(report("a", *known))
    assert (row.first, row.last, row.time_note) == (DAY + timedelta(hours=3), DAY + timedelta(hours=6), "")
    row = row_of(report("a", *known, incident(3, 1, count=4, unknown_zone_count=4, **local)))
    assert (row.first, row.last) == (DAY + timedelta(hours=3), DAY + timedelta(hours=6))
    assert row.time_note == "4 of 7 refusals at a time that is not known in UTC"
    row = row_of(report("a", incident(1, unknown_zone_count=1, **local)))
    assert (row.first, row.last) == (None, None)
    assert "2026-03-10 01:00:00" in row.time_note
    assert (row_of(report("a")).first, row_of(report("a")).last) == (None, None)


# ------------------------------------------------------------------------------------------------------------ counts


def counted(bundle, status="read", outcome="no-refusal", cause=None, grade=None, count=0, losses=0):
    return Row(
        bundle=bundle,
        status=status,
        outcome=outcome,
        cause=cause,
        grade=grade,
        rejection_count=count,
        report="",
        title="",
        incident_count=0,
        first=None,
        last=None,
        hosts=(),
        source_count=1,
        loss_count=losses,
        reason="",
    )


ROWS = (
    counted("a", outcome="refused", cause="x", grade="probable", count=3),
    counted("b", outcome="refused", cause="x", grade="probable", count=4),
    counted("c", outcome="refused", cause="x", grade="confirmed", count=1),
    counted("d", outcome="refused", cause="w", grade="possible", count=9),
    counted("e"),
    counted("f", "partial", "absence-not-shown", losses=2),
    counted("g", "not-read", "not-read", losses=1),
    counted("h", "failed", "failed"),
)


def test_every_bundle_counts_once_with_its_status_and_its_outcome():
    summary = Summary(rows=ROWS)
    assert summary.statuses == {"read": 5, "partial": 1, "not-read": 1, "failed": 1}
    assert summary.outcomes == {"refused": 4, "no-refusal": 1, "absence-not-shown": 1, "not-read": 1, "failed": 1}
    assert [row.bundle for row in summary.not_read] == ["g", "h"]
    assert summary.rejection_count == 17


def test_causes_are_counted_by_grade_the_most_frequent_first():
    counts = [
        (count.outcome, count.cause, count.grade, count.bundles, count.rejections)
        for count in Summary(rows=ROWS).causes
    ]
    assert counts == [
        ("refused", "x", "probable", 2, 7),
        ("no-refusal", None, None, 1, 0),
        ("absence-not-shown", None, None, 1, 0),
        ("refused", "w", "possible", 1, 9),
        ("refused", "x", "confirmed", 1, 1),
    ]


@pytest.mark.parametrize(
    ("names", "code"),
    [("e", 0), ("ef", 3), ("eg", 3), ("eh", 3), ("gh", 2), ("g", 2), ("f", 3), ("ag", 1), ("", 2)],
)
def test_the_exit_code_is_that_of_the_worst_answer(names, code):
    """As in docs/usage.md: 1 refusals, 2 nothing could be read, 3 no refusal but parts could not be read."""
    assert Summary(rows=tuple(row for row in ROWS if row.bundle in names)).exit_code == code


def test_a_loss_in_a_bundle_that_was_read_is_not_a_clean_end():
    assert Summary(rows=(counted("a", losses=1),)).exit_code == 3


# ---------------------------------------------------------------------------------------------- merged parts


def test_reports_and_summaries_merge_in_the_order_of_names_and_times():
    parts = [report("b10", incident(1, 5)), merge([report("b9", incident(1, 2)), report("a", incident(1, 9))])]
    for order in (parts, parts[::-1]):
        merged = merge(order)
        assert [row.bundle for row in merged.rows] == ["a", "b9", "b10"]
        assert [item.bundle for item in merged.incidents] == ["b9", "b10", "a"]


def test_an_incident_has_its_own_best_cause():
    findings = [finding("x", "probable"), finding("w", "probable"), finding("v", "coincident")]
    incidents = [
        incident(1, grades={"w": "probable", "x": "possible"}),
        incident(2, 2, grades={"w": "probable", "x": "probable"}),
        incident(3, 3, grades={"v": "coincident", "w": "no-evidence"}),
        incident(4, 4, grades={}),
    ]
    found = [(item.cause, item.grade) for item in merge([report("a", *incidents, findings=findings)]).incidents]
    unexplained = ("unexplained", "no-evidence")
    assert found == [("w", "probable"), ("x", "probable"), unexplained, unexplained]


def test_certificates_are_counted_over_bundles_those_with_the_most_refusals_first():
    local = {"start_basis": "unknown", "end_basis": "unknown"}
    merged = merge(
        [
            report("a", incident(1, 4, 2), incident(2, 1, 50, sent=OTHER), incident(3, 2, 99, sent="")),
            report("b", incident(1, 7, 4), incident(2, 0, 1, **local)),
        ]
    )
    other, one = merged.certificates
    assert (one.thumbprint, one.bundles, one.incidents, one.rejections) == (ONE, 2, 3, 7)
    assert (one.subject, one.issuer, one.first_basis) == ("CN=A", "CN=CA", "utc")
    assert (one.first, one.last) == (DAY + timedelta(hours=4), DAY + timedelta(hours=8)), "local times do not compare"
    assert (other.thumbprint, other.bundles, other.incidents, other.rejections) == (OTHER, 1, 1, 50)


@pytest.mark.parametrize(("redacted", "count"), [("all", 2), (None, 1), ("names", 1)])
def test_an_alias_is_another_certificate_in_every_bundle(redacted, count):
    """THUMBPRINT-1 is the first certificate of each report that is redacted; thumbprints are kept otherwise."""
    parts = [report(name, incident(1, sent="THUMBPRINT-1"), options=Options(redact=redacted)) for name in "ab"]
    assert len(merge(parts).certificates) == count
    bare = merge([replace(part, incidents=(incident(1, sent=""),)) for part in parts])
    assert bare.certificates == ()
