"""What was learned of the sessions of a folder while its logs are read: see ``protocol_sessions``, ``iis_sessions``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evtx_analyzer.model import LogRow, Routine

Learn = Callable[[Sequence[LogRow]], Routine | None]


class Shapes:
    """Shapes of sessions that were told, each with what it adds to the delivery history; None where it must be told.

    ``learn`` tells one session from its rows. ``begun`` names the sessions of which rows were given and that have not
    ended: what an earlier file has in part is not counted, though a later one has it whole. ``texts`` are numbers
    drawn for texts that are compared as a whole. ``newest`` is when the newest connection began that was given, by
    address, and ``floor`` that of all addresses (in milliseconds since 1970): logs without session ids need it.
    """

    def __init__(self, learn: Learn, begun: Callable[[], Iterable[str]] = tuple) -> None:
        self.learn, self.begun = learn, begun
        self.known: dict[int, Routine | None] = {}
        self.texts: dict[bytes, int] = {}
        self.newest: dict[int, int] = {}
        self.floor = 0
