"""``import evtx_analyzer``: what ``dir`` and ``help`` show, and that the rules are found in a checkout too."""

from __future__ import annotations

import importlib
import pydoc
from importlib import resources

from places import CHECKOUT

import evtx_analyzer
from evtx_analyzer.rules.files import builtin_rules


def test_dir_gives_the_public_names_and_no_others():
    assert dir(evtx_analyzer) == sorted(evtx_analyzer.__all__)
    assert all(not name.startswith("_") for name in dir(evtx_analyzer))


def test_help_shows_functions_and_classes_with_what_they_say():
    text = pydoc.plain(pydoc.render_doc(evtx_analyzer))
    for name in ("analyze(", "analyze_many(", "read_send_log(", "class Report(", "class Finding(", "load("):
        assert name in text
    assert "Return the rows of Exchange Send connector protocol logs" in text
    assert "_LAZY" not in text


def test_every_public_name_has_a_docstring_of_its_own():
    for name in evtx_analyzer.__all__:
        said = getattr(evtx_analyzer, name).__doc__
        assert said, name
        assert said.strip(), name


def test_rules_are_found_in_a_checkout_that_is_not_installed(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(resources, "files", absent)
    assert builtin_rules() == CHECKOUT / "rules"
    assert builtin_rules().joinpath("causes").is_dir()


def test_the_module_that_runs_the_command_starts_nothing_when_it_is_imported():
    assert importlib.import_module("evtx_analyzer.__main__").main
