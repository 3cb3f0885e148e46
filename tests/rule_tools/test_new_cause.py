"""``rules new``, and the worked example of docs/rules.md from nothing to a passing test."""

from __future__ import annotations

import re

import pytest
import yaml
from places import CHECKOUT, SAMPLES

import evtx_analyzer as ea
from evtx_analyzer.cli.app import app
from evtx_analyzer.errors import OptionError
from evtx_analyzer.rule_tools.cases import run_cases
from evtx_analyzer.rule_tools.new_cause import new_cause
from evtx_analyzer.rules import load
from evtx_analyzer.rules.files import rule_folders

SIGNAL = "signals/backup_line_used.yml"


def problems(folder):
    outcomes = run_cases(load(*rule_folders(folder)), [folder])
    return [(outcome.file, outcome.case) for outcome in outcomes if outcome.problem and "backup" in outcome.file]


def test_new_files_are_without_mistake_and_fail_their_test_until_the_signal_is_written(tmp_path):
    new_cause("backup-line-used", tmp_path)
    assert problems(tmp_path) == [(f"cases/{SIGNAL}", "what must be recognized")]
    signal = tmp_path / SIGNAL
    written = re.sub(r"SeenAddress: .*", "SeenAddress: 203.0.113.77", signal.read_text(encoding="utf-8"))
    signal.write_text(written, encoding="utf-8")
    assert problems(tmp_path) == []


def test_every_sentence_of_the_new_cause_has_its_german_pair(tmp_path):
    new_cause("backup-line-used", tmp_path)
    cause = yaml.safe_load((tmp_path / "causes" / "backup-line-used.yml").read_text(encoding="utf-8"))
    pairs = yaml.safe_load((tmp_path / "translations" / "de.yml").read_text(encoding="utf-8"))["sentences"]
    said = [cause["title"], cause["why"].strip(), cause["observations"]["seen"]["supports"].strip()]
    said += [*cause["remedy"]["steps"], *cause["remedy"]["verify"]]
    assert [pair["en"] for pair in pairs] == said


def test_pairs_of_a_second_cause_stand_beside_those_that_are_there(tmp_path):
    german = tmp_path / "translations" / "de.yml"
    german.parent.mkdir()
    german.write_text("sentences:\n  - {en: A, de: B}\nphrases:\n  - {en: C, de: D}\n", encoding="utf-8")
    new_cause("backup-line-used", tmp_path)
    catalogue = yaml.safe_load(german.read_text(encoding="utf-8"))
    assert {"en": "A", "de": "B"} in catalogue["sentences"]
    assert len(catalogue["sentences"]) == 6
    assert catalogue["phrases"] == [{"en": "C", "de": "D"}]


@pytest.mark.parametrize("name", ["", "Backup", "a_b", "../x", "a--b", "-a", "1a", "a.yml"])
def test_a_name_that_no_cause_may_have_writes_nothing(name, tmp_path):
    with pytest.raises(OptionError, match="backup-line-used"):
        new_cause(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    new_cause("backup-line-used", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.yml")}
    (tmp_path / SIGNAL).unlink()
    with pytest.raises(OptionError, match="already"):
        new_cause("backup-line-used", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.yml")} == {
        path: text for path, text in before.items() if path != tmp_path / SIGNAL
    }


def test_the_worked_example_of_the_documentation(tmp_path):
    """Its command makes the files, its YAML fills them, and what it says of each step is what happens."""
    page = (CHECKOUT / "docs" / "rules.md").read_text(encoding="utf-8")
    section = page.partition("## Write a rule")[2].partition("\n## ")[0]
    new_cause(re.search(r"rules new ([\w-]+) --rules my-rules", section)[1], tmp_path)
    message = re.search(r"^    (cases/\S+?):(.+?): must be", section, re.MULTILINE)
    assert problems(tmp_path) == [(message[1], message[2])]
    files = re.findall(r"`my-rules/((?:cases|signals|causes)/\S+?)`", section)
    blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert len(files) == len(blocks) == 3
    for file, block in zip(files, blocks, strict=True):
        (tmp_path / file).write_text(block, encoding="utf-8")
    assert problems(tmp_path) == []
    report = ea.analyze(SAMPLES / "address-changed", rules=ea.Rules.load(tmp_path))
    shown = next(finding for finding in report.findings if finding.cause == "backup-line-used")
    assert shown.grade == "possible"
    assert "203.0.113.7" in shown.supports[0].text


def test_the_command_names_what_it_wrote(tmp_path):
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["rules", "new", "backup-line-used", "--rules", str(tmp_path)])
    assert done.exit_code == 0
    named = re.findall(r"^wrote (.+)$", done.output, re.MULTILINE)
    assert sorted(named) == sorted(path.as_posix() for path in tmp_path.rglob("*.yml"))
