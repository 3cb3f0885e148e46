"""Origins, times and losses: where a fact stands, how its time became UTC, and what could not be read.

Every record, event and sentence of evidence carries its ``Origin``, so that a reader of the report can open the log at
that place.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

from msgspec import Struct

Fields = dict[str, tuple[str, ...]]
"""Flat view of an event for Sigma: dotted path of the log's own names -> every value found there."""

TimeBasis = Literal["utc", "zone", "ambiguous", "wrong-zone", "heading", "unknown"]
"""How a time became UTC. ``utc``: it is written in UTC or with an offset. ``zone``: by ``--tz``. ``ambiguous``: by
``--tz``, in the hour that the end of daylight saving repeats. ``wrong-zone``: by a zone that the remote side's clock
contradicts. Not at all: ``heading`` is the time (UTC) of the ``#Date`` heading before a row without a time, ``unknown``
has local digits of a zone that is not known."""


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """The place of a fact, by which it can be found again: ``source`` is a file, ``member`` its part of an archive.

    ``record`` is an EventRecordID, ``line`` counts from 1, ``offset`` is in bytes from the start of the file.
    """

    source: str
    member: str | None = None
    record: int | None = None
    line: int | None = None
    offset: int | None = None


class Loss(Struct, frozen=True, kw_only=True):
    """A part of the input that could not be read; ``extent`` says in words how much it was.

    ``first_record`` and ``last_record`` are the EventRecordIDs lost, where they are known.
    """

    origin: Origin
    reason: str
    extent: str
    first_record: int | None = None
    last_record: int | None = None


def sort_key(origin: Origin) -> tuple[str, str, int, int, int]:
    """Return the sort key of an origin; absent parts come first."""
    return (origin.source, origin.member or "", origin.record or 0, origin.line or 0, origin.offset or 0)


def display_name(origin: Origin) -> str:
    """Return the name of a source: the file, and behind ``!`` the member."""
    return origin.source if origin.member is None else f"{origin.source}!{origin.member}"


def folder(origin: Origin) -> str:
    """Return the folder that holds a source, in an archive too; a file compressed alone lies where its archive lies.

    Sessions of a protocol log cross the files of one folder.
    """
    return _folder(origin.source, origin.member)


@lru_cache(maxsize=256)
def _folder(source: str, member: str | None) -> str:
    container, _, name = (member or "").rpartition("!")
    container = f"{source}!{container}" if container else source
    if member is None or container.endswith(tuple(f"{name}{end}" for end in (".gz", ".bz2", ".xz"))):
        *outer, last = container.split("!") if member is not None else [source]
        return "!".join([*outer, PurePosixPath(last).parent.as_posix()])
    return f"{container}!{PurePosixPath(name).parent.as_posix()}"


def describe_origin(origin: Origin | None) -> str:
    """Return an origin as reports print it: ``SEND1.LOG line 17``, ``capi2.evtx record 3156``."""
    if origin is None:
        return ""
    name = display_name(origin)
    if origin.line is not None:
        return f"{name} line {origin.line}"
    if origin.record is not None:
        return f"{name} record {origin.record}"
    return f"{name} offset {origin.offset}" if origin.offset is not None else name


def identify(prefix: str, origin: Origin, text: str) -> str:
    """Return a short id that depends on the fact and its place only, so that shards of a case can be merged."""
    place = f"{origin.source}|{origin.member}|{origin.record}|{origin.line}|{origin.offset}|{text}"
    return f"{prefix}-{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
