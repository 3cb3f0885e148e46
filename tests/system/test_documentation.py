"""The documentation says what there is, and nothing else: commands, options, variables, causes, public names."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import evtx_analyzer as ea
from docs.generate import DOCS, pages
from evtx_analyzer.cli.app import app
from evtx_analyzer.rules import Rules

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
    known = {item.name or item.callback.__name__ for item in app.registered_commands} | {
        item.name for item in app.registered_groups
    }
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
