"""What starting costs, without a clock: which libraries a process has imported once its work is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from places import CHECKOUT
from typer.main import get_command

from evtx_analyzer.cli import app
from evtx_analyzer.cli.command import plain
from evtx_analyzer.rules import Rules

SAMPLE = CHECKOUT / "samples" / "kb-3212877"
PROGRAM = """
import json, sys
from evtx_analyzer.cli import main
try:
    main()
except SystemExit as end:
    json.dump([end.code, sorted(sys.modules)], sys.stderr)
"""
# Each takes longer to import than a small case takes to analyze, or nearly so.
HEAVY = {"cryptography", "dask", "fsspec", "jinja2", "numpy", "pandas", "pyarrow", "py7zr", "pydantic", "pyparsing"}
HEAVY |= {"requests", "sigma", "yaml"}


def modules(*arguments, code):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, timeout=120, check=False)
    # Above it stands what the program says of the files that it wrote.
    ended, names = json.loads(result.stderr.splitlines()[-1])
    assert ended == code
    return set(names)


@pytest.fixture
def warm():
    Rules.load()


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_an_analysis_with_known_rules_imports_no_parser_of_rules_and_no_tables():
    assert modules("analyze", SAMPLE, code=1) & HEAVY == set()


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_an_analysis_with_files_as_outputs_imports_no_validator(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    outputs = (
        "-o",
        tmp_path / "old.json",
        "-o",
        tmp_path / "new.md",
        "--lang",
        "en",
        "--format",
        "json",
        "--host",
        "A",
    )
    assert modules("analyze", SAMPLE, *outputs, "--redact", code=1) & HEAVY == set()


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_logs_alone_import_no_decoder_of_events(tmp_path):
    for path in SAMPLE.rglob("*.LOG"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert modules("analyze", tmp_path, code=1) & (HEAVY | {"evtx", "Evtx", "lxml"}) == set()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["--version"]])
def test_help_imports_nothing_that_reads_or_writes(arguments):
    unwanted = HEAVY | {"email", "evtx", "Evtx", "lxml", "msgspec", "rich", "ssl", "evtx_analyzer.model"}
    assert modules(*arguments, code=0) & unwanted == set()


@pytest.mark.slow
def test_rules_are_parsed_again_where_the_cache_is_turned_off(monkeypatch):
    monkeypatch.setitem(os.environ, "EVTX_ANALYZER_NO_CACHE", "1")
    assert {"sigma", "yaml"} <= modules("analyze", SAMPLE, code=1)


PROGRAM_GROUP: Any = get_command(app)
COMMANDS = PROGRAM_GROUP.commands
PARAMETERS = [(name, item) for name, command in COMMANDS.items() for item in getattr(command, "params", ())]


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS, ids=lambda item: getattr(item, "name", item))
def test_values_are_converted_as_typer_does(command, parameter):
    """The short way gives the very value that typer gives, or leaves it to typer."""
    if not hasattr(parameter, "type_descriptor"):
        pytest.skip("this typer converts without validators")
    from typer._coercion import build_runtime_param

    context, annotation = typer.Context(COMMANDS[command]), parameter.type_descriptor.annotation
    validator = build_runtime_param(parameter.type_descriptor)
    for value in ("", "json", "names", "a b", "3", "-", "ü", "/", "no/such", "C:\\x", "en", __file__):
        given = [value, "x"] if parameter.multiple or parameter.nargs == -1 else value
        short = plain(given, annotation)
        if short is not None:
            full = validator.coerce(given, param=parameter, ctx=context)
            assert (short, type(short)) == (full, type(full))
