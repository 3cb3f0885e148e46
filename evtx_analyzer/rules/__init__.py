"""Loads rule files as signals, links and causes; every mistake of a rule set is reported at once.

``signals/*.yml`` are Sigma rules (one recognizable event), ``links/*.yml`` are Sigma correlation rules of type
``temporal`` (a refusal and a certificate check that belong together), ``causes/*.yml`` are ours: named observations
over signals and links, grades as any-of lists of all-of lists of observations, what would decide if it were
collected, and the remedy. File name = rule name. ``docs/rules.md`` is the manual.
"""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from pathlib import Path

from msgspec import Struct

from evtx_analyzer.rules import cache
from evtx_analyzer.rules.definitions import Cause, LinkRule, RuleSet
from evtx_analyzer.rules.files import RuleTexts, rule_folders, rule_texts, rules_version
from evtx_analyzer.sigma.match import Signal, signal


class Rules(Struct, frozen=True, kw_only=True):
    """A whole rule set, checked; ``added`` is its version if it holds rules of the user's own folder, else empty."""

    signals: tuple[Signal, ...]
    links: tuple[LinkRule, ...]
    causes: tuple[Cause, ...]
    added: str = ""

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Rules:
        """Return the built-in rules; those of ``folder`` are added, or override one of the same file name.

        The cache of parsed rules is used if it holds these very files. Raises RuleSetError with all mistakes of the
        set.
        """
        texts = rule_texts(rule_folders(folder))
        added = "" if folder is None else rules_version(folder)
        entry = cache.entry(texts)
        known = cache.read(entry)
        if known is not None:
            try:
                return _compiled(known, added)
            except (re.error, ValueError):
                pass  # an invalid pattern, which this program never writes: the entry was changed
        parsed = _parsed(texts)
        rules = _compiled(parsed, added)
        cache.write(entry, parsed)
        return rules


def load(*folders: Traversable) -> Rules:
    """Return the rules of all folders; a file overrides one of the same name in an earlier folder.

    The cache is not used. Raises RuleSetError with all mistakes.
    """
    return _compiled(_parsed(rule_texts(folders)))


def _parsed(texts: RuleTexts) -> RuleSet:
    # pySigma and YAML take longer to import than a small analysis takes: only if the cache does not hold the rules.
    from evtx_analyzer.rules.parsing import parse  # noqa: PLC0415

    return parse(texts)


def _compiled(rule_set: RuleSet, added: str = "") -> Rules:
    return Rules(
        signals=tuple(signal(rule.name, rule.title, rule.kind, rule.conditions) for rule in rule_set.signals),
        links=rule_set.links,
        causes=rule_set.causes,
        added=added,
    )
