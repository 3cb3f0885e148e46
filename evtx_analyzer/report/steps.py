"""Turn the lines of a remedy into numbered steps: a sentence is a step, with its commands and their notes below it.

5. Restart the service that sends.
   Where Exchange sends the mail:
   In an elevated PowerShell on EX01:
     Restart-Service MSExchangeTransport
6. Where IIS SMTP sends the mail: Open the properties of the SMTP virtual server.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.commands import COMMAND, EITHER, line_kind
from evtx_analyzer.report.language import Language


class Run(Struct, frozen=True, kw_only=True):
    """Commands that run in one place; ``notes`` name the kind of server and the shell."""

    notes: tuple[str, ...]
    commands: tuple[str, ...]


class Step(Struct, frozen=True, kw_only=True):
    """A sentence with the commands below it; ``number`` is 0 and ``text`` empty for commands without a sentence."""

    number: int
    text: str
    runs: tuple[Run, ...] = ()


def steps(lines: Iterable[str], say: Language) -> list[Step]:
    """Return the (English) lines of a remedy as steps in the reader's language.

    Every sentence for one kind of server names it, so that nobody does a step on another server.
    """
    made: list[Step] = []
    # The kind of server that the current lines are for, and the one that the last sentence named.
    alternative, named = "", ""
    notes: list[str] = []
    for line in lines:
        kind = line_kind(line)
        if kind == "alternative":
            alternative, notes = line, []
        elif kind == "shell":
            notes = [say.sentence(line)]
        elif kind == "command":
            last = made.pop() if made else Step(number=0, text="")
            notes_of_run = notes if named == alternative else [say.sentence(alternative), *notes]
            made.append(_with_command(last, tuple(notes_of_run), line.removeprefix(COMMAND)))
        else:
            made.append(_sentence(line, alternative, 1 + sum(1 for step in made if step.number), say))
            named, notes = alternative, []
    return _numbered(made, say)


def _numbered(made: list[Step], say: Language) -> list[Step]:
    """Return the steps with commands before the first sentence as step 1 if others follow, to make the order clear."""
    if len(made) == 1 or not made or made[0].number:
        return made
    first = made[0].runs[0]
    text, *notes = first.notes or (say("Run this:"),)
    runs = (replace(first, notes=tuple(notes)), *made[0].runs[1:])
    return [Step(number=1, text=text, runs=runs), *(replace(step, number=step.number + 1) for step in made[1:])]


def _sentence(line: str, alternative: str, number: int, say: Language) -> Step:
    condition = "" if alternative == EITHER else say.sentence(alternative)
    return Step(number=number, text=f"{condition} {say.sentence(line)}".lstrip())


def _with_command(step: Step, notes: tuple[str, ...], command: str) -> Step:
    """Return the step with one more command, in its last run if that has the same notes."""
    if step.runs and step.runs[-1].notes == notes:
        last = replace(step.runs[-1], commands=(*step.runs[-1].commands, command))
        return replace(step, runs=(*step.runs[:-1], last))
    return replace(step, runs=(*step.runs, Run(notes=notes, commands=(command,))))
