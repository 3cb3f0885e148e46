"""A hostile file beside a good case costs itself: the case stays as it is, and what could not be read is a loss."""

from __future__ import annotations

import hostile
import msgspec
import pytest

import evtx_analyzer as ea
from evtx_analyzer.report import SUFFIXES
from evtx_analyzer.report.document import to_json


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def case(tmp_path):
    write(tmp_path / "case", hostile.good_case())
    return tmp_path / "case"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The report of the case without anything hostile."""
    folder = tmp_path_factory.mktemp("alone") / "case"
    write(folder, hostile.good_case())
    return ea.analyze(folder)


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_hostile_file_costs_itself(case, name, alone):
    file, made, must_be_lost = hostile.FILES[name]
    (case / "other").mkdir()
    (case / "other" / file).write_bytes(made())
    report = ea.analyze(case)
    assert (report.verdict.cause, report.verdict.grade) == (alone.verdict.cause, alone.verdict.grade)
    assert any(loss.origin.source.startswith("other/") for loss in report.losses) or not must_be_lost
    assert msgspec.json.decode(to_json(report)) is not None


@pytest.mark.parametrize("name", [name for name in hostile.FILES if "surrogate" in name or "nul" in name])
def test_half_a_surrogate_pair_reaches_every_output(case, tmp_path, name):
    file, made, _ = hostile.FILES[name]
    (case / file).write_bytes(made())
    report = ea.analyze(case)
    for suffix in (suffix for suffix in SUFFIXES if "parquet" not in suffix):
        report.save(tmp_path / f"report{suffix}")
        assert (tmp_path / f"report{suffix}").read_text("utf-8")
