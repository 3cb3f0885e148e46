"""Outputs are whole or not at all: full disks, refusals of Windows, kills; links, modes and devices are kept."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evtx_analyzer import whole_files
from evtx_analyzer.discover import files
from evtx_analyzer.errors import ReportError
from evtx_analyzer.whole_files import is_part, whole_file, write_whole


def parts(folder):
    return [path.name for path in folder.iterdir() if is_part(path.name)]


def fail(stream, number):
    stream.write(b"half of the n")
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_earlier_file_survives_a_full_disk(tmp_path, number):
    target = tmp_path / "report.html"
    target.write_bytes(b"the earlier one")
    with pytest.raises(ReportError, match=r"cannot be written .*as it was"), whole_file(target) as stream:
        fail(stream, number)
    assert target.read_bytes() == b"the earlier one"
    assert parts(tmp_path) == []


def test_a_disk_that_fills_up_when_it_is_flushed(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_bytes(b"the earlier one")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"the earlier one"


def test_a_file_system_without_flushing_is_no_error(tmp_path, monkeypatch):
    def unable(_):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unable)
    write_whole(tmp_path / "report.html", b"new")
    assert (tmp_path / "report.html").read_bytes() == b"new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_nothing_is_left_of_an_output_whose_making_failed(tmp_path, error):
    def interrupted(stream):
        stream.write(b"half")
        raise error

    with pytest.raises(error), whole_file(tmp_path / "report.html") as stream:
        interrupted(stream)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refusals", [1, 5])
def test_windows_refuses_to_replace_a_file_that_somebody_reads(tmp_path, monkeypatch, refusals):
    left, replace = [refusals], Path.replace

    def refusing(part, target):
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "Access is denied", str(part), None, str(target))
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", refusing)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    write_whole(tmp_path / "report.html", b"new")
    assert (tmp_path / "report.html").read_bytes() == b"new"


def test_a_file_that_stays_open_elsewhere_is_an_error_that_says_so(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_bytes(b"the earlier one")

    def refusing(part, target):
        raise PermissionError(errno.EACCES, "Access is denied", str(part), None, str(target))

    monkeypatch.setattr(Path, "replace", refusing)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(ReportError, match="Access is denied"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"the earlier one"
    assert parts(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_mode_of_a_file_stays(tmp_path):
    target = tmp_path / "report.html"
    target.write_bytes(b"the earlier one")
    target.chmod(0o640)
    write_whole(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_the_target_of_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "r.html").write_bytes(b"the earlier one")
    (tmp_path / "r.html").symlink_to("kept/r.html")
    write_whole(tmp_path / "r.html", b"new")
    assert (tmp_path / "r.html").is_symlink()
    assert (tmp_path / "kept" / "r.html").read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="devices of POSIX")
def test_a_device_is_written_to_and_not_replaced():
    write_whole("/dev/null", b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_name_as_long_as_a_name_can_be(tmp_path):
    name = "r" * 250 + ".html"
    write_whole(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"


def test_what_a_kill_left_is_no_input(tmp_path):
    (tmp_path / ".evtx-analyzer-0123abcd.part").write_bytes(b"half")
    (tmp_path / ".evtx-analyzer-0123abcd.part.log").write_bytes(b"whole")
    assert [source.path for source in files([tmp_path])] == [".evtx-analyzer-0123abcd.part.log"]


KILLED = """
import sys
from evtx_analyzer.whole_files import whole_file
with whole_file(sys.argv[1]) as stream:
    stream.write(b"n" * 1_000_000)
    stream.flush()
    print("half", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_an_earlier_file_survives_a_kill(tmp_path):
    target = tmp_path / "report.html"
    target.write_bytes(b"the earlier one")
    command = [sys.executable, "-c", KILLED, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        process.wait(60)
    assert target.read_bytes() == b"the earlier one"
    assert files([tmp_path])[0].path == "report.html"
    assert whole_files.is_part(next(path.name for path in tmp_path.iterdir() if path != target))
