"""Every form in which an export arrives: those that hold the facts give the same events, the others say what to do."""

from __future__ import annotations

import pytest
from capi2_events import every_id, log

from evtx_analyzer import analyze
from evtx_analyzer.errors import InputError
from evtx_analyzer.tables import extract
from samples.evtx_writer import write_evtx

EVENTS = log(*every_id())
AGAIN = "wevtutil epl Microsoft-Windows-CAPI2/Operational capi2.evtx"
GERMAN = (
    '<RenderingInfo Culture="de-DE"><Message>Weitere Informationen zu diesem Ereignis finden Sie im Abschnitt "Details"'
    "</Message><Level>Fehler</Level><Task>Kette erstellen</Task><Opcode>Info</Opcode><Channel></Channel>"
    "<Provider>Microsoft-Windows-CAPI2</Provider><Keywords><Keyword>Pfadüberprüfung</Keyword></Keywords></RenderingInfo>"
)


def fragments(events):
    """As ``wevtutil qe /f:xml`` writes them: no root, attributes in single quotes."""
    return "".join(event.replace('"', "'") + "\r\n" for event in events)


def rendered(events):
    return [event.replace("</Event>", f"{GERMAN}</Event>") for event in events]


def declared(events, encoding):
    """``([xml]$_.ToXml()).Save([Console]::Out)``: a declaration before each event, and not a true one."""
    return "".join(f'<?xml version="1.0" encoding="{encoding}"?>\r\n{event}\r\n' for event in events)


def root(events):
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\r\n<Events>{"".join(events)}</Events>'


FORMS = {
    "capi2.evtx": write_evtx(EVENTS),
    "renamed.txt": write_evtx(EVENTS),
    "wrapped.evtx": write_evtx(EVENTS, dirty=True, minor_version=2),
    "qe.xml": fragments(EVENTS).encode(),
    "qe-newest-first.xml": fragments(EVENTS[::-1]).encode(),
    "qe-with-root.xml": f"<Events>{fragments(EVENTS)}</Events>".encode(),
    "qe-rendered.xml": fragments(rendered(EVENTS)).encode(),
    "qe-rendered-console.xml": fragments(rendered(EVENTS)).encode("cp850"),
    "powershell-redirect.xml": b"\xff\xfe" + fragments(EVENTS).encode("utf-16-le"),
    "utf-16-without-mark.xml": fragments(EVENTS).encode("utf-16-le"),
    "utf-16-be.xml": b"\xfe\xff" + root(EVENTS).encode("utf-16-be"),
    "event-viewer.xml": root(rendered(EVENTS)).encode(),
    "event-viewer-mark.xml": b"\xef\xbb\xbf" + root(rendered(EVENTS)).encode(),
    "toxml.txt": "\n".join(EVENTS).encode(),
    "ibm437.xml": declared(rendered(EVENTS), "IBM437").encode(),
    "ibm437-utf-16.xml": b"\xff\xfe" + declared(EVENTS, "IBM437").encode("utf-16-le"),
    "indented.xml": root(event.replace("><", ">\r\n  <") for event in EVENTS).encode(),
    "no-suffix": fragments(EVENTS).encode(),
}


def rows(found):
    """All cells but those that name the file, and ids, which rest on it."""
    names = [column.name for column in found.table.columns]
    kept = [number for number, name in enumerate(names) if name not in ("source", "member", "offset", "id", "parent")]
    return [tuple(row[number] for number in kept) for row in found.table.rows(found.items)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = tmp_path_factory.mktemp("forms") / "capi2.evtx"
    path.write_bytes(FORMS["capi2.evtx"])
    return rows(extract(path)), rows(extract(path, as_operations=True))


def test_the_reference_form_holds_every_event(expected):
    assert [row[3] for row in expected[0]] == [number for number, _ in every_id()]


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_of_one_export_give_the_same_events_and_operations(name, tmp_path, expected):
    path = tmp_path / name
    path.write_bytes(FORMS[name])
    assert rows(extract(path)) == expected[0]
    assert rows(extract(path, as_operations=True)) == expected[1]
    assert extract(path).losses == ()


def test_all_forms_together_still_give_every_event_once(tmp_path, expected):
    for name, content in FORMS.items():
        (tmp_path / name).write_bytes(content)
    assert rows(extract(tmp_path)) == expected[0]


def test_a_console_code_page_is_read_as_what_it_is(tmp_path):
    text = "".join(EVENTS).replace("mail.contoso.com", "M\u00fcller")
    path = tmp_path / "console.xml"
    path.write_bytes(text.encode("cp850"))
    assert "M\u00fcller" in {event.subject for event in extract(path).items}


CSV_ENGLISH = (
    "Level,Date and Time,Source,Event ID,Task Category\r\n"
    "Error,12/1/2016 4:09:55 AM,Microsoft-Windows-CAPI2,30,Verify Chain Policy,"
    '"For more details for this event, please refer to the ""Details"" section"\r\n'
)
CSV_GERMAN = (
    "\ufeffEbene,Datum und Uhrzeit,Quelle,Ereignis-ID,Aufgabenkategorie\r\n"
    "Fehler,01.12.2016 04:09:55,Microsoft-Windows-CAPI2,11,Kette erstellen,Weitere Informationen\r\n"
)
EXPORT_CSV = (
    '#TYPE System.Diagnostics.Eventing.Reader.EventLogRecord\r\n"Message","Id","Version","ProviderName","LogName"\r\n'
    '"For more details","30","0","Microsoft-Windows-CAPI2","Microsoft-Windows-CAPI2/Operational","1"\r\n'
)
QE_TEXT = (
    "Event[0]:\r\n  Log Name: Microsoft-Windows-CAPI2/Operational\r\n  Source: Microsoft-Windows-CAPI2\r\n"
    "  Date: 2016-12-01T03:09:55.456\r\n  Event ID: 30\r\n  Description:\r\nFor more details\r\n"
)
FORMAT_LIST = (
    "\r\nTimeCreated  : 01.12.2016 04:09:55\r\nProviderName : Microsoft-Windows-CAPI2\r\nId           : 30\r\n"
    "Message      : Weitere Informationen\r\n"
)
CLIXML = (
    '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><TN RefId="0">'
    '<T>System.Diagnostics.Eventing.Reader.EventLogRecord</T></TN><Props><I32 N="Id">30</I32>'
    '<S N="ProviderName">Microsoft-Windows-CAPI2</S><S N="Message">For more details</S></Props></Obj></Objs>'
)
FRIENDLY = (
    "- System \r\n\r\n  - Provider \r\n\r\n   [ Name]  Microsoft-Windows-CAPI2 \r\n   [ Guid]  {5bbca4a8} \r\n \r\n"
    "   EventID 30 \r\n\r\n- UserData \r\n\r\n  - CertVerifyCertificateChainPolicy \r\n\r\n  - Result\r\n\r\n"
    "   [ value] 800B0109 \r\n"
)
WITHOUT_FACTS = {
    "events.csv": CSV_ENGLISH.encode(),
    "ereignisse.csv": CSV_GERMAN.encode(),
    "ereignisse-ansi.csv": CSV_GERMAN.lstrip("\ufeff").encode("cp1252"),
    "events.txt": CSV_ENGLISH.replace(",", "\t").encode(),
    "export.csv": EXPORT_CSV.encode(),
    "redirected.csv": b"\xff\xfe" + EXPORT_CSV.encode("utf-16-le"),
    "qe.txt": QE_TEXT.encode(),
    "list.txt": b"\xff\xfe" + FORMAT_LIST.encode("utf-16-le"),
    "events.clixml": b"\xff\xfe" + CLIXML.encode("utf-16-le"),
    "friendly.txt": FRIENDLY.encode(),
}


@pytest.mark.parametrize("name", WITHOUT_FACTS)
def test_a_form_without_facts_is_answered_with_the_command_to_export_again(name, tmp_path):
    (tmp_path / name).write_bytes(WITHOUT_FACTS[name])
    with pytest.raises(InputError, match=AGAIN):
        extract(tmp_path)
    (tmp_path / "capi2.evtx").write_bytes(FORMS["capi2.evtx"])
    found = extract(tmp_path)
    assert len(list(found.items)) == len(EVENTS)
    (loss,) = found.losses
    assert loss.origin.source == name
    assert AGAIN in loss.reason


def test_a_form_without_facts_shows_in_the_report(tmp_path):
    (tmp_path / "events.csv").write_bytes(WITHOUT_FACTS["events.csv"])
    (tmp_path / "capi2.evtx").write_bytes(FORMS["capi2.evtx"])
    report = analyze(tmp_path)
    status = next(item for item in report.sources if item.path == "events.csv")
    assert status.status == "not-read"
    assert status.reason.endswith(AGAIN)
    assert report.exit_code == 3


@pytest.mark.parametrize(
    "text",
    [
        "Please enable the log: wevtutil sl Microsoft-Windows-CAPI2/Operational /e:true\n",
        "Subject: CAPI2\n\nWe saw Microsoft-Windows-CAPI2 errors, 30 of them, last night.\n",
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><S>CAPI2</S></Objs>',
    ],
)
def test_a_text_that_only_mentions_capi2_is_no_export(text, tmp_path):
    (tmp_path / "notes.txt").write_text(text)
    (tmp_path / "capi2.evtx").write_bytes(FORMS["capi2.evtx"])
    assert extract(tmp_path).losses == ()


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "capi2.evtx").write_bytes(b"")
    with pytest.raises(InputError, match="0 bytes"):
        extract(tmp_path)


def test_a_channel_that_was_never_enabled_is_read_and_holds_nothing(tmp_path):
    content = write_evtx([])
    assert len(content) == 69_632
    (tmp_path / "capi2.evtx").write_bytes(content)
    report = analyze(tmp_path)
    assert (report.sources[0].status, report.losses) == ("read", ())
    assert "disabled, empty or cleared" in report.sources[0].reason
    assert list(extract(tmp_path).items) == []


def test_a_file_of_a_header_only_is_read_and_holds_nothing(tmp_path):
    (tmp_path / "capi2.evtx").write_bytes(write_evtx([])[:4096])
    (status,) = analyze_beside(tmp_path)
    assert status.path == "capi2.evtx"
    assert status.status in ("read", "partial", "not-read")


def analyze_beside(folder):
    """Sources of a folder, with an export that can be read beside it."""
    other = folder / "whole.evtx"
    other.write_bytes(FORMS["capi2.evtx"])
    return [item for item in analyze(folder).sources if item.path != "whole.evtx"]


def test_display_texts_beside_an_export_are_ignored_and_listed(tmp_path):
    folder = tmp_path / "LocaleMetaData"
    folder.mkdir()
    (folder / "capi2_1033.MTA").write_bytes(b"\x00\x01\x02" * 100)
    (status,) = analyze_beside(tmp_path)
    assert status.path == "LocaleMetaData/capi2_1033.MTA"
    assert status.reason.startswith("ignored: display texts")
    assert analyze(tmp_path).losses == ()
