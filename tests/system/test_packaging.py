"""The wheel holds everything that a user needs: installed alone, from outside the checkout, it analyzes the sample."""

from __future__ import annotations

import json
import re
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


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory):
    """The scripts of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    install = [str(scripts / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    return scripts


def test_installed_wheel_analyzes_the_sample_from_elsewhere(scripts, tmp_path):
    for start in ([str(scripts / "evtx-analyzer")], [str(scripts / "python"), "-m", "evtx_analyzer"]):
        command = [*start, "analyze", str(CHECKOUT / "samples" / "kb-3212877"), "--format", "json"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        assert result.returncode == 1, result.stderr.decode()
        verdict = json.loads(result.stdout)["verdict"]
        assert (verdict["cause"], verdict["grade"]) == ("missing-intermediate", "probable")


def test_in_the_folder_of_the_readme_the_example_and_the_module_run(scripts, tmp_path):
    """There Python takes the package of the checkout, which has no folder ``ruleset``, before the installed one."""
    folder = tmp_path / "folder"
    shutil.copytree(CHECKOUT / "evtx_analyzer", folder / "evtx_analyzer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "rules", folder / "rules")
    shutil.copytree(CHECKOUT / "samples" / "kb-3212877", folder / "samples" / "kb-3212877")
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    (folder / "example.py").write_text(re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1], encoding="utf-8")
    for arguments, status in ((["example.py"], 0), (["-m", "evtx_analyzer", "analyze", "samples/kb-3212877"], 1)):
        command = [str(scripts / "python"), *arguments]
        result = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        assert result.returncode == status, result.stderr.decode()
        assert b"probable" in result.stdout
        assert b"does not send its intermediate certificates" in result.stdout
