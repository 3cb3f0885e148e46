"""Inputs of the syntaxes that no sample case is in: traces, stores, lists that PowerShell and EvtxECmd write."""

from __future__ import annotations

import csv
import io
import json
import re
from functools import cache
from xml.etree import ElementTree as ET

import certificates

from samples import capi2, cases, repairs, stores, traces, wire
from samples.evtx_writer import write_evtx

_ETL = bytes(72) + bytes.fromhex("020001c0") + bytes(64)
_NCSA = (
    b'203.0.113.9 - - [01/Dec/2016:03:00:00 +0000] "EHLO -?+mail.contoso.com SMTP" 250 0\r\n'
    b'203.0.113.9 - OutboundConnectionResponse [01/Dec/2016:03:00:01 +0000] "- -?550+5.7.64+TenantAttribution;+Relay'
    b'+Access+Denied SMTP" 0 70\r\n'
)
_MESSAGES = (
    b"Level,Date and Time,Source,Event ID,Task Category\r\nError,12/1/2016 3:09:55 AM,Microsoft-Windows-CAPI2,30,Verify"
    b' Chain Policy,"For more details for this event, please refer to the ""Details"" section"\r\n',
    b"Event[0]:\r\n  Log Name: Microsoft-Windows-CAPI2/Operational\r\n  Source: Microsoft-Windows-CAPI2\r\n"
    b"  Date: 2016-12-01T03:09:55.456\r\n  Event ID: 30\r\n",
)


# A shortcut, an .evt log, and mails that are no report: with an attachment, and with the refusal as text.
_NOT_READ = (b"L\0\0\0\x01\x14\x02\0" + bytes(68), b"0\0\0\0LfLe\1\0\0\0\1\0\0\0" + bytes(32))
_MAILS = (
    b"From: a@contoso.com\r\nTo: b@x.y\r\nSubject: logs\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
    b"boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhere\r\n--b\r\nContent-Type: application/octet-stream"
    b'\r\nContent-Disposition: attachment; filename="SEND.LOG"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    b"eA==\r\n--b--\r\n",
    b"From: a@contoso.com\r\nTo: b@x.y\r\nSubject: Re: mail\r\nDate: Thu, 1 Dec 2016 03:00:00 +0000\r\n\r\n"
    b"550 5.7.64 TenantAttribution; Relay Access Denied\r\n",
)


# Rows of a log as Splunk keeps them.
_ROW = "2016-12-01T03:09:55.774Z,Outbound,08D50D3D9730A8D2,20,10.0.0.5:1,216.32.181.234:25,<,550 5.7.64 x,"
_COLLECTED = (
    json.dumps({"result": {"_raw": _ROW}}).encode() + b"\n",
    f'"_raw","_time"\r\n"{_ROW}","x"\r\n'.encode(),
)


@cache
def others() -> tuple[bytes, ...]:
    """All of them, the same each time."""
    root, leaf = stores.der("root", "root"), stores.der("leaf", "issuing")
    listed = stores.stores_missing_intermediate()
    whole = stores.collector_bundle()
    made = [content for name, content in {**listed, **whole}.items() if name.endswith((".txt", ".clixml", ".json"))]
    made += [content for case in _TRACES for name, content in case().items() if name.endswith(("ng", "cap"))]
    made += [wire.pcap(wire.frames(traces.talk([traces.LEAF_DER])), order=order) for order in "<>"]
    made += [
        certificates.serialized_store([root, leaf], keys=(leaf,)),
        _event_csv(),
        _NCSA,
        *_MESSAGES,
        *_NOT_READ,
        *_MAILS,
        *_COLLECTED,
    ]
    return (*made, *_small_logs(), _ETL)


_TRACES = (traces.wire_leaf_only, traces.wire_full_chain, traces.wire_no_certificate, traces.wire_trace_only)


def _small_logs() -> tuple[bytes, ...]:
    """Event logs of one and of few records; the readers are fast with them."""
    few = cases.noise(capi2.Recorder(cases.HOST), cases.KB_TIME, 1).events
    return write_evtx([cases.KB_EVENT]), write_evtx(few), write_evtx([])


def later() -> dict[str, bytes]:
    """Logs of after a fix."""
    return {name: content for name, content in repairs.fixed().items() if name.startswith("after/")}


def earlier() -> tuple[bytes, ...]:
    """Reports of before a fix, as they were saved."""
    return tuple(case()["before.json"] for case in (repairs.fixed, repairs.not_fixed))


def _event_csv() -> bytes:
    """The event of the knowledge base as EvtxECmd writes it."""
    root = ET.fromstring(re.sub(r' xmlns="[^"]*"', "", cases.KB_EVENT))
    data = root.find("UserData")
    assert data is not None
    row = {
        "EventRecordId": "3156",
        "TimeCreated": "2016-12-01 03:09:55.4561806",
        "EventId": "30",
        "Level": "Error",
        "Provider": "Microsoft-Windows-CAPI2",
        "Channel": "Microsoft-Windows-CAPI2/Operational",
        "Computer": cases.HOST,
        "ProcessId": "544",
        "ThreadId": "1996",
        "Payload": json.dumps({"UserData": _tree(data)}),
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, row)
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue().encode()


def _tree(element: ET.Element) -> object:
    """An element as Json.NET writes it."""
    inside: dict[str, object] = {f"@{name}": value for name, value in element.attrib.items()}
    inside |= {child.tag: _tree(child) for child in element}
    return {**inside, "#text": element.text} if inside and element.text else inside or element.text
