"""Chooses the refusals of a large incident that the report lists; all others are folded and counted.

Listed are the first and the last refusal, the first five and the last with each signal (evidence names them), the first
with each distinct reply, the first of each kind of session (``kind_of``), and for each link rule the pairs that lie
nearest in time, sound and broken ones apart.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import grouped, sender_domain_of
from evtx_analyzer.exchange_online import is_remote_side
from evtx_analyzer.model.alike import Alike, Differing
from evtx_analyzer.model.evidence import Incident, Link, Rejection
from evtx_analyzer.smtp.replies import compared

FIRST = 5
"""How many refusals with a signal, and pairs of a rule, are listed; as many sentences of evidence are shown."""
MOST_KINDS = 50
"""How many distinct replies, and kinds of session, have a refusal that is listed."""

_Row = tuple[object, ...]
"""The order of a refusal in time and place, the number of its group, and its number in the group."""


class Survey(Struct, frozen=True):
    """What one pass over refusals that are alike shows: the first ones and the last, and who is affected."""

    group: Alike
    first: Differing
    last: Differing
    early: tuple[_Row, ...]
    end: _Row
    senders: frozenset[str]
    recipients: frozenset[str]


def survey(group: Alike, number: int) -> Survey:
    """Go through refusals that are alike; ``number`` is that of the group in its incident."""
    early: list[tuple[_Row, Differing]] = []
    end: tuple[_Row, Differing] | None = None
    senders, recipients = set[str](), set[str]()
    for place, differing in enumerate(group.differing()):
        senders.add(differing.mail_from)
        recipients.update(differing.rcpt_to.split("; "))
        if len(early) < FIRST or differing.time <= early[-1][1].time:
            insort(early, ((*group.order(differing), number, place), differing), key=itemgetter(0))
            del early[FIRST:]
        if end is None or differing.time >= end[1].time:
            entry = (*group.order(differing), number, place), differing
            end = entry if end is None else max(end, entry, key=itemgetter(0))
    assert end is not None, "no group is empty"
    return Survey(
        group=group,
        first=early[0][1],
        last=end[1],
        early=tuple([row for row, _ in early]),
        end=end[0],
        senders=frozenset(senders),
        recipients=frozenset(recipients) - {""},
    )


def excerpt(surveys: Sequence[Survey], links: Iterable[Link]) -> tuple[list[Rejection], tuple[Alike, ...]]:
    """Return the refusals that are listed whole, and the others, still folded; ``links`` are those of all."""
    chosen = _chosen(surveys)
    paired = _paired(links)
    whole: list[Rejection] = []
    folded: list[Alike] = []
    for number, of_group in enumerate(surveys):
        group, places = of_group.group, chosen.get(number, set())
        shown = enumerate(group.differing()) if paired else ()
        taken = places | {place for place, differing in shown if group.whole(differing).id in paired}
        rows = group.rows
        picked = replace(group, rows=[rows[place] for place in sorted(taken)])
        whole += picked.rejections()
        left = [row for place, row in enumerate(rows) if place not in taken]
        if left:
            folded.append(replace(group, rows=left))
    return whole, tuple(folded)


def _chosen(surveys: Sequence[Survey]) -> Mapping[int, set[int]]:
    """Return the places of the rows that are listed whole, by the number of their group."""
    signals: dict[str, list[Survey]] = {}
    replies: dict[object, _Row] = {}
    kinds: dict[object, _Row] = {}
    for of_group in surveys:
        for name in of_group.group.shared.signals:
            signals.setdefault(name, []).append(of_group)
        reply, kind = compared(of_group.group.shared.reply), kind_of(of_group.group.whole(of_group.first))
        replies[reply] = min(replies.get(reply, of_group.early[0]), of_group.early[0])
        kinds[kind] = min(kinds.get(kind, of_group.early[0]), of_group.early[0])
    rows: list[_Row] = [min(survey.early[0] for survey in surveys), max(survey.end for survey in surveys)]
    for same in signals.values():
        rows += heapq.nsmallest(FIRST, chain.from_iterable(of_group.early for of_group in same))
        rows.append(max(of_group.end for of_group in same))
    rows += [*sorted(replies.values())[:MOST_KINDS], *sorted(kinds.values())[:MOST_KINDS]]
    chosen: dict[int, set[int]] = {}
    for *_, number, place in dict.fromkeys(rows):
        assert isinstance(number, int)
        assert isinstance(place, int)
        chosen.setdefault(number, set()).add(place)
    return chosen


def kind_of(rejection: Rejection) -> tuple[object, ...]:
    """Return the parts of a refusal by which ``repair`` compares it with mail that was accepted later."""
    received = rejection.received.thumbprint if rejection.received else ""
    online = is_remote_side(rejection.remote_name, rejection.received, rejection.remote_endpoint)
    sent = rejection.sent is not None
    tls = rejection.starttls, bool(rejection.tls)
    return sender_domain_of(rejection), rejection.seen_address, *tls, rejection.from_start, sent, received, online


def holds_every_kind(incident: Incident) -> bool:
    """Return whether there is a refusal of each kind among those that an incident holds, listed or folded.

    A saved report lists the first of each kind, and of very many kinds only some.
    """
    here = len(incident.rejections) + sum(map(len, incident.alike))
    return here >= incident.rejection_count or len({*map(kind_of, incident.rejections)}) < MOST_KINDS


def _paired(links: Iterable[Link]) -> frozenset[str]:
    """Return the ids of the refusals in the nearest pairs of each rule."""
    pairs = grouped(links, lambda link: (link.rule, link.broken_by is None)).values()
    nearest = (heapq.nsmallest(FIRST, same, key=lambda link: abs(link.delta_seconds)) for same in pairs)
    return frozenset(link.rejection for link in chain.from_iterable(nearest))
