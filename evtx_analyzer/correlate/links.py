"""Rejections and chain operations that belong together, by the link rules.

The anchor is the session's TLS handshake (the refusal where no handshake is known): Schannel builds the chain then,
the refusal follows later, perhaps many messages later. A link needs the rule's signals on both sides, a shared value
in each of the rule's fields, hosts that may be paired, and a time inside the rule's window around the anchor. Of
several operations that fit, the nearest is taken. A row of an IIS log is true within one second, so the window's end
moves by that. A refusal whose UTC time is not known (local time without a zone, a wrong zone) is linked to nothing.

A link is broken by a success for the same certificate under the same policy that lies after the failure and not after
the refusal; the success is named. A link by a name is not made where both thumbprints are known and differ. Different
hosts are linked by a thumbprint only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from operator import attrgetter

from evtx_analyzer.correlate.case_facts import sent_thumbprint
from evtx_analyzer.hosts import relation
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.evidence import LINK_BASES, PASSED, HostRelation, Link, Operation, Rejection
from evtx_analyzer.model.origin import Origin, sort_key
from evtx_analyzer.rules.definitions import LinkRule

_time = attrgetter("time")
_BROKEN = {"CERT_TRUST_IS_PARTIAL_CHAIN", "CERT_TRUST_IS_UNTRUSTED_ROOT"}


def links(
    rejections: Sequence[Rejection],
    operations: Sequence[Operation],
    rules: Sequence[LinkRule],
    window: tuple[float, float] | None = None,
    alike: Sequence[Alike] = (),
) -> list[Link]:
    """Return the links, of each pair those of ``_strongest``; ``alike`` are folded refusals.

    ``window`` (seconds before, after) replaces windows below an hour.
    """
    successes = _successes(operations)
    made: list[Link] = []
    for rule in sorted(rules, key=_strength):
        wanted = frozenset(rule.rejection_signals)
        checks = _Checks(rule, operations)
        before, after = _window(rule, window)
        having = [group for group in alike if not wanted.isdisjoint(group.shared.signals)]
        folded = chain.from_iterable(group.rejections() for group in having)
        for rejection in chain(rejections, folded) if checks.any else ():
            if rejection.time_basis not in ("utc", "zone") or wanted.isdisjoint(rejection.signals):
                continue
            anchor = rejection.handshake_time or rejection.time
            first, last = anchor - timedelta(seconds=before), anchor + timedelta(seconds=after + _slack(rejection))
            fitting = list(_fitting(rule, rejection, checks.near(rejection, anchor, first, last)))
            made += [_link(rule, rejection, *pair, successes) for pair in _nearest(rule, rejection, fitting)]
    signals = {rule.name: rule.operation_signal for rule in rules}
    return sorted(_strongest(made, signals), key=lambda link: (link.rejection, link.rule, link.operation))


class _Checks:
    """The checks that a rule is about, indexed: thousands of refusals need not be compared with thousands of checks.

    ``near`` returns candidates, among which ``_fitting`` and ``_nearest`` decide: of checks that differ only in time,
    only the nearest can be taken.
    """

    def __init__(self, rule: LinkRule, operations: Iterable[Operation]) -> None:
        checks = [operation for operation in operations if rule.operation_signal in operation.signals]
        self._checks = sorted(checks, key=lambda check: (check.time, sort_key(check.origin)))
        self.any = bool(self._checks)
        # Checks that differ only in time: those of one host, certificate and fields, in the order of time.
        alike: dict[tuple[object, ...], list[Operation]] = {}
        self._by_value: dict[str, dict[int, list[Operation]]] = {}
        for check in self._checks:
            values = operation_values(check)
            shared = tuple(frozenset(values.get(left, ())) for left, _ in rule.fields)
            same = (check.thumbprint, not check.missing_events) if rule.basis != "time" else ()
            group = alike.setdefault((check.host, shared, same), [])
            group.append(check)
            for value in shared[0] if shared else ("",):
                self._by_value.setdefault(value, {})[id(group)] = group
        self._field = rule.fields[0][1] if rule.fields else ""

    def near(self, rejection: Rejection, anchor: datetime, first: datetime, last: datetime) -> Iterable[Operation]:
        """Return the checks in the window, leaving out those of which a nearer one differs only in time."""
        values = rejection_values(rejection).get(self._field, set()) if self._field else {""}
        groups = {key: group for value in values for key, group in self._by_value.get(value, {}).items()}
        low, high = _window_of(self._checks, first, last)
        if high - low <= len(groups):
            return self._checks[low:high]
        return [check for group in groups.values() for check in _nearest_alike(group, anchor, first, last)]


def _window_of(checks: Sequence[Operation], first: datetime, last: datetime) -> tuple[int, int]:
    return bisect_left(checks, first, key=_time), bisect_right(checks, last, key=_time)


def _nearest_alike(
    checks: Sequence[Operation], anchor: datetime, first: datetime, last: datetime
) -> Iterator[Operation]:
    """Yield the last before the anchor (of equal times the first record) and the first after it, in the window."""
    low, high = _window_of(checks, first, last)
    middle = min(max(bisect_right(checks, anchor, key=_time), low), high)
    if middle > low:
        yield checks[max(bisect_left(checks, checks[middle - 1].time, key=_time), low)]
    if middle < high:
        yield checks[middle]


def _strongest(made: Sequence[Link], signals: Mapping[str, str]) -> list[Link]:
    """Return one link per pair, that of the strongest rule: a weaker rule adds nothing about the same pair.

    By thumbprint there is one for each signal of the check (``signals``, by rule): what fails and what is revoked are
    two facts.
    """
    pairs: dict[tuple[str, str], Link] = {}
    facts: dict[tuple[str, str, str], Link] = {}
    for link in made:
        pair = link.rejection, link.operation
        first = pairs.setdefault(pair, link)
        if first is link or link.basis == "thumbprint":
            facts.setdefault((*pair, signals[link.rule]), link)
    return list(facts.values())


def _strength(rule: LinkRule) -> tuple[int, float, str]:
    """Return the order of rules: thumbprint before subject before time, then the narrower window."""
    return LINK_BASES.index(rule.basis), rule.before + rule.after, rule.name


def _window(rule: LinkRule, window: tuple[float, float] | None) -> tuple[float, float]:
    hour = 3600.0
    return window if window is not None and rule.before < hour else (rule.before, rule.after)


def _slack(rejection: Rejection) -> float:
    """Return by how many seconds the handshake may lie later: a log may cut times to seconds."""
    return rejection.resolution if rejection.resolution >= 1 else 0.0


def _fitting(
    rule: LinkRule, rejection: Rejection, candidates: Iterable[Operation]
) -> Iterator[tuple[Operation, HostRelation]]:
    sent, own = sent_thumbprint(rejection), rejection_values(rejection)
    for operation in candidates:
        hosts = relation(rejection.host, rejection.host_basis, operation.host)
        if hosts in ("unknown", "different") and rule.basis != "thumbprint":
            continue
        if rule.basis == "subject" and sent and operation.thumbprint and sent != operation.thumbprint:
            continue
        values = operation_values(operation) if rule.fields else {}
        if all(values.get(left, set()) & own.get(right, set()) for left, right in rule.fields):
            yield operation, hosts


def operation_values(operation: Operation) -> Mapping[str, set[str]]:
    """Return the fields of an operation that link rules may name: ``Thumbprint``, ``SubjectDomain``, ``RemoteDomain``.

    A check against a server's name (``serverName`` of event 30) is of the certificate that a remote side sent, so its
    subject is no name of this server, not even in the same domain (a domain controller, another mail server). An
    empty text is never among the values, so what is not known on both sides is nothing that they share.
    """
    own = [operation.subject, *(operation.certificate.alternate_names if operation.certificate else ())]
    names = [] if operation.server_name else own
    return {
        "Thumbprint": {operation.thumbprint} - {""},
        "SubjectDomain": {_domain(name) for name in names if "." in name} - {""},
        "RemoteDomain": {_last_labels(name) for name in (operation.subject, operation.server_name) if "." in name},
    }


def rejection_values(rejection: Rejection) -> Mapping[str, set[str]]:
    """Return the fields of a rejection that link rules may name: both thumbprints, own and remote domain."""
    return {
        "SentThumbprint": {rejection.sent.thumbprint} if rejection.sent else set(),
        "ReceivedThumbprint": {rejection.received.thumbprint} if rejection.received else set(),
        "RemoteDomain": {_last_labels(rejection.remote_name)},
        "OwnDomain": {_domain(rejection.helo), rejection.mail_from.rpartition("@")[2].casefold()},
    }


def _domain(name: str) -> str:
    """Return the DNS domain of a machine's or a wildcard's name: ``servername.com`` for ``*.ServerName.com``."""
    host, _, domain = name.strip().casefold().partition(".")
    return domain if "." in domain else (f"{host}.{domain}" if domain else "")


def _nearest(
    rule: LinkRule, rejection: Rejection, fitting: Sequence[tuple[Operation, HostRelation]]
) -> list[tuple[Operation, HostRelation]]:
    """Return the nearest check; by identity, the nearest of each certificate and the nearest that has its event 11."""
    ordered = sorted(fitting, key=lambda pair: _nearness(rejection, *pair))
    if rule.basis == "time":
        return ordered[:1]
    kept: dict[tuple[str, bool], tuple[Operation, HostRelation]] = {}
    for pair in ordered:
        thumbprint, is_whole = pair[0].thumbprint, not pair[0].missing_events
        if (thumbprint, True) not in kept:
            kept.setdefault((thumbprint, is_whole), pair)
    return list(kept.values())


def _last_labels(name: str) -> str:
    """Return the last two labels: ``outlook.com`` for any front end or certificate of Exchange Online."""
    return ".".join(name.strip().casefold().split(".")[-2:]) if "." in name else ""


def _nearness(rejection: Rejection, operation: Operation, hosts: HostRelation) -> tuple[object, ...]:
    """Return the order of checks: better hosts first, then the nearest in time, then the earlier record."""
    anchor = rejection.handshake_time or rejection.time
    return hosts in ("unknown", "different"), abs(operation.time - anchor), operation.time, sort_key(operation.origin)


def _successes(operations: Iterable[Operation]) -> dict[tuple[str, ...], list[tuple[datetime, Origin]]]:
    """Return the times of successful checks by host, certificate, policy and process, in order.

    Another process has another user's stores: that an engineer's shell builds a chain shows nothing about the service.
    A check that passed although its chain has errors passed because its flags ignore them.
    """
    chains = [check for check in operations if check.kind == "chain" and check.result == PASSED and check.thumbprint]
    table: dict[tuple[str, ...], list[tuple[datetime, Origin]]] = {}
    for check in chains:
        # What a chain without a policy check lacks, a success under any policy has shown.
        for policy in {check.policy, ""} if not set(check.chain_status) & _BROKEN else ():
            key = (check.host, check.thumbprint, policy, check.process)
            table.setdefault(key, []).append((check.time, check.origin))
    return {key: sorted(rows, key=_moment) for key, rows in table.items()}


def _moment(row: tuple[datetime, Origin]) -> tuple[datetime, int]:
    return row[0], row[1].record or 0


def _link(
    rule: LinkRule,
    rejection: Rejection,
    operation: Operation,
    hosts: HostRelation,
    successes: Mapping[tuple[str, ...], list[tuple[datetime, Origin]]],
) -> Link:
    anchor = rejection.handshake_time or rejection.time
    later = successes.get((operation.host, operation.thumbprint, operation.policy, operation.process), [])
    end = rejection.time + timedelta(seconds=_slack(rejection))
    breaking = None
    if operation.result != PASSED:
        # Old systems write times in whole ticks of 15 ms: among equal times the record id tells the order.
        after = bisect_right(later, _moment((operation.time, operation.origin)), key=_moment)
        breaking = later[after][1] if after < len(later) and later[after][0] <= end else None
    return Link(
        rule=rule.name,
        rejection=rejection.id,
        operation=operation.id,
        basis=rule.basis,
        delta_seconds=round((operation.time - anchor).total_seconds(), 6),
        anchor="handshake" if rejection.handshake_time else "refusal",
        host=hosts,
        broken_by=breaking,
    )
