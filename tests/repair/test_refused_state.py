"""The state in which mail was refused: what is not known of every refusal is not known of the incident."""

from __future__ import annotations

from datetime import timedelta

import pytest
from evidence import HANDSHAKE, OTHER, OWN, operation, rejection, success
from msgspec.structs import replace

from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.model.evidence import Delivery
from evtx_analyzer.repair.refused_state import refused_state
from evtx_analyzer.rules import Rules

RULES = Rules.load()
SEEN = {"seen_address": "203.0.113.7"}
HOUR = timedelta(hours=1)


def state(*found, checks=(), **more):
    by_id = {check.id: check for check in checks}
    (incident,) = incidents(list(found), links(list(found), list(checks), RULES.links), by_id)
    return refused_state(incident, by_id, **more), incident


def second(**changes):
    return rejection(id="R-2", time=HANDSHAKE + HOUR, handshake_time=HANDSHAKE + HOUR, **changes)


@pytest.mark.parametrize(
    ("bases", "timed"),
    [(("utc", "utc"), True), (("utc", "unknown"), False), (("unknown", "unknown"), False), (("zone", "utc"), True)],
)
def test_nothing_is_later_than_refusals_of_which_one_has_no_known_time(bases, timed):
    first, last = bases
    assert state(rejection(time_basis=first), second(time_basis=last))[0].timed is timed


@pytest.mark.parametrize(
    ("first", "last", "every"),
    [(SEEN, SEEN, True), (SEEN, {"seen_address": "203.0.113.8"}, True), (SEEN, {}, False), ({}, {}, False)],
)
def test_the_addresses_are_all_of_them_only_where_every_refusal_shows_one(first, last, every):
    found, _ = state(rejection(**first), second(**last))
    assert found.every_address is every
    assert found.addresses == {shown["seen_address"] for shown in (first, last) if shown}


@pytest.mark.parametrize(
    ("first", "last", "tls"),
    [
        ({}, {}, True),
        ({"starttls": False, "from_start": True}, {"starttls": False, "from_start": True}, False),
        ({"starttls": False, "from_start": True}, {}, None),
        ({"starttls": False}, {"starttls": False}, None),  # excerpts: it may have been in a row that is not there
    ],
)
def test_whether_tls_was_used_is_known_where_all_refusals_agree(first, last, tls):
    bare = {"sent": None, "received": None}
    assert state(rejection(**bare, **first), second(**bare, **last))[0].tls is tls


WHOLE = {"sent": None, "received": None, "from_start": True}
PLAIN = {**WHOLE, "starttls": False}
REMOTE = {"received": None, "remote_name": "x.mail.protection.outlook.com"}


@pytest.mark.parametrize(
    ("first", "last", "sent"),
    [
        ({}, {}, True),
        (WHOLE, WHOLE, False),  # the log of a Send connector would show it
        (PLAIN, PLAIN, False),  # a certificate is sent in a TLS handshake only
        (WHOLE, PLAIN, False),
        ({**WHOLE, "from_start": False}, WHOLE, None),
        ({**WHOLE, "from_start": False}, {**WHOLE, "from_start": False}, None),
        ({**WHOLE, "kind": "iis-smtp"}, {**WHOLE, "kind": "iis-smtp"}, None),  # it names no certificate
        ({**PLAIN, "kind": "iis-smtp"}, {**PLAIN, "kind": "iis-smtp"}, False),
        ({**WHOLE, "kind": "message-tracking"}, {**WHOLE, "kind": "message-tracking"}, None),
        ({**PLAIN, "kind": "message-tracking"}, {**PLAIN, "kind": "message-tracking"}, None),
    ],
)
def test_that_no_certificate_was_sent_is_known_from_a_whole_log_that_would_show_it(first, last, sent):
    assert state(rejection(**first), second(**last))[0].certificate_sent is sent


@pytest.mark.parametrize(
    ("changes", "online"),
    [
        (REMOTE, True),
        ({**REMOTE, "remote_name": "gateway.contoso.com"}, False),
        ({**REMOTE, "remote_name": ""}, None),
        ({**REMOTE, "remote_endpoint": "10.0.0.9:717"}, None),  # the front end, which passed it on
        ({**REMOTE, "kind": "message-tracking"}, None),
        ({**REMOTE, "kind": "ndr"}, None),
    ],
)
def test_only_a_session_with_it_shows_that_the_other_side_is_exchange_online(changes, online):
    assert state(rejection(**changes), second(**changes))[0].online is online


def test_two_answers_on_who_the_other_side_is_are_none():
    assert state(rejection(**REMOTE), second(**{**REMOTE, "remote_name": "gateway.contoso.com"}))[0].online is None


@pytest.mark.parametrize(("most", "is_known"), [(1, False), (2, True)])
def test_refusals_of_very_many_kinds_that_are_only_counted_may_have_been_in_another_state(monkeypatch, most, is_known):
    monkeypatch.setattr("evtx_analyzer.correlate.excerpt.MOST_KINDS", most)
    _, incident = state(rejection(**SEEN, remote_name="x.mail.protection.outlook.com", received=None))
    assert refused_state(incident, {}).every_address is True
    found = refused_state(replace(incident, rejection_count=5), {})
    known = True if is_known else None
    assert (found.tls, found.certificate_sent, found.online, found.every_address) == (known, known, known, is_known)


def test_the_end_is_the_later_reading_of_an_hour_that_came_twice():
    twice = second(time_basis="ambiguous", other_time=HANDSHAKE + 2 * HOUR)
    assert state(rejection(), twice)[0].end == HANDSHAKE + 2 * HOUR
    assert state(rejection(), second())[0].end == HANDSHAKE + HOUR


def test_local_addresses_are_those_of_the_refusals_and_of_folded_ones_of_the_same_sender():
    found, incident = state(
        rejection(local_endpoint="10.0.0.1:25"),
        refused_from={
            ("EX01", "Outbound", "send-connector", OWN): frozenset({"10.0.0.2"}),
            ("EX01", "Outbound", "send-connector", OTHER): frozenset({"10.0.0.3"}),
            ("EX02", "Outbound", "send-connector", OWN): frozenset({"10.0.0.4"}),
            ("EX01", "Other", "send-connector", OWN): frozenset({"10.0.0.5"}),
        },
    )
    assert (incident.host, incident.connector) == ("EX01", "Outbound")
    assert found.local_addresses == {"10.0.0.1", "10.0.0.2"}


def test_what_must_pass_are_the_checks_that_failed_and_are_joined_by_more_than_time():
    other = operation(0, 3, thumbprint="C" * 40, subject="printer")
    found, _ = state(rejection(), checks=[operation(-1, 1), other])
    assert [(check.thumbprint, check.time) for check in found.failed] == [(OWN, HANDSHAKE - timedelta(seconds=1))]
    assert state(rejection(), checks=[success(-1, 1)])[0].failed == ()


@pytest.mark.parametrize(
    ("changes", "is_meanwhile"),
    [
        ({}, True),
        ({"last_accepted_outside": HANDSHAKE - HOUR}, False),
        ({"first_accepted_outside": HANDSHAKE + 2 * HOUR}, False),
        ({"thumbprint": OTHER}, False),
        ({"host": "EX02"}, False),
        ({"connector": "Other"}, False),
        ({"first_accepted_outside": None, "last_accepted_outside": None}, False),
    ],
)
def test_mail_that_was_accepted_between_the_refusals_is_of_the_same_sender(changes, is_meanwhile):
    history = Delivery(
        host="EX01",
        connector="Outbound",
        kind="send-connector",
        thumbprint=OWN,
        sessions=3,
        first_session=None,
        last_session=None,
        accepted=1,
        first_accepted=None,
        last_accepted=None,
        refused=2,
        first_refused=None,
        last_refused=None,
        first_accepted_outside=HANDSHAKE - 2 * HOUR,
        last_accepted_outside=HANDSHAKE + 3 * HOUR,
    )
    other = replace(history, connector="Another")
    found, _ = state(rejection(), second(), deliveries=[other, replace(history, **changes)])
    assert found.accepted_meanwhile is is_meanwhile
