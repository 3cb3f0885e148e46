"""What --resume believes, and what a full disk or a file that cannot be replaced costs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

import evtx_analyzer as ea
from evtx_analyzer.batch import outputs_for, run, settings_for
from evtx_analyzer.batch.bundles import bundles
from evtx_analyzer.batch.index import signature
from evtx_analyzer.batch.outcome import IncompleteError
from evtx_analyzer.batch.work import summarize
from samples.build import CASES
from samples.fleet import zipped

pytestmark = pytest.mark.slow

CASE_NAMES = ("kb-3212877", "no-capi2", "attr35", "source-ip")


def note(task):
    """Analyze, and leave word that a worker was asked."""
    (Path(task.folder).parent.parent / "asked" / task.name).touch()
    return summarize(task)


def full_disk(task):
    """A disk that has room for two reports only."""

    def flush(descriptor):
        if len(list(Path(task.folder).glob("*.json"))) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = flush
    return summarize(task)


@pytest.fixture
def case(tmp_path):
    """Bundles of an hour ago, and a function that runs a batch and gives the names that workers were asked for."""
    (tmp_path / "asked").mkdir()
    for name in CASE_NAMES:
        path = tmp_path / "in" / f"{name}.zip"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zipped(CASES[name]()))
        age(path)

    def again(**options):
        for path in (tmp_path / "asked").iterdir():
            path.unlink()
        outputs = outputs_for(options.pop("formats", ()), options.pop("lang", "en"), options.pop("redact", ""))
        options = {"workers": 1, "resume": True, "work": note, "outputs": outputs, **options}
        summary = run(bundles(str(tmp_path / "in")), tmp_path / "out", settings_for(), **options)
        return {path.name.rpartition("-")[0] for path in (tmp_path / "asked").iterdir()}, summary

    return tmp_path, again


def age(path, seconds=3600):
    os.utime(path, (time.time() - seconds,) * 2)


def report_of(folder, name, suffix=".json"):
    (path,) = (folder / "out" / "reports").glob(f"{name}-*{suffix}")
    return path


# ------------------------------------------------------------------------------------------------------- resume


def test_what_is_done_is_not_done_again(case):
    folder, again = case
    first, summary = again()
    assert first == set(CASE_NAMES)
    paths = [path for path in (folder / "out").rglob("*") if path.is_file() and path.name != "index.jsonl"]
    before = {path: path.stat().st_mtime_ns for path in paths}
    nothing, same = again()
    assert (nothing, same) == (set(), summary)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again(resume=False)[0] == set(CASE_NAMES)


def test_a_report_that_was_edited_is_analyzed_again(case):
    folder, again = case
    again()
    path = report_of(folder, "kb-3212877")
    whole, times = path.read_bytes(), path.stat()
    edited = json.loads(whole)
    edited["incidents"][0]["rejection_count"] = 4711
    path.write_text(json.dumps(edited))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    asked, summary = again()
    assert asked == {"kb-3212877"}
    assert path.read_bytes() == whole
    assert summary.rejection_count < 4711


def test_a_report_of_another_bundle_under_its_name_is_analyzed_again(case):
    folder, again = case
    again()
    shutil.copy(report_of(folder, "attr35"), report_of(folder, "source-ip"))
    assert again()[0] == {"source-ip"}


def test_a_report_without_a_line_in_the_index_is_analyzed_again(case):
    folder, again = case
    again()
    index = folder / "out" / "reports" / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[1:]) + b'{"name": "cut off')
    assert again()[0] == {msgspec.json.decode(lines[0])["name"].rpartition("-")[0]}


def test_a_bundle_that_changed_is_analyzed_again(case):
    folder, again = case
    again()
    path = folder / "in" / "no-capi2.zip"
    path.write_bytes(zipped(CASES["attr36"]()))
    age(path, 1800)
    asked, summary = again()
    assert asked == {"no-capi2"}
    assert ea.load(report_of(folder, "no-capi2")).batch.content != ""
    assert len(summary.rows) == len(CASE_NAMES)


def test_a_bundle_that_was_only_touched_is_read_but_its_report_is_left_alone(case):
    folder, again = case
    again()
    before = report_of(folder, "attr35").stat().st_mtime_ns
    age(folder / "in" / "attr35.zip", 7200)
    assert again()[0] == {"attr35"}
    assert report_of(folder, "attr35").stat().st_mtime_ns == before
    assert again()[0] == set(), "its new times are remembered"


def test_verify_contents_reads_all_and_analyzes_what_is_another(case):
    folder, again = case
    again()
    times = {path: path.stat().st_mtime_ns for path in (folder / "out" / "reports").glob("*.json")}
    assert again(verify_contents=True)[0] == set(CASE_NAMES)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_the_signature_tells_changes_apart_and_trusts_no_file_of_this_moment(tmp_path, monkeypatch):
    path = tmp_path / "a" / "x.LOG"
    path.parent.mkdir()
    path.write_bytes(b"1")
    (bundle,) = bundles([path.parent])
    with monkeypatch.context() as slow:
        slow.setattr("evtx_analyzer.batch.index._YOUNG_SECONDS", 600)
        assert signature(bundle) == "", "it may change again without another time"
    age(path)
    first = signature(bundle)
    assert first
    assert signature(bundle) == first
    times = path.stat()
    path.write_bytes(b"2")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    while path.stat().st_ctime_ns == times.st_ctime_ns:  # the clock of many kernels ticks every 4 ms
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert signature(bundle) != first, "the time of the change cannot be put back"
    (path.parent / "new.LOG").write_bytes(b"")
    age(path.parent / "new.LOG")
    assert signature(bundle) not in ("", first)


def test_a_store_that_tells_no_version_is_read_again(monkeypatch):
    from evtx_analyzer.batch.bundles import Bundle

    bundle = Bundle(name="a", inputs=("s3://cases/a",))
    told = [("s3://cases/a/x.LOG", "12 2026-11-25")]
    monkeypatch.setattr("evtx_analyzer.batch.index.versions", lambda _: told)
    assert signature(bundle)
    told[0] = ("s3://cases/a/x.LOG", "")
    assert signature(bundle) == ""


def test_a_further_format_or_language_is_written_without_a_new_analysis(case):
    folder, again = case
    again()
    before = report_of(folder, "attr35").stat().st_mtime_ns
    assert again(formats=("html",))[0] == set(CASE_NAMES)
    page = report_of(folder, "attr35", ".html").read_text("utf-8")
    assert '<html lang="en"' in page
    assert again(formats=("html",))[0] == set()
    assert again(formats=("html",), lang="de")[0] == set(CASE_NAMES)
    assert '<html lang="de"' in report_of(folder, "attr35", ".html").read_text("utf-8")
    assert report_of(folder, "attr35").stat().st_mtime_ns == before


# --------------------------------------------------------------------------------------------- what cannot be written


def test_a_full_disk_ends_with_a_summary_of_what_is_done(case):
    folder, again = case
    with pytest.raises(
        IncompleteError, match=r"2 of 4 bundles: its report cannot be written .*No space left.*--resume"
    ) as told:
        again(work=full_disk)
    rows = told.value.summary.rows
    assert sorted(row.status for row in rows) == ["failed", "failed", "read", "read"]
    assert {row.reason.partition(";")[0] for row in rows if row.status == "failed"} == {
        "its report cannot be written (No space left on device)",
        "not analyzed, because the reports of other bundles could not be written",
    }
    saved = json.loads((folder / "out" / "summary.json").read_bytes())
    assert [row["status"] for row in saved["bundles"]] == [row.status for row in rows]
    assert not list((folder / "out").rglob("*.part"))
    assert not (folder / "out" / "summary.reserve").exists()
    asked, summary = again()
    assert len(asked) == 2
    assert [row.status for row in summary.rows] == ["read"] * 4


def test_one_file_that_cannot_be_replaced_costs_only_itself(case, monkeypatch):
    folder, again = case
    replace = Path.replace

    def held(self, target):
        if target.name == "summary.csv":
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return replace(self, target)

    monkeypatch.setattr("evtx_analyzer.whole_files._WAITS", (0.0,))
    monkeypatch.setattr(Path, "replace", held)
    with pytest.raises(IncompleteError, match=r"summary\.csv could not be replaced .*see summary\.1\.csv"):
        again()
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"reports", "summary.json", "summary.html", "summary.1.csv", "summary.jsonl"}
