"""What other inputs add to a refused session: dates and issuer of its certificate, failures before it, a trace."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accepted_mail import spread
from evidence import HANDSHAKE, OWN, rejection
from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import OtherError
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.smtp.deliveries import TlsFailures

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
REFUSED = HANDSHAKE + timedelta(seconds=1)


def facts(made=None, **beside):
    return session_facts(made or rejection(), CaseFacts(**beside))


# --------------------------------------------------------------------------------------------------------- the dates


@pytest.mark.parametrize(
    ("before", "after", "expired", "early"),
    [
        (-9, 9, "false", "false"),
        (-9, -1, "true", "false"),
        (1, 9, "false", "true"),
        (None, -1, None, None),  # one date alone: the log was cut in the middle of the certificate
        (-9, None, None, None),
    ],
)
def test_the_validity_at_the_handshake(before, after, expired, early):
    dates = {"not_before": before and HANDSHAKE + before * DAY, "not_after": after and HANDSHAKE + after * DAY}
    got = facts(rejection(sent=Certificate(thumbprint=OWN, **dates)))
    assert got.get("SentExpired") == (expired and (expired,))
    assert got.get("SentNotYetValid") == (early and (early,))


def test_what_counts_is_the_handshake_and_not_the_refusal_hours_later():
    sent = Certificate(thumbprint=OWN, not_before=HANDSHAKE - DAY, not_after=HANDSHAKE + MINUTE)
    assert facts(rejection(sent=sent, time=HANDSHAKE + DAY))["SentExpired"] == ("false",)
    assert facts(rejection(sent=sent, time=HANDSHAKE + DAY, handshake_time=None))["SentExpired"] == ("true",)


# -------------------------------------------------------------------------------------------------------- the issuer


@pytest.mark.parametrize(
    ("subject", "issuer", "expected"),
    [
        ("CN=ex01", "CN=ex01", "true"),
        ("CN=ex01, S=Bavaria", "cn=EX01,ST=Bavaria", "true"),
        ("CN=ex01", "CN=Example CA", "false"),
        ("CN=ex01", "", None),
        ("", "CN=Example CA", None),
    ],
)
def test_self_signed_is_said_only_where_both_names_are_known(subject, issuer, expected):
    got = facts(rejection(sent=Certificate(thumbprint=OWN, subject=subject, issuer=issuer)))
    assert got.get("SentSelfSigned") == (expected and (expected,))


@pytest.mark.parametrize(
    ("issuer", "kind", "expected"),
    [
        ("CN=Corp CA, DC=corp, DC=example", "", "domain components"),
        ("CN=DC=x Services, O=Example", "", None),
        ("CN=Example CA, O=Example", "Enterprise", "RootCAType Enterprise"),
        ("CN=Example CA, O=Example", "ThirdParty", None),
        ("CN=Example CA, O=Example", "", None),
    ],
)
def test_what_shows_an_authority_of_the_company_itself(issuer, kind, expected):
    values = {"Thumbprint": OWN.lower(), "RootCAType": kind}
    listed = Setting(origin=Origin(source="x"), cmdlet="Get-ExchangeCertificate", values=values)
    made = rejection(sent=Certificate(thumbprint=OWN, subject="CN=mail.contoso.com", issuer=issuer))
    (shown, *_) = facts(made, settings=(listed,)).get("SentIssuerPrivate", ("",))
    assert (expected or "") in shown
    assert bool(shown) is bool(expected)


# ------------------------------------------------------------------------------------------- the name in the reply


@pytest.mark.parametrize(
    ("helo", "host", "expected"),
    [
        ("", "EX01", "true"),
        ("ex01.contoso.com", "", "true"),
        ("mail.contoso.com", "EX01", "true"),
        ("mail.contoso.com", "", "false"),
        ("", "", None),
    ],
)
def test_the_machine_is_known_by_ehlo_or_by_its_log(helo, host, expected):
    got = facts(rejection(certificate_name="ex01", helo=helo, host=host)).get("ReplyNamesHost")
    assert got == (expected and (expected,))
    assert "ReplyNamesHost" not in facts(rejection(certificate_name="", helo=helo, host=host))


def untrusted(host="EX01", code="450 4.4.317", text="Cannot connect ... [Message=UntrustedRoot]"):
    return OtherError(
        kind="send-connector",
        host=host,
        code=code,
        attribution="",
        meaning="",
        text=text,
        count=1,
        first=REFUSED,
        last=REFUSED,
        origin=Origin(source="x"),
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (untrusted(), ("true",)),
        (untrusted(host="EX02"), None),
        (untrusted(code="450 4.4.318"), None),
        (untrusted(text="[Message=ExpiredCert]"), None),
    ],
)
def test_exchange_online_says_elsewhere_that_the_root_is_not_trusted(error, expected):
    assert facts(other_errors=(error,)).get("UntrustedRootElsewhere") == expected


# ------------------------------------------------------------------------------------------ TLS that failed before


@pytest.mark.parametrize(
    ("before", "changes", "failed"),
    [
        (timedelta(), {}, True),
        (9 * MINUTE, {}, True),
        (11 * MINUTE, {}, False),
        (-MINUTE, {}, False),  # after the refusal
        (MINUTE, {"connector": "Partner"}, False),
        (MINUTE, {"host": "EX02"}, False),
    ],
)
def test_negotiations_of_the_connector_that_failed_in_the_ten_minutes_before(before, changes, failed):
    made = replace(
        TlsFailures("EX01", "send-connector", "Outbound", "NoCredentials", spread(REFUSED - before)), **changes
    )
    got = facts(tls_failures=(made,))
    assert got.get("TlsFailedBefore") == (("true",) if failed else None)
    assert got.get("CredentialFailedBefore") == (("true",) if failed else None)


def test_an_error_that_is_not_of_the_own_certificate_says_so():
    made = TlsFailures("EX01", "send-connector", "Outbound", "SocketError", spread(REFUSED))
    assert facts(tls_failures=(made,))["CredentialFailedBefore"] == ("false",)


# --------------------------------------------------------------------------------------------------- a network trace

LEAF = WireCertificate(thumbprint=OWN, subject="CN=mail.contoso.com", issuer="CN=CA")
HERE, THERE = "10.1.2.3:40111", "216.32.181.234:25"


def handshake(seconds=0.0, **changes):
    made = Handshake(
        id="H-1",
        start=HANDSHAKE + timedelta(seconds=seconds),
        local=HERE,
        remote=THERE,
        tls="TLS 1.2",
        requested=True,
        sent=(LEAF,),
        received=(),
        alert="",
        rejection="R-1",
        origin=Origin(source="t.pcap"),
        flight="whole",
        completed=True,
        join="endpoints",
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([{}], "true"),
        ([{"sent": ()}], "false"),
        ([{}, {"sent": ()}], None),  # two that contradict each other
        ([{"sent": (), "join": "address"}], None),  # perhaps another connection
        ([{"sent": (), "flight": "hidden"}], None),
        ([{"sent": (), "completed": False}], None),
        ([{"sent": (), "renegotiated": True}], None),
        ([{"sent": (), "requested": None}], None),
        ([{"sent": (), "rejection": "R-2"}], None),
    ],
)
def test_a_trace_of_the_refused_connection_shows_whether_a_certificate_was_sent(shown, expected):
    got = facts(handshakes=tuple(handshake(**changes) for changes in shown)).get("WireCertificateSent")
    assert got == (expected and (expected,))


@pytest.mark.parametrize(
    ("seconds", "changes", "basis", "expected"),
    [
        (-300, {}, "utc", True),
        (-300, {"local": "10.1.2.3:9"}, "zone", True),  # an earlier attempt comes from another port
        (-598, {}, "utc", True),
        (-600, {}, "utc", False),
        (2, {}, "utc", False),  # after the refusal
        (-300, {"remote": "192.0.2.9:25"}, "utc", False),
        (-300, {"local": "10.1.2.4:40111"}, "utc", False),
        (-300, {}, "unknown", False),
        (-300, {"alert": ""}, "utc", False),
    ],
)
def test_handshakes_between_the_same_addresses_that_failed_before(seconds, changes, basis, expected):
    failed = handshake(seconds, **{"alert": "protocol_version by server", "rejection": None, **changes})
    made = rejection(local_endpoint=HERE, remote_endpoint=THERE, time_basis=basis)
    got = facts(made, handshakes=(failed,)).get("WireTlsFailure")
    assert got == (("protocol_version by server",) if expected else None)


def test_without_addresses_no_failed_handshake_is_the_session_s():
    failed = handshake(-300, alert="protocol_version by server", rejection=None, local="", remote="")
    assert "WireTlsFailure" not in facts(rejection(local_endpoint="", remote_endpoint=""), handshakes=(failed,))
