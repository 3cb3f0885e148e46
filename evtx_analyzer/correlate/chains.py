"""CAPI2 events to chain operations: one certificate check with everything the log says of it.

An event 30 belongs to the event 11 with the same chainRef, within one machine and process: of 94 real pairs 39 have
different TaskIds. Event 90 (the certificates as XML) belongs to the chain's TaskId. An event 30 whose event 11 has
wrapped away is normal in a ring log of 1 MB, and is said (``missing_events``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evtx_analyzer.constants import TRUST_ERRORS, as_hex, flag_names, result_name
from evtx_analyzer.correlate.hosts import Hosts
from evtx_analyzer.correlate.rejections import identify
from evtx_analyzer.model import Capi2Event, Certificate, Match, Operation, place

BUILD_CHAIN = 11
VERIFY_POLICY = 30
X509_OBJECTS = 90

_Key = tuple[str, int | None, str]


def operations(matches: Iterable[Match], hosts: Hosts) -> list[Operation]:
    """Every policy check (event 30) as an operation, and every built chain (event 11) that no event 30 refers to."""
    ordered = sorted(_distinct(matches), key=lambda match: _order(match.event))
    events = [(match, match.event) for match in ordered if isinstance(match.event, Capi2Event)]
    chains: dict[_Key, Match] = {}
    policies: dict[_Key, list[Match]] = {}
    objects: dict[tuple[str, str], list[Match]] = {}
    for match, event in events:
        key = (event.host.casefold(), event.process_id, event.chain_ref)
        if event.event_id == BUILD_CHAIN and event.chain_ref:
            chains[key] = match
        elif event.event_id == VERIFY_POLICY:
            policies.setdefault(key, []).append(match)
        elif event.event_id == X509_OBJECTS and event.task_id:
            objects.setdefault((event.host.casefold(), event.task_id), []).append(match)
    found = [
        _operation([policy, *_around(chains.get(key), policy, objects)], hosts)
        for key, group in policies.items()
        for policy in group
    ]
    alone = (chain for key, chain in chains.items() if key not in policies)
    found += [_operation(_around(chain, chain, objects), hosts) for chain in alone]
    return sorted(found, key=lambda item: (item.time, place(item.origin)))


def _distinct(matches: Iterable[Match]) -> list[Match]:
    """One match per event: the two passes over an export, and overlapping archives, see the same records."""
    by_record: dict[object, Match] = {}
    for match in matches:
        event = match.event
        if isinstance(event, Capi2Event):
            identity = (event.host.casefold(), event.origin.record, event.time, event.event_id, event.chain_ref)
            known = by_record.get(identity)
            if known is None or place(event.origin) < place(known.event.origin):
                by_record[identity] = match
    return list(by_record.values())


def _order(event: object) -> tuple[object, ...]:
    assert isinstance(event, Capi2Event)
    return event.time, event.origin.record or 0, place(event.origin)


def _around(chain: Match | None, anchor: Match, objects: dict[tuple[str, str], list[Match]]) -> list[Match]:
    """The chain's event 11 and the certificates written in the same task as either."""
    found = [] if chain is None else [chain]
    for match in (chain, anchor):
        if match is not None and isinstance(match.event, Capi2Event):
            found += objects.get((match.event.host.casefold(), match.event.task_id), [])
    unique = {id(match): match for match in found}
    return list(unique.values())


def _operation(parts: Sequence[Match], hosts: Hosts) -> Operation:
    events = [match.event for match in parts if isinstance(match.event, Capi2Event)]
    policy = next((event for event in events if event.event_id == VERIFY_POLICY), None)
    chain = next((event for event in events if event.event_id == BUILD_CHAIN), None)
    main = policy or chain
    assert main is not None
    certificates = {item.thumbprint: item for event in events for item in event.certificates if item.thumbprint}
    elements = chain.chain if chain else ()
    return Operation(
        id=identify("O", main.origin, main.chain_ref),
        host=hosts.label(main.host),
        process=main.process,
        process_id=main.process_id,
        time=main.time,
        thumbprint=main.thumbprint,
        subject=main.subject,
        policy=main.policy_name,
        result=as_hex(main.result),
        result_name=result_name(main.result),
        chain_ref=main.chain_ref,
        task_id=main.task_id,
        chain_result=as_hex(chain.result) if chain else "",
        chain_status=flag_names(chain.chain_error or 0, TRUST_ERRORS) if chain else (),
        elements=elements,
        server_name=main.server_name,
        certificate=certificates.get(main.thumbprint),
        missing_issuer=_missing_issuer(chain, certificates),
        missing_events=() if chain else (BUILD_CHAIN,),
        signals=tuple(sorted({name for match in parts for name in match.signals})),
        origin=main.origin,
        chain_origin=chain.origin if chain else None,
        chain_time=chain.time if chain else None,
        origins=tuple(sorted({event.origin for event in events}, key=place)),
    )


def _missing_issuer(chain: Capi2Event | None, certificates: dict[str, Certificate]) -> Certificate | None:
    """What is known of the certificate that would have to come next in an incomplete chain.

    The last element names its issuer and the issuer's key id in event 90; where that is not in the export only
    the last element itself is known and nothing is given.
    """
    if chain is None or not chain.chain or chain.chain[-1].self_signed:
        return None
    last = certificates.get(chain.chain[-1].thumbprint)
    return None if last is None else Certificate(subject=last.issuer, subject_key_id=last.authority_key_id)
