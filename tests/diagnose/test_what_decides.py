"""A certificate decides only where the inbound connectors match by certificate, which only their export tells.

The reference (diagnosis.md section 2, row 18): connectors by address make the certificate irrelevant, and are common.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from reports import report as sample
from smtp_case import analyze

from samples.cases import LEAF, SEND_FILE
from samples.pieces import CONNECTOR, DEFAULT, START, accepted, config, inbound, refused, send

EXPIRED = replace(LEAF, not_before="2014-11-30T00:00:00Z", not_after="2016-11-30T23:59:59Z")
CONNECTORS = "Get-InboundConnector.json"
BY_CERTIFICATE = config(inbound(TlsSenderCertificateName="*.servername.com"))
BY_ADDRESS = config(inbound(SenderIPAddresses=["203.0.113.7"]))
BY_BOTH = config(inbound(SenderIPAddresses=["198.51.100.7"], TlsSenderCertificateName="*.servername.com"))
FIRST = "See whether an inbound connector of the tenant matches by certificate"


def finding(report, cause):
    return next(item for item in report.findings if item.cause == cause)


@pytest.mark.parametrize(("leaf", "cause"), [(DEFAULT, "self-signed-certificate"), (EXPIRED, "certificate-expired")])
@pytest.mark.parametrize(
    ("connectors", "grade"),
    [(None, "possible"), (BY_CERTIFICATE, "probable"), (BY_BOTH, "possible"), (BY_ADDRESS, "contradicted")],
)
def test_a_certificate_that_does_not_verify(leaf, cause, connectors, grade, tmp_path):
    files = {SEND_FILE: send(refused(leaf, one_row=True)), **({CONNECTORS: connectors} if connectors else {})}
    found = finding(analyze(tmp_path, files), cause)
    assert found.grade == grade
    assert any(item.text.startswith("No export of the tenant's inbound") for item in found.missing) == (not connectors)
    # What is cheap and may take the cause away comes before a certificate is bought.
    assert any(step.startswith(FIRST) for step in found.remedy.steps[:1]) == (grade == "possible")


@pytest.mark.parametrize(
    ("before", "grade"),
    [
        (timedelta(days=2), "probable"),  # on 29 November, the day before it expired
        (timedelta(hours=1), "possible"),  # on 1 December, when it had expired: that does not decide
    ],
)
def test_mail_that_was_accepted_until_the_certificate_expired(before, grade, tmp_path):
    log = send(accepted(EXPIRED, START - before, "08D50C7411223344"), refused(EXPIRED, one_row=True))
    assert finding(analyze(tmp_path, {SEND_FILE: log}), "certificate-expired").grade == grade


def test_mail_before_and_after_the_certificate_expired(tmp_path):
    sessions = [accepted(EXPIRED, START - timedelta(days=2), "08D50C7411223344")]
    sessions += [accepted(EXPIRED, START - timedelta(minutes=5), "08D50D3D9730A000"), refused(EXPIRED, one_row=True)]
    assert finding(analyze(tmp_path, {SEND_FILE: send(*sessions)}), "certificate-expired").grade == "possible"


def test_a_sound_chain_is_nothing_against_a_certificate_that_was_replaced():
    """Without logs of the time before nothing tells whether it was: the chain says nothing of the connectors' names."""
    assert finding(sample("check-failed"), "certificate-replaced").grade == "no-evidence"
    assert finding(sample("attr36"), "certificate-replaced").grade == "no-evidence"
    replaced = finding(sample("replaced"), "certificate-replaced")
    assert [piece.text for piece in replaced.contradicts if "No intermediate is missing" in piece.text]


def test_a_capi2_log_of_another_machine_is_none_of_the_refused_one():
    """The log of a domain controller beside that of the SMTP server: what is missing is the server's own."""
    asked = [item.text for item in sample("other-host").findings[0].missing]
    assert [text for text in asked if text.startswith("No CAPI2 Operational log of CORP-SMTP1 is in the input")]
    there = [item.text for item in sample("outside-coverage").findings[0].missing]
    assert not [text for text in there if text.startswith("No CAPI2 Operational log")]


def test_the_right_name_does_not_excuse_a_certificate_that_cannot_verify(tmp_path):
    """The Send connector names the certificate of a public authority; Exchange sends a self-signed one of its name."""
    own = replace(LEAF, issuer=LEAF.subject)
    named = config({"Name": CONNECTOR, "TlsCertificateName": f"<I>{LEAF.name(LEAF.issuer)}<S>{LEAF.name()}"})
    files = {SEND_FILE: send(refused(own, one_row=True)), CONNECTORS: BY_CERTIFICATE, "Get-SendConnector.json": named}
    report = analyze(tmp_path, files)
    assert finding(report, "wrong-certificate-selected").grade == "probable"
    assert finding(report, "self-signed-certificate").grade == "probable"
    assert finding(report, "certificate-name-mismatch").grade == "contradicted"


def test_the_right_name_of_a_sound_certificate_takes_the_cause_away(tmp_path):
    named = config({"Name": CONNECTOR, "TlsCertificateName": "<I>CN=Another CA<S>CN=mail.contoso.com"})
    sound = replace(LEAF, not_before="2016-01-01T00:00:00Z", not_after="2018-01-01T00:00:00Z")
    files = {SEND_FILE: send(refused(sound, one_row=True)), CONNECTORS: BY_CERTIFICATE, "Get-SendConnector.json": named}
    assert finding(analyze(tmp_path, files), "wrong-certificate-selected").grade == "contradicted"
