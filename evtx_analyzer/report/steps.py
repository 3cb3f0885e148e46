"""The lines of a remedy as numbered steps: a sentence is a step, commands and what is said of them stand below it.

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
    """Commands that run in one place; ``notes`` say in which: for which kind of server, and in which shell."""

    notes: tuple[str, ...]
    commands: tuple[str, ...]


class Step(Struct, frozen=True, kw_only=True):
    """A sentence with the commands below it; ``number`` is 0 and ``text`` empty where commands stand alone."""

    number: int
    text: str
    runs: tuple[Run, ...] = ()


def steps(lines: Iterable[str], say: Language) -> list[Step]:
    """Return the (English) lines of a remedy as steps in the reader's language.

    A sentence for one kind of server only says so itself, so that no step can be taken for one of another server.
    """
    made: list[Step] = []
    alternative, owner = "", ""
    notes: list[str] = []
    for line in lines:
        kind = line_kind(line)
        if kind == "alternative":
            alternative, notes = line, []
        elif kind == "shell":
            notes = [say.sentence(line)]
        elif kind == "command":
            last = made.pop() if made else Step(number=0, text="")
            # A step that says for which kind of server it is need not say it again for its commands.
            told = notes if owner == alternative else [say.sentence(alternative), *notes]
            made.append(_with_command(last, tuple(told), line.removeprefix(COMMAND)))
        else:
            made.append(_sentence(line, alternative, 1 + sum(1 for step in made if step.number), say))
            owner, notes = alternative, []
    return _numbered(made, say)


def _numbered(made: list[Step], say: Language) -> list[Step]:
    """Return the steps with commands before any sentence as step 1, where others follow: their order must be clear."""
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
    """Return the step with one more command, in the last run where that is in the same place."""
    if step.runs and step.runs[-1].notes == notes:
        last = replace(step.runs[-1], commands=(*step.runs[-1].commands, command))
        return replace(step, runs=(*step.runs[:-1], last))
    return replace(step, runs=(*step.runs, Run(notes=notes, commands=(command,))))
