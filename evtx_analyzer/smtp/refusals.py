"""Refused sessions and messages of all logs to rejections: each refusal once, however many logs tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from evtx_analyzer.hosts import Hosts
from evtx_analyzer.model.events import Match
from evtx_analyzer.model.evidence import ClockSkew, Rejection
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.smtp.clock_skew import session_clock, settled
from evtx_analyzer.smtp.merge import merge
from evtx_analyzer.smtp.rejections import Sighting, message_rejections, rejections
from evtx_analyzer.smtp.sessions import Session


class Refusals(Struct, frozen=True, kw_only=True):
    """The rejections within the time that was asked for, and how many lie outside of it.

    ``offsets`` are logs whose clock stands whole hours beside that of another log of the same refusal.
    """

    rejections: tuple[Rejection, ...]
    left_out: int
    offsets: tuple[tuple[Origin, int], ...]

    @property
    def any(self) -> bool:
        """Return whether there is any refusal, in the time asked for or outside of it."""
        return bool(self.rejections or self.left_out)


def refusals(
    sessions: Iterable[Session],
    messages: Iterable[Match],
    hosts: Hosts,
    skews: Sequence[ClockSkew],
    within: tuple[datetime | None, datetime | None],
) -> Refusals:
    """Make rejections of refused sessions and messages, each refusal once; ``within`` limits their time."""
    merged, offsets = merge(settled(*_sightings(sessions, messages, hosts), skews))
    kept = tuple([item for item in merged if _lies_within(item, *within)])
    return Refusals(rejections=kept, left_out=len(merged) - len(kept), offsets=tuple(offsets))


def _sightings(
    sessions: Iterable[Session], messages: Iterable[Match], hosts: Hosts
) -> tuple[list[Sighting], dict[str, datetime]]:
    """Return the refusals as every log tells them, and by id the session's own clock where its hour comes twice."""
    sightings: list[Sighting] = []
    clocks: dict[str, datetime] = {}
    for session in sessions:
        for item in rejections(session, hosts):
            sightings.append(item)
            if item.rejection.time_basis == "ambiguous" and (time := session_clock(session)) is not None:
                clocks[item.rejection.id] = time
    sightings += [item for match in messages for item in message_rejections(match, hosts)]
    return sightings, clocks


def _lies_within(item: Rejection, since: datetime | None, until: datetime | None) -> bool:
    """Return whether a refusal lies in the limits; one whose UTC time is not known is kept."""
    if item.time_basis in ("heading", "unknown"):
        return True
    return (since is None or item.time >= since) and (until is None or item.time <= until)
