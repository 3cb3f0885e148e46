"""Rule files: ours are right, and all mistakes of a set are told at once with file and key."""

from __future__ import annotations

import shutil

import pytest
from places import CHECKOUT

from evtx_analyzer.errors import RuleSetError
from evtx_analyzer.rule_tools.cases import run_cases
from evtx_analyzer.rules import Rules, load
from evtx_analyzer.rules.files import builtin_rules, rule_folders

RULES = CHECKOUT / "rules"


@pytest.fixture
def copy(tmp_path):
    for part in ("signals", "links", "commands", "causes"):
        shutil.copytree(RULES / part, tmp_path / part)
    return tmp_path


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_our_rules_load_from_the_installed_package():
    rules = Rules.load()
    assert {"missing-intermediate", "untrusted-root", "unexplained"} <= {cause.id for cause in rules.causes}
    names = {
        traversable.name
        for traversable in builtin_rules().joinpath("causes").iterdir()
        if traversable.name.endswith(".yml")
    }
    assert names == {f"{cause.id}.yml" for cause in rules.causes}


@pytest.mark.parametrize(
    "file", sorted(RULES.glob("signals/*.yml")) + sorted(RULES.glob("links/*.yml")), ids=lambda p: p.stem
)
def test_sigma_rules_are_named_as_their_file(file):
    assert f"\nname: {file.stem}\n" in file.read_text(encoding="utf-8")


def test_ten_planted_mistakes_are_reported_in_one_run(copy):
    edit(copy / "signals/chain_built.yml", "condition: chain", "condition: chian")
    edit(copy / "signals/chain_incomplete.yml", "service: capi2", "service: dns")
    (copy / "signals/broken.yml").write_text("title: [unclosed\n")
    (copy / "signals/list.yml").write_text("- a\n")
    edit(copy / "links/any_chain_failed_at_handshake.yml", "type: temporal", "type: temporary")
    edit(copy / "links/own_name_failed_at_handshake.yml", "basis: subject", "basis: guess")
    edit(copy / "links/own_name_failed_at_handshake.yml", "before: 10", "before: -10")
    edit(copy / "causes/untrusted-root.yml", "id: untrusted-root", "id: other")
    edit(copy / "causes/missing-intermediate.yml", "$process got", "$proces got")
    edit(copy / "causes/unexplained.yml", "no-source: capi2", "no-source: nonsense")
    with pytest.raises(RuleSetError) as caught:
        load(copy)
    told = {(mistake.file, mistake.key) for mistake in caught.value.mistakes}
    assert told >= {
        ("signals/chain_built.yml", "detection"),
        ("signals/chain_incomplete.yml", "logsource"),
        ("signals/broken.yml", ""),
        ("signals/list.yml", ""),
        ("links/any_chain_failed_at_handshake.yml", "correlation"),
        ("links/own_name_failed_at_handshake.yml", "evtx-analyzer.basis"),
        ("links/own_name_failed_at_handshake.yml", "evtx-analyzer.before"),
        ("causes/untrusted-root.yml", "id"),
        ("causes/missing-intermediate.yml", "observations.failed-at-handshake.supports"),
        ("causes/unexplained.yml", "observations.no-capi2.no-source"),
    }
    # A mistake of a whole file has no key, and no second colon.
    assert all(
        str(mistake).startswith(f"{mistake.file}:{mistake.key}: " if mistake.key else f"{mistake.file}: ")
        for mistake in caught.value.mistakes
    )


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("rank: 10", "rank: high", "rank"),
        ("title: The server", "titel: The server", "titel"),
        (
            "    link: sent_certificate_failed_at_handshake",
            "    link: nothing",
            "observations.failed-at-handshake.link",
        ),
        ("  probable:", "  certain:", "grades.certain"),
        ("[failed-at-handshake, chain-incomplete]", "[failed-at-handshake, chain-incomplet]", "grades.probable"),
        ("[failed-at-handshake, chain-incomplete]", "failed-at-handshake", "grades.probable"),
        ("when: [no-capi2]", "when: [no-capi3]", "missing[7]"),
        ("{ $$_.ToXml() }", "{ $_.ToXml() } $", "remedy.verify[3].lines[0]"),
    ],
)
def test_mistake_in_a_cause(copy, old, new, key):
    edit(copy / "causes/missing-intermediate.yml", old, new)
    with pytest.raises(RuleSetError) as caught:
        load(copy)
    assert key in {mistake.key for mistake in caught.value.mistakes}


# Where the exchanged step stands among those of missing-intermediate.
PLACE = 10


def with_step(copy, step):
    """The rules with one step of missing-intermediate exchanged."""
    edit(
        copy / "causes/missing-intermediate.yml",
        "- Import each file on every server that sends through this connector.",
        f"- {step}",
    )
    return copy


@pytest.mark.parametrize(
    ("step", "key", "message"),
    [
        ("{commands: capi3}", ".commands", "there is no 'capi3'"),
        ("{commands: []}", ".commands", "the name of a file in commands"),
        ("{shell: cmd, lines: [dir]}", ".shell", "there is no 'cmd'; known: exchange, exchange-online, windows"),
        ("{lines: [certutil -store CA]}", ".shell", "there is no None"),
        ("{shell: windows, lines: []}", ".lines", "a list of commands"),
        ("{shell: windows, lines: [x], text: y}", "", "exactly one of text, lines, commands"),
        ("{shell: windows}", "", "exactly one of"),
        ("{text: y, sever: iis}", ".sever", "unknown key"),
        ("{text: y, server: edge}", ".server", "there is no 'edge'; known: exchange, iis"),
        ("{text: y, when: [no-such]}", "", "there is no 'no-such'"),
        ("{text: y, unless: [no-such]}", "", "there is no 'no-such'"),
        ("$thumbprint is to be renewed.", "", "begins with a word"),
        ("{text: '> Get-SendConnector'}", ".text", "begins with a word"),
        ("{shell: exchange, lines: ['Get-SendConnector \"$connector\"']}", ".lines[0]", "without quotation marks"),
        ("{shell: exchange, lines: [\"Get-SendConnector 'a $connector b'\"]}", ".lines[0]", "without quotation marks"),
        ("{shell: exchange, lines: ['certutil -store My $thumbprint.cer']}", ".lines[0]", "a whole argument"),
        ("{shell: exchange, lines: ['Get-SendConnector x$connector']}", ".lines[0]", "a whole argument"),
        ("'> Get-SendConnector \"$connector\"'", "", "without quotation marks"),
        ("{shell: exchange, lines: ['Get-SendConnector $conector']}", ".lines[0]", "unknown placeholder"),
        ("{shell: exchange, lines: ['$c = 1']}", ".lines[0]", "unknown placeholder $c"),
    ],
)
def test_mistake_in_a_step(copy, step, key, message):
    with pytest.raises(RuleSetError) as caught:
        load(with_step(copy, step))
    mistakes = [mistake for mistake in caught.value.mistakes if mistake.key.startswith(f"remedy.steps[{PLACE}]")]
    assert any(item.key == f"remedy.steps[{PLACE}]{key}" and message in item.message for item in mistakes), mistakes


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{commands: restart, when: [no-tls]}", [("exchange", ("no-tls",)), ("iis", ("no-tls",))]),
        ("{commands: import-intermediate, server: iis}", [("iis", ())]),
        ("{commands: [restart, import-intermediate]}", [("exchange", ()), ("iis", ()), ("", ())]),
        ("'> certutil -store CA'", [("", ())]),
        ("{shell: exchange, lines: ['Get-SendConnector $connector | Export-Clixml x.xml']}", [("", ())]),
        ("{shell: windows, lines: ['x @{Add=$connector}', '$$c; y ($connector)']}", [("", ())]),
    ],
)
def test_steps_as_they_are_read(copy, step, expected):
    before = {cause.id: cause for cause in load(copy).causes}["missing-intermediate"].steps
    steps = {cause.id: cause for cause in load(with_step(copy, step)).causes}["missing-intermediate"].steps
    made = steps[PLACE : PLACE + len(steps) - len(before) + 1]
    assert [(item.server, item.when) for item in made] == expected


def test_mistakes_in_shared_commands_are_reported_with_the_others(copy):
    edit(copy / "commands/restart.yml", "server: iis", "server: unix")
    edit(copy / "commands/capi2.yml", "title:", "titel:")
    edit(copy / "commands/send-log.yml", "$connector", "$conector")
    edit(copy / "commands/system-log.yml", "- shell: windows", "- when: [no-tls]\n    shell: windows")
    with pytest.raises(RuleSetError) as caught:
        load(copy)
    assert {(mistake.file, mistake.key) for mistake in caught.value.mistakes} == {
        ("commands/restart.yml", "steps[1].server"),
        ("commands/capi2.yml", "titel"),
        ("commands/capi2.yml", "title"),
        ("commands/send-log.yml", "steps[0].lines[0]"),
        ("commands/system-log.yml", "steps[0]"),
    }


def test_own_commands_override_ours_everywhere(tmp_path):
    (tmp_path / "commands").mkdir()
    text = "title: Ours\nsteps:\n  - Ask the operators for the export.\n"
    (tmp_path / "commands/inbound-connectors.yml").write_text(text, encoding="utf-8")
    causes = Rules.load(tmp_path).causes
    told = [step.text for cause in causes for missing_rule in cause.missing for step in missing_rule.collect]
    lines = [
        line
        for cause in causes
        for missing_rule in cause.missing
        for step in missing_rule.collect
        for line in step.lines
    ]
    assert told.count("Ask the operators for the export.") > 3
    assert not any("Get-InboundConnector" in line for line in lines)


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(RuleSetError, match="no rule file found"):
        load(tmp_path)


def test_every_case_of_every_rule_holds():
    outcomes = run_cases(Rules.load(), rule_folders(None))
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert len(outcomes) > 250


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind: positive", "kind: negative", "must not be recognized and is"),
        ("kind: negative", "kind: positive", "must be recognized and is not"),
        ("kind: near-miss", "kind: miss", "kind must be one of"),
    ],
)
def test_a_wrong_case_is_noticed(copy, old, new, problem):
    shutil.copytree(RULES / "cases", copy / "cases")
    edit(copy / "cases/signals/chain_incomplete.yml", old, new)
    assert problem in " ".join(outcome.problem for outcome in run_cases(load(copy), (copy,)))
