"""Chunks are found where they stand: carved from a disk, behind bytes put in or lost, standing twice or overwritten.

The records of each chunk, and so which of them are touched, are told by ``struct`` alone.
"""

from __future__ import annotations

import random
import struct
from io import BytesIO

import pytest
from exports import CHUNK, EXPORT, HEADER, NOTHING, SOURCE

from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import CountedRecords, EventRecord
from evtx_analyzer.read import recognize
from evtx_analyzer.read.evtx import aligned
from evtx_analyzer.read.evtx.pieces import evtx_pieces
from evtx_analyzer.read.evtx.reader import ChunkSelection, read_evtx
from samples import capi2, cases
from samples.evtx_writer import write_evtx

COUNT = (len(EXPORT) - HEADER) // CHUNK
assert COUNT > 4


def chunk(number):
    return EXPORT[HEADER + number * CHUNK : HEADER + (number + 1) * CHUNK]


def ids(number):
    first, last = struct.unpack_from("<QQ", chunk(number), 24)
    return set(range(first, last + 1))


EVERY = set().union(*(ids(number) for number in range(COUNT)))


def decoded(data):
    found = list(read_evtx(BytesIO(data), SOURCE))
    records = [item.record_id for item in found if isinstance(item, EventRecord)]
    assert len(records) == len(set(records))
    assert all(data[item.origin.offset :][:4] == b"**\0\0" for item in found if isinstance(item, EventRecord))
    return set(records), [item for item in found if isinstance(item, Loss)]


def counted(data):
    """Ids that a reading counts which decodes nothing."""
    selection = ChunkSelection(NOTHING, lambda *_: True)
    found = list(read_evtx(BytesIO(data), SOURCE, selection))
    runs = [range(i.origin.record, i.last_record + 1) for i in found if isinstance(i, CountedRecords)]
    single = [item.record_id for item in found if isinstance(item, EventRecord)]
    numbers = [number for run in runs for number in run] + single
    assert len(numbers) == len(set(numbers))
    return set(numbers), [item for item in found if isinstance(item, Loss)], selection


def named(losses):
    return {n for loss in losses if loss.first_record for n in range(loss.first_record, loss.last_record + 1)}


def test_chunks_without_a_file_header_are_read_and_told():
    data = EXPORT[HEADER:]
    assert recognize(data[: 1 << 16]) == "evtx"
    records, losses = decoded(data)
    assert records == counted(data)[0] == EVERY
    assert [loss.reason for loss in losses] == [
        "the file header is cut or missing, as it is where chunks were carved from a disk"
    ]


@pytest.mark.parametrize("size", [1, 511, 4095])
def test_bytes_lost_from_the_file_header_cost_no_record(size):
    data = EXPORT[: HEADER - size] + EXPORT[HEADER:]
    assert recognize(data[: 1 << 16]) == "evtx"
    assert decoded(data)[0] == counted(data)[0] == EVERY


@pytest.mark.parametrize("size", [1, 100, 5_000, 60_000])
def test_chunks_behind_bytes_that_are_no_part_of_the_log(size):
    data = random.Random(size).randbytes(size) + EXPORT[HEADER:]
    assert recognize(data[: 1 << 16]) == "evtx"
    assert decoded(data)[0] == EVERY


@pytest.mark.parametrize("number", [0, 2, COUNT - 1])
@pytest.mark.parametrize("size", [1, 512, 65_535])
@pytest.mark.parametrize("change", ["inserted", "removed"])
def test_bytes_inserted_or_removed_cost_the_chunk_they_stand_in(number, size, change):
    at = HEADER + number * CHUNK + 20_000
    data = EXPORT[:at] + random.Random(size).randbytes(size) + EXPORT[at:]
    if change == "removed":
        size = min(size, CHUNK - 20_000 - 1)
        data = EXPORT[:at] + EXPORT[at + size :]
    untouched = EVERY - ids(number)
    records, losses = decoded(data)
    assert untouched <= records
    assert losses
    assert records | named(losses) == EVERY
    assert untouched <= counted(data)[0]


def test_a_file_whose_line_ends_were_translated():
    """As ftp does in text mode; chunks hold such bytes by chance."""
    data = EXPORT.replace(b"\n", b"\r\n")
    assert data != EXPORT
    records, losses = decoded(data)
    whole = {number for number in range(COUNT) if b"\n" not in chunk(number)}
    assert set().union(set(), *(ids(number) for number in whole)) <= records
    assert losses


def test_a_sound_chunk_that_quotes_a_chunk_is_not_cut():
    """The neighbor's magic is damaged, so the bytes before it are looked at; but they are a sound chunk."""
    quoting = write_evtx(cases.noise(capi2.Recorder(cases.HOST), cases.KB_TIME, 20).events)[HEADER:]
    body = bytearray(quoting[:CHUNK])
    free = struct.unpack_from("<I", body, 48)[0]
    assert free < CHUNK - 2_000
    body[free + 100 : free + 612] = chunk(0)[:512]
    assert aligned.is_sound(bytes(body))
    data = EXPORT[:HEADER] + bytes(body) + b"X" + chunk(1)[1:]
    blocks = list(aligned.chunk_blocks(BytesIO(data[HEADER:]), b"", HEADER, [aligned.new_buffer()] * 9))
    assert [(len(block), at) for block, at in blocks] == [(2 * CHUNK, HEADER)]


@pytest.mark.parametrize("size", [0, 7, 4_096])
def test_later_readings_cut_a_file_as_the_first_did(size):
    at = HEADER + 2 * CHUNK + 20_000
    data = EXPORT[:at] + bytes([7]) * size + EXPORT[at:]
    _, _, selection = counted(data)
    pieces = list(evtx_pieces(BytesIO(data), SOURCE, NOTHING, bytes(selection.counted)))
    assert len(pieces) >= len(selection.counted) >= COUNT


def test_a_chunk_that_stands_twice_counts_once():
    data = EXPORT + chunk(1)
    for records, losses in (decoded(data), counted(data)[:2]):
        assert records == EVERY
        assert losses == []


@pytest.mark.parametrize("place", [1, 2])
def test_a_chunk_overwritten_by_a_copy_is_a_loss(place):
    at = HEADER + place * CHUNK
    data = EXPORT[:at] + chunk(place + 1) + EXPORT[at + CHUNK :]
    for records, losses in (decoded(data), counted(data)[:2]):
        assert records == EVERY - ids(place)
        assert named(losses) == ids(place)
        assert "was overwritten" in losses[0].reason


def test_damage_to_one_of_two_copies_leaves_the_other():
    """The first copy is damaged: then the second one is no copy, and its records count."""
    damaged = bytearray(EXPORT)
    damaged[HEADER + CHUNK + 40_000] ^= 1
    data = bytes(damaged) + chunk(1)
    found = list(read_evtx(BytesIO(data), SOURCE))
    assert {item.record_id for item in found if isinstance(item, EventRecord)} == EVERY


def test_unused_chunks_are_nothing():
    data = EXPORT + bytes(3 * CHUNK)
    assert decoded(data) == (EVERY, [])
