"""Rule files: ours are right, and all mistakes of a set are told at once with file and key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evtx_analyzer.errors import RuleSetError
from evtx_analyzer.rule_cases import run_cases
from evtx_analyzer.rules import Rules, builtin_rules, load, rule_folders

RULES = Path(__file__).parent.parent / "rules"


@pytest.fixture
def copy(tmp_path):
    for part in ("signals", "links", "commands", "causes"):
        shutil.copytree(RULES / part, tmp_path / part)
    return tmp_path


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_our_rules_load_from_the_installed_package():
    rules = Rules.load()
    assert {"missing-intermediate", "untrusted-root", "unexplained"} <= {cause.id for cause in rules.causes}
    names = {item.name for item in builtin_rules().joinpath("causes").iterdir() if item.name.endswith(".yml")}
    assert names == {f"{cause.id}.yml" for cause in rules.causes}


@pytest.mark.parametrize(
    "file", sorted(RULES.glob("signals/*.yml")) + sorted(RULES.glob("links/*.yml")), ids=lambda p: p.stem
)
def test_sigma_rules_are_named_as_their_file(file):
    assert f"\nname: {file.stem}\n" in file.read_text(encoding="utf-8")


def test_ten_planted_mistakes_are_reported_in_one_run(copy):
    edit(copy / "signals/chain_built.yml", "condition: chain", "condition: chian")
    edit(copy / "signals/chain_incomplete.yml", "service: capi2", "service: dns")
    (copy / "signals/broken.yml").write_text("title: [unclosed\n")
    (copy / "signals/list.yml").write_text("- a\n")
    edit(copy / "links/any_chain_failed_at_handshake.yml", "type: temporal", "type: temporary")
    edit(copy / "links/own_name_failed_at_handshake.yml", "basis: subject", "basis: guess")
    edit(copy / "links/own_name_failed_at_handshake.yml", "before: 10", "before: -10")
    edit(copy / "causes/untrusted-root.yml", "id: untrusted-root", "id: other")
    edit(copy / "causes/missing-intermediate.yml", "$process got", "$proces got")
    edit(copy / "causes/unexplained.yml", "no-source: capi2", "no-source: nonsense")
    with pytest.raises(RuleSetError) as caught:
        load(copy)
    told = {(item.file, item.key) for item in caught.value.mistakes}
    assert told >= {
        ("signals/chain_built.yml", "detection"),
        ("signals/chain_incomplete.yml", "logsource"),
        ("signals/broken.yml", ""),
        ("signals/list.yml", ""),
        ("links/any_chain_failed_at_handshake.yml", "correlation"),
        ("links/own_name_failed_at_handshake.yml", "evtx-analyzer.basis"),
        ("links/own_name_failed_at_handshake.yml", "evtx-analyzer.before"),
        ("causes/untrusted-root.yml", "id"),
        ("causes/missing-intermediate.yml", "observations.failed-at-handshake.supports"),
        ("causes/unexplained.yml", "observations.no-capi2.no-source"),
    }
    assert all(str(item).startswith(f"{item.file}:{item.key}: ") for item in caught.value.mistakes)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("rank: 10", "rank: high", "rank"),
        ("title: The server", "titel: The server", "titel"),
        (
            "    link: sent_certificate_failed_at_handshake",
            "    link: nothing",
            "observations.failed-at-handshake.link",
        ),
        ("  probable:", "  certain:", "grades.certain"),
        ("[failed-at-handshake, chain-incomplete]", "[failed-at-handshake, chain-incomplet]", "grades.probable"),
        ("[failed-at-handshake, chain-incomplete]", "failed-at-handshake", "grades.probable"),
        ("when: [no-capi2]", "when: [no-capi3]", "missing[4]"),
        ("{ $$_.ToXml() }", "{ $_.ToXml() } $", "remedy.verify[5].lines[0]"),
    ],
)
def test_mistake_in_a_cause(copy, old, new, key):
    edit(copy / "causes/missing-intermediate.yml", old, new)
    with pytest.raises(RuleSetError) as caught:
        load(copy)
    assert key in {item.key for item in caught.value.mistakes}


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(RuleSetError, match="no rule file found"):
        load(tmp_path)


def test_every_case_of_every_rule_holds():
    outcomes = run_cases(Rules.load(), rule_folders(None))
    assert [item for item in outcomes if item.problem] == []
    assert len(outcomes) > 250


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind: positive", "kind: negative", "must not be recognized and is"),
        ("kind: negative", "kind: positive", "must be recognized and is not"),
        ("kind: near-miss", "kind: miss", "kind must be one of"),
    ],
)
def test_a_wrong_case_is_noticed(copy, old, new, problem):
    shutil.copytree(RULES / "cases", copy / "cases")
    edit(copy / "cases/signals/chain_incomplete.yml", old, new)
    assert problem in " ".join(item.problem for item in run_cases(load(copy), (copy,)))
