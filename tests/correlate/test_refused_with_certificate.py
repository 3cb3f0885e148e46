"""A refusal without a certificate, where the same connector is refused or accepted with one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from faults import FAULTS
from smtp_case import rules
from worlds import Check, chain, completed, files, world

import evtx_analyzer as ea


def grades(folder, written):
    for name, content in written.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return {finding.cause: finding.grade for finding in ea.analyze(folder, rules=rules()).findings}


@pytest.mark.parametrize("fault", ["no_certificate", "starttls_masked", "starttls_not_offered", "credential_unusable"])
@pytest.mark.parametrize(
    ("also", "least"),
    [
        ("", "probable"),
        ("sound", "possible"),
        ("expired", "probable"),
        ("self-signed", "probable"),
        ("failing", "probable"),
        ("accepted between", "probable"),
        ("only reports", "probable"),  # MAIL FROM:<> may be refused for what it is
    ],
)
def test_that_no_certificate_was_sent_does_not_decide_where_mail_with_one_is_refused(tmp_path, fault, also, least):
    made = world(0, "C")
    sent = replace(made.leaf, thumbprint="E5" * 20)
    if also == "expired":
        sent = replace(sent, not_after="2026-03-05T00:00:00Z")
    if also == "self-signed":
        sent = replace(sent, issuer=sent.subject)
    if also:
        sender = "" if also == "only reports" else "a@contoso.com"
        made.mails.append(made.refusal(timedelta(hours=-3), sent=sent, sender=sender))
    if also == "accepted between":
        made.mails.append(made.mail(timedelta(hours=-2), sent=sent))
    if also == "failing":
        made.checks.append(Check([(sent, 0)], "partial", before=timedelta(hours=-3)))
    else:
        made.checks.append(Check([(sent, 0), *chain(made)[1:]], "sound", before=timedelta(hours=-30)))
    FAULTS[fault].apply(made)
    assert grades(tmp_path, files(completed(made)))[FAULTS[fault].verdicts[0]] == least
