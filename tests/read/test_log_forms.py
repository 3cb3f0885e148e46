"""SMTP and tracking logs as people copy, convert and paste them: read as the log itself, or a loss that says why."""

from __future__ import annotations

import csv
import html
import io
from datetime import timedelta

import pytest
from msgspec.structs import replace
from smtp_case import analyze, rejections

from evtx_analyzer.model.origin import Origin
from samples.cases import IIS_FILE, LEAF, kb_3212877
from samples.pieces import START, accepted, refused, send

LOG = send(refused(LEAF), accepted(LEAF, START + timedelta(seconds=9), "08D50D3D9730A8D3")).decode()
LINES = LOG.splitlines()
HEADER, ROWS = LINES[:5], [next(csv.reader([line])) for line in LINES[5:]]
FIELDS = HEADER[-1].removeprefix("#Fields: ").split(",")
IIS = kb_3212877()[IIS_FILE].decode()
W3C = IIS.splitlines()
W3C_FIELDS = next(line for line in W3C if line.startswith("#Fields: ")).removeprefix("#Fields: ").split()
W3C_ROWS = [line.split(" ") for line in W3C if not line.startswith("#")]
TRACKED_REPLY = "550 5.7.64 TenantAttribution; Relay Access Denied"
TRACKING_FIELDS = "date-time,source,event-id,message-id,client-hostname,recipient-address,recipient-status"
TRACKING_ROW = f"2016-12-01T03:09:55.801Z,SMTP,FAIL,<a@b.c>,EX01,b@fabrikam.com,{TRACKED_REPLY}"
TRACKED = [TRACKING_ROW.split(",")]
TRACKING_HEAD = ["#Software: x", "#Log-type: Message Tracking Log", f"#Fields: {TRACKING_FIELDS}"]
TRACKING = "\r\n".join([*TRACKING_HEAD, TRACKING_ROW, ""])


def table(rows, delimiter=",", quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=quoting).writerows(rows)
    return out.getvalue()


def by_excel(head, rows, delimiter, quoting=csv.QUOTE_MINIMAL):
    """As Excel saves what it opened as comma separated: every line has as many cells as the longest one."""
    split = [line.split(",") for line in head]
    return table([[*cells, *[""] * (len(rows[0]) - len(cells))] for cells in split] + rows, delimiter, quoting)


def each(before, lines=LINES, after=""):
    return "\r\n".join(f"{before.format(number)}{line}{after}" for number, line in enumerate(lines, 1))


SEND_FORMS = {
    "Excel, comma": by_excel(HEADER, ROWS, ",").encode(),
    "Excel, semicolon": by_excel(HEADER, ROWS, ";").encode("utf-8-sig"),
    "Excel, Unicode text": by_excel(HEADER, ROWS, "\t").encode("utf-16"),
    "LibreOffice, all in quotes": by_excel(HEADER, ROWS, ",", csv.QUOTE_ALL).encode(),
    "Excel for Mac": by_excel(HEADER, ROWS, ",").replace("\r\n", "\r").encode(),
    "Export-Csv": table([FIELDS, *ROWS], ",", csv.QUOTE_ALL).encode("utf-8-sig"),
    "Export-Csv, Windows PowerShell": ("#TYPE System.Object\r\n" + table([FIELDS, *ROWS], ";", csv.QUOTE_ALL)).encode(),
    "Export-Csv, names in another case": table([[name.title() for name in FIELDS], *ROWS]).encode(),
    "names in another case": LOG.replace(HEADER[-1], HEADER[-1].title()).encode(),
    "rows only": "\n".join(LINES[5:]).encode(),
    "carriage returns": LOG.replace("\r\n", "\r").encode(),
    "quoted in a mail": each("> ").encode(),
    "quoted twice": each("> > ").encode(),
    "a table of a ticket": each("| ", after=" |").encode(),
    "indented": each("    ").encode(),
    "grep": each("logs/SEND2016120103-1.LOG:").encode(),
    "grep -n": each("{}:").encode(),
    "findstr /n": each("C:\\logs\\SEND2016120103-1.LOG:{}:").encode(),
    "Select-String to a file": each("SEND2016120103-1.LOG:{}:").encode("utf-16"),
    "Select-String -Context": each("> SEND2016120103-1.LOG:{}:").encode(),
    "cat -n": each("     {}\t").encode(),
    "syslog": each("<13>Dec  1 03:09:55 EX01 exchange: ", LINES[5:]).encode(),
    "UTF-16, then ASCII": "".join(f"{line}\r\n" for line in LINES[:12]).encode("utf-16")
    + "".join(f"{line}\r\n" for line in LINES[12:]).encode(),
    "UTF-16 without a last line end, then ASCII": "\r\n".join(LINES[:12]).encode("utf-16")
    + "".join(f"\r\n{line}" for line in LINES[12:]).encode(),
    "ASCII, then UTF-16": "".join(f"{line}\r\n" for line in LINES[:12]).encode()
    + "".join(f"{line}\r\n" for line in LINES[12:]).encode("utf-16-le"),
    "ASCII, then UTF-16 with a mark": "".join(f"{line}\r\n" for line in LINES[:12]).encode()
    + "".join(f"{line}\r\n" for line in LINES[12:]).encode("utf-16"),
}
IIS_FORMS = {
    "quoted in a mail": each("> ", W3C).encode(),
    "grep": each("ex161201.log:", W3C).encode(),
    "findstr /n": each("C:\\Windows\\System32\\LogFiles\\SMTPSVC1\\ex161201.log:{}:", W3C).encode(),
    "carriage returns": IIS.replace("\r\n", "\r").encode(),
    "Log Parser, CSV": table(
        [["LogFilename", "RowNumber", *W3C_FIELDS], *[["x", "1", *row] for row in W3C_ROWS]]
    ).encode(),
    "Log Parser, TSV": table([["LogFilename", *W3C_FIELDS], *[["x", *row] for row in W3C_ROWS]], "\t").encode(),
    "UTF-16, then ASCII": "".join(f"{line}\r\n" for line in W3C[:9]).encode("utf-16")
    + "".join(f"{line}\r\n" for line in W3C[9:]).encode(),
}
TRACKING_FORMS = {
    "Excel, comma": by_excel(TRACKING_HEAD, TRACKED, ",").encode(),
    "Excel, semicolon": by_excel(TRACKING_HEAD, TRACKED, ";").encode("utf-8-sig"),
    "Excel, Unicode text": by_excel(TRACKING_HEAD, TRACKED, "\t").encode("utf-16"),
    "Export-Csv": table([TRACKING_FIELDS.split(","), *TRACKED], ",", csv.QUOTE_ALL).encode(),
    "Export-Csv, semicolon": table([TRACKING_FIELDS.split(","), *TRACKED], ";", csv.QUOTE_ALL).encode("utf-8-sig"),
    "Export-Csv, names in another case": table([TRACKING_FIELDS.title().split(","), *TRACKED]).encode(),
    "grep": each("MSGTRK.LOG:{}:", TRACKING.splitlines()).encode(),
}


def shown(report):
    """All refusals without their places in files."""
    nowhere = Origin(source="")
    return [replace(item, origin=nowhere, origins=(), id="") for item in rejections(report)]


def accepted_count(report):
    return sum(item.accepted for item in report.deliveries)


@pytest.fixture(params=["row by row", "in blocks", "every row"])
def options(request, monkeypatch):
    """How a log is read: large ones are read in blocks."""
    if request.param == "in blocks":
        monkeypatch.setattr("evtx_analyzer.ingest.events._LARGE", 0)
    return {"prefilter": request.param != "every row"}


@pytest.mark.parametrize("form", SEND_FORMS)
def test_a_copy_of_a_send_log_is_read_as_the_log(form, options, tmp_path):
    whole = analyze(tmp_path / "whole", {"SEND.LOG": LOG})
    made = analyze(tmp_path / "copy", {"SEND.LOG": SEND_FORMS[form]}, **options)
    assert shown(made) == shown(whole)
    assert rejections(made)[0].sent.thumbprint == LEAF.thumbprint
    assert (made.losses, made.exit_code, accepted_count(made)) == ((), 1, accepted_count(whole))


def _goes_on(content):
    """Whether it can be appended to a log in UTF-8 with line ends of Windows."""
    return b"\0" not in content and b"\n" in content


@pytest.mark.parametrize("form", [form for form, content in SEND_FORMS.items() if _goes_on(content)])
def test_a_copy_in_a_large_log_is_read_as_the_log(form, tmp_path):
    """Of 1 MiB and more, which is read in blocks."""
    sessions = [accepted(LEAF, START + timedelta(seconds=number), f"08D50D3D{number:08X}") for number in range(9, 330)]
    large = send(*sessions)
    assert len(large) > 1 << 20
    whole = analyze(tmp_path / "whole", {"SEND.LOG": large + SEND_FORMS["rows only"]})
    made = analyze(tmp_path / "copy", {"SEND.LOG": large + SEND_FORMS[form]})
    assert shown(made) == shown(whole)
    assert (made.losses, accepted_count(made)) == ((), accepted_count(whole))


@pytest.mark.parametrize("form", IIS_FORMS)
def test_a_copy_of_an_iis_log_is_read_as_the_log(form, options, tmp_path):
    whole = analyze(tmp_path / "whole", {"ex.log": IIS})
    made = analyze(tmp_path / "copy", {"ex.log": IIS_FORMS[form]}, **options)
    assert shown(made) == shown(whole)
    assert (made.losses, made.exit_code) == ((), 1)


@pytest.mark.parametrize("form", TRACKING_FORMS)
def test_a_copy_of_a_tracking_log_is_read_as_the_log(form, tmp_path):
    whole = analyze(tmp_path / "whole", {"MSGTRK.LOG": TRACKING})
    made = analyze(tmp_path / "copy", {"MSGTRK.LOG": TRACKING_FORMS[form]})
    assert shown(made) == shown(whole) != []
    assert (made.losses, made.exit_code) == ((), 1)


def test_a_receive_log_without_its_header_is_none_of_sending(tmp_path):
    rows = [[cell.replace("Outbound to Office 365", "EX01\\Default EX01") for cell in row] for row in ROWS]
    made = analyze(tmp_path, {"r.csv": table([FIELDS, *rows], ",", csv.QUOTE_ALL)})
    assert (rejections(made), made.sources[0].kind) == ([], "receive-connector")


def culture(delimiter, form):
    return by_excel(HEADER, [[f"{START:{form}}", *row[1:]] for row in ROWS], delimiter)


CHANGED = {
    "HTML": html.escape(LOG, quote=False),
    "a page": f"<pre>{html.escape(LOG, quote=False)}</pre>",
    "typographic quotes": LOG.replace('"', "\u201d"),
    "without quotes": LOG.replace('"', ""),
    "dates of Excel in German": culture(";", "%d.%m.%Y %H:%M"),
    "dates of Excel in English": culture(",", "%m/%d/%Y %H:%M"),
    "blanks in a W3C log": IIS.replace(" SMTPSVC1 ", "  SMTPSVC1  "),
}


@pytest.mark.parametrize("every_row", [False, True])
@pytest.mark.parametrize("form", CHANGED)
def test_a_log_that_another_program_changed_is_a_loss(form, every_row, tmp_path):
    made = analyze(tmp_path, {"SEND.LOG": CHANGED[form]}, anyway=True, prefilter=not every_row)
    assert any("give the log as the server wrote it" in loss.reason for loss in made.losses)
    expected = 1 if "quotes" in form else 2 if form.startswith("dates") else 3
    assert made.exit_code == expected


@pytest.mark.parametrize("every_row", [False, True])
def test_a_row_with_too_many_values_in_a_large_log_is_a_loss(every_row, tmp_path):
    sessions = [accepted(LEAF, START + timedelta(seconds=number), f"08D50D3D{number:08X}") for number in range(330)]
    text = send(*sessions).decode()
    certificate = next(line for line in text.splitlines() if line.endswith(",Certificate subject") and '"' in line)
    made = analyze(
        tmp_path, {"SEND.LOG": text.replace(certificate, certificate.replace('"', ""))}, prefilter=not every_row
    )
    (loss,) = made.losses
    assert "more values than the header has columns" in loss.reason
    assert (tmp_path / "SEND.LOG").stat().st_size > 1 << 20


IIS_KOREAN = (
    "1.2.3.4, OutboundConnectionResponse, 2016-12-01, \uc624\uc804 4:14:21, SMTPSVC1, EX01, , 0, 0, 0, 0, 0, -, -, "
    "550 5.7.64 TenantAttribution,"
)
UNREAD = {
    "an IIS log without its header": "\r\n".join(line for line in W3C if not line.startswith("#")),
    "an IIS log saved by Excel": "\r\n".join(line.replace(" ", ";") for line in W3C),
    "an IIS log with Korean times": IIS_KOREAN,
    "a tracking log without its header": TRACKING_ROW,
    "a message trace": "date_time_utc,event_id,recipient_status\r\n2016-12-01T03:09:55Z,FAIL,550 5.7.64 x\r\n",
}


@pytest.mark.parametrize("form", UNREAD)
def test_a_form_that_has_lost_its_header_says_what_to_give(form, tmp_path):
    made = analyze(tmp_path, {"a.txt": UNREAD[form], "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D3"))})
    (loss,) = made.losses
    assert "give the log as the server wrote it, with its header lines" in loss.reason
    assert made.exit_code == 3


STOLEN = ["SEND2016120103-1.LOG", "MSGTRKMS2016120103-1.LOG", "RECV20161201-1.LOG", "ex161201.log", "u_ex161201.log"]


@pytest.mark.parametrize("name", STOLEN)
@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Sign in</title>", b"\x00\x11\x22\x33" * 999])
def test_a_file_named_as_a_log_of_the_server_that_holds_none_is_a_loss(name, content, tmp_path):
    made = analyze(tmp_path, {name: content, "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D3"))})
    (loss,) = made.losses
    assert (loss.origin.source, made.exit_code) == (name, 3)
    assert "copy it again" in loss.reason


@pytest.mark.parametrize("name", ["setup.log", "SENDER2016.log", "resend20161201.log", "ex1.log", "index161201.log"])
def test_any_other_log_is_only_listed(name, tmp_path):
    made = analyze(tmp_path, {name: b"installed\r\n", "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D3"))})
    assert (made.losses, made.exit_code) == ((), 0)


EXPORT = (
    "Timestamp,EventId,Source,Recipients,RecipientStatus\r\n{},{},SMTP,b@fabrikam.com,550 5.7.64 TenantAttribution\r\n"
)


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u202f"])
def test_an_export_of_few_columns_is_read_with_the_blanks_of_each_version(space, tmp_path):
    text = EXPORT.format(f"12/1/2016 4:09:55{space}AM", "FAIL")
    (found,) = rejections(analyze(tmp_path, {"t.csv": text}, tz="Europe/Berlin"))
    assert (f"{found.time:%m-%d %H:%M:%S}", found.time_basis) == ("12-01 03:09:55", "zone")


@pytest.mark.parametrize("event", ["FAIL", "DSN"])
def test_an_export_without_recipient_status_says_that_no_refusal_can_be_seen(event, tmp_path):
    row = (
        "Timestamp,EventId,Source,MessageId,Recipients\r\n" + f"2016-12-01 03:09:55,{event},SMTP,<a@b.c>,x@y.z\r\n" * 2
    )
    made = analyze(tmp_path, {"t.csv": row, "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D3"))})
    (loss,) = made.losses
    assert "no refusal can be seen in it" in loss.reason
    assert made.exit_code == 3


def test_an_export_of_successes_without_recipient_status_is_no_loss(tmp_path):
    row = "Timestamp,EventId,Source,MessageId,Recipients\r\n2016-12-01 03:09:55,SEND,SMTP,<a@b.c>,x@y.z\r\n"
    assert analyze(tmp_path, {"t.csv": row}).losses == ()


@pytest.mark.parametrize(
    "time", ["2016-12-01 \uc624\uc804 3:09:55", "1/12/2016 3:09:55 \u03bc\u03bc", "2016/12/1 \u4e0b\u5348 3:09:55"]
)
def test_a_time_that_cannot_be_read_names_the_export_that_keeps_it(time, tmp_path):
    made = analyze(tmp_path, {"t.csv": EXPORT.format(time, "FAIL")}, anyway=True)
    assert any("Export-Clixml, which keeps times whole" in loss.reason for loss in made.losses)


@pytest.mark.parametrize("before", ["x" * 400 + ":", LINES[-2][30:], "5"])
def test_what_stands_before_a_row_and_is_no_quotation_is_a_loss(before, tmp_path):
    made = analyze(tmp_path, {"SEND.LOG": f"{LOG}{before}{LINES[-1]}\r\n"})
    assert {loss.origin.line for loss in made.losses} == {len(LINES) + 1}
    assert len(rejections(made)) == 1
