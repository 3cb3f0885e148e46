"""Cases that an outside tester built to get a confident wrong answer. What must be said is from the decision table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import evtx_analyzer as ea
from samples import capi2
from samples.capi2 import UNTRUSTED_ROOT, Recorder
from samples.cases import HOST, KB_TIME, LEAF, SEND_FILE
from samples.pieces import BROKEN, CHAIN, DEFAULT, SOUND, START, config, inbound, send, xml
from samples.smtp import REFUSAL, SendSession

HOUR = timedelta(hours=1)


def broken(host=HOST, at=KB_TIME, **options):
    recorder = Recorder(host, next_record=900)
    capi2.check(recorder, at, [(LEAF, 0)], seed=f"{host} {at}", **{**BROKEN, **options})
    return recorder


def refused(at=START, number=1, *, tls=True, local="10.10.248.7:16547", sender="a@servername.com"):
    session = SendSession(at, f"08D50D3D973000{number:02X}", local=local).connect()
    if tls:
        session.starttls(LEAF)
    return session.message(710, sender, [("b@fabrikam.com", REFUSAL)], number).quit(1100)


def analyze(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return ea.analyze(tmp_path)


def verdict(report):
    return report.verdict.cause, report.verdict.grade


def grade(report, cause):
    return next(finding.grade for finding in report.findings if finding.cause == cause)


def test_two_servers_and_the_capi2_log_of_one(tmp_path):
    """The refusal of EX2 is not booked to EX1, whose log is the only one that names a machine."""
    report = analyze(
        tmp_path,
        {
            "EX1/capi2.xml": xml(broken("EX1.ServerName.com")),
            "EX1/SEND.LOG": send(refused(START - HOUR, 9, local="10.0.0.1:99")),
            "EX2/SEND.LOG": send(refused(local="10.0.0.2:99")),
        },
    )
    hosts = {incident.host for incident in report.incidents if incident.start > KB_TIME - HOUR / 2}
    # A folder that is the known machine makes the one beside it another machine, called like its folder.
    assert hosts == {"EX2"}
    assert verdict(report) == ("missing-intermediate", "possible")


def test_refusals_go_on_after_the_chain_was_repaired(tmp_path):
    recorder = broken()
    for number in range(1, 6):
        capi2.check(recorder, KB_TIME + number * HOUR, CHAIN, seed=f"s{number}", **SOUND)
    sessions = [refused(START + number * HOUR, number + 1) for number in range(6)]
    report = analyze(tmp_path, {"capi2.xml": xml(recorder), SEND_FILE: send(*sessions)})
    assert grade(report, "missing-intermediate") == "contradicted"


@pytest.mark.parametrize("scope", ["198.51.100.0/24", "203.0.113.0/24"])
def test_where_connectors_match_by_address_no_certificate_decides(tmp_path, scope):
    files = {
        "capi2.xml": xml(broken()),
        SEND_FILE: send(refused()),
        "c.json": config(inbound(SenderIPAddresses=[scope], RequireTls=False)),
    }
    report = analyze(tmp_path, files)
    assert grade(report, "missing-intermediate") == "contradicted"
    expected = "probable" if scope.startswith("198") else "contradicted"
    assert grade(report, "source-ip-not-allowed") == expected


def test_a_cost_of_sender_domains_is_no_restriction(tmp_path):
    connector = inbound(TlsSenderCertificateName="*.servername.com", SenderDomains=["smtp:*;100"])
    report = analyze(tmp_path, {SEND_FILE: send(refused()), "c.json": config(connector)})
    assert verdict(report)[0] == "unexplained"


def test_a_log_that_begins_in_the_middle_of_a_session_does_not_show_that_tls_was_missing(tmp_path):
    lines = send(refused()).decode().split("\r\n")
    second = [number for number, line in enumerate(lines) if "EHLO" in line][1]
    connector = config(inbound(TlsSenderCertificateName="*.servername.com"))
    cut = "\r\n".join(lines[:5] + lines[second:]).encode()
    assert verdict(analyze(tmp_path, {SEND_FILE: cut, "c.json": connector}))[0] == "unexplained"


def test_the_chain_of_another_host_does_not_make_it_probable(tmp_path):
    own = Recorder("CORP-SMTP1.ServerName.com", next_record=900)
    capi2.check(own, KB_TIME, [(LEAF, 0)], seed="own", with_chain=False, **BROKEN)
    other = broken("CORP-SMTP2.ServerName.com", KB_TIME + 30 * HOUR)
    files = {
        "CORP-SMTP1/capi2.xml": xml(own),
        "CORP-SMTP2/capi2.xml": xml(other),
        "CORP-SMTP1/SEND.LOG": send(refused(), refused(START + 30 * HOUR, 2)),
    }
    assert grade(analyze(tmp_path, files), "missing-intermediate") == "possible"


def test_a_success_on_the_own_machine_beats_a_failure_on_another(tmp_path):
    own = Recorder("CORP-SMTP1.ServerName.com", next_record=900)
    capi2.check(own, KB_TIME, CHAIN, seed="own", **SOUND)
    files = {
        "CORP-SMTP1/capi2.xml": xml(own),
        "CORP-SMTP2/capi2.xml": xml(broken("CORP-SMTP2.ServerName.com")),
        "CORP-SMTP1/SEND.LOG": send(refused()),
    }
    assert grade(analyze(tmp_path, files), "missing-intermediate") == "contradicted"


@pytest.mark.parametrize("process", ["pwsh.exe", "msedge.exe"])
def test_a_success_in_a_users_process_changes_nothing(tmp_path, process):
    recorder = broken()
    after = KB_TIME + timedelta(milliseconds=100)
    capi2.check(recorder, after, CHAIN, seed="user", process=process, process_id=999, **SOUND)
    report = analyze(tmp_path, {"capi2.xml": xml(recorder), SEND_FILE: send(refused())})
    assert verdict(report) == ("missing-intermediate", "probable")


def test_a_session_without_tls_sent_no_certificate(tmp_path):
    report = analyze(tmp_path, {"capi2.xml": xml(broken()), SEND_FILE: send(refused(tls=False))})
    assert grade(report, "missing-intermediate") == "contradicted"
    assert verdict(report)[0] == "no-client-certificate"


def test_one_odd_refusal_does_not_decide_for_all(tmp_path):
    sessions = [refused(START + number * HOUR, number + 1) for number in range(5)]
    sessions.append(refused(START + 6 * HOUR, 9, sender="x@fabrikam.com"))
    connector = inbound(TlsSenderCertificateName="*.servername.com", SenderDomains=["smtp:servername.com;1"])
    report = analyze(tmp_path, {SEND_FILE: send(*sessions), "c.json": config(connector)})
    assert grade(report, "connector-not-matching") != "probable"


def test_a_cause_says_how_many_refusals_it_covers(tmp_path):
    plain = [refused(START + number * HOUR, number + 2, tls=False) for number in range(1, 4)]
    report = analyze(tmp_path, {"capi2.xml": xml(broken()), SEND_FILE: send(refused(), *plain)})
    assert verdict(report) == ("missing-intermediate", "probable")
    assert "covers 1 of 4 refusals" in report.findings[0].contradicts[0].text


def test_remote_desktop_noise_does_not_hide_the_own_certificate(tmp_path):
    """Without certificates in the SMTP log both failures are weighed, not the nearest only."""
    recorder = Recorder(HOST, next_record=900)
    results: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B0109", "chain_error": UNTRUSTED_ROOT}
    named = ((("CN", "CORP-SMTP1.ServerName.com"),),) * 2
    desktop = capi2.Cert("0D" * 20, *named)
    assert desktop.self_signed
    assert DEFAULT.self_signed
    capi2.check(recorder, KB_TIME, [(desktop, UNTRUSTED_ROOT)], seed="rdp", **results)
    capi2.check(recorder, KB_TIME + timedelta(milliseconds=300), [(LEAF, 0)], seed="own", **BROKEN)
    session = SendSession(START, "08D50D3D97300001").connect(helo="CORP-SMTP1.ServerName.com")
    session.add(204, ">", "STARTTLS").add(301, "<", "220 2.0.0 SMTP server ready")
    session.message(710, "a@servername.com", [("b@fabrikam.com", REFUSAL)], 4).quit(1100)
    report = analyze(tmp_path, {"capi2.xml": xml(recorder), SEND_FILE: send(session)})
    assert grade(report, "missing-intermediate") == "possible"


def test_an_iis_log_without_its_replies_does_not_show_absence(tmp_path):
    log = (
        "#Software: Microsoft Internet Information Services 8.5\r\n"
        "#Fields: date time c-ip cs-username s-computername cs-method\r\n"
        "2016-12-01 03:14:20 216.32.181.234 OutboundConnectionCommand CORP-SMTP1 MAIL\r\n"
        "2016-12-01 03:14:20 216.32.181.234 OutboundConnectionResponse CORP-SMTP1 -\r\n"
        "2016-12-01 03:14:21 216.32.181.234 OutboundConnectionResponse CORP-SMTP1 -\r\n"
    )
    report = analyze(tmp_path, {"ex161201.log": log.encode()})
    assert report.exit_code == 3
    assert [loss.extent for loss in report.losses] == ["all replies of the file"]
