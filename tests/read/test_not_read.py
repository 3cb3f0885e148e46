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
