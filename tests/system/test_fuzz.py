"""A short run of each fuzzing target; ``python -m tests.fuzz TARGET --minutes N`` is the long one."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_raise_nothing_that_is_not_documented(name):
    _, faults = fuzz(name, seconds=60, inputs=60, seed=1, folder=None)
    assert sorted(faults) == []


def test_each_target_has_inputs_to_begin_with():
    assert [name for name, target in TARGETS.items() if not target.seeds()] == []


def test_the_same_seed_makes_the_same_changes():
    import random

    seeds = (b"abc" * 100, b"550 5.7.64" * 50)
    one, two = ([mutate(seeds[0], seeds, random.Random(seed)) for seed in range(40)] for _ in range(2))
    assert one == two
    assert len(set(one)) > 30


def test_a_fault_is_found_and_told_once(monkeypatch):
    from tests.fuzz.targets import Target

    def breaks(data):
        if b"\0" in data:
            raise KeyError(data)

    monkeypatch.setitem(TARGETS, "broken", Target(breaks, lambda: (b"x" * 50, b"\0" * 50)))
    count, faults = fuzz("broken", seconds=20, inputs=100, seed=3, folder=None)
    assert count == 100
    assert faults
    assert all("KeyError" in fault for fault in faults)
