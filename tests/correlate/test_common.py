"""What all refused mail has in common, and how much of the accepted mail has it too: what differs is evidence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accepted_mail import AFTER, BEFORE, mail
from evidence import OTHER, OWN, rejection
from msgspec.structs import replace

from evtx_analyzer.correlate.common import common_traits
from evtx_analyzer.model.certificate import Certificate

ELSEWHERE = "198.51.100.7"
BASE = {"mail_from": "a@contoso.com", "null_sender": False, "seen_address": "203.0.113.7", "rcpt_to": "b@fabrikam.com"}


def refused(*changes):
    return [rejection(**{"id": f"R-{number}", **BASE, **one}) for number, one in enumerate(changes or ({}, {}))]


def traits(rejections, *accepted, own=()):
    found = common_traits(rejections, accepted, own)
    return {
        common_trait.trait: (common_trait.value, common_trait.refused, common_trait.accepted, common_trait.compared)
        for common_trait in found
    }


def test_a_trait_of_every_refusal_is_counted_among_accepted_mail():
    got = traits(refused(), mail(BEFORE, AFTER), mail(AFTER, sender_domain="fabrikam.com"))
    assert got["sender-domain"] == ("contoso.com", 2, 2, 3)
    assert got["certificate"] == (OWN, 2, 3, 3)
    assert got["seen-address"] == ("203.0.113.7", 2, 3, 3)
    assert got["connector"] == ("Outbound", 2, 3, 3)
    assert got["host"] == ("EX01", 2, 3, 3)


@pytest.mark.parametrize(
    ("changes", "trait", "value"),
    [
        ({"mail_from": "", "null_sender": True}, "null-sender", ""),
        ({"mail_from": "x@forwarded.example"}, "sender-domain", "forwarded.example"),
        ({"sent": Certificate(thumbprint=OTHER)}, "certificate", OTHER),
        ({"seen_address": ELSEWHERE}, "seen-address", ELSEWHERE),
        ({"connector": "Other"}, "connector", "Other"),
        ({"host": "EX02"}, "host", "EX02"),
        ({"sent": None, "starttls": False, "from_start": True}, "no-tls", ""),
    ],
)
def test_what_only_refused_mail_has_is_the_difference(changes, trait, value):
    got = traits(refused(changes, changes), mail(BEFORE), mail(AFTER))
    assert got[trait] == (value, 2, 0, 2)


@pytest.mark.parametrize(
    ("one", "other", "trait"),
    [
        ({"mail_from": "", "null_sender": True}, {}, "null-sender"),
        ({}, {"mail_from": "a@fabrikam.com"}, "sender-domain"),
        ({}, {"sent": Certificate(thumbprint=OTHER)}, "certificate"),
        ({}, {"seen_address": ELSEWHERE}, "seen-address"),
        ({}, {"connector": "Other"}, "connector"),
        ({}, {"host": "EX02"}, "host"),
        # where one refusal does not show it, not all have it
        ({}, {"sent": None}, "certificate"),
        ({}, {"seen_address": ""}, "seen-address"),
        ({}, {"mail_from": "", "null_sender": None}, "sender-domain"),
        ({"mail_from": "", "null_sender": True}, {"mail_from": "", "null_sender": None}, "null-sender"),
    ],
)
def test_what_not_every_refusal_has_is_no_trait(one, other, trait):
    assert trait not in traits(refused(one, other), mail(BEFORE))


def test_a_session_that_is_not_whole_is_not_one_without_tls():
    plain = {"sent": None, "starttls": False, "from_start": False}
    assert "no-tls" not in traits(refused(plain, plain), mail(BEFORE))


def test_a_private_address_is_no_trait():
    assert "seen-address" not in traits(refused({"seen_address": "10.1.2.3"}))
    # Accepted mail that shows a private one only is not compared.
    assert traits(refused(), mail(BEFORE, seen_address="10.1.2.3"))["seen-address"] == ("203.0.113.7", 2, 0, 0)


@pytest.mark.parametrize(("changes", "trait"), [({"sender_domain": None}, "sender-domain"), ({"tls": None}, "no-tls")])
def test_accepted_mail_that_does_not_show_the_trait_is_not_compared(changes, trait):
    plain = {"sent": None, "starttls": False, "from_start": True}
    got = traits(refused(plain, plain), mail(BEFORE, thumbprint="", **changes), mail(AFTER))
    assert got[trait][3] == 1


@pytest.mark.parametrize("scope", ["own", "unknown"])
def test_accepted_mail_to_own_recipients_is_not_compared(scope):
    assert traits(refused(), mail(BEFORE, scope=scope))["certificate"] == (OWN, 2, 0, 0)


def test_outside_recipients_only_are_compared_with_all_accepted_mail():
    own = mail(BEFORE, AFTER, scope="own")
    assert traits(refused(), own, mail(BEFORE), mail(BEFORE, scope="unknown"))["outside-recipients"] == ("", 2, 1, 3)
    mixed = refused({}, {"rcpt_to": "b@contoso.com"})
    assert "outside-recipients" not in traits(mixed, own)
    assert "outside-recipients" not in traits(refused({"rcpt_to": "b@brand.example"}), own, own=("brand.example",))
    # One recipient of several is outside.
    assert "outside-recipients" in traits(refused({"rcpt_to": "b@contoso.com; c@fabrikam.com"}), own)


@pytest.mark.parametrize("kind", ["message-tracking", "ndr"])
def test_only_protocol_logs_show_what_is_compared(kind):
    assert traits([replace(item, kind=kind) for item in refused()], mail(BEFORE)) == {}


def test_without_a_refusal_there_is_nothing():
    assert traits([], mail(timedelta())) == {}
