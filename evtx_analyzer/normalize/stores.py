"""Entries of certificate stores: their validity periods.

``certutil`` and CSV write dates in the culture's format and the machine's local time: without a zone only the days are
known.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.clock import DateOrder
from evtx_analyzer.model.stores import StoreEntry

KIND = "certificate-store"


def normalize_store_entry(entry: StoreEntry, zone: ZoneInfo | None = None) -> StoreEntry:
    """Return the entry with its validity period: as times where the zone is known, else as days."""
    certificate = entry.certificate
    if certificate is None or certificate.not_after is not None:
        return entry
    (first, first_known), (last, last_known) = (_time(text, entry.order, zone) for text in entry.dates)
    if first is None or last is None:
        return entry
    entry = replace(entry, first_day=first.date(), last_day=last.date())
    if not (first_known and last_known):
        return entry
    return replace(entry, certificate=replace(certificate, not_before=first, not_after=last))


def _time(text: str, order: str, zone: ZoneInfo | None) -> tuple[datetime | None, bool]:
    """Return a date of a culture as a time, and whether its UTC time is known.

    The time is None where day and month cannot be told apart, or where the local time occurs twice.
    """
    iso = clock.from_iso(text) if "T" in text else None
    if iso is not None:
        # Without an offset the digits are local.
        return iso, bool(re.search(r"(?:Z|[+-]\d\d:?\d\d)$", text.strip()))
    # certutil writes times without seconds, which from_local expects.
    seconds = re.sub(
        r"(\d{1,2}[:.]\d\d)(?=\s{0,3}(?:[AaPp]\.?[Mm]\.?)?\s{0,3}$)(?<!\d\d[:.]\d\d[:.]\d\d)", r"\1:00", text.strip()
    )
    local_time = clock.from_local(seconds, cast("DateOrder", order), zone) or clock.from_local(
        text, cast("DateOrder", order), zone
    )
    if local_time is None or local_time.other is not None:
        return None, False
    return local_time.time, local_time.basis in ("utc", "zone")
