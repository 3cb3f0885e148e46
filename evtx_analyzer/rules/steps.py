"""Steps of remedies and of collecting evidence, and the files of steps that causes share (``commands``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from msgspec.structs import replace

from evtx_analyzer.commands import COMMAND, Server, Shell, Step
from evtx_analyzer.errors import RuleError
from evtx_analyzer.rules.mistakes import Check

Commands = Mapping[str, tuple[Step, ...]]
"""Steps by the name of the file in ``commands`` that holds them."""

CONDITIONS = ("server", "when", "unless")
_FORMS = ("text", "lines", "commands")
_SERVERS = frozenset(get_args(Server)) - {""}
_SHELLS = frozenset(get_args(Shell)) - {""}


def parse_commands(file: str, data: dict[str, Any], mistakes: list[RuleError]) -> tuple[Step, ...]:
    """Return steps that several causes share; they cannot depend on observations, which belong to one cause."""
    check = Check(file, mistakes)
    check.keys("", data, ("title", "steps"))
    check.text("title", data.get("title"))
    return parse_steps("steps", data.get("steps"), frozenset(), {}, check)


def parse_steps(key: str, data: object, observed: frozenset[str], commands: Commands, check: Check) -> tuple[Step, ...]:
    """Return the steps of the list under ``key``, including those of files in ``commands`` that it names."""
    if not isinstance(data, list) or not data:
        check.wrong(key, "expected a list of sentences, and of mappings with text, lines or commands")
        return ()
    return tuple(
        step for number, part in enumerate(data) for step in _step(f"{key}[{number}]", part, observed, commands, check)
    )


def _step(key: str, data: object, observed: frozenset[str], commands: Commands, check: Check) -> tuple[Step, ...]:
    if not isinstance(data, dict):
        return (_plain(key, data, check),)
    check.keys(key, data, (*CONDITIONS, *_FORMS, "shell"))
    conditions = parse_conditions(key, data, observed, check)
    forms = [form for form in _FORMS if form in data]
    if len(forms) != 1:
        check.wrong(key, f"expected exactly one of {', '.join(_FORMS)}")
        return ()
    if forms == ["commands"]:
        return _shared(f"{key}.commands", data["commands"], conditions, commands, check)
    if forms == ["text"]:
        return (Step(text=check.sentence(f"{key}.text", data["text"]), **conditions),)
    check.reference(f"{key}.shell", data.get("shell"), _SHELLS)
    return (Step(lines=check.commands(f"{key}.lines", data["lines"]), shell=data.get("shell", ""), **conditions),)


def _plain(key: str, data: object, check: Check) -> Step:
    if isinstance(data, str) and data.startswith(COMMAND):
        return Step(lines=(check.command(key, data.removeprefix(COMMAND)),))
    return Step(text=check.sentence(key, data))


def _shared(
    key: str, data: object, conditions: Mapping[str, Any], commands: Commands, check: Check
) -> tuple[Step, ...]:
    """Return the steps of the named files of ``commands``, each under the conditions of the place that names them."""
    names = [data] if isinstance(data, str) else data
    if not isinstance(names, list) or not names:
        check.wrong(key, "expected the name of a file in commands, or a list of them")
        return ()
    known = frozenset(commands)
    for name in names:
        check.reference(key, name, known)
    steps = [step for name in names if name in known for step in commands[name]]
    return tuple(replace(step, **{**conditions, "server": step.server or conditions["server"]}) for step in steps)


def parse_conditions(key: str, body: Mapping[str, Any], observed: frozenset[str], check: Check) -> dict[str, Any]:
    """Return the conditions of a step or of missing evidence: its server, and what must be observed and what not."""
    server = body.get("server", "")
    if server:
        check.reference(f"{key}.server", server, _SERVERS)
    when, unless = (tuple(body.get(part) or ()) for part in ("when", "unless"))
    for name in (*when, *unless):
        check.reference(key, name, observed)
    return {"server": server, "when": when, "unless": unless}
