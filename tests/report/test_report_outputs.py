"""Markdown, CSV, Parquet, Timesketch and the terminal: complete, and safe against what a log may hold."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from markdown_it import MarkdownIt
from places import SAMPLES
from reports import NAMES, as_bytes, enormous, hostile, report

import evtx_analyzer
from evtx_analyzer.errors import ReportError
from evtx_analyzer.plain_text import escaped
from evtx_analyzer.report import SUFFIXES, language, render_for, write
from evtx_analyzer.report.csv_tables import COMMON, LINKS, OPERATIONS, REJECTIONS, REPLIES, to_csv
from evtx_analyzer.report.markdown import to_markdown
from evtx_analyzer.report.terminal import to_terminal
from evtx_analyzer.report.timesketch import to_timesketch

EN = language.ENGLISH
TABLES = {
    "rejections": REJECTIONS,
    "operations": OPERATIONS,
    "links": LINKS,
    "replies": REPLIES,
    "common": COMMON,
}


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_written_twice_the_same(suffix, tmp_path):
    if suffix.endswith("parquet"):
        pytest.importorskip("pyarrow")
    for name in ("a", "b"):
        write(report("kb-3212877"), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_the_longest_suffix_decides_and_an_unknown_one_is_told():
    assert render_for("x.links.csv") is SUFFIXES[".links.csv"]
    assert render_for("X.CSV") is SUFFIXES[".csv"]
    with pytest.raises(ReportError, match=r"expected one of .*html"):
        render_for("x.pdf")


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "x.md").mkdir()
    with pytest.raises(ReportError, match="cannot be written"):
        write(report("kb-3212877"), tmp_path / "x.md")


# ------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("name", NAMES)
def test_tables_hold_every_refusal_check_and_link(name):
    made = report(name)
    counts = {
        "rejections": sum(len(incident.rejections) for incident in made.incidents),
        "operations": len(made.operations),
        "links": sum(len(incident.links) for incident in made.incidents),
        "replies": sum(len(incident.replies) for incident in made.incidents),
        "common": len(made.common),
    }
    for table, count in counts.items():
        read = rows(to_csv(TABLES[table])(made, EN))
        assert len(read) == count
        assert all(None not in row and None not in row.values() for row in read), "as many cells as columns"


def test_a_negative_number_stays_a_number():
    link = rows(to_csv(LINKS)(report("later-success"), EN))
    assert any(row["delta_seconds"].startswith("-") for row in link), "a negative number is no formula"


def test_hostile_cells_are_safe_and_whole():
    made = hostile()
    for row in rows(to_csv(REJECTIONS)(made, EN)):
        assert row["mail_from"].startswith("'=cmd|")
        assert row["rcpt_to"].startswith("'+")
        assert row["session"].startswith("'-")
        assert row["reply"] == escaped(made.incidents[0].rejections[0].reply), "hidden characters are shown"
    assert all(row["text"].startswith("'=") for row in rows(to_csv(REPLIES)(made, EN)))
    assert all(row["value"].startswith("'=") for row in rows(to_csv(COMMON)(made, EN)))


def test_parquet_is_the_csv_with_types():
    pq = pytest.importorskip("pyarrow.parquet")
    made = report("kb-3212877")
    for name, table in TABLES.items():
        suffix = ".parquet" if name == "rejections" else f".{name}.parquet"
        read = pq.read_table(io.BytesIO(as_bytes(made, suffix, EN)))
        plain = rows(to_csv(table)(made, EN))
        assert read.column_names == [column.name for column in table.columns]
        assert read.num_rows == len(plain)
    times = pq.read_table(io.BytesIO(as_bytes(made, ".parquet", EN))).column("time").to_pylist()
    assert times[0].isoformat() == "2016-12-01T03:09:55.774000+00:00"


def test_an_empty_table_still_has_its_columns():
    from msgspec.structs import replace

    empty = replace(report("kb-3212877"), incidents=(), operations=(), common=())
    for table in TABLES.values():
        assert to_csv(table)(empty, EN) == ",".join(column.name for column in table.columns) + "\r\n"


# --------------------------------------------------------------------------------------------------- timesketch


@pytest.mark.parametrize("name", NAMES)
def test_timesketch_has_the_three_names_that_an_import_asks_for(name):
    lines = [json.loads(line) for line in to_timesketch(report(name)).splitlines()]
    assert len(lines) >= report(name).rejection_count
    for item in lines:
        assert item["message"]
        assert item["timestamp_desc"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00", item["datetime"])


def test_timesketch_is_in_order_of_time():
    times = [json.loads(line)["datetime"] for line in to_timesketch(report("kb-3212877")).splitlines()]
    assert times == sorted(times)
    assert len(times) == 7  # 3 refusals, 2 handshakes, 2 checks


# ----------------------------------------------------------------------------------------------------- markdown


def tokens(text):
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        yield token
        yield from token.children or ()


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_sentences_as_they_are_written(name):
    made = report(name)
    shown = "".join(token.content for token in tokens(to_markdown(made)) if token.type == "text")
    for item in made.findings[0].supports[:12] if made.findings else ():
        assert item.text in shown


def test_hostile_text_opens_nothing_in_markdown():
    kinds = {token.type for token in tokens(to_markdown(hostile()))}
    assert not kinds & {"html_inline", "html_block", "image"}
    addresses = [token.attrs["href"] for token in tokens(to_markdown(hostile())) if token.type == "link_open"]
    assert not [address for address in addresses if "evil" in address]


def test_a_hostile_cell_does_not_add_a_column():
    widths = set()
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(to_markdown(hostile())):
        if token.type == "tr_open":
            widths.add(0)
    assert "evil" in to_markdown(hostile())
    for line in to_markdown(hostile()).splitlines():
        if line.startswith("| "):
            widths.add(len(re.findall(r"(?<!\\)\|", line)))
    assert widths <= {0, 5, 8}, "four columns of common traits, seven in both other tables"


def test_commands_stand_in_fences():
    fences = [token.content for token in tokens(to_markdown(report("kb-3212877"))) if token.type == "fence"]
    assert any("Import-Certificate" in fence for fence in fences)


# ----------------------------------------------------------------------------------------------------- terminal


def test_hostile_text_cannot_act_on_a_terminal():
    for color in (True, False):
        text = to_terminal(hostile(), color=color)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if color else text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", plain)
        assert "\x1b[31m\x07" not in text


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_the_time_line_fits_the_width(width):
    lines = to_terminal(report("kb-3212877"), width=width).splitlines()
    lanes = [
        line for line in lines if re.match(r"  (CAPI2 failures|CAPI2 successes|TLS handshakes|Refusals) +\(\d", line)
    ]
    assert len(lanes) == 4
    assert all(len(line) <= width for line in lanes)
    assert "x" in lanes[0].partition("|")[2]
    assert "^" in lanes[2]
    assert "2" in lanes[3].partition("|")[2], "both recipients of the one session"
    assert "(2 of 3)" in lanes[3], "the picture is an excerpt"


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_word_of_the_pairs_is_broken(width):
    lines = to_terminal(report("kb-3212877"), width=width).splitlines()
    start = lines.index("Refusals and the certificate checks beside them")
    table = " ".join(lines[start : start + 12])
    for word in (
        "handshake",
        "CAPI2 event",
        "difference",
        "thumbprint",
        "assumed",
        "800B0109",
        "03:09:55.774",
        "+0.255 s",
    ):
        assert word in table
    assert all(len(line) <= width for line in lines[start : start + 12])


def test_the_terminal_report_of_a_large_case_stays_readable():
    text = to_terminal(enormous(500))
    assert len(text.splitlines()) < 5000
    assert "are shown; the JSON report holds all." in text


@pytest.mark.parametrize("suffix", ["txt", "md", "html"])
def test_a_collector_bundle_is_said_in_every_readable_output(tmp_path, suffix):
    folder = tmp_path / "case" / "20261123" / "EX01"
    (folder / "Hub_Send_Protocol_Logs").mkdir(parents=True)
    (folder / "Message_Tracking_Logs").mkdir()
    source = next((SAMPLES / "no-capi2" / "SmtpSend").iterdir())
    (folder / "Hub_Send_Protocol_Logs" / source.name).write_bytes(source.read_bytes())
    (folder / "Message_Tracking_Logs" / "NoFilesDetected.txt").touch()
    report = evtx_analyzer.analyze(tmp_path / "case")
    report.save(tmp_path / f"report.{suffix}")
    text = " ".join((tmp_path / f"report.{suffix}").read_text(encoding="utf-8").replace("\\", "").split())
    assert "is a bundle of ExchangeLogCollector (EX01)" in text
    assert "NoFilesDetected.txt" in text
