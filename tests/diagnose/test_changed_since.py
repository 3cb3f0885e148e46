"""Exports that show another state than that of the refusals: changed since, made twice, or of several tenants."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from faults import FAULTS, inbound, send_connector
from smtp_case import grades, rules
from worlds import Check, chain, completed, files, world

import evtx_analyzer as ea

SINCE = ("2026-03-10T12:00:00Z", "/Date(1773144000000)/", "3/13/2026 12:00:00 PM", "13.03.2026 12:00:00")
BEFORE = ("2026-03-01T12:00:00Z", "/Date(1772366400000)/", "2/28/2026 12:00:00 PM", "28.02.2026 12:00:00")
OTHER_NAME = {"TlsSenderCertificateName": "mail.other.example"}
BY_ADDRESS = {"TlsSenderCertificateName": None, "SenderIPAddresses": ["192.0.2.0/28"]}


@pytest.mark.parametrize("when", SINCE)
@pytest.mark.parametrize(
    ("properties", "cause"),
    [
        (OTHER_NAME, "certificate-name-mismatch"),
        ({"Enabled": False}, "connector-not-matching"),
        ({"ConnectorType": "Partner"}, "connector-not-matching"),
        (BY_ADDRESS, "source-ip-not-allowed"),
    ],
)
def test_a_connector_that_was_changed_since_does_not_show_what_it_was(tmp_path, properties, cause, when):
    made = world(0, "C")
    inbound(made, **properties, WhenChangedUTC=when)
    assert grades(tmp_path, files(completed(made)))[cause] == "possible"


@pytest.mark.parametrize("when", BEFORE)
@pytest.mark.parametrize(
    ("properties", "cause"),
    [
        (OTHER_NAME, "certificate-name-mismatch"),
        ({"Enabled": False}, "connector-not-matching"),
        (BY_ADDRESS, "source-ip-not-allowed"),
    ],
)
def test_a_connector_that_was_changed_before_shows_it(tmp_path, properties, cause, when):
    made = world(0, "C")
    inbound(made, **properties, WhenChangedUTC=when)
    assert grades(tmp_path, files(completed(made)))[cause] == "probable"


@pytest.mark.parametrize(
    ("when", "grade"),
    [
        ("10/03/2026 12:00:00 p. m.", "possible"),  # Spanish
        ("10/03/2026 06:00:00 a. m.", "probable"),
        ("10/03/2026 12:00:00 \u03bc\u03bc", "possible"),  # Greek
        ("10/3/2026 6:00:00 \u03c0\u03bc", "probable"),
        ("2026/03/10 \u4e0b\u5348 12:00:00", "possible"),  # Chinese
        ("2026/03/10 \u4e0a\u5348 06:00:00", "probable"),
        ("10/03/2026 6:00:00 CH", "possible"),  # Vietnamese; of an unknown word the later half of the day is taken
        ("10/03/2026 18:00:00 h", "possible"),
    ],
)
def test_halves_of_the_day_in_the_words_of_a_culture(tmp_path, when, grade):
    made = world(0, "C")
    inbound(made, **OTHER_NAME, WhenChangedUTC=when)
    assert grades(tmp_path, files(completed(made)))["certificate-name-mismatch"] == grade


@pytest.mark.parametrize(("zone", "grade"), [("Europe/Berlin", "probable"), ("America/Los_Angeles", "possible")])
@pytest.mark.parametrize("when", ["3/10/2026 6:00:00 AM", "10.03.2026 06:00:00", "2026-03-10 06:00:00"])
def test_local_times_of_a_known_zone(tmp_path, when, zone, grade):
    """The refusals are at 08:14 UTC: an hour and more after 05:00, and hours before 13:00."""
    made = world(0, "C")
    inbound(made, **OTHER_NAME, WhenChanged=when)
    for name, content in files(completed(made)).items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(tmp_path, rules=rules(), tz=zone)
    assert {finding.cause: finding.grade for finding in report.findings}["certificate-name-mismatch"] == grade


@pytest.mark.parametrize("when", SINCE)
def test_what_fits_since_a_repair_contradicts_no_cause(tmp_path, when):
    made = world(0, "C")
    inbound(made, WhenChangedUTC=when)
    made.exports["Get-InboundConnector"].append(dict(made.exports["Get-InboundConnector"][0], **BY_ADDRESS, Name="2"))
    send_connector(made, made.leaf.name(made.leaf.issuer), made.leaf.name())
    made.exports["Get-SendConnector"][0]["WhenChangedUTC"] = when
    named = grades(tmp_path, files(completed(made)))
    assert "contradicted" not in {named["certificate-name-mismatch"], named["wrong-certificate-selected"]}


@pytest.mark.parametrize("when", SINCE)
def test_a_connector_that_goes_by_addresses_since_a_change_clears_no_certificate(tmp_path, when):
    made = world(0, "C")
    FAULTS["missing_intermediate"].apply(made)
    inbound(made, **BY_ADDRESS, WhenChangedUTC=when)
    assert grades(tmp_path, files(completed(made)))["missing-intermediate"] == "probable"


@pytest.mark.parametrize(("when", "most"), [(SINCE[0], {"possible", "no-evidence"}), (BEFORE[0], {"probable"})])
@pytest.mark.parametrize("fault", ["wrong_selected", "replaced"])
def test_a_send_connector_that_was_changed_since(tmp_path, fault, when, most):
    made = world(0, "C")
    FAULTS[fault].apply(made)
    made.exports["Get-SendConnector"][0]["WhenChangedUTC"] = when
    assert grades(tmp_path, files(completed(made)))["wrong-certificate-selected"] in most


def test_the_report_says_what_was_changed_and_where_it_is_told(tmp_path):
    made = world(0, "C")
    inbound(made, WhenChangedUTC=SINCE[0])
    (tmp_path / "x").mkdir()
    for name, content in files(completed(made)).items():
        (tmp_path / "x" / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(tmp_path, rules=rules())
    missing = [item for finding in report.findings for item in finding.missing if "were changed after" in item.text]
    assert "From on-premises at 2026-03-10 12:00:00.000 UTC" in missing[0].text
    assert any("Search-UnifiedAuditLog" in line for line in missing[0].collect)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [({}, "contradicted"), ({"WhenCreatedUTC": BEFORE[0]}, "contradicted"), ({"WhenCreatedUTC": SINCE[0]}, "possible")],
)
def test_a_domain_that_was_added_since(tmp_path, domain, expected):
    """Only mail of one sender domain is refused; that it was added as the repair does not contradict the cause."""
    made = world(0, "C")
    FAULTS["null_sender"].apply(made)
    made.mails = [mail for mail in made.mails if mail.sender]
    made.exports["Get-AcceptedDomain"] = [
        {"DomainName": made.tenant, "DomainType": "Authoritative"},
        {"DomainName": "new.example", "DomainType": "Authoritative", **domain},
    ]
    made.mails.append(made.refusal(sender="x@new.example"))
    assert grades(tmp_path, files(completed(made)))["domain-not-accepted"] == expected


# ------------------------------------------------------------------------------------------------- several exports


def _connectors(made, **properties):
    inbound(made, **properties)
    return json.dumps(made.exports.pop("Get-InboundConnector"))


@pytest.mark.parametrize(
    ("one", "other", "cause"),
    [
        (OTHER_NAME, {}, "certificate-name-mismatch"),
        ({"Enabled": False}, {}, "connector-not-matching"),
        ({"ConnectorType": "Partner"}, {}, "connector-not-matching"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_exports_of_two_times_or_tenants_contradict_nothing(tmp_path, one, other, cause, order):
    made = world(0, "C")
    pair = [_connectors(made, **one), _connectors(made, **other)][::order]
    written = files(completed(made))
    named = grades(tmp_path, {**written, "a/inbound.json": pair[0], "b/inbound.json": pair[1]})
    assert named[cause] not in ("contradicted", "probable")


@pytest.mark.parametrize("tenants", [1, 2])
def test_connectors_in_a_file_each_are_one_export_unless_they_are_of_two_tenants(tmp_path, tenants):
    made = world(0, "C")
    pair = [_connectors(made, **OTHER_NAME), _connectors(made, ConnectorType="Partner", Name="From a partner")]
    names = [("contoso.onmicrosoft.com", "contoso.com"), ("fabrikam.onmicrosoft.com", "fabrikam.example")][:tenants]
    lists = [json.dumps([{"DomainName": name, "DomainType": "Authoritative"} for name in of_one]) for of_one in names]
    written = files(completed(made)) | {f"{number}/domains.json": text for number, text in enumerate(lists)}
    named = grades(tmp_path, {**written, "a/inbound.json": pair[0], "b/inbound.json": pair[1]})
    assert (named["certificate-name-mismatch"] == "probable") is (tenants == 1)


def test_exports_that_agree_are_as_good_as_one(tmp_path):
    made = world(0, "C")
    pair = [_connectors(made, **OTHER_NAME), _connectors(made, **OTHER_NAME, Comment="again")]
    written = files(completed(made))
    named = grades(tmp_path, {**written, "a/inbound.json": pair[0], "b/inbound.json": pair[1]})
    assert named["certificate-name-mismatch"] == "probable"


def test_of_two_exports_the_one_from_before_counts(tmp_path):
    made = world(0, "C")
    old = _connectors(made, **OTHER_NAME, WhenChangedUTC=BEFORE[0])
    new = _connectors(made, WhenChangedUTC=SINCE[0])
    named = grades(tmp_path, {**files(completed(made)), "a/inbound.json": old, "b/inbound.json": new})
    assert named["certificate-name-mismatch"] in ("possible", "probable")


def test_the_tenant_that_accepts_the_sender_is_not_the_only_one(tmp_path):
    made = world(0, "C")
    FAULTS["domains_not_accepted"].apply(made)
    own = json.dumps(
        [{"DomainName": name, "DomainType": "Authoritative"} for name in ("f.onmicrosoft.com", "forwarded.example")]
    )
    named = grades(tmp_path, {**files(completed(made)), "b/domains.json": own})
    assert named["domain-not-accepted"] not in ("contradicted", "probable")


# --------------------------------------------------------------------------------------------------- certificate names


@pytest.mark.parametrize("form", ["A", "B", "C"])
def test_where_subject_and_issuer_are_parted_wrongly_the_certificate_is_still_the_one_that_is_named(tmp_path, form):
    made = world(0, form)
    name = (("CN", "mail.contoso.com"), ("O", "Contoso OU= and more"))
    made.leaf = replace(made.leaf, subject=name)
    made.checks.append(Check(chain(made), "sound"))
    send_connector(made, made.leaf.name(made.leaf.issuer), made.leaf.name())
    assert grades(tmp_path, files(completed(made)))["wrong-certificate-selected"] in ("contradicted", "no-evidence")
