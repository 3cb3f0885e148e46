"""The same refusal in several logs is one rejection: Send log, FrontEnd proxy log, message tracking, report.

Joined by message id and recipient; else by the Send connector's session and recipient; else by recipient and the same
time (two seconds; a minute for a report, which is written after the refusal). Two rows of one layer are two refusals,
unless one file is a copy of the other. Hosts that are known and differ are not joined, but for reports, which another
server may have made. The log that tells most is the rejection's own; what it does not know is taken from the others.
The sender is that of the first log that shows the envelope: a message's header names another one, or one where the
envelope has none (automatic replies, reports).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import HostBasis, Rejection
from evtx_analyzer.model.origin import Origin, display_name, sort_key
from evtx_analyzer.smtp.rejections import INTERNAL, Sighting

_STRENGTH = ("send-connector", "iis-smtp", INTERNAL)
_BASES: tuple[HostBasis, ...] = ("option", "row", "folder", "address", "assumed", "unknown")
_KNOWN_TIMES = ("utc", "zone")
_DAY, _CLOSE, _REPORT = timedelta(days=1), timedelta(seconds=2), timedelta(seconds=60)
_FEW = 8  # so few are asked one after the other


class _Group:
    """What several logs tell of one refusal, the first member the strongest."""

    __slots__ = ("copies", "layers", "members")

    def __init__(self, told: Sighting) -> None:
        self.members = [told]
        self.layers = _told_of(told)
        self.copies: list[Origin] = []

    @property
    def first(self) -> Rejection:
        return self.members[0].rejection


def merge(found: Iterable[Sighting]) -> tuple[list[Rejection], list[tuple[Origin, int]]]:
    """Rejections in the order of time, and the origins that tell of a refusal whole hours beside another log of it."""
    groups: list[_Group] = []
    index, copies = _Index(), _Copies()
    offsets: list[tuple[Origin, int]] = []
    for told in sorted(found, key=_strength):
        rows = copies.like(told)
        copy = rows.find(told)
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
        rows.add(told, group)
    merged = [_merged(group) for group in groups]
    return sorted(merged, key=lambda item: (item.time, sort_key(item.origin), item.id)), offsets


class _Alike:
    """Rows that share what a copy must share: the first one, and the first one of another file."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: tuple[tuple[Origin, _Group], ...] = ()

    def find(self, told: Sighting) -> _Group | None:
        """The group that holds the same row from another file."""
        file = display_name(told.rejection.origin)
        return next((group for origin, group in self._rows if display_name(origin) != file), None)

    def add(self, told: Sighting, group: _Group) -> None:
        """Note a row; of one file the first answers for all, so two are enough to find one of another file."""
        origin = told.rejection.origin
        if not self._rows or (len(self._rows) == 1 and display_name(self._rows[0][0]) != display_name(origin)):
            self._rows = (*self._rows, (origin, group))


class _Copies:
    """Rows by what a copy must share."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], _Alike] = {}

    def like(self, told: Sighting) -> _Alike:
        """The rows that are like this one."""
        key = _copy_key(told)
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = _Alike()
        return found


class _Entry(Struct, frozen=True, gc=False):
    """A member of a group, and how many came before it."""

    number: int
    told: Sighting
    group: _Group


class _Shelf:
    """Entries under a key, to be found by the time of their group's first member.

    For each layer that asks, the groups that may still be open to it lie in the order of time; a group that the layer
    has told of is taken off when it is met, so that thousands of refusals of one message are not met again and again.
    """

    __slots__ = ("entries", "open")

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.open: dict[str, _Open] = {}


class _Open:
    """Entries by the time of the group's first member, those without a known time apart; ``seen`` entries are in."""

    __slots__ = ("seen", "timed", "untimed")

    def __init__(self) -> None:
        self.seen = 0
        self.timed: list[_Row] = []
        self.untimed: list[_Row] = []


_Row = tuple[datetime, int, _Entry]
_Key = tuple[str, str | None, str | None]


class _Way(Struct, frozen=True):
    """How a refusal may be told before, and which of its own facts narrow that down: what ``_may_join`` asks, as keys.

    ``by`` is what both must share. A recipient or host of the first member must be the same or absent, so entries lie
    under it (``recipient``, ``host``) where the refusal that asks has one too; ``nameless`` leaves out the groups
    with a message id: where ids are equal the way by message was gone before.
    """

    by: str
    recipient: bool
    host: bool
    unnamed_logs: bool

    def keys(self, entry: _Entry) -> Iterator[_Key]:
        """Where an entry lies."""
        first, item = entry.group.first, entry.told.rejection
        if self.unnamed_logs and first.message_id:
            return
        host = first.host if self.host else None
        if self.by == "time":
            yield from ((value, None, host) for value in _recipients(item))
        elif value := _shared(self.by, item):
            names = (_recipients(first) or {""}) if self.recipient else {None}
            yield from ((value, name, host) for name in names)

    def asked(self, item: Rejection) -> Iterator[tuple[_Key, str | None]]:
        """Where to look for a refusal; and the recipient of it that closes groups there, None where none does."""
        hosts = (item.host, "") if self.host else (None,)
        recipients = sorted(_recipients(item))
        if self.by == "time":
            yield from (((name, None, host), name) for name in recipients for host in hosts)
        elif value := _shared(self.by, item):
            names: list[tuple[str | None, str | None]] = [(name, name) for name in recipients]
            names = [*names, ("", None)] if self.recipient else [(None, "")]
            yield from (((value, name, host), closing) for name, closing in names for host in hosts)


def _shared(by: str, item: Rejection) -> str:
    return (_id(item) if item.message_id else "") if by == "message" else item.session


class _Index:
    """Where a rejection may have been told before: chooses whom to ask, ``_may_join`` decides."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._shelves: dict[_Way, tuple[dict[_Key, _Shelf], list[int]]] = {}
        self._layers: set[str] = set()
        self._bare = False
        self._coarsest = 0.0

    def add(self, told: Sighting, group: _Group) -> None:
        self._entries.append(_Entry(len(self._entries), told, group))
        self._coarsest = max(self._coarsest, told.rejection.resolution)
        if group.members[0] is told:
            self._layers.add(_wire(told.layer))
            self._bare = self._bare or not _recipients(told.rejection)

    def find(self, told: Sighting) -> _Group | None:
        """The group that tells of the same refusal: by message, by session, by time; the nearest in time of several."""
        item, named_so = told.rejection, bool(told.rejection.message_id)
        recipients = bool(_recipients(item))
        if recipients and not self._bare and self._layers <= {_wire(told.layer)}:
            # One layer with recipients only: the same ones are two refusals, and others are not joined.
            return None
        host = bool(item.host) and told.layer != "ndr"
        for way, reach in (
            (_Way("message", recipients, host, unnamed_logs=False), _DAY),
            (_Way("session", recipients, host, unnamed_logs=named_so), _DAY),
            (_Way("time", recipients, host, unnamed_logs=named_so), _reach(told)),
        ):
            if way.by != "time" or item.time_basis in _KNOWN_TIMES:
                nearest = _Nearest(told, way, reach, self._coarsest)
                shelves = self._filled(way)
                for key, closing in way.asked(item):
                    if (shelf := shelves.get(key)) is not None:
                        nearest.look(shelf, closing)
                if nearest.group is not None:
                    return nearest.group
        return None

    def _filled(self, way: _Way) -> dict[_Key, _Shelf]:
        """The shelves of a way, made when it is first gone, with all entries so far on them."""
        shelves, seen = self._shelves.setdefault(way, ({}, [0]))
        for entry in self._entries[seen[0] :]:
            for key in way.keys(entry):
                shelves.setdefault(key, _Shelf()).entries.append(entry)
        seen[0] = len(self._entries)
        return shelves


class _Nearest:
    """The nearest group in time that a refusal may join; of equally near ones the one that came first."""

    def __init__(self, told: Sighting, way: _Way, reach: timedelta, coarsest: float) -> None:
        item = told.rejection
        self.group: _Group | None = None
        self._told, self._reach, self._time = told, reach, item.time
        self._window = reach if way.by == "time" else None
        self._layer = _wire(told.layer)
        known = item.time_basis in _KNOWN_TIMES
        self._limit = reach + timedelta(seconds=max(coarsest, item.resolution)) if known else None
        self._best: tuple[object, ...] = ()
        self._distance = timedelta.max

    def look(self, shelf: _Shelf, closing: str | None) -> None:
        if len(shelf.entries) <= _FEW:
            for entry in shelf.entries:
                self._ask(abs(entry.group.first.time - self._time), entry)
            return
        closed = None if closing is None else (self._layer, closing)
        rows = self._open(shelf, closed)
        self._walk(rows.timed, closed, self._limit)
        self._walk(rows.untimed, closed, None)

    def _open(self, shelf: _Shelf, closed: tuple[str, str] | None) -> _Open:
        rows = shelf.open.setdefault(self._layer, _Open())
        for entry in shelf.entries[rows.seen :]:
            if closed is None or closed not in entry.group.layers:
                first = entry.group.first
                where = rows.timed if first.time_basis in _KNOWN_TIMES else rows.untimed
                insort(where, (first.time, entry.number, entry))
        rows.seen = len(shelf.entries)
        return rows

    def _walk(self, rows: list[_Row], closed: tuple[str, str] | None, limit: timedelta | None) -> None:
        """From the refusal's time outward, as far as a better one may lie."""
        right = bisect_left(rows, (self._time,))
        left = right - 1
        while left >= 0 or right < len(rows):
            before = self._time - rows[left][0] if left >= 0 else timedelta.max
            after = rows[right][0] - self._time if right < len(rows) else timedelta.max
            distance, at = (before, left) if before <= after else (after, right)
            if distance > self._distance or (limit is not None and distance > limit):
                return
            entry = rows[at][2]
            if closed is not None and closed in entry.group.layers:
                del rows[at]
                left, right = (left - 1, right - 1) if at == left else (left, right)
                continue
            self._ask(distance, entry)
            left, right = (left - 1, right) if at == left else (left, right + 1)

    def _ask(self, distance: timedelta, entry: _Entry) -> None:
        member = entry.told.rejection.time
        if self._window is not None and abs(member - self._time) > self._window:
            return
        order = (distance, member, entry.number) if self._window is not None else (distance, entry.number)
        if (not self._best or order < self._best) and _may_join(self._told, entry.group, self._reach):
            self._best, self._distance, self.group = order, distance, entry.group


def _strength(told: Sighting) -> tuple[object, ...]:
    item = told.rejection
    rank = _STRENGTH.index(told.layer) if told.layer in _STRENGTH else len(_STRENGTH)
    return rank, told.layer == "ndr", told.layer, item.time, sort_key(item.origin), item.id


def _copy_key(told: Sighting) -> tuple[object, ...]:
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


def _reach(told: Sighting) -> timedelta:
    return _REPORT if told.layer == "ndr" else _CLOSE


def _id(item: Rejection) -> str:
    return item.message_id.strip("<> ").casefold()


def _recipients(item: Rejection) -> frozenset[str]:
    return _addresses(item.rcpt_to)


# Asked again and again of the same refusal, and an outage has few recipients.
@lru_cache(maxsize=4096)
def _addresses(text: str) -> frozenset[str]:
    return frozenset({part.strip().casefold() for part in text.split(";")} - {""})


def _told_of(told: Sighting) -> set[tuple[str, str]]:
    """The layer with each recipient: one reply may refuse several, and other logs have a row for each of them."""
    layer = _wire(told.layer)
    return {(layer, recipient) for recipient in _recipients(told.rejection) or {""}}


def _wire(layer: str) -> str:
    """The layer of a log; both protocol logs are one, so what the two tell are two refusals."""
    # Only one service hands a message over to Exchange Online.
    return "wire" if layer in ("send-connector", "iis-smtp") else layer


def _may_join(told: Sighting, group: _Group, reach: timedelta) -> bool:
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
    return (
        clock.whole_hours((left.time - right.time).total_seconds())
        if left.time_basis not in ("heading", "unknown")
        else 0
    )


def _merged(group: _Group) -> Rejection:
    members = [told.rejection for told in group.members]
    first = members[0]
    if len(members) == 1 and not group.copies and list(first.signals) == sorted(set(first.signals)):
        return first
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
        **_envelope(members),
        **dict(_filled(members)),
    )


def _envelope(members: list[Rejection]) -> dict[str, Any]:
    """Sender and null sender of the first log that shows the envelope; else the first sender that any log names."""
    shown = next((item for item in members if _null_sender(item) is not None), None)
    if shown is None:
        return {"mail_from": next((item.mail_from for item in members if item.mail_from), "")}
    return {"mail_from": shown.mail_from, "null_sender": _null_sender(shown)}


def _null_sender(item: Rejection) -> bool | None:
    """Whether the envelope has no sender; a session that names one shows it."""
    if item.null_sender is None and item.mail_from and item.kind in _STRENGTH:
        return False
    return item.null_sender


def _filled(members: list[Rejection]) -> Iterator[tuple[str, str]]:
    """What the first member does not know, from the others."""
    names = (
        "connector",
        "session",
        "remote_name",
        "rcpt_to",
        "message_id",
        "remote_host",
        "certificate_name",
        "certificate_verdict",
    )
    for name in names:
        value = getattr(members[0], name)
        if not value:
            value = next((value for item in members[1:] if (value := getattr(item, name))), "")
            yield name, value
