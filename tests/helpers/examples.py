"""How much is tried: everything in a whole run, a part where the slow tests are left out."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

_FEWEST = 2
SLOW = pytest.mark.slow

# No test depends on speed, and what a fixture gives (a folder, a patch) may be used by one example after the other.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.register_profile("all", _COMMON, max_examples=100)
settings.register_profile("few", _COMMON, max_examples=10)


def profile(marks):
    """The profile for an expression of marks (``-m``)."""
    return "few" if "not slow" in marks else "all"


def thinned(values, every):
    """Parameters of a test, of which one of so many stands for the others where the slow tests are left out."""
    return [
        value if number % every == 0 else pytest.param(*(value if type(value) is tuple else (value,)), marks=SLOW)
        for number, value in enumerate(values)
    ]


def examples(number):
    """A test's own number of examples in a whole run, fewer under a profile of fewer."""
    return max(_FEWEST, number * settings().max_examples // 100)
