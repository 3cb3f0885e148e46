"""The one sentence that everybody reads: what it may claim of the best cause, and of a case without a refusal."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from evidence import rejection

from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.diagnose.verdict import verdict
from evtx_analyzer.model.findings import Finding, IncidentRepair, Repair

SMTP = frozenset({"send-connector", "capi2"})


def case(kinds=SMTP, handshakes=()):
    return Case(operations={}, coverage=(), kinds=frozenset(kinds), handshakes=handshakes)


def finding(cause, grade, of=("I-1",)):
    return Finding(
        cause=cause,
        grade=grade,
        title=cause,
        why="",
        supports=(),
        contradicts=(),
        missing=(),
        remedy=None,
        incidents=of,
    )


def said(*found, refusals=(), **beside):
    grouped = incidents(refusals or [rejection()], (), {})
    everything = tuple(incident.id for incident in grouped)
    return verdict([finding(cause, grade, everything) for cause, grade in found], grouped, case(), 0, **beside).summary


# ------------------------------------------------------------------------------------------------------ other causes


def test_other_causes_are_named_from_possible_up_and_the_best_one_is_not_among_them():
    text = said(("a", "probable"), ("b", "probable"), ("c", "possible"), ("d", "coincident"), ("e", "contradicted"))
    assert text.endswith("Also probable: b; possible: c.")
    assert "Also" not in said(("a", "possible"), ("d", "coincident"), ("e", "no-evidence"))


# ------------------------------------------------------------------------------------------------- how much is claimed


@pytest.mark.parametrize(
    ("cause", "grade", "claim"),
    [
        ("a", "probable", "not proven until the fix has worked"),
        ("a", "possible", "verify before you act"),
        ("unexplained", "no-evidence", "No cause is supported well enough"),
    ],
)
def test_what_is_claimed_of_a_grade(cause, grade, claim):
    assert claim in said((cause, grade))


@pytest.mark.parametrize("grade", ["probable", "possible"])
@pytest.mark.parametrize(("result", "accepted"), [("fixed", True), ("not-shown", False), ("still-refused", False)])
def test_a_cause_whose_fix_worked_without_proving_it_is_not_told_to_wait_for_it(grade, result, accepted):
    """Going back to the old certificate lets mail through and proves nothing of the new one."""
    text = said(("a", grade), repair=Repair(result=result, incidents=()))
    assert ("Mail is accepted again" in text, "without proving it" in text) == (accepted, accepted)
    assert ("until the fix has worked" in text or "verify before you act" in text) is not accepted


@pytest.mark.parametrize(
    ("fixed", "result", "shown"),
    [
        ("a", "fixed", "by a fix of it that worked"),
        ("b", "fixed", "by the network trace"),
        ("a", "not-shown", "by the network trace"),
        ("a", "still-refused", "by the network trace"),
    ],
)
def test_what_confirmed_it_is_said(fixed, result, shown):
    """Only a fix of this very cause confirms it; where there is none, a trace did."""
    other = IncidentRepair(incident="I-9", cause="c", result="not-shown")
    repair = Repair(result=result, incidents=(other, IncidentRepair(incident="I-1", cause=fixed, result=result)))
    assert shown in said(("a", "confirmed"), repair=repair)
    assert "by the network trace" in said(("a", "confirmed"))


# ------------------------------------------------------------------------------------------------- where and when


def test_how_many_refusals_where_and_when():
    text = said(("a", "possible"))
    assert text.startswith("1 refusal with 5.7.64 on EX01, ")
    later = rejection(id="R-2", host="", time=rejection().time + timedelta(hours=2), handshake_time=None)
    text = said(("a", "possible"), refusals=[rejection(), later])
    assert text.startswith("2 refusals with 5.7.64 on EX01, a host that no log names, ")
    assert "12:00:01" in text
    assert "14:00:01" in text


# --------------------------------------------------------------------------------------------------- without a refusal


@pytest.mark.parametrize("kinds", [(), ("capi2",), ("capi2", "inbound-connectors")])
@pytest.mark.parametrize("losses", [0, 3])
def test_without_an_smtp_log_nothing_is_said_to_be_absent(kinds, losses):
    text = verdict([], [], case(kinds), losses).summary
    assert "a refusal could not have been found" in text


@pytest.mark.parametrize("kind", ["send-connector", "iis-smtp", "message-tracking", "ndr"])
@pytest.mark.parametrize(
    ("losses", "expected"),
    [(0, "Everything was read."), (1, "Absence is not shown: 1 part of"), (2, "Absence is not shown: 2 parts of")],
)
def test_absence_is_shown_only_by_a_log_that_was_read_whole(kind, losses, expected):
    made = verdict([], [], case((kind,)), losses)
    assert (made.cause, made.grade) == (None, None)
    assert made.summary.startswith(expected)


def test_refusals_outside_of_the_time_asked_for_are_not_absent():
    made = verdict([], [], case(), 0, left_out=4)
    assert "in the time asked for" in made.title
    assert made.summary.startswith("4 refusals ")
    assert said(("a", "possible"), left_out=4).startswith("1 refusal ")


def test_a_trace_without_an_smtp_log_says_what_clients_sent_and_that_no_refusal_can_be_seen():
    states = ("alone", "alone", "complete", "empty", "open", "self-signed", "not-seen")
    shown = [SimpleNamespace(sent_chain=SimpleNamespace(state=state)) for state in states]
    text = verdict([], [], case(("network-trace",), shown), 0).summary
    assert "network trace: 7 (the client sent its certificate alone in 2, a chain up to a public root in 1, " in text
    assert "no certificate in 1, something else in 2; in 1 it cannot be seen)" in text
    assert "add the log that shows it" in text
    assert verdict([], [], case((*SMTP, "network-trace"), shown), 0).summary.startswith("Everything was read.")
