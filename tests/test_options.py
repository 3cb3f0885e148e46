"""The options of an analysis: declared once, checked where they enter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evtx_analyzer.errors import OptionError
from evtx_analyzer.options import AnalysisArguments, AnalysisOptions, analysis_options

NOON, LATER = datetime(2026, 3, 10, 12, tzinfo=UTC), datetime(2026, 3, 10, 13, tzinfo=UTC)


def test_every_keyword_argument_is_a_field():
    # What only ``verify`` knows: the certificates of the earlier report.
    assert AnalysisArguments.__optional_keys__ == set(AnalysisOptions.__struct_fields__) - {"certificates"}


def test_no_argument_gives_the_defaults():
    assert analysis_options() == AnalysisOptions()


@pytest.mark.parametrize(
    ("host", "pairs"),
    [
        (None, ()),
        ("EX01", (("", "EX01"),)),
        ("EX01*=EX01", (("EX01*", "EX01"),)),
        (["a*=A", " B "], (("a*", "A"), ("", "B"))),
        ({"a*": "A"}, (("a*", "A"),)),
    ],
)
def test_hosts_are_pairs_of_pattern_and_name(host, pairs):
    assert analysis_options(host=host).host == pairs


def test_paths_that_are_left_out_may_be_of_any_kind():
    assert analysis_options(leave_out=[Path("a.json"), "b.html"]).leave_out == ("a.json", "b.html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "EX01*="}, "expected NAME"),
        ({"host": {"EX01*": " "}}, "expected NAME"),
        ({"tz": "Mars/Base"}, "Mars/Base"),
        ({"jobs": 0}, "jobs=0"),
        ({"since": LATER, "until": NOON}, "--since lies after --until"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_option_error(arguments, message):
    with pytest.raises(OptionError, match=message):
        analysis_options(**arguments)


def test_a_span_of_one_moment_is_one():
    assert analysis_options(since=NOON, until=NOON).until == NOON


@pytest.mark.parametrize(("jobs", "helpers"), [(1, 0), (3, 2)])
def test_one_of_the_threads_is_the_analysis_itself(jobs, helpers):
    assert analysis_options(jobs=jobs).helpers == helpers


def test_a_misspelt_argument_is_refused():
    misspelt: dict[str, Any] = {"windows": (1, 2)}
    with pytest.raises(TypeError, match="windows"):
        analysis_options(**misspelt)
