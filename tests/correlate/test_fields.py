"""The fields of the views: one table from which facts are made, signals are checked and the manual is generated."""

from __future__ import annotations

import manual
import pytest
import yaml
from places import CHECKOUT

from evtx_analyzer.correlate import handshake_facts, operation_facts, session_facts
from evtx_analyzer.correlate.fields import Field, facts, texts, verdict
from evtx_analyzer.stores import fields

VIEWS = {
    "smtp-session": session_facts.FIELDS,
    "chain-operation": operation_facts.FIELDS,
    "tls-handshake": handshake_facts.FIELDS,
    "certificate-store": fields.FIELDS,
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_field_has_one_name_and_a_meaning(view):
    names = [field.name for field in VIEWS[view]]
    assert len(names) == len(set(names))
    assert all(field.meaning for field in VIEWS[view])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        (["", ""], ()),
        ("x", ("x",)),
        (["a", "", "b"], ("a", "b")),
        (True, ("true",)),
        (False, ("false",)),
        ((text for text in ("a",)), ("a",)),
    ],
)
def test_an_answer_has_values_or_is_absent(answer, expected):
    assert texts(answer) == expected
    made = facts((Field("X", "", lambda _: answer),), None) if not hasattr(answer, "send") else {"X": expected}
    assert made == ({"X": expected} if expected else {})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], None),
        ([None], None),
        ([False, None], None),
        ([False, False], False),
        ([False, None, True], True),
    ],
)
def test_no_is_only_said_where_all_is_known(answers, expected):
    assert verdict(iter(answers)) is expected


def fields_of(part):
    """Names of fields in a detection, without their modifiers."""
    if isinstance(part, list):
        return {name for item in part for name in fields_of(item)}
    return {name.partition("|")[0] for name in part} if isinstance(part, dict) else set()


@pytest.mark.parametrize("view", VIEWS)
def test_our_signals_ask_for_fields_that_are_there(view):
    known = {field.name for field in VIEWS[view]}
    asked = set()
    for path in (CHECKOUT / "rules" / "signals").glob("*.yml"):
        rule = yaml.safe_load(path.read_text(encoding="utf-8"))
        if rule["logsource"].get("service") == view:
            parts = [part for name, part in rule["detection"].items() if name != "condition"]
            asked |= {name for part in parts for name in fields_of(part)}
    assert asked
    assert asked <= known


def test_the_manual_is_what_the_fields_say(request):
    tables = {
        view: manual.table(["field", "meaning"], [[f"`{field.name}`", field.meaning] for field in fields])
        for view, fields in VIEWS.items()
    }
    manual.check(CHECKOUT / "docs" / "rules.md", tables, update=request.config.getoption("--update-snapshots"))
