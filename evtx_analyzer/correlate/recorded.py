"""The times at which refusals may belong to a handshake of a network trace; no refusal is folded then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from evtx_analyzer.correlate.handshake_links import SAME_CONNECTION
from evtx_analyzer.correlate.refused_session import RECENT
from evtx_analyzer.model.handshake import Handshake


def recorded_times(handshakes: Iterable[Handshake]) -> Iterator[tuple[datetime, datetime]]:
    """Yield from when to when a refusal may be of a handshake, or follows one that failed (``WireTlsFailure``)."""
    apart = timedelta(seconds=SAME_CONNECTION)
    for handshake in handshakes:
        first, last = handshake.opened or handshake.start, handshake.end or handshake.start
        yield first - apart, max(last + apart, handshake.start + RECENT if handshake.alert else last)
