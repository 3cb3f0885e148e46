"""Lines that are not UTF-8: the code page of the server is guessed by what its letters look like."""

from __future__ import annotations

import io

import pytest
from faults import FAULTS
from smtp_case import analyze
from worlds import completed, files, world

from evtx_analyzer.model.origin import Origin
from evtx_analyzer.read.encoding import decode
from evtx_analyzer.read.event_xml import read_event_xml


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("到 Office 365 的发送连接器", "gbk"),
        ("2026-03-10T08:14:02.430Z,组织内 SMTP 发送连接器,08DE5A,0,,,*,,x", "gb2312"),
        ("Ausgehend über Büro 365", "cp1252"),
        ("Größe Fußgängerübergang", "cp1252"),
        ("Connecteur créé à Orléans – Noël", "cp1252"),
        ("Ñuñoa, São Paulo, Århus", "cp1252"),
        ("Löschen ‚Über‘ Äöüß", "cp1252"),
    ],
)
def test_a_line_of_a_code_page_is_read_as_it_was_written(text, encoding):
    assert decode(text.encode(encoding), "utf-8") == text


def test_text_that_is_utf_8_is_never_guessed():
    text = "到 Office 365 的发送连接器, Büro"
    assert decode(text.encode(), "utf-8") == text


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["capi2.xml", "SEND.LOG"])
def test_utf_32_is_read_as_any_other_encoding(tmp_path, encoding, name):
    """``Out-File -Encoding UTF32``; its mark begins as that of UTF-16."""
    made = world(0, "C")
    FAULTS["missing_intermediate"].apply(made)
    written = {path: text.encode() for path, text in files(completed(made)).items()}
    written[name] = ("\ufeff" + written[name].decode()).encode(encoding)
    report = analyze(tmp_path, written)
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "probable")
    assert report.rejection_count == 2


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_every_event_of_a_large_utf_32_file_is_read(encoding):
    """More than a block, whose end may lie in a tag or an event, and letters that take several bytes in UTF-8."""
    event = "<Event><System><EventRecordID>{}</EventRecordID></System><Text>Zertifikat für Köln, 到</Text></Event>\n"
    events = [event.format(number) for number in range(6000)]
    text = "\ufeff<Events>" + "".join(events) + "</Events>"
    read = list(read_event_xml(io.BytesIO(text.encode(encoding)), Origin(source="x.xml")))
    assert len(text.encode(encoding)) > 2 << 20
    assert [getattr(record, "xml", record) for record in read] == [
        event.format(number).strip() for number in range(6000)
    ]
