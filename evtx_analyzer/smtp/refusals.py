"""Refused sessions and messages of all logs to rejections: each refusal once, however many logs tell of it.

Most refusals of an outage are alike and stand in one log only: they stay folded (``folding``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.hosts import Hosts
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.events import Match
from evtx_analyzer.model.evidence import ClockSkew, Rejection
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.smtp.clock_skew import settled
from evtx_analyzer.smtp.folding import NOTHING_RECORDED, Folding, Recorded, split
from evtx_analyzer.smtp.merge import merge
from evtx_analyzer.smtp.rejections import message_rejections


class Refusals(Struct, frozen=True, kw_only=True):
    """The rejections within the time that was asked for, and how many lie outside of it.

    ``alike`` are those that are folded: of incidents that are too large to list each of their refusals. ``offsets`` are
    logs whose clock stands whole hours beside that of another log of the same refusal.
    """

    rejections: tuple[Rejection, ...]
    left_out: int
    offsets: tuple[tuple[Origin, int], ...]
    alike: tuple[Alike, ...] = ()

    @property
    def any(self) -> bool:
        """Return whether there is any refusal, in the time asked for or outside of it."""
        return bool(self.rejections or self.alike or self.left_out)

    def sessions(self) -> Iterator[str]:
        """Yield the ids of all sessions that were refused; empty where the log names none."""
        yield from (rejection.session for rejection in self.rejections)
        yield from (differing.session for group in self.alike for differing in group.differing())


def refusals(
    folding: Folding,
    messages: Iterable[Match],
    hosts: Hosts,
    skews: Sequence[ClockSkew],
    within: tuple[datetime | None, datetime | None],
    recorded: Recorded = NOTHING_RECORDED,
) -> Refusals:
    """Make rejections of refused sessions and messages, each refusal once; ``within`` limits their time.

    Those that a network trace may show (``recorded``) stay whole: each is compared with its handshakes.
    """
    others = [sighting for match in messages for sighting in message_rejections(match, hosts)]
    whole, alone = folding.resolved(hosts, others, recorded)
    merged, offsets = merge(settled([*whole, *others], folding.clocks, skews))
    count = len(merged) + sum(map(len, alone))
    kept, alike = split(
        [rejection for rejection in merged if _lies_within(rejection, *within)],
        [part for group in alone if len(part := _part_within(group, *within))],
        folding.files,
        recorded,
    )
    left_out = count - len(kept) - sum(map(len, alike))
    return Refusals(rejections=tuple(kept), left_out=left_out, offsets=tuple(offsets), alike=tuple(alike))


def _lies_within(rejection: Rejection, since: datetime | None, until: datetime | None) -> bool:
    """Return whether a refusal lies in the limits; one whose UTC time is not known is kept."""
    return rejection.time_basis in ("heading", "unknown") or _is_between(rejection.time, since, until)


def _part_within(group: Alike, since: datetime | None, until: datetime | None) -> Alike:
    """Return those refusals that lie in the limits, of some that are alike; their UTC time is known."""
    if since is None and until is None:
        return group
    pairs = zip(group.differing(), group.rows, strict=True)
    return replace(group, rows=[row for differing, row in pairs if _is_between(differing.time, since, until)])


def _is_between(time: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or time >= since) and (until is None or time <= until)
