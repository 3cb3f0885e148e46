"""How many examples Hypothesis tries: all of them in a whole run, a tenth where the slow tests are left out."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_FEWEST = 2

# No test depends on speed, and what a fixture gives (a folder, a patch) may be used by one example after the other.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.register_profile("all", _COMMON, max_examples=100)
settings.register_profile("few", _COMMON, max_examples=10)


def profile(marks):
    """The profile for an expression of marks (``-m``)."""
    return "few" if "not slow" in marks else "all"


def examples(number):
    """A test's own number of examples in a whole run, fewer under a profile of fewer."""
    return max(_FEWEST, number * settings.default.max_examples // 100)
