"""Thousands of files that are no logs do not fill a report; what was read, or lost, is always listed."""

from __future__ import annotations

import evtx_analyzer as ea
from evtx_analyzer.ingest.source_list import MOST_UNRECOGNIZED, bounded
from evtx_analyzer.model.findings import SourceStatus
from evtx_analyzer.report.document import to_json


def status(name, state="unrecognized"):
    return SourceStatus(path=name, kind="unknown", sha256="0" * 64, size=3, status=state, reason="")


def test_a_few_are_all_listed():
    given = [status(f"{number}") for number in range(MOST_UNRECOGNIZED)]
    assert list(bounded(given)) == given


def test_of_many_the_first_are_listed_and_the_others_counted():
    given = [status(f"{number}") for number in range(20_000)]
    given[15_000] = status("read", "read")
    given[19_999] = status("lost", "not-read")
    sources = bounded(given)
    assert len(sources) == MOST_UNRECOGNIZED + 3
    assert [source.path for source in sources[-3:]] == ["read", "lost", "(more files)"]
    assert sources[-1].reason.startswith("18,998 more files")
    assert sources[-1].size == 3 * 18_998


def test_a_folder_of_many_files_makes_a_small_report(tmp_path):
    for number in range(1_500):
        (tmp_path / f"note-{number}.txt").write_text(f"nothing {number}")
    (tmp_path / "SEND.LOG").write_text("#Log-type: SMTP Send Protocol Log\n#Fields: date-time,connector-id\n")
    report = ea.analyze(tmp_path, anyway=True)
    assert "501 more files" in report.sources[-1].reason
    assert len(to_json(report)) < 600_000
