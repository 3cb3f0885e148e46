"""Make the rejections of a case from the refused sessions and messages of all its logs, each refusal once.

Most refusals of an outage are alike and are in one log only: they stay folded (``folding``).
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
    """The refusals within the time that was asked for.

    ``rejections`` are whole, ``alike`` are folded, for their incidents are too large to list each refusal.
    ``left_out`` is the number of refusals outside of the time. ``offsets`` are origins whose time is whole hours later
    (or earlier, negative) than that of the same refusal in another log.
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
    """Return the refusals of sessions (``folding``) and of messages, each once.

    ``within`` are the first and last time that was asked for, None without a limit. Refusals that a network trace may
    show (``recorded``) are not folded, for each is compared with its handshakes.
    """
    others = [sighting for match in messages for sighting in message_rejections(match, hosts)]
    whole, alone = folding.resolved(hosts, others, recorded)
    merged, offsets = merge(settled([*whole, *others], folding.clocks, skews))
    count = len(merged) + sum(map(len, alone))
    listed, alike = split(
        [rejection for rejection in merged if _lies_within(rejection, *within)],
        [part for group in alone if len(part := _part_within(group, *within))],
        folding.files,
        recorded,
    )
    left_out = count - len(listed) - sum(map(len, alike))
    return Refusals(rejections=tuple(listed), left_out=left_out, offsets=tuple(offsets), alike=tuple(alike))


def _lies_within(rejection: Rejection, since: datetime | None, until: datetime | None) -> bool:
    """Return whether a refusal lies in the limits; one whose UTC time is not known is never left out."""
    return rejection.time_basis in ("heading", "unknown") or _is_between(rejection.time, since, until)


def _part_within(group: Alike, since: datetime | None, until: datetime | None) -> Alike:
    """Return those of some folded refusals that lie in the limits; their UTC time is always known."""
    if since is None and until is None:
        return group
    pairs = zip(group.differing(), group.rows, strict=True)
    return replace(group, rows=[row for differing, row in pairs if _is_between(differing.time, since, until)])


def _is_between(time: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or time >= since) and (until is None or time <= until)
