"""The laws of grading: what no rule file can override, and what each observation does to a grade."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from evidence import HANDSHAKE, OTHER, operation, rejection, success
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.diagnose import sentences
from evtx_analyzer.diagnose import weigh as diagnose
from evtx_analyzer.diagnose.grade import grade_of
from evtx_analyzer.diagnose.scene import Case, Scene
from evtx_analyzer.diagnose.wording import fill
from evtx_analyzer.model.certificate import ChainElement
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.rules import Rules

RULES = Rules.load()
LEAF = ChainElement(thumbprint="A" * 40, subject="leaf", error=0, errors=(), info=0, infos=(), self_signed=False)
INCOMPLETE = {"missing_events": (), "chain_status": ("CERT_TRUST_IS_PARTIAL_CHAIN",), "elements": (LEAF,)}
FAILED = ("any_chain_policy_failed", "chain_policy_failed")


def incomplete(seconds=0.0, record=1, **changes):
    signals = (*FAILED, "chain_incomplete", "chain_stops_before_intermediate")
    return operation(seconds, record, signals=signals, **INCOMPLETE, **changes)


def to_root(seconds=0.0, record=1):
    signals = (*FAILED, "chain_ends_in_untrusted_root")
    return operation(seconds, record, signals=signals, missing_events=(), elements=(LEAF,))


def findings(operations, rejections=None, rules=RULES):
    by_id = {operation.id: operation for operation in operations}
    found = rejections or [rejection()]
    grouped = incidents(found, links(found, operations, rules.links), by_id)
    case = Case(operations=by_id, coverage=(), kinds=frozenset({"capi2", "send-connector"}))
    return diagnose.diagnose(grouped, rules.causes, case)[0]


def grades(operations, rejections=None, rules=RULES):
    return {finding.cause: finding.grade for finding in findings(operations, rejections, rules)}


def grade(operations, rejections=None, cause="missing-intermediate"):
    return grades(operations, rejections)[cause]


def test_thumbprint_and_chain_detail_are_probable():
    assert grade([incomplete()]) == "probable"


def test_an_assumed_host_may_be_probable_on_a_thumbprint():
    assert grade([incomplete()], [rejection(host_basis="assumed")]) == "probable"


@pytest.mark.parametrize(("host", "basis"), [("EX02", "row"), ("", "unknown")])
def test_other_hosts_are_possible_at_most(host, basis):
    assert grade([incomplete()], [rejection(host=host, host_basis=basis)]) == "possible"


def test_a_name_is_possible_at_most():
    assert grade([incomplete()], [rejection(sent=None)]) == "possible"


def test_time_alone_is_coincident():
    other = incomplete(thumbprint="C" * 40, subject="printer")
    assert grade([other], [rejection(sent=None)]) == "coincident"


def test_a_lower_grade_does_not_take_what_a_capped_higher_one_leaves():
    (cause,) = (rule for rule in RULES.causes if rule.id == "missing-intermediate")
    graded = replace(cause, grades={"probable": (("a",),), "coincident": (("b",),)}, observations=())
    assert grade_of(graded, {"a", "b"}, {"a"}) == "possible"
    assert grade_of(graded, {"b"}, {"a"}) == "coincident"
    free = replace(graded, grades={"confirmed": (("a",),), "probable": (("b",),)})
    assert grade_of(free, {"a", "b"}, {"a"}) == "probable"


def test_no_rule_file_lifts_time_above_possible():
    """A cause file that calls nearness in time probable is overruled."""
    causes = tuple(
        replace(cause, grades={"probable": (("some-chain-failed",),)}) if cause.id == "missing-intermediate" else cause
        for cause in RULES.causes
    )
    other = operation(0, 1, thumbprint="C" * 40, subject="printer")
    assert grades([other], [rejection(sent=None)], replace(RULES, causes=causes))["missing-intermediate"] == "possible"


def test_no_rule_file_makes_the_chain_of_a_check_evidence_that_only_its_time_joins():
    """A cause file with a sentence for nearness in time: the chain of that certificate is another server's matter."""
    (cause,) = (rule for rule in RULES.causes if rule.id == "missing-intermediate")
    observations = (
        replace(rule, supports="A chain failed, $delta.") if rule.name == "some-chain-failed" else rule
        for rule in cause.observations
    )
    graded = {"probable": (("some-chain-failed", "chain-incomplete"),), "coincident": (("some-chain-failed",),)}
    own = replace(cause, observations=tuple(observations), grades=graded)
    other = incomplete(0, 1, thumbprint="C" * 40, subject="printer")
    found = grades([other], [rejection(sent=None)], replace(RULES, causes=(own,)))
    assert found["missing-intermediate"] == "coincident"


def test_what_remedies_name_is_of_the_check_that_more_than_time_joins():
    other = operation(0, 1, thumbprint="C" * 40, subject="printer", result="800B0101", result_name="CERT_E_EXPIRED")
    own = incomplete(-1, 2)
    found, by_id = [rejection()], {check.id: check for check in (other, own)}
    (incident,) = incidents(found, links(found, [other, own], RULES.links), by_id)
    assert {link.basis for link in incident.links} == {"time", "thumbprint"}
    scene = Scene(incident, Case(operations=by_id, coverage=(), kinds=frozenset({"capi2", "send-connector"})))
    assert (scene.names()["result"], scene.names()["last_element"]) == (own.result, "leaf")
    alone = replace(incident, links=tuple(link for link in incident.links if link.basis == "time"))
    assert Scene(alone, scene.case).names()["result"] == "?"


def test_a_check_that_passed_after_it_failed_is_said_unless_another_refusal_has_an_unbroken_pair():
    broken, passed = [incomplete(-8, 1), success(-4, 2)], "passed the same check"
    found = next(item for item in findings(broken) if item.cause == "missing-intermediate")
    assert [passed in shown.text for shown in found.contradicts if shown.origin.record == 2].count(True) == 1
    assert found.grade == "contradicted"
    minutes = timedelta(minutes=5)
    later = rejection(id="R-2", time=HANDSHAKE + minutes, handshake_time=HANDSHAKE + minutes)
    again = incomplete(minutes.total_seconds(), 3)
    found = next(
        item for item in findings([*broken, again], [rejection(), later]) if item.cause == "missing-intermediate"
    )
    assert not any(passed in shown.text for shown in found.contradicts)


def test_without_event_11_it_is_possible_and_the_root_stays_context():
    found = grades([operation()])
    assert found["missing-intermediate"] == "possible"
    assert found["untrusted-root"] == "coincident"


def test_the_chain_decides_between_the_two():
    assert grades([incomplete()])["untrusted-root"] == "contradicted"
    assert grades([to_root()])["missing-intermediate"] == "contradicted"
    assert grades([to_root()])["untrusted-root"] == "probable"


def test_what_a_chain_shows_stands_at_event_11_where_there_is_one():
    event_11 = {"chain_origin": Origin(source="c.evtx", record=7), "chain_time": HANDSHAKE - timedelta(seconds=2)}
    for changes, expected in ((event_11, (7, HANDSHAKE - timedelta(seconds=2))), ({}, (1, HANDSHAKE))):
        best = findings([incomplete(0, 1, **changes)])[0]
        assert best.cause == "missing-intermediate"
        assert {(shown.origin.record, shown.time) for shown in best.supports} == {(1, HANDSHAKE), expected}


def test_of_two_certificates_with_the_server_s_name_one_does_not_exclude_what_the_other_shows():
    """Which of the two was sent is not known where the log shows no thumbprint."""
    unknown = [rejection(sent=None)]
    both = grades([incomplete(0, 1), replace(to_root(0.1, 2), thumbprint="C" * 40)], unknown)
    assert (both["missing-intermediate"], both["untrusted-root"]) == ("possible", "possible")
    assert grade([to_root()], unknown) == "contradicted"


@pytest.mark.parametrize(("refusals", "expected"), [(1, "contradicted"), (2, "contradicted"), (3, "possible")])
def test_a_sound_check_of_the_refused_machine_outweighs_failed_ones_elsewhere(refusals, expected):
    """The first refusal shows the contrary: it counts against the cause, and not for it as well."""
    starts = [HANDSHAKE + timedelta(seconds=100 * number) for number in range(refusals)]
    made = [
        rejection(id=f"R-{number}", handshake_time=start, time=start + timedelta(seconds=1))
        for number, start in enumerate(starts)
    ]
    elsewhere = [incomplete(100 * number, number + 1, host="EX02") for number in range(refusals)]
    assert grade([*elsewhere, success(0.1, 9)], made) == expected


def test_that_the_own_certificate_is_sound_says_nothing_of_the_remote_one():
    remote = incomplete(thumbprint=OTHER, subject="mail.protection.outlook.com", host="EX02")
    cause = "remote-certificate-untrusted"
    assert grade([remote, success(0.1, 2)], cause=cause) == grade([remote], cause=cause) == "coincident"


def test_checks_of_another_machine_are_said_to_be_whatever_fails_on_the_refused_one():
    remote = incomplete(0, 2, thumbprint=OTHER, subject="mail.protection.outlook.com")
    for checks in ([incomplete(host="EX02")], [incomplete(host="EX02"), remote]):
        (found,) = (finding for finding in findings(checks) if finding.cause == "missing-intermediate")
        assert found.contradicts[0].text.startswith("The failed checks are of EX02, the refusals of EX01 ")
    found = findings([incomplete(), incomplete(0, 2, host="EX02")])[0]
    assert not any("The failed checks are of" in against.text for against in found.contradicts)


def test_a_later_success_contradicts():
    assert grade([incomplete(0, 1), success(0.5, 2)]) == "contradicted"


def test_a_success_after_the_refusal_does_not():
    assert grade([incomplete(0, 1), success(60, 2)]) == "probable"


def test_a_failed_remote_certificate_contradicts():
    remote = incomplete(thumbprint=OTHER, subject="mail.protection.outlook.com")
    assert grade([remote]) == "contradicted"


def test_the_remote_certificate_does_not_hide_the_own():
    remote = operation(0.1, 2, thumbprint=OTHER, subject="mail.protection.outlook.com")
    assert grade([incomplete(), remote]) == "probable"


def test_an_earlier_failure_of_the_same_day_is_possible():
    assert grade([incomplete(-3600)]) == "possible"
    assert grade([incomplete(-86401)]) == "no-evidence"


def test_unexplained_only_where_nothing_is_possible():
    assert "unexplained" not in grades([incomplete()])
    assert grades([])["unexplained"] == "no-evidence"


def test_no_incident_no_finding():
    case = Case(operations={}, coverage=(), kinds=frozenset())
    assert diagnose.diagnose([], RULES.causes, case) == ([], [])


def wording_everything(same):
    """What ``_distinct`` must equal: every fact worded, those that say the same of the same place told once."""
    pairs = [(item, fact) for item in same for fact in item.facts]
    worded = [(fill(sentences._text(item), item.scene.names(fact)), item, fact) for item, fact in pairs]
    return list({(text, fact.origin): (item, fact) for text, item, fact in worded}.values())


@given(st.integers(0, 2**32))
@settings(max_examples=examples(30))
def test_wording_only_what_is_shown_gives_the_same_findings(seed):
    chance = random.Random(seed)
    shown = sorted({name for rule in every_observation() for name in (rule.shown_by,) if name})
    told = sorted({rule.of for rule in every_observation() if rule.kind == "rejection"})
    rejections = [
        rejection(
            id=f"R-{number}",
            time=HANDSHAKE + timedelta(seconds=chance.randrange(5)),
            host=chance.choice(("EX01", "EX02")),
            mail_from=chance.choice(("a@contoso.com", "b@fabrikam.com", "")),
            rcpt_to=chance.choice(("c@x.org", "d@x.org")),
            attribution=chance.choice(("", "ATTR36")),
            origin=Origin(source="SEND.LOG", line=chance.randrange(12)),
            signals=("tenant_attribution_refused", *chance.sample(told, chance.randrange(len(told)))),
        )
        for number in range(chance.randrange(1, 30))
    ]
    operations = [incomplete(chance.randrange(-20, 10), number) for number in range(chance.randrange(8))]
    by_id = {operation.id: operation for operation in operations}
    case = Case(
        operations=by_id,
        coverage=(),
        kinds=frozenset({"capi2", "send-connector"}),
        settings={name: Origin(source=f"{name}.json") for name in shown if chance.random() < 0.7},
        views={item.id: {"SentName": (item.mail_from,), "SeenAddress": (item.rcpt_to,)} for item in rejections},
    )
    grouped = incidents(rejections, links(rejections, operations, RULES.links), by_id)
    found = diagnose.diagnose(grouped, RULES.causes, case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "_distinct", wording_everything)
        assert diagnose.diagnose(grouped, RULES.causes, case) == found


def every_observation():
    return [rule for cause in RULES.causes for rule in cause.observations]
