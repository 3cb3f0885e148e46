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
