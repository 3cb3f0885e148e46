"""The cache of parsed rules: the same rules from it as from the files, and never in the way."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import CHECKOUT
from sigma.rule import SigmaRule

from evtx_analyzer.cli import main
from evtx_analyzer.errors import RuleSetError
from evtx_analyzer.rules import Rules, cache, load, parsing
from evtx_analyzer.rules.definitions import RuleSet
from evtx_analyzer.rules.files import rule_folders, rule_texts
from evtx_analyzer.sigma.conditions import Condition, FieldIs, Text, Wildcard
from evtx_analyzer.sigma.from_pysigma import condition_of
from evtx_analyzer.sigma.literals import required_literals
from evtx_analyzer.sigma.match import compile_condition

SAMPLE = CHECKOUT / "samples" / "kb-3212877"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of entries, empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EVTX_ANALYZER_NO_CACHE", raising=False)
    return tmp_path / "cache" / "evtx-analyzer" / "rules"


@pytest.fixture
def own(tmp_path):
    shutil.copytree(CHECKOUT / "rules" / "signals", tmp_path / "own" / "signals")
    return tmp_path / "own"


@pytest.fixture
def unparsed(monkeypatch):
    """Whoever parses rules now fails."""

    def call():
        monkeypatch.setattr(parsing, "parse", lambda _: pytest.fail("the rules were parsed"))

    return call


def entries(place):
    return sorted(place.glob("*"))


def titles(rules):
    return [item.title for item in (*rules.signals, *rules.links, *rules.causes)]


def signed(path, content):
    """An entry of another content with the right digest."""
    digest = hashlib.sha256(path.name.encode() + b"\n" + content).hexdigest()
    path.write_bytes(b'{"digest":"%s","rules":%s}' % (digest.encode(), content))


def built_in():
    return parsing.parse(rule_texts(rule_folders(None)))


def test_rules_come_from_the_cache_as_they_come_from_the_files(place, unparsed):
    first = Rules.load()
    parsed = load(*rule_folders(None))
    assert len(entries(place)) == 1
    assert cache.read(entries(place)[0]) == built_in()
    unparsed()
    second = Rules.load()
    assert (second.links, second.causes) == (first.links, first.causes)
    assert [(signal.name, signal.title, signal.kind, signal.required_literals) for signal in second.signals] == [
        (signal.name, signal.title, signal.kind, signal.required_literals) for signal in parsed.signals
    ]


def test_own_rules_are_cached_too(place, own, unparsed):
    first = Rules.load(own)
    unparsed()
    assert Rules.load(own).added == first.added != ""
    assert len(entries(place)) == 1


def tampered(data):
    return data.replace(b"Relay", b"Delay", 1) if b"Relay" in data else data.replace(b"title", b"titel", 1)


@pytest.mark.parametrize(
    "change",
    [
        tampered,
        lambda data: data.replace(b'"digest":"', b'"digest":"0', 1),
        lambda data: re.sub(rb'"digest":"[0-9a-f]+"', b'"digest":""', data),
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda _: b"[" * 100_000,
        lambda _: b"\x80\x04\x95",
        lambda _: b'{"digest": 1, "rules": null}',
        lambda _: b'{"rules": {}}',
    ],
)
def test_an_entry_that_does_not_match_its_digest_is_not_used_and_written_again(place, change):
    expected = titles(Rules.load())
    (path,) = entries(place)
    good = path.read_bytes()
    path.write_bytes(change(good))
    assert path.read_bytes() != good
    assert cache.read(path) is None
    assert titles(Rules.load()) == expected
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"{}",
        lambda data: data.replace(b'"basis":"time"', b'"basis":"guess"', 1),
        lambda data: data.replace(b'"type":"regex"', b'"type":"python"', 1),
        lambda data: re.sub(rb'"pattern":"', b'"pattern":"(', data, count=1),
        lambda data: re.sub(rb'"rank":\d+', b'"rank":"first"', data, count=1),
    ],
)
def test_an_entry_that_no_rule_files_could_give_is_not_used(place, change):
    expected = titles(Rules.load())
    (path,) = entries(place)
    good = path.read_bytes()
    content = msgspec.json.encode(built_in())
    signed(path, content)
    assert path.read_bytes() == good, "the digest is made as the cache makes it"
    assert change(content) != content
    signed(path, change(content))
    assert titles(Rules.load()) == expected
    assert path.read_bytes() == good


def test_another_version_of_the_program_or_of_pysigma_has_its_own_entry(place, monkeypatch):
    texts = rule_texts(rule_folders(None))
    names = {cache.entry(texts)}
    monkeypatch.setattr(cache, "VERSION", "99")
    names.add(cache.entry(texts))
    monkeypatch.setattr(cache, "_sigma_version", lambda: "pysigma-99.dist-info")
    names.add(cache.entry(texts))
    assert len(names) == 3


def test_the_entry_of_another_version_under_this_ones_name_is_not_used(place, monkeypatch):
    monkeypatch.setattr(cache, "VERSION", "98")
    Rules.load()
    (old,) = entries(place)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place.parents[1]))
    path = cache.entry(rule_texts(rule_folders(None)))
    shutil.copy(old, path)
    assert cache.read(old) is not None
    assert cache.read(path) is None


def test_the_version_of_pysigma_is_that_of_its_metadata():
    from importlib import metadata

    assert f"-{metadata.version('pysigma')}." in cache._sigma_version() + "."


def test_every_module_that_shapes_the_rules_is_part_of_the_name():
    made = {f"rules/{path.name}" for path in (CHECKOUT / "evtx_analyzer" / "rules").glob("*.py")}
    assert made - set(cache._MAKERS) == {"rules/__init__.py", "rules/files.py"}
    assert all((CHECKOUT / "evtx_analyzer" / name).is_file() for name in cache._MAKERS)


def test_a_changed_rule_is_a_new_entry(place, own):
    before = Rules.load(own)
    path = own / "signals" / "chain_built.yml"
    path.write_text(path.read_text().replace("title: ", "title: Changed ", 1))
    after = Rules.load(own)
    assert len(entries(place)) == 2
    changed = {
        signal.name for signal, other in zip(after.signals, before.signals, strict=True) if signal.title != other.title
    }
    assert changed == {"chain_built"}


def test_a_change_of_the_same_size_and_time_is_a_new_entry(place, own):
    path = own / "signals" / "chain_built.yml"
    Rules.load(own)
    known = path.stat()
    text = path.read_text()
    path.write_text(text.replace("title: ", "title:X", 1).replace("title:X", "title: X", 1)[: len(text)])
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (known.st_size, known.st_mtime_ns)
    title = next(signal.title for signal in Rules.load(own).signals if signal.name == "chain_built")
    assert title.startswith("X")


def test_mistakes_are_told_as_without_the_cache_and_are_not_kept(place, own):
    Rules.load(own)
    path = own / "signals" / "chain_built.yml"
    path.write_text(path.read_text().replace("condition: chain", "condition: chian"))
    with pytest.raises(RuleSetError) as expected:
        load(*rule_folders(own))
    for _ in range(2):
        with pytest.raises(RuleSetError) as told:
            Rules.load(own)
        assert told.value.mistakes == expected.value.mistakes
    assert len(entries(place)) == 1


@pytest.mark.parametrize("arguments", [["list"], ["check"], ["test"], ["convert", "--target", "splunk"]])
def test_commands_about_rules_read_the_files(monkeypatch, capsys, arguments):
    monkeypatch.setattr(cache, "entry", lambda _: pytest.fail("asked the cache"))
    if "splunk" in arguments:
        pytest.importorskip("sigma.backends.splunk", reason="extra siem, which .ci/lowest has")
    monkeypatch.setattr(sys, "argv", ["evtx-analyzer", "rules", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out


def test_the_variable_turns_the_cache_off(place, monkeypatch):
    monkeypatch.setenv("EVTX_ANALYZER_NO_CACHE", "1")
    Rules.load()
    assert entries(place) == []


def test_a_relative_folder_is_ignored(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    Rules.load()
    assert not (tmp_path / "here").exists()
    assert [item.name for item in tmp_path.rglob("*.json")] != []


def nowhere(monkeypatch, tmp_path):
    def missing():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", missing)


def a_file_in_the_way(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))


def full_disk(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)


def not_writable(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", fail)


@pytest.mark.parametrize("trouble", [nowhere, a_file_in_the_way, full_disk, not_writable])
def test_a_folder_that_cannot_be_used_is_nobodys_trouble(place, monkeypatch, tmp_path, capfd, trouble):
    trouble(monkeypatch, tmp_path)
    assert len(Rules.load().causes) == len(built_in().causes)
    assert entries(place) == []
    assert capfd.readouterr() == ("", "")


def test_a_deleted_folder_comes_back(place):
    Rules.load()
    shutil.rmtree(place.parents[1])
    Rules.load()
    assert len(entries(place)) == 1


def test_old_entries_and_what_killed_runs_left_are_removed(place):
    place.mkdir(parents=True)
    for number in range(cache.KEPT + 3):
        old = place / f"{number}.json"
        old.write_text("{}")
        os.utime(old, (1_000_000_000 + number, 1_000_000_000 + number))
    left = place / "killed.part"
    left.write_text("")
    os.utime(left, (1_000_000_000, 1_000_000_000))
    (place / "at-work.part").write_text("")
    Rules.load()
    names = {entry.name for entry in entries(place)}
    assert names >= {"at-work.part", *(f"{number}.json" for number in range(4, cache.KEPT + 3))}
    assert len(names) == cache.KEPT + 1
    assert cache.entry(rule_texts(rule_folders(None))).name in names


@pytest.mark.slow
def test_processes_that_start_together_share_one_entry(place):
    program = "from evtx_analyzer.rules import Rules; print(len(Rules.load().signals))"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = {process.communicate(timeout=120) for process in started}
    assert answers == {(f"{len(built_in().signals)}{os.linesep}".encode(), b"")}
    assert [entry.suffix for entry in entries(place)] == [".json"]
    assert cache.read(entries(place)[0]) == built_in()


@pytest.mark.slow
def test_the_report_is_the_same_cold_warm_off_and_where_nothing_can_be_kept(place, tmp_path):
    (tmp_path / "file").write_text("")
    settings = [
        {},
        {},
        {"EVTX_ANALYZER_NO_CACHE": "1"},
        {"XDG_CACHE_HOME": str(tmp_path / "file")},
    ]
    command = [sys.executable, "-m", "evtx_analyzer", "analyze", str(SAMPLE), "--format", "json"]
    told = [
        subprocess.run(command, capture_output=True, timeout=120, check=False, env={**os.environ, **more})
        for more in settings
    ]
    assert {(item.returncode, item.stderr) for item in told} == {(1, b"")}
    assert len({item.stdout for item in told}) == 1
    assert len(entries(place)) == 1


# ------------------------------------------------------------------------------ conditions that come back as they were

TEXTS = ["abc", "ABC", "a*c", "a?c", "a\\*c", "*b*", "K", "\u212a", "straße", "ſ", "", "10", "0x0a", "1.5", "true", "i̇"]
LITERAL = st.one_of(st.sampled_from(TEXTS), st.integers(-5, 20), st.booleans(), st.none())
PLAIN = st.one_of(LITERAL, st.lists(LITERAL, min_size=1, max_size=3))
WITH_MODIFIER = {
    "re": st.sampled_from(["^a.c$", "b+", "[0-9]{2}"]),
    "re|i": st.sampled_from(["^A.C$", "B+"]),
    "re|i|m|s": st.just("^a.*c$"),
    "cidr": st.sampled_from(["10.0.0.0/8", "fe80::/10"]),
    "contains": st.sampled_from(["b", "K", ["a", "b"]]),
    "contains|all": st.just(["a", "c"]),
    "startswith": st.sampled_from(["a", "10"]),
    "endswith": st.sampled_from(["c", "0"]),
    "cased": st.sampled_from(["abc", "a*c", "K"]),
    "windash|contains": st.just(" -x "),
    "gt": st.integers(0, 12),
    "lte": st.integers(0, 12),
    "neq": st.integers(0, 12),
    "exists": st.booleans(),
    "fieldref": st.sampled_from(["P", "Q"]),
    "fieldref|startswith": st.sampled_from(["P", "Q"]),
}
FIELDS = st.sampled_from(["P", "Q"])


def _modified(modifier, name):
    return f"{name}|{modifier}"


ONE = st.one_of(
    st.tuples(FIELDS, PLAIN),
    *[st.tuples(FIELDS.map(partial(_modified, key)), value) for key, value in WITH_MODIFIER.items()],
)
SELECTION = st.one_of(
    st.lists(ONE, min_size=1, max_size=3).map(dict),
    st.lists(st.sampled_from(["abc", "b*", "needle"]), min_size=1, max_size=2),
)
SHAPE = st.sampled_from(
    ["s and t", "s or t", "not s", "s and not t", "1 of them", "all of them", "not (s or not t)", "s"]
)
EVENTS = st.dictionaries(
    st.sampled_from(["P", "Q", "R"]),
    st.lists(
        st.sampled_from([*TEXTS, "xabcx", "10.1.2.3", "fe80::1", "a\nc", "k", "needle", " -x ", " /x "]), max_size=3
    ),
    max_size=3,
)


@given(SELECTION, SELECTION, SHAPE, st.lists(EVENTS, min_size=1, max_size=8))
def test_a_condition_from_the_cache_matches_exactly_what_the_fresh_one_matches(one, other, shape, events):
    rule = SigmaRule.from_dict(
        {
            "title": "t",
            "logsource": {"product": "windows", "service": "capi2"},
            "detection": {"s": one, "t": other, "condition": shape},
        }
    )
    fresh = condition_of(rule.detection.parsed_condition[0].parsed)
    kept = msgspec.json.decode(msgspec.json.encode(fresh), type=Condition)
    assert kept == fresh
    assert required_literals(kept) == required_literals(fresh)
    first, second = compile_condition(fresh), compile_condition(kept)
    for event in events:
        fields = {name: tuple(values) for name, values in event.items()}
        assert first(fields) is second(fields)


LETTERS = st.text(st.sampled_from("abkKsS*?.\n\u212aſßIiİı"), max_size=4)


@given(
    st.lists(st.one_of(LETTERS, st.sampled_from(Wildcard)), max_size=4), st.booleans(), st.lists(LETTERS, min_size=1)
)
def test_texts_match_as_the_regular_expression_that_they_stand_for(parts, cased, texts):
    """The short ways of ``match`` (length, lower case of ASCII) against Python's own folding of letters."""
    signs = {Wildcard.ONE: ".", Wildcard.MANY: ".*"}
    source = "".join(signs[part] if isinstance(part, Wildcard) else re.escape(part) for part in parts)
    pattern = re.compile(source, re.DOTALL if cased else re.DOTALL | re.IGNORECASE)
    matches = compile_condition(FieldIs("P", Text(tuple(parts), cased)))
    runs = "".join(part for part in parts if isinstance(part, str))
    for text in (*texts, runs, runs.swapcase()):
        assert matches({"P": (text,)}) is (pattern.fullmatch(text) is not None)


def test_every_shape_of_a_rule_set_comes_back():
    texts = rule_texts(rule_folders(None))
    rule_set = parsing.parse(texts)
    assert msgspec.json.decode(msgspec.json.encode(rule_set), type=RuleSet) == rule_set
