"""Times without a zone: shown as what they are in every output, outside of no export, and asked for first."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from places import CHECKOUT
from reports import as_text
from smtp_case import analyze, rejections

from evtx_analyzer.batch.summary import merge
from evtx_analyzer.batch.summary_files import to_csv, to_json
from evtx_analyzer.batch.summary_page import to_html
from evtx_analyzer.diagnose import observations
from evtx_analyzer.diagnose.scene import Case, Scene
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.report import SUFFIXES, language, timeline
from evtx_analyzer.tables.select import TABLES, extract
from evtx_analyzer.tables.story import story
from evtx_analyzer.tables.write import Format, write

CAPI2 = CHECKOUT / "samples" / "kb-3212877" / "Microsoft-Windows-CAPI2%4Operational.evtx"
TEXTS = [suffix for suffix in SUFFIXES if not suffix.endswith(("parquet", ".json", ".timesketch.jsonl"))]
# As Get-MessageTrackingLog | Format-List shows it: the server's local time in its own format, without a zone.
LISTED = """
Timestamp       : {time}
ClientHostname  : CORP-SMTP1
ConnectorId     : Outbound
Source          : SMTP
EventId         : FAIL
MessageId       : <{id}@servername.com>
Recipients      : {{b@fabrikam.com}}
RecipientStatus : {{[{{LED=550 5.7.64 TenantAttribution; Relay Access Denied}};{{MSG=}};{{FQDN=x}};{{IP=}};{{LRT=}}]}}
Sender          : a@servername.com
"""
EXPORTED = (
    '"Timestamp","ClientHostname","ConnectorId","Source","EventId","MessageId","Recipients","RecipientStatus","Sender"\r\n'
    '"{time}","CORP-SMTP1","Outbound","SMTP","FAIL","<u1@servername.com>","b@fabrikam.com",'
    '"[{{LED=550 5.7.64 TenantAttribution; Relay Access Denied}};{{MSG=}}]","a@servername.com"\r\n'
)
IIS = (
    "216.32.181.234, OutboundConnectionCommand, {date}, {time}, SMTPSVC1, CORP-SMTP1, -, 80, 0, 4, 0, 0, RCPT, -, "
    "TO:<b@fabrikam.com> ,\r\n"
    "216.32.181.234, OutboundConnectionResponse, {date}, {time}, SMTPSVC1, CORP-SMTP1, -, 90, 0, 4, 0, 0, -, -, "
    "550 5.7.64 TenantAttribution; Relay Access Denied ,\r\n"
)
W3C_UNTIMED = (
    "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: 2016-12-01 09:14:02\r\n"
    "#Fields: c-ip cs-username s-sitename s-computername cs-method cs-uri-query time-taken\r\n"
    "216.32.181.234 OutboundConnectionCommand SMTPSVC1 CORP-SMTP1 RCPT TO:<b@fabrikam.com> 80\r\n"
    "216.32.181.234 OutboundConnectionResponse SMTPSVC1 CORP-SMTP1 - 550+5.7.64+TenantAttribution;+Relay 90\r\n"
)
LISTED_AT = LISTED.format(time="12/1/2016 9:14:02 AM", id="a1")
FORMS = {
    "tracking as a list": {"tracking.txt": LISTED_AT},
    "tracking as CSV": {"tracking.csv": EXPORTED.format(time="12/1/2016 9:14:02 AM")},
    "tracking as CSV, German": {"tracking.csv": EXPORTED.format(time="01.12.2016 09:14:02")},
    "IIS format": {"in161201.log": IIS.format(date="12/1/2016", time="9:14:02")},
}
LOCAL = "2016-12-01 09:14:02, local time of an unknown zone"
ASKED = "no log names the time zone"


def case(folder, files, **options):
    """The files beside the KB's CAPI2 export, which covers 03:00 to 03:15 UTC of the day."""
    return analyze(folder, {"capi2.evtx": CAPI2.read_bytes(), **files}, **options)


def output(made, suffix, code="en"):
    return " ".join(as_text(made, suffix, language.load(code)).split())


def missing(made):
    return [[part.text for part in finding.missing] for finding in made.findings]


@pytest.mark.parametrize("files", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("suffix", TEXTS)
def test_no_output_takes_a_local_time_for_utc(tmp_path, files, suffix):
    made = case(tmp_path, files)
    assert [rejection.time_basis for rejection in rejections(made)] == ["unknown"]
    text = output(made, suffix)
    assert not re.search(r"09:14:02(?:\.\d+)?(?: UTC|Z|\+00:00)", text)
    assert "outside of it" not in text
    assert "lies outside of the time" not in text
    if suffix in (".txt", ".md", ".html"):
        assert LOCAL in text


@pytest.mark.parametrize("files", FORMS.values(), ids=FORMS.keys())
def test_the_zone_is_asked_for_first_in_every_cause(tmp_path, files):
    made = case(tmp_path, files)
    assert made.findings
    assert all(ASKED in texts[0] for texts in missing(made))
    assert all(
        finding.missing[0].collect == ("> evtx-analyzer analyze INPUT --tz Europe/Berlin",) for finding in made.findings
    )
    assert "kein Protokoll nennt die Zeitzone" in output(made, ".txt", "de")
    assert "Ortszeit einer unbekannten Zone" in output(made, ".txt", "de")


@pytest.mark.parametrize("files", FORMS.values(), ids=FORMS.keys())
def test_with_a_zone_all_is_as_for_any_other_time(tmp_path, files):
    made = case(tmp_path, files, tz="Europe/Berlin")
    text = output(made, ".txt")
    assert "2016-12-01 08:14:02.000 UTC" in text
    assert "unknown zone" not in text
    assert not any(ASKED in line for texts in missing(made) for line in texts)
    # 08:14 lies behind the export's last record, and that is known now.
    assert "outside of it" in text


def test_a_refusal_of_a_known_zone_still_lies_outside_of_the_export(tmp_path):
    """The near miss: the same list with a zone in its time."""
    made = case(tmp_path, {"tracking.csv": EXPORTED.format(time="2016-12-01T09:14:02Z")})
    assert "outside of it" in output(made, ".txt")
    assert not any(ASKED in line for texts in missing(made) for line in texts)


def test_the_summary_gives_a_span_of_local_times_once(tmp_path):
    second = LISTED.format(time="12/1/2016 9:20:00 AM", id="a2")
    made = case(tmp_path, {"tracking.txt": LISTED_AT + second})
    span = "2016-12-01 09:14:02 to 2016-12-01 09:20:00, local time of an unknown zone."
    assert f"2 refusals with 5.7.64 on CORP-SMTP1, {span}" in made.verdict.summary
    assert "The times of 2 refusals are local" in missing(made)[0][0]


def test_known_and_unknown_times_are_told_apart(tmp_path):
    made = case(tmp_path, {"tracking.txt": LISTED_AT, "t.csv": EXPORTED.format(time="2016-12-01T10:00:00Z")})
    (incident,) = made.incidents
    ten = datetime(2016, 12, 1, 10, tzinfo=UTC)
    assert (incident.start, incident.end, incident.start_basis) == (ten, ten, "utc")
    assert (incident.rejection_count, incident.unknown_zone_count) == (2, 1)
    known = "2016-12-01 10:00:00.000 UTC; 1 of them at a time that is not known in UTC."
    assert known in made.verdict.summary
    assert (
        "2 x 550 5.7.64 TenantAttribution; Relay Access Denied (*2016-12-01 10:00:00.000 UTC; 1 of them at"
        in output(made, ".md")
    )
    for suffix in (".md", ".html"):
        assert "2 (1 without UTC time)" in output(made, suffix)
    assert "1 davon zu einer Zeit ohne bekannte UTC-Zeit" in output(made, ".txt", "de")
    assert "outside of it" not in output(made, ".txt")


def test_the_table_of_refusals_has_no_utc_time_where_none_is_known(tmp_path):
    made = case(tmp_path, FORMS["tracking as a list"])
    (row,) = csv.DictReader(io.StringIO(as_text(made, ".csv", language.ENGLISH)))
    assert (row["time"], row["local_time"], row["time_basis"]) == ("", "2016-12-01T09:14:02", "unknown")
    placed = case(tmp_path, FORMS["tracking as a list"], tz="Europe/Berlin")
    (row,) = csv.DictReader(io.StringIO(as_text(placed, ".csv", language.ENGLISH)))
    assert (row["time"], row["local_time"], row["time_basis"]) == ("2016-12-01T08:14:02Z", "", "zone")


def test_parquet_has_no_utc_time_where_none_is_known(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    made = case(tmp_path, FORMS["tracking as a list"])
    (row,) = parquet.read_table(io.BytesIO(SUFFIXES[".parquet"](made, language.ENGLISH))).to_pylist()
    assert (row["time"], row["local_time"], row["time_basis"]) == (None, "2016-12-01T09:14:02", "unknown")


def test_the_time_line_has_no_place_for_a_local_time_and_says_so(tmp_path):
    made = case(tmp_path, FORMS["tracking as a list"])
    assert {mark.lane for mark in timeline.marks(made)} <= {"failures", "successes"}
    line = timeline.overview(made, timeline.marks(made))
    assert line is not None
    assert [lane.count for lane in line.lanes if lane.name == "refusals"] == [0]
    assert all(lane.covered == () for lane in line.lanes if lane.name == "refusals")
    for suffix in (".txt", ".html"):
        assert "Not on the time line, because the UTC time is not known: refusals (1)." in output(made, suffix)
    placed = case(tmp_path, FORMS["tracking as a list"], tz="Europe/Berlin")
    assert "Not on the time line" not in output(placed, ".txt")


def test_timesketch_keeps_the_refusal_and_marks_its_time(tmp_path):
    """Timesketch asks for a datetime, and a time line without the refusal would read as if there had been none."""
    made = case(tmp_path, FORMS["tracking as a list"])
    rows = [json.loads(line) for line in as_text(made, ".timesketch.jsonl", language.ENGLISH).splitlines()]
    (row,) = [item for item in rows if item["timestamp_desc"].startswith("SMTP refusal")]
    assert row["timestamp_desc"] == "SMTP refusal (local time of an unknown zone)"
    assert "utc_time_unknown" in row["tag"]
    assert row["time_basis"] == "unknown"
    assert not [item for item in rows if item is not row and "utc_time_unknown" in item["tag"]]


def test_rows_behind_a_heading_have_its_time_and_no_zone_is_asked_for(tmp_path):
    made = case(tmp_path, {"ex161201.log": W3C_UNTIMED})
    assert [rejection.time_basis for rejection in rejections(made)] == ["heading"]
    text = output(made, ".txt")
    assert "2016-12-01 09:14:02, the log's #Date heading: the row has no time of its own" in text
    assert "09:14:02.000 UTC" not in text
    assert "outside of it" not in text
    assert "--tz Europe/Berlin" not in text
    assert "Kopfzeile #Date" in output(made, ".txt", "de")


TWO_DATES = "of a date whose day and month can be read both ways; shown is the month first."


@pytest.mark.parametrize(("options", "place"), [({}, 1), ({"tz": "Europe/Berlin"}, 0)], ids=["no zone", "zone"])
def test_a_date_that_can_be_read_in_two_ways_is_said(tmp_path, options, place):
    made = case(tmp_path, {"renamed.log": IIS.format(date="4/3/2016", time="9:14:02")}, **options)
    (refused,) = rejections(made)
    assert refused.time_basis == "unknown"
    readings = [datetime(2016, month, day, 9, 14, 2, tzinfo=UTC) for month, day in ((4, 3), (3, 4))]
    assert [refused.time, refused.other_time] == readings
    assert TWO_DATES in missing(made)[0][place]
    assert any(ASKED in line for line in missing(made)[0]) == (not options)
    assert "Tag und Monat" in output(made, ".txt", "de")


@pytest.mark.parametrize("date", ["4/4/2016", "4/13/2016"], ids=["both the same", "no thirteenth month"])
def test_a_date_with_one_reading_has_no_other(tmp_path, date):
    files = {"renamed.log": IIS.format(date=date, time="9:14:02")}
    (refused,) = rejections(case(tmp_path, files))
    assert (refused.time_basis, refused.other_time) == ("unknown", None)
    (placed,) = rejections(case(tmp_path, files, tz="Europe/Berlin"))
    assert (placed.time_basis, f"{placed.time:%m-%d %H:%M}") == ("zone", f"04-{date.split('/')[1]:0>2} 07:14")


def test_an_hour_that_the_zone_skips_shows_that_the_zone_is_wrong(tmp_path):
    made = case(tmp_path, {"in160327.log": IIS.format(date="27.03.2016", time="02:30:03")}, tz="Europe/Berlin")
    assert missing(made)[0][0].startswith(
        "The time of 1 refusal is in an hour that the zone skips: --tz Europe/Berlin is"
    )
    assert "die die Zone überspringt" in output(made, ".txt", "de")


def test_the_hour_that_the_clock_showed_twice_is_said(tmp_path):
    made = case(tmp_path, {"in161030.log": IIS.format(date="30.10.2016", time="02:30:03")}, tz="Europe/Berlin")
    twice = "2016-10-30 00:30:03.000 UTC, or later: the clock showed this hour twice"
    for suffix in (".txt", ".md", ".html"):
        assert twice in output(made, suffix)
    assert "die Uhr zeigte diese Stunde zweimal" in output(made, ".txt", "de")
    # Both readings lie outside of the export of another month.
    assert "outside of it" in output(made, ".txt")
    (row,) = csv.DictReader(io.StringIO(as_text(made, ".csv", language.ENGLISH)))
    assert (row["time"], row["other_time"]) == ("2016-10-30T00:30:03Z", "2016-10-30T01:30:03Z")


def test_a_zone_that_another_clock_contradicts_is_asked_for_again(tmp_path):
    banner = IIS.replace(
        "216.32.181.234, OutboundConnectionCommand",
        "216.32.181.234, OutboundConnectionResponse, {date}, {time}, SMTPSVC1, CORP-SMTP1, -, 47, 0, 114, 0, 0, -, -, "
        "220 x.outlook.com Microsoft ESMTP MAIL Service, ready at Thu, 1 Dec 2016 07:14:01 +0000 ,\r\n"
        "216.32.181.234, OutboundConnectionCommand",
        1,
    )
    made = case(tmp_path, {"in161201.log": banner.format(date="12/1/2016", time="9:14:02")}, tz="Europe/Berlin")
    assert [rejection.time_basis for rejection in rejections(made)] == ["wrong-zone"]
    assert "--tz Europe/Berlin is not the zone of the server" in missing(made)[0][0]
    assert "2016-12-01 08:14:02, by a time zone that another clock contradicts" in output(made, ".txt")
    assert "outside of it" not in output(made, ".txt")


def test_coverage_says_that_its_times_are_local(tmp_path):
    made = case(tmp_path, FORMS["IIS format"])
    (span,) = [item for item in made.coverage if item.kind == "iis-smtp"]
    assert span.time_basis == "unknown"
    assert f"2 records, {LOCAL}, CORP-SMTP1" in output(made, ".txt")
    assert any(line.endswith(LOCAL) for line in story((), [span]))
    assert all(item.time_basis == "utc" for item in made.coverage if item.kind == "capi2")


def test_a_saved_report_keeps_the_bases(tmp_path):
    from evtx_analyzer.report.document import load

    made = case(tmp_path, FORMS["tracking as a list"])
    made.save(tmp_path / "r.json")
    assert load(tmp_path / "r.json") == made


def test_the_summary_of_a_batch_has_no_utc_time_where_none_is_known(tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "placed").mkdir()
    local = case(tmp_path / "local", FORMS["tracking as a list"])
    placed = case(tmp_path / "placed", FORMS["tracking as a list"], tz="Europe/Berlin")
    whole = merge([local, placed])
    rows = list(csv.DictReader(io.StringIO(to_csv(whole))))
    assert sorted((row["first"], row["time_note"]) for row in rows) == [("", LOCAL), ("2016-12-01T08:14:02Z", "")]
    page = to_html(whole)
    assert f'<td data-value="">{LOCAL}</td>' in page
    assert "Incidents that are not drawn, because their time is not known in UTC: 1" in page
    bases = [item["start_basis"] for item in json.loads(to_json(whole))["timeline"]]
    assert sorted(bases) == ["unknown", "zone"]


def test_tables_of_events_write_local_times_without_an_offset(tmp_path):
    (tmp_path / "in161201.log").write_text(IIS.format(date="12/1/2016", time="9:14:02"))
    expected: dict[Format, str] = {
        "csv": "2016-12-01T09:14:02,unknown",
        "jsonl": '"time":"2016-12-01T09:14:02","time_basis":"unknown"',
    }
    for form, text in expected.items():
        stream = io.BytesIO()
        write(TABLES["iis-smtp"], extract(tmp_path, kind="iis-smtp").items, form, stream)
        assert text in stream.getvalue().decode()
    stream = io.BytesIO()
    write(TABLES["iis-smtp"], extract(tmp_path, kind="iis-smtp").items, "timesketch", stream)
    assert "Event logged (local time of an unknown zone)" in stream.getvalue().decode()


def test_outside_is_asked_for_both_readings_of_an_ambiguous_hour(tmp_path):
    """The export covers the second reading only: then the refusal is not known to lie outside of it."""
    made = case(tmp_path, {"in161030.log": IIS.format(date="30.10.2016", time="02:30:03")}, tz="Europe/Berlin")
    (incident,) = made.incidents
    day = datetime(2016, 10, 30, tzinfo=UTC)
    spans = {"first": (0, 30), "second": (1, 30), "neither": (3, 0)}
    found = {}
    for name, (hour, minute) in spans.items():
        time = replace_time(day, hour, minute)
        span = Coverage(source="c.evtx", kind="capi2", host="", first=time, last=time, records=1)
        looked_at = Case(operations={}, coverage=[span], kinds=frozenset({"capi2"}))
        found[name] = observations._outside("capi2", Scene(incident, looked_at))
    assert found == {"first": False, "second": False, "neither": True}
    mixed = replace(incident, unknown_zone_count=1)
    assert not observations._outside("capi2", Scene(mixed, looked_at))


@pytest.mark.parametrize(
    ("limits", "basis", "expected"),
    [((3, 4), "utc", True), ((None, None), "utc", False), ((3, 4), "unknown", False), ((3, 4), "heading", False)],
)
def test_nothing_is_outside_of_an_export_whose_times_are_not_known(limits, basis, expected, tmp_path):
    made = case(tmp_path, {"in161030.log": IIS.format(date="30.10.2016", time="12:30:03")}, tz="Europe/Berlin")
    (incident,) = made.incidents
    first, last = (hour and datetime(2016, 10, 30, hour, tzinfo=UTC) for hour in limits)
    span = Coverage(source="c", kind="capi2", host="", first=first, last=last, records=1, time_basis=basis)
    looked_at = Case(operations={}, coverage=[span], kinds=frozenset({"capi2"}))
    assert observations._outside("capi2", Scene(incident, looked_at)) is expected


def replace_time(day, hour, minute):
    return day.replace(hour=hour, minute=minute)


def test_evidence_says_what_its_time_is(tmp_path):
    """ATTR36 is evidence by the reply alone, so a refusal without UTC time has it too."""
    listed = LISTED_AT.replace("TenantAttribution; Relay Access Denied", "Relay Access Denied ATTR36")
    made = case(tmp_path, {"tracking.txt": listed})
    evidence = [part for finding in made.findings for part in finding.supports if part.time is not None]
    assert evidence
    assert all(part.time_basis == "unknown" for part in evidence if "tracking.txt" in part.origin.source)
    assert "2016-12-01 09:14:02, Ortszeit einer unbekannten Zone:" in output(made, ".txt", "de")
    page = as_text(made, ".html", language.ENGLISH)
    assert f'<time datetime="2016-12-01T09:14:02">{LOCAL}</time>' in page
