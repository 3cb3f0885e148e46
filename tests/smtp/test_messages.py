"""Message tracking, reports, context, hosts, and one rejection with several origins; then whole cases end to end."""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from smtp_case import analyze, rejections

import evtx_analyzer
from evtx_analyzer.read import outlook
from samples import capi2
from samples.capi2 import PARTIAL_CHAIN, Recorder
from samples.cases import HOST, KB_TIME, LEAF
from samples.smtp import FRONT_END, REFUSAL, W3C_HEADER, SendSession, iis_session, send_log

LED = "550 5.7.64 TenantAttribution; Relay Access Denied [AM0PR01MB1234.eurprd01.prod.outlook.com]"
STATUS = f"[{{LED={LED}}};{{MSG=}};{{FQDN=contoso-com.mail.protection.outlook.com}};{{IP=216.32.181.234}};{{LRT=29.01.2025 20:07:29}}]"
COLUMNS = (
    "date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,"
    "internal-message-id,message-id,recipient-address,recipient-status,total-bytes,recipient-count,"
    "related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,"
    "tenant-id,original-client-ip,original-server-ip,custom-data"
)
TRACKING = (
    "#Software: Microsoft Exchange Server\r\n#Version: 15.01.2375.007\r\n#Log-type: Message Tracking Log\r\n"
    f"#Date: 2016-12-01T03:00:00.000Z\r\n#Fields: {COLUMNS}\r\n"
)


def tracking_row(time="2016-12-01T03:09:55.801Z", **changes):
    values = {
        "client-ip": "10.10.248.7",
        "client-hostname": "CORP-SMTP1.ServerName.com",
        "server-ip": "216.32.181.234",
        "server-hostname": "contoso-com.mail.protection.outlook.com",
        "source-context": "08D50D3D9730A8D2",
        "connector-id": "Outbound to Office 365",
        "source": "SMTP",
        "event-id": "FAIL",
        "message-id": "<a4@servername.com>",
        "recipient-address": "b@fabrikam.com",
        "recipient-status": STATUS,
        "sender-address": "a@servername.com",
        "custom-data": "S:AccountForest=x;y=z",
        **changes,
    }
    cells = [time] + [values.get(name, "") for name in COLUMNS.split(",")[1:]]
    return (
        ",".join('"' + cell.replace('"', '""') + '"' if "," in cell or '"' in cell else cell for cell in cells) + "\r\n"
    )


def statuses(report):
    return sorted((rejection.rcpt_to, rejection.reply, rejection.host) for rejection in rejections(report))


HOSTED = "CORP-SMTP1"
REORDERED = f"[{{LRT=1/29/2025 7:07:29 PM}};{{IP=216.32.181.234}};{{FQDN=x.outlook.com}};{{MSG=}};{{LED={LED}}}]"
GOOD = "[{LED=250 2.1.5 OK};{MSG=};{FQDN=x};{IP=};{LRT=}]"
EXPORT_HEADER = '"PSComputerName","Timestamp","ClientIp","ClientHostname","ServerIp","ServerHostname","SourceContext","ConnectorId","Source","EventId","MessageId","Recipients","RecipientStatus","Sender"\r\n'


def export_row(timestamp, status=STATUS, event="FAIL"):
    return (
        f'"x","{timestamp}","10.10.248.7","CORP-SMTP1","216.32.181.234","x","08D50D3D9730A8D2","Outbound","SMTP","{event}",'
        f'"<a4@servername.com>","b@fabrikam.com","{status}","a@servername.com"\r\n'
    )


LIST_TEXT = """
RunspaceId              : 11111111-2222-3333-4444-555555555555
Timestamp               : {time}
ClientIp                : 10.10.248.7
ClientHostname          : CORP-SMTP1
Source                  : SMTP
EventId                 : FAIL
MessageId               : <a4@servername.com>
Recipients              : {{b@fabrikam.com}}
RecipientStatus         : {{[{{LED=550 5.7.64 TenantAttribution; Relay
                          Access Denied
                          [AM0PR01MB1234.eurprd01.prod.outlook.com]}};{{MSG=}};{{FQDN=x}};{{IP=}};{{LRT=}}]}}
Sender                  : a@servername.com
MessageSubject          : 5.7.64 : a subject

RunspaceId              : 11111111-2222-3333-4444-555555555555
Timestamp               : {other}
EventId                 : RECEIVE
Source                  : SMTP
MessageId               : <a5@servername.com>
Recipients              : {{c@fabrikam.com}}
RecipientStatus         : {{}}
"""
CLIXML = f"""<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">
  <Obj RefId="0"><TN RefId="0"><T>Microsoft.Exchange.Management.TransportLogSearchTasks.MessageTrackingEvent</T></TN>
    <ToString>x</ToString>
    <Props>
      <DT N="Timestamp">2016-12-01T04:09:55.801+01:00</DT><S N="ClientHostname">CORP-SMTP1</S><S N="Source">SMTP</S>
      <S N="EventId">FAIL</S><S N="MessageId">&lt;a4@servername.com&gt;</S>
      <Obj N="Recipients" RefId="1"><LST><S>b@fabrikam.com</S><S>c@fabrikam.com</S></LST></Obj>
      <Obj N="RecipientStatus" RefId="2"><LST><S>{STATUS}</S><S>{GOOD}</S></LST></Obj>
      <S N="Sender">a@servername.com</S>
    </Props>
  </Obj>
</Objs>"""
TRACKED = [("b@fabrikam.com", LED, HOSTED)]
TRACKING_CASES = {
    # files, options, (recipient, reply, host), time of the first
    "log": ({"MSGTRK.LOG": TRACKING + tracking_row()}, {}, TRACKED, "03:09:55"),
    "log with more columns, in another order": (
        {
            "MSGTRK.LOG": "#Log-type: Message Tracking Log\r\n#Fields: date-time,extra,event-id,source,recipient-status,"
            f"recipient-address,client-hostname\r\n2016-12-01T03:09:55.801Z,x,FAIL,SMTP,{STATUS},b@fabrikam.com,CORP-SMTP1\r\n"
        },
        {},
        TRACKED,
        "03:09:55",
    ),
    "keys in another order": (
        {"M.LOG": TRACKING + tracking_row(**{"recipient-status": REORDERED})},
        {},
        TRACKED,
        "03:09:55",
    ),
    "plain status": ({"M.LOG": TRACKING + tracking_row(**{"recipient-status": LED})}, {}, TRACKED, "03:09:55"),
    "two recipients, one refused": (
        {
            "M.LOG": TRACKING
            + tracking_row(**{"recipient-address": "c@x.com;b@fabrikam.com", "recipient-status": f"{GOOD};{STATUS}"})
        },
        {},
        TRACKED,
        "03:09:55",
    ),
    "one status for two recipients": (
        {"M.LOG": TRACKING + tracking_row(**{"recipient-address": "b@fabrikam.com;c@x.com"})},
        {},
        [*TRACKED, ("c@x.com", LED, HOSTED)],
        "03:09:55",
    ),
    "not a failure": ({"M.LOG": TRACKING + tracking_row(**{"event-id": "SEND"})}, {}, [], ""),
    "CSV, columns in lower case": (
        {"t.csv": EXPORT_HEADER.lower() + export_row("01.12.2016 04:09:55")},
        {"tz": "Europe/Berlin"},
        TRACKED,
        "03:09:55",
    ),
    "CSV, German": (
        {"t.csv": "#TYPE X\r\n" + EXPORT_HEADER + export_row("01.12.2016 04:09:55")},
        {"tz": "Europe/Berlin"},
        TRACKED,
        "03:09:55",
    ),
    "CSV, US": (
        {"t.csv": EXPORT_HEADER + export_row("11/30/2016 10:09:55 PM")},
        {"tz": "America/New_York"},
        TRACKED,
        "03:09:55",
    ),
    "CSV, UTF-16, semicolons": (
        {
            "t.csv": (
                "\ufeff"
                + (EXPORT_HEADER + export_row("2016/12/1 4:09:55", LED.replace(";", ","))).replace('","', '";"')
            ).encode("utf-16-le")
        },
        {"tz": "Europe/Berlin"},
        [("b@fabrikam.com", LED.replace(";", ","), HOSTED)],
        "03:09:55",
    ),
    "list text": (
        {"t.txt": LIST_TEXT.format(time="11/30/2016 10:09:55 PM", other="11/30/2016 10:10:00 PM")},
        {"tz": "America/New_York"},
        TRACKED,
        "03:09:55",
    ),
    "Clixml keeps the offset": ({"t.xml": CLIXML}, {}, TRACKED, "03:09:55"),
}


@pytest.mark.parametrize(("files", "options", "expected", "time"), TRACKING_CASES.values(), ids=TRACKING_CASES)
def test_refusals_of_message_tracking(tmp_path, files, options, expected, time):
    report = analyze(tmp_path, files, **options)
    assert statuses(report) == expected
    assert {f"{rejection.time:%H:%M:%S}" for rejection in rejections(report)} == ({time} if time else set())
    assert not report.losses


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("contoso-com.mail.protection.outlook.com", "216.32.181.234")),
        ({"recipient-status": LED}, ("edge.contoso.com", "10.0.0.9")),
        ({"recipient-status": f"[{{LED={LED}}};{{MSG=}};{{FQDN=}};{{IP=}}]"}, ("edge.contoso.com", "10.0.0.9")),
        ({"recipient-status": LED, "source": "ROUTING"}, ("", "")),  # server columns are this server's then
    ],
)
def test_a_row_of_tracking_tells_the_other_side_and_nothing_of_the_session(tmp_path, values, expected):
    """The status of a recipient names the server of the last attempt; without it, the row's server is that."""
    row = tracking_row(**{"server-hostname": "edge.contoso.com", "server-ip": "10.0.0.9", **values})
    (found,) = rejections(analyze(tmp_path, {"M.LOG": TRACKING + row}))
    assert (found.remote_name, found.remote_endpoint) == expected
    shown = found.starttls, found.from_start, found.tls, found.sent, found.received, found.handshake_time, found.helo
    assert shown == (False, False, "", None, None, None, "")


def test_an_export_without_statuses_says_so(tmp_path):
    files = {"t.csv": EXPORT_HEADER + export_row("2016-12-01 04:09:55", "System.String[]"), "SEND.LOG": SEND}
    report = analyze(tmp_path, files)
    (loss,) = report.losses
    assert (loss.origin.source, loss.origin.line) == ("t.csv", 2)
    assert "Export-Clixml" in loss.reason
    assert {source.path: source.status for source in report.sources} == {"t.csv": "not-read", "SEND.LOG": "read"}


def test_other_failures_of_tracking_are_listed(tmp_path):
    status = STATUS.replace("550 5.7.64 TenantAttribution; Relay Access Denied", "550 5.7.51 TenantInboundAttribution")
    report = analyze(tmp_path, {"M.LOG": TRACKING + tracking_row(**{"recipient-status": status})})
    assert [(other_error.code, other_error.kind) for other_error in report.other_errors] == [
        ("550 5.7.51", "message-tracking")
    ]
    assert report.rejection_count == 0


# ------------------------------------------------------------------------------------------------------- reports

NDR = """From: <postmaster@servername.com>
To: <a@servername.com>
Date: Thu, 1 Dec 2016 04:09:58 +0100
Subject: =?utf-8?B?VW56dXN0ZWxsYmFyOiBUZXN0?=
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: base64

{prose}
--b1
Content-Type: message/delivery-status

Reporting-MTA: dns;CORP-SMTP1.ServerName.com
Received-From-MTA: dns;CLIENT1
Arrival-Date: Thu, 1 Dec 2016 03:09:50 +0000

Final-Recipient: rfc822;b@fabrikam.com
Action: failed
Status: 5.7.64
Diagnostic-Code: smtp;{diagnostic}
Remote-MTA: dns;contoso-com.mail.protection.outlook.com
X-Display-Name: B

Final-Recipient: rfc822;c@fabrikam.com
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found

--b1
Content-Type: message/rfc822

From: A <a@servername.com>
To: <b@fabrikam.com>
Message-ID: <a4@servername.com>
Subject: Test

Hello
--b1--
"""
PROSE = base64.b64encode(b"Fehler bei der Nachrichtenzustellung 5.7.64").decode()


def ndr(diagnostic=LED):
    return NDR.format(prose=PROSE, diagnostic=diagnostic).replace("\n", "\r\n")


@pytest.mark.parametrize(
    "diagnostic",
    [
        LED,
        LED.replace("5.7.64 ", "5.7.64\n "),
        LED.replace("5.7.64", "5.7.\n 64"),
        f"#{LED.replace('550 5', '550 #5')}##",
    ],
    ids=["plain", "folded", "folded inside the code", "with hashes"],
)
def test_refusals_of_reports(tmp_path, diagnostic):
    report = analyze(tmp_path, {"ndr.eml": ndr(diagnostic)})
    (found,) = rejections(report)
    assert (found.rcpt_to, found.mail_from, found.message_id) == (
        "b@fabrikam.com",
        "a@servername.com",
        "<a4@servername.com>",
    )
    assert (found.host, found.host_basis) == ("CORP-SMTP1", "row")
    assert found.time == datetime(2016, 12, 1, 3, 9, 58, tzinfo=UTC)
    assert found.remote_host == "AM0PR01MB1234.eurprd01.prod.outlook.com"
    assert [other_error.code for other_error in report.other_errors] == ["550 5.1.10"]


def test_a_report_made_by_exchange_online_names_no_sending_host(tmp_path):
    text = ndr().replace("CORP-SMTP1.ServerName.com", "AM0PR01MB1234.eurprd01.prod.outlook.com")
    (found,) = rejections(analyze(tmp_path, {"ndr.eml": text}))
    assert (found.host, found.host_basis) == ("", "unknown")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_report_that_powershell_wrote_anew(tmp_path, encoding):
    """``Get-Content a.eml > b.eml`` writes UTF-16 with a byte order mark."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (found,) = rejections(analyze(tmp_path, {"ndr.eml": (mark + ndr()).encode(encoding)}))
    assert (found.host, found.host_basis) == ("CORP-SMTP1", "row")


def test_a_forwarded_report_is_found(tmp_path):
    inner = ndr().replace("\r\n", "\n")
    outer = (
        "From: x@y.z\nDate: Fri, 2 Dec 2016 10:00:00 +0000\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="o"\n\n--o\nContent-Type: message/rfc822\n\n' + inner + "\n--o--\n"
    )
    (found,) = rejections(analyze(tmp_path, {"fw.eml": outer}))
    assert found.time == datetime(2016, 12, 1, 3, 9, 58, tzinfo=UTC)


def compound(streams):
    """A minimal compound file (MS-CFB 3): one storage per folder, small streams in the mini stream."""
    sector, mini = 512, 64
    folders = sorted({name.rpartition("/")[0] for name in streams} - {""})
    names = ["Root Entry", *folders, *sorted(streams)]
    number = {name: place for place, name in enumerate(names)}
    ministream, minifat, starts = b"", [], {}
    for name in sorted(streams):
        blocks = max(1, -(-len(streams[name]) // mini))
        starts[name] = len(minifat)
        minifat += [len(minifat) + place + 1 for place in range(blocks - 1)] + [0xFFFFFFFE]
        ministream += streams[name].ljust(blocks * mini, b"\0")
    directory = b""
    for name in names:
        inside = [n for n in names[1:] if n.rpartition("/")[0] == ("" if name == "Root Entry" else name)]
        inside = [] if name in streams else inside
        siblings = [n for n in names[1:] if n != "Root Entry" and n.rpartition("/")[0] == name.rpartition("/")[0]]
        after = siblings[siblings.index(name) + 1] if name in siblings and name != siblings[-1] else ""
        text = name.rpartition("/")[2].encode("utf-16-le") + b"\0\0"
        root, stream = name == "Root Entry", name in streams
        start = 0 if root else starts.get(name, 0)
        size = len(ministream) if root else len(streams.get(name, b""))
        directory += (
            text.ljust(64, b"\0")
            + struct.pack(
                "<HBBIII",
                len(text),
                5 if root else 2 if stream else 1,
                1,
                0xFFFFFFFF,
                number.get(after, 0xFFFFFFFF),
                number[inside[0]] if inside else 0xFFFFFFFF,
            )
            + b"\0" * 16
            + struct.pack("<IQQIQ", 0, 0, 0, start, size)
        )
    ministream = ministream.ljust(-(-len(ministream) // sector) * sector, b"\0")
    directory = directory.ljust(-(-len(directory) // sector) * sector, b"\0")
    small = struct.pack(f"<{len(minifat)}I", *minifat)
    small = small.ljust(-(-len(small) // sector) * sector, b"\xff")
    parts = [ministream, directory, small]
    fat, begin = [], []
    for part in parts:
        begin.append(len(fat))
        count = len(part) // sector
        fat += [len(fat) + place + 1 for place in range(count - 1)] + [0xFFFFFFFE]
    fat.append(0xFFFFFFFD)
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(sector, b"\xff")
    header = (
        bytes.fromhex("D0CF11E0A1B11AE1")
        + b"\0" * 16
        + struct.pack(
            "<HHHHH6xIIIIIIIIII",
            0x3E,
            3,
            0xFFFE,
            9,
            6,
            0,
            1,
            begin[1],
            0,
            4096,
            begin[2],
            len(small) // sector,
            0xFFFFFFFE,
            0,
            len(fat) - 1,
        )
    )
    return header.ljust(sector, b"\xff") + b"".join(parts) + table


def test_a_report_saved_from_outlook(tmp_path):
    olefile = pytest.importorskip("olefile")
    ticks = (
        int(
            (datetime(2016, 12, 1, 3, 9, 58, tzinfo=UTC) - datetime(1601, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)
        )
        * 10
    )
    recipient = "__recip_version1.0_#00000000"
    data = compound(
        {
            "__properties_version1.0": b"\0" * 32 + struct.pack("<HHIQ", 0x0040, 0x0E06, 6, ticks),
            "__substg1.0_1042001F": "<a4@servername.com>".encode("utf-16-le"),
            "__substg1.0_6820001F": "CORP-SMTP1.ServerName.com".encode("utf-16-le"),
            f"{recipient}/__properties_version1.0": b"\0" * 8,
            f"{recipient}/__substg1.0_39FE001F": "b@fabrikam.com".encode("utf-16-le"),
            f"{recipient}/__substg1.0_0C1B001E": f"<contoso.mail.protection.outlook.com #5.7.64 smtp;{LED}>".encode(),
        }
    )
    assert olefile.isOleFile(data=data)
    (found,) = rejections(analyze(tmp_path, {"ndr.msg": data}))
    assert (found.rcpt_to, found.message_id, found.host) == ("b@fabrikam.com", "<a4@servername.com>", "CORP-SMTP1")
    assert found.time == datetime(2016, 12, 1, 3, 9, 58, tzinfo=UTC)
    assert found.remote_host == "AM0PR01MB1234.eurprd01.prod.outlook.com"


OUTLOOK_BODY = "__substg1.0_1000001F"


def outlook_report(diagnostics, body):
    streams = {"__properties_version1.0": b"\0" * 32 + struct.pack("<HHIQ", 0x0040, 0x0E06, 6, 131_250_353_980_000_000)}
    streams[OUTLOOK_BODY] = body.encode("utf-16-le")
    for number, (address, diagnostic) in enumerate(diagnostics):
        storage = f"__recip_version1.0_#{number:08X}"
        streams[f"{storage}/__properties_version1.0"] = b"\0" * 8
        streams[f"{storage}/__substg1.0_39FE001F"] = address.encode("utf-16-le")
        streams[f"{storage}/__substg1.0_0C1B001E"] = diagnostic.encode()
    return compound(streams)


def test_what_lies_beyond_the_largest_message_is_a_loss(tmp_path, monkeypatch):
    pytest.importorskip("olefile")
    data = outlook_report([("b@fabrikam.com", f"<x #5.7.64 smtp;{LED}>")], "")
    monkeypatch.setattr(outlook, "_LARGEST", len(data))
    assert not analyze(tmp_path, {"ndr.msg": data}).losses
    report = analyze(tmp_path, {"ndr.msg": data + bytes(512)})
    assert [loss.extent for loss in report.losses] == ["what lies beyond"]


def test_a_report_saved_from_outlook_whose_text_alone_tells_the_refusal(tmp_path):
    pytest.importorskip("olefile")
    expired = "<relay #4.4.7 smtp;550 4.4.7 expired>"
    data = outlook_report([("b@fabrikam.com", expired)], f"Remote server said:\r\n{LED}\r\n")
    (found,) = rejections(analyze(tmp_path, {"ndr.msg": data}))
    assert (found.rcpt_to, found.reply) == ("b@fabrikam.com", LED)
    data = outlook_report([("b@fabrikam.com", expired), ("c@fabrikam.com", expired)], f"Remote server said: {LED}")
    report = analyze(tmp_path, {"ndr.msg": data})
    (loss,) = report.losses
    assert (report.rejection_count, report.exit_code) == (0, 3)
    assert "does not say for which recipient" in loss.reason


# ------------------------------------------------------------------------------------- one rejection, its origins


def refused(leaf=LEAF, start=KB_TIME - timedelta(microseconds=556180), **options):
    session = SendSession(start, "08D50D3D9730A8D2", **options).connect().starttls(leaf)
    return session.message(710, "a@servername.com", [("b@fabrikam.com", LED)], 4).quit(1100)


def test_the_same_refusal_in_three_logs_is_one(tmp_path):
    files = {"SEND.LOG": send_log([refused()]), "MSGTRK.LOG": TRACKING + tracking_row(), "ndr.eml": ndr()}
    report = analyze(tmp_path, files)
    (found,) = rejections(report)
    assert [origin.source for origin in found.origins] == ["SEND.LOG", "MSGTRK.LOG", "ndr.eml"]
    assert found.kinds == ("send-connector", "message-tracking", "ndr")
    assert (found.host, found.host_basis) == ("CORP-SMTP1", "row")
    assert found.sent.thumbprint == LEAF.thumbprint
    assert f"{found.time:%H:%M:%S.%f}" == "03:09:55.774000"


def test_a_message_that_is_refused_twice_is_two(tmp_path):
    later = refused(start=KB_TIME + timedelta(hours=2))
    later.session = "08D50D3D9730FFFF"
    rows = tracking_row() + tracking_row("2016-12-01T05:09:56.400Z", **{"source-context": ""})
    report = analyze(tmp_path, {"SEND.LOG": send_log([refused(), later]), "MSGTRK.LOG": TRACKING + rows})
    assert [len(rejection.origins) for rejection in rejections(report)] == [2, 2]


def test_one_reply_for_two_recipients_joins_both_rows_of_tracking(tmp_path):
    rows = tracking_row() + tracking_row(**{"recipient-address": "c@fabrikam.com"})
    session = SendSession(KB_TIME - timedelta(microseconds=556180), "08D50D3D9730A8D2").connect()
    session.message(
        710, "a@servername.com", [("b@fabrikam.com", "250 2.1.5 OK"), ("c@fabrikam.com", "250 2.1.5 OK")], 4
    )
    session.rows[-1] = (*session.rows[-1][:2], LED, "")
    report = analyze(tmp_path, {"SEND.LOG": send_log([session]), "MSGTRK.LOG": TRACKING + rows})
    (found,) = rejections(report)
    assert found.rcpt_to == "b@fabrikam.com; c@fabrikam.com"
    assert len(found.origins) == 3


def test_other_recipients_and_other_hosts_are_not_joined(tmp_path):
    other = tracking_row(**{"recipient-address": "z@fabrikam.com", "source-context": ""})
    far = tracking_row(
        "2016-12-01T03:09:55.790Z", **{"client-hostname": "EX02", "message-id": "<z@x>", "source-context": ""}
    )
    report = analyze(
        tmp_path, {"SEND.LOG": send_log([refused()]), "MSGTRK.LOG": TRACKING + other + far}, host={"SEND*": "EX01"}
    )
    assert report.rejection_count == 3


def test_whole_hours_between_two_logs_of_one_refusal_are_said(tmp_path):
    files = {"SEND.LOG": send_log([refused()]), "t.csv": EXPORT_HEADER + export_row("2016-12-01 05:09:55")}
    report = analyze(tmp_path, files, tz="Europe/Berlin")
    (found,) = rejections(report)
    assert f"{found.time:%H:%M}" == "03:09"
    (notes,) = [item.notes for item in report.coverage if item.source == "t.csv"]
    assert "1 hour after" in notes[0]


# ------------------------------------------------------------------------------------------------------- context

CONNECTIVITY = (
    "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: Transport Connectivity Log\r\n"
    "#Fields: date-time,session,source,Destination,direction,description\r\n"
    "2016-12-01T03:09:55.000Z,08D50D3D9730A8D2,SMTP,contoso.mail.protection.outlook.com,+,SmartHostConnectorDelivery\r\n"
    "2016-12-01T03:09:55.000Z,08D50D3D9730A8D3,SMTP,elsewhere.example,+,DnsConnectorDelivery\r\n"
)
QUEUE_CSV = '"Identity","NextHopDomain","LastError"\r\n"EX01\\4","contoso.com","451 4.4.0 DNS query failed"\r\n'
QUEUE = (
    "Identity       : EX01\\3\nDeliveryType   : SmartHost\nNextHopDomain  : [contoso.mail.protection.outlook.com]\n"
    "LastError      : [{LED=451 4.4.395 Target host responded with error};{MSG=};{FQDN=x};{IP=};{LRT=}]\n"
)


def system_event(provider, number, channel, *data):
    values = "".join(f"<Data>{value}</Data>" for value in data)
    return (
        '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System>'
        f'<Provider Name="{provider}"/><EventID Qualifiers="32772">{number}</EventID><Level>2</Level>'
        '<TimeCreated SystemTime="2016-12-01T03:09:55.400000000Z"/><EventRecordID>7</EventRecordID>'
        f"<Channel>{channel}</Channel><Computer>CORP-SMTP1.ServerName.com</Computer></System>"
        f"<EventData>{values}</EventData></Event>\n"
    )


def test_context_is_typed_by_id_and_never_counted(tmp_path):
    events = "".join(
        [
            system_event("MSExchangeTransport", 12014, "Application", "mail.servername.com"),
            system_event("MSExchangeTransport", 12014, "Application", "mail.servername.com"),
            system_event("MSExchangeTransport", 1035, "Application", "unrelated"),
            system_event("Schannel", 36882, "System"),
        ]
    )
    files = {
        "events.xml": events,
        "CONNECTLOG.LOG": CONNECTIVITY,
        "queue.txt": QUEUE,
        "queue.csv": QUEUE_CSV,
        "SEND.LOG": send_log([refused()]),
    }
    report = analyze(tmp_path, files)
    assert [(item.kind, item.code, item.count) for item in report.context] == [
        ("connectivity", "", 1),
        ("exchange-transport", "12014", 2),
        ("queue", "451 4.4.0", 1),
        ("queue", "451 4.4.395", 1),
        ("schannel", "36882", 1),
    ]
    assert report.context[0].title == "connection to contoso.mail.protection.outlook.com"
    assert report.rejection_count == 1
    assert not report.losses


def test_a_queue_that_was_refused_is_no_absence(tmp_path):
    refused_queue = {"queue.txt": QUEUE.replace("451 4.4.395 Target host responded with error", LED)}
    report = analyze(tmp_path, refused_queue)
    assert (report.rejection_count, report.exit_code) == (0, 3)
    assert ["queue's last error holds 5.7.64" in loss.reason for loss in report.losses] == [True]
    assert analyze(tmp_path, {"queue.txt": QUEUE}).losses == ()
    assert analyze(tmp_path, {**refused_queue, "SEND.LOG": send_log([refused()])}).losses == ()


MESSAGE = {
    "Identity": r"EX01\3\12345",
    "InternetMessageId": "<m1@contoso.com>",
    "FromAddress": "a@contoso.com",
    "Status": "Retry",
    "LastError": f"[{{LED={LED}}};{{MSG=}};{{FQDN=}};{{IP=216.32.181.234}};{{LRT=3/10/2026 8:14:02 AM}}]",
    "Queue": r"EX01\3",
}
OF_QUEUES = {
    "messages, list text": "\n".join(f"{name:<18}: {value}" for name, value in MESSAGE.items()),
    "messages, CSV": ",".join(f'"{name}"' for name in MESSAGE)
    + "\n"
    + ",".join(f'"{text}"' for text in MESSAGE.values()),
    "messages, JSON": json.dumps([MESSAGE]),
    "queues, JSON": json.dumps({"Identity": r"EX01\3", "NextHopDomain": "x", "LastError": LED}),
}


@pytest.mark.parametrize("export", OF_QUEUES.values(), ids=OF_QUEUES)
def test_a_message_in_a_queue_that_was_refused_is_no_absence(tmp_path, export):
    report = analyze(tmp_path, {"queue.txt": export})
    assert (report.rejection_count, report.exit_code) == (0, 3)
    assert [loss.reason.rpartition(": ")[2] for loss in report.losses] == [
        "give the Send connector log and the message tracking of that server"
    ]
    assert [(row.kind, row.code, row.host) for row in report.context] == [("queue", "550 5.7.64", "EX01")]
    assert analyze(tmp_path, {"queue.txt": export, "SEND.LOG": send_log([refused()])}).losses == ()


@pytest.mark.parametrize("time", ["/Date(1480561795774)/", "2016-12-01T03:09:55.774Z", "2016-12-01T04:09:55.774+01:00"])
def test_message_tracking_as_json(tmp_path, time):
    """Windows PowerShell 5.1 writes milliseconds since 1970, PowerShell 7 ISO 8601."""
    row = {
        "Timestamp": time,
        "Source": "SMTP",
        "EventId": "FAIL",
        "MessageId": "<m1@contoso.com>",
        "Recipients": ["b@fabrikam.com"],
        "RecipientStatus": [f"[{{LED={LED}}};{{MSG=}};{{FQDN=}};{{IP=}};{{LRT=}}]"],
        "Sender": "a@contoso.com",
    }
    (rejection,) = rejections(analyze(tmp_path, {"t.json": json.dumps([row])}))
    assert (rejection.time, rejection.time_basis) == (datetime(2016, 12, 1, 3, 9, 55, 774000, UTC), "utc")
    assert (rejection.rcpt_to, rejection.message_id) == ("b@fabrikam.com", "<m1@contoso.com>")


@pytest.mark.parametrize(
    ("number", "is_context"),
    # "Schannel Events" (dn786445): 36864 the package has loaded, 36867 a credential is created, both routine.
    [(number, True) for number in (36869, 36870, 36872, 36873, 36875, 36876, 36881, 36883)]
    + [(36864, False), (36867, False)],
)
def test_schannel_events_of_credentials_and_certificates_are_read(tmp_path, number, is_context):
    files = {"system.xml": system_event("Schannel", number, "System"), "SEND.LOG": send_log([refused()])}
    assert [item.code for item in analyze(tmp_path, files).context] == [str(number)] * is_context


def test_get_eventlog_entries_in_clixml(tmp_path):
    text = (
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><Props>'
        '<S N="MachineName">EX01.contoso.com</S><I32 N="EventID">12016</I32><S N="Source">MSExchangeTransport</S>'
        '<DT N="TimeGenerated">2016-12-01T04:09:55+01:00</DT></Props></Obj></Objs>'
    )
    (found,) = analyze(tmp_path, {"EX01_Application.xml": text}).context
    assert (found.code, found.host, found.first) == ("12016", "EX01", datetime(2016, 12, 1, 3, 9, 55, tzinfo=UTC))


def test_text_with_the_code_in_no_known_format_is_unrecognized_evidence(tmp_path):
    files = {
        "mail.log": "Dec  1 03:09:55 relay postfix/smtp[1]: status=bounced (host said: 550 5.7.64 TenantAttribution)\n",
        "AGENT.LOG": "#Log-type: Agent Log\r\n#Fields: Timestamp,x\r\n2016-12-01T03:09:55.000Z,550 5.7.64\r\n",
        "SEND.LOG": send_log([refused()]),
    }
    report = analyze(tmp_path, files)
    assert [loss.origin.source for loss in report.losses] == ["AGENT.LOG", "mail.log"]
    assert {source.path: source.status for source in report.sources} == {
        "AGENT.LOG": "unrecognized",
        "SEND.LOG": "read",
        "mail.log": "unrecognized",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Dec  1 relay postfix/smtp[1]: status=bounced (host said: 550 5.7.64 TenantAttribution)\n", True),
        ("Dec  1 relay postfix/smtp[1]: status=bounced (host said: 550 5.1.1 unknown)\n", False),
        ("#Log-type: Agent Log\r\n#Fields: Timestamp,x\r\n2016-12-01T03:09:55.000Z,550 5.7.64\r\n", True),
    ],
)
def test_a_single_file_of_no_known_format_is_refused_and_its_code_is_said(tmp_path, text, said):
    with pytest.raises(evtx_analyzer.InputError) as refused_input:
        analyze(tmp_path, {"mail.log": text})
    assert ("it holds the text 5.7.64" in str(refused_input.value)) is said


# --------------------------------------------------------------------------------------------------------- hosts

SEND = send_log([refused()])
RECEIVE = (
    SEND.partition("2016-12-01T03:09:55")[0].replace("Send Protocol", "Receive Protocol")
    + "2016-12-01T03:00:00.000Z,EX07\\Default Frontend EX07,08D5000000000001,0,10.10.248.7:25,10.1.1.1:5000,+,,\r\n"
)
HOST_CASES = {
    # files, options, (host, basis)
    "nothing names it": ({"SEND.LOG": SEND}, {}, ("", "unknown")),
    "option for all": ({"SEND.LOG": SEND}, {"host": "ex09.contoso.com"}, ("EX09", "option")),
    "option by pattern": ({"EX01/SEND.LOG": SEND}, {"host": ["EX01=EX09", "EX02=EX08"]}, ("EX09", "option")),
    # A folder that is called like another machine is not taken for the one that is known.
    "option of another folder": ({"EX01/SEND.LOG": SEND}, {"host": ["EX02=EX08"]}, ("", "unknown")),
    "collector's archive": ({"EX01-1123.zip/Hub_Send.zip/SEND.LOG": SEND}, {}, ("EX01", "folder")),
    "collector's folder": ({"20261123/EX01/SEND.LOG": SEND}, {}, ("EX01", "folder")),
    "copied share": ({"EX01/c$/logs/SEND.LOG": SEND}, {}, ("EX01", "folder")),
    "an archive that is no day": ({"EX01-4711.zip/SEND.LOG": SEND}, {}, ("", "unknown")),
    "a case's archive": ({"case-1123.zip/SEND.LOG": SEND}, {}, ("", "unknown")),
    "Receive log with the same address": ({"r/RECV.LOG": RECEIVE, "s/SEND.LOG": SEND}, {}, ("EX07", "address")),
}


@pytest.mark.parametrize(("files", "options", "expected"), HOST_CASES.values(), ids=HOST_CASES.keys())
def test_hosts(tmp_path, files, options, expected):
    (found,) = rejections(analyze(tmp_path, files, **options))
    assert (found.host, found.host_basis) == expected


def capi2_xml(host=HOST, time=KB_TIME, leaf=LEAF):
    recorder = Recorder(host, next_record=100)
    broken: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
    capi2.check(recorder, time, [(leaf, 0)], seed=f"{host}", **broken)
    return "\n".join(recorder.events)


def test_different_hosts_are_not_paired_beyond_possible(tmp_path):
    files = {"20261123/EX01/SEND.LOG": SEND, "20261123/EX02/capi2.xml": capi2_xml("EX02.servername.com")}
    report = analyze(tmp_path, files)
    assert report.verdict.grade != "probable"
    assert {link.host for incident in report.incidents for link in incident.links} <= {"different"}


def test_two_hosts_are_paired_each_with_its_own(tmp_path):
    files = {}
    for name in ("EX01", "EX02"):
        # No two machines write the same bytes: the very same file twice is one file, and counts once.
        files[f"20261123/{name}/SmtpSend/SEND.LOG"] = SEND.replace(":16547", f":1654{name[-1]}")
        files[f"20261123/{name}/capi2.xml"] = capi2_xml(f"{name}.servername.com")
    report = analyze(tmp_path, files)
    assert [(item.host, item.rejection_count, item.grades["missing-intermediate"]) for item in report.incidents] == [
        ("EX01", 1, "probable"),
        ("EX02", 1, "probable"),
    ]
    assert {link.host for incident in report.incidents for link in incident.links} == {"same"}


# ---------------------------------------------------------------------------------------------------- end to end


def test_exchange_server(tmp_path):
    files = {
        "Hub/ProtocolLog/SmtpSend/SEND2016120103-1.LOG": SEND,
        "MessageTracking/MSGTRK2016120103-1.LOG": TRACKING + tracking_row(),
        "capi2.xml": capi2_xml(),
        "ndr.eml": ndr(),
    }
    report = analyze(tmp_path, files)
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "probable")
    assert report.rejection_count == 1
    (incident,) = report.incidents
    assert {link.host for link in incident.links} == {"same"}


def test_iis_smtp_relay_in_local_time(tmp_path):
    row = (
        "216.32.181.234, {name}, 12/1/2016, {time}, SMTPSVC1, CORP-SMTP1, -, {ms}, 0, 4, 0, 0, {verb}, -, {text} ,\r\n"
    )
    command, response = "OutboundConnectionCommand", "OutboundConnectionResponse"
    rows = [
        (
            response,
            "4:09:55",
            90,
            "-",
            f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:09:55 +0000",
        ),
        (command, "4:09:55", 90, "EHLO", "CORP-SMTP1.ServerName.com"),
        (command, "4:09:55", 180, "STARTTLS", "-"),
        (response, "4:09:55", 270, "-", "220 2.0.0 SMTP server ready"),
        (command, "4:09:55", 500, "MAIL", "FROM:<crm@servername.com>"),
        (response, "4:09:55", 600, "-", "250 2.1.0 Sender OK"),
        (command, "4:09:55", 600, "RCPT", "TO:<b@fabrikam.com>"),
        (response, "4:09:56", 900, "-", REFUSAL),
    ]
    text = "".join(row.format(name=name, time=time, ms=ms, verb=verb, text=text) for name, time, ms, verb, text in rows)
    files = {"SMTPSVC1/in161201.log": text, "capi2.xml": capi2_xml()}
    report = analyze(tmp_path, files, tz="Europe/Berlin")
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "possible")
    (incident,) = report.incidents
    assert [(link.basis, link.host) for link in incident.links] == [("subject", "same")]

    unpaired = analyze(tmp_path, files)
    assert (unpaired.verdict.cause, unpaired.rejection_count) == ("unexplained", 1)
    assert "--tz" in unpaired.coverage[0].notes[0]


def test_edge_server(tmp_path):
    edge = "EDGE01.perimeter.example"
    files = {
        "EDGE01-1123.zip/Edge_Send_Protocol_Logs.zip/SEND2016120103-1.LOG": SEND,
        "EDGE01-1123.zip/capi2.xml": capi2_xml(edge),
        "EX01-1123.zip/capi2.xml": capi2_xml("EX01.servername.com", KB_TIME + timedelta(hours=3)),
    }
    report = analyze(tmp_path, files)
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "probable")
    assert [incident.host for incident in report.incidents] == ["EDGE01"]


# -------------------------------------------------------------------------------------------------------- tables


def test_tables(tmp_path):
    row = [(94, ">", "RCPT", "TO:<e@fabrikam.com>"), (884, "<", "", REFUSAL)]
    iis = W3C_HEADER.format(date="2016-12-01 03:14:20") + iis_session(KB_TIME, "CORP-SMTP1", row)
    files = {
        "SEND.LOG": SEND,
        "ex161201.log": iis,
        "MSGTRK.LOG": TRACKING + tracking_row(),
        "ndr.eml": ndr(),
        "x.bin": "?",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    sent = evtx_analyzer.read_send_log(tmp_path)
    assert len(sent) == SEND.count("\r\n") - 5
    assert list(sent[sent["data"].str.startswith("550")]["line"]) == [
        SEND[: SEND.index("550 5.7.64")].count("\r\n") + 1
    ]
    assert str(sent["time"].dtype) == "datetime64[us, UTC]"
    served = evtx_analyzer.read_iis_smtp(tmp_path)
    assert list(served["text"]) == ["RCPT TO:<e@fabrikam.com>", REFUSAL]
    assert list(served["time-taken"]) == [94, 884]
    tracked = evtx_analyzer.read_tracking([tmp_path / "MSGTRK.LOG"])
    assert list(tracked["recipient-status"]) == [LED]
    reports = evtx_analyzer.read_ndr(tmp_path)
    assert list(reports["Final-Recipient"]) == ["b@fabrikam.com", "c@fabrikam.com"]
    assert reports.attrs["losses"] == []


def test_the_command_line_takes_hosts_by_pattern_and_a_zone(tmp_path, capsys):
    from evtx_analyzer.cli import app

    (tmp_path / "SEND.LOG").write_text(SEND, encoding="utf-8", newline="")
    arguments = ["analyze", str(tmp_path), "--host", "SEND*=EX01", "--host", "RECV*=EX02", "--tz", "Europe/Berlin"]
    with pytest.raises(SystemExit) as stopped:
        app([*arguments, "--format", "json"])
    assert stopped.value.code == 1
    assert '"host": "SEND*=EX01, RECV*=EX02"' in capsys.readouterr().out


# ------------------------------------------------------------- fields as RFC 3464 says, and what only the text tells

REPLY = "550 5.7.64 TenantAttribution; Relay Access Denied [AM0PR01MB1234.eurprd01.prod.outlook.com]"
# The shape of Oracle/Sun Messaging Server: sisimai/set-of-emails maildir/bsd/lhost-messagingserver-*.eml.
MESSAGING_SERVER = """Return-path: <>
Date: Thu, 01 Dec 2016 03:09:58 +0000 (GMT)
From: postmaster@relay.contoso.com
MIME-version: 1.0
Content-type: multipart/report; report-type=delivery-status; boundary="B1"

--B1
Content-type: text/plain; charset=us-ascii

{text}

--B1
Content-type: message/delivery-status

Reporting-MTA: dns;relay.contoso.com (tcp-daemon)
Arrival-date: Thu, 01 Dec 2016 03:09:55 +0000 (GMT)

{recipients}
--B1
Content-type: text/rfc822-headers

{path}From: anna@contoso.com
Message-id: <a1@contoso.com>

--B1--
"""


def block(*fields, address="b@fabrikam.com"):
    return "\n".join((f"Original-recipient: rfc822;{address}", f"Final-recipient: rfc822;{address}", *fields)) + "\n"


def bounce(*blocks, text="Your message cannot be delivered.", path=""):
    return MESSAGING_SERVER.format(recipients="\n".join(blocks), text=text, path=path)


@pytest.mark.parametrize(
    "fields",
    [
        ("Action: failed", "Status: 5.7.64 (Remote SMTP server has rejected address)"),
        ("STATUS: (a (nested) comment) 5.7.64",),
        ("status:\n 5.7.64",),
        ("Status: 5.0.0", f"Diagnostic-code: smtp;{REPLY}"),
        ("Status: 5.0.0", f"DIAGNOSTIC-CODE: SMTP; {REPLY}"),
        ("Status: 5.0.0", f"Diagnostic-Code: X-Postfix; {REPLY}"),
        ("Status: 5.0.0", f"diagnostic-code: smtp;550-{REPLY[4:]}"),
        ("Status: 5.0.0", "Diagnostic-Code: smtp; 5.7.64 TenantAttribution; Relay Access Denied"),
        (f"Diagnostic-Code: {REPLY}",),
    ],
)
def test_fields_of_reports_are_read_whatever_their_case_and_comments(tmp_path, fields):
    fields += ("Remote-MTA: dns;contoso.mail.protection.outlook.com (TCP|192.0.2.4|47323|104.47.2.36|25)",)
    report = analyze(tmp_path, {"bounce.eml": bounce(block(*fields))})
    (found,) = rejections(report)
    assert (found.rcpt_to, found.host) == ("b@fabrikam.com", "RELAY")
    assert found.remote_name == "contoso.mail.protection.outlook.com"
    assert (report.other_errors, report.losses) == ((), ())


@pytest.mark.parametrize(
    "fields",
    [
        ("Status: 5.7.640",),
        ("Status: 15.7.64",),
        ("Status: 5.1.1 (5.7.64)",),  # a comment is no status
        ("Status: 5.1.1", "Diagnostic-Code: smtp;550 5.1.1 rejected by 203.5.7.64"),
        ("Status: 5.1.1", "Diagnostic-Code: smtp;550 5.1.1 rejected by 5.7.64.9"),
    ],
)
def test_what_only_looks_like_the_status_is_no_refusal(tmp_path, fields):
    report = analyze(tmp_path, {"bounce.eml": bounce(block(*fields))})
    assert report.rejection_count == 0
    assert report.losses == ()


def test_a_report_with_addresses_that_are_not_ascii(tmp_path):
    """RFC 6533: message/global-delivery-status, message/global-headers, address type utf-8."""
    fields = ("Final-Recipient: utf-8;b\u00e4r@fabrikam.com", "Status: 5.7.64", f"Diagnostic-Code: smtp;{REPLY}")
    text = bounce("\n".join(fields) + "\n", UNKNOWN)
    text = text.replace("message/delivery", "message/global-delivery").replace("text/rfc822-h", "message/global-h")
    (found,) = rejections(analyze(tmp_path, {"bounce.eml": text}))
    assert found.rcpt_to == "b\u00e4r@fabrikam.com"
    assert (found.host, found.message_id, found.mail_from) == ("RELAY", "<a1@contoso.com>", "anna@contoso.com")
    assert found.reply.startswith("550 5.7.64")


SENDMAIL = """   ----- The following addresses had permanent fatal errors -----
<b@fabrikam.com>

   ----- Transcript of session follows -----
... while talking to contoso-com.mail.protection.outlook.com.:
>>> RCPT To:<c@fabrikam.com>
<<< 250 2.1.5 Recipient OK
>>> RCPT To:<b@fabrikam.com>
<<< {reply}
554 5.0.0 Service unavailable"""
POSTFIX = """<c@fabrikam.com>: host x.fabrikam.com[192.0.2.7] said: 550 5.1.1 unknown

<b@fabrikam.com>: host contoso-com.mail.protection.outlook.com[104.47.2.36]
    said: {reply} (in reply to RCPT TO command)"""
EXPIRED = ("Action: failed", "Status: 4.4.7")
UNKNOWN = block("Status: 5.1.1", address="c@fabrikam.com")


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        (SENDMAIL, (block(*EXPIRED),)),
        (SENDMAIL, (block("Action: failed"),)),
        (SENDMAIL, (block(*EXPIRED), UNKNOWN)),
        (POSTFIX, (block(*EXPIRED), UNKNOWN)),
        ("Remote server said: {reply}", (block(*EXPIRED),)),
        ("<b@fabrikam.com>: {reply}", (UNKNOWN, block(*EXPIRED))),
    ],
)
def test_a_refusal_that_only_the_text_of_a_report_tells(tmp_path, text, blocks):
    report = analyze(tmp_path, {"bounce.eml": bounce(*blocks, text=text.format(reply=REPLY))})
    (found,) = rejections(report)
    assert found.rcpt_to == "b@fabrikam.com"
    assert found.reply.startswith("550 5.7.64 TenantAttribution; Relay Access Denied")
    assert report.losses == ()


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("The remote server said: {reply}", (block(*EXPIRED), UNKNOWN)),
        (SENDMAIL, (block(*EXPIRED, address="xb@fabrikam.com"), block(*EXPIRED, address="d@fabrikam.com"))),
        ("See our page on 5.7.64.", (block(*EXPIRED),)),
    ],
)
def test_a_code_in_the_text_that_belongs_to_no_recipient_is_a_loss(tmp_path, text, blocks):
    report = analyze(tmp_path, {"bounce.eml": bounce(*blocks, text=text.format(reply=REPLY))})
    assert report.rejection_count == 0
    assert report.exit_code == 3
    (loss,) = report.losses
    assert "holds 5.7.64 and does not say for which recipient" in loss.reason


@pytest.mark.parametrize(
    "text", ["<<< 550 5.7.640 x", "550 5.1.1 by 203.5.7.64", "550 15.7.64", "550 5.7.64.1 is blocked"]
)
def test_a_text_without_the_code_is_no_loss(tmp_path, text):
    report = analyze(tmp_path, {"bounce.eml": bounce(block(*EXPIRED), text=text)})
    assert (report.rejection_count, report.exit_code) == (0, 0)


def test_a_report_says_no_sender_only_where_it_returns_the_path(tmp_path):
    for path, expected in (("Return-path: <>\n", True), ("Return-path: <anna@contoso.com>\n", False), ("", None)):
        text = bounce(block("Status: 5.7.64"), path=path)
        (found,) = rejections(analyze(tmp_path, {"bounce.eml": text}))
        assert found.null_sender is expected
        assert found.mail_from == ("" if expected else "anna@contoso.com")


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (STATUS, "DEFER"),
        ("[{LED=451 4.4.0 Primary target said: 5.7.64 TenantAttribution};{MSG=};{FQDN=x};{IP=}]", "FAIL"),
    ],
)
def test_a_failure_with_the_code_that_is_no_refusal_is_a_loss_and_no_other_error(tmp_path, status, event):
    row = tracking_row(**{"recipient-status": status, "event-id": event})
    report = analyze(tmp_path, {"M.LOG": TRACKING + row})
    assert (report.rejection_count, report.other_errors, report.exit_code) == (0, (), 3)
    (loss,) = report.losses
    assert "holds 5.7.64" in loss.reason
    assert loss.origin.line == 6


# ---------------------------------------------------------------------------------------- who sent it: the envelope


@pytest.mark.parametrize(
    ("path", "sender", "expected"),
    [
        ("<>", "anna@contoso.com", ("", True)),
        ("anna@contoso.com", "anna@contoso.com", ("anna@contoso.com", False)),
        ("bounces@news.example", "anna@contoso.com", ("bounces@news.example", False)),
        ("", "anna@contoso.com", ("anna@contoso.com", None)),  # not in this export: nothing is known
    ],
)
def test_the_return_path_of_tracking_is_the_envelope(tmp_path, path, sender, expected):
    row = tracking_row(**{"return-path": path, "sender-address": sender})
    (found,) = rejections(analyze(tmp_path, {"M.LOG": TRACKING + row}))
    assert (found.mail_from, found.null_sender) == expected


def test_the_return_path_of_a_report_s_row_is_not_that_of_the_message(tmp_path):
    values = {"source": "DSN", "event-id": "DSN", "recipient-address": "a@servername.com", "return-path": "<>"}
    row = tracking_row(**values, reference="<a4@servername.com>", **{"sender-address": "postmaster@servername.com"})
    (found,) = rejections(analyze(tmp_path, {"M.LOG": TRACKING + row}))
    assert (found.mail_from, found.null_sender) == ("a@servername.com", None)


def test_other_forms_of_an_unattributed_connection_are_named(tmp_path):
    texts = {
        "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization": "not attributed",
        "550 5.7.51 TenantInboundAttribution; There is a partner connector configured": "inbound connector refuses",
        "550 5.7.1 Service unavailable; relay access denied. ATTR1": "tenant's own attribution",
        "550 5.7.1 Delivery not authorized": "a policy of the recipient's side",
        "450 4.4.317 Cannot establish TLS session [Message=UntrustedRoot] [LastAttemptedServerName=x]": "missing interm",
        "450 4.4.317 Cannot establish TLS session [Message=451 5.7.3 STARTTLS is required to send mail]": "bracket",
    }
    rows = "".join(
        tracking_row(**{"recipient-status": f"[{{LED={text}}};{{MSG=}};{{FQDN=}};{{IP=}}]"}) for text in texts
    )
    report = analyze(tmp_path, {"M.LOG": TRACKING + rows})
    shown = {other_error.text: other_error.meaning for other_error in report.other_errors}
    assert shown.keys() == texts.keys()
    for text, meaning in texts.items():
        assert meaning in shown[text]
