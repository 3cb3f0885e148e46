"""Return the pairs of a report, each a refusal and a certificate check, and the chains of these checks."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import LINK_BASES, Incident, Link, Operation, Rejection
from evtx_analyzer.report.document import Report


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


def linked(report: Report) -> Iterator[tuple[Incident, Link, Rejection, Operation]]:
    """Yield the links of the listed refusals with both of their sides, incident by incident."""
    operations = {operation.id: operation for operation in report.operations}
    for incident in report.incidents:
        rejections = {rejection.id: rejection for rejection in incident.rejections}
        for link in incident.links:
            yield incident, link, rejections[link.rejection], operations[link.operation]


def strength(link: Link) -> tuple[int, float]:
    """Return the sort key of a link: its basis (identity before time), then its distance in time."""
    return LINK_BASES.index(link.basis), abs(link.delta_seconds)


def pairs(report: Report) -> list[Pair]:
    """Return all pairs, the strongest first; equally strong ones in the order of time."""
    rows: dict[tuple[object, ...], Pair] = {}
    for incident, link, rejection, operation in linked(report):
        key = (incident.id, operation.id, rejection.session, rejection.handshake_time, rejection.time, link.basis)
        first = rows.get(key) or Pair(incident=incident, rejection=rejection, operation=operation, link=link, count=0)
        rows[key] = replace(first, count=first.count + 1)
    return sorted(
        rows.values(),
        key=lambda pair: (*strength(pair.link), pair.rejection.time, pair.operation.time, pair.incident.id),
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
            stops="CERT_TRUST_IS_PARTIAL_CHAIN" in same[0].chain_status,
            missing_issuer=same[0].missing_issuer,
            count=len(same),
        )
        for same in alike.values()
    ]
