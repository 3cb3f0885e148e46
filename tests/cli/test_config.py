"""Options from evtx-analyzer.toml, and exit states that tell of some causes only."""

from __future__ import annotations

from typing import Any

import pytest

import evtx_analyzer as ea
from evtx_analyzer.cli.config import KEYS, NAME, with_configuration
from evtx_analyzer.cli.fail_on import exit_status, wanted


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVTX_ANALYZER_LANG", raising=False)

    def into(text, name=NAME):
        (tmp_path / name).write_text(text, encoding="utf-8")

    return into


def test_without_a_file_nothing_changes(write):
    assert with_configuration("analyze", ["case"]) == ["case"]


def test_values_become_options_before_those_of_the_command_line(write, capsys):
    write('tz = "Europe/Berlin"\nhost = ["EX01*=EX01", "EX02"]\nwindow = [10, 5.5]\nevery-row = true\n')
    assert with_configuration("analyze", ["case", "-o", "x.html"]) == [
        "--tz=Europe/Berlin",
        "--host=EX01*=EX01",
        "--host=EX02",
        "--window=10,5.5",
        "--every-row",
        "--from-config=evtx-analyzer.toml: tz, host, window, every-row",
        "case",
        "-o",
        "x.html",
    ]
    assert capsys.readouterr().err == "evtx-analyzer: options from evtx-analyzer.toml: tz, host, window, every-row\n"


def test_the_command_line_holds_before_the_file(write):
    write('tz = "Europe/Berlin"\nhost = ["EX01"]\n')
    arguments = with_configuration("analyze", ["case", "--host", "EX09", "--tz=UTC"])
    assert arguments == ["case", "--host", "EX09", "--tz=UTC"]


def test_tables_hold_for_their_command_only(write):
    write('lang = "en"\n[batch]\nlang = "de"\nformat = ["html", "csv"]\ntime-limit = 60\n[analyze]\njobs = 1\n')
    assert with_configuration("batch", ["in"])[:4] == ["--lang=de", "--format=html", "--format=csv", "--time-limit=60"]
    assert with_configuration("analyze", ["in"])[:2] == ["--lang=en", "--jobs=1"]


def test_a_file_of_another_name_and_none_at_all(write, tmp_path):
    write('tz = "UTC"\n')
    (tmp_path / "sub").mkdir()
    write('tz = "Europe/Paris"\nrules = "ours"\n', "sub/other.toml")
    expected = ["--tz=Europe/Paris", "--rules=sub/ours", "--from-config=other.toml: tz, rules"]
    assert with_configuration("analyze", ["--config", "sub/other.toml", "in"])[:3] == expected
    assert with_configuration("analyze", ["--config=sub/other.toml", "in"])[:3] == expected
    assert with_configuration("analyze", ["--no-config", "in"]) == ["--no-config", "in"]


def test_a_time_of_toml_is_a_time(write):
    write("since = 2016-12-01T03:00:00Z\nuntil = 2016-12-02\n")
    assert with_configuration("analyze", ["in"])[:2] == ["--since=2016-12-01T03:00:00+00:00", "--until=2016-12-02"]


def test_the_environment_holds_before_the_file(write, monkeypatch):
    write('lang = "de"\n')
    monkeypatch.setenv("EVTX_ANALYZER_LANG", "en")
    assert with_configuration("analyze", ["in"]) == ["in"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tz = "UTC"\n\nzone = "UTC"\n', r"evtx-analyzer\.toml:3: unknown key zone; expected one of host, tz"),
        ("[batch]\njobs = 2\nreume = true\n", r"toml:3: unknown key reume in \[batch\]; expected one of .*time-limit"),
        ("[analyze]\ntime-limit = 3\n", r"toml:2: unknown key time-limit in \[analyze\]"),
        ("[report]\nx = 1\n", r"toml:1: unknown key report; expected"),
        ('format = "html"\n', r"toml:1: unknown key format; expected"),
        ("batch = 3\n", r"toml:1: batch is a table: write \[batch\]"),
        ("tz = \n", r"toml: is not TOML: .*line 1"),
        ("every-row = 1\n", r"every-row = 1: expected true or false"),
        ("tz = true\n", r"tz = True: expected what --tz takes"),
        ("host = [[1]]\n", r"host = \[\[1\]\]: expected what --host takes"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write, text, message):
    write(text)
    with pytest.raises(ea.OptionError, match=message):
        with_configuration("batch", ["in"])


def test_a_named_file_that_is_missing_is_an_error(write):
    with pytest.raises(ea.OptionError, match=r"--config nowhere\.toml: cannot be read"):
        with_configuration("analyze", ["in", "--config", "nowhere.toml"])


@pytest.mark.parametrize("command", ["analyze", "batch"])
def test_every_key_is_an_option(command):
    import typer.main

    from evtx_analyzer.cli import app

    program: Any = typer.main.get_command(app)
    known = {name for option in program.commands[command].params for name in option.opts}
    assert {f"--{key}" for key in KEYS[command]} <= known


# ---------------------------------------------------------------------------------------------------------- fail-on

FOUND = ["missing-intermediate:probable", "untrusted-root:possible", "self-signed-certificate:contradicted"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("missing-intermediate", 1),
        ("missing-intermediate:possible", 1),
        ("missing-intermediate:probable", 1),
        ("missing-intermediate:confirmed", 0),
        ("untrusted-root", 1),
        ("untrusted-root:probable", 0),
        ("self-signed-certificate", 0),
        ("unexplained", 0),
        ("any", 1),
        ("any:probable", 1),
        ("any:confirmed", 0),
    ],
)
def test_the_exit_status_tells_of_the_causes_that_were_asked_for(text, status):
    pairs = wanted([text], None)
    assert exit_status(1, pairs, FOUND, lost=False) == status
    assert exit_status(1, pairs, FOUND, lost=True) == (status or 3)


def test_refusals_without_a_cause_can_be_asked_for():
    assert exit_status(1, wanted(["unexplained"], None), ["unexplained:no-evidence"], lost=False) == 1
    assert exit_status(1, wanted(["any"], None), ["unexplained:no-evidence"], lost=False) == 1
    assert exit_status(1, wanted(["any:probable"], None), ["unexplained:no-evidence"], lost=False) == 0


@pytest.mark.parametrize("code", [0, 2, 3])
def test_other_states_stay(code):
    assert exit_status(code, wanted(["any"], None), [], lost=True) == code
    assert exit_status(1, [], FOUND, lost=False) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("missing-chain", "expected one of any, "), ("any:certain", "expected one of confirmed, probable, possible")],
)
def test_a_wrong_name_is_said(text, message):
    with pytest.raises(ea.OptionError, match=f"--fail-on {text}: {message}"):
        wanted([text], None)
