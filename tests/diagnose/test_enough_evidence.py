"""Evidence that is enough stays enough: what surrounds a case as customers send it does not make its answer vaguer."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from faults import FAULTS, inbound
from smtp_case import rules
from worlds import DAY, Check, chain, completed, files, world

import evtx_analyzer as ea

LONG_BEFORE, SINCE = "2025-03-10T10:00:00Z", "2026-03-12T10:00:00Z"
CREATED = "2024-03-10T10:00:00Z"
AMID = "2026-03-10T12:20:00Z"
MISMATCH = {"TlsSenderCertificateName": "mail.other.example"}
BY_ADDRESS = {"TlsSenderCertificateName": None, "SenderIPAddresses": ["192.0.2.0/28"]}
BY_CAUSE = [
    ("certificate-name-mismatch", MISMATCH),
    ("connector-not-matching", {"Enabled": False}),
    ("source-ip-not-allowed", BY_ADDRESS),
]


def grades(folder, written, **options):
    for name, content in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(folder, rules=rules(), **options)
    return {finding.cause: finding.grade for finding in report.findings}


def refused(made, minutes):
    made.mails += [made.refusal(timedelta(minutes=after), recipient=f"r{after}@litware.example") for after in minutes]
    return made


# ------------------------------------------------------------------------------- exports changed while mail is refused


@pytest.mark.parametrize(
    ("minutes", "grade"),
    [
        (range(0, 1200, 30), "probable"),
        (range(0, 1200, 2), "probable"),  # so many that they are folded
        (range(0, 246 + 70, 30), "possible"),  # the last one is less than an hour behind the change
        (range(0, 240, 30), "possible"),  # none is behind it
    ],
)
@pytest.mark.parametrize(("cause", "properties"), BY_CAUSE)
def test_a_change_that_did_not_end_the_refusals(tmp_path, cause, properties, minutes, grade):
    """Somebody tried to mend the connector in vain: the export shows what the later mail was refused by."""
    made = refused(world(0, "C"), minutes)
    inbound(made, **properties, WhenChangedUTC=AMID)
    assert grades(tmp_path, files(completed(made)))[cause] == grade


def test_a_send_connector_that_was_changed_in_vain(tmp_path):
    made = refused(world(0, "C"), range(0, 1200, 30))
    FAULTS["wrong_selected"].apply(made)
    made.exports["Get-SendConnector"][0]["WhenChangedUTC"] = AMID
    assert grades(tmp_path, files(completed(made)))["wrong-certificate-selected"] == "probable"


@pytest.mark.parametrize(("cause", "properties"), BY_CAUSE)
def test_mail_that_was_accepted_in_between_parts_two_outages(tmp_path, cause, properties):
    """The connector was changed between them, so that it does not show what the first one was."""
    made = refused(world(0, "C"), [0, 5, *range(600, 900, 30)])
    made.mails.append(made.mail(timedelta(minutes=300)))
    inbound(made, **properties, WhenChangedUTC="2026-03-10T17:00:00Z")
    assert grades(tmp_path, files(completed(made)))[cause] != "probable"


def test_a_repair_that_takes_minutes_to_be_in_force_clears_nothing(tmp_path):
    made = refused(world(0, "C"), range(12))
    made.mails += [made.mail(timedelta(minutes=minutes)) for minutes in (26, 40)]
    inbound(made, WhenChangedUTC="2026-03-10T08:20:00Z")
    assert grades(tmp_path, files(completed(made)))["certificate-name-mismatch"] != "contradicted"


# ----------------------------------------------------------------------------------------- other objects, other exports


def partner(made, **properties):
    shown = {"SenderDomains": ["smtp:adatum.example;1"], "TlsSenderCertificateName": "mail.adatum.example"}
    inbound(made, **{"Name": "Adatum", "ConnectorType": "Partner", "WhenChangedUTC": SINCE, **shown, **properties})


@pytest.mark.parametrize(("cause", "properties"), [BY_CAUSE[0], BY_CAUSE[2]])
@pytest.mark.parametrize(
    ("domains", "grade"),
    [
        (["smtp:adatum.example;1"], "probable"),
        (["smtp:adatum.example;1", "litware.example"], "probable"),
        (["smtp:*;1"], "possible"),
        (["smtp:adatum.example;1", "smtp:contoso.com;1"], "possible"),
        ([], "possible"),
    ],
)
def test_a_partner_s_connector_that_was_changed_since(tmp_path, cause, properties, domains, grade):
    """For a partner's domains it has never been the server's; for all domains, or the sender's, it may have been."""
    made = world(0, "C")
    inbound(made, **properties, WhenChangedUTC=LONG_BEFORE)
    partner(made, SenderDomains=domains)
    assert grades(tmp_path, files(completed(made)))[cause] == grade


def test_a_self_signed_certificate_and_a_partner_s_connector(tmp_path):
    made = world(0, "C")
    FAULTS["self_signed"].apply(made)
    inbound(made, TlsSenderCertificateName="mail.contoso.com", WhenChangedUTC=LONG_BEFORE)
    partner(made)
    assert grades(tmp_path, files(completed(made)))["self-signed-certificate"] == "probable"


@pytest.mark.parametrize(
    ("marks", "grade"),
    [
        ({"WhenCreatedUTC": CREATED}, "probable"),
        ({"Guid": "4b7d1f0e-9f6e-4a35-8d0e-0c8b2f3d9a11"}, "probable"),
        ({}, "possible"),  # by its name alone it may be another tenant's
    ],
)
def test_exports_before_and_after_a_repair(tmp_path, marks, grade):
    made = world(0, "C")
    inbound(made, **MISMATCH, **marks, WhenChangedUTC=LONG_BEFORE)
    (before,) = made.exports["Get-InboundConnector"]
    after = {**before, "TlsSenderCertificateName": "mail.contoso.com", "WhenChangedUTC": SINCE}
    written = {**files(completed(made)), "after/inbound.json": json.dumps([after])}
    assert grades(tmp_path, written)["certificate-name-mismatch"] == grade


def test_exports_of_other_objects_with_the_same_name(tmp_path):
    made = world(0, "C")
    inbound(made, **MISMATCH, WhenCreatedUTC=CREATED, WhenChangedUTC=LONG_BEFORE)
    (before,) = made.exports["Get-InboundConnector"]
    other = {**before, "WhenCreatedUTC": "2024-04-10T10:00:00Z", "TlsSenderCertificateName": "mail.contoso.com"}
    written = {**files(completed(made)), "b/inbound.json": json.dumps([{**other, "WhenChangedUTC": SINCE}])}
    assert grades(tmp_path, written)["certificate-name-mismatch"] == "possible"


def test_a_connector_that_was_created_since_was_not_there(tmp_path):
    """The old one, which does not match, may have had a successor for a while: more than possible it is not."""
    made = world(0, "C")
    inbound(made, **MISMATCH, WhenCreatedUTC=CREATED, WhenChangedUTC=LONG_BEFORE)
    inbound(made, Name="New", WhenCreatedUTC=SINCE, WhenChangedUTC=SINCE)
    named = grades(tmp_path, files(completed(made)))
    assert named["certificate-name-mismatch"] == "possible"


def test_mail_that_a_repaired_connector_let_through(tmp_path):
    """Accepted mail with the same certificate caps a cause, unless the connector has been changed to match it."""
    for changed, grade in ((True, "probable"), (False, "possible")):
        made = refused(world(0, "C"), [0, 7])
        inbound(made, **MISMATCH, WhenCreatedUTC=CREATED, WhenChangedUTC=LONG_BEFORE)
        (before,) = made.exports["Get-InboundConnector"]
        right = {"TlsSenderCertificateName": "mail.contoso.com"} if changed else {}
        after = {**before, **right, "WhenChangedUTC": "2026-03-10T11:00:00Z"}
        made.mails.append(made.mail(timedelta(hours=5)))
        written = {**files(completed(made)), "after/inbound.json": json.dumps([after])}
        assert grades(tmp_path / str(changed), written)["certificate-name-mismatch"] == grade


@pytest.mark.parametrize(("hours", "expected"), [(5, "possible"), (2, "no-evidence")])
def test_an_address_that_was_added_to_the_connector(tmp_path, hours, expected):
    """Mail that was accepted from the new address before the connector held it says that it does not decide."""
    made = world(0, "C")
    made.mails += [made.mail(-DAY, seen="198.51.100.7"), made.mail(-DAY / 6, seen="198.51.100.7")]
    refused(made, range(0, 40, 5))
    made.mails.append(made.mail(timedelta(hours=hours)))
    inbound(made, TlsSenderCertificateName=None, SenderIPAddresses=["198.51.100.7", made.seen], WhenChangedUTC=AMID)
    assert grades(tmp_path, files(completed(made)))["source-ip-not-allowed"] == expected


# ----------------------------------------------------------------------------------------------- addresses of a server


def sessions_from(log, address, chosen):
    """The Send log with other local addresses in the sessions of the chosen numbers."""
    lines = log.split("\r\n")
    for place, line in enumerate(lines):
        number = line.partition(",08DE7F")[2][:10]
        if number and chosen(int(number, 16)):
            lines[place] = line.replace("10.1.2.3:", f"{address}:")
    return "\r\n".join(lines)


def mended():
    """Six refusals, a chain that is repaired, and two messages that are accepted then."""
    made = refused(world(0, "C"), range(0, 36, 6))
    FAULTS["missing_intermediate"].apply(made)
    made.checks.append(Check(chain(made), "sound", before=timedelta(minutes=60)))
    made.mails += [made.mail(timedelta(minutes=minutes)) for minutes in (70, 80)]
    return files(completed(made))


@pytest.mark.parametrize("place", ["", "EX01/", "logs/"])
@pytest.mark.parametrize("address", ["10.1.2.77", "192.168.7.9", "[2001:db8::4]"])
@pytest.mark.parametrize("chosen", [lambda number: number % 2, lambda number: number > 5], ids=["in turn", "later"])
@pytest.mark.parametrize("name", ["SEND2026031008-1.LOG", "EX01_SEND2026031008-12.LOG", "SEND20260310-1.log"])
def test_two_local_addresses_in_a_file_of_exchange_s(tmp_path, name, chosen, address, place):
    written = mended()
    log = sessions_from(written["SEND.LOG"], address, chosen)
    named = grades(tmp_path, {place + name: log, place + "capi2.xml": written["capi2.xml"]})
    assert named["missing-intermediate"] == "confirmed"


@pytest.mark.parametrize("name", ["all.log", "SEND.LOG", "MERGEDSEND2026031008-1.LOG", "SEND2026031008.LOG"])
def test_two_local_addresses_in_a_file_that_may_have_been_put_together(tmp_path, name):
    written = mended()
    log = sessions_from(written["SEND.LOG"], "10.1.2.77", lambda number: number > 5)
    named = grades(tmp_path, {name: log, "capi2.xml": written["capi2.xml"]})
    assert named["missing-intermediate"] == "possible"


def test_an_older_file_tells_that_two_addresses_are_one_machine_s(tmp_path):
    """Yesterday's file holds both; today's, with the refusals, one of them, and tomorrow's the other one."""
    written = mended()
    today = sessions_from(written["SEND.LOG"], "10.1.2.77", lambda number: number > 5)
    head = [line for line in today.split("\r\n") if line.startswith("#")]
    rows = [line for line in today.split("\r\n") if line and not line.startswith("#")]
    late = [line for line in rows if line >= "2026-03-10T09:20"]
    old = world(0, "C")
    old.mails = [old.mail(-DAY), old.mail(-DAY + timedelta(minutes=5))]
    yesterday = sessions_from(files(old)["SEND.LOG"], "10.1.2.77", lambda number: number == 1).replace(
        "08DE7F", "08DE7E"
    )
    logs = {
        "EX01/SEND2026031008-1.LOG": "\r\n".join([*head, *(line for line in rows if line not in late), ""]),
        "EX01/SEND2026031009-1.LOG": "\r\n".join([*head, *late, ""]),
        "EX01/capi2.xml": written["capi2.xml"],
    }
    assert grades(tmp_path / "without", logs)["missing-intermediate"] == "probable"
    with_yesterday = {**logs, "EX01/SEND2026030908-1.LOG": yesterday}
    assert grades(tmp_path / "with", with_yesterday)["missing-intermediate"] == "confirmed"


def test_every_local_address_of_a_folded_outage_is_known(tmp_path):
    """Refusals in the middle of a long outage came from the address from which mail is accepted after the repair."""
    made = refused(world(0, "C"), range(1000))
    FAULTS["missing_intermediate"].apply(made)
    made.checks.append(Check(chain(made), "sound", before=timedelta(minutes=1060)))
    made.mails += [made.mail(timedelta(minutes=minutes)) for minutes in (1070, 1080)]
    written = files(completed(made))
    for address, grade in (("10.1.2.77", "confirmed"), ("10.1.2.78", "probable")):
        log = sessions_from(written["SEND.LOG"], "10.1.2.77", lambda number: number == 500)
        log = sessions_from(log, address, lambda number: number >= 1000)
        case = {"EX01/all.log": log, "EX01/capi2.xml": written["capi2.xml"]}
        assert grades(tmp_path / address, case)["missing-intermediate"] == grade


# --------------------------------------------------------------------------------------------------- CAPI2 and machines


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("missing_intermediate", "missing-intermediate"),
        ("untrusted_root", "untrusted-root"),
        ("intermediate_expired", "intermediate-expired"),
    ],
)
def test_event_11_alone_is_possible_evidence(tmp_path, fault, cause):
    made = world(0, "C")
    FAULTS[fault].apply(made)
    written = files(completed(made))
    events = [f"{event}</Event>" for event in written["capi2.xml"].split("</Event>") if "<EventID>11<" in event]
    named = grades(tmp_path, {**written, "capi2.xml": "".join(events)})
    assert {name for name, grade in named.items() if grade == "possible"} == {cause}


@pytest.mark.parametrize(
    ("log", "capi2", "grade"),
    [
        ("Edge/ProtocolLog/SmtpSend/SEND1.LOG", "HUB7/capi2.xml", "possible"),
        ("case/Edge/SEND1.LOG", "case/HUB7/capi2.xml", "possible"),
        ("Edge/SEND1.LOG", "Edge/capi2.xml", "probable"),
        ("Edge/SEND1.LOG", "capi2.xml", "probable"),
        ("HUB7/Edge/SEND1.LOG", "HUB7/capi2.xml", "probable"),
        ("Hub/SEND1.LOG", "HUB7/capi2.xml", "probable"),
    ],
)
def test_an_edge_folder_beside_the_folder_of_a_machine_is_another_server_s(tmp_path, log, capi2, grade):
    made = world(0, "C")
    made.host = "HUB7"
    FAULTS["missing_intermediate"].apply(made)
    written = files(completed(made))
    named = grades(tmp_path, {log: written["SEND.LOG"], capi2: written["capi2.xml"]})
    assert named["missing-intermediate"] == grade


@pytest.mark.parametrize(
    ("domain", "grade"),
    [
        ({"DomainName": "forwarded.example", "WhenCreatedUTC": SINCE}, "possible"),
        ({"DomainName": "forwarded.example", "WhenCreatedUTC": LONG_BEFORE}, "contradicted"),
        ({"DomainName": "another.example", "WhenCreatedUTC": SINCE}, "probable"),
    ],
)
def test_a_sender_domain_that_was_accepted_as_the_repair(tmp_path, domain, grade):
    made = world(0, "C")
    FAULTS["domains_not_accepted"].apply(made)
    made.exports["Get-AcceptedDomain"].append({"DomainType": "Authoritative", **domain})
    assert grades(tmp_path, files(completed(made)))["domain-not-accepted"] == grade
