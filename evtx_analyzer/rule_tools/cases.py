"""Cases of rules: small YAML files that say what a rule must and must not recognize, and a run over all of them.

``cases/signals/NAME.yml``, ``cases/links/NAME.yml`` and ``cases/causes/NAME.yml`` in a rule folder hold lists of

    - case: the KB's own event
      kind: positive | negative | near-miss
      event: {EventID: '30', Result.value: 800B0109}          a signal; matches where kind is positive
      operation: {seconds: -10, Thumbprint: A}                a link; the check's time from the handshake, and fields
      rejection: {SentThumbprint: A, host: other}             a link; the refusal's fields
      observed: [failed-at-handshake, chain-incomplete]       a cause; what was observed
      grade: probable                                         a cause; the grade that follows

A rule without a positive, a negative and a near-miss case fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources.abc import Traversable
from typing import Any

import yaml
from msgspec import Struct

from evtx_analyzer.correlate.links import links
from evtx_analyzer.diagnose.grade import grade_of
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.model.origin import Fields, Origin
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.definitions import Cause, LinkRule
from evtx_analyzer.rules.files import rule_files
from evtx_analyzer.sigma.match import Signal

KINDS = ("positive", "negative", "near-miss")
PARTS = ("signals", "links", "causes")
_HANDSHAKE = datetime(2026, 1, 1, 12, tzinfo=UTC)
_NOWHERE = Origin(source="case")
# What no case says.
_OF_CHECK: dict[str, Any] = {
    **dict.fromkeys(("result_name", "chain_ref", "task_id", "chain_result", "server_name"), ""),
    **dict.fromkeys(("chain_status", "elements", "missing_events", "origins"), ()),
    **dict.fromkeys(("certificate", "missing_issuer", "chain_origin", "chain_time")),
}
_OF_REFUSAL: dict[str, Any] = {
    **dict.fromkeys(("connector", "session", "local_endpoint", "remote_endpoint", "tls", "mail_from", "rcpt_to"), ""),
    **dict.fromkeys(("message_id", "attribution"), ""),
}


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of one case; ``problem`` is empty if the case passed."""

    file: str
    case: str
    problem: str


def run_cases(rules: Rules, folders: Iterable[Traversable]) -> list[Outcome]:
    """Run the cases of every rule of the set; a rule without cases, and an unreadable file, is an outcome too."""
    places = tuple(folders)
    outcomes: list[Outcome] = []
    for part, rules_of_part in (("signals", rules.signals), ("links", rules.links), ("causes", rules.causes)):
        files = {name.rpartition(".")[0]: file for name, file in rule_files(places, f"cases/{part}").items()}
        for rule in rules_of_part:
            name = rule.id if isinstance(rule, Cause) else rule.name
            outcomes += _of_rule(f"cases/{part}/{name}.yml", rule, files.get(name))
    return outcomes


def _of_rule(name: str, rule: object, file: Traversable | None) -> Iterator[Outcome]:
    if file is None:
        yield Outcome(file=name, case="", problem="the rule has no cases")
        return
    try:
        cases = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        yield Outcome(file=name, case="", problem=f"not readable as YAML: {error}".replace("\n", " "))
        return
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        yield Outcome(file=name, case="", problem="expected a list of cases")
        return
    kinds = {case.get("kind") for case in cases}
    for missing in (kind for kind in KINDS if kind not in kinds):
        yield Outcome(file=name, case="", problem=f"there is no {missing} case")
    for case in cases:
        yield Outcome(file=name, case=str(case.get("case", "")), problem=_problem(rule, case))


def _problem(rule: object, case: Mapping[str, Any]) -> str:
    if case.get("kind") not in KINDS:
        return f"kind must be one of {', '.join(KINDS)}"
    if isinstance(rule, Cause):
        return _cause_problem(rule, case)
    expected = case["kind"] == "positive"
    if isinstance(rule, LinkRule):
        recognized = _links(rule, case)
    else:
        assert isinstance(rule, Signal)
        recognized = rule.matches(_fields(case.get("event") or {}))
    if recognized == expected:
        return ""
    return "must be recognized and is not" if expected else "must not be recognized and is"


def _fields(event: Mapping[str, Any]) -> Fields:
    return {
        str(name): tuple(map(str, value)) if isinstance(value, list) else (str(value),) for name, value in event.items()
    }


def _cause_problem(rule: Cause, case: Mapping[str, Any]) -> str:
    observed = frozenset(map(str, case.get("observed") or ()))
    unknown = observed - {observation.name for observation in rule.observations}
    if unknown:
        return f"the cause has no observation {', '.join(sorted(unknown))}"
    grade = grade_of(rule, observed)
    return "" if grade == case.get("grade") else f"expected {case.get('grade')}, got {grade}"


def _links(rule: LinkRule, case: Mapping[str, Any]) -> bool:
    rejection, operation = case.get("rejection") or {}, case.get("operation") or {}
    return bool(links([_rejection(rule, rejection)], [_operation(rule, operation)], [rule]))


def _operation(rule: LinkRule, fields: Mapping[str, Any]) -> Operation:
    """Return a check of the rule's signal, ``seconds`` after the handshake, with the fields of the case."""
    domain = fields.get("SubjectDomain")
    return Operation(
        id="O",
        host="HOST",
        process="lsass.exe",
        process_id=1,
        time=_HANDSHAKE + timedelta(seconds=float(fields.get("seconds", 0))),
        thumbprint=str(fields.get("Thumbprint", "")),
        subject=f"*.{domain}" if domain else str(fields.get("RemoteName", "")),
        policy="CERT_CHAIN_POLICY_SSL",
        result="800B0109",
        signals=() if fields.get("signal") is False else (rule.operation_signal,),
        origin=_NOWHERE,
        **_OF_CHECK,
    )


def _rejection(rule: LinkRule, fields: Mapping[str, Any]) -> Rejection:
    """Return a refusal one second after the handshake, on the same host unless the case says ``host: other``."""
    sent, received = fields.get("SentThumbprint"), fields.get("ReceivedThumbprint")
    domain = fields.get("OwnDomain")
    return Rejection(
        id="R",
        time=_HANDSHAKE + timedelta(seconds=1),
        host="OTHER" if fields.get("host") == "other" else "HOST",
        host_basis="row",
        kind="send-connector",
        remote_name=str(fields.get("RemoteName", "")),
        helo=f"host.{domain}" if domain else "",
        starttls=True,
        handshake_time=_HANDSHAKE,
        sent=Certificate(thumbprint=str(sent)) if sent else None,
        received=Certificate(thumbprint=str(received)) if received else None,
        stage="RCPT",
        reply="550 5.7.64",
        untrusted_root_hint=False,
        resolution=0.001,
        signals=rule.rejection_signals[:1],
        origin=_NOWHERE,
        origins=(),
        **_OF_REFUSAL,
    )
