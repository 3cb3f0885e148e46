"""Folded refusals: what those that are alike share is held once, and of each only what differs, packed in bytes.

An outage has hundreds of thousands of refusals that say the same. Each takes some two hundred bytes here, and becomes a
whole ``Rejection`` again only while it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.model.origin import Origin, identify, sort_key
from evtx_analyzer.model.rejection import Rejection

Place = tuple[int, int | None, int | None, int | None]
"""The place of a fact: the number of its file, then record, line and offset as in ``Origin``."""


class Differing(Struct, frozen=True, array_like=True, gc=False):
    """The parts in which a refusal differs from those that are alike.

    ``reply`` is None where it equals that of the shared part exactly. ``id`` is empty where it follows from place and
    reply, as it does for refusals of protocol logs. ``places`` are ``Rejection.origins``; the first is its ``origin``.
    """

    time: datetime
    handshake_time: datetime | None
    session: str
    local_endpoint: str
    mail_from: str
    rcpt_to: str
    message_id: str
    reply: str | None
    remote_clock: datetime | None
    places: tuple[Place, ...]
    id: str = ""


encode = msgspec.msgpack.Encoder().encode
"""Packs a ``Differing``, or the same values as a tuple in the same order."""

_decode = msgspec.msgpack.Decoder(Differing).decode


class Files:
    """The files that hold folded refusals, each with its number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str | None], int] = {}
        self.origins: list[Origin] = []

    def number(self, origin: Origin) -> int:
        """Return the number of an origin's file."""
        key = (origin.source, origin.member)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.origins)
            self.origins.append(Origin(source=origin.source, member=origin.member))
        return number

    def place(self, origin: Origin) -> Place:
        """Return an origin by the number of its file."""
        return self.number(origin), origin.record, origin.line, origin.offset


class Alike(Struct, frozen=True, gc=False):
    """Refusals that are alike: ``shared`` holds what they have in common, ``rows`` one packed ``Differing`` for each.

    In ``shared`` the fields of ``Differing`` are blank except ``reply``, which is that of one of them. ``files`` are
    all files of the case, by number.
    """

    shared: Rejection
    rows: list[bytes]
    files: list[Origin]

    def __len__(self) -> int:
        """Return how many refusals these are."""
        return len(self.rows)

    def differing(self) -> Iterator[Differing]:
        """Yield what differs, refusal by refusal."""
        return map(_decode, self.rows)

    def rejections(self) -> Iterator[Rejection]:
        """Yield the refusals whole, one by one."""
        return (self.whole(differing) for differing in self.differing())

    def whole(self, differing: Differing) -> Rejection:
        """Return one of the refusals whole."""
        files = self.files
        origins = tuple(
            [
                Origin(source=files[file].source, member=files[file].member, record=record, line=line, offset=offset)
                for file, record, line, offset in differing.places
            ]
        )
        reply = self.shared.reply if differing.reply is None else differing.reply
        return replace(
            self.shared,
            id=differing.id or identify("R", origins[0], reply),
            time=differing.time,
            handshake_time=differing.handshake_time,
            session=differing.session,
            local_endpoint=differing.local_endpoint,
            mail_from=differing.mail_from,
            rcpt_to=differing.rcpt_to,
            message_id=differing.message_id,
            reply=reply,
            remote_clock=differing.remote_clock,
            origin=origins[0],
            origins=origins,
        )

    def order(self, differing: Differing) -> tuple[object, ...]:
        """Return the key that sorts refusals by time and place, as ``sort_key`` does."""
        number, record, line, offset = differing.places[0]
        file = self.files[number]
        return differing.time, (file.source, file.member or "", record or 0, line or 0, offset or 0)


_BLANK = Origin(source="")
_NO_TIME = datetime.fromtimestamp(0, UTC)


def shared_part(rejection: Rejection, reply: str) -> Rejection:
    """Return a refusal with the fields of ``Differing`` blank, and with the given reply."""
    return replace(
        rejection,
        id="",
        time=_NO_TIME,
        handshake_time=None,
        session="",
        local_endpoint="",
        mail_from="",
        rcpt_to="",
        message_id="",
        reply=reply,
        remote_clock=None,
        origin=_BLANK,
        origins=(),
    )


def differing_part(rejection: Rejection, reply: str, files: Files) -> bytes:
    """Return the ``Differing`` of a refusal, packed; ``reply`` is that of the shared part."""
    own = identify("R", rejection.origin, rejection.reply)
    return encode(
        Differing(
            time=rejection.time,
            handshake_time=rejection.handshake_time,
            session=rejection.session,
            local_endpoint=rejection.local_endpoint,
            mail_from=rejection.mail_from,
            rcpt_to=rejection.rcpt_to,
            message_id=rejection.message_id,
            reply=None if rejection.reply == reply else rejection.reply,
            remote_clock=rejection.remote_clock,
            places=tuple([files.place(origin) for origin in rejection.origins]),
            id="" if rejection.id == own else rejection.id,
        )
    )


def in_order(whole: Iterable[Rejection], alike: Sequence[Alike]) -> Iterator[Rejection]:
    """Yield refusals in the order of time and place, the folded ones among the others."""
    entries: list[tuple[tuple[object, ...], int, Rejection | bytes]]
    entries = [((rejection.time, sort_key(rejection.origin)), -1, rejection) for rejection in whole]
    for number, group in enumerate(alike):
        entries += [
            (group.order(differing), number, row) for differing, row in zip(group.differing(), group.rows, strict=True)
        ]
    entries.sort(key=lambda entry: entry[0])
    for _, number, entry in entries:
        yield alike[number].whole(_decode(entry)) if isinstance(entry, bytes) else entry
