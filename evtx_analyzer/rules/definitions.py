"""Rules as plain, checked data, which the cache of parsed rules stores as it is."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from evtx_analyzer.commands import Conditional, Step
from evtx_analyzer.model.evidence import LinkBasis
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.sigma.conditions import Condition

CHANGES = (
    "check-passes",
    "remote-check-passes",
    "another-certificate",
    "certificate-sent",
    "tls-used",
    "another-address",
    "exchange-online-reached",
    "connector-covers-certificate",
    "connector-covers-address",
    "domain-accepted",
)
"""Names of the changes that later logs can show; ``repair/changes.py`` finds each, docs/rules.md explains them."""
SHOWN_ELSEWHERE = ("schannel", "earlier-sessions")
"""Values of ``shown-by`` that are no cmdlet: an event of Schannel, or earlier sessions, whose places are not held."""
ObservationKind = Literal[
    "link",
    "broken-link",
    "operation",
    "rejection",
    "handshake",
    "some-handshakes",
    "every-handshake",
    "no-source",
    "unread-source",
    "no-object",
    "cut-object",
    "outside-coverage",
    "store",
]


class SignalRule(Struct, frozen=True, kw_only=True):
    """A Sigma rule over events of one ``kind``; it matches where any of its conditions holds."""

    name: str
    title: str
    kind: str
    conditions: tuple[Condition, ...]


class LinkRule(Struct, frozen=True, kw_only=True):
    """A Sigma temporal correlation of a check's signal and a refusal's signals, both named in ``rules``.

    ``fields`` are the pairs (field of the operation, field of the rejection) that must share a value. The check
    may lie ``before`` to ``after`` seconds around the handshake. ``event_signal`` is a signal of CAPI2 events: a check
    whose own signal is over the view ``chain-operation`` is found by its events that have it; empty where that is not
    needed.
    """

    name: str
    title: str
    basis: LinkBasis
    operation_signal: str
    event_signal: str
    rejection_signals: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    before: float
    after: float


class Observation(Struct, frozen=True, kw_only=True):
    """One named fact that a cause looks at; at most one of ``supports`` and ``contradicts`` is not empty.

    ``excludes`` makes the cause contradicted, ``caps`` leaves it ``possible`` at most; both speak against it.
    ``weak`` is shown against a cause that something supports, and lowers no grade.
    ``shown_by`` is the cmdlet whose export shows the fact, or one of ``SHOWN_ELSEWHERE``: the evidence then
    points there and not at the refusal.
    """

    name: str
    kind: ObservationKind
    of: str
    supports: str
    contradicts: str
    excludes: bool
    caps: bool
    shown_by: str
    weak: bool = False


class MissingRule(Conditional, frozen=True, kw_only=True):
    """Evidence to ask for, and how to collect it."""

    text: str
    collect: tuple[Step, ...]


class Cause(Struct, frozen=True, kw_only=True):
    """A cause: what is observed, which combinations reach which grade (or contradict it), and what to do about it.

    ``repair_confirms`` names the changes that repair exactly what the cause names, ``repair_fits`` those that repair it
    and perhaps something else (``CHANGES`` lists the names).
    """

    id: str
    rank: int
    title: str
    why: str
    observations: tuple[Observation, ...]
    grades: dict[Grade, tuple[tuple[str, ...], ...]]
    missing: tuple[MissingRule, ...]
    steps: tuple[Step, ...]
    verify: tuple[Step, ...]
    references: tuple[str, ...]
    repair_confirms: tuple[str, ...] = ()
    repair_fits: tuple[str, ...] = ()


class RuleSet(Struct, frozen=True, kw_only=True):
    """All rules of all folders; causes in the order of their rank."""

    signals: tuple[SignalRule, ...]
    links: tuple[LinkRule, ...]
    causes: tuple[Cause, ...]
