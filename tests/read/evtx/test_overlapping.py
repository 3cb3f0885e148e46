"""Sums of damaged logs: records whose sizes are wrong under right checksums, chunks that stand twice in two states.

The expected ids are those that the log was written with. ``evtx`` alone is the independent reader where it can be.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import evtx
import pytest

import evtx_analyzer as ea
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.evtx.reader import read_evtx
from samples import capi2, cases
from samples.evtx_writer import write_evtx

HEADER, CHUNK = 4_096, 65_536
EVENTS = cases.noise(capi2.Recorder(cases.HOST), cases.KB_TIME, 12).events
LOG = write_evtx(EVENTS)
EVERY = set(range(1, len(EVENTS) + 1))


def heads(data):
    """(place, size) of each record of the first chunk."""
    at, end, found = HEADER + 512, HEADER + struct.unpack_from("<I", data, HEADER + 48)[0], []
    while at < end:
        found.append((at, struct.unpack_from("<I", data, at + 4)[0]))
        at += found[-1][1]
    return found


HEADS = heads(LOG)
LAST = len(HEADS) - 1


def sealed(data):
    copy = bytearray(data)
    (free,) = struct.unpack_from("<I", copy, HEADER + 48)
    struct.pack_into("<I", copy, HEADER + 52, zlib.crc32(copy[HEADER + 512 : HEADER + free]))
    struct.pack_into(
        "<I", copy, HEADER + 124, zlib.crc32(copy[HEADER : HEADER + 120] + copy[HEADER + 128 : HEADER + 512])
    )
    return bytes(copy)


def with_sizes(number, size, second=None):
    """The log with a record that claims this size, at its beginning and where it then ends (or at ``second``)."""
    copy, (at, _) = bytearray(LOG), HEADS[number]
    struct.pack_into("<I", copy, at + 4, size)
    if second is not None:
        struct.pack_into("<I", copy, at + second - 4, size)
    return bytes(copy)


def read(data):
    found = list(read_evtx(BytesIO(data), Origin(source="x")))
    records = [item.record_id for item in found if isinstance(item, EventRecord)]
    return records, [item for item in found if isinstance(item, Loss)]


def analyzed(tmp_path, data, **options):
    (tmp_path / "capi2.evtx").write_bytes(data)
    return ea.analyze(tmp_path, anyway=True, **options)


@pytest.mark.parametrize("seal", [sealed, bytes])
@pytest.mark.parametrize("covered", [1, 2, 3])
@pytest.mark.parametrize("number", [0, 4, LAST - 3])
def test_records_inside_of_a_record_that_claims_their_bytes_are_read(number, covered, seal):
    size = sum(size for _, size in HEADS[number : number + covered + 1])
    ids, losses = read(seal(with_sizes(number, size, size)))
    assert sorted(ids) == sorted(EVERY)
    assert any("reaches into the next one" in loss.reason for loss in losses)
    assert not any(loss.first_record for loss in losses)


def test_a_record_that_was_written_over_in_part_is_a_loss_by_name():
    size = HEADS[4][1] + 40
    ids, losses = read(sealed(with_sizes(4, size, size)))
    assert EVERY - set(ids) == {6} == {loss.first_record for loss in losses} - {None}


@pytest.mark.parametrize("number", [0, 4, LAST])
@pytest.mark.parametrize("change", [-8, 8, 400, 0x7FFF_0000])
def test_a_record_with_one_wrong_size_is_read(number, change):
    assert sorted(read(sealed(with_sizes(number, HEADS[number][1] + change)))[0]) == sorted(EVERY)


@pytest.mark.parametrize("number", [0, 4, LAST])
def test_a_record_with_two_wrong_sizes_costs_itself(number):
    ids, losses = read(sealed(with_sizes(number, 0x7FFF_FFFF, HEADS[number][1])))
    assert EVERY - set(ids) == {number + 1} == {loss.first_record for loss in losses} - {None}


def test_a_text_that_looks_like_a_record_is_none():
    """Ids run without a hole there, so nothing is looked for inside of records."""
    recorder = capi2.Recorder(cases.HOST)
    frame = struct.pack("<4sIQQ", b"**\0\0", 60, 2, 131_000_000_000_000_000).decode("latin-1")
    odd = "".join(char for char in frame if char.isprintable())
    for number in range(3):
        body = capi2.start("lsass.exe", capi2.guid(f"{odd}{number}"), 1)
        recorder.write(10, cases.KB_TIME, body, process=1, thread=1)
    ids, losses = read(write_evtx(recorder.events))
    assert (ids, losses) == ([1, 2, 3], [])


# ------------------------------------------------------------------------------------------------- chunks


def older():
    """The first chunk as it was before its last record was written."""
    copy, (at, _) = bytearray(LOG), HEADS[LAST]
    struct.pack_into("<Q", copy, HEADER + 16, LAST)
    struct.pack_into("<Q", copy, HEADER + 32, LAST)
    struct.pack_into("<I", copy, HEADER + 48, at - HEADER)
    copy[at : HEADER + CHUNK] = bytes(HEADER + CHUNK - at)
    return sealed(copy)[HEADER : HEADER + CHUNK]


@pytest.mark.parametrize("prefilter", [True, False])
@pytest.mark.parametrize(
    "data",
    [LOG + LOG[HEADER : HEADER + CHUNK], LOG + older(), LOG[:HEADER] + older() + LOG[HEADER:]],
    ids=["copy", "older-behind", "older-before"],
)
def test_a_chunk_that_stands_twice_counts_once(tmp_path, data, prefilter):
    twice = [record["event_record_id"] for record in evtx.PyEvtxParser(BytesIO(data)).records()]
    assert len(twice) > len(set(twice)) == len(EVERY)
    report = analyzed(tmp_path, data, prefilter=prefilter)
    (coverage,) = report.coverage
    assert (coverage.records, coverage.first_record, coverage.last_record) == (len(EVERY), 1, len(EVERY))
    assert (report.losses, coverage.gaps) == ((), ())


@pytest.mark.parametrize("prefilter", [True, False])
def test_a_chunk_written_over_by_a_newer_state_of_another_is_a_loss(tmp_path, prefilter):
    """Chunk 2 is gone, an older state of chunk 1 stands in its place: record numbers before chunk 3 prove the hole."""
    events = cases.noise(capi2.Recorder(cases.HOST), cases.KB_TIME, 40).events
    data = write_evtx(events)
    assert len(data) >= HEADER + 3 * CHUNK
    first, last = struct.unpack_from("<QQ", data, HEADER + CHUNK + 24)
    hidden = data[: HEADER + CHUNK] + older_of(data) + data[HEADER + 2 * CHUNK :]
    report = analyzed(tmp_path, hidden, prefilter=prefilter)
    lost = {(loss.first_record, loss.last_record) for loss in report.losses if loss.first_record}
    assert lost == {(first, last)}
    assert report.coverage[0].records == len(events) - (last - first + 1)


def older_of(data):
    """The first chunk of a log without its last record."""
    places = heads(data)
    copy, (at, _) = bytearray(data), places[-1]
    first = struct.unpack_from("<Q", data, HEADER + 24)[0]
    struct.pack_into("<Q", copy, HEADER + 16, struct.unpack_from("<Q", data, HEADER + 8)[0] + len(places) - 2)
    struct.pack_into("<Q", copy, HEADER + 32, first + len(places) - 2)
    struct.pack_into("<I", copy, HEADER + 48, at - HEADER)
    copy[at : HEADER + CHUNK] = bytes(HEADER + CHUNK - at)
    return sealed(copy)[HEADER : HEADER + CHUNK]
