"""Names of reports, comparison with an earlier summary, and what a summary tells apart."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from msgspec.structs import replace

import evtx_analyzer as ea
from evtx_analyzer.batch.compare import Earlier, compare, load_summary, words
from evtx_analyzer.batch.names import report_names
from evtx_analyzer.batch.summary import Row, Summary
from evtx_analyzer.batch.summary_files import to_csv, to_json, to_jsonl
from evtx_analyzer.batch.summary_page import to_html
from evtx_analyzer.report import language


def row(bundle, **values):
    plain = {
        "bundle": bundle,
        "status": "read",
        "cause": None,
        "grade": None,
        "rejection_count": 0,
        "report": f"reports/{bundle}-0000.json",
        "title": "",
        "incident_count": 0,
        "first": None,
        "last": None,
        "hosts": (),
        "source_count": 1,
        "loss_count": 0,
        "reason": "",
        "outcome": "no-refusal",
    }
    return Row(**{**plain, **values})


def refused(bundle, cause="missing-intermediate", grade="probable", count=3):
    return row(bundle, cause=cause, grade=grade, rejection_count=count, outcome="refused")


LOST = {"status": "partial", "loss_count": 1, "outcome": "absence-not-shown"}
NOW = Summary(
    rows=(
        refused("a"),
        row("b"),
        row("c", **LOST),
        refused("d", "unexplained", "no-evidence", 1),
        row(
            "e",
            status="failed",
            outcome="failed",
            reason="this program failed on it (ValueError: x); please report this",
        ),
    )
)


@pytest.fixture
def earlier(tmp_path):
    def write(*rows):
        path = tmp_path / "summary.json"
        path.write_text(to_json(Summary(rows=rows)), encoding="utf-8")
        return load_summary(path)

    return write


# ------------------------------------------------------------------------------------------------------------ names


def test_reports_are_called_after_their_bundles():
    name, archive, deep = report_names(["ticket-0031", "ticket-0031.zip", "EX01/SmtpSend"])
    assert re.fullmatch(r"ticket-0031-[0-9a-f]{4}", name)
    assert re.fullmatch(r"ticket-0031-[0-9a-f]{4}", archive)
    assert name != archive
    assert re.fullmatch(r"EX01-SmtpSend-[0-9a-f]{4}", deep)


def test_a_name_is_the_same_whatever_lies_beside():
    assert report_names(["x", "y", "z"])[2] == report_names(["z"])[0]


@pytest.mark.parametrize(
    "label", ["../../etc/passwd", "CON", "a\\b:c*?", "", "...", "x" * 500, "\udcff\n", "北京" * 100, "a b"]
)
def test_a_name_is_safe_on_every_file_system(label):
    (name,) = report_names([label])
    assert len(name.encode()) < 230
    assert not set(name) & set('<>:"/\\|?*\n ')
    assert not name.startswith(("-", "."))
    assert re.search(r"-[0-9a-f]{4}$", name)


def test_names_that_differ_in_case_only_are_two_files():
    labels = [f"{letter}{number}" for number in range(3000) for letter in "aA"]
    assert len({name.casefold() for name in report_names(labels)}) == len(labels)


# ---------------------------------------------------------------------------------------------------------- compare


def test_new_gone_changed_and_the_same(earlier):
    before = earlier(refused("a"), refused("b"), row("c"), row("z", **LOST))
    done = compare(NOW, before)
    assert {item.bundle: (item.change, item.before) for item in done.rows} == {
        "a": ("same", ""),
        "b": ("changed", "missing-intermediate probable, 3 refusals"),
        "c": ("changed", "no refusal"),
        "d": ("new", ""),
        "e": ("new", ""),
    }
    assert done.comparison.new == ("d", "e")
    assert done.comparison.changed == ("b", "c")
    assert done.comparison.gone == ({"bundle": "z", "before": "absence not shown, parts could not be read"},)
    assert json.loads(to_json(done))["comparison"]["gone"][0]["bundle"] == "z"
    page = to_html(done)
    for text in ("2 new, 2 changed, 1 gone", "missing-intermediate probable, 3 refusals", ">z</td>"):
        assert text in page


def test_another_number_of_refusals_or_another_grade_is_a_change(earlier):
    summary = Summary(rows=(refused("a"),))
    assert compare(summary, earlier(refused("a", count=4))).rows[0].change == "changed"
    assert compare(summary, earlier(refused("a", grade="possible"))).rows[0].change == "changed"
    assert compare(summary, earlier(refused("a"))).rows[0].change == "same"


def test_a_summary_of_an_older_version_can_be_compared_with(tmp_path):
    path = tmp_path / "old.json"
    rows = [
        {"bundle": "a", "status": "read", "cause": "missing-intermediate", "grade": "probable", "rejection_count": 3}
    ]
    path.write_text(json.dumps({"schema_version": 1, "bundles": rows}))
    assert compare(Summary(rows=(refused("a"),)), load_summary(path)).rows[0].change == "same"


def test_an_absence_that_is_no_longer_shown_is_a_change(earlier):
    """Status, cause and count are the same: what was read whole is not any more."""
    lost = row("a", outcome="absence-not-shown", loss_count=1)
    (done,) = compare(Summary(rows=(lost,)), earlier(row("a"))).rows
    assert (done.change, done.before) == ("changed", "no refusal")
    assert compare(Summary(rows=(lost,)), earlier(lost)).rows[0].change == "same"


def test_what_is_gone_is_told_in_the_order_of_names(earlier):
    done = compare(Summary(), earlier(row("z"), row("a"), row("m")))
    assert [item["bundle"] for item in done.comparison.gone] == ["a", "m", "z"]


@pytest.mark.parametrize("content", [None, "", "[]", '{"bundles": 3}', '{"verdict": {}}', "\udcff"])
def test_what_is_no_summary_is_said(tmp_path, content):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ea.ReportError, match=r"x\.json: (cannot be read|is no summary\.json)"):
        load_summary(path)


# ----------------------------------------------------------------------------------------------------- what is told


def test_no_refusal_and_absence_not_shown_are_different_everywhere():
    assert NOW.outcomes == {"refused": 2, "no-refusal": 1, "absence-not-shown": 1, "not-read": 0, "failed": 1}
    causes = [(cause.outcome, cause.bundles) for cause in NOW.causes if cause.cause is None]
    assert sorted(causes) == [("absence-not-shown", 1), ("no-refusal", 1)]
    document = json.loads(to_json(NOW))
    assert [item["outcome"] for item in document["bundles"]] == [
        "refused",
        "no-refusal",
        "absence-not-shown",
        "refused",
        "failed",
    ]
    assert "no-refusal" in to_csv(NOW).splitlines()[2]
    assert "absence-not-shown" in to_csv(NOW).splitlines()[3]
    page = to_html(NOW)
    table = page.partition("<h2>Causes</h2>")[2].partition("</table>")[0]
    assert "<td>no refusal</td>" in table
    assert "<td>absence not shown, parts could not be read</td>" in table


def test_json_lines_are_the_rows():
    lines = to_jsonl(NOW).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(to_json(NOW))["bundles"]


def test_the_page_links_the_readable_report_and_lets_only_its_own_script_run():
    page = to_html(replace(NOW, rows=(replace(NOW.rows[0], readable="reports/a b-0000.html"),)))
    assert 'href="reports/a%20b-0000.html"' in page
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert page.count("<script") == 1


def test_the_page_speaks_the_readers_language():
    page = to_html(compare(NOW, {}), language.load("de"))
    assert '<html lang="de">' in page
    for text in ("keine Ablehnung", "dieses Programm scheiterte daran (ValueError: x); bitte melden", "5 neu"):
        assert text in page
    assert ">bundle<" not in page


def test_a_verdict_in_few_words():
    assert words(refused("a", count=1)) == "missing-intermediate probable, 1 refusal"
    assert words(NOW.rows[4]) == "failed"
    assert words(Earlier(bundle="a", status="partial")) == "partial", "an older version wrote no outcome"
