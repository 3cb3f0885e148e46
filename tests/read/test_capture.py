"""Traces in every form that is read give the same segments; dpkt is the independent reader of the plain ones."""

from __future__ import annotations

import io
import socket
import struct
from datetime import UTC, datetime

import dpkt
import pytest

import evtx_analyzer as ea
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read import recognize
from evtx_analyzer.read.capture import CaptureReader, is_etl
from evtx_analyzer.read.capture_headers import SYN, Segment, segment_of
from samples import traces, wire
from samples.wire import Conversation

START = datetime(2016, 12, 1, 3, 9, 55, 123456, tzinfo=UTC)


def talk(client="10.1.2.3", server="192.0.2.25", port=25, words="EHLO a\r\n"):
    made = Conversation(START, client=(client, 50000), server=(server, port)).connect()
    return made.say(5, "220 mx.example ready\r\n", by_client=False).say(9.5, words, by_client=True).close(20)


def read(data):
    reader = CaptureReader(io.BytesIO(data), Origin(source="x"))
    things = list(reader.segments())
    return (
        [item for item in things if isinstance(item, Segment)],
        [item for item in things if isinstance(item, Loss)],
        reader.reach,
    )


def payloads(segments):
    return [segment.payload for segment in segments if segment.payload]


SAID = [b"220 mx.example ready\r\n", b"EHLO a\r\n"]


def null(packet, order="<"):
    return struct.pack(order + "I", 30 if packet[0] >> 4 == 6 else 2) + packet


def cooked(packet):
    return struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x86DD if packet[0] >> 4 == 6 else 0x800) + packet


def cooked_2(packet):
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x800
    return struct.pack(">HHIHBB8s", kind, 0, 2, 1, 0, 6, bytes(8)) + packet


def extended(packet):
    """IPv6 with a hop-by-hop header before TCP."""
    if packet[0] >> 4 != 6:
        return packet
    length = int.from_bytes(packet[4:6]) + 8
    return packet[:4] + length.to_bytes(2) + b"\0" + packet[7:40] + b"\x06\0\x01\x04\0\0\0\0" + packet[40:]


LINKS = {
    "Ethernet": (1, wire.ethernet),
    "VLAN": (1, lambda packet: wire.ethernet(packet, b"\x81\x00\x00\x05")),
    "QinQ": (1, lambda packet: wire.ethernet(packet, b"\x88\xa8\x00\x07\x81\x00\x00\x05")),
    "padded": (1, lambda packet: wire.ethernet(packet) + bytes(6)),
    "raw": (101, bytes),
    "BSD raw": (12, bytes),
    "null": (0, null),
    "null, other order": (0, lambda packet: null(packet, ">")),
    "loop": (108, lambda packet: null(packet, ">")),
    "cooked": (113, cooked),
    "cooked 2": (276, cooked_2),
    "extension headers": (1, lambda packet: wire.ethernet(extended(packet))),
}


@pytest.mark.parametrize("addresses", [("10.1.2.3", "192.0.2.25"), ("2001:db8::3", "2001:db8::25")], ids=["v4", "v6"])
@pytest.mark.parametrize("link", LINKS)
def test_link_layers(link, addresses):
    number, pack = LINKS[link]
    packets = [(time, pack(packet)) for time, packet in talk(*addresses).packets]
    segments, losses, reach = read(wire.pcap(packets, link=number))
    assert payloads(segments) == SAID
    assert not losses
    assert reach.packets == len(packets) == len(segments)
    assert segments[0].source == (
        socket.inet_pton(socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET, addresses[0]),
        50000,
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
def test_times_and_byte_orders_of_pcap(order, nano):
    packets = [(time + 789, frame) for time, frame in wire.frames(talk())]
    segments, losses, reach = read(wire.pcap(packets, order=order, nano=nano))
    expected = [time if nano else time // 1000 * 1000 for time, _ in packets]
    assert [segment.time for segment in segments] == expected
    assert not losses
    assert (reach.first, reach.last) == (expected[0], expected[-1])


@pytest.mark.parametrize("order", "<>")
def test_pcapng_with_several_interfaces_and_resolutions(order):
    packets = talk().packets
    made = [
        (time + 789, wire.ethernet(packet) if number % 2 else packet, number % 2)
        for number, (time, packet) in enumerate(packets)
    ]
    segments, losses, _ = read(wire.pcapng([(101, 9), (1, 6)], made, order=order))
    assert payloads(segments) == SAID
    assert not losses
    assert [segment.time for segment in segments] == [
        time // 1000 * 1000 if interface else time for time, _, interface in made
    ]
    assert [segment.number for segment in segments] == list(range(1, len(packets) + 1))


def test_pcapng_sections_follow_each_other():
    packets = [(time, frame, 0) for time, frame in wire.frames(talk())]
    segments, losses, _ = read(
        wire.pcapng([(1, 6)], packets[:4], order=">") + wire.pcapng([(1, 9)], packets[4:], order="<")
    )
    assert payloads(segments) == SAID
    assert not losses


def test_offsets_lead_to_the_packet():
    data = wire.pcap(wire.frames(talk()))
    for segment in read(data)[0]:
        _, _, kept, _ = struct.unpack_from("<IIII", data, segment.offset)
        frame = data[segment.offset + 16 : segment.offset + 16 + kept]
        assert segment_of(frame, len(frame), 1).payload == segment.payload


def test_dpkt_reads_the_same_payloads():
    data = traces.wire_leaf_only()[traces.TRACE_FILE]
    other = []
    for _, frame in dpkt.pcapng.Reader(io.BytesIO(data)):
        tcp = dpkt.ethernet.Ethernet(frame).data.data
        other.append((tcp.sport, tcp.dport, tcp.seq, bytes(tcp.data)))
    assert other == [(item.source[1], item.target[1], item.sequence, item.payload) for item in read(data)[0]]


def test_other_traffic_passes_by():
    web = Conversation(START, client=("10.1.2.3", 50001), server=("192.0.2.80", 443)).connect()
    web.say(5, wire.client_hello("web.example"), by_client=True).close(9)
    segments, losses, reach = read(wire.pcap(wire.frames(web, talk())))
    assert {segment.target[1] for segment in segments} | {segment.source[1] for segment in segments} == {25, 50000}
    assert reach.packets == len(web.packets) + len(talk().packets)
    assert not losses


def test_smtp_on_another_port_is_known_by_its_banner(tmp_path):
    made = wire.smtp_tls(
        Conversation(START, server=("192.0.2.9", 10025)),
        wire.client_flight([traces.LEAF_DER]),
        wire.server_flight(traces.REMOTE_CHAIN),
        hello=wire.client_hello("x.example"),
        banner="gw.example",
    )
    (tmp_path / "a.pcap").write_bytes(wire.pcap(wire.frames(made)))
    report = ea.analyze(tmp_path)
    assert [handshake.remote for handshake in report.handshakes] == ["192.0.2.9:10025"]
    assert report.handshakes[0].flight == "whole"


@pytest.mark.parametrize("wrap", ["gz", "zip"])
def test_a_trace_in_an_archive(tmp_path, wrap):
    import gzip
    import zipfile

    data = traces.wire_leaf_only()[traces.TRACE_FILE]
    if wrap == "gz":
        (tmp_path / "smtp.pcapng.gz").write_bytes(gzip.compress(data))
    else:
        with zipfile.ZipFile(tmp_path / "case.zip", "w") as archive:
            archive.writestr("traces/smtp.pcapng", data)
    report = ea.analyze(tmp_path)
    assert len(report.handshakes) == 2
    assert report.handshakes[0].origin.member.endswith("smtp.pcapng")


def test_a_segment_before_the_card_cut_it():
    """With TSO a datagram has no length of its own."""
    _, packet = talk(words="EHLO " + "a" * 60 + "\r\n").packets[4]
    packet = packet[:2] + b"\0\0" + packet[4:]
    assert segment_of(packet, len(packet), 101).payload.startswith(b"EHLO aaa")


def test_later_fragments_are_no_segments():
    _, packet = talk().packets[4]
    assert segment_of(packet[:6] + b"\x00\x10" + packet[8:], len(packet), 101) is None


def test_cut_packets_say_how_much_is_missing():
    whole = wire.pcap(wire.frames(talk()), snap=60)
    cut = [item for item in read(whole)[0] if item.cut]
    assert [len(item.payload) + item.cut for item in cut] == [len(text) for text in SAID]
    assert all(len(item.payload) == 60 - 54 for item in cut)


# ------------------------------------------------------------------------------------------------------- bad input


def test_any_length_of_a_trace_is_read_as_far_as_it_goes():
    for data in (wire.pcap(wire.frames(talk())), wire.pcapng([(1, 6)], [(t, f, 0) for t, f in wire.frames(talk())])):
        for size in range(4, len(data)):
            segments, losses, reach = read(data[:size])
            assert len(segments) == reach.packets
            assert losses or size == len(data) or not segments or data[size:] == b"" or reach.packets < 9


def test_a_length_that_cannot_be_is_damage():
    data = bytearray(wire.pcap(wire.frames(talk())))
    struct.pack_into("<I", data, 24 + 8, 1 << 30)
    segments, losses, _ = read(bytes(data))
    assert not segments
    assert "damaged" in losses[0].reason


def test_an_unknown_link_type_is_told():
    segments, losses, _ = read(wire.pcap(wire.frames(talk()), link=105))
    assert not segments
    assert "link type 105" in losses[0].reason
    assert losses[0].extent == f"{len(talk().packets)} packets"


def test_noise_is_no_segment():
    for seed in range(200):
        data = wire.filler(f"noise {seed}", 20 + seed % 90)
        for link in (0, 1, 12, 101, 108, 113, 228, 229, 276):
            segment = segment_of(data, len(data), link)
            assert segment is None or segment.flags >= 0


def test_an_event_trace_log_is_answered_with_the_command(tmp_path):
    head = bytes(72) + b"\x02\x00\x02\xc0" + bytes(500)
    assert is_etl(head)
    assert recognize(head) == "etl"
    (tmp_path / "smtp.etl").write_bytes(head)
    report = ea.analyze(tmp_path, anyway=True)
    assert report.sources[0].status == "not-read"
    assert "pktmon etl2pcap" in report.losses[0].reason
    assert "etl2pcapng" in report.losses[0].reason


def test_a_syn_alone_is_a_segment():
    segments, _, _ = read(wire.pcap(wire.frames(talk())[:1]))
    assert [segment.flags for segment in segments] == [SYN]
