"""Signals and links to queries of a SIEM, through the pySigma backends that are installed (extra ``siem``).

Only rules over real logs are converted: those over our own views (``product: evtx-analyzer``) have no events in a SIEM.
A link is converted together with the signals that it correlates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources.abc import Traversable
from typing import Any

import yaml
from msgspec import Struct
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.plugins import InstalledSigmaPlugins

from evtx_analyzer.errors import OptionError
from evtx_analyzer.rules.files import rule_files

VIEWS = "evtx-analyzer"
INSTALL = 'install backends with: pip install "evtx-analyzer[siem]"'


class Converted(Struct, frozen=True, kw_only=True):
    """A rule and its query, or why there is none."""

    name: str
    query: str
    problem: str


def convert(folders: Iterable[Traversable], target: str, names: Iterable[str] = ()) -> Iterator[Converted]:
    """Queries of the rules (all, or those named) for one backend; OptionError for an unknown backend or rule."""
    backends = InstalledSigmaPlugins.autodiscover().backends
    if target not in backends:
        known = ", ".join(sorted(backends)) or "none"
        raise OptionError(f"there is no backend named {target} (installed: {known}); {INSTALL}")
    places = tuple(folders)
    rules = _convertible(places)
    wanted = list(names) or list(rules)
    for name in wanted:
        if name not in rules:
            raise OptionError(f"there is no convertible rule named {name}; known: {', '.join(rules)}")
    for name in wanted:
        yield _one(name, rules, backends[target])


def _convertible(places: tuple[Traversable, ...]) -> dict[str, dict[str, Any]]:
    """Signals over real logs, and links of which every signal is one of them."""
    signals = {
        name: data for name, data in _documents(places, "signals") if data.get("logsource", {}).get("product") != VIEWS
    }
    links = {
        name: data
        for name, data in _documents(places, "links")
        if set(data.get("correlation", {}).get("rules", ())) <= set(signals)
    }
    return {**signals, **links}


def _documents(places: tuple[Traversable, ...], part: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, file in rule_files(places, part).items():
        yield name.rpartition(".")[0], yaml.safe_load(file.read_text(encoding="utf-8"))


def _one(name: str, rules: dict[str, dict[str, Any]], backend: Any) -> Converted:  # noqa: ANN401  a plugin's class
    needed = [*rules[name].get("correlation", {}).get("rules", ()), name]
    try:
        collection = SigmaCollection.from_dicts([rules[item] for item in needed])
        queries = backend().convert(collection)
    except (SigmaError, NotImplementedError) as error:
        return Converted(name=name, query="", problem=str(error).partition(" (while")[0])
    return Converted(name=name, query=str(queries[-1]), problem="")
