"""Return the pairs of a report, each a refusal and a certificate check, and the chains of these checks."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import LINK_BASES, Incident, Link, Operation, Rejection
from evtx_analyzer.report.document import Report

_PARTIAL = ("CERT_TRUST_IS_PARTIAL_CHAIN",)


class Pair(Struct, frozen=True, kw_only=True):
    """A refusal and a certificate check; ``count`` refusals of one session share the row (one per recipient)."""

    incident: Incident
    rejection: Rejection
    operation: Operation
    link: Link
    count: int


class Chain(Struct, frozen=True, kw_only=True):
    """A chain of event 11, leaf first; if it ``stops`` early, ``missing_issuer`` is the issuer that was not found.

    ``count`` is the number of checks with this chain and result on the same host.
    """

    operation: Operation
    elements: tuple[ChainElement, ...]
    stops: bool
    missing_issuer: Certificate | None
    count: int


def pairs(report: Report) -> list[Pair]:
    """Return all pairs in the order of their basis (identity before time), and of their distance in time."""
    operations = {operation.id: operation for operation in report.operations}
    rows: dict[tuple[object, ...], Pair] = {}
    for incident in report.incidents:
        rejections = {rejection.id: rejection for rejection in incident.rejections}
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
    """Return the distinct chains of the checks that are paired with a refusal, that of the strongest pair first."""
    operations = {pair.operation.id: pair.operation for pair in pairs(report)}
    alike: dict[tuple[object, ...], list[Operation]] = {}
    for operation in operations.values():
        if operation.elements:
            elements = tuple((element.thumbprint, element.error, element.info) for element in operation.elements)
            alike.setdefault((operation.host, elements, operation.result), []).append(operation)
    return [
        Chain(
            operation=same[0],
            elements=same[0].elements,
            stops=any(name in _PARTIAL for name in same[0].chain_status),
            missing_issuer=same[0].missing_issuer,
            count=len(same),
        )
        for same in alike.values()
    ]
