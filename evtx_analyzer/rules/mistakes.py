"""Reads values of a rule file; every mistake is collected with its file and key, and none stops the reading."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from evtx_analyzer.commands import COMMAND
from evtx_analyzer.errors import RuleError
from evtx_analyzer.rules.placeholders import PLACEHOLDERS

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_PLACEHOLDER = re.compile(r"\$\$|(?P<before>[^\s=(,;{]?)\$(?:[a-z_]+|\{[a-z_]+\})(?P<after>[^\s),;}|]?)")


def stem(file: str) -> str:
    """Return the name of the rule that a file holds."""
    return file.rpartition("/")[2].rpartition(".")[0]


class Check:
    """Reads values of one file and adds to ``mistakes`` whatever is wrong with them."""

    def __init__(self, file: str, mistakes: list[RuleError]) -> None:
        self._file, self._mistakes = file, mistakes

    def wrong(self, key: str, message: str) -> None:
        """Add a mistake at a key."""
        self._mistakes.append(RuleError(self._file, key, message))

    def text(self, key: str, value: object) -> str:
        """Return a text on one line, its placeholders checked; empty if the value is not a text."""
        if isinstance(value, str) and value.strip():
            self._placeholders(key, value)
            return " ".join(value.split())
        self.wrong(key, "expected a text")
        return ""

    def optional_text(self, key: str, value: object) -> str:
        """Return a text, empty if the key is absent."""
        return "" if value is None else self.text(key, value)

    def texts(self, key: str, value: object) -> tuple[str, ...]:
        """Return a list of texts, which may not be empty."""
        if not isinstance(value, list) or not value:
            self.wrong(key, "expected a list of texts")
            return ()
        return tuple(self.text(f"{key}[{number}]", text) for number, text in enumerate(value))

    def sentence(self, key: str, value: object) -> str:
        """Return a sentence of a step; it must begin with a word, so that no value of a log makes a command of it."""
        text = self.text(key, value)
        if text.startswith(("$", COMMAND.strip())) or "\n" in text:
            self.wrong(key, "a sentence begins with a word; a command stands under lines, with its shell")
        return text

    def commands(self, key: str, value: object) -> tuple[str, ...]:
        """Return a list of commands, which may not be empty."""
        if not isinstance(value, list) or not value:
            self.wrong(key, "expected a list of commands")
            return ()
        return tuple(self.command(f"{key}[{number}]", command) for number, command in enumerate(value))

    def command(self, key: str, value: object) -> str:
        """Return a command; a placeholder in it must be a whole argument, for it is filled with a quoted literal."""
        text = self.text(key, value)
        bare = _QUOTED.sub("''", text)
        quoted = [part for part in _QUOTED.findall(text) if string.Template(part).get_identifiers()]
        joined = [match[0] for match in _PLACEHOLDER.finditer(bare) if match["before"] or match["after"]]
        for part in (*quoted, *joined):
            self.wrong(key, f"in a command a placeholder is a whole argument, without quotation marks: {part}")
        return text

    def keys(self, key: str, body: Mapping[Any, object], known: tuple[str, ...]) -> None:
        """Add a mistake for every key that is not known."""
        for name in body:
            if name not in known:
                self.wrong(f"{key}.{name}".lstrip("."), f"unknown key; expected {', '.join(known)}")

    def number(self, key: str, value: object) -> int:
        """Return a whole number; 0 if the value is not one."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.wrong(key, "expected a whole number")
        return 0

    def mapping(self, key: str, value: object) -> dict[str, Any]:
        """Return a mapping; an empty one if the value is not a mapping."""
        if isinstance(value, dict):
            return value
        self.wrong(key, "expected a mapping")
        return {}

    def reference(self, key: str, name: object, known: frozenset[str]) -> None:
        """Add a mistake if a name is not known."""
        if name not in known:
            self.wrong(key, f"there is no {name!r}; known: {', '.join(sorted(known)) or 'none'}")

    def _placeholders(self, key: str, value: str) -> None:
        template = string.Template(value)
        if not template.is_valid():
            self.wrong(key, "a $ that begins no placeholder must be written $$")
            return
        for name in template.get_identifiers():
            if name not in PLACEHOLDERS:
                self.wrong(key, f"unknown placeholder ${name}; known: {', '.join(sorted(PLACEHOLDERS))}")
