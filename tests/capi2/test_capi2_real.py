"""The two real exports, 799 records: what was counted in them by hand and with other readers."""

from __future__ import annotations

from collections import Counter

import pytest
from capi2_events import REAL

from evtx_analyzer.tables.select import extract

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real exports are not at {REAL}")
# Event ids of both files together, from the research that counted them with an independent reader.
COUNTS = {
    10: 93,
    11: 94,
    30: 95,
    40: 131,
    41: 132,
    42: 5,
    50: 37,
    51: 37,
    52: 23,
    53: 23,
    80: 27,
    81: 28,
    82: 7,
    90: 67,
}


@pytest.fixture(scope="module")
def events():
    return extract(REAL)


@pytest.fixture(scope="module")
def operations():
    return extract(REAL, as_operations=True)


def test_every_record_is_a_typed_event(events):
    items = list(events.items)
    assert len(items) == 799
    assert Counter(item.event_id for item in items) == COUNTS
    assert events.losses == ()


def test_windows_own_names_agree_with_the_tables(events):
    """Windows wrote each flag's name beside its value: a wrong bit in a table would be a disagreement."""
    assert [item.notes for item in events.items if item.notes] == []
    assert [flag for item in events.items for flag in item.flags if flag.startswith("0x")] == []


def test_level_says_nothing_of_the_result(events):
    level_2 = [item for item in events.items if item.event_id == 53 and item.level == 2]
    assert len(level_2) == 13
    assert {item.result for item in level_2} == {0}


def test_chains_join_by_chain_ref_where_tasks_differ(operations):
    pairs = [item for item in operations.items if item.policy and item.chain_origin]
    assert len(pairs) == 94
    different = [
        pair
        for pair in pairs
        if {step.task_id for step in pair.steps if step.event_id == 11}
        != {step.task_id for step in pair.steps if step.event_id == 30}
    ]
    assert len(different) == 39
    assert max((pair.time - pair.chain_time).total_seconds() for pair in pairs) == pytest.approx(4.85, abs=0.01)


def test_the_signature_checks_hold_the_other_chains(operations):
    parents = {item.id for item in operations.items if item.kind == "trust"}
    assert len(parents) == 28
    inside = [item for item in operations.items if item.kind == "chain" and item.parent in parents]
    assert len(inside) == 55 + 1  # the pairs, and the policy whose chain has wrapped away


def test_every_operation_is_complete_or_explained(operations):
    incomplete = [item for item in operations.items if not item.complete]
    assert [(item.kind, item.missing_events) for item in incomplete] == [
        ("chain", (11,)),
        ("chain", (10, 40)),
        ("trust", (80, 10, 40)),
    ]
    assert all("the export begins with record 261" in item.notes[0] for item in incomplete)


def test_every_record_is_in_an_operation(operations):
    assert len({origin for item in operations.items for origin in item.origins}) == 799


def test_coverage_tells_the_ring_that_has_wrapped(operations):
    wrapped, whole = sorted(operations.coverage, key=lambda item: -item.records)
    assert (wrapped.records, wrapped.first_record, wrapped.last_record, wrapped.gaps) == (459, 261, 719, ())
    assert any("ring that has wrapped" in note for note in wrapped.notes)
    assert (whole.records, whole.first_record, whole.last_record, whole.notes) == (340, 1, 340, ())


def test_a_revocation_that_was_not_known_left_the_result_alone(operations):
    unknown = [item for item in operations.items if "CERT_TRUST_REVOCATION_STATUS_UNKNOWN" in item.chain_status]
    assert [item.chain_result for item in unknown] == ["0", "0"]
    assert {part.revocation_result for item in unknown for part in item.elements if part.error} == {"80092012"}
