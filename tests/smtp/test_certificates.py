"""Certificates in Send logs: what belongs to the one sent and what to the one received, also where rows are missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evtx_analyzer.model.events import SmtpEvent
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.smtp.certificates import certificates, one_row, split_names

OWN, REMOTE = "EC53EBC94A796C42E5B4E5851F961874F013D94C", "3A6D3C1F5E0B7D29A84C6F1B2E5D8C7A90B1F2E3"
SENT = [
    ("", "Sending certificate"),
    ("CN=mail.contoso.com", "Certificate subject"),
    ("CN=Contoso CA", "Certificate issuer name"),
    ("0A1B", "Certificate serial number"),
    (OWN.lower(), "Certificate thumbprint"),
    ("mail.contoso.com;*.contoso.com", "Certificate alternate names"),
]
RECEIVED = [("", "Received certificate"), ("CN=outlook.com", "Certificate subject"), (REMOTE, "Certificate thumbprint")]


def read(rows, missing=(), numbered=True):
    """Certificates of the rows of one session from number 4 on; those of ``missing`` are not in the log."""
    return certificates(
        [
            SmtpEvent(
                origin=Origin(source="SEND.LOG"),
                kind="send-connector",
                scope="",
                time=datetime(2026, 3, 10, tzinfo=UTC),
                direction="*",
                text=text,
                context=context,
                sequence=number + 4 if numbered else None,
            )
            for number, (text, context) in enumerate(rows)
            if number not in missing
        ]
    )


@pytest.mark.parametrize("numbered", [True, False])
def test_each_attribute_belongs_to_the_heading_before_it(numbered):
    sent, received = read([*SENT, ("", "TLS protocol SP_PROT_TLS1_2"), *RECEIVED], numbered=numbered)
    assert (sent.thumbprint, sent.subject, sent.issuer, sent.serial) == (
        OWN,
        "CN=mail.contoso.com",
        "CN=Contoso CA",
        "0A1B",
    )
    assert sent.alternate_names == ("mail.contoso.com", "*.contoso.com")
    assert (received.thumbprint, received.subject, received.issuer) == (REMOTE, "CN=outlook.com", "")


@pytest.mark.parametrize(
    ("missing", "sent", "received"),
    [
        ({6, 7, 8}, (OWN, "CN=mail.contoso.com"), None),  # without its heading the last row may be of either
        ({2, 3}, ("", "CN=mail.contoso.com"), (REMOTE, "CN=outlook.com")),
        ({4, 5, 6}, ("", "CN=mail.contoso.com"), None),
        ({0}, None, (REMOTE, "CN=outlook.com")),
        ({7}, (OWN, "CN=mail.contoso.com"), None),
        ({5}, (OWN, "CN=mail.contoso.com"), (REMOTE, "CN=outlook.com")),
    ],
)
def test_what_follows_missing_rows_may_be_of_the_other_certificate(missing, sent, received):
    found = read([*SENT, *RECEIVED], missing)
    shown = [None if item is None else (item.thumbprint, item.subject) for item in found]
    assert shown == [sent, received]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            f" CN=a.example, O=x CN=CA 0A1B {OWN} 2025-01-02T00:00:00.000Z 2026-01-02T00:00:00.000Z a.example;b.ex",
            ("CN=a.example, O=x", "CN=CA", "0A1B", 2025, 2026, ("a.example", "b.ex")),
        ),
        (f"CN=a.example CN=CA 0A1B {OWN} a.example", ("CN=a.example", "CN=CA", "0A1B", None, None, ("a.example",))),
        (f"CN=a.example CN=CA {OWN}", ("CN=a.example", "CN=CA", "", None, None, ())),
        (f"CN=a CN=CA 0A {OWN} 2025-01-02T00:00:00.000Z a", ("CN=a", "CN=CA", "0A", 2025, None, ("a",))),
    ],
)
def test_one_row_is_read_from_the_right(data, expected):
    found = one_row(data)
    years = [None if date is None else date.year for date in (found.not_before, found.not_after)]
    assert (found.subject, found.issuer, found.serial, *years, found.alternate_names) == expected
    assert found.thumbprint == OWN


def test_a_row_without_a_thumbprint_is_a_subject():
    assert (one_row(" CN=a, O=x ").subject, one_row("CN=a").thumbprint) == ("CN=a, O=x", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CN=a, OU=b CN=c, O=d", ("CN=a, OU=b", "CN=c, O=d")),
        ('CN=a CN=c, O="d, Inc.", C=US', ("CN=a", 'CN=c, O="d, Inc.", C=US')),
        ("CN=a", ("CN=a", "")),
        ("SERVER SERVER", ("SERVER", "SERVER")),
        ("SERVER OTHERS", ("SERVER OTHERS", "")),
        ("", ("", "")),
    ],
)
def test_the_issuer_begins_at_an_attribute_without_a_comma_before_it(text, expected):
    assert split_names(text) == expected
