"""The documentation says what there is, and nothing else: commands, options, variables, causes, public names."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import evtx_analyzer as ea
from docs.generate import DOCS, pages
from evtx_analyzer.cli.app import EPILOG, app
from evtx_analyzer.cli.options import Format
from evtx_analyzer.normalize.kinds import REFUSAL_KINDS
from evtx_analyzer.report import SUFFIXES
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.parsing import LOG_SOURCES

ROOT = DOCS.parent
PACKAGE = Path(ea.__file__).parent
READMES = [ROOT / "README.md", ROOT / "README.de.md"]
VARIABLE = re.compile(r"EVTX_ANALYZER_[A-Z_]+")


@cache
def generated():
    return pages()


def written():
    """The pages that are written by hand."""
    return [*READMES, *(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).as_posix() not in generated())]


def text_of(paths):
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_generated_pages_are_what_the_program_says():
    """If this fails: ``python -m docs.generate``, and read the difference."""
    assert {name: (DOCS / name).read_text(encoding="utf-8") for name in generated()} == generated()


def test_there_is_a_page_for_every_cause_and_no_other():
    shown = {path.stem for path in (DOCS / "causes").glob("*.md")} - {"index"}
    assert shown == {cause.id for cause in Rules.load().causes}


@pytest.mark.parametrize("path", sorted([*READMES, *DOCS.rglob("*.md")]), ids=lambda path: path.name)
def test_links_inside_resolve(path):
    prose = re.sub(r"^(?: {4}|```)[^\n]*|`[^`\n]*`(?!\])", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose)
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (path.parent / target).exists()] == []


def test_variables_of_the_environment_are_those_that_are_read():
    code = set(VARIABLE.findall(text_of(PACKAGE.rglob("*.py"))))
    assert set(VARIABLE.findall(text_of(written()))) == code


def test_commands_in_texts_are_commands():
    known = {
        registered_command.name or registered_command.callback.__name__
        for registered_command in app.registered_commands
    } | {registered_group.name for registered_group in app.registered_groups}
    named = re.findall(
        r"(?:^|[`(> ])evtx-analyzer ([a-z][a-z-]+)\b(?!\.\w)(?! [a-z]+ing)", text_of(written()), re.MULTILINE
    )
    words = {"and", "is", "reads", "the", "that", "a", "of", "in", "to", "from", "does", "was", "writes"}
    assert set(named) - known - words == set()
    assert known - set(named) == set()


def test_public_names_are_in_the_page_of_the_library():
    shown = set(re.findall(r"evtx_analyzer\.(\w+)", (DOCS / "library.md").read_text(encoding="utf-8")))
    fields = set(re.findall(r"^## (\w+)$", (DOCS / "json.md").read_text(encoding="utf-8"), re.MULTILINE))
    typed = {"Capi2Event", "ContextEvent", "MessageEvent", "RecipientStatus", "SmtpEvent"}
    assert shown - set(ea.__all__) == set()
    assert set(ea.__all__) - shown - fields - typed == set()


def test_options_in_texts_are_options():
    """Of this program; those of other programs that the texts name stand here."""
    commands = (DOCS / "commands.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z][a-z-]+", commands)) | {"--help"}
    others = {"--check", "--update-snapshots", "--minutes", "--csv", "--json", "--from", "--nworkers", "--nthreads"}
    others |= {"--capture", "--comp", "--file-name", "--out", "--pkt-size"}  # pktmon
    own = [path for path in written() if path.name not in ("contributing.md", "performance.md", "reliability.md")]
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text_of(own))) - options - others == set()


def test_the_german_page_on_collecting_has_the_commands_and_rows_of_the_english_one():
    """A command that is added to one and not to the other shows here; sentences in parentheses are translated."""
    english, german = ((DOCS / name).read_text(encoding="utf-8") for name in ("collect.md", "de/collect.md"))
    for pattern in (r"^ {4}(?!\().+$", r"^\| `[^`]*`", r"^(?:#+|- \[ \]) ", r"^\*\*"):
        assert re.findall(pattern, german, re.MULTILINE) == re.findall(pattern, english, re.MULTILINE)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="extra docs")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "causes" / "missing-intermediate.html").is_file()


def by_hand():
    """What ``written`` gives, chosen by names: to make the pages takes too long while tests are collected."""
    pages_of_docs = [path for path in DOCS.rglob("*.md") if path.name not in ("json.md", "commands.md")]
    return [*READMES, *(path for path in sorted(pages_of_docs) if path.parent.name != "causes")]


def console_lines():
    """Every command line of the program that a page shows, without its comment (two blanks or more before it)."""
    for path in by_hand():
        for line in re.findall(r"^ {4}(?:\S*/)?evtx-analyzer (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield pytest.param(re.split(r" {2,}", line)[0], id=f"{path.name}: {line[:40]}")


def test_pages_chosen_by_name_are_those_written_by_hand():
    assert sorted(by_hand()) == sorted(written())


COMMANDS: Any = typer.main.get_command(app)


@pytest.mark.parametrize("line", list(console_lines()))
def test_console_lines_are_understood(line):
    """Each is parsed by the command that it names, with the options and as many arguments as that takes."""
    words = shlex.split(re.sub(r"\[([^\]]*)\](?:\.\.\.)?", _first_choice, line).replace("...", "").partition(" > ")[0])
    command = COMMANDS
    while hasattr(command, "commands"):
        name = words.pop(0).partition("|")[0]
        assert name in command.commands, line
        command = command.commands[name]
    command.make_context(name, words)  # raises for an unknown option, a value of no choice, a missing argument


def _first_choice(found):
    return found[1].partition("|")[0]


def test_exit_statuses_of_the_page_are_those_of_the_help():
    table = (DOCS / "usage.md").read_text(encoding="utf-8").partition("## Exit status")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
    assert shown == re.findall(r"(?:: |; )(\d+) ", EPILOG)
    for number in shown:
        assert f"| {number} |" in table


def test_formats_of_outputs_are_those_of_the_program():
    page = (DOCS / "usage.md").read_text(encoding="utf-8")
    outputs = page.partition("## Outputs")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\.[a-z.]+)`", outputs))
    tables = {name.replace(".csv", ".parquet") for name in named if name.endswith(".csv")}
    assert named | tables == set(SUFFIXES)
    line = next(line for line in page.splitlines() if line.startswith("| `--format NAME`"))
    known = {form.plain.value for form in Format}
    assert set(re.findall(r"`([a-z]+)`", line)) == known


def test_options_that_the_page_of_use_explains_are_those_of_analyze():
    """Not all are explained there, but none that is no option."""
    rows = re.findall(r"^\| (`-.*?) \| ", (DOCS / "usage.md").read_text(encoding="utf-8"), re.MULTILINE)
    options = {name for row in rows for name in re.findall(r"(--?[a-z][a-z-]*)", row)}
    known = {name for param in COMMANDS.commands["analyze"].params for name in param.opts}
    assert options - known - {"-q", "-v", "--log-file"} == set()


def python_blocks():
    """The examples of the pages; those of add-a-log-kind.md have a test of their own, README.md's is in two others."""
    block = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for path in by_hand():
        if path.name not in ("add-a-log-kind.md", "README.md"):
            for number, code in enumerate(block.findall(path.read_text(encoding="utf-8"))):
                yield pytest.param(code, id=f"{path.name} {number + 1}")


@pytest.mark.slow
@pytest.mark.parametrize("block", list(python_blocks()))
def test_python_blocks_run(block, tmp_path):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "cases").mkdir()
    shutil.copytree(ROOT / "samples" / "kb-3212877", tmp_path / "cases" / "one")
    (tmp_path / "example.py").write_text(block, encoding="utf-8")
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "missing-intermediate" in done.stdout


def test_every_kind_that_shows_refusals_is_in_the_page_of_formats():
    page = (
        (DOCS / "formats.md").read_text(encoding="utf-8").casefold().replace(" smtp log", "-smtp log").replace(" ", "-")
    )
    words = {"ndr": "non-delivery-report"}
    assert [kind for kind in REFUSAL_KINDS if words.get(kind, kind) not in page] == []


def test_log_sources_of_the_page_on_rules_are_those_that_are_known():
    page = (DOCS / "rules.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([a-z-]+) / ([a-z0-9-]+) \|", page, re.MULTILINE)
    assert set(shown) - {("product", "service")} == set(LOG_SOURCES)
