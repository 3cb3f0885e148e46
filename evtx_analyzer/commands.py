"""Turn the steps of causes into lines of a report: sentences, and commands below a sentence that names their shell.

Exchange Online, the Exchange Management Shell and Windows have cmdlets of the same names that do other things
(``Get-AcceptedDomain``), so no command stands without its shell. A step for another kind of server than the one that
was refused is never shown; where the kind is not known, the steps for each kind are shown as alternatives.

Values of a log that are put into a command become one literal argument each (``literal``), so that no name that an
attacker chose can be anything else.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

Shell = Literal["", "exchange-online", "exchange", "windows"]
Server = Literal["", "exchange", "iis"]

COMMAND = "> "
"""The beginning of a report's line that is a command."""

EITHER = "In either case:"
"""The line after which the steps are for every kind of server again."""

_SHELLS: dict[Shell, str] = {
    "exchange-online": "In Exchange Online PowerShell (Connect-ExchangeOnline):",
    "exchange": "In the Exchange Management Shell on $host:",
    "windows": "In an elevated PowerShell on $host:",
}
_SHELL_LINE = re.compile("|".join(re.escape(text).replace(r"\$host", ".+") for text in _SHELLS.values()))
_ALTERNATIVES: dict[Server, str] = {
    "exchange": "Where Exchange sends the mail:",
    "iis": "Where IIS SMTP sends the mail:",
    "": EITHER,
}
LineKind = Literal["sentence", "command", "shell", "alternative"]


def line_kind(line: str) -> LineKind:
    """Return the kind of a line in a report's steps; only a sentence is a step of its own.

    ``shell`` names where the commands below it run, ``alternative`` the kind of server that what follows is for.
    """
    if line.startswith(COMMAND):
        return "command"
    if line in _ALTERNATIVES.values():
        return "alternative"
    return "shell" if _SHELL_LINE.fullmatch(line) else "sentence"


# PowerShell ends a literal at any of these, and reads two of them as one (about_Quoting_Rules; the typographic ones
# are those of CodeGeneration.EscapeSingleQuotedStringContent).
_QUOTATION_MARKS = re.compile("['\u2018\u2019\u201a\u201b]")
TO_FILL_IN = re.compile(r"<[A-Za-z0-9]+(?: [A-Za-z0-9]+)+>|<[a-z]+>")
"""What stands where a value is not known: ``<the connector>``, but not ``<I>`` and ``<S>`` of TlsCertificateName.

PowerShell refuses a line with a bare ``<``, so it does nothing before it is filled in.
"""
# Unicode categories: control, format (bidi marks, zero width), private, surrogates, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


class Conditional(Struct, frozen=True, kw_only=True):
    """A text that is shown for one kind of ``server``, and if all of ``when`` and none of ``unless`` was observed."""

    server: Server = ""
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


class Step(Conditional, frozen=True, kw_only=True):
    """Either one sentence (``text``), or commands (``lines``) of one ``shell``."""

    text: str = ""
    shell: Shell = ""
    lines: tuple[str, ...] = ()


class Place(Struct, frozen=True, kw_only=True):
    """Where steps are to be done: the kind of server, what was observed there, the values of placeholders."""

    server: Server
    observed: frozenset[str]
    names: Mapping[str, str]


def applies(rule: Conditional, place: Place) -> bool:
    """Return whether a text is for a place; a place whose kind of server is not known takes those for any kind."""
    fits_server = not rule.server or not place.server or rule.server == place.server
    return fits_server and set(rule.when) <= place.observed and not set(rule.unless) & place.observed


def instructions(steps: Iterable[Step], places: Sequence[Place]) -> tuple[str, ...]:
    """Return the steps for all places as lines of a report; what is the same for several places comes once."""
    return tuple(_lines(steps, places))


def _lines(steps: Iterable[Step], places: Sequence[Place]) -> Iterator[str]:
    servers = {place.server for place in places}
    alternatives = len(servers) > 1 or "" in servers
    server: Server = ""
    shell = ""
    for step in steps:
        fitting = [place for place in places if applies(step, place)]
        if not fitting:
            continue
        if alternatives and step.server != server:
            server, shell = step.server, ""
            yield _ALTERNATIVES[server]
        if step.text:
            # Each sentence names the shell of its commands again: readers do single steps.
            shell = ""
            yield from dict.fromkeys(sentence(step.text, place.names) for place in fitting)
            continue
        for commands, hosts in _by_commands(step, fitting).items():
            heading = sentence(_SHELLS.get(step.shell, ""), {"host": ", ".join(hosts)})
            if heading and heading != shell:
                yield heading
            shell = heading
            yield from commands


def _by_commands(step: Step, places: Iterable[Place]) -> dict[tuple[str, ...], dict[str, None]]:
    """Return the commands of a step with their values, and for each version of them the hosts that it is for."""
    hosts: dict[tuple[str, ...], dict[str, None]] = {}
    for place in places:
        lines = tuple(COMMAND + command(line, place.names) for line in step.lines)
        hosts.setdefault(lines, {})[place.names.get("host", "")] = None
    return hosts


def sentence(text: str, names: Mapping[str, str]) -> str:
    """Return a sentence with its placeholders filled."""
    return string.Template(text).safe_substitute(names)


def command(line: str, names: Mapping[str, str]) -> str:
    """Return a command with each placeholder filled by a literal argument."""
    template = string.Template(line)
    known = (name for name in template.get_identifiers() if name in names)
    return template.safe_substitute({name: literal(names[name]) for name in known})


def literal(value: str) -> str:
    """Return a value as one literal argument of PowerShell; an instruction to fill it in stays as it is.

    Characters that do not show, or that turn the direction of writing, are replaced: what is pasted is what was read.
    """
    if TO_FILL_IN.fullmatch(value):
        return value
    visible = "".join("\ufffd" if unicodedata.category(char) in _INVISIBLE else char for char in value)
    return "'" + _QUOTATION_MARKS.sub(r"\g<0>\g<0>", visible) + "'"
