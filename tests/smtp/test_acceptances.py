"""Mail that Exchange Online took, compared with the mail that it refused: which state works, and since when."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from accepted_mail import AFTER, BEFORE, BETWEEN, STATE, mail, spread
from evidence import HANDSHAKE, OWN, operation, rejection, success
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Delivery
from evtx_analyzer.smtp.acceptances import Span, Spread, scope_of, span_of
from evtx_analyzer.smtp.deliveries import AcceptedMail, TlsFailures

OLD, HERE, ELSEWHERE = "B" * 40, "203.0.113.7", "198.51.100.7"


def refused_span(first=timedelta(seconds=1), last=timedelta(hours=1), **changes):
    made = Delivery(
        host="EX01",
        connector="Outbound",
        kind="send-connector",
        thumbprint=OWN,
        sessions=2,
        first_session=None,
        last_session=None,
        accepted=0,
        first_accepted=None,
        last_accepted=None,
        refused=2,
        first_refused=HANDSHAKE + first,
        last_refused=HANDSHAKE + last,
    )
    return replace(made, **changes)


def facts(*accepted, refusal=None, **beside):
    made = refusal or rejection(seen_address=HERE)
    background = CaseFacts(accepted_mail=accepted, **{"rejections": (made,), **beside})
    return session_facts(made, background)


# --------------------------------------------------------------------------------- mail that shows that relaying works


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        (["fabrikam.com"], "outside"),
        (["contoso.com"], "own"),
        (["contoso.onmicrosoft.com"], "own"),
        (["contoso.mail.onmicrosoft.com"], "own"),
        (["contoso.onmicrosoft.us"], "own"),
        (["contoso.partner.onmschina.cn"], "own"),
        (["onmicrosoft.com.evil.example"], "outside"),
        (["notonmicrosoft.com"], "outside"),
        (["contoso.com", "fabrikam.com"], "outside"),
        (["contoso.com", "contoso.onmicrosoft.com"], "own"),
        (["eu.contoso.com"], "outside"),  # a subdomain of its own may be another organization's
        ([], "unknown"),
        ([""], "unknown"),
    ],
)
def test_recipients_of_the_own_tenant_show_nothing(recipients, expected):
    assert scope_of(recipients, ["contoso.com", "mail.contoso.com"]) == expected


def test_the_domain_of_the_machine_and_of_the_certificate_is_its_own():
    assert scope_of(["corp.example"], ["ex01.corp.example"]) == "own"
    assert scope_of(["contoso.com"], ["*.contoso.com"]) == "own"
    assert scope_of(["contoso.com"], ["Contoso.COM"]) == "own", "as Get-AcceptedDomain may write it"
    assert scope_of(["contoso.com"], ["tailspin.example", "contoso.com"]) == "own", "one of several accepted domains"
    assert scope_of(["oso.com"], ["contoso.com"]) == "outside"


@pytest.mark.parametrize("scope", ["own", "unknown"])
def test_mail_to_own_or_unknown_recipients_is_not_compared(scope):
    got = facts(mail(BEFORE, BETWEEN, AFTER, scope=scope), deliveries=(refused_span(),))
    assert not [name for name in got if name.startswith("Accepted") and got[name] != ("false",)]


# ------------------------------------------------------------------------------------------------------ the same state


@pytest.mark.parametrize("when", [BEFORE, BETWEEN, AFTER])
def test_mail_with_the_same_certificate_counts_whenever_it_was_accepted(when):
    (text,) = facts(mail(when), deliveries=(refused_span(),))["AcceptedSameSecurity"]
    assert text.startswith("1 message, 2026-")


def test_count_first_and_last_are_told():
    got = facts(mail(BEFORE, BETWEEN), mail(AFTER, sender_domain="other.example"))["AcceptedSameSecurity"]
    assert got == ("3 messages, 2026-02-28 12:00:00.000 UTC to 2026-03-02 12:00:00.000 UTC",)


@pytest.mark.parametrize(
    "changes",
    [
        {"thumbprint": OLD},
        {"thumbprint": ""},
        {"connector": "Partner"},
        {"host": "EX02"},
        {"kind": "iis-smtp"},
        {"scope": "own"},
    ],
)
def test_another_state_is_not_the_same(changes):
    assert "AcceptedSameSecurity" not in facts(mail(BEFORE, AFTER, **changes))


@pytest.mark.parametrize(
    ("tls", "thumbprint", "expected"),
    [(False, "", True), (True, "", False), (None, "", False), (True, OWN, False)],
)
def test_without_tls_is_compared_with_without_tls(tls, thumbprint, expected):
    plain = rejection(sent=None, received=None, starttls=False, from_start=True, ehlo=("SIZE",), seen_address=HERE)
    got = facts(mail(BEFORE, tls=tls, thumbprint=thumbprint), refusal=plain)
    assert ("AcceptedSameSecurity" in got) is expected


@pytest.mark.parametrize(("tls", "expected"), [(True, True), (False, False), (None, False)])
def test_tls_without_a_certificate_is_compared_with_the_same(tls, expected):
    bare = rejection(sent=None, tls="TLS protocol SP_PROT_TLS1_2_CLIENT", from_start=True, seen_address=HERE)
    got = facts(mail(BEFORE, tls=tls, thumbprint=""), refusal=bare)
    assert ("AcceptedSameSecurity" in got) is expected


def test_a_session_that_is_not_whole_is_compared_with_nothing():
    excerpt = rejection(sent=None, received=None, starttls=False, from_start=False, seen_address=HERE)
    assert "AcceptedSameSecurity" not in facts(mail(BEFORE, tls=False, thumbprint=""), refusal=excerpt)

    excerpt = rejection(sent=None, starttls=True, tls="SP_PROT_TLS1_2_CLIENT", from_start=False, seen_address=HERE)
    assert "AcceptedSameSecurity" not in facts(mail(BEFORE, tls=True, thumbprint=""), refusal=excerpt)


@pytest.mark.parametrize(
    "shown",
    [
        {"sent": None, "tls": "TLS protocol SP_PROT_TLS1_2_CLIENT"},
        {"sent": None, "received": None, "starttls": False},
        {"kind": "iis-smtp", "sent": None, "received": None},
    ],
    ids=["no certificate", "no TLS", "IIS"],
)
def test_what_one_refusal_shows_is_not_said_of_one_that_does_not_show_it(shown):
    """Answers are shared by refusals in the same state, whichever is asked first."""
    whole = rejection(**{**shown, "from_start": True, "seen_address": HERE})
    hidden = {"starttls": False} if whole.kind == "iis-smtp" else {}
    excerpt = replace(whole, id="R-2", from_start=False, **hidden)
    accepted = mail(BEFORE, kind=whole.kind, thumbprint="", tls=whole.starttls)
    for asked in ((whole, excerpt), (excerpt, whole)):
        background = CaseFacts(accepted_mail=(accepted,), rejections=asked)
        got = {refusal.id: session_facts(refusal, background) for refusal in asked}
        assert "AcceptedSameSecurity" in got["R-1"]
        assert "AcceptedSameSecurity" not in got["R-2"]


@pytest.mark.parametrize(("tls", "expected"), [(True, True), (False, False), (None, False)])
def test_a_log_without_certificates_is_compared_by_tls_alone(tls, expected):
    """IIS writes STARTTLS and no certificate: the certificate may differ, and nothing is said of it."""
    refusal = rejection(kind="iis-smtp", sent=None, received=None, from_start=True, seen_address=HERE)
    got = facts(mail(BEFORE, kind="iis-smtp", thumbprint="", tls=tls), refusal=refusal)
    assert ("AcceptedSameSecurity" in got) is expected
    assert got.keys().isdisjoint({"AcceptedSameCertificate", "AcceptedWithoutCertificate"})


# ---------------------------------------------------------------------------------- while a check failed, after expiry


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (timedelta(hours=-3), False),  # before the check failed
        (timedelta(hours=-1), True),
        (timedelta(hours=1), True),  # after the refusal, the chain has not been repaired yet
        (timedelta(hours=3), False),  # the check passes again
    ],
)
def test_only_mail_while_the_check_failed_speaks_against_the_chain(when, expected):
    checks = (success(-4 * 3600, 1), operation(-2 * 3600, 2), operation(0, 3), success(2 * 3600, 4))
    the_export_goes_on = operation(4 * 3600, 5, thumbprint=OLD)
    got = facts(mail(when), operations=(*checks, the_export_goes_on))
    assert ("AcceptedSinceFailedCheck" in got) is expected


def test_a_check_of_another_certificate_or_on_another_machine_dates_nothing():
    for check in (operation(-7200, 1, thumbprint=OLD), operation(-7200, 1, host="EX02")):
        assert "AcceptedSinceFailedCheck" not in facts(mail(timedelta(hours=-1)), operations=(check,))


def test_a_check_without_a_result_neither_failed_nor_passed():
    unknown, failed = operation(-7200, 1, result=""), operation(-10800, 2)
    assert "AcceptedSinceFailedCheck" not in facts(mail(timedelta(hours=-1)), operations=(unknown,))
    assert "AcceptedSinceFailedCheck" in facts(mail(timedelta(hours=-1)), operations=(failed, unknown))


def test_a_check_that_fails_only_after_the_refusal_dates_nothing():
    assert "AcceptedSinceFailedCheck" not in facts(mail(AFTER), operations=(operation(3600, 1),))


@pytest.mark.parametrize(("when", "expected"), [(timedelta(days=-2), False), (timedelta(hours=-1), True)])
def test_only_mail_after_the_expiry_speaks_against_it(when, expected):
    expired = Certificate(
        thumbprint=OWN, not_before=HANDSHAKE - timedelta(days=400), not_after=HANDSHAKE - timedelta(days=1)
    )
    got = facts(mail(when), refusal=rejection(sent=expired, seen_address=HERE))
    assert ("AcceptedSinceExpiry" in got) is expected


# ------------------------------------------------------------------------------------------------------------- address


def test_accepted_from_another_public_address_only():
    got = facts(mail(BEFORE, seen_address=ELSEWHERE))
    assert got["AcceptedFromAddress"] == (ELSEWHERE,)
    assert "AcceptedSameAddress" not in got


@pytest.mark.parametrize(
    "others",
    [
        (mail(BEFORE, seen_address=ELSEWHERE), mail(BEFORE)),  # from both: it is not the address
        (mail(BEFORE, seen_address="10.1.2.3"),),  # private: a masked or internal view
        (mail(BEFORE, seen_address="x.x.x.x"),),  # masked
        (mail(BEFORE, seen_address=""),),
        (mail(BEFORE, seen_address=ELSEWHERE, thumbprint=OLD),),  # another certificate may be the difference
        (mail(BEFORE, seen_address=ELSEWHERE, scope="own"),),
    ],
)
def test_no_change_of_the_address_where_something_else_may_be_the_difference(others):
    assert "AcceptedFromAddress" not in facts(*others)


def test_an_address_that_the_log_does_not_show_is_not_the_same_as_another_one():
    assert "AcceptedSameAddress" in facts(mail(BEFORE))
    assert "AcceptedSameAddress" not in facts(mail(BEFORE, seen_address=""), refusal=rejection(seen_address=""))


def test_a_private_address_of_the_refused_session_is_no_change():
    refusal = rejection(seen_address="10.1.2.3")
    assert "AcceptedFromAddress" not in facts(mail(BEFORE, seen_address=ELSEWHERE), refusal=refusal)


def test_ipv6_is_an_address_like_any_other():
    got = facts(mail(BEFORE, seen_address=ELSEWHERE), refusal=rejection(seen_address="2001:db8::5"))
    assert (got["AcceptedFromAddress"], got["SeenAddressVersion"]) == ((ELSEWHERE,), ("6",))


# ------------------------------------------------------------------------------------------------------------- senders


def refused_replies(*senders):
    """Refusals of these senders: a domain, empty for MAIL FROM:<>, None where MAIL FROM is not in the log."""
    return tuple(
        rejection(
            id=f"R-{number}",
            mail_from=f"a@{sender}" if sender else "",
            null_sender=None if sender is None else not sender,
            seen_address=HERE,
        )
        for number, sender in enumerate(senders)
    )


@pytest.mark.parametrize(
    ("refused", "accepted", "null", "other"),
    [
        (("", ""), ("contoso.com",), True, False),
        (("fabrikam.com", ""), ("contoso.com",), False, True),
        (("fabrikam.com",), ("contoso.com",), False, True),
        (("", ""), ("contoso.com", ""), False, False),  # mail without a sender is accepted as well
        (("contoso.com",), ("contoso.com",), False, False),
        ((None, ""), ("contoso.com",), False, False),  # a refused sender is not known
        (("fabrikam.com",), ("contoso.com", None), False, False),  # an accepted one is not known
        (("",), ("contoso.com", None), True, False),
        (("",), (None,), False, False),  # what is accepted may have no sender either
        (("", ""), (), False, False),
    ],
)
def test_what_refused_senders_have_in_common(refused, accepted, null, other):
    rejections = refused_replies(*refused)
    got = facts(
        *(mail(BEFORE, AFTER, sender_domain=domain) for domain in accepted),
        refusal=rejections[0],
        rejections=rejections,
    )
    assert ("OnlyNullSenderRefused" in got, "OnlyOtherSendersRefused" in got) == (null, other)


@pytest.mark.parametrize(("when", "expected"), [(BEFORE, False), (BETWEEN, True), (AFTER, True)])
@pytest.mark.parametrize("sender", ["", "fabrikam.com"])
def test_other_mail_must_be_accepted_while_this_is_refused(when, expected, sender):
    """The day before, everything may have been accepted."""
    rejections = refused_replies(sender, sender)
    got = facts(mail(when), refusal=rejections[0], rejections=rejections, deliveries=(refused_span(),))
    assert ("OnlyNullSenderRefused" in got or "OnlyOtherSendersRefused" in got) is expected


@pytest.mark.parametrize(
    ("refused", "accepted", "expected"),
    [
        ("contoso.com", "contoso.com", True),
        ("contoso.com", "fabrikam.com", False),
        ("", "", True),
        ("", "contoso.com", False),
        (None, None, False),  # two senders that are not known need not be one
    ],
)
def test_mail_of_the_same_sender_domain(refused, accepted, expected):
    (refusal,) = refused_replies(refused)
    assert ("AcceptedSameSender" in facts(mail(BEFORE, sender_domain=accepted), refusal=refusal)) is expected


def test_senders_that_were_accepted_earlier_only_are_not_among_the_accepted_ones():
    (refusal,) = refused_replies("fabrikam.com")
    earlier, meanwhile = mail(BEFORE, sender_domain="old.example"), mail(AFTER, sender_domain="contoso.com")
    assert facts(earlier, meanwhile, refusal=refusal)["AcceptedSender"] == ("contoso.com",)
    # One of which the log does not show the sender may be mail of the refused one.
    unknown = mail(BEFORE, sender_domain=None)
    assert "OnlyOtherSendersRefused" not in facts(unknown, meanwhile, refusal=refusal)


# ------------------------------------------------------------------------------------------------- replaced, went back


def test_a_certificate_is_replaced_only_if_the_old_one_was_accepted_before_and_the_new_one_never():
    assert facts(mail(BEFORE, thumbprint=OLD))["PreviousThumbprint"] == (OLD,)
    for others in (
        (mail(BEFORE, thumbprint=OLD), mail(BEFORE)),  # accepted with the new one as well
        (mail(AFTER, thumbprint=OLD),),  # accepted afterwards only
        (mail(BEFORE, thumbprint=OLD, connector="Partner"),),
        (mail(BEFORE, thumbprint=OLD, host="EX02"),),
        (mail(BEFORE, thumbprint=OLD, scope="own"),),  # whatever the attribution
        (mail(BEFORE, thumbprint=""),),
    ):
        assert "PreviousThumbprint" not in facts(*others)


def test_mail_to_own_recipients_with_the_new_certificate_does_not_acquit_it():
    got = facts(mail(BEFORE, thumbprint=OLD), mail(BEFORE, scope="own"))
    assert got["PreviousThumbprint"] == (OLD,)
    assert got["AcceptedBeforeWithThisCertificate"] == ("false",)
    # Where the log shows no certificate, nothing is said of one.
    assert "AcceptedBeforeWithThisCertificate" not in facts(refusal=rejection(sent=None))


def test_going_back_is_seen_after_the_last_refusal_only():
    back = facts(mail(BEFORE, AFTER, thumbprint=OLD), deliveries=(refused_span(),))
    assert back["PreviousAcceptedAgain"][0].startswith("1 message, ")
    # Both in turn: neither replaced the other.
    turns = facts(mail(BEFORE, BETWEEN, AFTER, thumbprint=OLD), deliveries=(refused_span(),))
    assert "PreviousThumbprint" not in turns
    assert "PreviousAcceptedAgain" not in turns


def test_the_newest_of_several_certificates_is_the_previous_one():
    oldest = mail(timedelta(days=-30), thumbprint="C" * 40)
    assert facts(oldest, mail(BEFORE, thumbprint=OLD))["PreviousThumbprint"] == (OLD,)


@pytest.mark.parametrize(
    ("subject", "issuer", "expected"),
    [
        ("CN=mail.contoso.com", "CN=CA 1", "true"),
        ("CN=mail.contoso.com", "CN=CA 2", "false"),
        ("CN=x", "CN=CA 1", "false"),
    ],
)
def test_renewed_under_the_same_names(subject, issuer, expected):
    new = Certificate(thumbprint=OWN, subject="CN=mail.contoso.com", issuer="CN=CA 1")
    old = Certificate(thumbprint=OLD, subject=subject, issuer=issuer)
    got = facts(
        mail(BEFORE, thumbprint=OLD),
        refusal=rejection(sent=new, seen_address=HERE),
        certificates={OLD: old, OWN: new},
    )
    assert got["PreviousHasSameName"] == (expected,)
    assert "PreviousHasSameName" not in facts(mail(BEFORE, thumbprint=OLD), certificates={OWN: new})


@pytest.mark.parametrize(
    ("when", "changes", "expected"),
    [
        (AFTER, {}, ("To other tenant",)),
        (BETWEEN, {}, ("To other tenant",)),
        (BEFORE, {}, None),  # the time may be the difference
        (AFTER, {"thumbprint": OLD}, None),
        (AFTER, {"scope": "own"}, None),
        (AFTER, {"connector": "Outbound"}, None),
    ],
)
def test_the_same_certificate_over_another_connector_meanwhile(when, changes, expected):
    accepted = mail(when, **{"connector": "To other tenant", **changes})
    assert facts(accepted, deliveries=(refused_span(),)).get("AcceptedOnAnotherConnector") == expected


# ----------------------------------------------------------------------------------- looked up, and asked one by one


def some_mail(chance):
    """Accepted mail of few certificates, connectors, hosts, at most one message in each ten minutes of a state."""
    made = {}
    for _ in range(chance.randrange(12)):
        state = replace(
            STATE,
            host=chance.choice(("EX01", "EX01", "EX02")),
            connector=chance.choice(("Outbound", "Outbound", "Other")),
            thumbprint=chance.choice((OWN, OLD, "C" * 40, "")),
            scope=chance.choice(("outside", "outside", "own")),
        )
        made.setdefault(state, set()).add(HANDSHAKE + timedelta(minutes=10 * chance.randrange(-4, 8)))
    return [(state, sorted(times)) for state, times in made.items()]


def plain_history(refusal, accepted, span, failures):
    """What ``docs/rules.md`` says of the history, with every message asked."""
    own = refusal.sent.thumbprint if refusal.sent else ""
    first, last = span.get(own, (refusal.time, refusal.time))
    here = {}
    for state, times in accepted:
        if (state.host, state.connector, state.scope) == (refusal.host, refusal.connector, "outside"):
            here.setdefault(state.thumbprint, []).extend(times)
    known = {}
    if own:
        before = any(time <= first for time in here.get(own, ()))
        known["AcceptedBeforeWithThisCertificate"] = ("true" if before else "false",)
        earlier = {
            name: max(time for time in times if time <= first)
            for name, times in here.items()
            if name not in ("", own) and any(time <= first for time in times)
        }
        if earlier and not before:
            previous = min(name for name, time in earlier.items() if time == max(earlier.values()))
            in_turn = first < last and any(first <= time <= last for time in here[previous])
            if not in_turn:
                known["PreviousThumbprint"] = (previous,)
    ten = timedelta(minutes=10)
    errors = {
        item.error
        for item, times in failures
        if (item.host, item.connector) == (refusal.host, refusal.connector)
        and any(timedelta() <= refusal.time - time <= ten for time in times)
    }
    if errors:
        known |= {"TlsFailedBefore": ("true",), "TlsFailure": tuple(sorted(errors))}
    return known


@given(st.integers(0, 2**32))
@settings(max_examples=examples(200))
def test_the_history_that_is_looked_up_is_that_of_asking_every_message(seed):
    chance = random.Random(seed)
    accepted = some_mail(chance)
    failures = []
    for error in ("NoCredentials", "SocketError"):
        times = [HANDSHAKE + timedelta(minutes=10 * chance.randrange(-3, 3)) for _ in range(chance.randrange(3))]
        host = chance.choice(("EX01", "EX02"))
        failures.append((TlsFailures(host, "send-connector", "Outbound", error, spread(*times)), times))
    span = {}
    for thumbprint in (OWN, OLD):
        if chance.random() < 0.7:
            first = HANDSHAKE + timedelta(minutes=chance.randrange(-30, 30))
            span[thumbprint] = (first, first + timedelta(minutes=chance.randrange(40)))
    background = CaseFacts(
        accepted_mail=tuple(AcceptedMail(state, spread(*times)) for state, times in accepted),
        tls_failures=tuple(tls_failures for tls_failures, _ in failures),
        deliveries=tuple(
            refused_span(thumbprint=name, first=first - HANDSHAKE, last=last - HANDSHAKE)
            for name, (first, last) in span.items()
        ),
    )
    names = ("AcceptedBeforeWithThisCertificate", "PreviousThumbprint", "TlsFailedBefore", "TlsFailure")
    for thumbprint in (OWN, OLD, "E" * 40, None):
        shown = None if thumbprint is None else Certificate(thumbprint=thumbprint)
        made = rejection(sent=shown, time=HANDSHAKE + timedelta(minutes=chance.randrange(-5, 15)))
        looked_up = {name: values for name, values in session_facts(made, background).items() if name in names}
        assert looked_up == plain_history(made, accepted, span, failures)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12))
def test_times_counted_together_are_as_those_counted_one_by_one(seconds):
    times = [datetime(2016, 12, 1, 3, 5, tzinfo=UTC) + timedelta(seconds=number) for number in seconds]
    together, one_by_one = Spread(), Spread()
    together.add_all(times)
    for time in times:
        one_by_one.add(Span(1, time, time))
    assert together.edges() == one_by_one.edges()
    assert together.all() == one_by_one.all() == span_of(times) == Span(len(times), min(times), max(times))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, (3, 0, 20)),
        (0, 20, (3, 0, 20)),
        (0, 19, (1, 0, 0)),
        (1, 20, (1, 20, 20)),
        (1, None, (1, 20, 20)),
        (None, 5, (1, 0, 0)),
        (1, 19, None),
        (21, None, None),
    ],
)
def test_of_ten_minutes_that_a_limit_cuts_only_the_end_that_lies_inside_is_counted(first, last, expected):
    def at(second):
        return None if second is None else datetime(2016, 12, 1, 3, 10, second, tzinfo=UTC)

    times = Spread()
    times.add_all([at(0), at(10), at(20)])
    span = times.between(at(first), at(last))
    assert span == (None if expected is None else Span(expected[0], at(expected[1]), at(expected[2])))


def test_no_times_have_no_span():
    assert span_of([]) is None
