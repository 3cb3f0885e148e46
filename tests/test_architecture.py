"""The structure that the style promises: imports point one way, public names are those documented, rules have tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import evtx_analyzer

PACKAGE = Path(evtx_analyzer.__file__).parent
README = PACKAGE.parent / "README.md"

# A module may import what stands in an earlier line, and inside its own line's package.
LAYERS = (
    ("errors", "version", "wincrypt", "exchange", "plain_text", "model", "commands"),
    ("clock", "distinguished_names", "whole_files", "collector", "documentation", "local_addresses"),
    ("hosts", "exchange_online", "public_roots", "columns"),
    ("discover", "sigma"),
    ("read", "normalize"),
    ("rules",),
    ("smtp", "capi2", "handshakes", "stores", "correlate", "diagnose"),
    ("rule_tools", "options"),
    ("ingest", "repair"),
    ("tables",),
    ("report",),
    ("pipeline",),
    ("verification",),
    ("batch",),
    ("",),
    ("cli",),
    ("__main__",),
)
# Imports inside of a line: correlation takes what the SMTP logs told, stores the facts of the case.
ALLOWED = {("correlate", "smtp"), ("stores", "correlate")}

LONGEST = 400
"""Lines of a module of the package."""


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__").removesuffix("__init__"), path


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    for node in ast.walk(tree(path)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.startswith("evtx_analyzer."))


def stage(name):
    parts = name.removeprefix("evtx_analyzer").lstrip(".").split(".")
    known = {item for layer in LAYERS for item in layer}
    return parts[0] if parts[0] in known else ""


def layer(name):
    return next(number for number, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_imports_point_one_way(name, path):
    own = stage(name)
    for target in imports(path):
        other = stage(target)
        if other == own or (other == "" and own == ""):
            continue
        assert (own, other) in ALLOWED or layer(other) < layer(own), f"{name} imports {target}"


def test_no_module_is_longer_than_it_can_be_read():
    """What a longer one does can be told apart; generated files and tables of data are no Python modules here."""
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_pysigma_is_known_only_where_rules_are_parsed_or_converted():
    """All else works on conditions of our own, so that rules from the cache need no parser."""
    importers = set()
    for name, path in modules():
        for node in ast.walk(tree(path)):
            targets = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            targets += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers |= {name for target in targets if target.partition(".")[0] == "sigma"}
    assert importers == {"sigma.from_pysigma", "rules.parsing", "rule_tools.convert"}


def test_the_architecture_page_lists_the_layers():
    page = (README.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = page.partition("## Import order")[2].partition("\n\n    ")[2].partition("\n\n")[0]
    listed = [tuple(line.partition("(")[0].strip().split(", ")) for line in block.splitlines()]
    assert listed == [tuple(name or "evtx_analyzer" for name in names) for names in LAYERS]


def texts():
    yield README
    for folder, pattern in (
        ("docs", "*.md"),
        ("evtx_analyzer", "**/*.py"),
        ("tests", "**/*.py"),
        ("benchmarks", "*.py"),
    ):
        yield from (README.parent / folder).glob(pattern)


def test_modules_that_a_text_names_exist():
    """As ``report/html.py`` or ``report/html.py: to_html``, from the project's root or the package's."""
    wrong = []
    for text in texts():
        content = text.read_text(encoding="utf-8")
        for name, definition in re.findall(r"`([a-z_0-9/]+/[a-z_0-9]+\.py)(?:: (\w+))?", content):
            files = [file for root in (PACKAGE, README.parent) if (file := root / name).is_file()]
            defined = rf"^\s*(?:def|class) {definition}\b"
            if not files or (definition and not re.search(defined, files[0].read_text(encoding="utf-8"), re.MULTILINE)):
                wrong.append(f"{text.name} names {name} {definition}")
    assert not wrong


def test_names_on_the_trips_exist():
    """As ``Tallies.session`` or ``_walk``: a function that is renamed is noticed, wherever it stands."""
    trips = (README.parent / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## The trip of one")[2]
    code = set(re.findall(r"`(?:[\w/]+\.py: )?([A-Za-z_][\w.]*)`", trips))
    # Plain words, files and signals are no names of code.
    names = {name for name in code if re.search(r"[A-Z_.]", name) and not re.search(r"\.(?:py|zip|LOG)$", name)}
    names -= {path.stem for path in (README.parent / "rules" / "signals").glob("*.yml")}
    known = {part for name, _ in modules() for part in name.split(".")}
    for _, path in modules():
        known |= {name for node in ast.walk(tree(path)) for name in names_defined(node)}
    assert {name for name in names if not known.issuperset(name.split("."))} == set()
    assert len(names) > 50, "the pattern finds the names"


def names_defined(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id


def test_nothing_of_ours_imports_numpy():
    """It comes with pandas; bytes are searched, which is faster than arithmetic on them."""
    for name, path in modules():
        assert not re.search(r"^\s*(?:import|from) numpy", path.read_text(encoding="utf-8"), re.MULTILINE), name


def test_only_the_command_line_prints_or_exits():
    for name, path in modules():
        if stage(name) in ("cli", "__main__"):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "exit", "quit"), f"{name} line {node.lineno}"
            if isinstance(node, ast.Attribute) and node.attr == "exit":
                raise AssertionError(f"{name} line {node.lineno} exits")


def test_public_names_exist_and_are_all():
    for name in evtx_analyzer.__all__:
        assert getattr(evtx_analyzer, name) is not None
    assert sorted(evtx_analyzer.__all__) == sorted(set(evtx_analyzer.__all__))
    with pytest.raises(AttributeError):
        evtx_analyzer.nonsense  # noqa: B018


def test_readme_example_runs(monkeypatch, tmp_path, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    code = code.replace('"report.json"', repr(str(tmp_path / "report.json")))
    monkeypatch.chdir(README.parent)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("probable missing-intermediate")
    assert (tmp_path / "report.json").exists()


def test_readme_gives_exactly_two_commands_for_a_fresh_machine():
    commands = re.findall(r"^    (python3 -m venv .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 2
    assert "analyze samples/kb-3212877" in commands[0]
    assert "pytest" in commands[1]
    assert README.read_text(encoding="utf-8").index(commands[1]) < 2500, "the first screen"


# Words that happen to be the name of a kind: of folders, options, views, rules. CAPI2 is what the program is about.
NAMED_ELSEWHERE = {
    "capi2": {
        "hosts",
        "capi2.operations",
        "report.aliases",
        "cli.events",
        "report.timeline",
        "sigma.match",
        "rule_tools.siem",
    },
    "configuration": {"hosts", "correlate.session_facts", "report.csv_tables"},
    "connectivity": {"hosts"},
    "message-tracking": {"rule_tools.siem"},
    "queue": {"hosts", "report.language"},
    "schannel": {"rules.definitions", "diagnose.scene"},
    "send-connector": {"rule_tools.cases"},
}


def test_a_kind_of_log_is_named_in_one_place():
    """Others ask the table: ``normalize/kinds.py`` says which few give a kind a meaning of its own."""
    from evtx_analyzer.normalize.kinds import KINDS

    named = {}
    for name, path in modules():
        if name.startswith("normalize"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in KINDS:
                named.setdefault(node.value, set()).add(name)
    wrong = {f"{place} names {kind}" for kind in named for place in named[kind] - NAMED_ELSEWHERE.get(kind, set())}
    assert not wrong
