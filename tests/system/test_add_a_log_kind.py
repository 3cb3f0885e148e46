"""docs/add-a-log-kind.md does what it says: each of its blocks goes where it says, in a copy, and the log is read."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from places import CHECKOUT

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```(?:python|yaml|text)\n# ([\w/.-]+)(?:, ([^\n]+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
IMPORTS = "from __future__ import annotations\n"


def placed(text, where, block):
    """The text of a file with the block put where the page says."""
    if where == "among the imports":
        return text.replace(IMPORTS, f"{IMPORTS}\n{block}", 1)
    if (before := re.fullmatch(r'in SYNTAXES before "(.+)"', where)) is not None:
        return text.replace(f'    ("{before[1]}",', f'{block}    ("{before[1]}",', 1)
    assert where == "at the end of ROW_KINDS"
    return text.replace(")\nEVENT_KINDS = (", f"{block})\nEVENT_KINDS = (", 1)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("copy")
    for folder in ("evtx_analyzer", "rules"):
        shutil.copytree(CHECKOUT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    page = (CHECKOUT / "docs" / "add-a-log-kind.md").read_text(encoding="utf-8")
    for name, where, block in BLOCK.findall(page):
        file = root / name
        text = placed(file.read_text(encoding="utf-8"), where, block) if where else block
        assert not where or text != file.read_text(encoding="utf-8"), f"{name}: {where}"
        file.write_text(text, encoding="utf-8", newline="\n")
    return root


def run(copy, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(copy), "EVTX_ANALYZER_NO_CACHE": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "evtx_analyzer", *arguments]
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_the_rules_hold_the_signal(copy):
    checked = run(copy, "rules", "check", "--rules", "rules")
    assert "no mistake found" in checked.stdout, checked.stdout + checked.stderr


def test_the_log_is_in_coverage_and_its_refusal_in_the_report(copy):
    made = run(copy, "analyze", "mail.log", "--rules", "rules", "--format", "json")
    report = json.loads(made.stdout)
    assert [(item["kind"], item["records"]) for item in report["coverage"]] == [("postfix", 2)]
    (incident,) = report["incidents"]
    (refusal,) = incident["rejections"]
    assert refusal["kind"] == "postfix"
    assert refusal["time"] == "2026-03-10T09:14:02.530000Z"
    assert (refusal["host"], refusal["rcpt_to"]) == ("MX1", "kim@fabrikam.example")
    assert refusal["reply"].startswith("550 5.7.64 TenantAttribution; Relay Access Denied [DB5")
    assert report["verdict"]["cause"] == "unexplained"


def test_events_gives_its_rows(copy):
    made = run(copy, "events", "mail.log", "--kind", "postfix")
    rows = list(csv.DictReader(io.StringIO(made.stdout)))
    assert [(row["recipient"], row["status"][:9]) for row in rows] == [
        ("kim@fabrikam.example", "550 5.7.6"),
        ("lee@contoso.example", "250 2.6.0"),
    ]


def test_a_line_that_is_cut_is_a_loss(copy):
    whole = (copy / "mail.log").read_text(encoding="utf-8")
    (copy / "cut.log").write_text(whole + "2026-03-10T09:15:40.0", encoding="utf-8")
    report = json.loads(run(copy, "analyze", "cut.log", "--rules", "rules", "--format", "json").stdout)
    assert [item["reason"] for item in report["losses"]] == ["a line is cut or damaged"]


def test_what_the_page_adds_is_clean(copy):
    pytest.importorskip("ruff")
    shutil.copy(CHECKOUT / "pyproject.toml", copy)
    files = ["evtx_analyzer/read/postfix_log.py", "evtx_analyzer/normalize/postfix.py"]
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", *files]
    checked = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
