"""What placeholders of sentences become: which certificate is named, how far a check is away, on which machine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from evidence import OWN, operation, rejection
from msgspec.structs import replace

from evtx_analyzer.diagnose.wording import _OF_REJECTION, delta, issuer_text, operation_names
from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import Link

LATE = ("CERT_TRUST_IS_NOT_TIME_VALID",)


def chain(*errors):
    """A chain of elements that are called 0, 1 ... and have these errors."""
    plain = ChainElement(thumbprint="", subject="", error=0, errors=(), info=0, infos=(), self_signed=False)
    return tuple(replace(plain, subject=str(number), errors=found) for number, found in enumerate(errors))


@pytest.mark.parametrize(
    ("errors", "index", "named"),
    [
        ([(), LATE, ()], None, "1"),
        ([(), LATE, LATE], 0, "1"),  # the elements say it themselves; the first one is named
        ([("CERT_TRUST_IS_REVOKED",), ()], 0, "0"),
        ([(), ()], 1, "1"),
        ([(), ()], 2, "a certificate above it"),  # event 30 blames an element that event 11 does not show
        ([(), ()], -1, "mail.contoso.com"),  # -1: none in particular
        ([], 0, "mail.contoso.com"),
        ([], 1, "a certificate above it"),
        ([], None, "a certificate above it"),
    ],
)
def test_the_certificate_that_is_out_of_date_is_named(errors, index, named):
    check = operation(elements=chain(*errors), element_index=index)
    assert operation_names(check)["blamed_element"] == named


MISSING = Certificate(subject="CN=Contoso CA", subject_key_id="22")
URLS = ("http://pki.example/ca.crt",)


@pytest.mark.parametrize(
    ("check", "last", "issuer", "text"),
    [
        (
            {"missing_issuer": MISSING, "missing_issuer_urls": URLS},
            None,
            "",
            "CN=Contoso CA (key id 22), published at http://pki.example/ca.crt",
        ),
        (
            {"missing_issuer": MISSING},
            Certificate(issuer_urls=URLS),
            "",
            "CN=Contoso CA (key id 22), published at http://pki.example/ca.crt",
        ),
        (
            {},
            Certificate(issuer="CN=Other", authority_key_id="33", issuer_urls=URLS),
            "",
            "CN=Other (key id 33), published at http://pki.example/ca.crt",
        ),
        ({}, Certificate(issuer="CN=Other"), "CN=x", "CN=Other"),
        ({"elements": chain((), ())}, None, "CN=x", "the issuer of 1"),
        ({"elements": chain(())}, None, "CN=x", "CN=x"),  # the only element is the leaf, whose issuer is known
        ({}, None, "", "<the issuer of the certificate>"),
        (None, Certificate(issuer="CN=Other"), "CN=x", "CN=Other"),
        (None, None, "CN=x", "CN=x"),
    ],
)
def test_the_missing_issuer_is_named_as_far_as_it_is_known(check, last, issuer, text):
    assert issuer_text(None if check is None else operation(**check), last, issuer) == text


BEGIN = "the start of the TLS handshake"


def pair(seconds, host="same", anchor="handshake"):
    return Link(
        rule="x",
        rejection="R-1",
        operation="O-1",
        basis="thumbprint",
        delta_seconds=seconds,
        host=host,
        anchor=anchor,
    )


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (pair(-0.25), f"0.250 s before {BEGIN}"),
        (pair(2), f"2.000 s after {BEGIN}"),
        (pair(0), f"at the same time as {BEGIN}"),
        (pair(-90, anchor="refusal"), "1.5 min before the refusal"),
        (pair(5400), f"1.5 h after {BEGIN}"),
        (
            pair(60, "assumed"),
            f"1.0 min after {BEGIN}; the log names no host, one host is assumed for both",
        ),
        (pair(3600, "different"), f"1.0 h after {BEGIN}; on a different host, EX01"),
        (
            pair(0, "unknown"),
            f"at the same time as {BEGIN}; the check is of EX01, the host of the refusal is not known",
        ),
    ],
)
def test_how_far_a_check_is_away(link, text):
    """Negative seconds: CAPI2 wrote first."""
    assert delta(link, operation()) == text


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("sender_domain", {"mail_from": "a@b@contoso.com"}, "contoso.com"),
        ("sender_domain", {"mail_from": ""}, "no domain"),
        ("mail_from", {"mail_from": ""}, "<>"),
        ("remote", {"remote_name": "x.outlook.com", "remote_endpoint": "192.0.2.1:25"}, "x.outlook.com"),
        ("remote", {"remote_endpoint": "192.0.2.1:25"}, "192.0.2.1:25"),
        ("remote", {}, "the remote side"),
        ("sent_validity", {"sent": None}, "whose dates the log does not hold"),
        ("sent_validity", {}, "whose dates the log does not hold"),
        (
            "sent_validity",
            {
                "sent": Certificate(
                    thumbprint=OWN,
                    not_before=datetime(2025, 1, 2, tzinfo=UTC),
                    not_after=datetime(2026, 3, 4, tzinfo=UTC),
                )
            },
            "2025-01-02 to 2026-03-04",
        ),
    ],
)
def test_what_a_refusal_names(name, changes, text):
    assert _OF_REJECTION[name](rejection(**changes), {}) == text
