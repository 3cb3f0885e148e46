"""TCP put together: order, what comes twice, holes, and limits on what is kept."""

from __future__ import annotations

import random
import tracemalloc
from datetime import UTC, datetime

import pytest

from evtx_analyzer.handshakes import flows
from evtx_analyzer.handshakes.flows import Flows, Stream
from evtx_analyzer.handshakes.observe import is_over
from evtx_analyzer.read.capture_headers import ACK, FIN, RST, SYN, Segment

START = datetime(2016, 12, 1, tzinfo=UTC)
CLIENT, SERVER = (b"\x0a\0\0\1", 50000), (b"\xc0\0\2\x19", 25)


def piece(sequence, payload, cut=0):
    return Segment(CLIENT, SERVER, sequence & 0xFFFFFFFF, ACK, payload, cut, number=sequence & 0xFFFF, time=sequence)


def stream(*pieces, base=1000):
    made = Stream()
    made.base = base & 0xFFFFFFFF
    for item in pieces:
        made.add(item)
    return made


TEXT = bytes(range(256)) * 8


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("base", [1000, 2**32 - 700])
def test_any_order_with_repetition_and_overlap_gives_the_same(seed, base):
    dice = random.Random(seed)
    pieces, at = [], 0
    while at < len(TEXT):
        size = dice.randrange(1, 300)
        begin = max(0, at - dice.randrange(0, 50))
        pieces.append(piece(base + begin, TEXT[begin : at + size]))
        at += size
    pieces += dice.choices(pieces, k=5)
    dice.shuffle(pieces)
    made = stream(*pieces, base=base)
    assert bytes(made.data) == TEXT
    assert not made.hole


def test_a_hole_ends_the_data():
    made = stream(piece(1000, b"abc"), piece(1006, b"ghi"))
    assert (bytes(made.data), made.hole) == (b"abc", True)
    made.add(piece(1003, b"def"))
    assert (bytes(made.data), made.hole) == (b"abcdefghi", False)


def test_a_packet_that_was_cut_leaves_a_hole():
    made = stream(piece(1000, b"abc", cut=2))
    assert (bytes(made.data), made.hole) == (b"abc", True)
    made.add(piece(1003, b"de"))
    assert (bytes(made.data), made.hole) == (b"abcde", False)


def test_the_same_place_with_other_bytes_ends_the_stream():
    made = stream(piece(1000, b"abcdef"), piece(1002, b"XX"), piece(1006, b"ghi"))
    assert made.conflict
    assert bytes(made.data) == b"abcdef"


def test_a_probe_that_keeps_the_connection_alive_is_no_conflict():
    made = stream(piece(1000, b"abc"), piece(1002, b"\0"), piece(1003, b"def"))
    assert bytes(made.data) == b"abcdef"


def test_every_byte_knows_its_packet():
    made = stream(piece(1003, b"def"), piece(1000, b"abc"))
    assert [made.mark(at).time for at in (0, 2, 3, 5)] == [1000, 1000, 1003, 1003]


def feed(table, *segments):
    return [flow for segment in segments for flow in table.add(segment)]


def segment(source, target, sequence, flags, payload=b""):
    return Segment(source, target, sequence, flags, payload, 0)


def test_a_connection_ends_with_both_fins_or_a_reset():
    for ending in ([(CLIENT, SERVER, FIN | ACK), (SERVER, CLIENT, FIN | ACK)], [(SERVER, CLIENT, RST)]):
        table = Flows(lambda _: False)
        feed(
            table,
            segment(CLIENT, SERVER, 10, SYN),
            segment(SERVER, CLIENT, 70, SYN | ACK),
            segment(SERVER, CLIENT, 71, ACK, b"220 a\r\n"),
            segment(CLIENT, SERVER, 11, ACK, b"EHLO b\r\n"),
        )
        ended = feed(table, *(segment(source, target, 99, flags) for source, target, flags in ending))
        assert [bytes(flow.client.data) for flow in ended] == [b"EHLO b\r\n"]
        assert list(table.rest()) == []


def test_the_same_ports_again_are_another_connection():
    table = Flows(lambda _: False)
    for first in (10, 5000):
        ended = feed(
            table,
            segment(CLIENT, SERVER, first, SYN),
            segment(CLIENT, SERVER, first, SYN),  # sent again
            segment(CLIENT, SERVER, first + 1, ACK, b"EHLO %d\r\n" % first),
        )
    assert [bytes(flow.client.data) for flow in ended] == [b"EHLO 10\r\n"]
    assert [bytes(flow.client.data) for flow in table.rest()] == [b"EHLO 5000\r\n"]


@pytest.mark.parametrize(
    ("source", "payload", "known"),
    [
        (SERVER, b"220 mx ready\r\n", True),
        (CLIENT, b"EHLO a\r\n", True),
        (CLIENT, b"\x16\x03\x01\0\x05\x01\0\0\1\0", True),
        (CLIENT, b"MAIL FROM:<a@b>\r\n", False),
        (SERVER, b"250 ok\r\n", False),
        (CLIENT, b"\x17\x03\x03\0\x05\x01\0\0\1\0", False),
    ],
)
def test_a_recording_that_starts_in_a_connection(source, payload, known):
    table = Flows(lambda _: False)
    feed(table, segment(source, SERVER if source is CLIENT else CLIENT, 99, ACK, payload))
    flow = next(table.rest(), None)
    assert (flow is not None) == known
    if flow is not None:
        assert (flow.client_end, flow.server_end, flow.started) == (CLIENT, SERVER, False)


def test_too_many_at_once_are_given_up_and_counted():
    table = Flows(lambda _: False, most_open=10)
    ended = []
    for number in range(50):
        client = (b"\x0a\0\0\2", 1000 + number)
        ended += feed(table, segment(client, SERVER, 1, SYN), segment(client, SERVER, 2, ACK, b"EHLO a\r\n"))
    assert len(ended) == table.given_up == 40
    assert all(flow.given_up for flow in ended)


def test_too_many_bytes_at_once_are_given_up():
    table = Flows(lambda _: False, most_bytes=100_000)
    for number in range(50):
        client = (b"\x0a\0\0\2", 1000 + number)
        feed(table, segment(client, SERVER, 1, SYN), segment(client, SERVER, 2, ACK, b"x" * 10_000))
    assert table.given_up == 40


def test_of_one_direction_the_beginning_is_kept():
    made = Stream()
    for number in range(1000):
        made.add(piece(number * 1400, b"x" * 1400))
    assert len(made.data) < 300_000


def syn_flood(count):
    for number in range(count):
        yield segment((number.to_bytes(4), 1 + number % 60000), SERVER, number, SYN)


def test_memory_is_bounded_whatever_the_number_of_connections():
    count, table = 30_000, Flows(is_over)
    tracemalloc.start()
    try:
        for item in syn_flood(count):
            for _ in table.add(item):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 << 20
    assert len(table._begun) <= flows._MOST_BEGUN
    # A connection that comes then is read all the same.
    feed(table, segment(CLIENT, SERVER, 10, SYN), segment(CLIENT, SERVER, 11, ACK, b"EHLO a\r\n"))
    assert len(list(table.rest())) == 1


@pytest.mark.slow
def test_ten_million_connections():
    table = Flows(is_over)
    for item in syn_flood(10_000_000):
        for _ in table.add(item):
            pass
    assert len(table._begun) <= flows._MOST_BEGUN
    assert not table._open
