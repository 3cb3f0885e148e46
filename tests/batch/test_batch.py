"""Many bundles: what one is, every bundle once, the same bytes however the run went, on processes and on Dask."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from msgspec.structs import replace
from places import CHECKOUT

import evtx_analyzer as ea
from evtx_analyzer.batch import bundles, run, settings_for
from evtx_analyzer.batch.cluster import mismatches
from evtx_analyzer.batch.outcome import BundleError
from evtx_analyzer.batch.summary import Summary, merge
from evtx_analyzer.batch.summary_files import to_csv, to_json
from evtx_analyzer.batch.summary_page import to_html
from evtx_analyzer.batch.work import Task, report_on, summarize
from evtx_analyzer.options import analysis_options
from evtx_analyzer.rules.files import rules_version
from samples.build import CASES
from samples.fleet import write_fleet, zipped

pytestmark = [pytest.mark.slow, pytest.mark.server]

COUNT, DAMAGED = 24, 5


def die(task):
    """What a worker does in tests: bundles of some names kill it."""
    if "killer" in task.bundle.name:
        os._exit(9)
    return summarize(task)


def fail(task):
    if "killer" in task.bundle.name:
        raise BundleError("this program failed on it")
    return summarize(task)


def die_once(task):
    marker = Path(task.folder).parent.parent / "died"
    if "killer" in task.bundle.name and not marker.exists():
        marker.touch()
        os._exit(9)
    return summarize(task)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    write_fleet(folder, COUNT, damaged=DAMAGED, killers=1)
    return folder


@pytest.fixture(scope="module")
def whole(fleet, tmp_path_factory):
    """The fleet, analyzed in one go by worker processes."""
    out = tmp_path_factory.mktemp("whole")
    summary = run(bundles(str(fleet)), out, settings_for(), workers=2, work=die)
    return out, summary


def tree(folder):
    """Every file but the index, which holds the times of the inputs' files."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "index.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# ------------------------------------------------------------------------------------------- what a bundle is


def names(inputs):
    return [bundle.name for bundle in bundles(inputs)]


def test_one_folder_stands_for_what_lies_in_it(tmp_path):
    for name in ("EX01/SEND1.LOG", "EX02/sub/SEND1.LOG", "loose1.LOG", "loose2.LOG"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_bytes(b"x")
    (tmp_path / "all" / "case.zip").write_bytes(zipped({"a": b"b"}))
    (tmp_path / "all" / "renamed").write_bytes(zipped({"a": b"b"}))
    (tmp_path / "all" / "SEND2.LOG.gz").write_bytes(b"\x1f\x8b\x08 a log that is compressed alone is loose")
    found = bundles(str(tmp_path / "all"))
    assert [bundle.name for bundle in found] == ["all", "case.zip", "EX01", "EX02", "renamed"]
    assert [Path(item).name for item in found[0].inputs] == ["SEND2.LOG.gz", "loose1.LOG", "loose2.LOG"]


def test_several_inputs_globs_and_lists_are_one_bundle_each(tmp_path):
    for name in ("a/x.LOG", "b/y.LOG", "c.zip"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert names([f"{tmp_path}/*"]) == ["a", "b", "c.zip"]
    assert names([f"{tmp_path}/?"]) == ["a", "b"]
    (tmp_path / "list.txt").write_text("# today\na\nc.zip\n\na\n", encoding="utf-8")
    assert names([f"@{tmp_path}/list.txt"]) == ["a", "c.zip"]
    assert names([tmp_path / "c.zip"]) == ["c.zip"]


@pytest.mark.parametrize("text", ["@missing.txt", "nothing-*-here"])
def test_an_input_that_names_no_bundle_is_an_error(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ea.InputError, match=r"missing\.txt|nothing"):
        bundles([text])


# ------------------------------------------------------------------------------------------------- one machine


def test_every_bundle_is_one_row_and_the_killer_and_the_damaged_are_told(fleet, whole):
    summary = whole[1]
    assert [row.bundle for row in summary.rows] == sorted(item.name for item in fleet.iterdir())
    rows = {row.bundle: row for row in summary.rows}
    assert (rows["killer-0.zip"].status, rows["killer-0.zip"].report) == ("failed", "")
    assert "died in every try" in rows["killer-0.zip"].reason
    assert [rows[f"damaged-{number}.zip"].status for number in range(5)] == [
        "not-read",
        "not-read",
        "not-read",
        "partial",
        "partial",
    ]
    assert all(row.status == "read" for name, row in rows.items() if name[0].isdigit())
    assert summary.statuses == {"read": COUNT - DAMAGED - 1, "partial": 2, "not-read": 3, "failed": 1}
    assert summary.exit_code == 1


def test_rows_say_what_analyzing_one_bundle_says(fleet, whole):
    _, summary = whole
    for row in summary.rows:
        if row.status != "read":
            continue
        report = ea.analyze(fleet / row.bundle)
        assert (row.cause, row.grade, row.rejection_count) == (
            report.verdict.cause,
            report.verdict.grade,
            report.rejection_count,
        )


def test_files_of_the_contract(whole):
    out = whole[0]
    document = json.loads((out / "summary.json").read_bytes())
    rows = list(csv.DictReader(io.StringIO((out / "summary.csv").read_text(encoding="utf-8"))))
    for row, line in zip(document["bundles"], rows, strict=True):
        for key in ("bundle", "status", "cause", "grade", "rejection_count", "report"):
            assert line[key] == str(row[key] if row[key] is not None else "")
        if row["report"]:
            saved = ea.load(out / row["report"])
            assert saved.rejection_count == row["rejection_count"]
    assert sum(item["bundles"] for item in document["causes"]) == COUNT - 4
    assert sum(item["rejection_count"] for item in document["timeline"]) == document["rejection_count"]
    assert [item["bundle"] for item in document["not_read"]] == [
        "damaged-0.zip",
        "damaged-1.zip",
        "damaged-2.zip",
        "killer-0.zip",
    ]
    assert document["certificates"][0]["thumbprint"] == "EC53EBC94A796C42E5B4E5851F961874F013D94C"
    page = (out / "summary.html").read_text(encoding="utf-8")
    assert page.count("<tr>") >= COUNT
    assert {path.stem for path in (out / "reports").iterdir()} - {"index"} == {
        Path(row["report"]).stem for row in document["bundles"] if row["report"]
    }


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(fleet, whole, tmp_path):
    def interrupt(progress):
        if progress.done == COUNT // 2:
            raise KeyboardInterrupt

    found = bundles(str(fleet))
    with pytest.raises(KeyboardInterrupt):
        run(found, tmp_path, settings_for(), workers=2, work=die, progress=interrupt)
    assert not (tmp_path / "summary.json").exists()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "reports").glob("*.json")}
    assert COUNT // 3 < len(done) < COUNT
    (tmp_path / "reports" / ".evtx-analyzer-01234567.part").write_text("{", encoding="utf-8")
    run(found, tmp_path, settings_for(), workers=2, work=die, resume=True)
    assert tree(tmp_path) == tree(whole[0])
    assert all(path.stat().st_mtime_ns == time for path, time in done.items()), "what was done is left alone"


def test_resume_does_again_what_was_done_by_other_options_or_rules(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "case.zip").write_bytes(zipped(CASES["kb-3212877"]()))
    found = bundles(str(tmp_path / "in"))

    def made(rules=None, **options):
        settings = settings_for(analysis_options(**options), rules=rules)
        row = run(found, tmp_path / "out", settings, workers=1, resume=True).rows[0]
        path = tmp_path / "out" / row.report
        return ea.load(path).batch.settings, path.stat().st_mtime_ns

    first = made()
    assert made() == first
    second = made(window=(60, 60))
    assert second[0] != first[0]
    assert second[1] != first[1]
    rules = tmp_path / "rules" / "causes"
    rules.mkdir(parents=True)
    cause = CHECKOUT / "rules" / "causes" / "missing-intermediate.yml"
    (rules / cause.name).write_bytes(cause.read_bytes())
    versions = [rules_version(None), rules_version(rules.parent)]
    (rules / cause.name).write_bytes(cause.read_bytes() + b"\n# changed\n")
    versions.append(rules_version(rules.parent))
    assert len(set(versions)) == 3
    assert made(rules=rules.parent)[0] != made()[0]
    assert made(host="EX01")[0] != made(tz="Europe/Berlin")[0] != made()[0]


def test_a_bundle_that_kills_its_worker_once_is_done_in_the_second_try(tmp_path):
    write_fleet(tmp_path / "in", 4, killers=1)
    summary = run(bundles(str(tmp_path / "in")), tmp_path / "out", settings_for(), workers=1, work=die_once)
    assert (tmp_path / "died").exists()
    assert [row.status for row in summary.rows] == ["read"] * 4


def test_a_bundle_on_which_this_program_fails_twice_is_a_row(tmp_path, monkeypatch):
    write_fleet(tmp_path / "in", 3, killers=1)
    summary = run(bundles(str(tmp_path / "in")), tmp_path / "out", settings_for(), workers=1, work=fail)
    assert [(row.status, row.reason) for row in summary.rows if row.status != "read"] == [
        ("failed", "this program failed on it")
    ]
    monkeypatch.setattr("evtx_analyzer.batch.work.analyze_case", lambda *_, **__: 1 / 0)
    bundle = bundles(str(tmp_path / "in"))[0]
    with pytest.raises(BundleError, match="ZeroDivisionError"):
        report_on(Task(bundle=bundle, settings=settings_for()))


def test_a_worker_with_other_rules_stops_the_batch(tmp_path):
    write_fleet(tmp_path / "in", 1)
    wrong = replace(settings_for(), rules_version="other")
    with pytest.raises(ea.OptionError, match="other rules"):
        run(bundles(str(tmp_path / "in")), tmp_path / "out", wrong, workers=1)


def test_analyze_many_gives_a_report_for_each_bundle(fleet, whole, monkeypatch):
    reports = list(ea.analyze_many([fleet / "00000-kb-3212877", fleet / "damaged-1.zip"], workers=2))
    found = {report.batch.bundle: report for report in reports}
    assert found["00000-kb-3212877"].verdict.grade == "probable"
    assert found["damaged-1.zip"].batch.status == "not-read"
    assert found["damaged-1.zip"].exit_code == 2
    assert [row.status for row in ea.merge(reports).rows] == ["read", "not-read"]


def test_identical_bundles_have_a_row_and_a_report_each(tmp_path):
    for name in ("a", "b"):
        for inner, content in CASES["no-capi2"]().items():
            path = tmp_path / "in" / name / inner
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
    summary = run(bundles(str(tmp_path / "in")), tmp_path / "out", settings_for(), workers=2)
    assert [row.bundle for row in summary.rows] == ["a", "b"]
    a, b = (ea.load(tmp_path / "out" / row.report) for row in summary.rows)
    assert (a.batch.bundle, b.batch.bundle, a.batch.content) == ("a", "b", b.batch.content)


# ---------------------------------------------------------------------------------------------------- summary


def test_merge_is_associative_with_the_empty_summary_as_identity(whole):
    rows = [Summary(rows=(row,), incidents=()) for row in whole[1].rows]
    parts = [merge([part, Summary(incidents=(item,))]) for part, item in zip(rows, whole[1].incidents, strict=False)]
    a, b, c = merge(parts[:4]), merge(parts[4:5]), merge(parts[5:])
    assert merge([merge([a, b]), c]) == merge([a, merge([b, c])]) == merge([c, b, a])
    assert merge([a, Summary()]) == merge([Summary(), a]) == a
    assert merge([]) == Summary()


def test_shards_merge_to_the_whole(fleet, whole, tmp_path):
    found = [bundle for bundle in bundles(str(fleet)) if "killer" not in bundle.name]
    settings = settings_for()
    tasks = [Task(bundle=bundle, settings=settings, label=bundle.name) for bundle in found]
    shards = [merge(report_on(task) for task in tasks[start::3]) for start in range(3)]
    killed = Summary(rows=tuple(row for row in whole[1].rows if row.status == "failed"))
    unfiled = tuple(replace(row, report="") for row in whole[1].rows)
    assert merge([*shards, killed]) == replace(whole[1], rows=unfiled)


def test_exit_codes_are_those_of_one_case(whole):
    clean = next(row for row in whole[1].rows if row.status == "read")
    clean = replace(clean, rejection_count=0, loss_count=0)
    lost = replace(clean, status="not-read", loss_count=1)
    assert Summary(rows=(clean,)).exit_code == 0
    assert Summary(rows=(clean, lost)).exit_code == 3
    assert Summary(rows=(lost,)).exit_code == 2
    assert Summary(rows=(lost, replace(clean, rejection_count=1))).exit_code == 1


def test_to_pandas_has_a_row_per_bundle(whole):
    frame = whole[1].to_pandas()
    assert list(frame["bundle"]) == [row.bundle for row in whole[1].rows]
    assert str(frame["first"].dtype) == "datetime64[ns, UTC]"
    assert frame["rejection_count"].sum() == whole[1].rejection_count
    assert str(Summary().to_pandas()["last"].dtype) == "datetime64[ns, UTC]"


def test_names_of_bundles_do_no_harm_in_a_page_or_a_spreadsheet(whole):
    evil = replace(whole[1].rows[0], bundle="=cmd|'/C calc'!A0<script>alert(1)</script>")
    summary = Summary(rows=(evil,))
    assert "<script>alert" not in to_html(summary)
    assert to_csv(summary).splitlines()[1].startswith("'=cmd")
    assert json.loads(to_json(summary))["bundles"][0]["bundle"] == evil.bundle


# ------------------------------------------------------------------------------------------------ command line


def command(*arguments, **options):
    whole_command = [sys.executable, "-m", "evtx_analyzer", "batch", *map(str, arguments)]
    return subprocess.run(whole_command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_the_command_writes_the_same_twice_and_prints_counts(tmp_path):
    write_fleet(tmp_path / "in", 3)
    done = command(tmp_path / "in", "-o", tmp_path / "out", "--jobs", 1, "--resume")
    assert (done.returncode, done.stderr) == (1, "")
    assert "refusals with 5.7.64 in 3 bundles" in done.stdout
    before = tree(tmp_path / "out")
    assert command(tmp_path / "in", "-o", tmp_path / "out", "--jobs", 2, "--exit-zero").returncode == 0
    assert tree(tmp_path / "out") == before
    assert str(tmp_path) not in "".join(content.decode() for content in before.values())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing", "-o", "out"], "1 x not read"),
        (["in", "-o", "out", "--format", "docx"], "--format docx: expected one of json"),
        (["in", "-o", "out", "--max-unpacked", "much"], "--max-unpacked much"),
        (["in", "-o", "out", "--password-file", "nowhere"], "--password-file nowhere: cannot be read"),
        (["in", "-o", "no/such/out"], "does not exist"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(tmp_path, arguments, text):
    write_fleet(tmp_path / "in", 1)
    done = command(*arguments, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert text in done.stderr + done.stdout


@pytest.fixture(scope="module")
def nightly(tmp_path_factory):
    """Four bundles with names that tell of their owner, and a first night."""
    folder = tmp_path_factory.mktemp("nightly")
    for name in ("kb-3212877", "no-capi2", "attr35", "empty"):
        (folder / "in" / f"acme-{name}").mkdir(parents=True)
        for inner, content in CASES.get(name, lambda: {"note.txt": b"nothing"})().items():
            path = folder / "in" / f"acme-{name}" / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    done = command("in", "-o", "out", "--jobs", 1, cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    return folder


def test_the_second_night_tells_what_is_new(nightly):
    summary = json.loads((nightly / "out" / "summary.json").read_bytes())
    summary["bundles"] = [row for row in summary["bundles"] if row["bundle"] != "acme-no-capi2"]
    summary["bundles"][-1]["bundle"] = "acme-older"
    (nightly / "old.json").write_text(json.dumps(summary))
    done = command("in", "-o", "out", "--resume", "--compare", "old.json", "--progress", "json", cwd=nightly)
    assert done.returncode == 1
    assert "2 new, 0 changed, 1 gone" in done.stdout
    assert "  gone: acme-older: " in done.stdout
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["done"] for line in told] == [1, 2, 3, 4]
    assert {line["bundle"] for line in told} == {path.name for path in (nightly / "in").iterdir()}
    same = command("in", "-o", "out", "--resume", "--compare", "out/summary.json", cwd=nightly)
    assert "0 new, 0 changed, 0 gone" in same.stdout


def test_with_redact_no_name_is_in_any_output(nightly):
    options = ["--redact", "--redact-map", "map.json", "--format", "html", "--format", "csv"]
    done = command("in", "-o", "shown", "--jobs", 1, *options, cwd=nightly)
    assert (done.returncode, done.stderr) == (1, "")
    summary = json.loads((nightly / "shown" / "summary.json").read_bytes())
    assert [row["bundle"] for row in summary["bundles"]] == ["bundle1", "bundle2", "bundle3", "bundle4"]
    known = json.loads((nightly / "map.json").read_text("utf-8"))
    assert [item["bundle"] for item in known.values()] == sorted(path.name for path in (nightly / "in").iterdir())
    assert "ServerName.com" in json.dumps(known)
    for path in (item for item in (nightly / "shown").rglob("*") if item.is_file()):
        content = path.read_text("utf-8")
        assert "acme" not in content + path.name, path
        assert "servername" not in content.lower(), path
    again = command("in", "-o", "shown", "--resume", *options, cwd=nightly)
    assert again.returncode == 1
    assert json.loads((nightly / "map.json").read_text("utf-8")) == known


def test_readable_reports_are_in_the_readers_language(nightly):
    environment = {**os.environ, "EVTX_ANALYZER_LANG": "de"}
    done = command("in", "-o", "deutsch", "--format", "html", cwd=nightly, env=environment)
    assert "5 Ablehnungen mit 5.7.64 in 4 Paketen" in done.stdout
    row = next(
        row for row in json.loads((nightly / "deutsch" / "summary.json").read_bytes())["bundles"] if row["cause"]
    )
    assert '<html lang="de"' in (nightly / "deutsch" / row["readable"]).read_text("utf-8")
    assert '<html lang="de"' in (nightly / "deutsch" / "summary.html").read_text("utf-8")


def test_a_configuration_file_is_taken_and_told(nightly, tmp_path):
    (tmp_path / "evtx-analyzer.toml").write_text('window = [60, 60]\n[batch]\nformat = ["md"]\n', encoding="utf-8")
    done = command(nightly / "in", "-o", "out", cwd=tmp_path)
    assert done.stderr == "evtx-analyzer: options from evtx-analyzer.toml: window, format\n"
    path = next((tmp_path / "out" / "reports").glob("acme-kb-3212877-*.json"))
    assert path.with_suffix(".md").exists()
    options = ea.load(path).options
    assert (options.window, options.config) == ((60.0, 60.0), "evtx-analyzer.toml: window, format")
    assert command(nightly / "in", "-o", "out", "--no-config", cwd=tmp_path).stderr == ""
    assert ea.load(path).options.config is None


def test_the_exit_status_can_tell_of_one_cause_only(nightly):
    def status(*options):
        return command("in", "-o", "out", "--resume", *options, cwd=nightly).returncode

    assert status("--fail-on", "missing-intermediate") == 1
    assert status("--fail-on", "missing-intermediate:confirmed") == 3, "a bundle could not be read"
    assert status("--fail-on", "untrusted-root", "--fail-on", "missing-intermediate:probable") == 1


def test_bundles_beyond_the_limits_are_rows(nightly):
    done = command("in", "-o", "limited", "--jobs", 1, "--memory-limit", "100M", cwd=nightly)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--memory-limit 100M: the program itself takes" in done.stderr


def test_rows_of_parquet_name_their_bundle(nightly):
    parquet = pytest.importorskip("pyarrow.parquet")
    command("in", "-o", "tables", "--format", "parquet", cwd=nightly)
    tables = [parquet.read_table(path).to_pylist() for path in (nightly / "tables" / "reports").glob("*.parquet")]
    assert {row["bundle"] for rows in tables for row in rows} == {"acme-kb-3212877", "acme-no-capi2"}
    assert (nightly / "tables" / "summary.parquet").exists()


# ------------------------------------------------------------------------------------------------------- Dask


def test_versions_of_workers_are_told_apart():
    told = {
        "tcp://a:1": "0.0.9",
        "tcp://b:1": metadata.PackageNotFoundError("evtx-analyzer"),
        "tcp://c:1": "0.1.0",
        "tcp://d:1": OSError("closed"),
    }
    assert mismatches(told, "0.1.0") == [
        "worker tcp://a:1 has evtx-analyzer 0.0.9, this machine 0.1.0; install the same on both",
        "worker tcp://b:1 does not have the package evtx-analyzer; install evtx-analyzer==0.1.0 there",
        "worker tcp://d:1 does not answer (closed); restart it or take it out of the cluster",
    ]


@pytest.mark.filterwarnings("default")
def test_an_address_without_a_scheduler_is_told(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("evtx_analyzer.batch.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(ea.OptionError, match=r"--scheduler tcp://127\.0\.0\.1:1: no Dask scheduler answers"):
        list(ea.analyze_many([tmp_path], scheduler="tcp://127.0.0.1:1"))


def test_without_dask_its_extra_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ea.OptionError, match=r"evtx-analyzer\[cluster\]"):
        list(ea.analyze_many([tmp_path], scheduler="tcp://127.0.0.1:1"))


@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_with_a_worker_killed_half_way(fleet, whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    import dask

    # Two deaths are enough: each costs the start of a worker.
    few = dask.config.set({"distributed.scheduler.allowed-failures": 1})
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with few, distributed.LocalCluster(**options, silence_logs=50) as cluster:
        killed = []

        def kill(progress):
            if progress.done == COUNT // 2:
                # A worker that is being started again has no process yet.
                killed.append(next(worker.pid for worker in cluster.workers.values() if worker.pid))
                os.kill(killed[0], 9)

        found = bundles(str(fleet))
        summary = run(found, tmp_path, settings_for(), scheduler=cluster.scheduler_address, work=die, progress=kill)
        assert killed
        assert summary == whole[1]
    assert tree(tmp_path) == tree(whole[0])
