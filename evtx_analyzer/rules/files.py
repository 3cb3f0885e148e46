"""Finds rule files: where they lie, which of them override others, and a version of their contents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from evtx_analyzer.errors import RuleError, RuleSetError

PARTS = ("signals", "links", "commands", "causes")
_NAME = re.compile(r"[a-z0-9-]+")
RuleTexts = Mapping[str, Mapping[str, bytes]]
"""Contents of rule files by part and file name, in order."""


def builtin_rules() -> Traversable:
    """Return the folder of the rules that ship with the package."""
    try:
        return resources.files("evtx_analyzer.ruleset")
    except ModuleNotFoundError:
        # In a checkout, Python finds the package there before an installed one, and the rules lie next to it.
        return Path(__file__).parents[2] / "rules"


def is_builtin_cause(cause: str) -> bool:
    """Return whether a cause ships with the package; a saved report may hold any text in its place."""
    return _NAME.fullmatch(cause) is not None and builtin_rules().joinpath("causes", f"{cause}.yml").is_file()


def rule_folders(folder: str | Path | None) -> tuple[Traversable, ...]:
    """Return the built-in rules and, after them, the user's folder; raises RuleSetError if that has no rules."""
    if folder is None:
        return (builtin_rules(),)
    own = Path(folder)
    if not any(own.joinpath(part).is_dir() for part in PARTS):
        message = "no rule file found; expected signals/, links/, commands/ or causes/ in it"
        raise RuleSetError((RuleError(own.as_posix(), "", message),))
    return builtin_rules(), own


def rules_version(folder: str | Path | None) -> str:
    """Return the SHA-256 (hex) of the names and contents of all rule files, built-in ones and those of a folder."""
    digest = hashlib.sha256()
    for number, root in enumerate(rule_folders(folder)):
        for part, files in rule_texts([root]).items():
            for name, content in files.items():
                digest.update(f"{number}/{part}/{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def rule_files(folders: Iterable[Traversable], part: str) -> dict[str, Traversable]:
    """Return the YAML files of a part by name, in the order of names; a later folder overrides an earlier one."""
    places = [folder.joinpath(part) for folder in folders]
    files = {file.name: file for place in places if place.is_dir() for file in place.iterdir()}
    return {name: files[name] for name in sorted(files) if name.endswith((".yml", ".yaml"))}


def rule_texts(folders: Iterable[Traversable]) -> RuleTexts:
    """Return the contents of all rule files."""
    places = tuple(folders)
    return {part: {name: file.read_bytes() for name, file in rule_files(places, part).items()} for part in PARTS}
