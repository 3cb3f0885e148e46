"""Lines of a remedy as numbered steps: only sentences are counted, and a step says for which server it is."""

from __future__ import annotations

import pytest
from reports import NAMES, report

from evtx_analyzer.commands import line_kind
from evtx_analyzer.report import language
from evtx_analyzer.report.steps import Run, Step, steps

EN, DE = language.ENGLISH, language.load("de")
EXCHANGE, IIS, EITHER = "Where Exchange sends the mail:", "Where IIS SMTP sends the mail:", "In either case:"
ELEVATED = "In an elevated PowerShell on EX01:"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("> certutil -store CA", "command"),
        (EXCHANGE, "alternative"),
        (EITHER, "alternative"),
        (ELEVATED, "shell"),
        ("In the Exchange Management Shell on EX01, EX02:", "shell"),
        ("In Exchange Online PowerShell (Connect-ExchangeOnline):", "shell"),
        ("In the properties of the virtual server, name a smart host:", "sentence"),
        ("Where Exchange sends the mail, restart it.", "sentence"),
    ],
)
def test_what_a_line_is(line, kind):
    assert line_kind(line) == kind


def test_headings_are_no_steps_and_commands_stand_below_them():
    made = steps(["Restart the service.", EXCHANGE, ELEVATED, "> Restart-Service A", IIS, ELEVATED, "> B", "> C"], EN)
    assert made == [
        Step(
            number=1,
            text="Restart the service.",
            runs=(
                Run(notes=(EXCHANGE, ELEVATED), commands=("Restart-Service A",)),
                Run(notes=(IIS, ELEVATED), commands=("B", "C")),
            ),
        )
    ]


def test_a_sentence_for_one_server_says_so_and_its_commands_need_not():
    made = steps([IIS, "Open the manager.", ELEVATED, "> A", EITHER, "Send a message.", "> B"], EN)
    assert [(step.number, step.text) for step in made] == [(1, f"{IIS} Open the manager."), (2, "Send a message.")]
    assert [step.runs for step in made] == [
        (Run(notes=(ELEVATED,), commands=("A",)),),
        (Run(notes=(), commands=("B",)),),
    ]


def test_commands_before_any_sentence_have_no_number():
    assert steps([ELEVATED, "> A"], EN) == [Step(number=0, text="", runs=(Run(notes=(ELEVATED,), commands=("A",)),))]


def test_steps_are_the_same_in_every_language():
    lines = ["Restart the service.", EXCHANGE, ELEVATED, "> A"]
    (made,) = steps(lines, DE)
    assert made.runs[0].notes == (
        "Wenn Exchange die Post sendet:",
        "In einer PowerShell mit erhöhten Rechten auf EX01:",
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_heading_is_numbered_in_any_case(name):
    for finding in report(name).findings:
        lines = [*finding.remedy.steps, *finding.remedy.verify] if finding.remedy else []
        for say in (EN, DE):
            for step in steps(lines, say):
                assert not step.text.endswith((":",)) or step.runs, step.text


def test_commands_before_sentences_are_the_first_step():
    """A bare command, then "1. Send a message" reads as if the command came at any time."""
    made = steps([ELEVATED, "> A", "Send a message.", "> B", "Wait."], EN)
    assert [(step.number, step.text) for step in made] == [(1, ELEVATED), (2, "Send a message."), (3, "Wait.")]
    assert made[0].runs == (Run(notes=(), commands=("A",)),)
    assert made[1].runs == (Run(notes=(), commands=("B",)),)


def test_the_first_step_says_so_where_no_heading_stands_above_its_command():
    made = steps(["> A", "Send a message."], DE)
    assert [(step.number, step.text) for step in made] == [(1, "Führen Sie dies aus:"), (2, "Send a message.")]


def test_the_kind_of_server_stays_above_the_shell():
    made = steps([EXCHANGE, ELEVATED, "> A", EITHER, "Send a message."], EN)
    assert made[0] == Step(number=1, text=EXCHANGE, runs=(Run(notes=(ELEVATED,), commands=("A",)),))
