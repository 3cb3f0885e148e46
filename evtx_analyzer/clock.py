"""The one gate through which times enter: text and FILETIME to aware UTC.

A FILETIME counts 100 ns since 1601-01-01 UTC (MS-DTYP 2.3.3). ``SystemTime`` of an event is UTC with seven
digits (nine in some renderings) and ``Z``; Exchange protocol logs write UTC milliseconds with ``Z``; IIS W3C logs
write UTC seconds in two columns. Python keeps microseconds: the seventh digit is cut, never rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.origin import TimeBasis

_EPOCH_1601 = datetime(1601, 1, 1, tzinfo=UTC)
# Far from the end of the calendar, so that windows and offsets can be added to any time.
_END = datetime(9000, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?$",
    re.ASCII,
)
_PLAIN = re.compile(r"\d{4}-\d\d-\d\dT(?!24)\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_MAIL = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) "
    r"(\d\d:\d\d:\d\d) ([+-])([01]\d|2[0-3])([0-5]\d)$",
    re.ASCII,
)
_USUAL = len("2016-12-01T03:09:55.456Z")


def from_filetime(ticks: int) -> datetime | None:
    """Return FILETIME ticks as UTC; None if they are not positive or lie outside of the years 1601 to 9000."""
    if ticks <= 0:
        return None
    try:
        return _sensible(_EPOCH_1601 + timedelta(microseconds=ticks // 10))
    except OverflowError:
        return None


def _sensible(time: datetime) -> datetime | None:
    """Return the time; None for years that only damage can write, on which offsets would overflow."""
    return time if _EPOCH_1601 < time < _END else None


def from_iso(text: str) -> datetime | None:
    """Return ISO 8601 text as UTC; text without ``Z`` or an offset is taken as UTC. None if it cannot be parsed."""
    if len(text) == _USUAL and _PLAIN.match(text):
        # What Exchange writes in every row; the standard library reads it ten times faster.
        try:
            return _sensible(datetime.fromisoformat(text))
        except ValueError:
            return None
    match = _ISO.match(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    micro = int((fraction or "0").ljust(6, "0")[:6])
    try:
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micro, tzinfo=UTC)
        return _sensible(time - _offset(zone))
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in ("Z", "UTC"):
        return timedelta()
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


class Moment(NamedTuple):
    """A time and how it became UTC. With the basis ``unknown`` the digits are local and only look like UTC."""

    time: datetime
    basis: TimeBasis = "utc"


_KNOWN: tuple[TimeBasis, ...] = ("utc", "zone", "ambiguous")
_REMARKS: dict[TimeBasis, str] = {
    "ambiguous": ", or later: the clock showed this hour twice",
    "wrong-zone": ", by a time zone that another clock contradicts",
    "heading": ", the log's #Date heading: the row has no time of its own",
    "unknown": ", local time of an unknown zone",
}


def is_known(basis: TimeBasis) -> bool:
    """Return whether a time of this basis can be compared with UTC; an ambiguous one can, by both of its readings."""
    return basis in _KNOWN


def limits(moments: Iterable[Moment]) -> tuple[Moment, Moment]:
    """Return the first and the last of the moments whose UTC time is known; of all moments if none is known.

    Local digits are left out, because they cannot be compared with UTC.
    """
    candidates = list(moments)
    comparable = [moment for moment in candidates if is_known(moment.basis)] or candidates
    return min(comparable), max(comparable)


def as_text(time: datetime | None, basis: TimeBasis = "utc") -> str:
    """Return a time as reports print it, to the millisecond: ``2016-12-01 03:09:55.456 UTC``.

    A time that is not known in UTC says so instead: ``2026-03-10 09:14:02, local time of an unknown zone``.
    """
    return "time unknown" if time is None else _digits(time, basis) + _REMARKS.get(basis, "")


def in_sentence(time: datetime, basis: TimeBasis) -> str:
    """Return the text of a time that other words follow: as ``as_text``, but with the remark in brackets."""
    words = remark(basis)
    return _digits(time, basis) + (f" ({words})" if words else "")


def between(first: Moment, last: Moment) -> str:
    """Return two moments that other words follow: ``2026-... UTC to 2026-... UTC``; equal moments stand once."""
    return in_sentence(*first) if first == last else f"{in_sentence(*first)} to {in_sentence(*last)}"


def remark(basis: TimeBasis) -> str:
    """Return the words that a time of this basis needs after its digits; empty for UTC."""
    return _REMARKS.get(basis, "").removeprefix(", ")


def span_text(first: Moment, last: Moment, unknown: int = 0) -> str:
    """Return two moments as reports print them; equal moments stand once, and so does a remark that both share.

    ``unknown`` counts what lies outside of the span because its UTC time is not known (see ``limits``).
    """
    if first == last:
        text = as_text(*first)
    else:
        start = _digits(*first) if first.basis == last.basis else in_sentence(*first)
        text = f"{start} to {as_text(*last)}"
    some_outside = unknown and is_known(first.basis)
    return f"{text}; {unknown} of them at a time that is not known in UTC" if some_outside else text


def _digits(time: datetime, basis: TimeBasis) -> str:
    text = f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}"
    # Logs in local time write whole seconds: ".000" would claim a precision that they do not have.
    return f"{text} UTC" if is_known(basis) else text.removesuffix(".000")


def from_user(text: str) -> datetime | None:
    """Parse a time as a person types it: a date, or a date and time with or without seconds. None if it is neither.

    Without a zone the time is taken as UTC.
    """
    for form in (text, f"{text}T00:00:00Z", re.sub(r"(T| )(\d\d:\d\d)(?=$|Z|[+-])", r"\1\2:00", text)):
        time = from_iso(form)
        if time is not None:
            return time
    return None


# ------------------------------------------------------------------------------------------------- local times

DateOrder = Literal["mdy", "dmy", "ymd", ""]
_LOCAL = re.compile(
    r"(\d{1,4})[./-] ?(\d{1,2})[./-] ?(\d{1,4})\.?[ ,T]+"
    r"(\d{1,2})[:.](\d\d)[:.](\d\d)(?:[.,](\d{1,7}))?\s*([AaPp])?\.?[Mm]?\.?$"
)
_HOUR = 3600.0


class LocalTime(NamedTuple):
    """A local time as UTC: ``time`` is its first reading, ``other`` a second one, ``basis`` how it became UTC.

    ``other`` is the later reading of an ``ambiguous`` hour (when clocks go back), or of an ``unknown`` time the reading
    with day and month swapped.
    """

    time: datetime
    other: datetime | None
    basis: TimeBasis


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of that name. Raises OptionError for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OptionError(
            f"--tz {name}: no such time zone; expected an IANA name such as Europe/Berlin or America/New_York"
        ) from None


def from_local(text: str, order: DateOrder, where: ZoneInfo | None) -> LocalTime | None:
    """Return a local date and time in a culture's format as UTC; None if it cannot be parsed.

    The digits stand as if they were UTC, with the basis ``unknown``, in three cases: without a zone; at an hour that
    the zone skips, for then the zone is wrong; and if ``order`` is empty and the date could be either ``mdy`` or
    ``dmy``, which is returned as a second reading.
    """
    match = _LOCAL.match(text.strip())
    if match is None:
        return None
    orders: list[DateOrder] = [order] if order else ["mdy", "dmy"]
    if len(match[1]) == 4:  # noqa: PLR2004  digits of a year
        orders = ["ymd"]
    readings = [digits for candidate in orders if (digits := _read_as(candidate, match)) is not None]
    if not readings or any(_sensible(time) is None for time in readings):
        return None
    if readings[0] == readings[-1]:
        return localized(readings[0], where)
    return LocalTime(readings[0], readings[-1], "unknown")


def _read_as(order: DateOrder, match: re.Match[str]) -> datetime | None:
    """Return the digits as a time, with the parts of its date in this order; None if the calendar has no such day."""
    parts = dict(zip(order, (int(match[number]) for number in (1, 2, 3)), strict=True))
    hour = int(match[4])
    if match[8]:
        hour = hour % 12 + (12 if match[8] in "Pp" else 0)
    micro = int((match[7] or "0").ljust(6, "0")[:6])
    try:
        return datetime(parts["y"], parts["m"], parts["d"], hour, int(match[5]), int(match[6]), micro, tzinfo=UTC)
    except ValueError:
        return None


def localized(digits: datetime, where: ZoneInfo | None) -> LocalTime:
    """Return as UTC the local ``digits`` of a zone, which come as an aware time that claims to be UTC."""
    if where is None:
        return LocalTime(digits, None, "unknown")
    # PEP 495: in a repeated hour fold=1 is the later reading; in an hour that the zone skips it is the earlier one.
    early = digits.replace(tzinfo=where, fold=0).astimezone(UTC)
    late = digits.replace(tzinfo=where, fold=1).astimezone(UTC)
    if early < late:
        return LocalTime(early, late, "ambiguous")
    return (
        LocalTime(early, None, "utc" if where.key == "UTC" else "zone")
        if early == late
        else LocalTime(digits, None, "unknown")
    )


def from_mail(text: str) -> datetime | None:
    """Return an RFC 5322 date as UTC; None if it cannot be parsed. ``-0000`` and a missing zone are taken as UTC."""
    match = _MAIL.match(text)
    if match is not None:
        # The usual form, which stands in the banner of every session; the general parser is much slower.
        day, month, year, time_of_day, sign, hours, minutes = match.groups()
        iso = f"{year}-{_MONTHS.index(month) // 3 + 1:02d}-{int(day):02d}T{time_of_day}Z"
        time, offset = from_iso(iso), timedelta(hours=int(hours), minutes=int(minutes))
        return None if time is None else time - (offset if sign == "+" else -offset)

    from email.utils import parsedate_to_datetime  # noqa: PLC0415  start-up cost: only where mail is in the input

    try:
        time = parsedate_to_datetime(text.strip())
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return _sensible(time)


def whole_hours(seconds: float) -> int:
    """Return the number of whole hours in an offset, give or take two seconds; 0 if it is no whole number of hours."""
    hours = round(seconds / _HOUR)
    return hours if abs(seconds - hours * _HOUR) <= 2 else 0  # noqa: PLR2004  seconds, see docstring
