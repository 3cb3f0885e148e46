"""Caches parsed rules between runs in the user's cache folder: to parse them takes longer than a small analysis.

The name of an entry is a hash of everything that it depends on: the rule files, the modules that parse them, and
pySigma's version. It is JSON with a digest of its own content, so reading it can run no code and adds nothing that a
rule file could not say. An entry that does not match is not used; the rules are then parsed and it is written again.
The folder may be deleted at any time, and a cache that cannot be used only costs time: nothing here raises.

``EVTX_ANALYZER_NO_CACHE=1`` turns it off.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from evtx_analyzer.errors import ReportError
from evtx_analyzer.rules.definitions import RuleSet
from evtx_analyzer.rules.files import RuleTexts
from evtx_analyzer.version import VERSION
from evtx_analyzer.whole_files import is_part, write_whole

VARIABLE = "EVTX_ANALYZER_NO_CACHE"
KEPT = 8
"""How many entries are kept: one for each rule set in use, and those of other versions."""

_ABANDONED = 3600.0  # seconds: no run writes an entry for so long
_PACKAGE = Path(__file__).parent.parent
# Modules that decide how rule files are parsed and how an entry is laid out.
_MAKERS = (
    "commands.py",
    "exchange.py",
    "model/evidence.py",
    "model/findings.py",
    "normalize/kinds.py",
    "rules/cache.py",
    "rules/causes.py",
    "rules/definitions.py",
    "rules/mistakes.py",
    "rules/parsing.py",
    "rules/placeholders.py",
    "rules/steps.py",
    "sigma/conditions.py",
    "sigma/from_pysigma.py",
)


class _Entry(Struct, frozen=True):
    """A file of the cache; ``digest`` is the SHA-256 of its own name and of ``rules`` as it stands there."""

    digest: str
    rules: Raw


def folder() -> Path | None:
    """Return the folder of the entries, None if the cache is turned off or there is no home folder."""
    if os.environ.get(VARIABLE):
        return None
    try:
        return _user_caches() / "evtx-analyzer" / "rules"
    except RuntimeError:  # there is no home folder
        return None


def _user_caches() -> Path:
    """Return the user's cache folder: ``XDG_CACHE_HOME`` if that is set, or that of the system.

    The XDG Base Directory Specification says that a relative path there is to be ignored.
    """
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):  # noqa: PTH117  "" is no path
        return Path(xdg)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"


def entry(texts: RuleTexts) -> Path | None:
    """Return the path of the entry for these rules, None if they cannot be cached."""
    place = folder()
    if place is None:
        return None
    try:
        digest = hashlib.sha256(f"{VERSION}\n{_sigma_version()}\n".encode())
        for name in _MAKERS:
            digest.update(hashlib.sha256(_PACKAGE.joinpath(name).read_bytes()).digest())
    except (OSError, ImportError):  # the packages lie in no folder
        return None
    for part, files in texts.items():
        for name, content in files.items():
            digest.update(f"{part}/{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return place / f"{digest.hexdigest()}.json"


def _sigma_version() -> str:
    """Return pySigma's version, from the name of its metadata: importing ``importlib.metadata`` costs 20 ms."""
    spec = find_spec("sigma")
    places = spec.submodule_search_locations if spec is not None else None
    names = {
        name
        for place in places or ()
        for name in os.listdir(Path(place).parent)  # noqa: PTH208  names are all that is asked for
        if re.fullmatch(r"pysigma-[^-]+\.(dist|egg)-info", name, re.IGNORECASE)
    }
    if len(names) == 1:
        return names.pop()
    from importlib import metadata  # noqa: PLC0415  see above

    return metadata.version("pysigma")


def read(path: Path | None) -> RuleSet | None:
    """Return the rules of an entry, None if there is no entry or its digest does not match."""
    if path is None:
        return None
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Entry)
        content = bytes(stored.rules)
        return msgspec.json.decode(content, type=RuleSet) if stored.digest == _digest(path, content) else None
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def write(path: Path | None, rules: RuleSet) -> None:
    """Write an entry, whole or not at all, and only if it reads back equal; remove the oldest entries."""
    if path is None:
        return
    try:
        content = msgspec.json.encode(rules)
        if msgspec.json.decode(content, type=RuleSet) != rules:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(_Entry(digest=_digest(path, content), rules=Raw(content))))
        _sweep(path.parent)
    except (OSError, ReportError, ValueError, RecursionError):
        return


def _digest(path: Path, content: bytes) -> str:
    """Return the digest of an entry and its name, so that an entry under another's name is not used."""
    return hashlib.sha256(path.name.encode() + b"\n" + content).hexdigest()


def _sweep(place: Path) -> None:
    """Remove all but the newest entries, and unfinished files that killed runs left behind."""
    entries = sorted(((file.stat().st_mtime, file) for file in place.glob("*.json")), reverse=True)
    abandoned = [
        file for file in place.iterdir() if is_part(file.name) and time.time() - file.stat().st_mtime > _ABANDONED
    ]
    for file in [*(file for _, file in entries[KEPT:]), *abandoned]:
        with suppress(OSError):
            file.unlink()
