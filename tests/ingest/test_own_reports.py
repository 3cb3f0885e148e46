"""A report that lies beside the logs it is about is neither evidence nor a loss."""

from __future__ import annotations

import shutil

import pytest
from places import SAMPLES

import evtx_analyzer as ea


@pytest.fixture
def case(tmp_path):
    return shutil.copytree(SAMPLES / "no-certificate", tmp_path / "case")


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_saved_report_is_known_and_lowers_nothing(name, case):
    before = ea.analyze(case)
    before.save(case / name)
    report = ea.analyze(case)
    assert report.losses == ()
    (status,) = [source for source in report.sources if source.path == name]
    assert status.status == "unrecognized"
    assert "this program made" in status.reason
    assert (report.verdict, report.incidents, report.findings) == (before.verdict, before.incidents, before.findings)


def test_absence_is_shown_with_an_old_report_in_the_folder(case, tmp_path):
    ea.analyze(case).save(tmp_path / "old.json")
    clean = shutil.copytree(case / "SmtpSend", tmp_path / "clean")
    for log in clean.rglob("*.LOG"):
        log.write_bytes(log.read_bytes().replace(b"550 5.7.64", b"250 2.1.5 "))
    shutil.copy(tmp_path / "old.json", clean)
    assert ea.analyze(clean).exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"schema_version": 1, "tool": {"name": "another"}, "reply": "550 5.7.64 TenantAttribution"}',
        '{"log": "550 5.7.64", "tool": {"name": "evtx-analyzer"}}',
        "<!doctype html><title>evtx-analyzer</title><p>550 5.7.64",
    ],
)
def test_what_only_looks_like_one_is_a_loss_as_before(text, case):
    (case / "other.txt").write_text(text, encoding="utf-8")
    (loss,) = ea.analyze(case).losses
    assert "5.7.64" in loss.reason
