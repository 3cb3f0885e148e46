"""Rule files with the wrong kind of value anywhere: a mistake of that file with its name, never an error of ours."""

from __future__ import annotations

import datetime as dt
import io

import pytest
import yaml
from places import CHECKOUT

from evtx_analyzer.errors import RuleSetError
from evtx_analyzer.rules.parsing import parse

FOLDER = CHECKOUT / "rules"
PARTS = ("signals", "links", "commands", "causes")
EXAMPLES = {"signals": "chain_policy_failed.yml", "causes": "missing-intermediate.yml"}
ODD = {
    "a mapping": {"a": {"b": 1}},
    "a date": dt.date(2026, 1, 2),
    "a list of lists": [[[1]]],
    "a number": 7,
    "nothing": None,
    "a truth": True,
    "a set of dates": [dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)],
    "a mapping by numbers": {1: 2},
}


def texts():
    return {part: {f.name: f.read_bytes() for f in sorted((FOLDER / part).glob("*.yml"))} for part in PARTS}


def first(part):
    names = list(texts()[part])
    return EXAMPLES.get(part, names[0]) if EXAMPLES.get(part, names[0]) in names else names[0]


def places(value, at=()):
    """Every place in a document at which a value stands."""
    yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*at, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield from places(item, (*at, number))


def put(value, at, new):
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = put(value[at[0]], at[1:], new)
    return copy


def checked(part, name, content):
    given = texts()
    given[part][name] = content
    try:
        parse(given)
    except RuleSetError as error:
        return [mistake.file for mistake in error.mistakes]
    return []


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("part", PARTS)
def test_an_odd_value_at_any_place_is_a_mistake_or_harmless(part, odd):
    name = first(part)
    document = yaml.safe_load(texts()[part][name])
    for at in list(places(document))[:60]:
        stream = io.StringIO()
        yaml.safe_dump(put(document, at, ODD[odd]), stream)
        checked(part, name, stream.getvalue().encode())


@pytest.mark.parametrize("odd", [{"a": 1}, dt.date(2026, 1, 2)])
@pytest.mark.parametrize("key", ["title", "logsource", "detection"])
def test_a_mapping_or_a_date_where_a_name_is_expected_is_a_mistake_of_that_file(key, odd):
    name = first("signals")
    document = yaml.safe_load(texts()["signals"][name]) | {key: odd}
    files = checked("signals", name, yaml.safe_dump(document).encode())
    assert f"signals/{name}" in files


@pytest.mark.parametrize(
    "content",
    [b"a: " + b"[" * 5_000, b"{" * 5_000, b"a: " + b"9" * 5_000, b"a: \xff", b"\x00", b"a: &x [*x]",
     b"!!python/object:os.x {}"],
    ids=["lists", "mappings", "digits", "no UTF-8", "NUL", "itself", "python"],
)  # fmt: skip
def test_a_file_that_is_no_rule_is_a_mistake_of_that_file(content):
    assert "causes/odd.yml" in checked("causes", "odd.yml", content)
