"""The worst texts for a regular expression, made from its own parts: what it repeats, what it begins with, and misses.

A pattern goes back where it repeats what could also match otherwise, and starts again at each place where its beginning
fits. So texts are made of each of its characters, of pairs of these, and of its literal beginnings, again and again.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
from pathlib import Path
from typing import Any

import evtx_analyzer

# Not public, and the only parser of regular expressions that agrees with ``re``.
sre: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")

_MOST_LETTERS = 9
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_NESTED = (sre.SUBPATTERN, *_REPEATS, sre.ASSERT, sre.ASSERT_NOT)
_LONG = re.compile(r".{41,}")


def modules():
    """All modules of the package that can be imported here."""
    for walk_package in pkgutil.walk_packages(evtx_analyzer.__path__, "evtx_analyzer."):
        if walk_package.name != "evtx_analyzer.__main__":
            yield importlib.import_module(walk_package.name)


def patterns():
    """Every pattern that a module or a class of the package keeps, by module and name."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            for number, item in enumerate(_patterns_in(value)):
                found[f"{module.__name__.removeprefix('evtx_analyzer.')}:{name}:{number}"] = item
    return found


def _patterns_in(value, depth=0):
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list) and depth < 3:
        for item in value:
            yield from _patterns_in(item, depth + 1)
    elif isinstance(getattr(value, "pattern", None), re.Pattern):
        yield value.pattern


def inline():
    """Patterns that are written where they are used, by module and line, with the function of ``re``."""
    found = {}
    for module in modules():
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if getattr(node.func.value, "id", "") != "re" or node.func.attr in ("compile", "escape"):
                continue
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str | bytes):
                flags = sum((getattr(re, item.attr) for item in ast.walk(node) if isinstance(item, ast.Attribute)
                            and hasattr(re.RegexFlag, item.attr)), re.NOFLAG)  # fmt: skip
                name = f"{module.__name__.removeprefix('evtx_analyzer.')}:re.{node.func.attr}:{first.value!s}"
                found[name] = (re.compile(first.value, flags), node.func.attr)
    return found


def _letters(parsed, found):
    """Characters of which a pattern is made, one for each class."""
    for code, argument in parsed:
        if code is sre.LITERAL or code is sre.NOT_LITERAL:
            found.append(chr(argument) if code is sre.LITERAL else "#")
        elif code is sre.ANY:
            found.append("#")
        elif code is sre.IN:
            found.append(_member(argument))
        elif code is sre.BRANCH:
            for branch in argument[1]:
                _letters(branch, found)
        elif code in _NESTED:
            _letters(argument[-1], found)
        elif code is sre.ATOMIC_GROUP:
            _letters(argument, found)


def _member(items):
    kinds = {sre.CATEGORY_DIGIT: "7", sre.CATEGORY_SPACE: " ", sre.CATEGORY_WORD: "a", sre.CATEGORY_NOT_SPACE: "x"}
    if items[0][0] is sre.NEGATE:
        left_out = {chr(argument) for code, argument in items if code is sre.LITERAL}
        return next(letter for letter in "#x7" if letter not in left_out)
    for code, argument in items:
        if code is sre.LITERAL:
            return chr(argument)
        if code is sre.RANGE:
            return chr(argument[0])
        if code is sre.CATEGORY:
            return kinds.get(argument, "#")
    return "#"


def _example(parsed, times):
    """A text that a pattern matches, with what may be repeated ``times`` times; ``None`` parts are left out."""
    made = []
    for code, argument in parsed:
        if code is sre.LITERAL:
            made.append(chr(argument))
        elif code in (sre.NOT_LITERAL, sre.ANY):
            made.append("#")
        elif code is sre.IN:
            made.append(_member(argument))
        elif code is sre.BRANCH:
            made.append(_example(argument[1][0], times))
        elif code is sre.SUBPATTERN:
            made.append(_example(argument[-1], times))
        elif code in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            low, high, inner = argument
            made.append(_example(inner, times) * max(int(low), min(int(high), times)))
        elif code is sre.ATOMIC_GROUP:
            made.append(_example(argument, times))
    return "".join(made)


def units(pattern):
    """Short texts to repeat: letters and pairs of the pattern, and beginnings of what it matches."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    parsed = parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    letters: list[str] = []
    _letters(parsed, letters)
    letters = [*list(dict.fromkeys(letters))[:_MOST_LETTERS], " ", "a", "\n"]
    letters = list(dict.fromkeys(letters))
    yield from letters
    yield from ("".join(pair) for pair in itertools.permutations(letters[:_MOST_LETTERS], 2))
    for times in (1, 2):
        whole = _example(parsed, times)
        yield from {whole[:end] for end in range(1, min(len(whole), 60) + 1)}


def texts(pattern, size):
    """Worst texts of about a size, each with a beginning that fits and an end that does not."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    parsed = parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    starts = list(dict.fromkeys(["", *(_example(parsed, 1)[:end] for end in (1, 3, 5, 8, 13, 21, 34, 55))]))
    for unit in dict.fromkeys(units(pattern)):
        body = unit * (size // max(1, len(unit)))
        for start in starts if len(unit) == 1 else [""]:
            text = f"{start}{body}\u0001"
            yield (unit, start), text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
