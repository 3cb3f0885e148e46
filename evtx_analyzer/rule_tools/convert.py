"""Converts signals and links to queries of a SIEM, by the pySigma backends that are installed (extra ``siem``).

Only rules over real logs are converted: views (``product: evtx-analyzer``) have no events in a SIEM. For the SIEMs of
``siem`` a query names their tables and columns; for any other backend, and with ``plain``, it keeps the names of the
rule. A link is converted together with the signals that it correlates and always keeps the names of the rule, because
it joins fields of views, which no SIEM has.
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
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation

from evtx_analyzer.errors import OptionError
from evtx_analyzer.rule_tools.siem import SIEMS, Log, Siem
from evtx_analyzer.rules.files import rule_files

VIEWS = "evtx-analyzer"
INSTALL = (
    "the extra siem brings those of Splunk and Kusto (docs/usage.md tells how to install extras), any other is a "
    "package of its own: pip install pysigma-backend-NAME"
)
LINK_NOTE = "the names are those of the rule: a link joins fields that only evtx-analyzer has"
_Rules = dict[str, dict[str, Any]]


class Converted(Struct, frozen=True, kw_only=True):
    """A rule and its query, or why there is none; ``note`` says what to know before it is used."""

    name: str
    query: str
    problem: str
    note: str = ""


def convert(
    folders: Iterable[Traversable], target: str, names: Iterable[str] = (), *, plain: bool = False
) -> Iterator[Converted]:
    """Yield the queries of the rules (all, or those of ``names``) for a SIEM or a pySigma backend.

    Raises OptionError if the backend is not installed or a rule does not exist.
    """
    siem = SIEMS.get(target)
    backends, backend = InstalledSigmaPlugins.autodiscover().backends, siem.backend if siem else target
    if backend not in backends:
        known = ", ".join(
            sorted({*backends, *(name for name, known_siem in SIEMS.items() if known_siem.backend in backends)})
        )
        raise OptionError(f"there is no backend named {target} (installed: {known or 'none'}); {INSTALL}")
    places = tuple(folders)
    rules = _convertible(places)
    wanted = list(names) or list(rules)
    for name in wanted:
        if name not in rules:
            raise OptionError(f"there is no convertible rule named {name}; known: {', '.join(rules)}")
    for name in wanted:
        yield _converted(name, rules, backends[backend], None if plain else siem)


def _convertible(places: tuple[Traversable, ...]) -> _Rules:
    """Return the signals over real logs, and the links between such signals."""
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


def _converted(name: str, rules: _Rules, backend: Any, siem: Siem | None) -> Converted:  # noqa: ANN401  a plugin's class
    needed = [rules[part] for part in (*rules[name].get("correlation", {}).get("rules", ()), name)]
    is_link = "correlation" in rules[name]
    placed = siem if not is_link else None
    if placed and _log(rules[name]) not in placed.logs:
        log = "/".join(map(str, _log(rules[name])))
        return Converted(name=name, query="", problem=f"no table is known that holds {log}; see --plain")
    try:
        converter = backend(_pipeline(placed, rules[name])) if placed else backend()
        queries = converter.convert(SigmaCollection.from_dicts(needed))
    except (SigmaError, NotImplementedError) as error:
        return Converted(name=name, query="", problem=str(error).partition(" (while")[0])
    query = str(queries[-1])
    if placed:
        query = placed.place(_log(rules[name]), _fields_of(rules[name]), query)
    return Converted(name=name, query=query, problem="", note=LINK_NOTE if siem and is_link else "")


# ----------------------------------------------------------------------------------------------- names of a SIEM


def _log(data: dict[str, Any]) -> Log:
    source = data.get("logsource", {})
    return source.get("product"), source.get("service")


def _fields(part: object) -> Iterator[str]:
    """Yield the fields of a detection, without their modifiers."""
    if isinstance(part, list):
        for alternative in part:
            yield from _fields(alternative)
    elif isinstance(part, dict):
        yield from (str(name).partition("|")[0] for name in part)


def _fields_of(data: dict[str, Any]) -> list[str]:
    parts = [part for name, part in data.get("detection", {}).items() if name != "condition"]
    return sorted({name for part in parts for name in _fields(part) if name})


def _pipeline(siem: Siem, data: dict[str, Any]) -> ProcessingPipeline:
    """Return the pySigma pipeline that renames a signal's fields to columns."""
    columns: dict[str | None, str | list[str]] = {name: siem.logs[_log(data)].column(name) for name in _fields_of(data)}
    return ProcessingPipeline(items=[ProcessingItem(transformation=FieldMappingTransformation(columns))])
