"""Find the events of a CAPI2 log that name certain certificates, and all other events of their tasks.

Retrievals and revocation checks of a task name other certificates or none. But a task is one call into CAPI2, and its
events are written within seconds. So they are looked for around those that name a certificate, in a window that grows
as long as it finds more of them, and not in the whole log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from evtx_analyzer.model.events import Capi2Event, Event
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.normalize.capi2_elements import thumbprint
from evtx_analyzer.read.pieces import Piece

_MOST_PIECES = 32
"""The next event of a task is looked for in so many pieces: 2 MB of .evtx, more than a thousand records."""
_MOST_TIME = timedelta(seconds=60)
"""And within this time: by default, Windows ends a retrieval after 15 seconds and all those of a chain after 20."""
Typed = Callable[[EventRecord | Loss], Event | None]
"""Makes the event of a record; None of a loss, and of a record that cannot be normalized."""


class _Place(NamedTuple):
    """A piece by its number, with the times of its first and last record."""

    number: int
    first: datetime | None
    last: datetime | None


class Neighborhoods:
    """Searches one log piece by piece; ``_open`` holds the last piece of each task of which more events may follow."""

    def __init__(self, certificates: frozenset[str], typed: Typed) -> None:
        self._certificates, self._typed = certificates, typed
        self._past: deque[tuple[_Place, Piece]] = deque(maxlen=_MOST_PIECES)
        self._open: dict[str, _Place] = {}
        self._events: dict[EventRecord | Loss, Event | None] = {}  # of the piece at hand

    def events(self, pieces: Iterable[Piece]) -> Iterator[Capi2Event]:
        """Yield the events, in no particular order; an event may come twice."""
        for number, piece in enumerate(pieces):
            place = _Place(number, piece.first, piece.last)
            self._open = {task: latest for task, latest in self._open.items() if _reaches(latest, place)}
            if piece.selected or (self._open and piece.mentions(frozenset(self._open))):
                yield from self._of_piece(place, piece)
            self._past.append((place, piece))

    def _of_piece(self, place: _Place, piece: Piece) -> Iterator[Capi2Event]:
        self._events.clear()
        mentioning = self._mentioning(piece, self._certificates)
        named = [event for event in mentioning if _thumbprints(event) & self._certificates]
        # In a damaged log an event may lack its TaskId: it belongs to no task.
        tasks = {event.task_id for event in named} - {""}
        new = frozenset(tasks - self._open.keys())
        known = {id(event) for event in named}
        others = self._of_tasks(piece, frozenset(tasks | self._open.keys()))
        events = [*named, *(event for event in others if id(event) not in known)]
        yield from events
        if new:
            yield from self._before(place, new)
        self._open.update({event.task_id: place for event in events if event.task_id})

    def _before(self, place: _Place, tasks: frozenset[str]) -> Iterator[Capi2Event]:
        """Yield the events of tasks in the pieces before ``place``, backwards until none can follow."""
        for earlier, piece in reversed(self._past):
            if not _reaches(earlier, place):
                return
            if piece.mentions(tasks):
                events = list(self._of_tasks(piece, tasks))
                yield from events
                place = earlier if events else place

    def _of_tasks(self, piece: Piece, tasks: frozenset[str]) -> Iterator[Capi2Event]:
        return (event for event in self._mentioning(piece, tasks) if event.task_id in tasks)

    def _mentioning(self, piece: Piece, names: frozenset[str]) -> Iterator[Capi2Event]:
        for record in piece.naming(names) if names else ():
            if record not in self._events:
                self._events[record] = self._typed(record)
            event = self._events[record]
            if isinstance(event, Capi2Event):
                yield event


def _reaches(earlier: _Place, later: _Place) -> bool:
    """Return whether one task may have events in both pieces."""
    distance = later.number - earlier.number
    if distance <= 1 or earlier.last is None or later.first is None:
        return distance <= _MOST_PIECES
    return distance <= _MOST_PIECES and later.first - earlier.last <= _MOST_TIME


def _thumbprints(event: Capi2Event) -> frozenset[str]:
    """Return the thumbprints of all certificates that an event names in any of its elements."""
    named = (values for name, values in event.fields.items() if name.endswith(".fileRef"))
    return frozenset(map(thumbprint, chain.from_iterable(named)))
