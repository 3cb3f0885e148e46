"""The text of rule files to rules; every mistake of a set is reported at once.

Imports YAML and pySigma, which take longer than a small analysis: only where the cache does not know the rules.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

import yaml
from msgspec.structs import replace
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from evtx_analyzer.commands import COMMAND, Server, Shell, Step
from evtx_analyzer.errors import RuleError, RuleSetError
from evtx_analyzer.exchange import CMDLETS
from evtx_analyzer.model.evidence import LinkBasis
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.rules.definitions import (
    Cause,
    LinkRule,
    MissingRule,
    Observation,
    ObservationKind,
    RuleSet,
    SignalRule,
)
from evtx_analyzer.rules.files import RuleTexts
from evtx_analyzer.sigma.conditions import UnsupportedConditionError
from evtx_analyzer.sigma.from_pysigma import condition_of

# Sigma log source (product, service or category) -> kind of event that we read.
LOG_SOURCES: dict[tuple[str | None, str | None], str] = {
    ("windows", "capi2"): "capi2",
    ("exchange", "smtp-send"): "send-connector",
    ("windows", "smtpsvc"): "iis-smtp",
    ("exchange", "message-tracking"): "message-tracking",
    ("exchange", "ndr"): "ndr",
    # Views that correlation builds: a refused session and a certificate check with everything that surrounds them.
    ("evtx-analyzer", "smtp-session"): "smtp-session",
    ("evtx-analyzer", "chain-operation"): "chain-operation",
    ("evtx-analyzer", "tls-handshake"): "tls-handshake",
}
SOURCE_KINDS = (
    "capi2",
    "smtp",
    "send-connector",
    "iis-smtp",
    "message-tracking",
    "configuration",
    "schannel",
    "network-trace",
)
_GRADES = ("confirmed", "probable", "possible", "coincident", "contradicted")

# libyaml reads the rules six times faster; PyYAML may be built without it.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(texts: RuleTexts) -> RuleSet:
    """Rules of files; raises RuleSetError with all mistakes."""
    mistakes: list[RuleError] = []
    read_signals = [_signal(name, data, mistakes) for name, data in _documents(texts, "signals", mistakes)]
    signals = [item for item in read_signals if item is not None]
    known = frozenset(signal.name for signal in signals)
    read_links = [_link(name, data, known, mistakes) for name, data in _documents(texts, "links", mistakes)]
    links = [item for item in read_links if item is not None]
    names = {"link": frozenset(link.name for link in links), "signal": known}
    commands = {_stem(name): _commands(name, data, mistakes) for name, data in _documents(texts, "commands", mistakes)}
    read_causes = [
        _cause(name, data, names, commands, mistakes) for name, data in _documents(texts, "causes", mistakes)
    ]
    causes = [item for item in read_causes if item is not None]
    if not mistakes and not causes:
        mistakes.append(RuleError("causes", "", "no rule file found; expected signals/, links/ and causes/"))
    if mistakes:
        raise RuleSetError(tuple(mistakes))
    return RuleSet(
        signals=tuple(signals),
        links=tuple(links),
        causes=tuple(sorted(causes, key=lambda cause: (cause.rank, cause.id))),
    )


def _documents(texts: RuleTexts, part: str, mistakes: list[RuleError]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rule name and content of every YAML file of a part."""
    for file, content in texts[part].items():
        name = f"{part}/{file}"
        try:
            data = yaml.load(_text(content), Loader=_LOADER)  # noqa: S506  both are safe loaders
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mistakes.append(RuleError(name, "", f"not readable as YAML: {error}".replace("\n", " ")))
            continue
        if isinstance(data, dict):
            yield name, data
        else:
            mistakes.append(RuleError(name, "", "expected a mapping of keys to values"))


def _text(content: bytes) -> str:
    """UTF-8 with the ends of lines that a text file has in Python."""
    return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]


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
    return SignalRule(name=_stem(file), title=rule.title, kind=kind, conditions=conditions)


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
    basis, operation = extra.get("basis"), extra.get("operation")
    if basis not in get_args(LinkBasis):
        mistakes.append(RuleError(file, "evtx-analyzer.basis", f"expected one of {', '.join(get_args(LinkBasis))}"))
    if operation not in names:
        mistakes.append(
            RuleError(file, "evtx-analyzer.operation", "expected the one of correlation.rules that is the check")
        )
    window = [_seconds(file, key, extra.get(key), mistakes) for key in ("before", "after")]
    if len(mistakes) > before:
        return None
    return LinkRule(
        name=_stem(file),
        title=rule.title,
        basis=basis,
        operation_signal=operation,
        rejection_signals=tuple(name for name in names if name != operation),
        fields=_joined_fields(rule, operation),
        before=window[0],
        after=window[1],
    )


def _joined_fields(rule: SigmaCorrelationRule, operation: str) -> tuple[tuple[str, str], ...]:
    """Field pairs of the aliases in group-by; ``Computer`` is left out, for hosts are compared by ``hosts``."""
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


# ------------------------------------------------------------------------------------------------------ causes

_CAUSE_KEYS = ("id", "rank", "title", "why", "observations", "grades", "missing", "remedy")
PLACEHOLDERS = frozenset(
    {
        "accepted_addresses",
        "accepted_again",
        "accepted_connectors",
        "accepted_same_address",
        "accepted_same_security",
        "accepted_same_sender",
        "accepted_senders",
        "accepted_since_expiry",
        "accepted_since_failed_check",
        "accepted_since_handshake",
        "associated_domains",
        "attribution",
        "blamed_element",
        "chain_status",
        "connector",
        "connector_names",
        "configured_subject",
        "coverage",
        "delta",
        "domain_connectors",
        "end",
        "fitting_certificates",
        "fitting_connectors",
        "helo",
        "host",
        "inbound_addresses",
        "inbound_names",
        "issuer",
        "last_element",
        "mail_from",
        "missing_issuer",
        "operation_time",
        "private_issuer",
        "process",
        "rcpt_to",
        "received_names",
        "refused",
        "rejection_time",
        "remote",
        "reply_certificate",
        "reply_verdict",
        "result",
        "result_name",
        "previous_thumbprint",
        "schannel_events",
        "seen_address",
        "sender_domain",
        "sent_names",
        "start",
        "subject",
        "tls",
        "thumbprint",
        "wire_alert",
        "wire_authorities",
        "wire_client",
        "wire_count",
        "wire_issuer",
        "wire_join",
        "wire_missing_issuer",
        "wire_received",
        "wire_sent",
        "wire_server",
        "wire_time",
        "wire_tls_failure",
    }
)


def _cause(
    file: str,
    data: dict[str, Any],
    names: Mapping[str, frozenset[str]],
    commands: Commands,
    mistakes: list[RuleError],
) -> Cause | None:
    check = _Check(file, mistakes)
    before = len(mistakes)
    check.keys("", data, _CAUSE_KEYS)
    if data.get("id") != _stem(file):
        check.wrong("id", "must be the file's name without .yml")
    observations = _observations(data.get("observations") or {}, names, check)
    observed = frozenset(item.name for item in observations)
    remedy = check.mapping("remedy", data.get("remedy"))
    cause = Cause(
        id=_stem(file),
        rank=check.number("rank", data.get("rank")),
        title=check.text("title", data.get("title")),
        why=check.text("why", data.get("why")),
        observations=observations,
        grades=_grades(data.get("grades") or {}, observed, check),
        missing=_missing(data.get("missing") or [], observed, commands, check),
        steps=_steps("remedy.steps", remedy.get("steps"), observed, commands, check),
        verify=_steps("remedy.verify", remedy.get("verify"), observed, commands, check),
        references=check.texts("remedy.references", remedy.get("references")),
    )
    return cause if len(mistakes) == before else None


def _observations(data: object, names: Mapping[str, frozenset[str]], check: _Check) -> tuple[Observation, ...]:
    found = []
    for name, item in check.mapping("observations", data).items():
        key = f"observations.{name}"
        body = check.mapping(key, item)
        kinds = [kind for kind in get_args(ObservationKind) if kind in body]
        if len(kinds) != 1:
            check.wrong(key, f"expected exactly one of {', '.join(get_args(ObservationKind))}")
            continue
        for other in set(body) - {kinds[0], "supports", "contradicts", "excludes", "caps", "shown-by"}:
            check.wrong(f"{key}.{other}", "unknown key")
        kind, of = cast("ObservationKind", kinds[0]), str(body[kinds[0]])
        if "shown-by" in body:
            check.reference(f"{key}.shown-by", body["shown-by"], frozenset(CMDLETS))
        check.reference(f"{key}.{kind}", of, _known(kind, names))
        found.append(
            Observation(
                name=str(name),
                kind=kind,
                of=of,
                supports=check.optional_text(f"{key}.supports", body.get("supports")),
                contradicts=check.optional_text(f"{key}.contradicts", body.get("contradicts")),
                excludes=bool(body.get("excludes", False)),
                caps=bool(body.get("caps", False)),
                shown_by=str(body.get("shown-by", "")),
            )
        )
    return tuple(found)


def _known(kind: ObservationKind, names: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if kind in ("link", "broken-link"):
        return names["link"]
    if kind == "no-object":
        return frozenset(CMDLETS)
    return (
        names["signal"]
        if kind in ("operation", "rejection", "handshake", "some-handshakes", "every-handshake")
        else frozenset(SOURCE_KINDS)
    )


def _grades(data: object, observed: frozenset[str], check: _Check) -> dict[Grade, tuple[tuple[str, ...], ...]]:
    grades: dict[Grade, tuple[tuple[str, ...], ...]] = {}
    for grade, alternatives in check.mapping("grades", data).items():
        key = f"grades.{grade}"
        if grade not in _GRADES:
            check.wrong(key, f"expected one of {', '.join(_GRADES)}")
        elif not isinstance(alternatives, list) or not all(isinstance(item, list) and item for item in alternatives):
            check.wrong(key, "expected a list of lists of observations (any of these, all of those)")
        else:
            for name in (name for item in alternatives for name in item):
                check.reference(key, name, observed)
            grades[cast("Grade", grade)] = tuple(tuple(item) for item in alternatives)
    return grades


def _missing(data: object, observed: frozenset[str], commands: Commands, check: _Check) -> tuple[MissingRule, ...]:
    if not isinstance(data, list):
        check.wrong("missing", "expected a list")
        return ()
    rules = []
    for number, item in enumerate(data):
        key = f"missing[{number}]"
        body = check.mapping(key, item)
        check.keys(key, body, (*_CONDITIONS, "text", "collect"))
        rules.append(
            MissingRule(
                **_conditions(key, body, observed, check),
                text=check.text(f"{key}.text", body.get("text")),
                collect=_steps(f"{key}.collect", body.get("collect"), observed, commands, check),
            )
        )
    return tuple(rules)


# ------------------------------------------------------------------------------------------- steps and commands

Commands = Mapping[str, tuple[Step, ...]]
"""Steps by the name of the file in ``commands`` that holds them."""

_CONDITIONS = ("server", "when", "unless")
_FORMS = ("text", "lines", "commands")
_SERVERS = frozenset(get_args(Server)) - {""}
_SHELLS = frozenset(get_args(Shell)) - {""}
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_PLACEHOLDER = re.compile(r"\$\$|(?P<before>[^\s=(,;{]?)\$(?:[a-z_]+|\{[a-z_]+\})(?P<after>[^\s),;}|]?)")


def _commands(file: str, data: dict[str, Any], mistakes: list[RuleError]) -> tuple[Step, ...]:
    """Steps that several causes share; what was observed is the business of the cause that names them."""
    check = _Check(file, mistakes)
    check.keys("", data, ("title", "steps"))
    check.text("title", data.get("title"))
    return _steps("steps", data.get("steps"), frozenset(), {}, check)


def _steps(key: str, data: object, observed: frozenset[str], commands: Commands, check: _Check) -> tuple[Step, ...]:
    if not isinstance(data, list) or not data:
        check.wrong(key, "expected a list of sentences, and of mappings with text, lines or commands")
        return ()
    return tuple(
        step for number, item in enumerate(data) for step in _step(f"{key}[{number}]", item, observed, commands, check)
    )


def _step(key: str, data: object, observed: frozenset[str], commands: Commands, check: _Check) -> tuple[Step, ...]:
    if not isinstance(data, dict):
        return (_plain(key, data, check),)
    check.keys(key, data, (*_CONDITIONS, *_FORMS, "shell"))
    conditions = _conditions(key, data, observed, check)
    forms = [form for form in _FORMS if form in data]
    if len(forms) != 1:
        check.wrong(key, f"expected exactly one of {', '.join(_FORMS)}")
        return ()
    if forms == ["commands"]:
        return _shared(f"{key}.commands", data["commands"], conditions, commands, check)
    if forms == ["text"]:
        return (Step(text=check.sentence(f"{key}.text", data["text"]), **conditions),)
    check.reference(f"{key}.shell", data.get("shell"), _SHELLS)
    return (Step(lines=check.commands(f"{key}.lines", data["lines"]), shell=data.get("shell", ""), **conditions),)


def _plain(key: str, data: object, check: _Check) -> Step:
    if isinstance(data, str) and data.startswith(COMMAND):
        return Step(lines=(check.command(key, data.removeprefix(COMMAND)),))
    return Step(text=check.sentence(key, data))


def _shared(
    key: str, data: object, conditions: Mapping[str, Any], commands: Commands, check: _Check
) -> tuple[Step, ...]:
    """The steps of the named files of ``commands``, each under the conditions of the place that names them."""
    names = [data] if isinstance(data, str) else data
    if not isinstance(names, list) or not names:
        check.wrong(key, "expected the name of a file in commands, or a list of them")
        return ()
    known = frozenset(commands)
    for name in names:
        check.reference(key, name, known)
    steps = [step for name in names if name in known for step in commands[name]]
    return tuple(replace(step, **{**conditions, "server": step.server or conditions["server"]}) for step in steps)


def _names(text: str) -> list[str]:
    return string.Template(text).get_identifiers()


def _conditions(key: str, body: Mapping[str, Any], observed: frozenset[str], check: _Check) -> dict[str, Any]:
    server = body.get("server", "")
    if server:
        check.reference(f"{key}.server", server, _SERVERS)
    when, unless = (tuple(body.get(part) or ()) for part in ("when", "unless"))
    for name in (*when, *unless):
        check.reference(key, name, observed)
    return {"server": server, "when": when, "unless": unless}


class _Check:
    """Reads values of one file and notes what is wrong with them instead of stopping."""

    def __init__(self, file: str, mistakes: list[RuleError]) -> None:
        self._file, self._mistakes = file, mistakes

    def wrong(self, key: str, message: str) -> None:
        self._mistakes.append(RuleError(self._file, key, message))

    def text(self, key: str, value: object) -> str:
        if isinstance(value, str) and value.strip():
            self._placeholders(key, value)
            return " ".join(value.split())
        self.wrong(key, "expected a text")
        return ""

    def optional_text(self, key: str, value: object) -> str:
        return "" if value is None else self.text(key, value)

    def texts(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            self.wrong(key, "expected a list of texts")
            return ()
        return tuple(self.text(f"{key}[{number}]", item) for number, item in enumerate(value))

    def sentence(self, key: str, value: object) -> str:
        """A sentence of a step; it begins with a word, so that no value of a log can make a command of it."""
        text = self.text(key, value)
        if text.startswith(("$", COMMAND.strip())) or "\n" in text:
            self.wrong(key, "a sentence begins with a word; a command stands under lines, with its shell")
        return text

    def commands(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            self.wrong(key, "expected a list of commands")
            return ()
        return tuple(self.command(f"{key}[{number}]", item) for number, item in enumerate(value))

    def command(self, key: str, value: object) -> str:
        """A command; a placeholder in it is a whole argument, for it is filled by a literal of its own."""
        text = self.text(key, value)
        bare = _QUOTED.sub("''", text)
        quoted = [part for part in _QUOTED.findall(text) if _names(part)]
        joined = [found[0] for found in _PLACEHOLDER.finditer(bare) if found["before"] or found["after"]]
        for part in (*quoted, *joined):
            self.wrong(key, f"in a command a placeholder is a whole argument, without quotation marks: {part}")
        return text

    def keys(self, key: str, body: Mapping[Any, object], known: tuple[str, ...]) -> None:
        for name in body:
            if name not in known:
                self.wrong(f"{key}.{name}".lstrip("."), f"unknown key; expected {', '.join(known)}")

    def number(self, key: str, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.wrong(key, "expected a whole number")
        return 0

    def mapping(self, key: str, value: object) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.wrong(key, "expected a mapping")
        return {}

    def reference(self, key: str, name: object, known: frozenset[str]) -> None:
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
