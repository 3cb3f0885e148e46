"""Refusals that the verdict does not cover are told at once, with what to do first there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

import evtx_analyzer
from evtx_analyzer.report.language import ENGLISH, load
from evtx_analyzer.report.other_refusals import other_refusals
from samples.cases import SEND_FILE
from samples.pieces import DEFAULT, START, message, refused, send
from samples.smtp import KEYWORDS, SendSession

_MASKED = KEYWORDS.replace("STARTTLS", "XXXXXXXA")


@pytest.fixture(scope="module")
def two_causes(tmp_path_factory):
    """A self-signed certificate over one connector, STARTTLS written over by a firewall over the other."""
    masked = SendSession(START + timedelta(minutes=2), "08D50D3D9730A8D3", connector="Outbound B")
    log = send(refused(DEFAULT, one_row=True), message(masked.connect(keywords=_MASKED), 710).quit(1100))
    path = tmp_path_factory.mktemp("two") / "EX01" / SEND_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(log)
    return evtx_analyzer.analyze(path.parents[2])


def test_the_verdict_says_how_many_refusals_it_covers(two_causes):
    assert two_causes.verdict.cause == "self-signed-certificate"
    assert "This verdict covers 1 of the 2 refusals." in two_causes.verdict.summary


def test_other_refusals_have_a_cause_and_a_first_step_of_their_own(two_causes, monkeypatch):
    monkeypatch.setenv("EVTX_ANALYZER_DOCS", "https://example.org/docs")
    (other,) = other_refusals(two_causes, ENGLISH)
    assert (other.count, other.grade) == (1, "possible")
    assert other.places.startswith("Outbound B on ")
    assert other.title == next(
        finding.title for finding in two_causes.findings if finding.cause == "starttls-not-offered"
    )
    assert other.first
    assert other.page == "https://example.org/docs/causes/starttls-not-offered.html"
    monkeypatch.delenv("EVTX_ANALYZER_DOCS")
    assert other_refusals(two_causes, ENGLISH)[0].page == ""


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html"])
def test_they_stand_in_the_first_block(two_causes, tmp_path, suffix):
    to = tmp_path / f"report{suffix}"
    two_causes.save(to)
    text = to.read_text("utf-8")
    (other,) = other_refusals(two_causes, ENGLISH)
    assert 0 < text.index("The other refusals") < text.index("Outbound B on") < text.index("How to see that it worked")
    assert " ".join(other.title.split()) in " ".join(text.split())


def test_the_summary_is_german_as_a_whole(two_causes):
    say = load("de")
    text = say.sentence(two_causes.verdict.summary)
    assert "gilt für 1 von 2 Ablehnungen" in text
    assert "Außerdem möglich: starttls-not-offered" in text
    assert "possible" not in text


def test_a_verdict_that_covers_all_says_nothing_of_others(two_causes):
    only = [incident for incident in two_causes.incidents if incident.id in two_causes.findings[0].incidents]

    assert other_refusals(replace(two_causes, incidents=tuple(only)), ENGLISH) == ()


@pytest.mark.parametrize(("hours", "said"), [(2, "2 h ahead of"), (-3, "3 h behind"), (0, "")])
def test_a_clock_that_is_far_off_is_told_in_the_first_block(tmp_path, hours, said):
    """The row says 05:09, the reply's own time 03:09: whoever compares with the customer's words must know."""
    reply = "550 5.7.64 TenantAttribution; Relay Access Denied [AM1FT01.mail.protection.outlook.com {} 08D4A0000000001]"
    session = SendSession(START + timedelta(hours=hours), "08D50D3D9730A8D2").connect().starttls(DEFAULT)
    told = reply.format("2016-12-01T03:09:55.700Z")
    log = send(session.message(710, "a@servername.com", [("b@fabrikam.com", told)], 4).quit(1100))
    log = log.replace(b"Thu, 01 Dec 2016 %02d:" % (3 + hours), b"Thu, 01 Dec 2016 03:")
    (tmp_path / "EX01").mkdir()
    (tmp_path / "EX01" / "SEND.LOG").write_bytes(log)
    report = evtx_analyzer.analyze(tmp_path)
    for suffix in (".txt", ".html"):
        report.save(tmp_path / f"report{suffix}")
        text = " ".join((tmp_path / f"report{suffix}").read_text("utf-8").split())
        assert ("times are shown as logged" in text) == bool(said)
        assert said in text
        assert text.find("times are shown as logged") < text.index("How to see that it worked")
