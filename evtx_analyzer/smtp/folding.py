"""Refused sessions are folded as they are read: of refusals that are alike, only what differs is kept.

Which machine a session belongs to, and which other log tells of its refusals, is known only when all logs were read.
So refusals wait here. Those of a small case are given whole, each for itself. In a larger one only those are given
whole that another log may tell of too; all others stay folded and are never looked at one by one again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.hosts import HostClue, Hosts, address_of
from evtx_analyzer.model.alike import Alike, Differing, Files, differing_part, shared_part
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.origin import sort_key
from evtx_analyzer.smtp.clock_skew import session_clock
from evtx_analyzer.smtp.merge import message_key, recipients_of, wire_layer
from evtx_analyzer.smtp.rejections import Sighting, rejections, session_clue
from evtx_analyzer.smtp.reply_texts import compared
from evtx_analyzer.smtp.sessions import Session

FEW = 300
"""So many refusals of an incident are listed one by one, and nothing of it is folded."""

# A report is written up to a minute after the refusal, and times of IIS logs are true to a second.
_NEAR = timedelta(seconds=65)


class Group(Struct, frozen=True):
    """Refusals that are alike and whose machine is known by the same clue."""

    alike: Alike
    clue: HostClue
    layer: str


class Recorded:
    """When a network trace shows connections: a refusal at such a time may be one of them, and stands whole."""

    def __init__(self, spans: Iterable[tuple[datetime, datetime]] = ()) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        for start, end in sorted(spans):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def holds(self, item: Rejection | Differing) -> bool:
        """Return whether a refusal or its handshake lies at such a time."""
        return bool(self._starts) and (self._is_within(item.time) or self._is_within(item.handshake_time or item.time))

    def _is_within(self, time: datetime) -> bool:
        place = bisect_right(self._starts, time)
        return place > 0 and time <= self._ends[place - 1]


NOTHING_RECORDED = Recorded()


class Folding:
    """The refusals of all protocol logs; memory grows by what differs between them."""

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], Group] = {}
        self._shared: dict[tuple[object, ...], Rejection] = {}
        self.files = Files()
        self._ends: list[datetime] = []
        self.clocks: dict[str, datetime] = {}
        """By id of a refusal in the hour that a clock shows twice: the remote clock that its session shows."""

    def add(self, session: Session) -> None:
        """Fold the refusals of a session."""
        clue, first = session_clue(session), True
        for sighting in rejections(session):
            rejection = sighting.rejection
            group = self.group(sighting, clue)
            group.alike.rows.append(differing_part(rejection, group.alike.shared.reply, self.files))
            if rejection.time_basis == "ambiguous" and (time := session_clock(session)) is not None:
                self.clocks[rejection.id] = time
            if first and rejection.handshake_time is None:
                self._ends.append(session.last)
            first = False

    def ended(self, time: datetime) -> None:
        """Note the end of a refused session without a handshake."""
        self._ends.append(time)

    def group(self, sighting: Sighting, clue: HostClue) -> Group:
        """Return the group that a refusal belongs to."""
        rejection = sighting.rejection
        where = HostClue(clue.name, clue.path, address_of(clue.address))
        alike = alike_key(rejection)
        key = (*alike, where, sighting.layer)
        group = self._groups.get(key)
        if group is None:
            # The files of a log share it: its reply is that of the first of them all.
            shared = self._shared.setdefault(alike, shared_part(rejection, rejection.reply))
            group = self._groups[key] = Group(Alike(shared, [], self.files.origins), where, sighting.layer)
        return group

    def __len__(self) -> int:
        """Return how many refusals were found."""
        return sum(len(group.alike) for group in self._groups.values())

    def clear(self) -> None:
        """Forget all refusals, whose rejections were made."""
        self._groups.clear()
        self._shared.clear()
        self._ends.clear()

    def anchors(self) -> list[datetime]:
        """Return the times of refused handshakes, and of the end of sessions that had none."""
        times = {differing.handshake_time for group in self._groups.values() for differing in group.alike.differing()}
        return [*self._ends, *(time for time in times if time is not None)]

    def certificates(self) -> Iterator[Certificate]:
        """Yield the certificates that refused sessions sent or received."""
        for group in self._groups.values():
            yield from (
                certificate for certificate in (group.alike.shared.sent, group.alike.shared.received) if certificate
            )

    def resolved(
        self, hosts: Hosts, others: Sequence[Sighting], recorded: Recorded = NOTHING_RECORDED
    ) -> tuple[list[Sighting], list[Alike]]:
        """Return the refusals with their machines: whole those that ``others`` may tell of too, folded all others.

        ``others`` are what message tracking and reports tell; what a network trace may show (``recorded``) is whole.
        """
        groups = list(_with_hosts(self._groups.values(), hosts))
        if len(self) + len(others) <= FEW:
            return [sighting for group in groups for sighting in _sightings(group)], []
        folded = [group for group in groups if _may_fold(group)]
        whole = [sighting for group in groups if not _may_fold(group) for sighting in _sightings(group)]
        elsewhere, twice = _Elsewhere([*whole, *others]), _twice(folded) if len(self.files.origins) > 1 else set()
        alone: list[Alike] = []
        for group in folded:
            rest = []
            for differing, row in zip(group.alike.differing(), group.alike.rows, strict=True):
                if (
                    elsewhere.may_tell(differing)
                    or recorded.holds(differing)
                    or (twice and _copied(differing) in twice)
                ):
                    whole.append(Sighting(group.alike.whole(differing), group.layer))
                else:
                    rest.append(row)
            if rest:
                alone.append(replace(group.alike, rows=rest))
        return whole, alone


def alike_key(rejection: Rejection) -> tuple[object, ...]:
    """Return what refusals must share to be alike: all that decides, but for their times and what names a message."""
    return shared_part(rejection, compared(rejection.reply)), _domain(rejection)


def fold(found: Iterable[Rejection], files: Files) -> list[Alike]:
    """Return refusals folded, in the order in which the first of each came."""
    groups: dict[tuple[object, ...], Alike] = {}
    for rejection in found:
        key = alike_key(rejection)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Alike(shared_part(rejection, rejection.reply), [], files.origins)
        group.rows.append(differing_part(rejection, group.shared.reply, files))
    return list(groups.values())


Key = tuple[str, str, str, str]
"""Host, kind of log, connector and thumbprint of the certificate sent: what makes an incident."""


def incident_key(rejection: Rejection) -> Key:
    """Return what the refusals of one incident share."""
    return rejection.host, rejection.kind, rejection.connector, rejection.sent.thumbprint if rejection.sent else ""


def split(
    found: Iterable[Rejection], alike: Iterable[Alike], files: Files, recorded: Recorded = NOTHING_RECORDED
) -> tuple[list[Rejection], list[Alike]]:
    """Return the refusals of small incidents whole, and folded those of large ones as far as they can be."""
    whole: dict[Key, list[Rejection]] = {}
    folded: dict[Key, list[Alike]] = {}
    for item in found:
        whole.setdefault(incident_key(item), []).append(item)
    for group in alike:
        folded.setdefault(incident_key(group.shared), []).append(group)
    for key in {**whole, **folded}:
        count = len(whole.get(key, ())) + sum(map(len, folded.get(key, ())))
        if count <= FEW:
            whole.setdefault(key, []).extend(
                rejection for group in folded.pop(key, ()) for rejection in group.rejections()
            )
        elif may := [item for item in whole.get(key, ()) if _may_be_folded(item) and not recorded.holds(item)]:
            whole[key] = [item for item in whole[key] if not _may_be_folded(item) or recorded.holds(item)]
            folded.setdefault(key, []).extend(fold(may, files))
    listed = [item for rejections in whole.values() for item in rejections]
    groups = [group for groups in folded.values() for group in groups]
    return sorted(listed, key=lambda item: (item.time, sort_key(item.origin), item.id)), groups


def _may_be_folded(rejection: Rejection) -> bool:
    """Return whether a refusal can be folded: its UTC time is known, and its own log's place comes first."""
    return (
        rejection.time_basis == "utc" and rejection.other_time is None and rejection.origins[:1] == (rejection.origin,)
    )


def _with_hosts(groups: Iterable[Group], hosts: Hosts) -> Iterator[Group]:
    """Yield the groups with their machines; those that then differ in nothing are one."""
    joined: dict[tuple[object, ...], Group] = {}
    for group in groups:
        host, basis = hosts.resolve(group.clue)
        domain = _domain(next(group.alike.differing()))
        key = (group.alike.shared, domain, group.layer, host, basis)
        if key not in joined:
            shared = replace(group.alike.shared, host=host, host_basis=basis)
            joined[key] = replace(group, alike=replace(group.alike, shared=shared, rows=[]))
        joined[key].alike.rows.extend(group.alike.rows)
    return iter(joined.values())


def _domain(item: Rejection | Differing) -> str:
    return item.mail_from.rpartition("@")[2]


def _sightings(group: Group) -> Iterator[Sighting]:
    return (Sighting(rejection, group.layer) for rejection in group.alike.rejections())


def _may_fold(group: Group) -> bool:
    """Return whether refusals may stay folded: their time is known, and they leave the organization."""
    return group.alike.shared.time_basis == "utc" and wire_layer(group.layer) == "wire"


class _Elsewhere:
    """What tells ``merge`` that two logs speak of one refusal: message ids, sessions, recipients at the same time."""

    def __init__(self, others: Iterable[Sighting]) -> None:
        self._names: set[str] = set()
        self._times: dict[str, list[datetime]] = {}
        for sighting in others:
            rejection = sighting.rejection
            self._names |= {message_key(rejection.message_id), rejection.session} - {""}
            for name in recipients_of(rejection.rcpt_to):
                self._times.setdefault(name, []).append(rejection.time)
        for times in self._times.values():
            times.sort()

    def may_tell(self, differing: Differing) -> bool:
        """Return whether another log may tell of a refusal; one without recipients is never alone."""
        if not differing.rcpt_to:
            return True
        if not self._names and not self._times:
            return False
        if differing.session in self._names or message_key(differing.message_id) in self._names:
            return True
        return any(self._is_near(differing.time, name) for name in recipients_of(differing.rcpt_to))

    def _is_near(self, time: datetime, name: str) -> bool:
        times = self._times.get(name, ())
        place = bisect_left(times, time - _NEAR)
        return place < len(times) and times[place] <= time + _NEAR


def _copied(differing: Differing) -> int:
    return hash((differing.session, differing.time, differing.rcpt_to, differing.message_id))


def _twice(groups: Iterable[Group]) -> set[int]:
    """Return what marks the rows that stand in two files: one of them may be a copy of a part of the other."""
    seen: dict[int, int] = {}
    twice: set[int] = set()
    for group in groups:
        for differing in group.alike.differing():
            mark = _copied(differing)
            if seen.setdefault(mark, differing.places[0][0]) != differing.places[0][0]:
                twice.add(mark)
    return twice
