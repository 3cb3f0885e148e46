"""Files in which evidence lies in a form that is not read: they are named, with what to do, and never passed over."""

from __future__ import annotations

import io
import zipfile

import pytest
from smtp_case import analyze

from samples.cases import LEAF
from samples.pieces import START, accepted, refused, send
from samples.smtp import SEEN

GOOD = send(accepted(LEAF, START, "08D50D3D9730A8D2", seen=SEEN))


def office(*names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as document:
        for name in ("[Content_Types].xml", "_rels/.rels", *names):
            document.writestr(name, "550 5.7.64 TenantAttribution")
    return out.getvalue()


LOST = {
    "SEND.xlsx": (office("xl/workbook.xml", "xl/sharedStrings.xml"), "save the sheet as CSV"),
    "SEND.xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "Workbook".encode("utf-16-le"),
        "save the sheet as CSV",
    ),
    "System.evt": (b"0\0\0\0LfLe" + bytes(200), "wevtutil epl OLD.evt NEW.evtx /lf:true"),
    "reports.pst": (b"!BDN" + bytes(200), "save the reports in it"),
    "winmail.dat": (b"\x78\x9f\x3e\x22" + bytes(200), "ask for them again in a zip"),
    "SmtpSend.lnk": (b"L\0\0\0\x01\x14\x02\0" + bytes(200), "give that itself"),
    "SEND.url": (b"[InternetShortcut]\r\nURL=https://contoso.sharepoint.com/SEND.LOG\r\n", "give that itself"),
    "SEND.LOG.lz4": (b"\x04\x22\x4d\x18" + bytes(200), "LZ4"),
    "SEND.LOG.Z": (b"\x1f\x9d\x90" + bytes(200), "compress"),
    "logs.lzh": (b"\x20\0-lh5-" + bytes(200), "LZH"),
    "logs.wim": (b"MSWIM\0\0\0" + bytes(200), "disk image"),
    "logs.vhdx": (b"vhdxfile" + bytes(200), "disk image"),
}
SHOWN = {
    "ndr.png": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "ndr.jpg": b"\xff\xd8\xff\xe0" + bytes(200),
    "ndr.gif": b"GIF89a" + bytes(200),
    "notes.pdf": b"%PDF-1.7\n" + bytes(200),
    "notes.docx": office("word/document.xml"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_file_that_may_hold_logs_is_a_loss_that_says_what_to_do(name, tmp_path):
    content, text = LOST[name]
    report = analyze(tmp_path, {name: content, "SEND.LOG": GOOD})
    (loss,) = report.losses
    assert (loss.origin.source, report.exit_code) == (name, 3)
    assert text in loss.reason
    assert [item.status for item in report.sources if item.path == name] == ["not-read"]


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_or_document_is_named_and_no_loss(name, tmp_path):
    report = analyze(tmp_path, {name: SHOWN[name], "SEND.LOG": GOOD})
    (status,) = [item for item in report.sources if item.path == name]
    assert status.status == "unrecognized"
    assert "is not read; give the log or the mail itself" in status.reason
    assert (report.losses, report.exit_code) == ((), 0)


def test_a_zip_of_logs_beside_an_office_part_is_unpacked(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/SEND.LOG", send(refused(LEAF)))
    report = analyze(tmp_path, {"logs.zip": out.getvalue()})
    assert (report.exit_code, report.losses) == (1, ())


TRACES = {
    "Get-MessageTrace, CSV": (
        '"PSComputerName","Organization","MessageId","Received","SenderAddress","RecipientAddress","Subject","Status",'
        '"ToIP","FromIP","Size","MessageTraceId"\n"x","x","<m1@x>","3/10/2026 8:14:02 AM","a@x","b@y","S","Failed"\n'
    ),
    "Get-MessageTrace, list text": (
        "Message Trace ID  : 0a\nMessage ID        : <m1@x>\nSender Address    : a@x\nRecipient Address : b@y\n"
    ),
    "Get-MessageTraceV2, JSON": '[{"MessageTraceId": "0a", "RecipientAddress": "b@y", "Status": "Failed"}]',
    "Get-MessageTraceDetailV2, list text": (
        "Message Trace ID : 0a\nDate : 3/10/2026\nEvent : Fail\nAction :\nDetail : Reason: [{LED=550 5.7.64 x}]\n"
    ),
    "enhanced summary": (
        "origin_timestamp_utc,sender_address,recipient_status,message_subject,total_bytes,message_id,"
        "network_message_id,original_client_ip,directionality\n2026-03-10T08:14:02Z,a@x,b@y##Receive,S,1,<m1@x>,0a,1,O\n"
    ),
    "enhanced summary, UTF-16": "origin_timestamp_utc,recipient_status,network_message_id\n".encode("utf-16"),
    "Microsoft Graph": '{"value": [{"receivedDateTime": "x", "senderAddress": "a", "recipientAddress": "b"}]}',
}


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
def test_a_message_trace_of_exchange_online_shows_no_refusal(tmp_path, trace):
    """What is refused at RCPT never gets into the service's own traces."""
    report = analyze(tmp_path, {"SEND.LOG": GOOD, "trace.txt": trace})
    (status,) = [source for source in report.sources if source.path == "trace.txt"]
    assert status.status == "unrecognized"
    assert status.reason.endswith("give the Send connector log or the message tracking of the server that sends")
    holds = b"5.7.64" in (trace if isinstance(trace, bytes) else trace.encode())
    assert report.exit_code == (3 if holds else 0)
    assert [loss.reason for loss in report.losses] == [status.reason] * holds


def test_a_binary_log_of_web_sites_is_none_of_the_smtp_service(tmp_path):
    report = analyze(tmp_path, {"SEND.LOG": GOOD, "raw260310.ibl": bytes(range(1, 200))})
    (status,) = [source for source in report.sources if source.path == "raw260310.ibl"]
    assert "give the text log of its virtual server" in status.reason
    assert report.exit_code == 0


def test_a_mail_about_a_trace_is_a_mail(tmp_path):
    text = "From: a@x\nTo: b@x\nSubject: s\nDate: Tue, 10 Mar 2026 08:14:02 +0000\n\nThe message trace id is 0a.\n"
    report = analyze(tmp_path, {"SEND.LOG": GOOD, "a.eml": text})
    assert not any("message trace of" in source.reason for source in report.sources)
