"""The wheel holds everything that a user needs: installed alone, from outside the checkout, it analyzes the sample."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest
from places import CHECKOUT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools leaves a folder behind, and would ship from it what is no longer in the tree.
    copy = shutil.copytree(
        CHECKOUT, folder / "copy", ignore=shutil.ignore_patterns("build", ".*", "*.egg-info", "samples")
    )
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)]
    result = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    return next(folder.glob("*.whl"))


def test_wheel_ships_every_rule(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    rules = [path.relative_to(CHECKOUT / "rules").as_posix() for path in (CHECKOUT / "rules").rglob("*.yml")]
    assert rules
    assert [name for name in rules if f"evtx_analyzer/ruleset/{name}" not in names] == []
    assert "evtx_analyzer/py.typed" in names


def test_wheel_ships_every_module_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    package = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "evtx_analyzer").rglob("*.py")}
    assert names == package | {"evtx_analyzer/ruleset/__init__.py"}


def test_installed_wheel_analyzes_the_sample_from_elsewhere(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    install = [str(scripts / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    for start in ([str(scripts / "evtx-analyzer")], [str(scripts / "python"), "-m", "evtx_analyzer"]):
        command = [*start, "analyze", str(CHECKOUT / "samples" / "kb-3212877"), "--format", "json"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        assert result.returncode == 1, result.stderr.decode()
        verdict = json.loads(result.stdout)["verdict"]
        assert (verdict["cause"], verdict["grade"]) == ("missing-intermediate", "probable")
