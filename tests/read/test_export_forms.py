"""Every form in which an export arrives: those that hold the facts give the same events, the others say what to do."""

from __future__ import annotations

import csv
import html
import io
import json
from typing import Any

import pytest
from capi2_events import REAL, every_id, log
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from places import CHECKOUT
from smtp_case import analyze as analyze_files

from evtx_analyzer.errors import InputError
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.normalize import normalize
from evtx_analyzer.pipeline import analyze
from evtx_analyzer.read import recognize
from evtx_analyzer.read.event_json import read_event_csv, read_event_json
from evtx_analyzer.tables.select import extract
from samples.cases import LEAF as CERT
from samples.evtx_writer import write_evtx
from samples.pieces import refused, send

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


def dumped(events):
    """Events as ``evtx_dump -o jsonl`` (github.com/omerbenamram/evtx) writes them: made by that library itself."""
    from evtx import PyEvtxParser

    parser = PyEvtxParser(io.BytesIO(write_evtx(events)))
    return [json.loads(record["data"]) for record in parser.records_json()]


def with_attributes_beside(value):
    """The same with ``--separate-json-attributes``: ``Name_attributes`` beside ``Name``."""
    if not isinstance(value, dict):
        return value
    made = {}
    for name, content in value.items():
        if not isinstance(content, dict):
            made[name] = content
            continue
        inside = {key: with_attributes_beside(item) for key, item in content.items() if key != "#attributes"}
        if "#attributes" in content:
            made[f"{name}_attributes"] = content["#attributes"]
        if inside or "#attributes" not in content:
            made[name] = inside["#text"] if list(inside) == ["#text"] else inside
    return made


def unmarked(value):
    """The same with attributes like elements, as Velociraptor's parse_evtx writes them."""
    if not isinstance(value, dict):
        return value
    inner = {name: unmarked(content) for name, content in value.items() if name not in ("#attributes", "#text")}
    return inner | value.get("#attributes", {})


def tree(element):
    """An element as xmltodict and Json.NET write it: ``@`` before attributes, elements that come again as a list."""
    made = {f"@{name}": value for name, value in element.attrib.items()}
    for inner in element:
        name, content = etree.QName(inner).localname, tree(inner)
        known = made.get(name)
        made[name] = content if known is None else [*(known if isinstance(known, list) else [known]), content]
    text = (element.text or "").strip()
    if not made:
        return text or None
    return made | ({"#text": text} if text else {})


LEVELS = {"2": "Error", "3": "Warning", "4": "Info"}


def evtxecmd(event):
    """A row of EvtxECmd (columns as its JSON and CSV have them); ``Payload`` is what stands behind System."""
    root = etree.fromstring(event)
    system = root.find("{*}System")

    def text(name):
        return system.findtext(f"{{*}}{name}")

    return {
        "RecordNumber": "1",
        "EventRecordId": text("EventRecordID"),
        "TimeCreated": system.find("{*}TimeCreated").get("SystemTime").replace("T", " ").rstrip("Z"),
        "EventId": int(text("EventID")),
        "Level": LEVELS[text("Level")],
        "Provider": system.find("{*}Provider").get("Name"),
        "Channel": text("Channel"),
        "ProcessId": int(system.find("{*}Execution").get("ProcessID")),
        "ThreadId": int(system.find("{*}Execution").get("ThreadID")),
        "Computer": text("Computer"),
        "ChunkNumber": 0,
        "UserId": "",
        "PayloadData1": "",
        "Keywords": "0x4000000000000001",
        "Payload": json.dumps({"UserData": tree(root.find("{*}UserData"))}),
    }


def as_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def json_lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


DUMPED = dumped(EVENTS)
ECMD = [evtxecmd(event) for event in EVENTS]
TREES = [{"Event": tree(etree.fromstring(event))} for event in EVENTS]
BEATS = [
    {
        "@timestamp": "2026-03-01T12:00:00.000Z",
        "event": {"code": "30", "provider": "Microsoft-Windows-CAPI2", "original": event},
        "winlog": {
            "channel": "Microsoft-Windows-CAPI2/Operational",
            "provider_name": "Microsoft-Windows-CAPI2",
            "user_data": {"xml_name": "CertVerifyCertificateChainPolicy", "Result": "text"},
        },
    }
    for event in EVENTS
]
HALF = len(EVENTS) // 2
SPLUNK = [["t", "EX01", event] for event in rendered(EVENTS)]


def splunk_csv(delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["_time", "host", "_raw"], *SPLUNK])
    return out.getvalue()


FORMS = {
    "splunk.csv": splunk_csv().encode(),
    "splunk-saved-by-excel.csv": splunk_csv(";").encode("utf-8-sig"),
    "splunk.json": json_lines({"preview": False, "result": {"_raw": event}} for event in EVENTS).encode(),
    "splunk-rest.json": json.dumps({"results": [{"_raw": event} for event in EVENTS]}).encode(),
    "chainsaw.json": json.dumps([{"document": {"kind": "evtx", "data": value}} for value in DUMPED]).encode(),
    "utf-16-then-ascii.xml": b"\xff\xfe"
    + fragments(EVENTS[:HALF]).encode("utf-16-le")
    + fragments(EVENTS[HALF:]).encode(),
    "ascii-then-utf-16.xml": fragments(EVENTS[:HALF]).encode() + fragments(EVENTS[HALF:]).encode("utf-16-le"),
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
    "evtx_dump.jsonl": json_lines(DUMPED).encode(),
    "evtx_dump.json": "".join(
        f"Record {number}\n{json.dumps(value, indent=2)}\n" for number, value in enumerate(DUMPED, 1)
    ).encode(),
    "evtx_dump-array.json": json.dumps(DUMPED, indent=2).encode(),
    "evtx_dump-array-one-line.json": json.dumps(DUMPED).encode(),
    "evtx_dump-separate.jsonl": json_lines(map(with_attributes_beside, DUMPED)).encode(),
    "evtx-library.jsonl": json_lines({"event_record_id": 1, "data": json.dumps(value)} for value in DUMPED).encode(),
    "evtx_dump-powershell.jsonl": b"\xff\xfe" + json_lines(DUMPED).encode("utf-16-le"),
    "xmltodict.jsonl": json_lines(TREES).encode(),
    "evtxecmd.json": b"\xef\xbb\xbf" + json_lines(ECMD).encode(),
    "evtxecmd.csv": b"\xef\xbb\xbf" + as_csv(ECMD).encode(),
    "winlogbeat-include-xml.ndjson": json_lines(BEATS).encode(),
    "elasticsearch.json": json.dumps({"hits": {"hits": [{"_source": value} for value in BEATS]}}).encode(),
    "toxml-convertto-json.json": json.dumps(EVENTS).replace("<", "\\u003c").replace(">", "\\u003e").encode(),
}


def rows(found):
    """All cells but those that name the file, and ids, which rest on it."""
    names = [column.name for column in found.table.columns]
    places = ("source", "member", "line", "offset", "id", "parent")
    kept = [number for number, name in enumerate(names) if name not in places]
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


SAMPLES = sorted((CHECKOUT / "samples").glob("*/*.evtx")) + sorted(REAL.glob("*.evtx"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name} {path.name[:12]}")
def test_json_of_evtx_dump_is_read_as_the_log_that_it_was_made_of(path, tmp_path):
    from evtx import PyEvtxParser

    whole = [json.loads(record["data"]) for record in PyEvtxParser(str(path)).records_json()]
    (tmp_path / "evtx_dump.jsonl").write_text(json_lines(whole))
    for as_operations in (False, True):
        found = extract(tmp_path / "evtx_dump.jsonl", as_operations=as_operations)
        assert rows(found) == rows(extract(path, as_operations=as_operations))
        assert found.losses == ()


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
# As PowerShell's ConvertTo-Json writes an EventLogRecord: properties, and no UserData.
GET_WINEVENT = {
    "Id": 30,
    "ProviderName": "Microsoft-Windows-CAPI2",
    "LogName": "Microsoft-Windows-CAPI2/Operational",
    "RecordId": 77,
    "MachineName": "EX01.contoso.com",
    "TimeCreated": "\\/Date(1480561795456)\\/",
    "Properties": [{"Value": "System.Xml.XmlNode"}],
    "Message": "For more details for this event, please refer to the Details section",
}
OTHER_PROVIDER = {**GET_WINEVENT, "ProviderName": "Schannel", "LogName": "System"}
FLATTENED: dict[str, Any] = {
    "system": {
        "provider": "Microsoft-Windows-CAPI2",
        "event_id": 11,
        "time_created": "2026-03-10T08:14:02.438+00:00",
        "event_record_id": 3152,
        "channel": "Microsoft-Windows-CAPI2/Operational",
        "computer": "EX01.contoso.com",
    },
    "user_data": {
        "CertGetCertificateChain": {"CertificateChain": {"chainRef": "{1}"}, "Result": {"value": "800B010A"}}
    },
}
WITHOUT_FACTS = {
    "get-winevent.json": json.dumps([GET_WINEVENT, GET_WINEVENT], indent=4).encode(),
    "get-winevent-one.json": b"\xff\xfe" + json.dumps(GET_WINEVENT).encode("utf-16-le"),
    "get-winevent-mixed.json": json.dumps([OTHER_PROVIDER, GET_WINEVENT]).encode(),
    "winlogbeat.ndjson": json_lines([{**value, "event": {"code": "30"}} for value in BEATS]).encode(),
    "evtxecmd-no-payload.json": json_lines([{**row, "Payload": ""} for row in ECMD]).encode(),
    "evtxecmd-no-payload.csv": as_csv([{**row, "Payload": ""} for row in ECMD]).encode(),
    "evtxecmd-cut-payload.csv": as_csv([{**row, "Payload": row["Payload"][:40]} for row in ECMD]).encode(),
    "no-userdata.jsonl": json_lines([{"Event": {"System": value["Event"]["System"]}} for value in DUMPED]).encode(),
    "velociraptor.jsonl": json_lines(unmarked(value["Event"]) for value in DUMPED).encode(),
    "unmarked.json": json.dumps([{"Event": unmarked(value["Event"])} for value in DUMPED]).encode(),
    "flattened.json": json.dumps([FLATTENED]).encode(),
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
    "logparser.csv": b"EventLog,RecordNumber,SourceName,Strings\r\nc.evtx,1,Microsoft-Windows-CAPI2,,EX01\r\n",
    "logparser.xml": b"<ROOT><ROW><SourceName>Microsoft-Windows-CAPI2</SourceName></ROW></ROOT>",
    "hayabusa.csv": b'"Timestamp","Channel","EventID"\n"2016-12-01","Microsoft-Windows-CAPI2/Operational",30\n',
    "sentinel.csv": b"TimeGenerated,Source,EventLog\n2016-12-01,Microsoft-Windows-CAPI2,x\n",
    "velociraptor.csv": b'System,UserData\n"{""Provider"":{""Name"":""Microsoft-Windows-CAPI2""}}",""\n',
    "splunk.txt": b"12/01/2016 04:09:55 AM\nLogName=Microsoft-Windows-CAPI2/Operational\nEventCode=30\n",
    "page.htm": b"<table><tr><td>30</td><td>Microsoft-Windows-CAPI2</td></tr></table>",
    "escaped.htm": b"<pre>" + html.escape(EVENTS[0]).encode() + b"</pre>",
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
    status = next(source for source in report.sources if source.path == "events.csv")
    assert status.status == "not-read"
    assert status.reason.endswith(AGAIN)
    assert report.exit_code == 3


@pytest.mark.parametrize(
    "text",
    [
        "Please enable the log: wevtutil sl Microsoft-Windows-CAPI2/Operational /e:true\n",
        "Subject: CAPI2\n\nWe saw Microsoft-Windows-CAPI2 errors, 30 of them, last night.\n",
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><S>CAPI2</S></Objs>',
        '[{"LogName": "Microsoft-Windows-CAPI2/Operational", "IsEnabled": false, "OwningProviderName": "x"}]',
        json.dumps({**GET_WINEVENT, "LogName": "Application"}),
        "name: Microsoft-Windows-CAPI2/Operational\r\nenabled: true\r\ntype: Operational\r\n",
        '"LogName","IsEnabled","OwningProviderName"\n"Microsoft-Windows-CAPI2/Operational","True","Microsoft-Windows-CAPI2"\n',
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
    return [source for source in analyze(folder).sources if source.path != "whole.evtx"]


def test_display_texts_beside_an_export_are_ignored_and_listed(tmp_path):
    folder = tmp_path / "LocaleMetaData"
    folder.mkdir()
    (folder / "capi2_1033.MTA").write_bytes(b"\x00\x01\x02" * 100)
    (status,) = analyze_beside(tmp_path)
    assert status.path == "LocaleMetaData/capi2_1033.MTA"
    assert status.reason.startswith("ignored: display texts")
    assert analyze(tmp_path).losses == ()


def test_a_damaged_event_of_json_lines_costs_itself(tmp_path):
    text = json_lines(DUMPED)
    first, _, rest = text.partition("\n")
    (tmp_path / "capi2.jsonl").write_text(f"{first}\n{first[:200]}\n{rest[: -len(json.dumps(DUMPED[-1])) // 2]}")
    found = extract(tmp_path)
    assert [loss.reason for loss in found.losses] == ["an event's JSON is cut or damaged"] * 2
    assert [loss.origin.line for loss in found.losses] == [2, len(EVENTS) + 1]
    assert len(list(found.items)) == len(EVENTS) - 1


def test_the_place_of_an_event_in_json_is_its_line_and_byte(tmp_path):
    lines = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in DUMPED).replace("lsass", "lsäss")
    (tmp_path / "capi2.jsonl").write_text(lines.replace("\n", "\n{}\n", 1), encoding="utf-8")
    items = list(extract(tmp_path / "capi2.jsonl").items)
    data = (tmp_path / "capi2.jsonl").read_bytes()
    for number, event in enumerate(items):
        assert event.origin.line == number + 1 + (number > 0)
        system = json.loads(data[event.origin.offset :].splitlines()[0])["Event"]["System"]
        assert system["EventRecordID"] == event.origin.record


def test_a_first_event_that_is_longer_than_the_head_of_the_file_is_recognized():
    long = json.loads(json.dumps(DUMPED[0]))
    long["Event"]["UserData"]["Long"] = "x" * 200_000
    assert recognize(json_lines([long])[:65536].encode()) == "event-json"
    assert recognize(json.dumps({"Name": "x" * 200_000})[:65536].encode()) == "json"


def test_a_flattened_catalog_beside_a_whole_export_takes_nothing_from_it(tmp_path, expected):
    catalog = [
        {
            "system": {**FLATTENED["system"], "event_id": value["Event"]["System"]["EventID"]},
            "user_data": value["Event"]["UserData"],
        }
        for value in DUMPED
    ]
    (tmp_path / "a-catalog.json").write_text(json.dumps(catalog))
    (tmp_path / "evtx_dump.jsonl").write_text(json_lines(DUMPED))
    assert rows(extract(tmp_path)) == expected[0]
    assert rows(extract(tmp_path, as_operations=True)) == expected[1]


def test_events_of_other_channels_in_json_are_read_too(tmp_path):
    schannel = (
        '<Event><System><Provider Name="Schannel"/><EventID>36882</EventID><Level>2</Level><TimeCreated '
        'SystemTime="2026-03-10T08:14:02Z"/><EventRecordID>7</EventRecordID><Execution ProcessID="1" ThreadID="2"/>'
        '<Channel>System</Channel><Computer>EX01</Computer></System><EventData><Data Name="Error">20</Data></EventData>'
        "</Event>"
    )
    root = tree(etree.fromstring(schannel))
    beat: dict[str, Any] = {
        "winlog": {"channel": "System", "provider_name": "Schannel", "event_id": "36882", "record_id": 7}
    }
    beat["winlog"] |= {"computer_name": "EX01", "event_data": {"Error": "20"}}
    beat["@timestamp"] = "2026-03-10T08:14:02.000Z"
    row = {
        **evtxecmd(schannel.replace("EventData>", "UserData>")),
        "Payload": json.dumps({"EventData": root["EventData"]}),
    }
    catalog = {"system": {**FLATTENED["system"], "provider": "Schannel", "channel": "System", "event_id": 36882}}
    catalog["system"]["computer"] = "EX01"
    for value in ({"Event": root}, beat, row, {**catalog, "event_data": {"Error": "20"}}):
        (tmp_path / "events.jsonl").write_text(json_lines([value]))
        (context,) = analyze(tmp_path).context
        assert (context.kind, context.code, context.host) == ("schannel", "36882", "EX01")


def test_an_event_without_system_is_said_to_have_no_time(tmp_path):
    text = "<Event><UserData><CertVerifyRevocation><Result value='800B0109'/></CertVerifyRevocation></UserData></Event>"
    (tmp_path / "event.xml").write_text(text)
    (tmp_path / "whole.xml").write_bytes(FORMS["qe.xml"])
    found = extract(tmp_path)
    assert len(list(found.items)) == len(EVENTS)
    (loss,) = found.losses
    assert "no System part, and so no time" in loss.reason


ZEROED_CHUNK = FORMS["capi2.evtx"][:4096] + b"\0" * 65536
UNREADABLE = {
    "a zeroed chunk": ("Microsoft-Windows-CAPI2%4Operational.evtx", ZEROED_CHUNK),
    "zeroed as a whole": ("logs/EX01-capi2.evtx", bytes(8192)),
    "JSON without UserData": ("events.json", WITHOUT_FACTS["get-winevent.json"]),
    "messages only": ("events.csv", WITHOUT_FACTS["events.csv"]),
    "Friendly view": ("friendly.txt", WITHOUT_FACTS["friendly.txt"]),
    "XML that cannot be parsed": ("events.xml", EVENTS[0].replace('"', "\u201d").encode()),
    "a page": ("escaped.htm", WITHOUT_FACTS["escaped.htm"]),
    "times in a culture's format": (
        "evtxecmd.csv",
        as_csv([{**ECMD[0], "TimeCreated": "01.12.2016 03:09"}]).encode(),
    ),
}


@pytest.mark.parametrize(("name", "content"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_capi2_log_that_could_not_be_read_is_not_called_absent(name, content, tmp_path):
    files = {name: content, "SEND.LOG": send(refused(CERT))}
    report = analyze_files(tmp_path, files)
    (finding,) = [item for item in report.findings if item.cause == "unexplained"]
    texts = [item.text for item in finding.missing]
    assert any("nothing of it could be read" in text for text in texts)
    assert not any("No CAPI2 Operational" in text or "lie outside of it" in text for text in texts)
    assert [loss.origin.source for loss in report.losses] == [name]
    # Where another export of it can be read, nothing is asked for.
    report = analyze_files(tmp_path, {"other.evtx": FORMS["capi2.evtx"]})
    texts = [part.text for item in report.findings for part in item.missing]
    assert not any("nothing of it could be read" in text for text in texts)


@pytest.mark.parametrize(
    ("name", "content"),
    [("Security.evtx", b"MZ" * 4096), ("Security.evtx", bytes(8192)), ("about CAPI2.txt", b"how to export it\n")],
)
def test_other_files_are_no_capi2_log_that_could_not_be_read(name, content, tmp_path):
    report = analyze_files(tmp_path, {name: content, "SEND.LOG": send(refused(CERT))})
    texts = [part.text for finding in report.findings for part in finding.missing]
    assert any("No CAPI2 Operational log" in text for text in texts)
    # An event log that holds nothing is a loss, but none of the CAPI2 log.
    assert [loss.origin.source for loss in report.losses] == [name] * name.endswith(".evtx")


NAMES = st.sampled_from(
    [
        "Event",
        "System",
        "UserData",
        "EventData",
        "Data",
        "#attributes",
        "#text",
        "@Name",
        "Provider",
        "Provider_attributes",
        "system",
        "user_data",
        "event_data",
        "winlog",
        "channel",
        "provider",
        "event_id",
        "provider_name",
        "_source",
        "hits",
        "Payload",
        "ProviderName",
        "LogName",
        "x_1",
        "x",
        "a b",
        "é",
        *ECMD[0],
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(
        ["Microsoft-Windows-CAPI2", "Microsoft-Windows-CAPI2/Operational", "<Event ></Event>", '{"UserData": {}}', "{"]
    )
)
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6))


@given(st.lists(ANYTHING, min_size=1, max_size=4), st.binary(max_size=3))
@settings(max_examples=examples(300))
def test_no_json_is_a_crash(values, tail):
    data = json_lines(values).encode() + tail
    for reader in (read_event_json, read_event_csv):
        records = list(reader(io.BytesIO(data), Origin(source="x")))
        assert all(isinstance(record, EventRecord | Loss) for record in records)
        for record in records:
            if isinstance(record, EventRecord):
                normalize(record)
    recognize(data)


@pytest.mark.parametrize("depth", [300, 900, 5000])
def test_json_that_is_nested_deeply_is_a_loss_or_nothing(depth, tmp_path):
    nested = '{"Event": {"System": {}, "UserData": ' + '{"a": ' * depth + "1" + "}" * depth + "}}"
    list(read_event_json(io.BytesIO(nested.encode()), Origin(source="x")))
    (tmp_path / "deep.json").write_text(json_lines(DUMPED) + nested)
    assert len(list(extract(tmp_path).items)) == len(EVENTS)
