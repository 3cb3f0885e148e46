"""Which later mail and refusals are compared with an incident: those of the same sender, in logs that show as much."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accepted_mail import AFTER, mail
from evidence import rejection

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.repair.later import (
    Later,
    mail_of_other_addresses,
    outside_mail,
    refusals_after,
    same_host,
    undated_refusal,
)
from evtx_analyzer.repair.refused_state import refused_state


def state(**changes):
    (incident,) = incidents([rejection(**changes)], (), {})
    return refused_state(incident, {})


@pytest.mark.parametrize(
    ("refused", "accepted", "counts"),
    [
        ("send-connector", {}, True),
        ("send-connector", {"kind": "iis-smtp"}, False),
        ("send-connector", {"kind": "message-tracking"}, False),
        # Tracking and reports show no session: that of any log of sessions counts.
        ("message-tracking", {}, True),
        ("ndr", {"kind": "iis-smtp"}, True),
        ("send-connector", {"scope": "own"}, False),
        ("send-connector", {"scope": "unknown"}, False),
        ("send-connector", {"connector": "Partner"}, False),
        ("send-connector", {"host": "EX02"}, False),
        ("send-connector", {"host": "ex01.contoso.com", "connector": "OUTBOUND"}, True),
        ("send-connector", {"time_basis": "unknown"}, False),
    ],
)
def test_accepted_mail_of_the_same_sender(refused, accepted, counts):
    assert (
        bool(outside_mail(state(kind=refused), Later(facts=CaseFacts(accepted_mail=(mail(AFTER, **accepted),)))))
        is counts
    )


@pytest.mark.parametrize(
    ("accepted", "addresses"),
    [
        ({}, ["10.0.0.2"]),
        ({"local_address": "10.0.0.1"}, []),  # the address of the refused mail
        ({"local_address": ""}, []),
        ({"local_address": "fd00::2"}, []),  # one machine has addresses of both versions
        # What shows nothing of a fix is no reason to sort the logs by server.
        ({"scope": "own"}, []),
        ({"time_basis": "unknown"}, []),
        ({"connector": "Partner"}, []),
        ({"kind": "iis-smtp"}, []),
    ],
)
def test_only_mail_that_could_show_a_fix_is_asked_for_by_server(accepted, addresses):
    refused = state(host_basis="folder", local_endpoint="10.0.0.1:2525")
    later = Later(facts=CaseFacts(accepted_mail=(mail(AFTER, **{"local_address": "10.0.0.2", **accepted}),)))
    assert mail_of_other_addresses(refused, later) == addresses


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"connector": ""}, True),  # tracking and reports may name none
        ({"connector": "Partner"}, False),
        ({"host": "EX02"}, False),
        ({"time": rejection().time}, False),  # the refusal itself is not later
        ({"time_basis": "unknown"}, False),
    ],
)
def test_later_refusals_of_the_same_sender(changes, counts):
    later = rejection(**{"id": "R-2", "time": rejection().time + timedelta(hours=1), **changes})
    found = refusals_after(state(), Later(facts=CaseFacts(rejections=(later,))), rejection().time)
    assert (found.count if found else 0) == counts


@pytest.mark.parametrize(
    ("hours", "changes", "may_be_later"),
    [
        (-25, {"time_basis": "unknown"}, True),
        (-27, {"time_basis": "unknown"}, False),  # no two zones are so far apart
        (-9999, {"time_basis": "heading"}, True),  # rows behind a #Date heading are only not older than it
        (1, {"time_basis": "unknown", "connector": ""}, True),
        (1, {"time_basis": "unknown", "host": "EX02"}, False),
        (1, {}, False),  # its time is known
    ],
)
def test_a_refusal_without_a_utc_time_may_be_later(hours, changes, may_be_later):
    other = rejection(id="R-2", **{"time": rejection().time + timedelta(hours=hours), **changes})
    assert undated_refusal(state(), Later(facts=CaseFacts(rejections=(other,)))) is may_be_later


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("EX01", "ex01.contoso.com", True),
        ("ex01.contoso.com", "EX01.CONTOSO.COM", True),
        ("ex01.contoso.com", "ex01.fabrikam.com", False),
        ("EX01", "EX02", False),
        ("", "", True),
        ("", "EX01", False),
    ],
)
def test_one_machine_by_its_names(left, right, same):
    assert same_host(left, right) is same_host(right, left) is same
