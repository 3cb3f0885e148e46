"""A refused message made small: it is kept until all logs are read, with what its refusal needs."""

from __future__ import annotations

from msgspec.structs import replace

from evtx_analyzer.model.events import Match, MessageEvent
from evtx_analyzer.model.origin import Fields

_NO_FIELDS: Fields = {}


def without_row(match: Match) -> Match:
    """Return a message that was refused without the row that tells of it."""
    event = match.event
    assert isinstance(event, MessageEvent)
    return Match(event=replace(event, fields=_NO_FIELDS), signals=match.signals)
