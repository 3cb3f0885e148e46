"""Refusals beside certificate checks: the pairs of a report, and the chains of the checks in them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import LINK_BASES, Incident, Link, Operation, Rejection
from evtx_analyzer.report.document import Report

_PARTIAL = ("CERT_TRUST_IS_PARTIAL_CHAIN",)


class Pair(Struct, frozen=True, kw_only=True):
    """A refusal beside a certificate check; ``count`` refusals of one session share the row (one per recipient)."""

    incident: Incident
    rejection: Rejection
    operation: Operation
    link: Link
    count: int


class Chain(Struct, frozen=True, kw_only=True):
    """A chain as event 11 tells it, leaf first, with the issuer that was not found where the chain stops early."""

    operation: Operation
    elements: tuple[ChainElement, ...]
    stops: bool
    missing_issuer: Certificate | None
    count: int


def pairs(report: Report) -> list[Pair]:
    """Return all pairs, those that rest on identity before the others, the nearest in time first."""
    operations = {item.id: item for item in report.operations}
    rows: dict[tuple[object, ...], Pair] = {}
    for incident in report.incidents:
        rejections = {item.id: item for item in incident.rejections}
        for link in incident.links:
            rejection, operation = rejections.get(link.rejection), operations.get(link.operation)
            if rejection is None or operation is None:
                continue
            key = (incident.id, operation.id, rejection.session, rejection.handshake_time, rejection.time, link.basis)
            first = rows.get(key) or Pair(
                incident=incident, rejection=rejection, operation=operation, link=link, count=0
            )
            rows[key] = replace(first, count=first.count + 1)
    return sorted(rows.values(), key=_strength)


def _strength(pair: Pair) -> tuple[int, float, datetime, datetime, str]:
    link = pair.link
    return (
        LINK_BASES.index(link.basis),
        abs(link.delta_seconds),
        pair.rejection.time,
        pair.operation.time,
        pair.incident.id,
    )


def chains(report: Report) -> list[Chain]:
    """Distinct chains of the checks that are paired with a refusal, strongest pair first."""
    operations = list({pair.operation.id: pair.operation for pair in pairs(report)}.values())
    found: dict[tuple[object, ...], list[Operation]] = {}
    for operation in operations:
        if operation.elements:
            shape = tuple((part.thumbprint, part.error, part.info) for part in operation.elements)
            found.setdefault((operation.host, shape, operation.result), []).append(operation)
    return [
        Chain(
            operation=same[0],
            elements=same[0].elements,
            stops=any(name in _PARTIAL for name in same[0].chain_status),
            missing_issuer=same[0].missing_issuer,
            count=len(same),
        )
        for same in found.values()
    ]
