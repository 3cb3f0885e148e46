"""The same refusal told by several logs is one rejection: Send log, FrontEnd proxy log, message tracking, report.

Joined by message id and recipient; else by the Send connector's session and recipient; else by recipient and the same
time (two seconds; a minute for a report, which is written after the refusal). Two rows of one layer are two refusals,
unless one file is a copy of the other. Hosts that are known and differ are not joined, but for reports, which another
server may have made. The log that tells most is the rejection's own; what it does not know is taken from the others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.correlate.rejections import INTERNAL, Told
from evtx_analyzer.model import HostBasis, Origin, Rejection, named, place

_STRENGTH = ("send-connector", "iis-smtp", INTERNAL)
_BASES: tuple[HostBasis, ...] = ("option", "row", "folder", "address", "assumed", "unknown")
_KNOWN_TIMES = ("utc", "zone")
_DAY, _CLOSE, _REPORT = timedelta(days=1), timedelta(seconds=2), timedelta(seconds=60)


class _Group:
    """What several logs tell of one refusal, the first member the strongest."""

    def __init__(self, told: Told) -> None:
        self.members = [told]
        self.layers = _told_of(told)
        self.copies: list[Origin] = []

    @property
    def first(self) -> Rejection:
        return self.members[0].rejection


def merge(found: Iterable[Told]) -> tuple[list[Rejection], list[tuple[Origin, int]]]:
    """Rejections in the order of time, and the origins that tell of a refusal whole hours beside another log of it."""
    groups: list[_Group] = []
    index = _Index()
    offsets: list[tuple[Origin, int]] = []
    for told in sorted(found, key=_strength):
        copy = index.copy(told)
        if copy is not None:
            copy.copies.append(told.rejection.origin)
            continue
        group = index.find(told)
        if group is None:
            group = _Group(told)
            groups.append(group)
        else:
            hours = _hours_beside(told.rejection, group.first)
            offsets += [(told.rejection.origin, hours)] if hours else []
            group.members.append(told)
            group.layers |= _told_of(told)
        index.add(told, group)
    merged = [_merged(group) for group in groups]
    return sorted(merged, key=lambda item: (item.time, place(item.origin), item.id)), offsets


class _Index:
    """Where a rejection may have been told before."""

    def __init__(self) -> None:
        self._messages: dict[str, list[_Group]] = {}
        self._sessions: dict[str, list[_Group]] = {}
        self._recipients: dict[str, list[tuple[datetime, int]]] = {}
        self._numbered: list[_Group] = []
        self._copies: dict[tuple[object, ...], list[tuple[str, _Group]]] = {}

    def add(self, told: Told, group: _Group) -> None:
        item = told.rejection
        if item.message_id:
            self._messages.setdefault(_id(item), []).append(group)
        if item.session:
            self._sessions.setdefault(item.session, []).append(group)
        self._numbered.append(group)
        for recipient in _recipients(item):
            insort(self._recipients.setdefault(recipient, []), (item.time, len(self._numbered) - 1))
        self._copies.setdefault(_copy_key(told), []).append((named(item.origin), group))

    def copy(self, told: Told) -> _Group | None:
        """The group that holds the same row from another file."""
        file = named(told.rejection.origin)
        same = self._copies.get(_copy_key(told), [])
        return next((group for other, group in same if other != file), None)

    def find(self, told: Told) -> _Group | None:
        """The group that tells of the same refusal: by message, by session, by time; the nearest in time of several."""
        item = told.rejection
        by_message = self._messages.get(_id(item), []) if item.message_id else []
        by_session = self._sessions.get(item.session, []) if item.session else []
        for candidates, reach in ((by_message, _DAY), (by_session, _DAY), (self._near(told), _reach(told))):
            fitting = [group for group in candidates if _may_join(told, group, reach)]
            if fitting:
                return min(fitting, key=lambda group: abs(group.first.time - item.time))
        return None

    def _near(self, told: Told) -> list[_Group]:
        item, reach = told.rejection, _reach(told)
        if item.time_basis not in _KNOWN_TIMES:
            return []
        found = []
        for recipient in _recipients(item):
            rows = self._recipients.get(recipient, [])
            low = bisect_left(rows, (item.time - reach, -1))
            high = bisect_right(rows, (item.time + reach, len(self._numbered)))
            found += [self._numbered[number] for _, number in rows[low:high]]
        return found


def _strength(told: Told) -> tuple[object, ...]:
    item = told.rejection
    rank = _STRENGTH.index(told.layer) if told.layer in _STRENGTH else len(_STRENGTH)
    return rank, told.layer == "ndr", told.layer, item.time, place(item.origin), item.id


def _copy_key(told: Told) -> tuple[object, ...]:
    item = told.rejection
    return (
        told.layer,
        item.host,
        item.session,
        item.time,
        item.remote_endpoint,
        item.rcpt_to,
        item.message_id,
        item.reply,
    )


def _reach(told: Told) -> timedelta:
    return _REPORT if told.layer == "ndr" else _CLOSE


def _id(item: Rejection) -> str:
    return item.message_id.strip("<> ").casefold()


def _recipients(item: Rejection) -> set[str]:
    return {part.strip().casefold() for part in item.rcpt_to.split(";")} - {""}


def _told_of(told: Told) -> set[tuple[str, str]]:
    """The layer with each recipient: one reply may refuse several, and other logs have a row for each of them."""
    # Only one service hands a message over to Exchange Online: what two protocol logs tell are two refusals.
    layer = "wire" if told.layer in ("send-connector", "iis-smtp") else told.layer
    return {(layer, recipient) for recipient in _recipients(told.rejection) or {""}}


def _may_join(told: Told, group: _Group, reach: timedelta) -> bool:
    left, right = told.rejection, group.first
    if _told_of(told) & group.layers:
        return False
    ids = {_id(item) for item in (left, right) if item.message_id}
    named = [_recipients(item) for item in (left, right) if item.rcpt_to]
    if len(ids) > 1 or (len(named) > 1 and not named[0] & named[1]):
        return False
    if told.layer != "ndr" and left.host and right.host and left.host != right.host:
        return False
    known = left.time_basis in _KNOWN_TIMES and right.time_basis in _KNOWN_TIMES
    return not known or abs(left.time - right.time) <= reach + timedelta(seconds=max(left.resolution, right.resolution))


def _hours_beside(left: Rejection, right: Rejection) -> int:
    return clock.whole_hours((left.time - right.time).total_seconds()) if left.time_basis != "unknown" else 0


def _merged(group: _Group) -> Rejection:
    members = [told.rejection for told in group.members]
    first = members[0]
    host = min(members, key=lambda item: _BASES.index(item.host_basis))
    timed = next((item for item in members if item.time_basis in _KNOWN_TIMES), first)
    origins = [origin for item in members for origin in item.origins] + group.copies
    return replace(
        first,
        time=timed.time,
        time_basis=timed.time_basis,
        other_time=timed.other_time,
        resolution=timed.resolution,
        host=host.host,
        host_basis=host.host_basis,
        origins=tuple(dict.fromkeys(origins)),
        kinds=tuple(dict.fromkeys(item.kind for item in members)),
        signals=tuple(sorted({name for item in members for name in item.signals})),
        untrusted_root_hint=any(item.untrusted_root_hint for item in members),
        remote_clock=next((item.remote_clock for item in members if item.remote_clock), None),
        **dict(_filled(members)),
    )


def _filled(members: list[Rejection]) -> Iterator[tuple[str, str]]:
    names = ("connector", "session", "remote_name", "mail_from", "rcpt_to", "message_id", "remote_host")
    for name in names:
        yield name, next((value for item in members if (value := getattr(item, name))), "")
