"""Outputs of analyze and render: one that fails costs only itself, stdout has what was asked for, in its encoding."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from places import SAMPLES
from reports import report

from evtx_analyzer.cli import conversation, outputs, pager, streams
from evtx_analyzer.cli.options import Format, output_options
from evtx_analyzer.errors import OptionError, ReportError

CASE = SAMPLES / "kb-3212877"
FIRST = "probable: The server does not send its intermediate certificates (KB 3212877)"


def deliver(*files, form=Format.terminal, full=False):
    """Whether the KB's case could be written to these files and stdout."""
    to = output_options(output=[Path(file) for file in files], format_=form, full=full)
    return outputs.deliver(report("kb-3212877"), to, outputs.checked(to))


@pytest.fixture(autouse=True)
def said(monkeypatch):
    """What goes to stderr by the log."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    conversation.set_up(quiet=False, verbose=False, log_file=None)
    yield stream
    conversation.LOG.handlers = []


def test_an_output_that_cannot_be_written_costs_only_itself(tmp_path, capsys, said):
    (tmp_path / "folder.html").mkdir()
    files = [tmp_path / name for name in ("a.json", "folder.html", "b.md")]
    assert not deliver(*files)
    assert json.loads(files[0].read_bytes())["verdict"]["cause"] == "missing-intermediate"
    assert files[2].read_text("utf-8").startswith(f"## {FIRST}")
    assert capsys.readouterr().out.startswith(FIRST)
    lines = said.getvalue().splitlines()
    assert f"wrote {files[0]}" in lines
    assert f"wrote {files[2]}" in lines
    assert len(lines) == 3
    assert "folder.html: cannot be written" in said.getvalue()


def test_the_exit_status_of_a_failed_output(tmp_path, run):
    (tmp_path / "folder.html").mkdir()
    result = run("analyze", CASE, "-o", tmp_path / "folder.html", "--exit-zero")
    assert result.returncode == 5
    assert result.stdout.decode().startswith(FIRST)
    help_text = " ".join(run("analyze", "--help").stdout.decode().split())
    for part in ("5 an output could not be written", "130 interrupted", "with --since or --until: none in that time"):
        assert part in help_text


def test_with_files_stdout_has_the_first_block_and_with_full_everything(tmp_path, capsys):
    texts = []
    for options in ({}, {"full": True}):
        assert deliver(tmp_path / "r.html", **options)
        texts.append(capsys.readouterr().out)
    for files in ((), ("-",), ("-", tmp_path / "r.html")):
        assert deliver(*files)
        texts.append(capsys.readouterr().out)
    short, *whole = texts
    assert "Evidence for" not in short
    assert "Do this first" in short
    assert len(set(whole)) == 1
    assert whole[0].startswith(short.rstrip("\n"))
    assert "Losses: what could not be read" in whole[0]


def test_standard_output_keeps_its_format_beside_files(tmp_path, capsys):
    assert deliver(tmp_path / "r.html", form=Format.json)
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_a_table_that_is_open_on_windows_is_written_under_another_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    path = tmp_path / "report.links.csv"
    path.write_text("open in Excel")
    (tmp_path / "report.1.links.csv").write_text("open too")
    tried = []

    def write(target):
        tried.append(target.name)
        if target == path:
            raise ReportError("cannot be written") from PermissionError(13, "in use")
        target.write_text("new")

    said_of = outputs._write_file(path, write)
    assert tried == ["report.links.csv", "report.2.links.csv"]
    assert (tmp_path / "report.2.links.csv").read_text() == "new"
    assert path.read_text() == "open in Excel"
    assert said_of == (logging.WARNING, f"{path} is open in another program; wrote {tmp_path / 'report.2.links.csv'}")


@pytest.mark.parametrize("cause", [PermissionError(13, "denied"), OSError(28, "full")])
def test_elsewhere_and_for_other_reasons_no_other_name_is_taken(tmp_path, cause, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux" if isinstance(cause, PermissionError) else "win32")
    (tmp_path / "r.csv").write_text("x")

    def write(_):
        raise ReportError("cannot be written") from cause

    with pytest.raises(ReportError):
        outputs._write_file(tmp_path / "r.csv", write)
    assert [item.name for item in tmp_path.iterdir()] == ["r.csv"]


def test_an_input_alone_means_analyze_and_a_mistyped_command_does_not(tmp_path, run):
    assert run(CASE).stdout == run("analyze", CASE).stdout
    bare = run("-", "-q", "--format", "json", stdin=(SAMPLES / "no-capi2/SmtpSend/SEND2016120103-1.LOG").read_bytes())
    assert json.loads(bare.stdout)["sources"][0]["path"] == "stdin"
    wrong = run("analise", cwd=tmp_path)
    assert wrong.returncode == 2
    assert b"No such command" in wrong.stderr


def test_names_of_formats_are_the_same_everywhere():
    assert [Format(name).plain for name in ("md", "markdown")] == [Format.markdown] * 2
    assert [Format(name).plain for name in ("text", "txt", "terminal")] == [Format.terminal] * 3


def test_a_saved_report_is_rendered_from_standard_input(tmp_path, run):
    saved = run("analyze", CASE, "--format", "json").stdout
    assert run("render", "-", "--format", "json", stdin=saved).stdout == saved
    bad = run("render", "-", stdin=b"{}")
    assert bad.returncode == 2
    assert b"standard input: is no report" in bad.stderr


@pytest.mark.parametrize("arguments", [("-q",), ("--quiet",)])
def test_quiet_says_nothing_but_errors(arguments, tmp_path, run):
    result = run("analyze", CASE, "-o", tmp_path / "r.json", *arguments)
    assert result.stderr == b""
    (tmp_path / "x.md").mkdir()
    assert b"x.md: cannot be written" in run("analyze", CASE, "-o", tmp_path / "x.md", *arguments).stderr


def test_verbose_and_the_log_file_tell_what_is_done(tmp_path, run):
    log = tmp_path / "log.txt"
    result = run("-v", "analyze", CASE, "-o", tmp_path / "r.json", "--log-file", log)
    for text in ("reading SMTPSVC1/ex161201.log", f"wrote {tmp_path / 'r.json'}"):
        assert text in result.stderr.decode()
        assert text in log.read_text("utf-8")
    assert "DEBUG evtx-analyzer " in log.read_text("utf-8")
    assert b"contradict each other" in run("-q", "analyze", CASE, "-v").stderr
    assert run("analyze", CASE, "--log-file", tmp_path / "no" / "log").returncode == 2


def test_names_cannot_act_on_the_terminal(said):
    conversation.LOG.info("wrote \x1b[31mred\nsecond")
    assert said.getvalue() == "wrote \ufffd[31mred\ufffdsecond\n"


def test_a_traceback_is_for_those_who_ask(tmp_path, said):
    log = tmp_path / "log"
    conversation.set_up(quiet=False, verbose=False, log_file=log)
    conversation.LOG.critical("unforeseen error", exc_info=ValueError("x"))
    assert said.getvalue() == ""
    assert "ValueError: x" in log.read_text("utf-8")
    for handler in conversation.LOG.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
    with pytest.raises(OptionError):
        conversation.set_up(quiet=True, verbose=True, log_file=None)


# ---------------------------------------------------------------------------------------------------- encodings


class Pipe(io.TextIOWrapper):
    """A stdout that is no terminal."""

    def __init__(self, encoding):
        self.written = io.BytesIO()
        super().__init__(self.written, encoding=encoding)

    def bytes(self):
        self.flush()
        return self.written.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "─ – ü „x“".encode()),
        ("cp437", '─ - ü "x"'.encode("cp437")),
        ("cp1252", "- – ü „x“".encode("cp1252")),
        ("ascii", b'- - ? "x"'),
    ],
)
def test_piped_text_has_the_encoding_that_the_user_set(encoding, expected, monkeypatch):
    pipe = Pipe(encoding)
    monkeypatch.setattr(sys, "stdout", pipe)
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    streams.write_text("─ – ü „x“")
    assert pipe.bytes() == expected


def test_piped_text_without_a_wish_and_documents_always_are_utf_8(monkeypatch):
    for write, environment in ((streams.write_text, None), (streams.write_document, "ascii")):
        pipe = Pipe("ascii")
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.delenv("PYTHONIOENCODING", raising=False)
        if environment:
            monkeypatch.setenv("PYTHONIOENCODING", environment)
        write("─ü\n")
        assert pipe.bytes() == "─ü\n".encode()


@pytest.mark.parametrize(
    ("utf8_mode", "expected"),
    [(0, {850: "cp850", 65001: "utf-8", 0: "utf-8", 99999: "utf-8"}), (1, dict.fromkeys((850, 65001, 0), "utf-8"))],
)
def test_windows_pipes_get_the_code_page_of_the_console(monkeypatch, utf8_mode, expected):
    import ctypes

    class Kernel:
        page = 850

        def GetConsoleOutputCP(self):  # noqa: N802  its name in Windows
            return self.page

    kernel = Kernel()
    monkeypatch.setattr(ctypes, "windll", type("Windll", (), {"kernel32": kernel}), raising=False)
    # The locale C turns this mode on here, and PYTHONUTF8 does everywhere.
    flags = SimpleNamespace(utf8_mode=utf8_mode)
    monkeypatch.setattr(streams, "sys", SimpleNamespace(platform="win32", flags=flags))
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    found = {}
    for page in expected:
        kernel.page = page
        found[page] = streams._encoding()
    assert found == expected


# --------------------------------------------------------------------------------------------------------- pager


def test_the_pager_of_the_user_gets_the_text(tmp_path, monkeypatch):
    monkeypatch.setenv("PAGER", f"{sys.executable} {tmp_path / 'pager.py'}")
    (tmp_path / "pager.py").write_text(
        f"import sys, pathlib\npathlib.Path({str(tmp_path / 'got')!r}).write_bytes(sys.stdin.buffer.read())\n"
    )
    assert pager.page("long – text\n")
    assert (tmp_path / "got").read_text("utf-8") == "long – text\n"


@pytest.mark.parametrize("value", ["", "   ", "no-such-pager-at-all"])
def test_without_a_pager_the_text_is_printed(value, monkeypatch):
    monkeypatch.setenv("PAGER", value)
    assert not pager.page("x")


@pytest.mark.parametrize(("rows", "files", "paged"), [(30, (), True), (500, (), False), (30, ("r.html",), False)])
def test_only_what_is_longer_than_a_terminal_is_paged(rows, files, paged, monkeypatch, tmp_path, capsys):
    import shutil

    shown = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((100, rows)))
    monkeypatch.setattr(pager, "page", lambda text: shown.append(text) or True)
    assert deliver(*(tmp_path / name for name in files))
    assert bool(shown) is paged
    assert bool(capsys.readouterr().out) is not paged


def test_nothing_is_paged_into_a_pipe(monkeypatch, capsys):
    monkeypatch.setattr(pager, "page", lambda _: pytest.fail("a pipe has no pager"))
    assert deliver()
    assert capsys.readouterr().out.startswith(FIRST)
