"""Objects in a folder that are no readable files: each costs itself, and the words say what was being done."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import hostile
import pytest

import evtx_analyzer as ea
from evtx_analyzer.batch.bundles import bundles
from evtx_analyzer.discover import discover, natural_key
from evtx_analyzer.errors import InputError


@pytest.fixture
def case(tmp_path):
    for name, content in hostile.good_case().items():
        (tmp_path / "case" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "case" / name).write_bytes(content)
    return tmp_path / "case"


def losses(report, part):
    return [loss for loss in report.losses if part in loss.origin.source]


def loop(folder, name="loop"):
    (folder / f"{name}-a").symlink_to(f"{name}-b")
    (folder / f"{name}-b").symlink_to(f"{name}-a")
    (folder / f"{name}-self").symlink_to(f"{name}-self")


def deep(folder):
    """A folder whose path is longer than the system's calls take (PATH_MAX, 4,096 on Linux)."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    handle = os.open("SEND.LOG", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(handle, hostile.send_log())
    os.close(handle)
    os.close(here)


def test_a_link_that_leads_in_a_circle_is_a_loss(case):
    loop(case)
    report = ea.analyze(case)
    assert {loss.origin.source for loss in losses(report, "loop")} == {"loop-a", "loop-b", "loop-self"}
    assert report.verdict.grade == "probable"


def test_a_circle_given_as_the_input_is_said_to_be_one(case):
    loop(case)
    with pytest.raises(InputError, match="cannot be opened"):
        ea.analyze(case / "loop-a")


def test_a_circle_among_bundles_is_one_bundle(case):
    loop(case.parent)
    found = {bundle.name: bundle.inputs for bundle in bundles(case.parent)}
    assert "case" in found
    assert sum(len(inputs) for inputs in found.values()) == 4


@pytest.mark.skipif(os.name == "nt", reason="Windows has other limits")
def test_a_path_that_is_too_long_is_a_loss(case):
    deep(case)
    report = ea.analyze(case)
    assert losses(report, "ddd")
    assert report.verdict.grade == "probable"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP])
def test_an_input_that_cannot_be_reached_is_said_to_be_one(case, monkeypatch, number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number), "/secret")

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(InputError, match="the input cannot be opened"):
        discover([case])


class _Full:
    """A temporary file on a disk that is full."""

    def __init__(self, **_):
        pass

    def seek(self, place):
        return place

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        pass


def test_no_room_for_temporary_files_costs_the_archive_and_says_so(case, monkeypatch):
    import io
    import zipfile

    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("inner.zip", hostile.zipped("SEND9.LOG"))
    (case / "outer.zip").write_bytes(outer.getvalue())
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", _Full)
    report = ea.analyze(case)
    (loss,) = losses(report, "outer.zip")
    assert "no temporary file can be written" in loss.reason
    assert "TMPDIR" in loss.reason
    assert report.verdict.grade == "probable"


def test_no_room_for_the_members_of_a_7z_says_so(case, monkeypatch):
    py7zr = pytest.importorskip("py7zr")
    from evtx_analyzer.discover.archive import sevenzip

    with py7zr.SevenZipFile(case / "logs.7z", "w") as archive:
        archive.writestr(hostile.send_log(), "SEND9.LOG")
    monkeypatch.setattr(sevenzip, "SpooledTemporaryFile", _Full)
    assert any("no temporary file can be written" in loss.reason for loss in ea.analyze(case).losses)


@pytest.mark.parametrize("names", [["1²2.log", "12.log"], ["9" * 5_000, "10"], ["²", "2"], ["a٣", "a4"]])
def test_every_name_can_be_sorted(names):
    assert sorted(names, key=natural_key)


def test_digits_are_sorted_as_numbers():
    names = ["S10", "S9", "S010", "S2", "s1", "S0", "S"]
    assert sorted(names, key=natural_key) == ["S", "S0", "s1", "S2", "S9", "S10", "S010"]
