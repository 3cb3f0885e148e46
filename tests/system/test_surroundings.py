"""The same report whatever surrounds the program: Windows as far as it can be emulated, locales, zones, flags."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import CHECKOUT

from evtx_analyzer import cli
from evtx_analyzer.cli import streams
from evtx_analyzer.discover import natural_key

SAMPLE = CHECKOUT / "samples" / "kb-3212877"


def command(*arguments, flags=(), **environment):
    words = [sys.executable, *flags, "-m", "evtx_analyzer", *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, timeout=300, check=False, env={**os.environ, **environment}, cwd=CHECKOUT
    )


@pytest.fixture(scope="module")
def usual():
    return command("analyze", SAMPLE, "--format", "json").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "cp437"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TZ": "Asia/Kathmandu"},
        {"TZ": "America/St_Johns"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONHASHSEED": "7"},
        {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONDEVMODE": "1"},
        {"HOME": "/nowhere", "XDG_CACHE_HOME": "/nowhere/cache"},
        {"XDG_CACHE_HOME": os.devnull},
        {"TMPDIR": "/nowhere"},
        {"COLUMNS": "1"},
        {"PATH": ""},
    ],
    ids=str,
)
def test_the_report_does_not_depend_on_the_environment(usual, environment):
    result = command("analyze", SAMPLE, "--format", "json", **environment)
    assert result.returncode == 1
    assert result.stdout == usual


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_text_for_people_is_written_whatever_stdout_takes(encoding, lang):
    result = command("analyze", SAMPLE, "--lang", lang, PYTHONIOENCODING=encoding)
    assert result.returncode == 1
    assert b"KB 3212877" in result.stdout
    assert result.stderr == b""


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_a_console_of_another_encoding_shows_what_it_can(monkeypatch, encoding):
    import io

    class Console(io.TextIOWrapper):
        def isatty(self):
            return True

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Console(raw, encoding=encoding))
    streams.write_text("Prüfung \u2192 \u4e2d\u6587 \ud800\n")
    assert raw.getvalue().decode(encoding).rstrip().startswith("Pr")


@pytest.mark.parametrize("name", ["CON", "NUL.LOG", "com1.evtx", "a:b.log", "SEND.LOG ", "a?.log", "x" * 255])
def test_names_that_windows_reserves_are_names_like_others(tmp_path, monkeypatch, capsys, name):
    log = next(SAMPLE.rglob("SEND*.LOG"))
    try:
        (tmp_path / name).write_bytes(log.read_bytes())
    except OSError:
        pytest.skip("this system takes no such name")
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", "analyze", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert natural_key(name)


_WATCH = """
import os, sys

def watch(event, arguments):
    asked = event in ("socket.getaddrinfo", "socket.gethostbyname")
    if asked or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        with open(os.environ["NETWORK_SEEN"], "a") as seen:
            seen.write(f"{event} {arguments}\\n")

sys.addaudithook(watch)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", SAMPLE, "-o", "r.json", "-o", "r.html"),
        ("batch", SAMPLE.parent / "fixed", SAMPLE, "-o", "out", "--jobs", "2"),
        ("events", SAMPLE),
        ("render", SAMPLE.parent / "fixed" / "before.json"),
        ("verify", SAMPLE.parent / "fixed" / "before.json", SAMPLE.parent / "fixed" / "after"),
        ("rules", "test"),
    ],
    ids=lambda words: words[0],
)
def test_no_process_of_ours_asks_for_a_network(tmp_path, arguments):
    """Also the workers of a batch, which inherit what Python runs first."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(_WATCH)
    seen = tmp_path / "seen"
    paths = os.pathsep.join([str(tmp_path / "first"), str(CHECKOUT)])
    result = subprocess.run(
        [sys.executable, "-m", "evtx_analyzer", *map(str, arguments)],
        capture_output=True, timeout=300, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "NETWORK_SEEN": str(seen)},
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stderr
    assert not seen.exists() or seen.read_text() == ""


@pytest.mark.slow
def test_the_watch_sees_a_connection(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(_WATCH)
    code = "import socket; s = socket.socket(); s.settimeout(0.1); s.connect_ex(('127.0.0.1', 9))"
    seen = tmp_path / "seen"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NETWORK_SEEN": str(seen)}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    assert "socket.connect" in seen.read_text()


@pytest.mark.parametrize("label", ["con.2016", "NUL", "aux.a.b", "com1.zip", "LPT9.x", "prn-x", "console", "com", "c:"])
def test_no_report_has_a_name_that_windows_keeps_for_a_device(label):
    """Windows takes CON, NUL and others for devices also with anything behind a dot (Naming Files, Paths)."""
    from evtx_analyzer.batch.names import report_names

    (name,) = report_names([label])
    kept = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
    assert f"{name}.json".partition(".")[0].casefold() not in kept
    assert not set(name) & set('<>:"/\\|?*')


def test_no_test_reaches_a_network():
    import socket

    with pytest.raises(AssertionError, match="without a server"):
        socket.create_connection(("127.0.0.1", 9))
    with socket.socket() as connection, pytest.raises(AssertionError, match="without a server"):
        connection.connect(("127.0.0.1", 9))
