"""What flows between the stages, and what stands in the report: frozen data, no behavior.

The names of the report's parts are the JSON contract (``schema_version`` 1): more may be added, none renamed.
All times are aware UTC ``datetime`` (microseconds; CAPI2's 100 ns digit is cut) and RFC 3339 in JSON.
Hex identities (thumbprints, HRESULTs) are upper case without ``0x``.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  msgspec reads the annotations at run time
from typing import Literal

from msgspec import Struct, field

Fields = dict[str, tuple[str, ...]]
"""Flat view of an event for Sigma: dotted path of the log's own names -> every value found there."""


class Origin(Struct, frozen=True, kw_only=True, order=True):
    """Where a fact stands: open ``source`` (and ``member`` of an archive) there and find it again.

    ``record`` is an EventRecordID, ``line`` counts from 1, ``offset`` is in bytes from the start of the file.
    """

    source: str
    member: str | None = None
    record: int | None = None
    line: int | None = None
    offset: int | None = None


class Loss(Struct, frozen=True, kw_only=True, order=True):
    """Something that could not be read; ``extent`` says how much, in words.

    ``first_record`` and ``last_record`` are the EventRecordIDs lost, where they are known.
    """

    origin: Origin
    reason: str
    extent: str
    first_record: int | None = None
    last_record: int | None = None


# ---------------------------------------------------------------------------------------------------- read


class EventRecord(Struct, frozen=True, kw_only=True):
    """One Windows event as XML text, from an .evtx file or an XML export; not yet parsed.

    ``time`` is the record header's FILETIME where the container has one. ``record_id`` is None where the
    container does not number its records (the XML may still hold an EventRecordID).
    """

    origin: Origin
    xml: str
    record_id: int | None = None
    time: datetime | None = None


class LogRow(Struct, frozen=True, kw_only=True):
    """One row of a text log with ``#Fields``: values by column name as the log writes it, undecoded semantics."""

    origin: Origin
    values: dict[str, str]
