"""Make operations of CAPI2 events: what was checked, by whom, under which policy, what was done for it, its result.

An event 30 belongs to the event 11 with the same chainRef in the same log and process; their TaskIds may differ (they
do in 39 of 94 real pairs). Everything else belongs together by TaskId and SeqNumber (``task_tree``): retrievals and
revocation checks to the chain for which they were made, event 90 (the certificates as XML) to the chains of its task,
chains to the WinVerifyTrust that built them. It is normal that an event 30 lacks its event 11, for the log is a ring
of 1 MB; the operation then says that it is missing. Every event is a step of at least one operation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from evtx_analyzer.capi2.issuers import with_roles
from evtx_analyzer.capi2.same_log import distinct, record_id
from evtx_analyzer.capi2.summaries import step
from evtx_analyzer.capi2.task_tree import BEGINS, CERTIFICATES, POLICY, MatchAtDepth, Node, capi2, numbers_missing, tree
from evtx_analyzer.hosts import Hosts
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Capi2Event, Match
from evtx_analyzer.model.evidence import Operation
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.model.origin import identify, sort_key
from evtx_analyzer.wincrypt import TRUST_ERRORS, as_hex, flag_names, result_name

BUILD_CHAIN = 11
# A real operation has up to forty events. In a damaged or forged log the same id of a task or chain may come again and
# again; all events with it would be in each operation that has it.
MOST_EVENTS = 200
"""At most so many events of an operation are listed."""
MOST_CERTIFICATE_EVENTS = 20
"""At most so many events 90 of a task are listed; every operation of the task has them."""
MOST_HOLES = 10
"""At most so many holes in the numbering of an operation are named."""
_Key = tuple[str, int | None, str]
"""Log, process id, and TaskId or chainRef."""


@dataclass
class _Task:
    """One task: all its events, and the tree that they make."""

    key: _Key
    matches: list[Match]
    nodes: list[Node]
    certificates: list[Match]  # those of event 90

    @cached_property
    def naming(self) -> dict[str, Match]:
        """The first event 90 that names a certificate, by thumbprint."""
        first: dict[str, Match] = {}
        for match in self.certificates:
            for certificate in capi2(match).certificates:
                first.setdefault(certificate.thumbprint, match)
        return first

    @cached_property
    def holes(self) -> list[tuple[int, int]]:
        """The runs of SeqNumbers that no event of the task has."""
        return numbers_missing(self.matches)


@dataclass
class _Draft:
    """What an operation is made of: ``node`` with its task, and for a check event 30 and its chain."""

    task: _Task
    node: Node
    policy: Match | None = None
    chain: Node | None = None
    chain_task: _Task | None = None

    @property
    def main(self) -> Capi2Event:
        """The event that gives the operation its time, host and result."""
        return capi2(self.node.main)

    @property
    def id(self) -> str:
        """The id of the operation."""
        return identify("O", self.main.origin, self.main.chain_ref)


def operations(matches: Iterable[Match], hosts: Hosts, coverage: Iterable[Coverage] = ()) -> list[Operation]:
    """Return the operations by time: policy checks with their chains, chains without a check, and everything else.

    ``coverage`` is needed to say why a part of an operation is not in the export.
    """
    tasks = _tasks(matches)
    spans = {span.source: span for span in coverage if span.kind == "capi2"}
    drafts = list(_drafts(tasks))
    trust = [draft for draft in drafts if draft.node.kind == "trust"]
    # The signature check (WinVerifyTrust) in which an operation lies, else the one that names its chain.
    owners = {id(inner): draft for draft in trust for inner in draft.node.walk()}
    by_ref = {(draft.task.key[:2], ref): draft for draft in trust for ref in capi2(draft.node.main).chain_refs}
    result = []
    for draft in drafts:
        ref = draft.task.key[:2], capi2(draft.node.main).chain_ref
        parent = None if draft.node.kind == "trust" else owners.get(id(draft.node)) or by_ref.get(ref)
        result.append(_operation(draft, hosts, spans, None if parent is None else parent.id))
    return with_roles(sorted(result, key=lambda operation: (operation.time, sort_key(operation.origin))))


def _tasks(matches: Iterable[Match]) -> list[_Task]:
    """Return the tasks by log, process and TaskId; an event without a TaskId is a task of its own."""
    by_origin = {match.event.origin: match for match in matches if isinstance(match.event, Capi2Event)}
    grouped: dict[_Key, list[Match]] = {}
    for log, event in distinct(capi2(match) for match in by_origin.values()):
        name = event.task_id or identify("T", event.origin, "")
        grouped.setdefault((log, event.process_id, name), []).append(by_origin[event.origin])
    return [
        _Task(key, group, tree(group), [match for match in group if capi2(match).event_id == CERTIFICATES])
        for key, group in grouped.items()
    ]


def _drafts(tasks: Sequence[_Task]) -> Iterator[_Draft]:
    """Yield a draft for each event 30, for each chain that no event 30 refers to, and for each node of ``_others``."""
    chains: dict[_Key, tuple[_Task, Node]] = {}
    for task in tasks:
        for node in _all(task):
            if node.id == BUILD_CHAIN and node.end and capi2(node.end).chain_ref:
                chains[*task.key[:2], capi2(node.end).chain_ref] = (task, node)
    used: set[int] = set()
    for task in tasks:
        for node in _all(task):
            if node.id == POLICY:
                owner, chain = chains.get((*task.key[:2], capi2(node.main).chain_ref), (None, None))
                used.add(id(chain))
                yield _Draft(task, node, policy=node.main, chain=chain, chain_task=owner)
    for task in tasks:
        for node in _all(task):
            if node.id == BUILD_CHAIN and id(node) not in used:
                yield _Draft(task, node, chain=node, chain_task=task)
        yield from (_Draft(task, node) for node in _others(task))


def _all(task: _Task) -> Iterator[Node]:
    return (node for top in task.nodes for node in top.walk())


def _others(task: _Task) -> Iterator[Node]:
    """Yield the outermost nodes that are neither a chain nor an event 30; no event 90 that chains of its task have."""
    if not any(node.id in (BUILD_CHAIN, POLICY) for node in _all(task)):
        return iter(task.nodes)
    return (node for node in task.nodes if node.id not in (BUILD_CHAIN, POLICY, CERTIFICATES))


def _parts(draft: _Draft) -> tuple[list[MatchAtDepth], int]:
    """Return the events of an operation with their depth as they were written, and how many it has.

    Of very many events only an excerpt is returned.
    """
    inner = draft.chain.all_events if draft.chain else ()
    policy = [(draft.policy, 0)] if draft.policy else []
    own = inner if inner or policy else draft.node.all_events
    parts = [*_excerpt(own), *policy]
    inside = {match.event.origin for match, _ in parts}
    tasks = {id(task): task for task in (draft.chain_task, draft.task) if task}.values()
    named = sum(capi2(match).event_id == CERTIFICATES for match, _ in own)
    count = len(own) + len(policy) + max(sum(len(task.certificates) for task in tasks) - named, 0)
    for match in (match for task in tasks for match in _naming(draft, task)):
        if match.event.origin not in inside:
            inside.add(match.event.origin)
            parts.append((match, 0))
    return sorted(parts, key=lambda part: _written(part[0])), count


def _excerpt(events: Sequence[MatchAtDepth]) -> list[MatchAtDepth]:
    """Return the first events of an operation, the first of each kind and result, and the last ones, in their order."""
    if len(events) <= MOST_EVENTS:
        return list(events)
    kinds: dict[tuple[object, ...], int] = {}
    for place, (match, _) in enumerate(events):
        event = capi2(match)
        kinds.setdefault((event.event_id, event.result), place)
    share = MOST_EVENTS // 3
    places = {*range(share), *list(kinds.values())[:share], *range(len(events) - share, len(events))}
    return [events[place] for place in sorted(places)]


def _naming(draft: _Draft, task: _Task) -> list[Match]:
    """Return the events 90 of a task; of very many those that name a certificate of the chain, then the first ones."""
    if len(task.certificates) <= MOST_CERTIFICATE_EVENTS:
        return task.certificates
    events = [capi2(match) for match in (draft.policy, draft.chain.end if draft.chain else None) if match]
    names = [name for event in events for name in (event.thumbprint, *(link.thumbprint for link in event.chain))]
    of_chain = [task.naming[name] for name in dict.fromkeys(names) if name in task.naming]
    return [*of_chain, *task.certificates[:MOST_CERTIFICATE_EVENTS]][:MOST_CERTIFICATE_EVENTS]


def _written(match: Match) -> tuple[object, ...]:
    """Return the order of writing: EventRecordIDs where there are any, for several events have the same time."""
    event = capi2(match)
    return record_id(event) or 0, event.time, event.sequence or 0, sort_key(event.origin)


def _operation(draft: _Draft, hosts: Hosts, spans: Mapping[str, Coverage], parent: str | None) -> Operation:
    parts, count = _parts(draft)
    events = [capi2(match) for match, _ in parts]
    main = draft.main
    chain = capi2(draft.chain.end) if draft.chain and draft.chain.end else None
    checked = chain if chain is not None and not main.thumbprint else main
    shown = (certificate for event in events for certificate in event.certificates)
    certificates = {certificate.thumbprint: certificate for certificate in shown if certificate.thumbprint}
    # The last element of an incomplete chain says which certificate would have to come next, and where it is published
    # (RFC 5280 4.2.2.1), if an event 90 shows that element.
    stops = chain is not None and bool(chain.chain) and not chain.chain[-1].self_signed
    last = certificates.get(chain.chain[-1].thumbprint) if chain is not None and stops else None
    missing, notes = _missing(draft, spans)
    listed = (
        f"of its {count:,} events {len(parts)} are listed: the first, the last, and the first of each kind and result"
    )
    left_out = (listed,) if len(parts) < count else ()
    named = [f"record {event.origin.record}: {note}" for event in events for note in event.notes]
    return Operation(
        id=draft.id,
        host=hosts.label(main.host),
        process=main.process,
        process_id=main.process_id,
        time=main.time,
        thumbprint=checked.thumbprint,
        subject=checked.subject,
        policy=main.policy_name,
        result=as_hex(main.result),
        result_name=result_name(main.result),
        chain_ref=main.chain_ref,
        task_id=main.task_id,
        chain_result=as_hex(chain.result) if chain else "",
        chain_status=flag_names(chain.chain_error or 0, TRUST_ERRORS) if chain else (),
        elements=chain.chain if chain else (),
        server_name=main.server_name,
        certificate=certificates.get(checked.thumbprint),
        missing_issuer=Certificate(subject=last.issuer, subject_key_id=last.authority_key_id) if last else None,
        missing_issuer_urls=last.issuer_urls if last else (),
        element_index=main.status[1],
        missing_events=missing,
        signals=tuple(sorted({name for match, _ in parts for name in match.signals})),
        origin=main.origin,
        chain_origin=chain.origin if chain else None,
        chain_time=chain.time if chain else None,
        origins=tuple(sorted({event.origin for event in events}, key=sort_key)),
        kind="chain" if draft.policy or draft.chain else draft.node.kind,
        complete=not missing and not notes,
        notes=(*notes, *named, *left_out),
        parent=parent,
        user=main.user,
        target=main.target,
        flags=main.flags,
        chain_flags=chain.flags if chain else (),
        ignore_flags=main.ignore_flags,
        auth_type=main.auth_type,
        engine=chain.engine if chain else "",
        usages=chain.usages if chain else (),
        end=max(event.time for event in events),
        revocations=tuple(event.revocation for event in events if event.revocation),
        retrievals=tuple(event.retrieval for event in events if event.retrieval),
        steps=tuple(step(capi2(match), depth) for match, depth in parts),
        event_count=count,
    )


def _missing(draft: _Draft, spans: Mapping[str, Coverage]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the ids of events that must have been written and are not in the export, with a note on them and holes."""
    root = draft.chain if draft.policy else draft.node
    missing = root.absent if root else (BUILD_CHAIN,)
    holes = _holes(draft, root)
    if not missing and not holes:
        return (), ()
    main = draft.main
    what = [f"event {number}" for number in missing]
    what += [f"SeqNumber {first}" + (f"-{last}" if last > first else "") for first, last in holes[:MOST_HOLES]]
    if len(holes) > MOST_HOLES:
        what.append(f"{len(holes) - MOST_HOLES} more runs of SeqNumbers")
    return missing, (f"not in the export: {', '.join(what)}; {_reason(main, spans.get(main.origin.source))}",)


def _holes(draft: _Draft, root: Node | None) -> list[tuple[int, int]]:
    """Return the runs of SeqNumbers that are missing inside of a node, and before it where it began its task."""
    task = draft.chain_task if draft.policy else draft.task
    if root is None or task is None or root.numbers is None:
        return []
    first, last = root.numbers
    if root.id in BEGINS and root.begin is None and root is task.nodes[0]:
        first = 1
    # The first and the last number are in the export, so no hole goes beyond them.
    low, high = bisect_left(task.holes, (first,)), bisect_right(task.holes, last, key=itemgetter(0))
    return task.holes[low:high]


def _reason(event: Capi2Event, span: Coverage | None) -> str:
    """Return why a part of an operation may be missing, as far as its export shows."""
    record = event.origin.record
    if span is None or record is None:
        return "overwritten, filtered out, or the log did not run yet"
    if any(gap.kind == "lost" for gap in span.gaps):
        return "records of this export could not be read (see losses)"
    if span.gaps:
        return "the export leaves records out (a query, or the log was cleared)"
    if span.first_record is not None and span.first_record > 1:
        return f"the export begins with record {span.first_record}, what was written before has been overwritten"
    return "the log was enabled, or the export was made, while this was going on"
