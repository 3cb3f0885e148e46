"""Whole traces through the analysis: what is kept, what is told as lost, and what the report always holds."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

import evtx_analyzer as ea
from evtx_analyzer.handshakes import observe
from evtx_analyzer.report.document import to_json
from samples import traces, wire
from samples.cases import SEND_FILE
from samples.pieces import START
from samples.traces import LEAF_DER, REMOTE_CHAIN, SERVER, talk
from samples.wire import Conversation, certificate

PUBLIC = ("id", "start", "local", "remote", "tls", "requested", "sent", "received", "alert", "rejection", "origin")


def analyzed(tmp_path, data, name="a.pcap"):
    (tmp_path / name).write_bytes(data)
    return ea.analyze(tmp_path, anyway=True)


def clear(*after, port=25):
    """A connection up to the answer to STARTTLS, then what ``after`` says (by client, bytes)."""
    made = Conversation(START, server=("216.32.181.234", port)).connect()
    made.say(1, "220 mx.example ready\r\n", by_client=False).say(2, "EHLO a.example\r\n", by_client=True)
    made.say(3, "250-mx.example Hello [203.0.113.7]\r\n250 STARTTLS\r\n", by_client=False)
    made.say(4, "STARTTLS\r\n", by_client=True).say(5, "220 go\r\n", by_client=False)
    for number, (by_client, data) in enumerate(after):
        made.say(6 + number, data, by_client=by_client)
    return made.close(50)


def test_the_contract_of_the_json(tmp_path):
    report = json.loads(to_json(analyzed(tmp_path, traces.trace(talk([LEAF_DER])))))
    (shown,) = report["handshakes"]
    assert set(PUBLIC) <= set(shown)
    assert (shown["local"], shown["remote"], shown["requested"]) == ("10.10.248.7:16547", "216.32.181.234:25", True)
    assert {"thumbprint", "subject", "issuer"} <= set(shown["sent"][0])
    assert set(shown["origin"]) == {"source", "member", "record", "line", "offset"}


def test_the_key_is_there_without_a_trace(tmp_path):
    (tmp_path / "SEND.LOG").write_bytes(traces.wire_leaf_only()[SEND_FILE])
    assert json.loads(to_json(ea.analyze(tmp_path)))["handshakes"] == []


def test_the_same_trace_gives_the_same_bytes(tmp_path):
    files = traces.wire_leaf_only()
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert to_json(ea.analyze(tmp_path)) == to_json(ea.analyze(tmp_path, jobs=1))


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ([(True, b"\x47\x45\x54 / HTTP/1.1\r\n")], "is no TLS"),
        ([(True, b"\0" * 500)], "is no TLS"),
        ([], "beginning of its handshake is not in the trace"),
        ([(True, wire.client_hello("x")[:40])], "beginning of its handshake is not in the trace"),
    ],
)
def test_what_follows_starttls_and_is_no_handshake(tmp_path, after, told):
    report = analyzed(tmp_path, wire.pcap(wire.frames(clear(*after))))
    assert report.handshakes == ()
    assert told in report.losses[0].reason
    assert report.exit_code == 3


def test_a_handshake_that_garbage_follows(tmp_path):
    made = clear((True, wire.client_hello("x")), (False, b"\xff" * 900))
    (shown,) = analyzed(tmp_path, wire.pcap(wire.frames(made))).handshakes
    assert (shown.tls, shown.flight, shown.completed) == ("", "none", False)


def test_a_certificate_that_does_not_parse_is_a_loss(tmp_path):
    report = analyzed(tmp_path, traces.trace(talk([b"\x30\x03abc"])))
    assert "cannot be parsed" in report.losses[0].reason
    assert report.handshakes[0].sent[0].fault
    assert len(report.handshakes[0].sent[0].thumbprint) == 40


def test_a_huge_handshake_is_read_whole_or_told(tmp_path):
    many = [certificate(SERVER, SERVER, serial=number + 1, names=[f"a{number}.example"] * 60) for number in range(40)]
    report = analyzed(tmp_path, traces.trace(talk([LEAF_DER, *many])))
    assert [len(handshake.sent) for handshake in report.handshakes] == [41]
    larger = [LEAF_DER, *(many * 12)]
    report = analyzed(tmp_path, traces.trace(talk(larger)))
    assert report.handshakes[0].flight == "cut" or report.handshakes[0].sent_chain.state == "unreadable"


def test_other_traffic_alone_is_read_and_says_so(tmp_path):
    web = Conversation(START, server=("192.0.2.80", 443)).connect()
    report = analyzed(tmp_path, wire.pcap(wire.frames(web.say(1, wire.client_hello("x"), by_client=True).close(3))))
    assert report.sources[0].status == "read"
    assert "no packet of SMTP" in report.coverage[0].notes[0]
    assert (report.coverage[0].kind, report.coverage[0].records) == ("network-trace", len(web.packets))
    assert report.verdict.cause is None


def test_another_protocol_that_greets_like_smtp(tmp_path):
    ftp = Conversation(START, server=("192.0.2.21", 21)).connect()
    ftp.say(1, "220 FTP ready\r\n", by_client=False).say(2, "USER x\r\n", by_client=True)
    ftp.say(3, "331 password\r\n", by_client=False).say(4, "PASS y\r\n", by_client=True).close(9)
    ftp.packets.pop(5)
    report = analyzed(tmp_path, wire.pcap(wire.frames(ftp)))
    assert (report.losses, report.handshakes) == ((), ())


def test_packets_of_many_connections_in_any_order_of_files(tmp_path):
    for number in range(3):
        made = talk([LEAF_DER], start=START + timedelta(hours=number), local=("10.0.0.1", 2000 + number))
        (tmp_path / f"{2 - number}.pcap").write_bytes(wire.pcap(wire.frames(made)))
    shown = ea.analyze(tmp_path).handshakes
    assert [handshake.local for handshake in shown] == [f"10.0.0.1:{2000 + number}" for number in range(3)]


def test_a_limit_on_handshakes_is_told(tmp_path, monkeypatch):
    from evtx_analyzer.ingest import handshake_scan

    monkeypatch.setattr(handshake_scan, "_MOST", 2)
    talks = [talk([LEAF_DER], local=("10.0.0.1", 2000 + number)) for number in range(5)]
    report = analyzed(tmp_path, wire.pcap(wire.frames(*talks)))
    assert len(report.handshakes) == 2
    assert report.losses[0].extent == "3 connections"


def test_endpoints_as_logs_write_them():
    assert observe.endpoint_text((bytes((192, 0, 2, 1)), 25)) == "192.0.2.1:25"
    assert observe.endpoint_text((bytes.fromhex("20010db8") + bytes(11) + b"\1", 25)) == "[2001:db8::1]:25"
    assert observe.endpoint_text((bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)), 25)) == "192.0.2.1:25"


def test_an_ipv6_connection_is_joined_by_its_endpoints(tmp_path):
    files = traces.wire_leaf_only()
    log = files[SEND_FILE].replace(b"10.10.248.7:16547", b"[2001:db8::7]:16547")
    log = log.replace(b"216.32.181.234:25", b"[2a01:111:f400::1]:25")
    (tmp_path / "SEND.LOG").write_bytes(log)
    made = talk([LEAF_DER], local=("2001:db8::7", 16547), remote=("2a01:111:f400::1", 25))
    report = analyzed(tmp_path, traces.trace(made))
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "confirmed")


def test_the_other_side_is_told(tmp_path):
    (shown,) = analyzed(tmp_path, traces.trace(talk([LEAF_DER]))).handshakes
    assert len(shown.received) == len(REMOTE_CHAIN)
    assert shown.received_chain.state == "complete"
    assert shown.origin.record is not None
