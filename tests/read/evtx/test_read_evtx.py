"""EVTX reading: what is there is read, what is not is a loss, whatever is damaged.

The damage is done to copies in memory of two real CAPI2 exports, which stand beside the checkout and are not part of
it. Expected numbers follow from where the chunks and records of those files stand, found here with ``struct`` alone.
"""

import re
import struct
import zlib
from collections import Counter
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from places import CHECKOUT

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRecords, EventRecord
from evtx_analyzer.read.evtx.reader import ChunkSelection, read_evtx
from evtx_analyzer.read.evtx.search import Search

EXPORTS = CHECKOUT.parent / "shared/data/capi2"
pytestmark = pytest.mark.skipif(not EXPORTS.is_dir(), reason="the real CAPI2 exports are not beside this checkout")

SOURCE = Origin(source="bundle.zip", member="capi2.evtx")
CHUNK = 0x10000
EVENT_IDS = {
    "E_ShadowCopy6": "10:51 11:52 30:53 40:77 41:78 42:3 50:22 51:22 52:11 53:11 80:19 81:20 82:7 90:33",
    "E_Windows": "10:42 11:42 30:42 40:54 41:54 42:2 50:15 51:15 52:12 53:12 80:8 81:8 90:34",
}


@cache
def export(name="E_Windows"):
    (path,) = EXPORTS.glob(f"{name} *.evtx")
    return path.read_bytes()


def read(data, **options):
    found = list(read_evtx(BytesIO(data), SOURCE, **options))
    records = [item for item in found if isinstance(item, EventRecord)]
    losses = [item for item in found if isinstance(item, Loss)]
    assert len(records) + len(losses) == len(found)
    return records, losses


def ids(records):
    return [record.record_id for record in records]


def lost(losses):
    return {number for loss in losses if loss.first_record for number in range(loss.first_record, loss.last_record + 1)}


def start(chunk):
    """Where a chunk begins in the file; chunks are counted from 1, as in 'chunk 2 of 13'."""
    return 4096 + (chunk - 1) * CHUNK


def heads(data, chunk):
    """(id, offset in the file, size) of each record of a healthy chunk."""
    at, end, found = start(chunk) + 512, start(chunk) + struct.unpack_from("<I", data, start(chunk) + 48)[0], []
    while at < end:
        _, size, number = struct.unpack_from("<IIQ", data, at)
        found.append((number, at, size))
        at += size
    return found


def damaged(at, new, data=None):
    copy = bytearray(export() if data is None else data)
    copy[at : at + len(new)] = new
    return bytes(copy)


def reseal(data, chunk):
    """Write the checksums of a chunk anew, as software would that had changed the chunk on purpose."""
    copy, at = bytearray(data), start(chunk)
    (free,) = struct.unpack_from("<I", copy, at + 48)
    struct.pack_into("<I", copy, at + 52, zlib.crc32(copy[at + 512 : at + free]))
    struct.pack_into("<I", copy, at + 124, zlib.crc32(copy[at : at + 120] + copy[at + 128 : at + 512]))
    return bytes(copy)


# --------------------------------------------------------------------------------------------------- undamaged


@pytest.mark.parametrize("name", EVENT_IDS)
def test_a_real_export_is_read_to_the_last_record_without_a_loss(name):
    records, losses = read(export(name))
    found = Counter(re.search(r"<EventID>(\d+)<", record.xml)[1] for record in records)
    assert losses == []
    assert found == {event: int(count) for event, count in (pair.split(":") for pair in EVENT_IDS[name].split())}


def test_a_ring_that_was_turned_is_read_in_the_order_in_which_it_stands():
    records, losses = read(export("E_ShadowCopy6"))
    assert (ids(records), losses) == ([*range(466, 720), *range(261, 466)], [])


def test_each_record_can_be_found_again_at_its_origin():
    data = export()
    records, _ = read(data)
    for record in records:
        magic, _, number = struct.unpack_from("<4sIQ", data, record.origin.offset)
        assert (magic, number) == (b"**\0\0", record.record_id) == (b"**\0\0", record.origin.record)
        assert (record.origin.source, record.origin.member) == (SOURCE.source, SOURCE.member)
    assert f"{records[0].time:%Y-%m-%d %H:%M:%S}" == "2017-05-19 02:02:36"


def test_a_stream_that_cannot_seek_and_gives_little_at_a_time_reads_alike():
    class Trickle:
        def __init__(self, data):
            self.inner = BytesIO(data)

        def read(self, size):
            return self.inner.read(min(size, 1000))

    stream: Any = Trickle(export())
    found = list(read_evtx(stream, SOURCE))
    assert found == list(read_evtx(BytesIO(export()), SOURCE))


def test_chunks_that_are_not_searched_for_are_accounted_for_all_the_same():
    data = damaged(heads(export(), 2)[3][1], b"\xff" * 60)
    (task,) = re.findall(r'TaskId="([^"]+)"', read(export())[0][0].xml)
    selection = ChunkSelection(Search([[frozenset({task})]]), lambda *_: True)
    found = list(read_evtx(BytesIO(data), SOURCE, selection))
    records = [item for item in found if isinstance(item, EventRecord)]
    # The damaged chunk, the second, cannot be counted; in the first there are records of the task.
    assert [item.record_id for item in records if not item.counted] == [n for n in ids(read(data)[0]) if 36 <= n <= 58]
    of_task = [record.record_id for record in read(export())[0] if task in record.xml]
    assert [item.record_id for item in records if item.counted] == of_task
    assert max(of_task) <= 35
    assert [item for item in found if isinstance(item, Loss)] == read(data)[1]
    assert list(selection.counted) == [1, 0, *[1] * 11, *[0] * 3]  # three were never used
    runs = [(item.origin.record, item.last_record) for item in found if isinstance(item, CountedRecords)]
    assert runs == [(1, 35), (59, 340)]


# --------------------------------------------------------------------------------------------------- file header


@pytest.mark.parametrize(
    ("at", "new", "reason"),
    [(124, bytes(4), "checksum"), (42, b"\1\0", "checksum"), (0, bytes(8), "magic")],
    ids=["checksum", "chunk count of 1", "magic"],
)
def test_a_damaged_file_header_costs_no_record(at, new, reason):
    records, losses = read(damaged(at, new))
    assert ids(records) == list(range(1, 341))
    assert [(reason in loss.reason, loss.extent, loss.origin.offset) for loss in losses] == [
        (True, "0 records lost", 0)
    ]


@pytest.mark.parametrize("length", [0, 100, 4095])
def test_a_file_shorter_than_its_header_is_one_loss(length):
    records, losses = read(export()[:length])
    assert (records, [loss.reason for loss in losses]) == ([], ["the file ends inside its header"])


def test_a_header_without_its_chunks_is_a_loss_of_them_all():
    records, (loss,) = read(export()[:4096])
    assert (records, loss.extent) == ([], "13 of 13 chunks, 851,968 bytes")


# --------------------------------------------------------------------------------------------------- chunks


def test_a_chunk_without_its_magic_is_read():
    records, (loss,) = read(damaged(start(2), bytes(8)))
    assert ids(records) == list(range(1, 341))
    assert (loss.origin.offset, loss.extent) == (start(2), "0 of 23 records lost")


def test_a_chunk_header_that_is_gone_altogether_costs_no_record():
    records, losses = read(damaged(start(2), b"\xff" * 512))
    assert ids(records) == list(range(1, 341))
    assert lost(losses) == set()
    assert losses


@pytest.mark.parametrize("field", [8, 16, 24, 32, 48])
def test_a_chunk_header_with_absurd_numbers_costs_no_record(field):
    records, losses = read(damaged(start(2) + field, b"\xff" * 7))
    assert ids(records) == list(range(1, 341))
    assert lost(losses) == set()
    assert losses


def test_a_chunk_header_that_speaks_of_other_records_costs_none():
    data = reseal(damaged(start(2) + 24, struct.pack("<QQ", 5036, 5058)), 2)
    records, (loss,) = read(data)
    assert ids(records) == list(range(1, 341))
    assert "does not speak of the records" in loss.reason


@pytest.mark.parametrize("free", [0, 100, 511, 65_537, 0xFFFFFFFF])
def test_a_free_space_offset_outside_of_the_chunk_costs_no_record_even_under_a_good_checksum(free):
    copy = bytearray(damaged(start(2) + 48, struct.pack("<I", free)))
    struct.pack_into("<I", copy, start(2) + 124, zlib.crc32(copy[start(2) :][:120] + copy[start(2) + 128 :][:384]))
    records, losses = read(bytes(copy))
    assert ids(records) == list(range(1, 341))
    assert len(losses) == 1


def test_records_smashed_under_a_damaged_chunk_header_are_named_as_far_as_can_be_known():
    data = damaged(start(2) + 8, b"\xff" * 40)
    (first, first_at, _), (number, at, _) = heads(export(), 2)[0], heads(export(), 2)[7]
    records, losses = read(damaged(at, bytes(24), damaged(first_at, bytes(24), data)))
    assert lost(losses) == {first, number}
    assert len(records) == 338


def test_a_chunk_of_noise_is_a_loss_of_its_size_and_its_ids_are_named():
    records, losses = read(damaged(start(2), b"\xaa" * CHUNK))
    assert ids(records) == [*range(1, 36), *range(59, 341)]
    assert lost(losses) == set(range(36, 59))
    assert losses[0].extent == "65,536 bytes, no record found"


def test_a_used_chunk_that_reads_as_zeros_is_missed():
    records, losses = read(damaged(start(2), bytes(CHUNK)))
    assert ids(records) == [*range(1, 36), *range(59, 341)]
    assert lost(losses) == set(range(36, 59))


@pytest.mark.parametrize("field", [52, 124], ids=["of the records", "of the header"])
def test_a_wrong_checksum_is_a_loss_of_no_record(field):
    records, (loss,) = read(damaged(start(2) + field, bytes(4)))
    assert ids(records) == list(range(1, 341))
    assert "checksum" in loss.reason
    assert loss.extent == "0 of 23 records lost"


@pytest.mark.parametrize(("chunk", "expected"), [(13, 0), (12, 1)])
def test_a_log_copied_while_it_was_written_may_have_stale_checksums_in_its_newest_chunk_only(chunk, expected):
    data = damaged(start(chunk) + 52, bytes(4), damaged(120, b"\1"))
    records, losses = read(data)
    assert (ids(records), len(losses)) == (list(range(1, 341)), expected)


def test_the_newest_chunk_of_a_turned_ring_is_not_the_last_one():
    log = damaged(120, b"\1", export("E_ShadowCopy6"))
    assert read(damaged(start(9) + 52, bytes(4), log))[1] == []  # ids 707 to 719
    assert len(read(damaged(start(16) + 52, bytes(4), log))[1]) == 1  # ids 433 to 465


@pytest.mark.parametrize("sealed", [False, True], ids=["by damage", "by a stale header"])
def test_records_behind_a_free_space_offset_that_is_too_small_are_read(sealed):
    _, at, _ = heads(export(), 2)[5]
    data = damaged(start(2) + 48, struct.pack("<I", at - start(2)))
    records, losses = read(reseal(data, 2) if sealed else data)
    assert ids(records) == list(range(1, 341))
    assert lost(losses) == set()


def test_remains_of_an_older_round_behind_free_space_do_not_come_back():
    _, at, size = heads(export(), 13)[-1]
    remains = export()[start(1) + 512 :][: start(14) - at - size]  # whole records: ids 1 and on
    records, losses = read(damaged(at + size, remains))
    assert (ids(records), losses) == (list(range(1, 341)), [])


def test_remains_do_not_come_back_either_where_the_chunk_header_is_gone():
    _, at, size = heads(export(), 13)[-1]
    remains = export()[start(12) + 512 :][: start(14) - at - size]  # ids 293 and on, near those of chunk 13
    records, _ = read(damaged(start(13), bytes(512), damaged(at + size, remains)))
    assert ids(records) == list(range(1, 341))


def test_a_filtered_export_has_holes_between_its_ids_and_no_losses():
    copy = bytearray(export())
    for n in range(1, 14):
        first, last = struct.unpack_from("<QQ", copy, start(n) + 24)
        struct.pack_into("<QQ", copy, start(n) + 24, first * 10, last * 10)
        for number, at, _ in heads(copy, n):
            struct.pack_into("<Q", copy, at + 8, number * 10)
        copy[:] = reseal(copy, n)
    records, losses = read(bytes(copy))
    assert (ids(records), losses) == (list(range(10, 3401, 10)), [])
    records, losses = read(damaged(heads(copy, 2)[3][1], b"\xff" * 60, copy))
    assert len(records) == 339
    assert lost(losses) == set()  # which id is lost cannot be told
    assert losses


# --------------------------------------------------------------------------------------------------- truncation


def test_a_file_cut_inside_a_chunk_gives_the_complete_records_of_its_tail():
    cut = start(3) + 30_000
    complete = [number for number, at, size in heads(export(), 3) if at + size <= cut]
    records, losses = read(export()[:cut])
    assert ids(records) == [*range(1, 59), *complete]
    assert len(complete) > 1
    assert lost(losses) == set(range(complete[-1] + 1, 341))
    assert losses[0].origin.offset == start(3)
    assert "30,000 bytes" in losses[0].reason


def test_a_file_cut_between_chunks_is_not_taken_for_a_whole_one():
    records, losses = read(export()[: start(3)])
    assert ids(records) == list(range(1, 59))
    assert lost(losses) == set(range(59, 341))


def test_a_ring_that_was_cut_names_the_records_of_its_missing_chunks():
    records, losses = read(export("E_ShadowCopy6")[: start(13)])  # chunk 13 begins with id 348
    assert ids(records) == [*range(466, 720), *range(261, 348)]
    assert lost(losses) == set(range(348, 466))


# --------------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize("inside", [0, 24], ids=["its head", "its BinXML"])
@pytest.mark.parametrize("chunk", [1, 2, 13])
def test_a_smashed_record_loses_one_record_and_not_its_chunk(chunk, inside):
    number, at, _ = heads(export(), chunk)[7]
    records, losses = read(damaged(at + inside, b"\xff" * 60))
    assert ids(records) == [n for n in range(1, 341) if n != number]
    assert lost(losses) == {number}
    (loss,) = (loss for loss in losses if loss.first_record)
    assert (loss.first_record, loss.last_record, loss.origin.record) == (number, number, number)
    assert loss.origin.offset == at


@pytest.mark.parametrize("position", [0, -1], ids=["first", "last"])
def test_the_first_and_the_last_record_of_a_chunk_are_missed_too(position):
    number, at, _ = heads(export(), 13)[position]
    _, losses = read(damaged(at, bytes(24)))
    assert lost(losses) == {number}


def test_a_record_whose_second_size_is_damaged_is_read():
    _, at, size = heads(export(), 2)[7]
    records, losses = read(damaged(at + size - 4, b"\xff" * 4))
    assert ids(records) == list(range(1, 341))
    assert [loss.extent for loss in losses] == ["0 of 23 records lost"]


def test_records_that_evtx_gives_up_are_decoded_as_evtx_would_have_done():
    """One smashed head hides the rest of the chunk from evtx; they must read as in the undamaged file."""
    number, at, _ = heads(export(), 2)[7]
    expected = {record.record_id: record for record in read(export())[0]}
    for record in read(damaged(at, b"\xff" * 24))[0]:
        assert (record.origin, record.time) == (expected[record.record_id].origin, expected[record.record_id].time)
        assert said(record) == said(expected[record.record_id])
    assert number in expected


def said(record):
    return [
        (element.tag, dict(element.attrib), (element.text or "").strip())
        for element in etree.fromstring(record.xml.encode()).iter()
    ]


# --------------------------------------------------------------------------------------------------- any damage


@cache
def small():
    """The first three chunks of the export, with a header that says so: enough for any damage, and quick."""
    copy = bytearray(export()[: start(4)])
    struct.pack_into("<QQQ", copy, 8, 0, 2, 80)
    struct.pack_into("<H", copy, 42, 3)
    struct.pack_into("<I", copy, 124, zlib.crc32(copy[:120]))
    return bytes(copy)


ANY_DAMAGE = settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow])


@given(st.integers(start(1) + 512, start(4) - 1))
@ANY_DAMAGE
def test_any_truncation_accounts_for_every_record(length):
    records, losses = read(small()[:length])
    assert set(ids(records)) | lost(losses) == set(range(1, 80))
    assert set(ids(records)).isdisjoint(lost(losses))
    assert losses


@given(st.integers(0, 8 * start(4) - 1))
@ANY_DAMAGE
def test_any_flipped_bit_accounts_for_every_record(bit):
    data = damaged(bit // 8, bytes([small()[bit // 8] ^ 1 << bit % 8]), small())
    records, losses = read(data)
    assert set(ids(records)) | lost(losses) >= set(range(1, 80))
    assert len(records) + len(lost(losses)) <= 79 + 1  # one flipped id may stand for another


@given(
    pieces=st.lists(
        st.tuples(st.integers(0, start(4) - 1), st.binary(min_size=1, max_size=200)), min_size=1, max_size=6
    ),
    sealed=st.booleans(),
)
@ANY_DAMAGE
def test_no_damage_raises(pieces, *, sealed):
    data = small()
    for at, new in pieces:
        data = damaged(at, new, data)
    records, _ = read(reseal(reseal(data, 2), 3) if sealed else data)
    assert len(records) <= 79


@given(st.binary(max_size=3000), st.integers(0, 70_000))
@ANY_DAMAGE
def test_noise_raises_nothing_and_is_never_silent(noise, padding):
    records, losses = read(noise + b"\x55" * padding)
    assert records == []
    assert losses
