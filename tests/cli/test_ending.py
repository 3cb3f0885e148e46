"""How the program ends when nobody foresaw it: its own status, one line that says where, and never 1 for that."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys

import pytest
from places import CHECKOUT

from evtx_analyzer import cli, pipeline
from evtx_analyzer.cli import ending
from evtx_analyzer.errors import InputError

SAMPLE = CHECKOUT / "samples" / "kb-3212877"
POSIX = pytest.mark.skipif(os.name == "nt", reason="descriptors of POSIX")


class Panic(BaseException):
    """As pyo3 raises it for a panic in Rust: no Exception."""


def run(monkeypatch, error, *arguments):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr(pipeline, "analyze_case", failing)
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", *map(str, arguments or ("analyze", SAMPLE))])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize(
    "error", [ValueError("x"), RecursionError(), TypeError("a\nb"), Panic("boom"), AssertionError(), KeyError("k")]
)
def test_an_unforeseen_error_has_its_own_status_and_one_line(monkeypatch, capsys, error):
    assert run(monkeypatch, error) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("evtx-analyzer: unforeseen error in the command analyze, at ")
    assert type(error).__name__ in line
    assert "please report" in line
    assert "Traceback" not in line


def test_the_line_names_the_place_in_this_package(monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "discover", None)
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", "analyze", str(SAMPLE)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 4
    assert "at pipeline.py:" in capsys.readouterr().err


def test_the_traceback_is_in_the_log_file_and_not_on_stderr(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, ValueError("odd"), "analyze", SAMPLE, "--log-file", tmp_path / "log.txt") == 4
    assert logging.getLogger("evtx_analyzer").handlers == []
    text = (tmp_path / "log.txt").read_text("utf-8")
    assert "Traceback" in text
    assert "odd" in text
    assert "Traceback" not in capsys.readouterr().err


def test_control_characters_of_an_error_do_not_reach_the_terminal(monkeypatch, capsys):
    assert run(monkeypatch, ValueError("\x1b[31m\u202eevil")) == 4
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_of_files_do_not_reach_the_terminal_whatever_words_they_hold(monkeypatch, capsys, tmp_path):
    (tmp_path / "a\nTraceback\x1b[31m.log").write_text("text")
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", "analyze", str(tmp_path), "-v"])
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().err
    assert "reading a\ufffdTraceback\ufffd[31m.log" in text
    assert "\x1b" not in text


def test_control_characters_in_a_traceback_do_not_reach_the_log_file(monkeypatch, tmp_path):
    assert run(monkeypatch, ValueError("\x1b[31m"), "analyze", SAMPLE, "--log-file", tmp_path / "log.txt") == 4
    assert logging.getLogger("evtx_analyzer").handlers == []
    assert "\x1b" not in (tmp_path / "log.txt").read_text("utf-8")


@POSIX
def test_a_link_that_leads_in_a_circle_is_an_input_that_cannot_be_read(monkeypatch, capsys, tmp_path):
    """``Path.resolve`` raises for it in Python 3.11 and 3.12."""
    cases, saved = tmp_path / "cases", tmp_path / "report.json"
    cases.mkdir()
    (cases / "one").symlink_to(cases / "two")
    (cases / "two").symlink_to(cases / "one")
    assert status_of(monkeypatch, "analyze", SAMPLE, "-o", saved) == 1
    assert status_of(monkeypatch, "verify", saved, cases / "one", "-o", tmp_path / "after.json") == 2
    assert status_of(monkeypatch, "batch", cases, "-o", tmp_path / "out") == 2
    assert "unforeseen" not in capsys.readouterr().err


def status_of(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_used_up_memory_is_said_in_words(monkeypatch, capsys):
    assert run(monkeypatch, MemoryError()) == 4
    assert "memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (InputError("x: no such file"), 2, "x: no such file"),
        (OSError(28, "No space left on device"), 5, "standard output: cannot be written"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_foreseen_errors_keep_their_status(monkeypatch, capsys, error, status, text):
    assert run(monkeypatch, error) == status
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("command", ["analyze", "batch", "events"])
def test_every_help_says_what_4_means(capsys, monkeypatch, command):
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", command, "--help"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "4 a mistake of the program" in " ".join(capsys.readouterr().out.split())


def test_the_documentation_lists_4():
    assert f"| {ending.INTERNAL_ERROR} |" in (CHECKOUT / "docs" / "usage.md").read_text("utf-8")


def shell(command, **options):
    words = command.replace("PROGRAM", f"{sys.executable} -m evtx_analyzer").replace("SAMPLE", str(SAMPLE))
    return subprocess.run(["sh", "-c", words], capture_output=True, timeout=300, check=False, **options)


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("PROGRAM analyze SAMPLE >&-", 5, b"standard output: cannot be written"),
        ("PROGRAM analyze SAMPLE --format json >&-", 5, b"standard output: cannot be written"),
        ("PROGRAM events SAMPLE >&-", 5, b"standard output: cannot be written"),
        ("PROGRAM schema >&-", 5, b"standard output: cannot be written"),
        ("PROGRAM analyze - <&-", 2, b"standard input is closed"),
        ("PROGRAM analyze SAMPLE > /dev/full", 5, b"standard output: cannot be written"),
        ("PROGRAM events SAMPLE > /dev/full", 5, b"standard output: cannot be written"),
        ("PROGRAM rules check > /dev/full", 5, b"standard output: cannot be written"),
        ("PROGRAM --help > /dev/full", 5, b"standard output: cannot be written"),
        ("PROGRAM analyze SAMPLE 2>&-", 1, b""),
        ("PROGRAM analyze SAMPLE > /dev/full 2> /dev/full", 5, b""),
        ("PROGRAM analyze no/such 2> /dev/full", 2, b""),
        ("PROGRAM analyze no/such >&- 2>&-", 2, b""),
        ("PROGRAM analyze SAMPLE | true", 0, b""),
    ],
)
def test_streams_that_are_closed_or_full(command, status, text):
    if "/dev/full" in command and not os.path.exists("/dev/full"):
        pytest.skip("no such device here")
    result = shell(command)
    assert result.returncode == status, result.stderr
    assert text in result.stderr
    assert b"Traceback" not in result.stderr


@POSIX
@pytest.mark.slow
def test_ctrl_c_while_modules_are_imported_is_no_traceback(tmp_path):
    """The signal comes while the command line is imported, wherever that takes it."""
    (tmp_path / "sitecustomize.py").write_text(
        # A script that was started with & ignores SIGINT, and hands that down.
        "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == os.environ['AT']: os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    for name in ("evtx_analyzer.cli", "typer", "evtx_analyzer.cli.rules", "evtx_analyzer.pipeline"):
        result = shell("exec PROGRAM analyze SAMPLE", env={**os.environ, "PYTHONPATH": str(tmp_path), "AT": name})
        assert result.returncode == 130, (name, result.stderr)
        assert b"Traceback" not in result.stderr


EARLY: list[tuple[list[object], str]] = [
    (["analyze", "nowhere"], "nowhere: no such file or folder"),
    (["analyze", SAMPLE, "--rules", "nowhere"], "no rule file found"),
    (["analyze", SAMPLE, "--window", "abc"], "--window abc: expected two numbers"),
    (["analyze", SAMPLE, "--jobs", "x"], "Invalid value for '--jobs'"),
    (["analyze", SAMPLE, "--no-such-option"], "No such option"),
    (["analyze", SAMPLE, "-o", "nowhere/x.html"], "the folder does not exist"),
    (["-q", "-v", "analyze", SAMPLE], "contradict each other"),
    (["render", SAMPLE / "expected.json"], "expected.json"),
    (["events", "nowhere"], "nowhere: no such file or folder"),
]


@pytest.mark.parametrize(
    ("arguments", "text"), EARLY, ids=[" ".join(map(str, words[:1] + words[2:])) for words, _ in EARLY]
)
def test_what_ends_a_run_early_stands_in_the_log_file_and_once_on_stderr(
    monkeypatch, capsys, tmp_path, arguments, text
):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log.txt"
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", *map(str, arguments), "--log-file", str(log)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert logging.getLogger("evtx_analyzer").handlers == []
    assert end.value.code == 2
    (line,) = (line for line in log.read_text("utf-8").splitlines() if " ERROR " in line)
    assert text in line
    assert capsys.readouterr().err.count(text) == 1


def test_a_log_file_that_cannot_be_written_to_any_more_ends_nothing(monkeypatch, capsys, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logging.StreamHandler, "flush", full)
    assert run(monkeypatch, InputError("x: no such file"), "analyze", SAMPLE, "--log-file", tmp_path / "log.txt") == 2
    monkeypatch.undo()
    assert logging.getLogger("evtx_analyzer").handlers == []
    assert "Logging error" not in capsys.readouterr().err
