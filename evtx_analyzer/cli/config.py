"""``evtx-analyzer.toml``: options that hold in a folder, for ``analyze`` and ``batch``.

    tz = "Europe/Berlin"
    host = ["EX01*=EX01", "EX02*=EX02"]
    window = [10, 5]
    rules = "our-rules"

    [batch]
    format = ["html"]
    time-limit = 600

A key is the name of an option, and its value is what the option takes. A key in ``[analyze]`` or ``[batch]`` is for
that command and replaces one above. An option on the command line replaces one of the file. An unknown key is an error.
"""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Any

from evtx_analyzer.cli.ending import complain
from evtx_analyzer.cli.options import BareRedact
from evtx_analyzer.errors import OptionError

NAME = "evtx-analyzer.toml"  # as ``batch/bundles.py`` leaves it out
_SHARED = ("host", "tz", "window", "since", "until", "rules", "every-row", "lang", "redact", "fail-on")
KEYS = {
    "analyze": (*_SHARED, "format", "jobs"),
    "batch": (*_SHARED, "format", "jobs", "memory-limit", "time-limit"),
}
# Options whose environment variable replaces the file's value.
_VARIABLES = {"lang": "EVTX_ANALYZER_LANG"}


class ConfiguredCommand(BareRedact):
    """A command that also takes options from a configuration file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own context type
        """Put the options of the file in front of the arguments before they are parsed, and name them on stderr."""
        return super().parse_args(ctx, with_configuration(str(self.name), args))


def with_configuration(command: str, args: list[str]) -> list[str]:
    """Return the arguments with the options of the configuration file in front. Raises OptionError for a wrong file."""
    options = args[: args.index("--")] if "--" in args else args
    if {"--no-config", "--help", "-h"} & set(options):
        return args
    path = _configured_path(options) or (Path(NAME) if Path(NAME).is_file() else None)
    if path is None:
        return args
    taken = {
        key: value
        for key, value in _read(path, command).items()
        if not any(option == f"--{key}" or option.startswith(f"--{key}=") for option in options)
        and not (key in _VARIABLES and os.environ.get(_VARIABLES[key]))
    }
    if not taken:
        return args
    complain(f"options from {path}: {', '.join(taken)}")
    from_file = [option for key, value in taken.items() for option in _as_options(path, key, value)]
    return [*from_file, f"--from-config={path.name}: {', '.join(taken)}", *args]


def _configured_path(options: list[str]) -> Path | None:
    for number, option in enumerate(options):
        if option.startswith("--config="):
            return Path(option.partition("=")[2])
        if option == "--config" and number + 1 < len(options):
            return Path(options[number + 1])
    return None


def _read(path: Path, command: str) -> dict[str, Any]:
    """Return the keys and values that are for a command. Raises OptionError for a wrong file."""
    import tomllib

    try:
        text = path.read_text("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"--config {path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: is not TOML: {error}") from None
    tables = {name: document.pop(name, {}) for name in KEYS}
    for where, table, known in [("", document, _SHARED), *((name, tables[name], KEYS[name]) for name in KEYS)]:
        if not isinstance(table, dict):
            raise OptionError(f"{path}:{_line(text, '', where)}: {where} is a table: write [{where}]")
        for key in table:
            if key not in known:
                place = f" in [{where}]" if where else ""
                raise OptionError(
                    f"{path}:{_line(text, where, key)}: unknown key {key}{place}; expected one of {', '.join(known)}"
                )
    return {**document, **tables[command]}


def _line(text: str, table: str, key: str) -> int:
    """Return the line number of a key, or of its table if the key is written in an unusual way."""
    # tomllib gives no line numbers.
    current, place = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            current = match[1].strip("\"'")
            place = number if current == table else place
            if current == key and not table:
                return number
        elif current == table and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line):
            return number
    return place


def _as_options(path: Path, key: str, value: Any) -> list[str]:  # noqa: ANN401  any value of TOML
    """Return a value as options of the command line. Raises OptionError for a value of a wrong type."""
    if key == "every-row":
        if not isinstance(value, bool):
            raise OptionError(f"{path}: {key} = {value!r}: expected true or false")
        return [f"--{key}"] if value else []
    if key == "window" and isinstance(value, list):
        value = ",".join(str(seconds) for seconds in value)
    values = value if isinstance(value, list) else [value]
    if any(isinstance(member, bool | dict | list) for member in values):
        raise OptionError(f"{path}: {key} = {value!r}: expected what --{key} takes")
    if key == "rules":
        values = [str(path.parent / str(folder)) for folder in values]
    # A datetime of TOML is a date too; str would write it with a blank instead of T.
    return [f"--{key}={member.isoformat() if isinstance(member, date) else member}" for member in values]
