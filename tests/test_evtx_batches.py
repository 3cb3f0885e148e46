"""Large EVTX files, handled many chunks at a time, give what the plain way gives; and the parts are what they say."""

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evtx_analyzer as ea
from evtx_analyzer import intake
from evtx_analyzer.model import CountedRecords, EventRecord, Origin
from evtx_analyzer.read import evtx, evtx_blocks
from evtx_analyzer.read.evtx import Chunks, read_evtx
from evtx_analyzer.read.evtx_batches import PADDING, count_block
from evtx_analyzer.read.evtx_chunks import account, counted_chunk
from evtx_analyzer.read.evtx_counting import Counter
from evtx_analyzer.read.evtx_needles import holding, naming
from evtx_analyzer.report.document import to_json
from samples import capi2, cases
from samples.build import CASES
from samples.evtx_writer import write_evtx

SAMPLES = Path(__file__).parent.parent / "samples"
REAL = Path(__file__).parents[2] / "shared/data/capi2"
SOURCE = Origin(source="x.evtx")
CHUNK, HEADER = 65536, 4096
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def as_large(monkeypatch):
    """Every file of a chunk or more is handled as large ones are, in blocks of four chunks."""
    for module in (evtx, evtx_blocks):
        monkeypatch.setattr(module, "BLOCK", 4 * CHUNK)
        monkeypatch.setattr(module, "SEARCH_BLOCK", CHUNK)
    monkeypatch.setattr(evtx_blocks, "LARGE", CHUNK)
    monkeypatch.setattr(intake, "LARGE", CHUNK)


@pytest.mark.parametrize("name", sorted(CASES))
def test_large_is_as_small_on_every_sample(name, request):
    small = to_json(ea.analyze(SAMPLES / name))
    request.getfixturevalue("as_large")
    assert to_json(ea.analyze(SAMPLES / name)) == small


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CAPI2 exports are not beside this checkout")
def test_large_is_as_small_on_real_exports(request):
    inputs = [REAL, SAMPLES / "kb-3212877"]
    small = to_json(ea.analyze(inputs))
    request.getfixturevalue("as_large")
    assert to_json(ea.analyze(inputs)) == small


def export(count, first=1):
    return write_evtx(cases.noise(capi2.Recorder(cases.HOST, next_record=first), cases.KB_TIME, count).events)


EXPORT = export(300)


def sealed(data, start):
    """Put both checksums of a chunk right."""
    free = struct.unpack_from("<I", data, start + 48)[0]
    struct.pack_into("<I", data, start + 52, zlib.crc32(data[start + 512 : start + free]))
    head = data[start : start + 120] + data[start + 128 : start + 512]
    struct.pack_into("<I", data, start + 124, zlib.crc32(head))


def decode(raw):
    return evtx._first_text(bytes(raw))


def counts_of(runs):
    return [
        (
            run.records.origin.record,
            run.records.last_record,
            (run.records.provider, run.records.channel, run.records.host),
            run.records.first,
            run.records.last,
            dict(sorted(run.records.event_ids.items())),
        )
        for run in runs
    ]


def plainly(counter, body):
    """Runs of chunks that the plain way counts, put together here."""
    joined = []
    for place in range(len(body) // CHUNK):
        found = counter.count(bytes(body[place * CHUNK : (place + 1) * CHUNK]), HEADER + place * CHUNK)
        if found is None:
            continue
        one = found[1]
        ids = dict(one.event_ids)
        last = joined[-1] if joined else None
        names = (one.provider, one.channel, one.host)
        if last and last["stop"] == place and last["last"] + 1 == one.origin.record and last["names"] == names:
            for number, count in ids.items():
                last["ids"][number] = last["ids"].get(number, 0) + count
            last |= {"stop": place + 1, "last": one.last_record, "to": max(last["to"], one.last)}
            last["from"] = min(last["from"], one.first)
        else:
            joined.append(
                {
                    "start": place,
                    "stop": place + 1,
                    "first": one.origin.record,
                    "last": one.last_record,
                    "names": names,
                    "from": one.first,
                    "to": one.last,
                    "ids": ids,
                    "offset": one.origin.offset,
                }
            )
    return joined


def at_once(body):
    counter = Counter(SOURCE, lambda *_: True, decode)
    return count_block(counter, bytearray(body) + bytearray(PADDING), len(body), HEADER)


def same_counts(body):
    plain = plainly(Counter(SOURCE, lambda *_: True, decode), body)
    runs = at_once(body)
    assert [(run.first, run.stop, run.records.origin.offset) for run in runs] == [
        (item["start"], item["stop"], item["offset"]) for item in plain
    ]
    assert counts_of(runs) == [
        (item["first"], item["last"], item["names"], item["from"], item["to"], dict(sorted(item["ids"].items())))
        for item in plain
    ]
    return runs


def test_a_whole_export_is_one_run():
    body = EXPORT[HEADER:]
    (run,) = same_counts(body)
    assert (run.first, run.stop) == (0, len(body) // CHUNK)
    assert (run.records.origin.record, run.records.last_record) == (1, 1200)
    assert sum(run.records.event_ids.values()) == 1200


def test_where_ids_do_not_run_on_a_new_run_begins():
    """A ring that has wrapped: the newest records stand before the oldest."""
    body = export(100, first=5001)[HEADER:] + export(100, first=201)[HEADER:]
    first, second = same_counts(body)
    assert first.records.origin.record == 5001
    assert second.records.origin.record == 201


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
def test_counting_at_once_is_counting_one_by_one_in_damaged_files(damages):
    """Anywhere in a chunk, with its checksums left wrong or put right."""
    body = bytearray(EXPORT[HEADER : HEADER + 8 * CHUNK])
    for place, at, new, seal in damages:
        start = place * CHUNK
        body[start + at : start + at + len(new)] = new[: CHUNK - at]
        if seal:
            sealed(body, start)
    same_counts(body)


def records(chunk):
    """Places of the records of a chunk."""
    at, found = 512, []
    while at < struct.unpack_from("<I", chunk, 48)[0]:
        found.append(at)
        at += struct.unpack_from("<I", chunk, at + 4)[0]
    return found


@given(
    place=st.integers(0, 7),
    number=st.integers(0, 30),
    at=st.integers(0, 200),
    new=st.binary(min_size=1, max_size=4),
)
@SETTINGS
def test_a_record_that_is_not_as_expected_is_so_in_both_ways(place, number, at, new):
    """Frame, prelude, descriptors and numbers of a record, with the checksums put right."""
    body = bytearray(EXPORT[HEADER : HEADER + 8 * CHUNK])
    start = place * CHUNK
    where = records(body[start : start + CHUNK])
    offset = start + where[number % len(where)] + at
    body[offset : offset + len(new)] = new
    sealed(body, start)
    same_counts(body)


def test_magic_inside_of_a_record_does_not_matter():
    body = bytearray(EXPORT[HEADER : HEADER + 4 * CHUNK])
    at = CHUNK + records(body[CHUNK : 2 * CHUNK])[3]
    body[at + 400 : at + 408] = b"**\0\0\0\0\0\0"
    sealed(body, CHUNK)
    (run,) = same_counts(body)
    assert run.stop == 4


def test_a_descriptor_that_leads_out_of_its_record_is_no_crash():
    """Of a record at the very end of its chunk too: sizes in it say that its values lie beyond."""
    body = bytearray(EXPORT[HEADER : HEADER + 2 * CHUNK])
    free = struct.unpack_from("<I", body, 48)[0]
    last = records(body[:CHUNK])[-1]
    # Moved to the end of the chunk by making the record before it longer.
    size = free - last
    body[CHUNK - size : CHUNK] = body[last:free]
    before = records(body[:CHUNK])[-2]
    longer = CHUNK - size - before
    struct.pack_into("<I", body, before + 4, longer)
    struct.pack_into("<I", body, CHUNK - size - 4, longer)
    struct.pack_into("<I", body, 48, CHUNK)
    struct.pack_into("<H", body, CHUNK - size + 38 + 4, 30_000)
    sealed(body, 0)
    runs = same_counts(body)
    assert [run.first for run in runs] == [1]


def test_many_machines_and_chunks_give_the_same_account(as_large):
    """Losses and counts of a file in which chunks that are counted and such that are not take turns."""
    data = bytearray(EXPORT)
    for place in (3, 4, 9):
        data[HEADER + place * CHUNK + 5000] ^= 1
    made = Chunks(holding([[frozenset({"not there at all"})]]), lambda *_: True, bytearray())
    found = list(read_evtx(BytesIO(bytes(data)), SOURCE, made))
    plain = list(read_evtx(BytesIO(bytes(data)), SOURCE))
    losses = [item for item in plain if isinstance(item, ea.Loss)]
    assert [item for item in found if isinstance(item, ea.Loss)] == losses
    assert losses
    assert [at for at, flag in enumerate(made.counted) if not flag] == [3, 4, 9]


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


@pytest.mark.parametrize("large", [False, True])
def test_logs_of_other_channels_give_the_same_report(tmp_path, large, request):
    (tmp_path / "System.evtx").write_bytes(system_log())
    (tmp_path / "capi2.evtx").write_bytes((SAMPLES / "kb-3212877" / cases.CAPI2_FILE).read_bytes())
    (tmp_path / "SEND.LOG").write_bytes((SAMPLES / "kb-3212877" / cases.SEND_FILE).read_bytes())
    plain = to_json(ea.analyze(tmp_path, prefilter=False))
    if large:
        request.getfixturevalue("as_large")
    fast = ea.analyze(tmp_path)
    assert to_json(fast) == plain
    assert {item.code for item in fast.context} == {"36888", "36874"}


def test_records_of_other_channels_are_counted_unless_they_concern_anybody():
    made = Chunks(lambda _: False, intake.is_capi2_channel, bytearray(), intake.concerns)
    found = list(read_evtx(BytesIO(system_log()), SOURCE, made))
    assert [item.record_id for item in found if isinstance(item, EventRecord)] == [103, 303, 304]
    runs = [(item.origin.record, item.last_record) for item in found if isinstance(item, CountedRecords)]
    ids = {number for first, last in runs for number in range(first, last + 1)}
    assert ids == set(range(1, 600)) - {50, 51, 103, 303, 304}
    assert {item.provider for item in found if isinstance(item, CountedRecords)} == {""}


@pytest.mark.parametrize(
    "word", ["Schannel", "ſchannel", "MSExchangeTransport", "mentions Microsoft-Windows-capi2", ""]
)
@pytest.mark.parametrize("large", [False, True])
def test_a_chunk_of_another_channel_is_decoded_where_it_holds_a_word_of_ours(word, large, request, monkeypatch):
    if large:
        request.getfixturevalue("as_large")
    decoded = []
    monkeypatch.setattr(evtx, "_decoded", lambda chunk, plain=evtx._decoded: decoded.append(0) or plain(chunk))
    data = write_evtx([other(1), other(2, text=word or "nothing"), other(3)])
    made = Chunks(lambda _: False, intake.is_capi2_channel, bytearray(), intake.concerns, intake.may_concern)
    found = list(read_evtx(BytesIO(data), SOURCE, made))
    assert [item.record_id for item in found if isinstance(item, EventRecord)] == ([2] if word else [])
    assert sum(item.last_record - item.origin.record + 1 for item in found if isinstance(item, CountedRecords)) == (
        2 if word else 3
    )
    # The counter of records tries one chunk of each file; that is no decoding for its events.
    assert (len(decoded) > 1) is bool(word)


def test_a_record_of_another_channel_that_cannot_be_decoded_is_a_loss():
    data = bytearray(write_evtx([other(number) for number in range(1, 5)]))
    at = HEADER + records(data[HEADER : HEADER + CHUNK])[2]
    data[at + 24 : at + 60] = b"\xff" * 36
    sealed(data, HEADER)
    made = Chunks(lambda _: False, intake.is_capi2_channel, bytearray(), intake.concerns)
    found = list(read_evtx(BytesIO(bytes(data)), SOURCE, made))
    assert [item.first_record for item in found if isinstance(item, ea.Loss)] == [3]
    assert [(item.origin.record, item.last_record) for item in found if isinstance(item, CountedRecords)] == [
        (1, 2),
        (4, 4),
    ]


# ------------------------------------------------------------------------------------------------- searching


def naive(names, data):
    """Chunks in which one of the names stands in UTF-16LE without its last NUL, found letter by letter."""
    lowered = data.lower()
    needles = [name.lower().encode("utf-16-le")[:-1] for name in names]
    found = set()
    for place in range(0, len(data), CHUNK):
        if any(needle in lowered[place : place + CHUNK] for needle in needles):
            found.add(place // CHUNK)
    return found


THUMBPRINTS = [f"{number * 0x1234567890ABCDEF1234567890ABCDEF12345:040X}"[-40:] for number in range(1, 60)]
GUIDS = [capi2.guid(f"task {number}") for number in range(60)]
EIGHT = ["800b0109", "800b010a"]
LONGER = ["EdgeTransport.exe", "lsass.exe", "msexchange", "inetinfo.exe"]


def searched(names):
    """The test that the program makes of such names."""
    if names in (EIGHT, LONGER):
        return holding([[frozenset(name.lower() for name in names)]])
    return naming(names)


@pytest.mark.parametrize("names", [THUMBPRINTS, THUMBPRINTS[:1], GUIDS, EIGHT, LONGER], ids=lambda names: names[-1])
def test_a_name_is_found_at_every_place_in_both_cases(names):
    made = random.Random(len(names[0]))
    test = searched(names)
    for offset in range(128):
        name = made.choice(names)
        data = bytearray(made.randbytes(3 * CHUNK))
        start = made.choice([0, 1, 2]) * CHUNK + made.choice([0, 30_000 - 30_000 % 128, CHUNK - 512]) + offset
        needle = made.choice([name.lower(), name.upper(), name]).encode("utf-16-le")
        data[start : start + len(needle)] = needle
        assert test.among(memoryview(data)) == naive(names, data) == {start // CHUNK}


@given(seed=st.integers(0, 1 << 30), count=st.integers(0, 30), near=st.booleans())
@SETTINGS
def test_searching_words_is_searching(seed, count, near):
    """Blocks full of parts of names, whole names and nearly right ones, at any place."""
    made = random.Random(seed)
    names = made.choice([THUMBPRINTS, GUIDS, EIGHT, LONGER])
    data = bytearray(made.randbytes(2 * CHUNK) if near else 2 * CHUNK)
    for _ in range(count):
        name = made.choice([*THUMBPRINTS, *GUIDS, *EIGHT, *LONGER])
        part = name[: made.choice([len(name), len(name) - 1, 6])]
        if made.random() < 0.3:
            at = made.randrange(len(part))
            part = part[:at] + "x" + part[at + 1 :]
        needle = made.choice([part.lower(), part.upper()]).encode("utf-16-le")
        start = made.randrange(len(data) - len(needle))
        if start // CHUNK == (start + len(needle)) // CHUNK:
            data[start : start + len(needle)] = needle
    assert searched(names).among(memoryview(data)) == naive(names, data)


def test_a_last_chunk_that_is_cut_off_is_searched():
    data = bytearray(CHUNK + 1003)
    needle = THUMBPRINTS[3].encode("utf-16-le")
    data[-len(needle) :] = needle
    assert naming(THUMBPRINTS).among(memoryview(data)) == {1}


def test_a_text_across_two_chunks_is_in_none():
    data = bytearray(2 * CHUNK)
    needle = THUMBPRINTS[3].encode("utf-16-le")
    data[CHUNK - 40 : CHUNK - 40 + len(needle)] = needle
    assert naming(THUMBPRINTS).among(memoryview(data)) == set()


def test_short_texts_are_not_looked_for_in_samples():
    assert not holding([[frozenset({"800b", "800b0109"})]]).sampled
    assert holding([[frozenset({"800b"}), frozenset({"lsass.exe"})]]).sampled
    assert not holding([[frozenset({"800b"})], [frozenset({"lsass.exe"})]]).sampled


# ------------------------------------------------------------------------------------------------- digests


def test_equal_large_files_are_still_told_apart_from_others(tmp_path, as_large):
    """Their digests are made beside; that of a size that no other file has is waited for at the end only."""
    other = export(300, first=40_001)
    for name, data in {"a.evtx": EXPORT, "b.evtx": EXPORT, "c.evtx": other, "d.evtx": other[:-CHUNK]}.items():
        (tmp_path / name).write_bytes(data)
    sources = ea.analyze(tmp_path).sources
    assert [item.duplicate_of for item in sources] == ["", "a.evtx", "", ""]
    digests = {item.path: item.sha256 for item in sources}
    assert digests["a.evtx"] == digests["b.evtx"]
    assert all(len(item) == 64 for item in digests.values())
    assert len(set(digests.values())) == 3


def test_a_large_file_that_fails_while_it_is_hashed_is_not_read(tmp_path, as_large, monkeypatch):
    (tmp_path / "a.evtx").write_bytes(EXPORT)
    (tmp_path / "b.evtx").write_bytes(export(2))
    kept = intake.Digests.begin

    def begin(self, source):
        return kept(self, ea_source(source) if source.path == "a.evtx" else source)

    def ea_source(source):
        def fail():
            raise OSError(5, "Input/output error")

        return type(source)(origin=source.origin, size=source.size, open=fail)

    monkeypatch.setattr(intake.Digests, "begin", begin)
    report = ea.analyze(tmp_path)
    first = next(item for item in report.sources if item.path == "a.evtx")
    assert (first.status, first.reason) == ("not-read", "cannot be opened or read: Input/output error")
    assert any("Input/output error" in item.reason for item in report.losses)
