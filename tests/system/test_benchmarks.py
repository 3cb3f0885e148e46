"""The benchmarks' inputs hold what their makers say, counted in other ways; answers, tables and plots are told right.

Nothing here is timed.
"""

import csv
import re
import struct
import sys
import zlib
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import evtx
import numpy as np
import pytest

import evtx_analyzer as ea
from benchmarks import growth, inputs, plot, tables
from benchmarks.checking import check
from benchmarks.facts import Facts
from benchmarks.measuring import Cost, Entry, Measured, WrongAnswer, measure, run
from benchmarks.sections import Goal, Section, _earlier, _named

pytestmark = pytest.mark.slow

CHUNK, FILE_HEADER = 65536, 4096
UTF16_RESULT = "800B0109".encode("utf-16-le")
SVG = "{http://www.w3.org/2000/svg}"


def rows_of(*paths):
    lines = [line for path in paths for line in path.read_bytes().decode().split("\r\n")]
    return [line for line in lines if line and not line.startswith("#")]


def answered(path, facts, tmp_path):
    """The product's report of an input, through the check that the benchmark makes."""
    report = tmp_path / "report.json"
    ea.analyze(path).save(report)
    check(report, facts)


# ------------------------------------------------------------------------------------------------------- CAPI2


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "capi2.evtx"
    return path, inputs.capi2(path, 20 * CHUNK, 0.25)


def test_an_export_holds_the_records_and_the_chunks_with_failures_that_its_maker_tells(export):
    path, facts = export
    data = path.read_bytes()
    chunks = [data[at : at + CHUNK] for at in range(FILE_HEADER, len(data), CHUNK)]
    assert facts.chunks == len(chunks) == 20
    assert facts.hits == sum(UTF16_RESULT in chunk for chunk in chunks) == 5
    records = list(evtx.PyEvtxParser(str(path)).records())
    assert facts.records == len(records)
    assert [record["event_record_id"] for record in records] == list(range(1, len(records) + 1))
    assert sum("800B0109" in record["data"] for record in records) == 5


def test_checksums_of_header_and_chunks_hold(export):
    data = export[0].read_bytes()
    assert struct.unpack_from("<I", data, 124)[0] == zlib.crc32(data[:120])
    for at in range(FILE_HEADER, len(data), CHUNK):
        chunk = data[at : at + CHUNK]
        free = struct.unpack_from("<I", chunk, 48)[0]
        assert struct.unpack_from("<I", chunk, 52)[0] == zlib.crc32(chunk[512:free])
        assert struct.unpack_from("<I", chunk, 124)[0] == zlib.crc32(chunk[:120] + chunk[128:512])


def test_copies_of_a_chunk_have_tasks_and_times_of_their_own(export):
    checked = [record for record in evtx.PyEvtxParser(str(export[0])).records() if "800B0109" in record["data"]]
    tasks = [re.search(r'TaskId="([^"]+)"', item["data"])[1] for item in checked]
    chains = [re.search(r'chainRef="([^"]+)"', item["data"])[1] for item in checked]
    times = [re.search(r'SystemTime="([^"]+)"', item["data"])[1] for item in checked]
    assert len(set(tasks)) == len(set(chains)) == len(set(times)) == 5
    assert times == sorted(times)


def test_the_product_finds_every_failure_of_an_export_and_counts_every_record(export, tmp_path):
    path, facts = export
    answered(path, facts, tmp_path)


def test_the_number_of_failures_can_stay_the_same_at_any_size(tmp_path):
    for chunks in (8, 40):
        path = tmp_path / "capi2.evtx"
        assert inputs.capi2(path, chunks * CHUNK, 5).hits == 5
        data = path.read_bytes()
        assert sum(UTF16_RESULT in data[at : at + CHUNK] for at in range(FILE_HEADER, len(data), CHUNK)) == 5


# -------------------------------------------------------------------------------------------------------- logs

NEW_YEAR = datetime(2016, 12, 31, 23, 59, 57, tzinfo=UTC)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "SEND.LOG"
    facts, times = inputs.send_log(path, 400_000, 0.05, start=NEW_YEAR)
    return path, facts, times


def test_a_send_log_holds_the_rows_sessions_and_refusals_that_its_maker_tells(log):
    path, facts, times = log
    rows = list(csv.reader(rows_of(path)))
    assert path.read_text(encoding="utf-8").startswith("#Software: Microsoft Exchange Server")
    assert {len(row) for row in rows} == {9}
    refusing = [row for row in rows if "5.7.64" in row[7]]
    assert (facts.records, facts.rejections) == (len(rows), len(refusing))
    assert (facts.sessions, facts.refused) == (len({row[2] for row in rows}), len({row[2] for row in refusing}))
    assert facts.size == path.stat().st_size >= 400_000
    assert facts.refused == facts.sessions * 0.05 == len(times.refused)
    sending = [row[0] for row in rows if row[8] == "Sending certificate" and row[2] in {item[2] for item in refusing}]
    assert [datetime.fromisoformat(text).timestamp() * 1000 for text in sending] == list(times.refused)


def test_twenty_sessions_interleave_and_time_rises_through_the_new_year(log):
    rows = list(csv.reader(rows_of(log[0])))
    times = [datetime.fromisoformat(row[0]) for row in rows]
    assert all(one <= two for one, two in pairwise(times))
    assert (times[0].year, times[-1].year) == (2016, 2017)
    places = defaultdict(list)
    for number, row in enumerate(rows):
        places[row[2]].append(number)
    assert max(sum(one[0] <= at <= one[-1] for one in places.values()) for at in range(len(rows))) == 20
    for place in places.values():
        assert [rows[at][3] for at in place] == [str(number) for number in range(len(place))]


def test_sessions_have_ports_messages_and_recipients_of_their_own_and_banners_tell_the_time(log):
    rows = list(csv.reader(rows_of(log[0])))
    sessions = {row[2] for row in rows}
    assert len({row[4] for row in rows if row[4]}) == len(sessions)
    messages = [row[8] for row in rows if "InternetMessageId" in row[8]]
    assert len(set(messages)) == len(messages) == len(sessions)
    recipients = [row[7] for row in rows if row[7].startswith("RCPT TO")]
    assert len(set(recipients)) == len(recipients) > len(sessions)
    begins = {row[2]: datetime.fromisoformat(row[0]) for row in reversed(rows)}
    banners = [(begins[row[2]], row[7]) for row in rows if row[7].startswith("220 ") and "ready at" in row[7]]
    assert len(banners) == len(sessions)
    assert all(text.endswith(f"{time:%a, %d %b %Y %H:%M:%S} +0000") for time, text in banners)


def test_the_product_finds_every_refusal_of_a_send_log(log, tmp_path):
    path, facts, _ = log
    answered(path, facts, tmp_path)


def test_rolled_files_are_the_large_file_cut_at_rows_with_sessions_across(log, tmp_path):
    facts, _ = inputs.send_log(tmp_path / "logs", 400_000, 0.05, start=NEW_YEAR, roll=100_000)
    files = sorted((tmp_path / "logs").iterdir())
    first_of_the_hour = [path.stem for path in files if path.stem.endswith("-1")]
    assert first_of_the_hour == ["SEND2016123123-1", "SEND2017010100-1"]
    assert rows_of(*files) == rows_of(log[0])
    assert facts._replace(size=0) == log[1]._replace(size=0)
    assert facts.size == sum(path.stat().st_size for path in files)
    assert all(path.stat().st_size <= 100_000 and path.read_bytes().startswith(b"#Software") for path in files)
    first, second = ({row.split(",")[2] for row in rows_of(path)} for path in files[:2])
    assert first & second
    answered(tmp_path / "logs", facts, tmp_path)


@pytest.mark.parametrize(("share", "refused"), [(0.0, 0), (0.003, 1), (0.5, 200), (1.0, 400)])
def test_any_share_of_sessions_is_refused(tmp_path, share, refused):
    path = tmp_path / "SEND.LOG"
    facts, _ = inputs.send_log(path, 1_700_000, share)
    ids = {row.split(",")[2] for row in rows_of(path) if "5.7.64" in row}
    assert facts.refused == len(ids) == pytest.approx(facts.sessions * share, abs=1)
    assert facts.sessions == pytest.approx(400, abs=40)
    assert facts.refused == pytest.approx(refused, abs=40)


def test_an_iis_log_holds_what_its_maker_tells_and_the_product_finds_it(tmp_path):
    path = tmp_path / "ex161231.log"
    facts, _ = inputs.iis_log(path, 300_000, 0.05, start=NEW_YEAR)
    rows = [row.split(" ") for row in rows_of(path)]
    assert {len(row) for row in rows} == {21}
    assert facts.records == len(rows)
    assert facts.rejections == facts.refused == sum("5.7.64" in row[10] for row in rows) > 1
    assert facts.sessions == sum(row[8] == "QUIT" for row in rows)
    times = [datetime.fromisoformat(f"{row[0]} {row[1]}Z") for row in rows]
    assert all(one <= two for one, two in pairwise(times))
    assert (times[0].year, times[-1].year) == (2016, 2017)
    answered(path, facts, tmp_path)


def test_equal_parameters_give_equal_bytes(export, log, tmp_path):
    again, facts = tmp_path / "again", inputs.capi2(tmp_path / "again", 20 * CHUNK, 0.25)
    assert facts == export[1]
    assert again.read_bytes() == export[0].read_bytes()
    assert inputs.send_log(again, 400_000, 0.05, start=NEW_YEAR) == log[1:]
    assert again.read_bytes() == log[0].read_bytes()


# ------------------------------------------------------------------------------------------- bundle and answers


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "bundle"
    return folder, inputs.bundle(folder, 1_400_000, refused=0.02, hits=0.3)


def test_the_bundle_s_failures_lie_next_to_refusals_so_that_the_cause_is_found(bundle, tmp_path):
    folder, facts = bundle
    assert facts.cause == "probable missing-intermediate"
    assert facts.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    archive = tmp_path / "bundle.zip"
    assert inputs.zipped(archive, folder, facts) == facts
    answered(folder, facts, tmp_path)
    answered(archive, facts, tmp_path)


def test_an_answer_that_is_off_by_one_is_wrong(bundle, tmp_path):
    folder, facts = bundle
    report = tmp_path / "report.json"
    ea.analyze(folder).save(report)
    for name in ("rejections", "hits", "records"):
        known = getattr(facts, name)
        with pytest.raises(WrongAnswer, match=f"{known}, expected {known + 1}"):
            check(report, facts._replace(**{name: known + 1}))
    with pytest.raises(WrongAnswer, match="cause"):
        check(report, facts._replace(cause="probable untrusted-root"))


def test_an_input_is_made_once_for_the_same_parameters(tmp_path):
    made = []

    def make(path):
        made.append(path)
        path.write_text("input", encoding="utf-8")
        return Facts(size=5, rejections=len(made))

    path = tmp_path / "deep" / "input"
    assert inputs.prepared(path, make, size=5) == inputs.prepared(path, make, size=5) == Facts(size=5, rejections=1)
    assert inputs.prepared(path, make, size=6).rejections == 2
    path.unlink()
    assert inputs.prepared(path, make, size=6).rejections == 3
    inputs.remove(path)
    assert list(path.parent.iterdir()) == []


# -------------------------------------------------------------------------------------------------- measuring


def python(code, **more):
    return Entry(code, [sys.executable, "-c", code], **more)


def test_a_run_that_fails_or_cannot_be_made_is_told_and_has_no_figures(tmp_path):
    entries = [python("pass"), python("raise SystemExit('no such thing')"), python("pass", missing="not there: get it")]
    good, failed, absent = measure(entries, 2, tmp_path / "out")
    assert len(good.costs) == 2
    assert all(cost.wall > 0 and cost.memory > 1 for cost in good.costs)
    assert (failed.costs, failed.failed) == ([], "ended with status 1: no such thing")
    assert (absent.costs, absent.failed) == ([], "not there: get it")
    assert not (tmp_path / "out").exists()


def test_what_a_process_costs_is_not_that_of_the_one_that_measures(tmp_path):
    held = np.ones(20_000_000)  # 160 MB
    cost = run(python("pass"), tmp_path / "out", tmp_path / "errors")
    assert held.any()
    assert cost.memory < 100


def test_two_runs_of_ours_must_give_the_same_report(tmp_path):
    with pytest.raises(WrongAnswer, match="different"):
        measure([python("import os; print(os.getpid())", check=lambda _: None)], 1, tmp_path / "out")
    with pytest.raises(WrongAnswer, match="status 3"):
        measure([python("raise SystemExit(3)", check=lambda _: None)], 1, tmp_path / "out")


# ----------------------------------------------------------------------------------------------------- tables


def measured(name, *walls, **more):
    return Measured(Entry(name, [], **more), [Cost(wall, wall / 2, 50.0) for wall in walls])


def test_a_section_tells_medians_spread_ratios_and_goals():
    section = Section(
        "x",
        "An input",
        [],
        [
            Goal("as fast as peer", lambda found: found["ours"].wall / found["peer"].wall, 1.0, "times"),
            Goal("1 GB/s", lambda found: 2e9 / found["ours"].wall / 1e9, 1.0, "GB/s", least=True),
            Goal("faster than none", lambda found: _named(found, "none").wall, 1.0, "s"),
        ],
        "A note.",
        [
            measured("ours", 4.0, 2.0, 9.0, size=2_000_000_000, ours=True),
            measured("ours, its start", 1.0, 1.0, 1.0, size=1000),
            measured("peer", 0.1, size=2_000_000_000, scale=10.0),
            Measured(Entry("none", []), failed="not there: get it"),
        ],
    )
    assert tables.section(section).splitlines() == [
        "### An input",
        "",
        "| what | wall s | least to most | CPU s | peak MB | GB/s | wall, ours = 1 | CPU, ours = 1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| ours | 4.00 | 2.00 to 9.00 | 2.00 | 50 | 0.50 | 1 | 1 |",
        "| ours, its start | 1.00 | 1.00 to 1.00 | 0.500 | 50 | 1e-06 | 0.25 | 0.25 |",
        "| peer | 1.00 | one run | 0.500 | 50 | 2.00 | 0.25 | 0.25 |",
        "| none | not there: get it |  |  |  |  |  |  |",
        "",
        "Without its start (0.500 s) ours reads 1.33 GB in a second of CPU.",
        "",
        "A note.",
        "",
        "| goal | measured | state |",
        "| --- | ---: | --- |",
        "| as fast as peer | 4 times | **missed** by a factor of 4 |",
        "| 1 GB/s | 0.5 GB/s | **missed** by a factor of 2 |",
        "| faster than none |  | not measured: the peer is not there |",
    ]
    section.measured[0].costs = [Cost(1.1, 0.55, 50.0)]
    assert "Speed without the start: not to be told" in tables.section(section)
    assert tables.data(section)["rows"][0]["runs"] == [{"wall": 1.1, "cpu": 0.55, "memory": 50.0}]


def test_a_goal_is_reached_at_its_limit():
    assert tables.verdict(1.0, 1.0, least=False) == tables.verdict(1.0, 1.0, least=True) == "reached"
    assert tables.verdict(0.2, 1.0, least=False) == tables.verdict(5.0, 1.0, least=True) == "reached"
    assert tables.verdict(0.0, 1.0, least=True).startswith("**missed**")


def test_tables_go_between_their_marks_and_leave_the_rest_of_a_document(tmp_path):
    path = tmp_path / "performance.md"
    path.write_text("# Speed\n\n<!-- one -->\nold\n<!-- end -->\n\ntext\n\n<!-- two -->\n<!-- end -->\n", "utf-8")
    tables.written(path, {"one": r"new \1"})
    tables.written(path, {"two": "2", "three": "3"})
    assert path.read_text(encoding="utf-8") == (
        "# Speed\n\n<!-- one -->\nnew \\1\n<!-- end -->\n\ntext\n\n<!-- two -->\n2\n<!-- end -->\n"
        "<!-- three -->\n3\n<!-- end -->\n\n"
    )


def test_the_plot_is_well_formed_and_keeps_every_point_inside():
    sizes = [growth.Curve("<a> & b", 0, [(size, Cost(size / 500, size / 500, 40)) for size in (10, 100, 1000.0)])]
    shares = [growth.Curve("c", 2, [(share, Cost(0.4, 0.4, 40 + share)) for share in (0, 50, 100.0)])]
    root = ET.fromstring(growth.picture(sizes, shares, 100))
    wide, high = (float(root.get(name)) for name in ("width", "height"))
    texts = [item.text for item in root.iter(f"{SVG}text")]
    assert "<a> & b" in texts
    assert "1 GB/s" in texts
    assert {"10", "100", "1,000", "Time by size", "Peak memory by share, inputs of 100 MB"} <= set(texts)
    for panel in root.findall(f"{SVG}g"):
        left, top = map(float, re.findall(r"[\d.]+", panel.get("transform")))
        for line in panel.iter(f"{SVG}polyline"):
            for pair in line.get("points").split():
                x, y = map(float, pair.split(","))
                assert left < left + x < wide
                assert top < top + y < high


def test_a_plot_of_one_point_or_of_nothing_but_zero_can_be_drawn():
    panel = plot.Panel("t", "x", "y", [("one", 0, [(10.0, 1.0)])], log=True, guide=0.001)
    flat = panel._replace(log=False, series=[("zero", 1, [(0.0, 0.0)])])
    ET.fromstring(plot.plot("title", [panel, flat]))


def test_a_peer_that_has_not_read_everything_has_no_figures(tmp_path):
    some, more = measure([python("print(7)", prints="7"), python("print(6)", prints="7")], 1, tmp_path / "out")
    assert some.costs
    assert (more.costs, more.failed) == ([], "did not print 7, so it has not read the whole input")


def test_an_earlier_version_runs_the_same_command_by_its_own_python_and_is_held_to_no_answer():
    ours = Entry("ours", ["python", "-m", "evtx_analyzer", "analyze", "x.log"], 7, exits=(1,), ours=True, check=print)
    earlier = _earlier(ours, Path("old/python"))
    assert earlier.command == [str(Path("old/python")), "-P", "-m", "evtx_analyzer", "analyze", "x.log"]
    assert (earlier.size, earlier.exits, earlier.ours, earlier.check) == (7, (1,), False, None)
