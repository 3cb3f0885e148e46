"""Translate a report when it is rendered, by pairs of English and translated text.

The sentences of a report itself are English, so a saved report can be shown in any language later. A catalogue holds
templates in both languages::

    - en: "CAPI2 event 30: $process got $result, $delta."
      de: "CAPI2-Ereignis 30: $process erhielt $result, $delta."

A sentence is recognized by the English template, and its values fill the other one; a sentence that no template
recognizes stays English. Three sections keep data of users out of it: ``labels`` are looked up whole (headings),
``sentences`` are recognized whole, ``phrases`` only as a value inside of a sentence. A test finds an English text that
was changed, because its translation no longer matches. Ids, field names and commands are never translated.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from msgspec import Struct

from evtx_analyzer.commands import COMMAND
from evtx_analyzer.errors import OptionError
from evtx_analyzer.rules.files import builtin_rules

LANGUAGES = ("en", "de")
VARIABLE = "EVTX_ANALYZER_LANG"
_LONGEST = 6000  # a longer text is no sentence of ours, and matching it would take time
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?(?: UTC)?"
_REMARKED = rf"{_TIME}(?: \([^()]*\))?"
# Values that are numbers: in sentences, and in extents of losses.
_NUMBERS = ("number", "count", "lost", "total", "shown", "samples", "compared", "accepted")
_NUMBER = re.compile(r"-?[\d,.]+")
# Patterns of values by name; any other value matches any text. A narrow pattern keeps a template from taking a log's
# own text for a sentence of ours.
_VALUE_PATTERNS = {
    "count": r"[\d,]+",
    "number": r"-?[\d,.]+",
    "result": r"[0-9A-F]{1,8}|\?",
    "result_name": r"\S+",
    "seen_address": r"\S+|<[^<>]*>",
    "thumbprint": r"[0-9A-F]{40}|THUMBPRINT-\d+|<[^<>]*>",
    "store_thumbprint": r"[0-9A-F]{40}|THUMBPRINT-\d+",
    "process": r"[^ ]+|\?",
    "queue": r"\S+",
    "remote": r"\S+|the remote side",
    "cause": r"[a-z-]+",
    "from_day": r"\d{4}-\d{2}-\d{2}",
    "to_day": r"\d{4}-\d{2}-\d{2}",
    "causes": r"[a-z-]+(?:, [a-z-]+)*",
    "start": rf"{_REMARKED}(?: to {_TIME})?(?:, [^.;()]*)?(?:; \d+ of them at a time that is not known in UTC)?",
    "refusal_times": rf"{_REMARKED}(?: to {_REMARKED})?|\?",
    "rejection_time": rf"{_REMARKED}|\?",
    "end": rf"{_REMARKED}(?:, [^.;()]*)?",
    "moment": rf"{_TIME}(?: to {_TIME})?",
}


class _Template(Struct, frozen=True):
    """An English template as a pattern, the fixed text at its start, and its translation."""

    start: str
    pattern: re.Pattern[str]
    translation: string.Template


class Catalogue(Struct, frozen=True, kw_only=True):
    """Pairs of English and translated text, by section."""

    labels: Mapping[str, str] = {}
    sentences: Mapping[str, str] = {}
    phrases: Mapping[str, str] = {}
    numbers: Mapping[str, str] = {}


HOLDS_CODE = "; it holds the text 5.7.64"
"""The addition to the reason of a loss whose unread part may hold a refusal."""


class Language:
    """A language as a function: English text in, the reader's text out."""

    def __init__(self, code: str = "en", catalogue: Catalogue | None = None) -> None:
        self.code = code
        self.catalogue = catalogue or Catalogue()
        self._known: dict[str, str] = {}

    def __call__(self, label: str, **values: object) -> str:
        """Return the translation of a heading or other fixed text, with its ``$names`` replaced by the values."""
        text = self.catalogue.labels.get(label, label)
        return string.Template(text).substitute(values) if values else text

    def sentence(self, text: str) -> str:
        """Return the translation of a report's sentence; a command, or a text that no template knows, stays."""
        if self.code == "en" or not text or len(text) > _LONGEST or text.startswith(COMMAND):
            return text
        if text not in self._known:
            self._known[text] = self._filled(text, self._sentences) or self._with_code(text)
        return self._known[text]

    def _with_code(self, text: str) -> str:
        """Return the translation of a sentence that ends in ``HOLDS_CODE``, and any other text as it is."""
        if not text.endswith(HOLDS_CODE):
            return text
        return self.sentence(text.removesuffix(HOLDS_CODE)) + self(HOLDS_CODE)

    def phrase(self, text: str) -> str:
        """Return the translation of a phrase that stands alone, such as a time; one that no template knows stays."""
        return (self._filled(text, self._phrases) or text) if self._phrases else text

    def digits(self, text: str) -> str:
        """Return English digits (``1,234.5``) with the separators of the language."""
        separators = self.catalogue.numbers
        return text.translate({ord(","): separators["group"], ord("."): separators["decimal"]}) if separators else text

    def number(self, value: int) -> str:
        """Return a count with the language's separator between thousands."""
        return self.digits(f"{value:,}")

    def knows(self, text: str) -> bool:
        """Return whether a template recognizes the sentence."""
        return self._filled(text, self._sentences) is not None or (
            text.endswith(HOLDS_CODE) and self.knows(text.removesuffix(HOLDS_CODE))
        )

    def _filled(self, text: str, templates: Iterable[_Template]) -> str | None:
        for template in templates:
            if text.startswith(template.start) and (match := template.pattern.fullmatch(text)):
                values = {name: self._value(name, value) for name, value in match.groupdict().items()}
                return template.translation.substitute(values)
        return None

    def _value(self, name: str, value: str) -> str:
        """Return the translation of a value in a sentence: numbers get other separators, names stay."""
        if name in _NUMBERS and _NUMBER.fullmatch(value):
            return self.digits(value)
        return self._filled(value, self._phrases) or value

    @cached_property
    def _sentences(self) -> tuple[_Template, ...]:
        return _templates(self.catalogue.sentences)

    @cached_property
    def _phrases(self) -> tuple[_Template, ...]:
        return _templates(self.catalogue.phrases)


ENGLISH = Language()


def load(code: str, rules: str | Path | None = None) -> Language:
    """Return a language by its code; a folder of rules may hold ``translations`` of its own texts.

    Raises OptionError for an unknown language.
    """
    if code not in LANGUAGES:
        raise OptionError(f"--lang {code}: expected one of {', '.join(LANGUAGES)} (or unset {VARIABLE})")
    if code == "en":
        return ENGLISH
    own = () if rules is None else (Path(rules, "translations", f"{code}.yml"),)
    return _loaded(code, (*_shipped(code), *own))


def _shipped(code: str) -> Iterator[Traversable]:
    """Yield the translations that ship with the program: those of its texts and those of its rules."""
    yield resources.files("evtx_analyzer.report").joinpath("languages", f"{code}.yml")
    yield builtin_rules().joinpath("translations", f"{code}.yml")


@cache
def _loaded(code: str, files: tuple[Traversable, ...]) -> Language:
    import yaml  # noqa: PLC0415  start-up cost: English needs none

    parts: dict[str, dict[str, str]] = {"labels": {}, "sentences": {}, "phrases": {}, "numbers": {}}
    for document in (yaml.safe_load(file.read_text("utf-8")) for file in files if file.is_file()):
        for section, pairs in document.items():
            # The separators of numbers are no pairs of texts.
            texts = pairs if section == "numbers" else {flat(pair["en"]): flat(pair[code]) for pair in pairs or ()}
            parts[section].update(texts or {})
    return Language(code, Catalogue(**parts))


def flat(text: str) -> str:
    """Return a text on one line; the texts of rule files are read in the same way."""
    return " ".join(text.split())


def _templates(pairs: Mapping[str, str]) -> tuple[_Template, ...]:
    """Return the templates in the order in which they are tried, those with the most fixed text first."""
    by_length = [(len(_NAME.sub("", english)), english, translated) for english, translated in pairs.items()]
    return tuple(_template(english, translated) for _, english, translated in sorted(by_length, reverse=True))


_NAME = re.compile(r"\$(?:(\$)|([a-z_]+)|\{([a-z_]+)\})")


def _template(english: str, translated: str) -> _Template:
    parts, at, seen = [], 0, set()
    for match in _NAME.finditer(english):
        parts.append(re.escape(english[at : match.start()]))
        at = match.end()
        name = match[2] or match[3]
        if name is None:
            parts.append(re.escape("$"))
        elif name in seen:
            parts.append(f"(?P={name})")
        else:
            seen.add(name)
            parts.append(f"(?P<{name}>{_VALUE_PATTERNS.get(name, '.+?')})")
    parts.append(re.escape(english[at:]))
    return _Template(english.partition("$")[0], re.compile("".join(parts), re.DOTALL), string.Template(translated))
