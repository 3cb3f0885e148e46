"""Make one rejection of all sightings of one refusal: Send log, log of a FrontEnd proxy, message tracking, report.

Two sightings are of one refusal if they have the same message id and recipient; else if they have the same session of a
Send connector and the same recipient; else if they have the same recipient at the same time (within two seconds; a
report within a minute, because it is written after the refusal). Two rows of one layer are two refusals, unless one is
a copy of the other: the same in another file, or of the same session or message in one file. Sightings of two known
hosts are not joined, except reports, which another server may have made.

The rejection is that of the strongest sighting, from the log that shows most (``_strength``). What it lacks is taken
from the others. The sender is that of the first log that shows the envelope: the header of a message may have another
sender, or have one where the envelope has none (automatic replies, reports).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.origin import Origin, display_name, sort_key
from evtx_analyzer.model.rejection import HOST_BASES
from evtx_analyzer.normalize.kinds import REPORT_KINDS, SESSION_KINDS
from evtx_analyzer.smtp.rejections import INTERNAL, Sighting

_STRENGTH = (*SESSION_KINDS, INTERNAL)
_KNOWN_TIMES = ("utc", "zone")
_DAY, _CLOSE, _REPORT = timedelta(days=1), timedelta(seconds=2), timedelta(seconds=60)
_ANY = "*"
"""Stands for every recipient: a sighting without a recipient is compared with all sightings."""


class Group:
    """The sightings of one refusal, the strongest one first; ``copies`` are the same row elsewhere."""

    __slots__ = ("copies", "layers", "members")

    def __init__(self, sighting: Sighting) -> None:
        self.members = [sighting.rejection]
        self.layers = _layers_of(sighting)
        self.copies: list[Origin] = []

    @property
    def first(self) -> Rejection:
        """Return the strongest sighting's rejection."""
        return self.members[0]

    def join(self, sighting: Sighting) -> None:
        """Add a sighting of the same refusal."""
        self.members.append(sighting.rejection)
        self.layers |= _layers_of(sighting)


def merge(sightings: Iterable[Sighting]) -> tuple[list[Rejection], list[tuple[Origin, int]]]:
    """Return the rejections in the order of time, and the offsets of clocks that they show.

    An offset is the origin of a sighting and by how many whole hours its time differs from that of its refusal.
    """
    groups: list[Group] = []
    placed: list[tuple[Sighting, Group]] = []
    files_of: dict[tuple[object, ...], dict[str, Group]] = {}
    offsets: list[tuple[Origin, int]] = []
    # One layer after the other, for a group takes one sighting of each layer and recipient.
    for layer, run in groupby(sorted(sightings, key=_strength), key=lambda sighting: wire_layer(sighting.layer)):
        of_layer = list(run)
        index = _Index(layer, placed, of_layer)
        for sighting in of_layer:
            known = files_of.setdefault(_copy_key(sighting), {})
            file = display_name(sighting.rejection.origin)
            repeated = _is_named(sighting.rejection)
            original = next((group for name, group in known.items() if repeated or name != file), None)
            if original is not None:
                original.copies.append(sighting.rejection.origin)
                continue
            group = index.find(sighting)
            if group is None:
                group = Group(sighting)
                groups.append(group)
            else:
                hours = _hours_apart(sighting.rejection, group.first)
                offsets += [(sighting.rejection.origin, hours)] if hours else []
                group.join(sighting)
            index.add(sighting, group)
            placed.append((sighting, group))
            if len(known) < 2:  # noqa: PLR2004  of two files, one is always another than that of a later row
                known.setdefault(file, group)
    merged = [_merged(group) for group in groups]
    return sorted(merged, key=lambda rejection: (rejection.time, sort_key(rejection.origin), rejection.id)), offsets


# Time of the group's first sighting, number in the order of adding, time of this sighting, group.
_Entry = tuple[datetime, int, datetime, Group]
# What joins (message id, session, or recipient alone), its value, recipient, and whether the time of the group's first
# sighting is known.
_Key = tuple[str, str, str, bool]


class _Index:
    """The groups that sightings of one layer may join: by message, by session, by recipient; each in order of time."""

    def __init__(self, layer: str, placed: Iterable[tuple[Sighting, Group]], of_layer: Iterable[Sighting]) -> None:
        """``of_layer`` are the sightings of the layer, ``placed`` are those of the layers before with their groups."""
        self._layer = layer
        self._entries: dict[_Key, list[_Entry]] = {}
        self._count, self._coarsest = 0, 0.0
        # Without a recipient a sighting may be of the same refusal as any other, even of its own layer.
        self._bare = any(not recipients_of(sighting.rejection.rcpt_to) for sighting in of_layer)
        for sighting, group in placed:
            self._insert(sighting, group)

    def add(self, sighting: Sighting, group: Group) -> None:
        """Add a sighting of the layer; a group of it alone can be joined only by a sighting without a recipient."""
        if self._bare or group.first is not sighting.rejection:
            self._insert(sighting, group)

    def _insert(self, sighting: Sighting, group: Group) -> None:
        rejection, first = sighting.rejection, group.first
        entry = (first.time, self._count, rejection.time, group)
        self._count += 1
        self._coarsest = max(self._coarsest, rejection.resolution)
        known = first.time_basis in _KNOWN_TIMES
        names = recipients_of(first.rcpt_to) or {""}
        keys = [(by, value, name, known) for by, value in _ids(rejection) for name in (*names, _ANY)]
        for key in (*keys, *(("", "", name, known) for name in recipients_of(rejection.rcpt_to))):
            insort(self._entries.setdefault(key, []), entry)

    def find(self, sighting: Sighting) -> Group | None:
        """Return the group of the same refusal: by message, else by session, else by time; of several the nearest.

        None if no group is of the same refusal.
        """
        rejection = sighting.rejection
        names = sorted(recipients_of(rejection.rcpt_to))
        wanted = [*names, ""] if names else [_ANY]
        for by, value in _ids(rejection):
            if (group := self._nearest(sighting, by, value, wanted, _DAY)) is not None:
                return group
        if rejection.time_basis not in _KNOWN_TIMES:
            return None
        reach = _REPORT if rejection.kind in REPORT_KINDS else _CLOSE
        return self._nearest(sighting, "", "", names, reach)

    def _nearest(self, sighting: Sighting, by: str, value: str, names: list[str], reach: timedelta) -> Group | None:
        """Return the nearest group in time that a sighting may join; of equally near ones the one that came first."""
        rejection = sighting.rejection
        slack = timedelta(seconds=max(self._coarsest, rejection.resolution))
        best: tuple[timedelta, datetime, int, Group] | None = None
        for name in names:
            for known in (True, False):
                entries = self._entries.get((by, value, name, known), [])
                limit = reach + slack if known and rejection.time_basis in _KNOWN_TIMES else timedelta.max
                for distance, entry in self._outward(entries, rejection.time, name):
                    if distance > (limit if best is None else min(limit, best[0])):
                        break
                    # Where only the time decides, the entry's own sighting must be near, not only its group's first.
                    if not by and abs(entry[2] - rejection.time) > reach:
                        continue
                    own_time = rejection.time if by else entry[2]
                    candidate = (distance, own_time, entry[1], entry[3])
                    if (best is None or candidate[:3] < best[:3]) and _may_join(sighting, entry[3], reach):
                        best = candidate
        return None if best is None else best[3]

    def _outward(self, entries: list[_Entry], time: datetime, name: str) -> Iterator[tuple[timedelta, _Entry]]:
        """Yield the entries whose groups this layer may join, the nearest in time first; remove the others.

        Otherwise thousands of refusals of one message would be looked at again for each of them.
        """
        # A group without a recipient stays open for all layers.
        closed = (self._layer, "" if name == _ANY else name) if name else None
        right = bisect_left(entries, (time,))
        left = right - 1
        while left >= 0 or right < len(entries):
            before = time - entries[left][0] if left >= 0 else timedelta.max
            after = entries[right][0] - time if right < len(entries) else timedelta.max
            at = left if before <= after else right
            entry = entries[at]
            if closed is not None and closed in entry[3].layers:
                del entries[at]
                left, right = (left - 1, right - 1) if at == left else (left, right)
                continue
            yield min(before, after), entry
            left, right = (left - 1, right) if at == left else (left, right + 1)


def _strength(sighting: Sighting) -> tuple[object, ...]:
    """Return the order of sightings, the strongest first: logs of sessions, tracking, reports; then time and place."""
    rejection, layer = sighting.rejection, sighting.layer
    rank = _STRENGTH.index(layer) if layer in _STRENGTH else len(_STRENGTH)
    return rank, rejection.kind in REPORT_KINDS, layer, rejection.time, sort_key(rejection.origin), rejection.id


def _ids(rejection: Rejection) -> list[tuple[str, str]]:
    """Return what names the message or session of a refusal, the surest first."""
    ids = ("message", message_key(rejection.message_id)), ("session", rejection.session)
    return [(by, value) for by, value in ids if value]


def _copy_key(sighting: Sighting) -> tuple[object, ...]:
    """Return what a row and its copy have in common."""
    rejection = sighting.rejection
    wire = rejection.host, rejection.session, rejection.time, rejection.remote_endpoint
    return sighting.layer, *wire, rejection.rcpt_to, rejection.message_id, rejection.reply


def _is_named(rejection: Rejection) -> bool:
    """Return whether the same refusal can stand in a log once only, so that it is a repetition in its own file too.

    In one session or message a recipient is refused once at a time. Rows of an IIS log name neither, and two of them
    that are alike may be two mails of one second.
    """
    named = bool(rejection.session or rejection.message_id) and bool(rejection.rcpt_to or rejection.stage)
    return named and rejection.time_basis != "heading"


def message_key(message_id: str) -> str:
    """Return a message id as it is compared: logs write it with and without its angle brackets."""
    return message_id.strip("<> ").casefold()


@lru_cache(maxsize=4096)  # called several times for each refusal, and an outage has few recipients
def recipients_of(text: str) -> frozenset[str]:
    """Return the recipients in ``Rejection.rcpt_to``, in lower case."""
    return frozenset({part.strip().casefold() for part in text.split(";")} - {""})


def _layers_of(sighting: Sighting) -> set[tuple[str, str]]:
    """Return the layer with each recipient: one reply may refuse several, and other logs have a row for each one."""
    layer = wire_layer(sighting.layer)
    return {(layer, name) for name in recipients_of(sighting.rejection.rcpt_to) or {""}}


def wire_layer(layer: str) -> str:
    """Return the layer of a log; the Send and the IIS log are one layer, so rows of the two are two refusals.

    Only one of the two services passes a message on to Exchange Online.
    """
    return "wire" if layer in SESSION_KINDS else layer


def _may_join(sighting: Sighting, group: Group, reach: timedelta) -> bool:
    """Return whether a sighting can be of the same refusal as a group: nothing that both know contradicts it."""
    left, right = sighting.rejection, group.first
    if _layers_of(sighting) & group.layers:
        return False
    ids = {message_key(rejection.message_id) for rejection in (left, right) if rejection.message_id}
    named = [recipients_of(rejection.rcpt_to) for rejection in (left, right) if rejection.rcpt_to]
    if len(ids) > 1 or (len(named) > 1 and not named[0] & named[1]):
        return False
    if left.kind not in REPORT_KINDS and left.host and right.host and left.host != right.host:
        return False
    known = left.time_basis in _KNOWN_TIMES and right.time_basis in _KNOWN_TIMES
    return not known or abs(left.time - right.time) <= reach + timedelta(seconds=max(left.resolution, right.resolution))


def _hours_apart(left: Rejection, right: Rejection) -> int:
    """Return by how many whole hours ``left`` is later than ``right``; 0 where ``left`` has no certain time."""
    if left.time_basis in ("heading", "unknown"):
        return 0
    return clock.whole_hours((left.time - right.time).total_seconds())


def _merged(group: Group) -> Rejection:
    """Return the one rejection of all sightings of a group."""
    members, first = group.members, group.first
    if len(members) == 1 and not group.copies and list(first.signals) == sorted(set(first.signals)):
        return first
    host = min(members, key=lambda member: HOST_BASES.index(member.host_basis))
    timed = next((member for member in members if member.time_basis in _KNOWN_TIMES), first)
    origins = [origin for member in members for origin in member.origins] + group.copies
    return replace(
        first,
        time=timed.time,
        time_basis=timed.time_basis,
        other_time=timed.other_time,
        resolution=timed.resolution,
        host=host.host,
        host_basis=host.host_basis,
        origins=tuple(dict.fromkeys(origins)),
        kinds=tuple(dict.fromkeys(member.kind for member in members)),
        signals=tuple(sorted({name for member in members for name in member.signals})),
        untrusted_root_hint=any(member.untrusted_root_hint for member in members),
        remote_clock=next((member.remote_clock for member in members if member.remote_clock), None),
        **_envelope(members),
        **dict(_filled(members)),
    )


def _envelope(members: list[Rejection]) -> dict[str, Any]:
    """Return sender and null sender from the first log that shows the envelope, else the first sender of any log."""
    shown = next((member for member in members if _null_sender(member) is not None), None)
    if shown is None:
        return {"mail_from": next((member.mail_from for member in members if member.mail_from), "")}
    return {"mail_from": shown.mail_from, "null_sender": _null_sender(shown)}


def _null_sender(rejection: Rejection) -> bool | None:
    """Return whether the envelope has no sender, None if unknown; a session with a sender shows that it has one."""
    if rejection.null_sender is None and rejection.mail_from and rejection.kind in _STRENGTH:
        return False
    return rejection.null_sender


def _filled(members: list[Rejection]) -> Iterator[tuple[str, str]]:
    """Yield the fields that are empty in the first member, with the first value that another member has."""
    names = ("connector", "session", "remote_name", "rcpt_to", "message_id", "remote_host")
    for name in (*names, "certificate_name", "certificate_verdict"):
        value = getattr(members[0], name)
        if not value:
            value = next((value for member in members[1:] if (value := getattr(member, name))), "")
            yield name, value
