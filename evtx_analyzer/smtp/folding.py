"""Hold the refusals of sessions until all logs are read: of refusals that are alike, only what differs.

Only then it is known which machine a session belongs to, and which other log shows the same refusal. In a case of at
most ``FEW`` refusals each of them becomes a whole rejection again. In a larger case only those do that another log may
show too, or that may be in a network trace; all others stay folded, and are never looked at one by one again.

What is folded: refusals that are equal but for their times, what names their message, and the bracket in their reply
(``alike_key``). ``model/alike.py`` packs them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter

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
from evtx_analyzer.smtp.replies import compared
from evtx_analyzer.smtp.sessions import Session

FEW = 300
"""Of an incident with at most so many refusals, all are listed one by one, and none is folded."""

# ``merge`` joins a report up to a minute after the refusal, and other logs within two seconds, with slack for logs
# whose times are in whole seconds.
_NEAR = timedelta(seconds=65)


class Group(Struct, frozen=True):
    """Refusals that are alike and whose machine is known by the same clue."""

    alike: Alike
    clue: HostClue
    layer: str


class Recorded:
    """The times at which a network trace shows connections: a refusal at such a time may be one, and is not folded."""

    def __init__(self, spans: Iterable[tuple[datetime, datetime]] = ()) -> None:
        self._spans: list[tuple[datetime, datetime]] = []
        for start, end in sorted(spans):
            if self._spans and start <= self._spans[-1][1]:
                self._spans[-1] = self._spans[-1][0], max(self._spans[-1][1], end)
            else:
                self._spans.append((start, end))

    def holds(self, refusal: Rejection | Differing) -> bool:
        """Return whether a refusal or its handshake lies at such a time."""
        return bool(self._spans) and (
            self._is_within(refusal.time) or self._is_within(refusal.handshake_time or refusal.time)
        )

    def _is_within(self, time: datetime) -> bool:
        place = bisect_right(self._spans, time, key=itemgetter(0))
        return place > 0 and time <= self._spans[place - 1][1]


NOTHING_RECORDED = Recorded()


class Folding:
    """The refusals of all protocol logs; memory grows with what differs between them."""

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], Group] = {}
        self._shared: dict[tuple[object, ...], Rejection] = {}
        self.files = Files()
        self._ends: list[datetime] = []
        self.clocks: dict[str, datetime] = {}
        """The remote clock by rejection id, of refusals in the hour that a local clock shows twice."""

    def add(self, session: Session) -> None:
        """Fold the refusals of a session."""
        clue = session_clue(session)
        for number, sighting in enumerate(rejections(session)):
            rejection = sighting.rejection
            group = self.group(sighting, clue)
            group.alike.rows.append(differing_part(rejection, group.alike.shared.reply, self.files))
            if rejection.time_basis == "ambiguous" and (time := session_clock(session)) is not None:
                self.clocks[rejection.id] = time
            if number == 0 and rejection.handshake_time is None:
                self.ended(session.last)

    def ended(self, time: datetime) -> None:
        """Add the end of a refused session without a handshake."""
        self._ends.append(time)

    def group(self, sighting: Sighting, clue: HostClue) -> Group:
        """Return the group to which a refusal belongs; ``clue`` tells its machine."""
        rejection = sighting.rejection
        clue = HostClue(clue.name, clue.path, address_of(clue.address))  # ports differ from session to session
        alike = alike_key(rejection)
        key = (*alike, clue, sighting.layer)
        group = self._groups.get(key)
        if group is None:
            # All files of a log share one object. Its reply is that of the first refusal in all of them.
            shared = self._shared.setdefault(alike, shared_part(rejection, rejection.reply))
            group = self._groups[key] = Group(Alike(shared, [], self.files.origins), clue, sighting.layer)
        return group

    def __len__(self) -> int:
        """Return the number of refusals."""
        return sum(len(group.alike) for group in self._groups.values())

    def clear(self) -> None:
        """Free the memory of all refusals, once rejections were made of them."""
        self._groups.clear()
        self._shared.clear()
        self._ends.clear()

    def anchors(self) -> list[datetime]:
        """Return the times of the handshakes of refused sessions, and the ends of those that had none.

        The windows of links count from these times.
        """
        times = {differing.handshake_time for group in self._groups.values() for differing in group.alike.differing()}
        return [*self._ends, *(time for time in times if time is not None)]

    def certificates(self) -> Iterator[Certificate]:
        """Yield the certificates that refused sessions sent or received."""
        shared = (group.alike.shared for group in self._groups.values())
        yield from filter(None, (side for refusal in shared for side in (refusal.sent, refusal.received)))

    def resolved(
        self, hosts: Hosts, others: Sequence[Sighting], recorded: Recorded = NOTHING_RECORDED
    ) -> tuple[list[Sighting], list[Alike]]:
        """Return the refusals with their machines: first those that must be whole, then those that stay folded.

        Whole are those that ``others``, the sightings of message tracking and reports, may show too, and those that a
        network trace may show (``recorded``).
        """
        groups = list(_with_hosts(self._groups.values(), hosts))
        if len(self) + len(others) <= FEW:
            return [sighting for group in groups for sighting in _sightings(group)], []
        folded = [group for group in groups if _may_fold(group)]
        whole = [sighting for group in groups if not _may_fold(group) for sighting in _sightings(group)]
        other_logs = _OtherLogs([*whole, *others])
        seen_twice = _seen_twice(folded)
        alone: list[Alike] = []
        for group in folded:
            rows = []
            for differing, row in zip(group.alike.differing(), group.alike.rows, strict=True):
                if (
                    other_logs.may_show(differing)
                    or recorded.holds(differing)
                    or (seen_twice and _copy_key(differing) in seen_twice)
                ):
                    whole.append(Sighting(group.alike.whole(differing), group.layer))
                else:
                    rows.append(row)
            if rows:
                alone.append(replace(group.alike, rows=rows))
        return whole, alone


def alike_key(rejection: Rejection) -> tuple[object, ...]:
    """Return what refusals must share to be alike: everything but their times, what names a message, and the bracket.

    The sender's mailbox may differ, its domain may not: signals look at it.
    """
    return shared_part(rejection, compared(rejection.reply)), _domain(rejection)


def fold(merged: Iterable[Rejection], files: Files) -> list[Alike]:
    """Return rejections folded, in the order in which the first of each group came."""
    groups: dict[tuple[object, ...], Alike] = {}
    for rejection in merged:
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
    merged: Iterable[Rejection], alike: Iterable[Alike], files: Files, recorded: Recorded = NOTHING_RECORDED
) -> tuple[list[Rejection], list[Alike]]:
    """Return the refusals of small incidents whole, those of large ones folded as far as possible.

    The first are sorted by time.
    """
    whole: dict[Key, list[Rejection]] = {}
    folded: dict[Key, list[Alike]] = {}
    for rejection in merged:
        whole.setdefault(incident_key(rejection), []).append(rejection)
    for group in alike:
        folded.setdefault(incident_key(group.shared), []).append(group)
    for key in {**whole, **folded}:
        count = len(whole.get(key, ())) + sum(map(len, folded.get(key, ())))
        if count <= FEW:
            for group in folded.pop(key, ()):
                whole.setdefault(key, []).extend(group.rejections())
        elif foldable := [rejection for rejection in whole.get(key, ()) if _is_foldable(rejection, recorded)]:
            whole[key] = [rejection for rejection in whole[key] if not _is_foldable(rejection, recorded)]
            folded.setdefault(key, []).extend(fold(foldable, files))
    listed = [rejection for of_incident in whole.values() for rejection in of_incident]
    groups = [group for groups in folded.values() for group in groups]
    return sorted(listed, key=lambda rejection: (rejection.time, sort_key(rejection.origin), rejection.id)), groups


def _is_foldable(rejection: Rejection, recorded: Recorded) -> bool:
    """Return whether a rejection can be folded.

    Its UTC time must be known, the place in its own log must come first, and no network trace may show it.
    """
    return (
        rejection.time_basis == "utc"
        and rejection.other_time is None
        and rejection.origins[:1] == (rejection.origin,)
        and not recorded.holds(rejection)
    )


def _with_hosts(groups: Iterable[Group], hosts: Hosts) -> Iterator[Group]:
    """Yield the groups with their machines; groups that then differ in nothing are joined."""
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


def _domain(refusal: Rejection | Differing) -> str:
    return refusal.mail_from.rpartition("@")[2]


def _sightings(group: Group) -> Iterator[Sighting]:
    return (Sighting(rejection, group.layer) for rejection in group.alike.rejections())


def _may_fold(group: Group) -> bool:
    """Return whether refusals may stay folded: their UTC time is known, and Exchange Online itself refused them.

    A refusal between servers of the organization is a copy of one that has another layer, with which it is merged.
    """
    return group.alike.shared.time_basis == "utc" and wire_layer(group.layer) == "wire"


class _OtherLogs:
    """Message ids, sessions, and recipients with their times, by which ``merge`` may join other sightings."""

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

    def may_show(self, differing: Differing) -> bool:
        """Return whether another log may show the same refusal; without a recipient it may be that of any."""
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


def _copy_key(differing: Differing) -> int:
    """Return what a refusal shares with its copy; a hash, for there may be millions."""
    return hash((differing.session, differing.time, differing.rcpt_to, differing.message_id))


def _seen_twice(groups: Iterable[Group]) -> set[int]:
    """Return the copy keys that two files have, or that a file has twice with the name of a session.

    One may be a copy of the other; ``merge`` decides.
    """
    file_of: dict[int, int] = {}
    twice: set[int] = set()
    for group in groups:
        for differing in group.alike.differing():
            key, file = _copy_key(differing), differing.places[0][0]
            if key in file_of and (differing.session or file_of[key] != file):
                twice.add(key)
            file_of.setdefault(key, file)
    return twice
