"""Files of cases that cannot be read: each is named, and none of them stops the run over the others."""

from __future__ import annotations

import pytest

from evtx_analyzer.rule_tools.cases import run_cases
from evtx_analyzer.rules import Rules


@pytest.mark.parametrize(
    "text", ["- case: 2026-99-99", "- [", "\udcff", "[" * 5000], ids=["date", "syntax", "bytes", "depth"]
)
def test_a_file_of_cases_that_is_no_yaml_is_a_problem_of_its_rule(text, tmp_path):
    folder = tmp_path / "cases" / "signals"
    folder.mkdir(parents=True)
    (folder / "chain_built.yml").write_bytes(text.encode("utf-8", "surrogateescape"))
    problems = {outcome.file: outcome.problem for outcome in run_cases(Rules.load(), [tmp_path])}
    assert "not readable as YAML" in problems["cases/signals/chain_built.yml"]
    assert problems["cases/signals/chain_revoked.yml"] == "the rule has no cases"
