"""Links at their edges: exactly at the window, equal times, out of order, hosts, identity before time."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import cache

import pytest
from evidence import HANDSHAKE, OTHER, OWN, operation, rejection, success
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evtx_analyzer.correlate import links as links_module
from evtx_analyzer.correlate.links import links
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.rules import Rules


def made(operations, rejections=None, window=None):
    return links(rejections or [rejection()], operations, Rules.load().links, window)


def rules_of(found):
    return [link.rule for link in found]


def test_what_neither_side_shows_is_not_shared():
    nameless = rejection(sent=Certificate(), received=Certificate(), helo="", mail_from="", remote_name="")
    for subject in ("", "printer", "printer."):
        unknown = operation(
            thumbprint="", subject=subject, signals=("chain_policy_failed", "remote_certificate_failed")
        )
        assert made([unknown], [nameless]) == []


def test_a_check_without_a_thumbprint_or_with_an_alternate_name_is_linked_by_name():
    assert rules_of(made([operation(thumbprint="")])) == ["own_name_failed_at_handshake"]
    other = Certificate(thumbprint=OWN, alternate_names=("x.example", "mail.contoso.com"))
    unknown = [rejection(sent=None)]
    assert rules_of(made([operation(subject="x.example", certificate=other)], unknown)) == [
        "own_name_failed_at_handshake"
    ]
    assert made([operation(subject="x.example", signals=("chain_policy_failed",))], unknown) == []


@pytest.mark.parametrize(
    ("seconds", "rule"),
    [
        (0, "sent_certificate_failed_at_handshake"),
        (-10, "sent_certificate_failed_at_handshake"),
        (-10.000001, "sent_certificate_failed_same_day"),
        (5, "sent_certificate_failed_at_handshake"),
        (5.000001, None),
        (-86400, "sent_certificate_failed_same_day"),
        (-86400.000001, None),
    ],
)
def test_the_window_holds_its_edges(seconds, rule):
    assert rules_of(made([operation(seconds)])) == ([rule] if rule else [])


def test_a_given_window_widens_the_handshake_and_not_the_day():
    assert rules_of(made([operation(-30)], window=(60, 30))) == ["sent_certificate_failed_at_handshake"]
    assert rules_of(made([operation(-90)], window=(60, 30))) == ["sent_certificate_failed_same_day"]


def test_rows_of_whole_seconds_have_a_second_of_slack():
    iis = rejection(sent=None, resolution=1.0, signals=("tenant_attribution_refused_iis",))
    assert rules_of(made([operation(6)], [iis])) == ["own_name_failed_at_handshake"]
    assert not made([operation(6.000001)], [iis])
    assert not made([operation(5.5)], [replace(iis, resolution=0.001)])


def test_without_a_handshake_the_refusal_is_the_anchor():
    (link,) = made([operation(0)], [rejection(handshake_time=None)])
    assert (link.anchor, link.delta_seconds) == ("refusal", -1.0)


def test_identity_is_preferred_to_nearness():
    near = operation(0, 1, thumbprint=OTHER * 1, subject="other.example.org")
    own = operation(-9, 2)
    found = made([near, own], [rejection(received=None)])
    assert {(link.rule, link.operation) for link in found} == {
        ("sent_certificate_failed_at_handshake", "O-2"),
        ("any_chain_failed_at_handshake", "O-1"),
    }


def test_a_nearer_check_whose_chain_is_lost_does_not_hide_one_that_shows_its_chain():
    without_event_11, whole = operation(0, 1), operation(-5, 2, missing_events=())
    assert {link.operation for link in made([without_event_11, whole])} == {"O-1", "O-2"}
    nearer, farther = operation(0, 1, missing_events=()), operation(-5, 2)
    assert {link.operation for link in made([nearer, farther])} == {"O-1"}


def test_one_link_per_pair_and_the_strongest():
    assert len(made([operation(0)])) == 1


def test_another_certificate_with_the_own_name_is_not_linked_by_name():
    renewed = operation(0, thumbprint="C" * 40)
    assert rules_of(made([renewed])) == ["any_chain_failed_at_handshake"]


@pytest.mark.parametrize(("server_name", "expected"), [("", ["own_name_failed_at_handshake"]), ("dc1.contoso.com", [])])
def test_a_check_against_a_server_s_name_is_not_of_the_own_certificate(server_name, expected):
    beside = operation(0, 1, thumbprint=OTHER, subject="dc1.contoso.com", server_name=server_name)
    found = made([beside], [rejection(sent=None, received=None)])
    assert [link.rule for link in found if link.rule.startswith("own_name")] == expected


def test_the_received_certificate_is_told_apart():
    remote = operation(0, thumbprint=OTHER, subject="mail.protection.outlook.com")
    assert rules_of(made([remote])) == ["received_certificate_failed_at_handshake"]


@pytest.mark.parametrize(
    ("host", "basis", "expected"),
    [("EX01", "row", "same"), ("EX01", "assumed", "assumed"), ("EX02", "row", "different"), ("", "unknown", "unknown")],
)
def test_hosts(host, basis, expected):
    (link,) = made([operation(0)], [rejection(host=host, host_basis=basis)])
    assert (link.host, link.basis) == (expected, "thumbprint")


@pytest.mark.parametrize(("host", "basis"), [("EX02", "row"), ("", "unknown")])
def test_other_hosts_are_never_linked_by_name_or_time(host, basis):
    assert not made([operation(0)], [rejection(host=host, host_basis=basis, sent=None, received=None)])


@pytest.mark.parametrize(
    ("at", "record", "broken"),
    [
        (0.5, 2, True),  # between failure and refusal
        (1, 2, True),  # at the refusal
        (1.000001, 2, False),  # after it: the fix, perhaps
        (0, 2, True),  # same tick, later record
        (0, 0, False),  # same tick, earlier record
        (-1, 2, False),  # before the failure
    ],
)
def test_a_success_in_between_breaks_the_link(at, record, broken):
    found = made([operation(0, 1), success(at, record)])
    link = next(item for item in found if item.rule == "sent_certificate_failed_at_handshake")
    assert (link.broken_by is not None) is broken


@pytest.mark.parametrize(
    "changes", [{"thumbprint": OTHER}, {"policy": "CERT_CHAIN_POLICY_BASE"}, {"host": "EX02"}], ids=str
)
def test_a_success_of_something_else_breaks_nothing(changes):
    found = made([operation(0, 1), success(0.5, 2, **changes)])
    assert next(item for item in found if "failed" in item.rule).broken_by is None


def test_the_nearest_failure_counts_after_a_success():
    found = made([operation(-8, 1), success(-5, 2), operation(-1, 3)])
    link = next(item for item in found if item.rule == "sent_certificate_failed_at_handshake")
    assert (link.operation, link.broken_by) == ("O-3", None)


def test_order_of_input_does_not_matter():
    operations = [operation(-8, 1), success(-5, 2), operation(-1, 3), operation(2, 4)]
    assert made(operations) == made(operations[::-1])


def plainly(rejections, operations, window):
    """``links`` with every check in the window asked for every refusal: what choosing the nearest must equal."""
    table = links_module._successes(operations)
    found = []
    for rule in sorted(rules(), key=links_module._strength):
        before, after = links_module._window(rule, window)
        for item in rejections:
            anchor = item.handshake_time or item.time
            if item.time_basis not in ("utc", "zone") or not set(rule.rejection_signals) & set(item.signals):
                continue
            last = after + (item.resolution if item.resolution >= 1 else 0)
            inside = [
                check
                for check in operations
                if rule.operation_signal in check.signals
                and timedelta(seconds=-before) <= check.time - anchor <= timedelta(seconds=last)
            ]
            fitting = list(links_module._fitting(rule, item, inside))
            nearest = links_module._nearest(rule, item, fitting)
            found += [links_module._link(rule, item, check, hosts, table) for check, hosts in nearest]
    kept = links_module._strongest(found, {rule.name: rule.operation_signal for rule in rules()})
    return sorted(kept, key=lambda link: (link.rejection, link.rule, link.operation))


@cache
def rules():
    return Rules.load().links


def some(chance, refusals, checks):
    """Refusals and checks near and far from each other, of few certificates, names and hosts."""
    rejections = [
        rejection(
            id=f"R-{number}",
            handshake_time=chance.choice((None, HANDSHAKE + timedelta(seconds=chance.randrange(-40, 40) / 2))),
            time=HANDSHAKE + timedelta(seconds=chance.randrange(-30, 50) / 2),
            sent=chance.choice((None, Certificate(thumbprint=OWN), Certificate(thumbprint=OTHER))),
            host=chance.choice(("EX01", "EX01", "EX02", "")),
            host_basis=chance.choice(("row", "assumed")),
            resolution=chance.choice((0.001, 1.0)),
            remote_name=chance.choice(("", "x.mail.protection.outlook.com")),
            time_basis=chance.choice(("utc", "utc", "utc", "unknown")),
        )
        for number in range(refusals)
    ]
    signals = ("any_chain_policy_failed", "chain_policy_failed", "remote_certificate_failed", "check_found_revoked")
    operations = []
    for number in range(checks):
        values = {
            "host": chance.choice(("EX01", "EX01", "EX02")),
            "thumbprint": chance.choice((OWN, OWN, OTHER, "C" * 40, "")),
            "subject": chance.choice(("mail.contoso.com", "x.outlook.com", "y.example.org")),
            "missing_events": chance.choice(((), (11,))),
        }
        seconds = chance.choice((chance.randrange(-40, 40) / 2, -9000, -86400, 3000))
        if chance.random() < 0.3:
            operations.append(success(seconds, number, **values))
        else:
            told = tuple(sorted(chance.sample(signals, chance.randrange(1, 4))))
            operations.append(operation(seconds, number, signals=told, **values))
    return rejections, operations


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 120), st.sampled_from((None, (60.0, 30.0))))
@settings(max_examples=examples(150))
def test_choosing_the_nearest_gives_the_links_of_asking_every_check(seed, refusals, checks, window):
    rejections, operations = some(random.Random(seed), refusals, checks)
    assert links(rejections, operations, rules(), window) == plainly(rejections, operations, window)


def test_a_refusal_is_not_laid_beside_every_check_of_the_day(monkeypatch):
    """Thousands of failed checks of one certificate, thousands of refusals: the checks asked grow with the refusals."""
    asked = []
    plain = links_module._fitting
    monkeypatch.setattr(
        links_module, "_fitting", lambda rule, item, near: plain(rule, item, [asked.append(0) or one for one in near])
    )
    moments = [timedelta(seconds=7 * number) for number in range(1000)]
    rejections = [
        rejection(id=f"R-{number}", time=HANDSHAKE + moment, handshake_time=HANDSHAKE + moment)
        for number, moment in enumerate(moments)
    ]
    found = made([operation(moment.total_seconds(), number) for number, moment in enumerate(moments)], rejections)
    assert {link.rejection for link in found} == {item.id for item in rejections}
    assert len(asked) < 12 * len(rejections)
