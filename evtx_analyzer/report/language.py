"""Reports in the reader's language: pairs of English and translated text, looked up when a report is rendered.

A report's own sentences are English, in JSON always, so a saved report can be shown in any language later. A catalogue
holds templates in both languages::

    - en: "CAPI2 event 30: $process got $result, $delta."
      de: "CAPI2-Ereignis 30: $process erhielt $result, $delta."

A sentence is recognized by the English template, and the other one is filled with the values found; a sentence that
no template knows stays English. Three sections keep user data out of it: ``labels`` are looked up whole (headings),
``sentences`` are recognized whole, ``phrases`` only as a value inside of a sentence. A changed English text is found
by test, because its translation no longer matches. Ids, field names and commands are never translated.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.findings import Evidence, Finding, Missing, Remedy

LANGUAGES = ("en", "de")
VARIABLE = "EVTX_ANALYZER_LANG"
COMMAND = "> "
_LONGEST = 6000  # a longer text is no sentence of ours; matching it would only cost time
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?(?: UTC)?"
_REMARKED = rf"{_TIME}(?: \([^()]*\))?"
# Values that are numbers: in sentences, and in extents of losses.
_NUMBERS = ("number", "count", "lost", "total", "shown", "samples", "compared", "accepted")
_NUMBER = re.compile(r"-?[\d,.]+")
_SHAPES = {
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
    """An English template as a pattern, what it begins with, and its translation."""

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
"""Added to the reason of a loss where what could not be read may hold a refusal."""


class Language:
    """A language as a function: English text in, the reader's text out."""

    def __init__(self, code: str = "en", catalogue: Catalogue | None = None) -> None:
        self.code = code
        self.catalogue = catalogue or Catalogue()
        self._known: dict[str, str] = {}

    def __call__(self, label: str, **values: object) -> str:
        """Return a heading or other fixed text of the program, its ``$names`` filled."""
        text = self.catalogue.labels.get(label, label)
        return string.Template(text).substitute(values) if values else text

    def sentence(self, text: str) -> str:
        """Return a sentence of a report; unchanged where no template knows it. Commands stay."""
        if self.code == "en" or not text or len(text) > _LONGEST or text.startswith(COMMAND):
            return text
        if text not in self._known:
            self._known[text] = self._filled(text, self._sentences) or self._with_code(text)
        return self._known[text]

    def _with_code(self, text: str) -> str:
        """Return a sentence with the addition that whatever could not be read holds a refusal."""
        reason, addition, rest = text.rpartition(HOLDS_CODE)
        return self.sentence(reason) + self(addition) if addition and not rest else text

    def phrase(self, text: str) -> str:
        """Return a part of a sentence that stands alone, such as a time; unchanged where no template knows it."""
        return (self._filled(text, self._phrases) or text) if self._phrases else text

    def digits(self, text: str) -> str:
        """Digits as English writes them (``1,234.5``) with the separators of the language."""
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
        """Return a value of a sentence: a number with other separators, a phrase translated, a name as it is."""
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
    """Return a language by its code; translations of a rule folder's own texts lie in its ``translations``.

    Raises OptionError for a language that is not there.
    """
    if code not in LANGUAGES:
        raise OptionError(f"--lang {code}: expected one of {', '.join(LANGUAGES)} (or unset {VARIABLE})")
    if code == "en":
        return ENGLISH
    if rules is None:
        return _shipped(code)
    return Language(code, _merged([*_documents(code), *_parsed([Path(rules, "translations")], code)], code))


@cache
def _shipped(code: str) -> Language:
    return Language(code, _merged(_documents(code), code))


@cache
def _documents(code: str) -> list[dict[str, Any]]:
    """Return the files of a language that ship with the program: those of its own texts, and those of its rules."""
    return _parsed([resources.files("evtx_analyzer.report").joinpath("languages"), _translations()], code)


def _parsed(folders: Iterable[Traversable], code: str) -> list[dict[str, Any]]:
    import yaml  # noqa: PLC0415  start-up cost: English needs none

    files = (folder.joinpath(f"{code}.yml") for folder in folders)
    return [yaml.safe_load(file.read_text("utf-8")) for file in files if file.is_file()]


def _translations() -> Traversable:
    """Translations of the rules that ship with the package; in a checkout they lie beside the package."""
    try:
        return resources.files("evtx_analyzer.ruleset").joinpath("translations")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "rules" / "translations"


def _merged(documents: Iterable[dict[str, Any]], code: str) -> Catalogue:
    parts: dict[str, dict[str, str]] = {"labels": {}, "sentences": {}, "phrases": {}, "numbers": {}}
    for document in documents:
        for section, pairs in document.items():
            # The separators of numbers are no pairs of texts.
            found = pairs if section == "numbers" else {flat(pair["en"]): flat(pair[code]) for pair in pairs or ()}
            parts[section].update(found or {})
    return Catalogue(**parts)


def flat(text: str) -> str:
    """Return a text on one line, as rule files are read."""
    return " ".join(text.split())


def _templates(pairs: Mapping[str, str]) -> tuple[_Template, ...]:
    """Templates with the most fixed text first, for they say the most."""
    made = [(len(_NAME.sub("", english)), english, translated) for english, translated in pairs.items()]
    return tuple(_template(english, translated) for _, english, translated in sorted(made, reverse=True))


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
            parts.append(f"(?P<{name}>{_SHAPES.get(name, '.+?')})")
    parts.append(re.escape(english[at:]))
    return _Template(english.partition("$")[0], re.compile("".join(parts), re.DOTALL), string.Template(translated))


# -------------------------------------------------------------------------------------------- parts of a report


def finding(item: Finding, say: Language) -> Finding:
    """Return a finding with its sentences in another language."""
    return Finding(
        cause=item.cause,
        grade=item.grade,
        title=say.sentence(item.title),
        why=say.sentence(item.why),
        supports=tuple(_evidence(part, say) for part in item.supports),
        contradicts=tuple(_evidence(part, say) for part in item.contradicts),
        missing=tuple(Missing(text=say.sentence(part.text), collect=_all(part.collect, say)) for part in item.missing),
        remedy=None if item.remedy is None else _remedy(item.remedy, say),
        incidents=item.incidents,
    )


def _evidence(evidence: Evidence, say: Language) -> Evidence:
    return replace(evidence, text=say.sentence(evidence.text))


def _remedy(remedy: Remedy, say: Language) -> Remedy:
    return Remedy(steps=_all(remedy.steps, say), verify=_all(remedy.verify, say), references=remedy.references)


def _all(texts: Iterable[str], say: Language) -> tuple[str, ...]:
    return tuple(say.sentence(text) for text in texts)
