"""Chunks that are counted from their record heads count as they would after decoding; and what is odd is decoded."""

import re
import struct
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pyevtx
import pytest
from examples import examples
from exports import CHUNK, EXPORT, HEADER, NOTHING, SOURCE, export
from hypothesis import given, settings
from hypothesis import strategies as st
from places import CHECKOUT, SAMPLES

import evtx_analyzer as ea
from evtx_analyzer.discover.hashing import Digests
from evtx_analyzer.ingest import examine
from evtx_analyzer.model.records import CountedRecords, EventRecord
from evtx_analyzer.normalize import is_relevant, may_be_relevant
from evtx_analyzer.normalize.capi2 import is_capi2_channel
from evtx_analyzer.read.evtx import reader as evtx
from evtx_analyzer.read.evtx.chunk import account, counted_chunk
from evtx_analyzer.read.evtx.reader import ChunkSelection, read_evtx
from evtx_analyzer.read.evtx.search import Search
from evtx_analyzer.read.evtx.span import Spans
from evtx_analyzer.report.document import to_json
from samples import capi2, cases
from samples.evtx_writer import write_evtx

REAL = CHECKOUT.parent / "shared/data/capi2"
SETTINGS = settings(max_examples=examples(60))
EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def sealed(data, start):
    """Put both checksums of a chunk right."""
    free = struct.unpack_from("<I", data, start + 48)[0]
    struct.pack_into("<I", data, start + 52, zlib.crc32(data[start + 512 : start + free]))
    head = data[start : start + 120] + data[start + 128 : start + 512]
    struct.pack_into("<I", data, start + 124, zlib.crc32(head))


def spans(body):
    made = Spans(lambda *_: True, evtx._first_text)
    return [made.span(memoryview(bytes(body))[at : at + CHUNK]) for at in range(0, len(body), CHUNK)]


def said(xml):
    """Event id, time and record id as the text of an event says them."""
    time = re.search(r'SystemTime="([^"]+)"', xml)[1]
    return int(re.search(r"<EventID[^>]*>(\d+)<", xml)[1]), time, int(re.search(r"<EventRecordID>(\d+)<", xml)[1])


def text(ticks):
    """A FILETIME as ``evtx`` writes it."""
    time = EPOCH + timedelta(microseconds=ticks // 10)
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"


def counted(span):
    ids = range(span.first, span.last + 1)
    return [(event, text(time), number) for event, time, number in zip(span.event_ids, span.times, ids, strict=True)]


def test_a_span_is_what_another_reader_says_of_its_records():
    """libevtx counts every record of a made export; ours come out chunk by chunk."""
    log = pyevtx.file()
    log.open_file_object(BytesIO(EXPORT))
    theirs = [
        (log.get_record(at).event_identifier, log.get_record(at).identifier) for at in range(log.number_of_records)
    ]
    ours = [(event, number) for span in spans(EXPORT[HEADER:]) for event, _, number in counted(span)]
    assert ours == theirs
    assert len(ours) == 1200
    assert {span.names for span in spans(EXPORT[HEADER:])} == {
        ("Microsoft-Windows-CAPI2", "Microsoft-Windows-CAPI2/Operational", cases.HOST)
    }


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CAPI2 exports are not beside this checkout")
def test_a_span_is_what_the_text_of_its_records_says_in_real_exports():
    """All chunks have one but the newest of the ring, behind whose free space a record begins; and unused ones."""
    known = []
    for path in sorted(REAL.glob("*.evtx")):
        body = path.read_bytes()[HEADER:]
        for at, span in zip(range(0, len(body), CHUNK), spans(body), strict=True):
            known.append(span is not None)
            if span is not None:
                assert counted(span) == [said(xml) for _, xml in evtx.texts(account(body[at : at + CHUNK]))]
    assert known.count(True) == 15 + 13


@given(
    damages=st.lists(
        st.tuples(
            st.integers(0, 7),
            st.integers(0, CHUNK - 1),
            st.sampled_from([b"\0" * 4, b"\xff" * 4, b"**\0\0", b"\1", b"\x20", b"\0\0\1\0"]),
            st.booleans(),
        ),
        max_size=6,
    )
)
@SETTINGS
def test_a_damaged_chunk_has_no_span_or_that_of_its_records(damages):
    """Anywhere in a chunk, with its checksums left wrong or put right."""
    body = bytearray(EXPORT[HEADER : HEADER + 8 * CHUNK])
    for place, at, new, seal in damages:
        start = place * CHUNK
        body[start + at : start + at + len(new)] = new[: CHUNK - at]
        if seal:
            sealed(body, start)
    same_as_decoded(body)


def same_as_decoded(body):
    found = spans(body)
    for at, span in zip(range(0, len(body), CHUNK), found, strict=True):
        texts = list(evtx.texts(account(bytes(body[at : at + CHUNK]))))
        if span is None or any(not isinstance(xml, str) for _, xml in texts):
            continue  # what cannot be decoded is counted like its neighbors: said in read/evtx/span.py
        assert [number for _, _, number in counted(span)] == [head.id for head, _ in texts]
        assert counted(span) == [said(xml) for _, xml in texts]
    return found


def places(chunk):
    """Places of the records of a chunk."""
    at, found = 512, []
    while at < struct.unpack_from("<I", chunk, 48)[0]:
        found.append(at)
        at += struct.unpack_from("<I", chunk, at + 4)[0]
    return found


@given(
    number=st.integers(0, 30),
    # Not the size, and no descriptor: of one that contradicts itself a reader may believe the size or the type.
    at=st.sampled_from([0, *range(8, 35), *range(122, 200)]),
    new=st.binary(min_size=1, max_size=4),
)
@SETTINGS
def test_a_record_that_is_not_as_expected_is_not_counted_wrongly(number, at, new):
    """Frame, prelude and values of a record, with the checksums put right."""
    body = bytearray(EXPORT[HEADER : HEADER + CHUNK])
    where = places(body)
    offset = where[number % len(where)] + at
    body[offset : offset + len(new)] = new
    sealed(body, 0)
    same_as_decoded(body)


@pytest.mark.parametrize("bit", range(0, 8 * 512, 97))
def test_a_flipped_bit_in_a_header_takes_the_span_away(bit):
    body = bytearray(EXPORT[HEADER : HEADER + CHUNK])
    body[bit // 8] ^= 1 << bit % 8
    unused = 120 <= bit // 8 < 124  # flags, in no checksum
    assert (spans(body)[0] is not None) is unused


def test_magic_inside_of_a_record_does_not_matter():
    body = bytearray(EXPORT[HEADER : HEADER + 2 * CHUNK])
    at = CHUNK + places(body[CHUNK : 2 * CHUNK])[3]
    body[at + 400 : at + 408] = b"**\0\0\0\0\0\0"
    sealed(body, CHUNK)
    assert all(spans(body))


def test_a_descriptor_that_leads_out_of_its_record_is_no_crash():
    """Of a record at the very end of its chunk too: sizes in it say that its values lie beyond."""
    body = bytearray(EXPORT[HEADER : HEADER + 2 * CHUNK])
    free = struct.unpack_from("<I", body, 48)[0]
    last = places(body[:CHUNK])[-1]
    # Moved to the end of the chunk by making the record before it longer.
    size = free - last
    body[CHUNK - size : CHUNK] = body[last:free]
    before = places(body[:CHUNK])[-2]
    longer = CHUNK - size - before
    struct.pack_into("<I", body, before + 4, longer)
    struct.pack_into("<I", body, CHUNK - size - 4, longer)
    struct.pack_into("<I", body, 48, CHUNK)
    struct.pack_into("<H", body, CHUNK - size + 38 + 4, 30_000)
    sealed(body, 0)
    assert [span is not None for span in spans(body)] == [False, True]


@pytest.mark.parametrize("at", [4, 550 + 20], ids=["size of the first record", "length of the definition"])
@pytest.mark.parametrize("size", [0, 1, 38, 60_000, 70_000, 0xFFFFFFFF])
def test_absurd_sizes_under_a_good_checksum_are_no_crash(at, size):
    body = bytearray(EXPORT[HEADER : HEADER + CHUNK])
    struct.pack_into("<I", body, at if at > 512 else 512 + at, size)
    sealed(body, 0)
    assert spans(body) == [None]


def selected(data, search=NOTHING, countable=lambda *_: True):
    selection = ChunkSelection(search, countable)
    return list(read_evtx(BytesIO(data), SOURCE, selection)), selection


def runs(things):
    return [(thing.origin.record, thing.last_record) for thing in things if isinstance(thing, CountedRecords)]


def test_a_whole_export_is_one_run():
    (run,), selection = selected(EXPORT)
    plain = [item for item in read_evtx(BytesIO(EXPORT), SOURCE) if isinstance(item, EventRecord)]
    assert (run.origin.record, run.last_record, run.origin.offset) == (1, 1200, HEADER + 512)
    assert run.event_ids == Counter(said(record.xml)[0] for record in plain)
    assert (run.first, run.last) == (min(record.time for record in plain), max(record.time for record in plain))
    assert (run.provider, run.channel, run.host) == (
        "Microsoft-Windows-CAPI2",
        "Microsoft-Windows-CAPI2/Operational",
        cases.HOST,
    )
    assert selection.counted == b"\1" * ((len(EXPORT) - HEADER) // CHUNK)


def test_where_ids_do_not_run_on_a_new_run_begins():
    """A ring that has wrapped: the newest records stand before the oldest."""
    newest, oldest = export(100, first=5001), export(100, first=201)
    things, _ = selected(newest + oldest[HEADER:])
    assert runs(things) == [(5001, 5400), (201, 600)]


def test_where_the_machine_changes_a_new_run_begins():
    """A collector's file, or a machine that was given another name."""
    other = cases.noise(capi2.Recorder("OTHER", next_record=1201), cases.KB_TIME, 10)
    things, _ = selected(EXPORT + write_evtx(other.events)[HEADER:])
    assert [(thing.host, thing.last_record) for thing in things if isinstance(thing, CountedRecords)] == [
        (cases.HOST, 1200),
        ("OTHER", 1240),
    ]


def test_damaged_chunks_between_counted_ones_give_the_losses_of_the_plain_way():
    data = bytearray(EXPORT)
    for place in (3, 4, 9):
        data[HEADER + place * CHUNK + 5000] ^= 1
    things, selection = selected(bytes(data))
    losses = [thing for thing in read_evtx(BytesIO(bytes(data)), SOURCE) if isinstance(thing, ea.Loss)]
    assert [thing for thing in things if isinstance(thing, ea.Loss)] == losses
    assert losses
    assert [at for at, flag in enumerate(selection.counted) if not flag] == [3, 4, 9]


def test_of_a_chunk_that_is_found_the_records_with_the_text_are_given_and_counted_once():
    data = cases.kb_3212877()[cases.CAPI2_FILE]
    written = {int(re.search(r"<EventRecordID>(\d+)<", event)[1]): event for event in cases._kb_events()}
    expected = [number for number, event in written.items() if "800B0109" in event]
    things, selection = selected(data, Search([[frozenset({"800b0109"})]]))
    given = [thing for thing in things if isinstance(thing, EventRecord)]
    assert [record.record_id for record in given] == expected
    assert len(expected) > 1
    assert all(record.counted for record in given)
    assert runs(things) == [(min(written), max(written))]
    assert all(selection.counted)


def test_what_stands_in_the_definition_alone_stands_in_every_record():
    """Provider, channel and machine are written once in a chunk, by its first record."""
    data = write_evtx(cases.noise(capi2.Recorder("EX-00427.contoso.com"), cases.KB_TIME, 20).events)
    things, _ = selected(data, Search([[frozenset({"ex-00427"})]]))
    assert [thing.record_id for thing in things if isinstance(thing, EventRecord)] == list(range(1, 81))


def test_a_chunk_that_is_cut_off_is_not_counted():
    data = EXPORT[:-1000]
    things, selection = selected(data)
    assert list(selection.counted) == [1] * ((len(EXPORT) - HEADER) // CHUNK - 1) + [0]
    assert [thing for thing in things if isinstance(thing, ea.Loss)] == [
        thing for thing in read_evtx(BytesIO(data), SOURCE) if isinstance(thing, ea.Loss)
    ]


OTHER = """<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><Provider Name="{provider}"/>
<EventID>{event_id}</EventID><Version>0</Version><Level>4</Level><Task>0</Task><Opcode>0</Opcode>
<Keywords>0x80000000000000</Keywords><TimeCreated SystemTime="2016-12-01T03:09:{second:02d}.456Z"/>
<EventRecordID>{record}</EventRecordID><Correlation/><Execution ProcessID="4" ThreadID="8"/><Channel>{channel}</Channel>
<Computer>EX01</Computer><Security/></System><EventData><Data Name="a">{text}</Data></EventData></Event>"""


def other(record, provider="Service Control Manager", channel="System", event_id=7036, text="stopped"):
    return OTHER.format(
        provider=provider, channel=channel, event_id=event_id, text=text, record=record, second=record % 60
    ).replace("\n", "")


def test_a_counted_chunk_has_the_account_that_any_chunk_has():
    data = export(600)
    for start in range(HEADER, len(data), CHUNK):
        raw = data[start : start + CHUNK]
        assert counted_chunk(raw) == account(raw)
        for cut in (raw[:-1], b"x" + raw[1:], raw[:520] + b"\xff" + raw[521:], bytes(CHUNK)):
            assert counted_chunk(cut) == account(cut)


def system_log(count=600):
    """A System log in which few events are of Schannel; and ids are missing, as in one that was filtered."""
    texts = [other(number) for number in range(1, count) if number not in (50, 51)]
    texts[100] = other(103, provider="Schannel", event_id=36888, text="40")
    texts[300] = other(303, provider="Microsoft-Windows-ſchannel-Events", event_id=36874)
    texts[301] = other(304, text="Microsoft-Windows-CAPI2/Operational")
    return write_evtx(texts)


def test_logs_of_other_channels_give_the_same_report(tmp_path):
    (tmp_path / "System.evtx").write_bytes(system_log())
    (tmp_path / "capi2.evtx").write_bytes((SAMPLES / "kb-3212877" / cases.CAPI2_FILE).read_bytes())
    (tmp_path / "SEND.LOG").write_bytes((SAMPLES / "kb-3212877" / cases.SEND_FILE).read_bytes())
    plain = to_json(ea.analyze(tmp_path, prefilter=False))
    fast = ea.analyze(tmp_path)
    assert to_json(fast) == plain
    assert {context.code for context in fast.context} == {"36888", "36874"}


def test_records_of_other_channels_are_counted_unless_they_concern_anybody():
    made = ChunkSelection(NOTHING, is_capi2_channel, is_relevant=is_relevant)
    found = list(read_evtx(BytesIO(system_log()), SOURCE, made))
    assert [item.record_id for item in found if isinstance(item, EventRecord)] == [103, 303, 304]
    runs = [(item.origin.record, item.last_record) for item in found if isinstance(item, CountedRecords)]
    ids = {number for first, last in runs for number in range(first, last + 1)}
    assert ids == set(range(1, 600)) - {50, 51, 103, 303, 304}
    assert {item.provider for item in found if isinstance(item, CountedRecords)} == {""}


@pytest.mark.parametrize(
    "word", ["Schannel", "ſchannel", "MSExchangeTransport", "mentions Microsoft-Windows-capi2", ""]
)
def test_a_chunk_of_another_channel_is_decoded_where_it_holds_a_word_of_ours(word, monkeypatch):
    decoded = []
    monkeypatch.setattr(evtx, "_decoded", lambda chunk, plain=evtx._decoded: decoded.append(0) or plain(chunk))
    data = write_evtx([other(1), other(2, text=word or "nothing"), other(3)])
    made = ChunkSelection(NOTHING, is_capi2_channel, bytearray(), is_relevant, may_be_relevant)
    found = list(read_evtx(BytesIO(data), SOURCE, made))
    assert [item.record_id for item in found if isinstance(item, EventRecord)] == ([2] if word else [])
    assert sum(item.last_record - item.origin.record + 1 for item in found if isinstance(item, CountedRecords)) == (
        2 if word else 3
    )
    # One chunk of each file is decoded to learn what its template says; that is no decoding for its events.
    assert (len(decoded) > 1) is bool(word)


def test_a_record_of_another_channel_that_cannot_be_decoded_is_a_loss():
    data = bytearray(write_evtx([other(number) for number in range(1, 5)]))
    at = HEADER + places(data[HEADER : HEADER + CHUNK])[2]
    data[at + 24 : at + 60] = b"\xff" * 36
    sealed(data, HEADER)
    made = ChunkSelection(NOTHING, is_capi2_channel, is_relevant=is_relevant)
    found = list(read_evtx(BytesIO(bytes(data)), SOURCE, made))
    assert [item.first_record for item in found if isinstance(item, ea.Loss)] == [3]
    assert [(item.origin.record, item.last_record) for item in found if isinstance(item, CountedRecords)] == [
        (1, 2),
        (4, 4),
    ]


# ------------------------------------------------------------------------------------------------- digests


@pytest.fixture
def as_large(monkeypatch):
    """The digest of every file of a chunk or more is made beside the reading."""
    monkeypatch.setattr(examine, "LARGE", CHUNK)


def test_equal_large_files_are_still_told_apart_from_others(tmp_path, as_large):
    """Their digests are made beside; that of a size that no other file has is waited for at the end only."""
    other = export(300, first=40_001)
    for name, data in {"a.evtx": EXPORT, "b.evtx": EXPORT, "c.evtx": other, "d.evtx": other[:-CHUNK]}.items():
        (tmp_path / name).write_bytes(data)
    sources = ea.analyze(tmp_path).sources
    assert [source.duplicate_of for source in sources] == ["", "a.evtx", "", ""]
    digests = {source.path: source.sha256 for source in sources}
    assert digests["a.evtx"] == digests["b.evtx"]
    assert all(len(digest) == 64 for digest in digests.values())
    assert len(set(digests.values())) == 3


def test_a_large_file_that_fails_while_it_is_hashed_has_no_digest(tmp_path, as_large, monkeypatch):
    (tmp_path / "a.evtx").write_bytes(EXPORT)
    (tmp_path / "b.evtx").write_bytes(export(2))
    kept = Digests.begin

    def begin(self, source):
        return kept(self, ea_source(source) if source.path == "a.evtx" else source)

    def ea_source(source):
        def fail():
            raise OSError(5, "Input/output error")

        return type(source)(origin=source.origin, size=source.size, open=fail)

    monkeypatch.setattr(Digests, "begin", begin)
    report = ea.analyze(tmp_path)
    first = next(item for item in report.sources if item.path == "a.evtx")
    assert (first.status, first.sha256) == ("partial", "")
    assert [(loss.reason, loss.extent) for loss in report.losses] == [
        ("cannot be opened or read: Input/output error", "its digest")
    ]
