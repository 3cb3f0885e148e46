"""What a check does not show: revocation of another path, a check that passes as well, a filtered export."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from faults import FAULTS, inbound
from smtp_case import rules
from worlds import NOW, Check, certificate, chain, completed, files, world

import evtx_analyzer as ea
from samples import capi2
from samples.capi2 import Recorder

REVOKED, SOUND = "80092010", "0"


def grades(folder, written):
    for name, content in written.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(folder, rules=rules())
    return {finding.cause: finding.grade for finding in report.findings}


# ---------------------------------------------------------------------------------------------------------- revocation


def revocation(cert, result, task, sequence):
    """Event 41."""
    return (
        f'<CertVerifyRevocation><Certificate fileRef="{cert.thumbprint}.cer" subjectName="{cert.common_name}"/>'
        f'<IssuerCertificate fileRef="{"77" * 20}.cer" subjectName="X"/><Flags value="4"/>'
        f'<RevocationStatus index="0" error="{result}" reason="0"/>'
        '<EventAuxInfo ProcessName="lsass.exe" impersonateToken="S-1-5-18"/>'
        f'<CorrelationAuxInfo TaskId="{task}" SeqNumber="{sequence}"/><Result value="{result}"/></CertVerifyRevocation>'
    )


def checked(made, seed, when, asked, error):
    """A check with revocation: ``asked`` are (certificate, result of event 41), ``error`` is the chain's status."""
    recorder = Recorder(made.fqdn, next_record=seed * 100)
    task, ref = capi2.guid(f"task{seed}"), capi2.guid(f"chain{seed}")
    where = {"process": 544, "thread": 1996}
    time, result = NOW + when, REVOKED if error else SOUND
    recorder.write(10, time, capi2.start("lsass.exe", task, 1), **where)
    for number, (cert, answer) in enumerate(asked, 2):
        recorder.write(41, time, revocation(cert, answer, task, number), **where)
    elements = [(made.leaf, error), (made.issuer, 0), (made.root, 0)]
    number = len(asked) + 2
    built = capi2.chain(elements, ref, result, process="lsass.exe", task=task, sequence=number, error=error)
    recorder.write(11, time, built, **where)
    passed = capi2.policy(made.leaf, ref, SOUND, process="lsass.exe", task=capi2.guid(f"own{seed}"))
    recorder.write(30, time, passed, **where)
    return "".join(f"{event}\r\n" for event in recorder.events)


HANDSHAKE = timedelta(seconds=0.35)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([(5, HANDSHAKE, REVOKED, 4)], "probable"),
        ([(5, -timedelta(hours=8), REVOKED, 4)], "probable"),
        ([(5, timedelta(minutes=50), REVOKED, 4)], "probable"),
        # asked at the handshake, and not revoked by the list that the machine had then
        ([(5, HANDSHAKE, SOUND, 0), (6, timedelta(minutes=50), REVOKED, 4)], "possible"),
        ([(4, -timedelta(hours=8), REVOKED, 4), (5, HANDSHAKE, SOUND, 0)], "possible"),
        # ... of another refusal than those of the outage
        ([(4, -timedelta(hours=3), SOUND, 0), (5, HANDSHAKE, REVOKED, 4)], "probable"),
    ],
)
def test_what_was_revoked_later_or_earlier_was_not_when_it_was_asked(tmp_path, checks, expected):
    made = completed(world(0, "C"))
    events = [checked(made, seed, when, [(made.leaf, answer)], error) for seed, when, answer, error in checks]
    assert grades(tmp_path, {**files(made), "capi2.xml": "".join(events)})["certificate-revoked"] == expected


def test_a_revoked_cross_certificate_that_the_chain_does_not_use(tmp_path):
    made = completed(world(0, "C"))
    cross = certificate(0xCC05, "Example Trust Root R9", "Old Cross Root")
    events = checked(made, 5, HANDSHAKE, [(cross, REVOKED), (made.leaf, SOUND)], 0)
    assert grades(tmp_path, {**files(made), "capi2.xml": events})["certificate-revoked"] not in ("probable", "possible")


# ------------------------------------------------------------ a check that passes as well


@pytest.mark.parametrize(
    ("passes", "process", "expected"),
    [
        (-0.35, "lsass.exe", "possible"),
        (0.5, "lsass.exe", "contradicted"),  # after the failure and before the refusal
        (3, "lsass.exe", "probable"),  # after the refusal
        (-0.35, "inetinfo.exe", "probable"),  # another service, perhaps with other stores
        (-30, "lsass.exe", "probable"),  # before the chain broke
    ],
)
def test_a_check_that_fails_and_passes_at_one_handshake_decides_nothing(tmp_path, passes, process, expected):
    made = world(0, "C")
    FAULTS["missing_intermediate"].apply(made)
    made.checks.append(Check(chain(made), "sound", before=timedelta(seconds=passes - 0.25), process=process))
    made.mails.append(made.refusal())
    assert grades(tmp_path, files(made))["missing-intermediate"] == expected


# ------------------------------------------------------------ filtered exports


def only(text, *numbers):
    events = re.findall(r"<Event .*?</Event>", text, re.DOTALL)
    return "\r\n".join(event for event in events if int(re.search(r"<EventID>(\d+)", event)[1]) in numbers)


@pytest.mark.parametrize("numbers", [(11,), (11, 90), (10, 11)])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [("missing_intermediate", "missing-intermediate"), ("untrusted_root", "untrusted-root")],
)
@pytest.mark.parametrize("form", ["A", "B", "C"])
def test_an_export_of_chains_without_their_checks(tmp_path, fault, cause, form, numbers):
    made = world(0, form)
    FAULTS[fault].apply(made)
    written = files(completed(made))
    named = grades(tmp_path, {**written, "capi2.xml": only(written["capi2.xml"], *numbers)})
    assert named[cause] == "possible"
    assert {other for other, grade in named.items() if grade in ("probable", "confirmed")} == set()


NAMED = ("probable", "possible")
OF_FAULT = {
    "missing_intermediate": "missing-intermediate",
    "untrusted_root": "untrusted-root",
    "self_signed": "self-signed-certificate",
    "expired": "certificate-expired",
    "intermediate_expired": "intermediate-expired",
    "revoked": "certificate-revoked",
}


@pytest.mark.parametrize("numbers", [(11,), (11, 90), (10, 11), (11, 30, 90)])
@pytest.mark.parametrize("fault", OF_FAULT)
@pytest.mark.parametrize("form", ["iis", "tracking", "ndr"])
def test_where_no_log_shows_the_certificate_name_and_time_make_a_cause_possible(tmp_path, form, fault, numbers):
    made = world(0, form)
    FAULTS[fault].apply(made)
    written = files(completed(made))
    named = grades(tmp_path, {**written, "capi2.xml": only(written["capi2.xml"], *numbers)})
    assert {cause: grade for cause, grade in named.items() if grade in NAMED} == {OF_FAULT[fault]: "possible"}


def of_another(made):
    other = certificate(0xDD, "portal.adatum.example", "Example Trust TLS CA 9")
    return [Check([(other, 0)], "partial")]


@pytest.mark.parametrize(
    "checks",
    [
        of_another,
        lambda made: [Check([(made.leaf, 0)], "partial", process="mmc.exe")],
        lambda made: [Check([(made.leaf, 0)], "partial", host="MAILGW7.contoso.com")],
        lambda made: [Check([(made.leaf, 0)], "partial", before=timedelta(seconds=-30))],
        lambda made: [Check([(made.leaf, 0)], "partial", before=timedelta(seconds=20))],
        lambda made: [Check(chain(made), "sound")],
        # Windows looks into its cache first: what the next check of the same moment builds was not missing.
        lambda made: [
            Check([(made.leaf, 0)], "partial", before=timedelta(seconds=-0.3)),
            Check(chain(made), "sound", before=timedelta(seconds=-0.2)),
        ],
    ],
)
@pytest.mark.parametrize("form", ["iis", "tracking"])
def test_near_misses_of_a_chain_that_is_named_by_time_and_name(tmp_path, form, checks):
    made = world(0, form)
    made.checks = checks(made)
    made.mails.append(made.refusal())
    written = files(made)
    named = grades(tmp_path, {**written, "capi2.xml": only(written["capi2.xml"], 11)})
    assert {cause for cause, grade in named.items() if grade in NAMED} == set()


@pytest.mark.parametrize("fault", OF_FAULT)
def test_a_session_without_tls_sent_no_certificate_whose_chain_could_matter(tmp_path, fault):
    made = world(0, "iis")
    FAULTS[fault].apply(made)
    made.mails = [made.refusal(tls="plain")]
    assert grades(tmp_path, files(made))[OF_FAULT[fault]] in ("contradicted", "no-evidence")


def test_the_dates_of_a_certificate_above_are_told_from_its_own_by_event_11_only(tmp_path):
    made = world(0, "iis")
    FAULTS["expired"].apply(made)
    (tmp_path / "ex.log").write_text(files(completed(made))["ex260310.log"], encoding="utf-8", newline="")
    (tmp_path / "capi2.xml").write_text(only(files(made)["capi2.xml"], 30), encoding="utf-8", newline="")
    report = ea.analyze(tmp_path, rules=rules())
    finding = next(finding for finding in report.findings if finding.cause == "certificate-expired")
    assert finding.grade == "possible"
    assert any("event 30 reads 800B0101 in both cases" in missing.text for missing in finding.missing)


def test_a_chain_that_a_later_check_builds_is_no_sign_of_anything(tmp_path):
    made = completed(world(0, "C"))
    built = only(files(replaced(made, "partial", -0.4))["capi2.xml"], 11)
    written = files(made)
    # The records of one log are numbered in order.
    built = re.sub(r"<EventRecordID>\d+", "<EventRecordID>50", built)
    named = grades(tmp_path, {**written, "capi2.xml": built + "\r\n" + written["capi2.xml"]})
    assert named["missing-intermediate"] == "contradicted"


def replaced(made, result, before):
    other = world(0, "C")
    other.checks = [Check([(made.leaf, 0)], result, before=timedelta(seconds=before - 0.25))]
    other.mails = [other.refusal()]
    return other


# --------------------------------------------------------------------------------------------- the clock of the machine

BANNER = '"220 \\1 Microsoft ESMTP MAIL Service ready at Tue, 10 Mar 2026 {time} +0000"'


@pytest.mark.parametrize(
    ("dates", "time", "expected"),
    [
        ({"not_after": "2026-03-10T08:00:00Z"}, "08:14:02", "possible"),
        ({"not_after": "2026-03-10T08:00:00Z"}, "07:54:02", "contradicted"),  # the clock is 20 minutes fast
        ({"not_after": "2026-03-10T08:00:00Z"}, "07:14:02", "contradicted"),
        ({"not_before": "2026-03-10T09:00:00Z"}, "08:14:02", "possible"),
        ({"not_before": "2026-03-10T09:00:00Z"}, "13:14:02", "contradicted"),  # five hours slow
        ({"not_after": "2026-03-10T09:00:00Z"}, "13:14:02", "possible"),  # ... and expired by Exchange Online's clock
        ({"not_after": "2026-03-10T09:00:00Z"}, "08:14:02", "contradicted"),
    ],
)
def test_a_date_is_over_by_the_clock_of_exchange_online(tmp_path, dates, time, expected):
    made = world(0, "C")
    made.leaf = replace(made.leaf, **dates)
    written = files(completed(made))
    written.pop("capi2.xml")
    written["SEND.LOG"] = re.sub(r"220 (\S+) ESMTP ready", BANNER.format(time=time), written["SEND.LOG"])
    assert grades(tmp_path, written)["certificate-expired"] == expected


# ---------------------------------------------------------------------------------------------- front end transport


@pytest.mark.parametrize("port", ["717", "25"])
def test_a_session_with_the_front_end_is_none_with_exchange_online(tmp_path, port):
    """FrontendProxyEnabled: certificates of that session are Exchange's own, and the front end's log is needed."""
    made = world(0, "C")
    own = replace(made.leaf, subject=(("CN", made.host),), issuer=(("CN", made.host),), names=(made.host,))
    inbound(made)
    sent = {"sent": own, "received": (("CN", made.host),), "banner": made.fqdn, "remote": f"10.1.2.3:{port}"}
    made.mails = [made.refusal(after, **sent) for after in (timedelta(), timedelta(minutes=6))]
    (tmp_path / "x").mkdir()
    for name, content in files(made).items():
        (tmp_path / "x" / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(tmp_path, rules=rules())
    strong = {finding.cause for finding in report.findings if finding.grade in ("possible", "probable")}
    missing = " ".join(item.text for finding in report.findings for item in finding.missing)
    assert ("FrontEnd" in missing) is (port == "717")
    assert ("not-exchange-online" in strong) is (port != "717")
    if port == "717":
        assert report.verdict.cause == "unexplained"
