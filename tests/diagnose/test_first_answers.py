"""What stands first is what an engineer can act on: a look before an import, whose log it is, what an export lacks."""

from __future__ import annotations

import pytest
from smtp_case import analyze

from evtx_analyzer.report.language import load
from samples import capi2
from samples.capi2 import Recorder
from samples.cases import KB_TIME, LEAF, SEND_FILE, kb_3212877, kb_event_xml
from samples.causes import expired, source_ip
from samples.pieces import BROKEN, CHAIN, SOUND, refused, send, xml

DE = load("de")
LISTS = {
    "of PowerShell 5.1": "{198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4...}",
    "of PowerShell 7": "{198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4…}",
}
EXPORT = """
Name                     : From on-premises
ConnectorType            : OnPremises
Enabled                  : True
SenderIPAddresses        : {addresses}
TlsSenderCertificateName :
"""


def inbound(addresses):
    log = {name: data for name, data in source_ip().items() if name == SEND_FILE}
    return {**log, "inbound.txt": EXPORT.replace("{addresses}", addresses).encode()}


@pytest.mark.parametrize("addresses", LISTS.values(), ids=LISTS)
def test_a_list_that_is_cut_is_a_loss_and_is_asked_for_again(tmp_path, addresses):
    report = analyze(tmp_path, inbound(addresses))
    assert report.verdict.cause == "unexplained"
    (loss,) = report.losses
    assert loss.extent == "Get-InboundConnector: SenderIPAddresses"
    assert "Export-Clixml" in loss.reason
    asked = [item for item in report.findings[0].missing if item.text.startswith("The export of Get-InboundConnector")]
    assert [item.collect[-1] for item in asked] == ["> Get-InboundConnector | Export-Clixml inbound-connectors.xml"]
    assert DE.sentence(loss.reason) != loss.reason
    assert DE.sentence(asked[0].text) != asked[0].text


def test_a_whole_list_is_no_loss(tmp_path):
    report = analyze(tmp_path, inbound("{198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4}"))
    assert report.losses == ()
    assert report.verdict.cause == "source-ip-not-allowed"
    assert not any("Get-InboundConnector shows" in item.text for item in report.findings[0].missing)


def test_a_cut_property_that_nothing_compares_is_no_loss(tmp_path):
    text = EXPORT.replace("{addresses}", "{198.51.100.1}") + "SenderDomains            : {a, b, c, d...}\n"
    log = {name: data for name, data in source_ip().items() if name == SEND_FILE}
    assert analyze(tmp_path, {**log, "inbound.txt": text.encode()}).losses == ()


def first_step(report):
    return report.findings[0].remedy.steps[0]


def test_where_nothing_shows_that_the_issuer_is_missing_the_first_step_is_to_look(tmp_path):
    """Event 11 has wrapped away: 800B0109 alone is a missing intermediate or an untrusted root."""
    report = analyze(tmp_path, kb_event_xml())
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "possible")
    assert first_step(report).startswith("See first whether the intermediate certification authorities of ")
    assert "> certutil -store CA" in report.findings[0].remedy.steps[:3]
    assert not any("Missing here is" in line for line in report.findings[0].remedy.steps)
    assert DE.sentence(first_step(report)) != first_step(report)


def test_where_the_chain_shows_it_the_first_step_names_what_is_missing(tmp_path):
    report = analyze(tmp_path, kb_3212877())
    assert first_step(report).startswith(
        "Get the intermediate certificates from the issuer of the certificate. Missing"
    )
    assert not any(line.startswith("See first") for line in report.findings[0].remedy.steps)


def test_an_expired_certificate_is_renewed_first_and_its_dates_are_told(tmp_path):
    report = analyze(tmp_path, expired())
    assert first_step(report).startswith("Renew ")
    told = [support.text for support in report.findings[0].supports if "validity period (" in support.text]
    assert ["(2014-11-30 to 2016-11-30)" in text for text in told] == [True]
    assert "(2014-11-30 bis 2016-11-30)" in DE.sentence(told[0])


def two_servers(unnamed):
    """EX01 cannot build the chain, EX02 can; both send the same certificate, and a log of no name was refused."""
    broken, sound = Recorder("EX01.corp.example", next_record=1), Recorder("EX02.corp.example", next_record=1)
    capi2.check(broken, KB_TIME, [(LEAF, 0)], seed="broken", **BROKEN)
    capi2.check(sound, KB_TIME, CHAIN, seed="sound", **SOUND)
    return {"EX01_capi2.xml": xml(broken), "EX02_capi2.xml": xml(sound), unnamed: send(refused(LEAF))}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("EX02_SEND.LOG", ("unexplained", "no-evidence")),
        ("EX01_SEND.LOG", ("missing-intermediate", "probable")),
        ("SEND.LOG", ("missing-intermediate", "possible")),
    ],
)
def test_two_servers_in_one_folder(tmp_path, name, verdict):
    report = analyze(tmp_path, two_servers(name))
    assert (report.verdict.cause, report.verdict.grade) == verdict


def test_a_log_of_an_unknown_machine_is_asked_for_by_its_machine(tmp_path):
    report = analyze(tmp_path, two_servers("SEND.LOG"))
    asked = report.findings[0].missing[0]
    assert asked.text.startswith("No log names the machine of 1 refusal, and it may be another one than EX01, EX02.")
    assert any("--host" in line for line in asked.collect)
    assert any("the check is of EX01" in support.text for support in report.findings[0].supports)
    texts = [asked.text, *(support.text for support in report.findings[0].supports)]
    assert not [text for text in texts if DE.sentence(text) == text]


def test_no_machine_is_asked_for_where_none_is_known(tmp_path):
    report = analyze(tmp_path, {SEND_FILE: send(refused(LEAF))})
    assert not any("--host" in item.text for item in report.findings[0].missing)


TRACKED = """
Timestamp       : {time}
ClientHostname  : EX01
ConnectorId     : Outbound to Office 365
Source          : SMTP
EventId         : FAIL
MessageId       : <a9@servername.com>
Recipients      : {{b@fabrikam.com}}
RecipientStatus : {{[{{LED=550 5.7.64 TenantAttribution; Relay Access Denied [AM1.protection.outlook.com{clock}]}}]}}
Sender          : a@servername.com
"""
CLOCK = " 2026-03-10T08:14:03.410Z 08DE5A1B2C3D4E5F"


@pytest.mark.parametrize(
    ("time", "clock", "zone"),
    [
        ("2026/03/10 17:14:03", CLOCK, "UTC+9"),
        ("2026-03-10 13:44:04", CLOCK, "UTC+5:30"),
        ("2026-03-10 04:44:03", CLOCK, "UTC-3:30"),
        ("2026-03-10 08:14:04", CLOCK, "UTC"),
        ("2026-03-10 08:20:04", CLOCK, ""),
        ("2026/03/10 17:14:03", "", ""),
    ],
)
def test_the_time_in_a_reply_tells_the_zone_that_is_asked_for(tmp_path, time, clock, zone):
    report = analyze(tmp_path, {"tracking.txt": TRACKED.format(time=time, clock=clock).encode()})
    (asked,) = [item.text for item in report.findings[0].missing if "--tz" in item.text]
    assert asked.endswith(f"says that the zone was {zone} then." if zone else "by its IANA name.")
    assert DE.sentence(asked) != asked
