"""Parses rule files (``causes`` parses those of causes); every mistake of a set is reported at once.

It imports YAML and pySigma, which takes longer than a small analysis, so it is imported only if the cache does not hold
the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

import yaml
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from evtx_analyzer.errors import RuleError, RuleSetError
from evtx_analyzer.model.evidence import LinkBasis
from evtx_analyzer.normalize import kinds
from evtx_analyzer.rules.causes import parse_cause
from evtx_analyzer.rules.definitions import LinkRule, RuleSet, SignalRule
from evtx_analyzer.rules.files import RuleTexts
from evtx_analyzer.rules.mistakes import stem
from evtx_analyzer.rules.steps import parse_commands
from evtx_analyzer.sigma.conditions import UnsupportedConditionError
from evtx_analyzer.sigma.from_pysigma import condition_of

# Sigma log source (product, service or category) -> kind of event that the program reads.
LOG_SOURCES: dict[tuple[str | None, str | None], str] = {
    **kinds.LOG_SOURCES,
    # Views that correlation builds: a refused session and a certificate check with everything that surrounds them.
    ("evtx-analyzer", "smtp-session"): "smtp-session",
    ("evtx-analyzer", "chain-operation"): "chain-operation",
    ("evtx-analyzer", "tls-handshake"): "tls-handshake",
    ("evtx-analyzer", "certificate-store"): "certificate-store",
}

_Rule = TypeVar("_Rule")

# libyaml reads the rules six times faster; PyYAML may be built without it.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(texts: RuleTexts) -> RuleSet:
    """Return the rules of files; raises RuleSetError with all mistakes."""
    mistakes: list[RuleError] = []

    def rules(part: str, parse_file: Callable[..., _Rule | None], *known: object) -> list[tuple[str, _Rule]]:
        """Return the rules of a part, each with the name of its file; files with a mistake are left out."""
        files = _documents(texts, part, mistakes)
        parsed = [(stem(name), _parsed(parse_file, name, data, *known, mistakes=mistakes)) for name, data in files]
        return [(name, rule) for name, rule in parsed if rule is not None]

    signals = rules("signals", _signal)
    known = frozenset(name for name, _ in signals)
    links = rules("links", _link, known)
    commands = dict(rules("commands", parse_commands))
    names = {"link": frozenset(name for name, _ in links), "signal": known}
    causes = [cause for _, cause in rules("causes", parse_cause, names, commands)]
    if not mistakes and not causes:
        mistakes.append(RuleError("causes", "", "no rule file found; expected signals/, links/ and causes/"))
    if mistakes:
        raise RuleSetError(tuple(mistakes))
    return RuleSet(
        signals=tuple(signal for _, signal in signals),
        links=tuple(link for _, link in links),
        causes=tuple(sorted(causes, key=lambda cause: (cause.rank, cause.id))),
    )


def _parsed(
    parse: Callable[..., _Rule | None], file: str, data: dict[str, Any], *known: object, mistakes: list[RuleError]
) -> _Rule | None:
    """Return the rule of one file; a value of an unexpected type is a mistake of that file."""
    try:
        return parse(file, data, *known, mistakes)
    except Exception as error:  # noqa: BLE001  the boundary of a rule file: a mapping, a date or a list may stand anywhere
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        mistakes.append(RuleError(file, "", f"a value is not of the type that its key expects ({text})"))
        return None


def _documents(texts: RuleTexts, part: str, mistakes: list[RuleError]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of every YAML file of a part."""
    for file, content in texts[part].items():
        name = f"{part}/{file}"
        try:
            # With line feeds alone, as a text file has in Python.
            text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
            data = yaml.load(text, Loader=_LOADER)  # noqa: S506  both are safe loaders
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mistakes.append(RuleError(name, "", f"not readable as YAML: {error}".replace("\n", " ")))
            continue
        if isinstance(data, dict):
            yield name, data
        else:
            mistakes.append(RuleError(name, "", "expected a mapping of keys to values"))


# ---------------------------------------------------------------------------------------------- signals, links


def _signal(file: str, data: dict[str, Any], mistakes: list[RuleError]) -> SignalRule | None:
    try:
        rule = SigmaRule.from_dict(data)
        conditions = tuple(condition_of(condition.parsed) for condition in rule.detection.parsed_condition)
    except (SigmaError, UnsupportedConditionError) as error:
        mistakes.append(RuleError(file, "detection", str(error)))
        return None
    source = rule.logsource
    kind = LOG_SOURCES.get((source.product, source.service or source.category))
    if kind is None:
        known = ", ".join(f"{product}/{service}" for product, service in LOG_SOURCES)
        mistakes.append(RuleError(file, "logsource", f"no log of this kind is read; known product/service: {known}"))
        return None
    return SignalRule(name=stem(file), title=rule.title, kind=kind, conditions=conditions)


def _link(file: str, data: dict[str, Any], signals: frozenset[str], mistakes: list[RuleError]) -> LinkRule | None:
    before = len(mistakes)
    try:
        rule = SigmaCorrelationRule.from_dict(data)
    except SigmaError as error:
        mistakes.append(RuleError(file, "correlation", str(error)))
        return None
    if rule.type not in (SigmaCorrelationType.TEMPORAL, SigmaCorrelationType.TEMPORAL_ORDERED):
        mistakes.append(RuleError(file, "correlation.type", "only temporal and temporal_ordered are evaluated"))
    names = [reference.reference for reference in rule.rules or ()]
    unknown = [name for name in names if name not in signals]
    mistakes += [RuleError(file, "correlation.rules", f"there is no signal named {name}") for name in unknown]
    extra = data.get("evtx-analyzer", {})
    basis, operation, event = extra.get("basis"), extra.get("operation"), extra.get("event", "")
    if basis not in get_args(LinkBasis):
        mistakes.append(RuleError(file, "evtx-analyzer.basis", f"expected one of {', '.join(get_args(LinkBasis))}"))
    if operation not in names:
        mistakes.append(
            RuleError(file, "evtx-analyzer.operation", "expected the one of correlation.rules that is the check")
        )
    if event and event not in signals:
        mistakes.append(RuleError(file, "evtx-analyzer.event", f"there is no signal named {event}"))
    window = [_seconds(file, key, extra.get(key), mistakes) for key in ("before", "after")]
    if len(mistakes) > before:
        return None
    return LinkRule(
        name=stem(file),
        title=rule.title,
        basis=basis,
        operation_signal=operation,
        event_signal=event,
        rejection_signals=tuple(name for name in names if name != operation),
        fields=_joined_fields(rule, operation),
        before=window[0],
        after=window[1],
    )


def _joined_fields(rule: SigmaCorrelationRule, operation: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of fields that group-by names; ``Computer`` is left out, because ``hosts`` compares machines."""
    pairs = []
    for alias in rule.aliases:
        mapping = {reference.reference: name for reference, name in alias.mapping.items()}
        others = sorted({name for reference, name in mapping.items() if reference != operation})
        if alias.alias in (rule.group_by or ()) and operation in mapping and others:
            pairs.append((mapping[operation], others[0]))
    return tuple(pairs)


def _seconds(file: str, key: str, value: object, mistakes: list[RuleError]) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    mistakes.append(RuleError(file, f"evtx-analyzer.{key}", "expected a number of seconds, not negative"))
    return 0.0
