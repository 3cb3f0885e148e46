"""Links at their edges: exactly at the window, equal times, out of order, hosts, identity before time."""

from __future__ import annotations

import pytest
from evidence import OTHER, operation, rejection, success
from msgspec.structs import replace

from evtx_analyzer.correlate.links import links
from evtx_analyzer.rules import Rules


def made(operations, rejections=None, window=None):
    return links(rejections or [rejection()], operations, Rules.load().links, window)


def rules_of(found):
    return [link.rule for link in found]


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


def test_one_link_per_pair_and_the_strongest():
    assert len(made([operation(0)])) == 1


def test_another_certificate_with_the_own_name_is_not_linked_by_name():
    renewed = operation(0, thumbprint="C" * 40)
    assert rules_of(made([renewed])) == ["any_chain_failed_at_handshake"]


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
