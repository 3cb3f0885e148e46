"""The one gate through which times enter: text and FILETIME to aware UTC.

A FILETIME counts 100 ns since 1601-01-01 UTC (MS-DTYP 2.3.3). ``SystemTime`` of an event is UTC with seven
digits (nine in some renderings) and ``Z``; Exchange protocol logs write UTC milliseconds with ``Z``; IIS W3C logs
write UTC seconds in two columns. Python keeps microseconds: the seventh digit is cut, never rounded.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?$",
    re.ASCII,
)


def from_filetime(ticks: int) -> datetime | None:
    """FILETIME ticks as UTC, or None where they are zero or lie beyond what a calendar holds."""
    if ticks <= 0:
        return None
    try:
        return _EPOCH_1601 + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None


def from_iso(text: str) -> datetime | None:
    """ISO 8601 text with ``Z`` or an offset as UTC; text without a zone is taken as UTC. None if it is no time."""
    found = _ISO.match(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    micro = int((fraction or "0").ljust(6, "0")[:6])
    try:
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micro, tzinfo=UTC)
    except ValueError:
        return None
    return time - _offset(zone)


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in ("Z", "UTC"):
        return timedelta()
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


def as_text(time: datetime | None) -> str:
    """A UTC time as reports print it, to the millisecond: ``2016-12-01 03:09:55.456 UTC``."""
    if time is None:
        return "time unknown"
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d} UTC"


def from_user(text: str) -> datetime | None:
    """A time as a person types it: a date, or a date and time with or without seconds; UTC where no zone is given."""
    for form in (text, f"{text}T00:00:00Z", re.sub(r"(T| )(\d\d:\d\d)(?=$|Z|[+-])", r"\1\2:00", text)):
        time = from_iso(form)
        if time is not None:
            return time
    return None
