"""What an export covers: a query is no loss, a ring is not a hole, and exports of one log join."""

from __future__ import annotations

import itertools
import struct
import zlib
from datetime import timedelta

import pytest
from capi2_events import START, every_id, full_chain, log, policy
from hypothesis import given
from hypothesis import strategies as st

from evtx_analyzer.ingest.coverage import RecordIds, Span
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.tables.select import extract
from samples.evtx_writer import write_evtx

NAME = "Microsoft-Windows-CAPI2%4Operational.evtx"
SERVICE = "http://manifests.microsoft.com/win/2004/08/windows/eventlog"


def checks(count, first=1):
    return log(*[(30, policy(1)) for _ in range(count)], first=first)


def covered(folder):
    found = extract(folder)
    list(found.items)
    return {coverage.source: coverage for coverage in found.coverage}


def one(tmp_path, content, name=NAME):
    (tmp_path / name).write_bytes(content)
    return covered(tmp_path)[name]


def test_a_whole_log_has_nothing_to_say(tmp_path):
    span = one(tmp_path, write_evtx(checks(5)))
    assert (span.first_record, span.last_record, span.gaps, span.notes) == (1, 5, (), ())
    assert (span.first, span.last) == (START, START + timedelta(seconds=4))
    assert (span.per_minute, span.event_ids, span.hosts) == (75.0, {30: 5}, ("EX01.contoso.com",))


def test_a_ring_that_has_wrapped_is_told_by_the_order_of_its_chunks(tmp_path):
    span = one(tmp_path, write_evtx(checks(300, first=900), oldest_chunk=2))
    assert (span.first_record, span.last_record, span.gaps) == (900, 1199, ())
    assert span.notes == (
        "the log is a ring that has wrapped: records older than the first are overwritten; its oldest record is 900",
    )


def test_an_export_through_a_query_has_holes_that_are_no_loss(tmp_path):
    events = log(*every_id(), first=10)
    kept = [event for event in events if "<EventID>30<" in event or "<EventID>70<" in event or "<EventID>10<" in event]
    (tmp_path / NAME).write_bytes(write_evtx(kept))
    found = extract(tmp_path)
    list(found.items)
    (span,) = found.coverage
    assert found.losses == ()
    assert {gap.kind for gap in span.gaps} == {"filtered-or-cleared"}
    assert any("exported through a query" in note and "no loss" in note for note in span.notes)
    assert "it holds only the event ids 10, 30, 70" in span.notes


def test_a_hole_that_damage_made_is_lost_and_no_filtering(tmp_path):
    content = bytearray(write_evtx(checks(300)))
    content[4096 + 65536 : 4096 + 65536 + 65536] = bytes(65536)
    (tmp_path / NAME).write_bytes(content)
    found = extract(tmp_path)
    list(found.items)
    (span,) = found.coverage
    assert found.losses
    assert [gap.kind for gap in span.gaps] == ["lost"]
    assert not any("query" in note for note in span.notes)


def test_an_export_that_runs_backwards_is_no_ring(tmp_path):
    span = one(tmp_path, "\n".join(checks(5)[::-1]).encode(), "rd.xml")
    assert (span.first_record, span.last_record, span.gaps, span.notes) == (1, 5, (), ())


def test_a_log_that_begins_late_may_have_been_cleared(tmp_path):
    span = one(tmp_path, write_evtx(checks(3, first=50)))
    assert span.notes == ("the first record is 50: older records were overwritten, cleared or not exported",)


def test_archives_and_the_live_log_join_without_counting_twice(tmp_path):
    archive = "Archive-Microsoft-Windows-CAPI2%4Operational-2026-03-01-12-00-00-000.evtx"
    events = checks(10)
    (tmp_path / archive).write_bytes(write_evtx(events[:6]))
    (tmp_path / NAME).write_bytes(write_evtx(events[6:]))
    spans = covered(tmp_path)
    assert spans[archive].notes == ()
    assert f"continues {archive} without a gap" in spans[NAME].notes
    assert spans[NAME].duplicates == 0


def test_overlapping_exports_are_said_to_overlap(tmp_path):
    events = checks(10)
    (tmp_path / "a.evtx").write_bytes(write_evtx(events[:6]))
    (tmp_path / "b.xml").write_text("\n".join(events[4:]))
    assert len(list(extract(tmp_path).items)) == 10
    spans = covered(tmp_path)
    assert spans["b.xml"].duplicates == 2
    assert "2 of its records are also in a.evtx and count once" in spans["b.xml"].notes


def test_records_between_two_archives_are_said_to_be_missing(tmp_path):
    events = checks(10)
    (tmp_path / "a.evtx").write_bytes(write_evtx(events[:3]))
    (tmp_path / "b.evtx").write_bytes(write_evtx(events[6:]))
    assert "records 4 to 6 before it are in no export of this log" in covered(tmp_path)["b.evtx"].notes


def test_logs_of_two_machines_do_not_join(tmp_path):
    (tmp_path / "a.evtx").write_bytes(write_evtx(checks(3)))
    (tmp_path / "b.evtx").write_bytes(write_evtx(log(*[(30, policy(1))] * 3, computer="EX02.contoso.com")))
    assert [span.notes for span in covered(tmp_path).values()] == [(), ()]
    assert len(list(extract(tmp_path).items)) == 6


def test_a_live_copy_is_said_to_be_one(tmp_path):
    span = one(tmp_path, write_evtx(checks(3), dirty=True))
    assert span.notes == (
        "copied while Windows had the log open: records that it had not yet written down are not in it",
    )


def test_a_stale_checksum_of_the_newest_chunk_of_a_live_copy_is_no_loss(tmp_path):
    content = bytearray(write_evtx(checks(3), dirty=True))
    content[4096 + 52 : 4096 + 56] = struct.pack("<I", zlib.crc32(b"stale"))
    (tmp_path / NAME).write_bytes(content)
    found = extract(tmp_path)
    assert len(list(found.items)) == 3
    assert found.losses == ()


def test_events_of_other_channels_in_the_file_are_no_holes(tmp_path):
    """A collector's log holds events of any provider between those of CAPI2."""
    events = log(*full_chain())
    other = [
        event.replace("Microsoft-Windows-CAPI2", "Contoso-Other") if number % 3 else event
        for number, event in enumerate(events)
    ]
    span = one(tmp_path, write_evtx(other), "ForwardedEvents.evtx")
    assert (span.records, span.gaps) == (4, ())


def test_a_collectors_log_names_its_machines_and_joins_with_none(tmp_path):
    left, right = log((30, policy(1)), first=1), log((30, policy(1)), first=2, computer="EX02.contoso.com")
    forwarded = [
        event.replace("<Channel>Microsoft-Windows-CAPI2/Operational<", "<Channel>ForwardedEvents<")
        for event in left + right
    ]
    (tmp_path / "ForwardedEvents.evtx").write_bytes(write_evtx(forwarded))
    (tmp_path / NAME).write_bytes(write_evtx(checks(3, first=9)))
    span = covered(tmp_path)["ForwardedEvents.evtx"]
    assert span.hosts == ("EX01.contoso.com", "EX02.contoso.com")
    assert any("collector" in note for note in span.notes)
    assert not any("no export of this log" in note for note in covered(tmp_path)[NAME].notes)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (
            "<SubjectUserName>anna</SubjectUserName><SubjectDomainName>CONTOSO</SubjectDomainName>",
            "the log was cleared at 2026-03-01 11:00:00.000 UTC by CONTOSO\\anna (system.xml record 7)",
        ),
        (
            "<BackupPath>C:\\Logs\\Archive-CAPI2.evtx</BackupPath>",
            "the log was full at 2026-03-01 11:00:00.000 UTC and was put into Archive-CAPI2.evtx (system.xml record 7)",
        ),
    ],
)
def test_the_system_log_tells_that_the_log_was_cleared_or_archived(root, said, tmp_path):
    name, event_id = ("LogFileCleared", 104) if "Subject" in root else ("AutoBackup", 105)
    (tmp_path / "system.xml").write_text(
        '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System>'
        f'<Provider Name="Microsoft-Windows-Eventlog"/><EventID>{event_id}</EventID><Level>4</Level>'
        '<TimeCreated SystemTime="2026-03-01T11:00:00.0000000Z"/><EventRecordID>7</EventRecordID>'
        "<Channel>System</Channel><Computer>EX01.contoso.com</Computer></System><UserData>"
        f'<{name} xmlns="{SERVICE}"><Channel>Microsoft-Windows-CAPI2/Operational</Channel>{root}</{name}>'
        "</UserData></Event>"
    )
    assert said in one(tmp_path, write_evtx(checks(3, first=50))).notes


@given(st.lists(st.integers(1, 60), max_size=80))
def test_runs_hold_exactly_the_ids_that_were_seen(records):
    ids = RecordIds()
    for record in records:
        ids.add(record)
    runs = ids.runs()
    assert {number for first, last in runs for number in range(first, last + 1)} == set(records)
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(runs))


@pytest.mark.parametrize("order", [1, -1])
def test_memory_grows_with_holes_and_not_with_records(order):
    ids = RecordIds()
    for record in range(1, 100_000)[::order]:
        ids.add(record)
    assert len(ids._runs) == 1


def test_a_lost_record_beside_filtered_ones_is_told_apart():
    span = Span("a.evtx", "capi2")
    for record in (1, 2, 5, 9):
        span.add(START, record, "EX01", 30)
    loss = Loss(origin=Origin(source="a.evtx"), reason="x", extent="1", first_record=3, last_record=4)
    assert [(gap.first_record, gap.kind) for gap in span.coverage([loss]).gaps] == [
        (3, "lost"),
        (6, "filtered-or-cleared"),
    ]
