"""Rows of logs as collectors of logs and PowerShell keep them: read as the log itself, or named."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from xml.sax.saxutils import escape

import pytest
from faults import FAULTS
from smtp_case import rules
from worlds import completed, files, world

import evtx_analyzer as ea
from evtx_analyzer.read import recognize

NAMES = {"C": "SEND.LOG", "iis": "ex260310.log", "tracking": "MSGTRK.LOG"}


def made_files(form):
    made = world(0, form)
    FAULTS["missing_intermediate"].apply(made)
    made.mails.append(made.mail(timedelta(minutes=-30)))
    return files(completed(made))


def splunk_json(rows):
    return "".join(
        json.dumps({"preview": False, "result": {"_raw": row, "_time": row[:19], "source": r"D:\Logs\x.log"}}) + "\n"
        for row in rows
    )


def splunk_rest(rows):
    return json.dumps({"preview": False, "messages": [], "results": [{"_time": "x", "_raw": row} for row in rows]})


def splunk_csv(rows):
    quoted = (row.replace('"', '""') for row in rows)
    return '"_raw","_time",host,source\n' + "".join(f'"{row}","x",EX01,"D:\\x.log"\n' for row in quoted)


def excel_csv(rows):
    quoted = (row.replace('"', '""') for row in rows)
    return "_time;_raw;host\n" + "".join(f'x;"{row}";EX01\n' for row in quoted)


def filebeat(rows):
    return "".join(
        json.dumps({"@timestamp": "x", "log": {"offset": 1}, "message": row, "event": {"original": row}}) + "\n"
        for row in rows
    )


def elastic(rows):
    return json.dumps({"took": 1, "hits": {"hits": [{"_id": "a", "_source": {"message": row}} for row in rows]}})


FORMS = {
    "Splunk, JSON": splunk_json,
    "Splunk, REST": splunk_rest,
    "Splunk, CSV": splunk_csv,
    "Splunk, CSV saved by Excel": excel_csv,
    "Filebeat": filebeat,
    "Elasticsearch": elastic,
    "Splunk, UTF-16": lambda rows: splunk_json(rows).encode("utf-16"),
    "one text with all rows": lambda rows: json.dumps({"message": "\n".join(rows)}),
    "Splunk, pretty": lambda rows: json.dumps([{"_raw": row} for row in rows], indent=2),
}


def seen(folder, written):
    """All that a report says of refusals but their places, and the verdict."""
    folder.mkdir()
    for name, content in written.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    report = ea.analyze(folder, rules=rules())
    rejections = sorted(
        (r.time, r.host, r.sent, r.mail_from, r.rcpt_to, r.session, r.message_id, r.reply, r.starttls, r.handshake_time)
        for incident in report.incidents
        for r in incident.rejections
    )
    history = [(row.sessions, row.accepted, row.refused) for row in report.deliveries]
    return rejections, history, report.verdict, report.losses


def in_form(form, write, choose):
    written = made_files(form)
    log = written.pop(NAMES[form])
    lines = choose([line for line in log.splitlines() if line])
    return {**written, NAMES[form]: log}, {**written, "export.json": write(lines)}


@pytest.mark.parametrize("order", [list, lambda lines: lines[::-1]], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("form", NAMES)
def test_rows_with_the_header_of_their_log_are_read_as_the_log(tmp_path, form, write, order):
    # The rows of one text are in the order of the log.
    log, export = in_form(form, write, list if write is FORMS["one text with all rows"] else order)
    plain = seen(tmp_path / "log", log)
    assert len(plain[0]) == 2
    assert seen(tmp_path / "export", export) == plain


def without_header(lines):
    return [line for line in lines if line[0] != "#"]


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
def test_rows_of_a_send_connector_need_no_header(tmp_path, write):
    log, export = in_form("C", write, without_header)
    assert seen(tmp_path / "export", export) == seen(tmp_path / "log", log)


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("form", ["iis", "tracking"])
def test_other_rows_without_a_header_are_one_loss(tmp_path, form, write):
    log, export = in_form(form, write, without_header)
    rejections, _, _, losses = seen(tmp_path / "export", export)
    assert not rejections
    told = [loss for loss in losses if "leaves out the header" in loss.reason]
    assert [loss.extent for loss in told] == [f"{len(without_header(log[NAMES[form]].splitlines()))} rows"]


def test_what_was_read_is_at_its_line(tmp_path):
    (tmp_path / "x.json").write_text(splunk_json(without_header(made_files("C")["SEND.LOG"].splitlines())))
    report = ea.analyze(tmp_path, rules=rules())
    for rejection in (rejection for incident in report.incidents for rejection in incident.rejections):
        line = (tmp_path / "x.json").read_text().splitlines()[rejection.origin.line - 1]
        assert "550 5.7.64" in line


@pytest.mark.parametrize(
    "text",
    [
        '{"message": "the row 2026-03-10T08:14:02.000Z,Outbound,08D50D3D00000001,5, was seen"}',  # in a sentence
        '{"time": "2026-03-10T08:14:02.000Z", "n": 1}',
        "name,value\n2026,1\n",
        '{"message": "2026-03-10 08:14:02 GET /index.html"}',
    ],
)
def test_near_misses(text):
    assert recognize(text.encode()) != "collected-rows"


def test_a_damaged_line_costs_one_row(tmp_path):
    lines = without_header(made_files("C")["SEND.LOG"].splitlines())
    export = splunk_json(lines).splitlines(keepends=True)
    export[3] = export[3][:40] + "\n"
    (tmp_path / "x.json").write_text("".join(export))
    report = ea.analyze(tmp_path, rules=rules())
    assert report.rejection_count == 2
    assert len(report.losses) == 1


# ------------------------------------------------------------------------------------------ objects of Import-Csv


def objects(log):
    names = next(line for line in log.splitlines() if line.startswith("#Fields"))[len("#Fields: ") :].split(",")
    return [dict(zip(names, cells, strict=True)) for cells in csv.reader(without_header(log.splitlines()))]


def clixml(rows):
    members = (
        f'<Obj RefId="{number}"><MS>'
        + "".join(f'<S N="{name}">{escape(value)}</S>' for name, value in row.items())
        + "</MS></Obj>"
        for number, row in enumerate(rows)
    )
    namespace = "http://schemas.microsoft.com/powershell/2004/04"
    return f'<Objs Version="1.1.0.1" xmlns="{namespace}">{"".join(members)}</Objs>'


OBJECT_FORMS = {
    "ConvertTo-Json": json.dumps,
    "JSON lines": lambda rows: "\n".join(map(json.dumps, rows)),
    "Export-Clixml": clixml,
}


@pytest.mark.parametrize("write", OBJECT_FORMS.values(), ids=OBJECT_FORMS)
@pytest.mark.parametrize("form", ["C", "tracking"])
def test_objects_of_import_csv_are_read_as_the_log(tmp_path, form, write):
    written = made_files(form)
    log = written.pop(NAMES[form])
    plain = seen(tmp_path / "log", {**written, NAMES[form]: log})
    assert seen(tmp_path / "export", {**written, "x.json": write(objects(log))}) == plain


@pytest.mark.parametrize("write", OBJECT_FORMS.values(), ids=OBJECT_FORMS)
def test_objects_of_a_receive_log_are_no_refusals_of_exchange_online(tmp_path, write):
    log = made_files("C")["SEND.LOG"]
    rows = [{**row, "connector-id": r"EX01\Default EX01"} for row in objects(log)]
    (tmp_path / "x.json").write_text(write(rows))
    assert ea.analyze(tmp_path, rules=rules()).rejection_count == 0


def test_objects_of_an_iis_log_are_read_as_the_log(tmp_path):
    """``Import-Csv -Delimiter ' '``, and JSON of other tools with the columns of the log."""
    written = made_files("iis")
    log = written.pop(NAMES["iis"])
    names = next(line for line in log.splitlines() if line.startswith("#Fields"))[len("#Fields: ") :].split()
    rows = [dict(zip(names, row.split(" "), strict=True)) for row in without_header(log.splitlines())]
    plain = seen(tmp_path / "log", {**written, NAMES["iis"]: log})
    assert seen(tmp_path / "export", {**written, "x.json": json.dumps(rows)}) == plain


PASTED = {
    "a diff": lambda lines: "".join(f"+{line}\n" for line in lines),
    "a chat": lambda lines: "".join(f"[10:12] Max: {line}\n" for line in lines),
    "objects of Get-Content": lambda lines: json.dumps([{"value": line, "ReadCount": 1} for line in lines]),
    "texts of Get-Content": json.dumps,
    "Select-String, CSV": lambda lines: (
        '"LineNumber","Line"\n' + "".join('"1","{}"\n'.format(line.replace('"', '""')) for line in lines)
    ),
}


@pytest.mark.parametrize("write", PASTED.values(), ids=PASTED)
@pytest.mark.parametrize("form", NAMES)
def test_lines_that_were_pasted_or_piped_are_read_as_the_log(tmp_path, form, write):
    log, export = in_form(form, write, list)
    assert seen(tmp_path / "export", export) == seen(tmp_path / "log", log)


def test_a_log_in_the_markup_of_a_ticket_is_read(tmp_path):
    written = made_files("C")
    written["SEND.LOG"] = "{code:title=SEND.LOG}\n" + written["SEND.LOG"] + "{code}\n"
    rejections, *_ = seen(tmp_path / "export", written)
    assert len(rejections) == 2
