"""The wheel holds everything that a user needs: installed alone, from outside the checkout, it analyzes the sample.

The source distribution holds everything that a packager needs: unpacked elsewhere, its own tests run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
from places import CHECKOUT

from evtx_analyzer.version import VERSION

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the source distribution, and with the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("built")
    # From a copy: setuptools leaves a folder behind, and would ship from it what is no longer in the tree.
    ignored = shutil.ignore_patterns("build", "dist", ".git", ".venv", ".*_cache", ".hypothesis", "*.egg-info")
    copy = shutil.copytree(CHECKOUT, folder / "copy", ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)]
    result = subprocess.run(command, capture_output=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


def test_version_is_said_in_one_place(built):
    names = {path.name for path in built.iterdir() if path.is_file()}
    assert names == {f"evtx_analyzer-{VERSION}.tar.gz", f"evtx_analyzer-{VERSION}-py3-none-any.whl"}


def test_the_changelog_has_a_part_for_this_version():
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(VERSION)}\]?", changelog, re.MULTILINE)


@pytest.mark.parametrize(
    "tests", ["tests/sigma", "tests/rules", "tests/test_library.py", "tests/report/test_snapshots.py"]
)
def test_tests_of_the_source_distribution_run_where_it_is_unpacked(unpacked, tests):
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-x", "-m", "not slow", tests]
    result = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert re.search(r"\d+ passed", result.stdout)


def test_source_distribution_holds_what_the_checkout_holds(unpacked):
    for folder in ("benchmarks", "docs", "evtx_analyzer", "packaging", "rules", "samples", "tests"):
        there = {path.relative_to(unpacked) for path in (unpacked / folder).rglob("*") if path.is_file()}
        here = {path.relative_to(CHECKOUT) for path in (CHECKOUT / folder).rglob("*") if path.is_file()}
        made = {path for path in here if "__pycache__" in path.parts or "build" in path.parts}
        assert here - made - there == set()


def test_wheel_ships_every_rule(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    rules = [path.relative_to(CHECKOUT / "rules").as_posix() for path in (CHECKOUT / "rules").rglob("*.yml")]
    assert rules
    assert [name for name in rules if f"evtx_analyzer/ruleset/{name}" not in names] == []


def test_wheel_ships_what_the_package_reads_beside_its_modules(wheel):
    """Templates, languages, scripts, the mark of typed code: every file in the folder of the package."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = [path for path in (CHECKOUT / "evtx_analyzer").rglob("*") if path.is_file()]
    data = {path.relative_to(CHECKOUT).as_posix() for path in package if path.suffix not in (".py", ".pyc")}
    assert {"evtx_analyzer/py.typed", "evtx_analyzer/report/languages/de.yml"} <= data
    assert data - names == set()


def test_wheel_ships_the_program_and_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"evtx_analyzer", f"evtx_analyzer-{VERSION}.dist-info"}


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
