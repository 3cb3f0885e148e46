"""The delivery history: what each host, connector and certificate sent, and when; made by hand, in any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from evtx_analyzer.hosts import HostClue, identify_hosts
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.records import Acceptance, Outcome, RefusedTimes
from evtx_analyzer.smtp.deliveries import History

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOSTS = identify_hosts([("EX01/SEND.LOG", "EX01"), ("EX02/SEND.LOG", "EX02")])
CLUE = HostClue("EX01", "EX01/SEND.LOG", "10.0.0.1:50000")
ONE, OTHER = "A" * 40, "B" * 40


def at(minutes):
    return START + timedelta(minutes=minutes)


def mail(minutes, to=("fabrikam.com",), sender="contoso.com", **values):
    plain = {"connector": "EXO", "thumbprint": ONE, "tls": True, "seen_address": "", "online": True}
    taken = (Acceptance(at(minutes), sender, tuple(to)),)
    return Outcome(first=at(minutes - 1), **{**plain, "accepted": taken, **values})


def history(*outcomes, clue=CLUE):
    made = History()
    made.add_outcomes(outcomes, clue, "send-connector")
    return made


def test_sessions_and_accepted_mail_are_counted_with_their_first_and_last_times():
    (row,) = history(mail(30), mail(10), mail(20, accepted=())).deliveries(HOSTS)
    assert (row.host, row.connector, row.kind, row.thumbprint) == ("EX01", "EXO", "send-connector", ONE)
    assert (row.sessions, row.first_session, row.last_session) == (3, at(9), at(29))
    assert (row.accepted, row.first_accepted, row.last_accepted) == (2, at(10), at(30))
    assert (row.refused, row.first_refused, row.tls_failures, row.tls_error) == (0, None, 0, "")


@pytest.mark.parametrize(
    ("made", "outside"),
    [
        ([mail(1)], 1),
        ([mail(1, online=None)], 0),  # the remote side may be a gateway
        ([mail(1, online=False)], 0),
        ([mail(1, to=["contoso.com"])], 0),  # the tenant's own mail is accepted whatever the attribution
        ([mail(1, to=[])], 0),
        ([mail(1, own_names=("mail.fabrikam.com",))], 0),
        ([mail(1), mail(2, sender="fabrikam.com")], 1),  # the same recipients, whose domain is now the sender's
        ([mail(1), mail(2, own_names=("fabrikam.com",))], 1),
        ([mail(1, sender=""), mail(2, sender=None)], 2),
    ],
)
def test_only_mail_of_exchange_online_to_others_shows_that_relaying_worked(made, outside):
    for order in permutations(made):
        (row,) = history(*order).deliveries(HOSTS)
        assert (row.accepted, row.accepted_outside) == (len(made), outside)


def test_the_tenant_s_accepted_domains_are_its_own():
    made = History()
    made.own_domains = frozenset({"fabrikam.com"})
    made.add_outcomes([mail(1), mail(2, to=["tailspin.example"])], CLUE, "send-connector")
    (row,) = made.deliveries(HOSTS)
    assert (row.accepted_outside, row.first_accepted_outside) == (1, at(2))


def test_connectors_certificates_and_machines_have_rows_of_their_own():
    made = history(mail(1), mail(2, thumbprint=OTHER), mail(3, connector="Other"))
    made.add_outcomes([mail(4)], HostClue("EX02", "EX02/SEND.LOG"), "send-connector")
    made.add_outcomes([mail(5)], HostClue("EX01", "EX01/more.LOG", "10.0.0.1:50001"), "send-connector")
    made.add_outcomes([mail(6)], HostClue("EX01", "EX01/iis.log"), "iis-smtp")
    found = [(row.host, row.connector, row.kind, row.thumbprint, row.accepted) for row in made.deliveries(HOSTS)]
    assert found == [
        ("EX01", "EXO", "iis-smtp", ONE, 1),
        ("EX01", "EXO", "send-connector", ONE, 2),
        ("EX01", "EXO", "send-connector", OTHER, 1),
        ("EX01", "Other", "send-connector", ONE, 1),
        ("EX02", "EXO", "send-connector", ONE, 1),
    ]


def test_refusals_of_folded_sessions_are_added():
    made = history(mail(1))
    made.add_refused(
        [RefusedTimes("EXO", ONE, 3, at(5), at(9)), RefusedTimes("EXO", ONE, 2, at(2), at(3))], CLUE, "send-connector"
    )
    (row,) = made.deliveries(HOSTS)
    assert (row.refused, row.first_refused, row.last_refused, row.accepted) == (5, at(2), at(9), 1)
    assert made.refused_from(HOSTS) == {("EX01", "EXO", "send-connector", ONE): frozenset({"10.0.0.1"})}
    assert history(mail(1)).refused_from(HOSTS) == {}


def test_of_several_forms_of_a_certificate_the_one_that_shows_most_stays():
    brief = Certificate(thumbprint=ONE, subject="CN=mail.contoso.com")
    named = Certificate(thumbprint=ONE, subject="CN=mail.contoso.com", issuer="CN=CA")
    dated = Certificate(thumbprint=ONE, subject="CN=mail.contoso.com", not_after=at(0))
    for order in permutations([brief, named, dated]):
        made = History()
        for certificate in order:
            made.add_certificate(certificate)
        assert made.certificates == {ONE: dated}


def test_a_sender_beyond_the_limit_is_not_known_and_those_before_it_stay(monkeypatch):
    monkeypatch.setattr("evtx_analyzer.smtp.deliveries._MOST_SENDERS", 1)
    made = history(mail(1), mail(2, sender="tailspin.example"), mail(3), mail(4, sender=""))
    senders = {item.state.sender_domain: item.times.all().count for item in made.accepted_mail(HOSTS)}
    assert senders == {"contoso.com": 2, None: 1, "": 1}
