"""The gate of time: exact to the microsecond, aware UTC, None for what is no time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from evtx_analyzer import clock
from evtx_analyzer.model.origin import TimeBasis


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-01T03:09:55.456180600Z", datetime(2016, 12, 1, 3, 9, 55, 456180, tzinfo=UTC)),
        ("2016-12-01T03:09:55.4561809Z", datetime(2016, 12, 1, 3, 9, 55, 456180, tzinfo=UTC)),
        ("2019-03-21T13:00:45.039Z", datetime(2019, 3, 21, 13, 0, 45, 39000, tzinfo=UTC)),
        ("2016-12-01 03:09:55", datetime(2016, 12, 1, 3, 9, 55, tzinfo=UTC)),
        ("2016-12-01T03:09:55+05:30", datetime(2016, 11, 30, 21, 39, 55, tzinfo=UTC)),
        ("2016-12-01T03:09:55-0800", datetime(2016, 12, 1, 11, 9, 55, tzinfo=UTC)),
        ("2016-13-01T03:09:55Z", None),
        ("2016-12-01T25:09:55Z", None),
        ("01.12.2016 03:09:55", None),
        ("", None),
    ],
)
def test_iso(text, expected):
    assert clock.from_iso(text) == expected


def test_filetime():
    # 116444736000000000 ticks are 1970-01-01 (MS-DTYP 2.3.3 counts from 1601).
    assert clock.from_filetime(116444736000000000) == datetime(1970, 1, 1, tzinfo=UTC)
    assert clock.from_filetime(116444736000000009) == datetime(1970, 1, 1, tzinfo=UTC)
    assert clock.from_filetime(116444736000000010) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert clock.from_filetime(10) == datetime(1601, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert clock.from_filetime(0) is None
    assert clock.from_filetime(-10) is None
    assert clock.from_filetime(2**63) is None


@pytest.mark.parametrize("text", ["2016-12-01", "2016-12-01T00:00", "2016-12-01 00:00Z", "2016-12-01T01:00+01:00"])
def test_times_as_people_type_them(text):
    assert clock.from_user(text) == datetime(2016, 12, 1, tzinfo=UTC)


BERLIN = clock.zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "order", "expected", "basis"),
    [
        ("3/3/2026 09:14:02", "", datetime(2026, 3, 3, 8, 14, 2, tzinfo=UTC), "zone"),  # both readings are one day
        ("03.03.2026 09:14:02", "", datetime(2026, 3, 3, 8, 14, 2, tzinfo=UTC), "zone"),
        ("13/3/2026 09:14:02", "", datetime(2026, 3, 13, 8, 14, 2, tzinfo=UTC), "zone"),  # there is no 13th month
        ("3/13/2026 09:14:02", "", datetime(2026, 3, 13, 8, 14, 2, tzinfo=UTC), "zone"),
        ("4/3/2026 09:14:02", "", datetime(2026, 4, 3, 9, 14, 2, tzinfo=UTC), "unknown"),
        ("4/3/2026 09:14:02", "dmy", datetime(2026, 3, 4, 8, 14, 2, tzinfo=UTC), "zone"),
        ("2026/3/4 09:14:02", "", datetime(2026, 3, 4, 8, 14, 2, tzinfo=UTC), "zone"),
    ],
)
def test_local_dates_that_can_be_read_in_one_way_only_need_no_order(text, order, expected, basis):
    local_time = clock.from_local(text, order, BERLIN)
    assert (local_time.time, local_time.basis) == (expected, basis)


@pytest.mark.parametrize(
    ("fraction", "microseconds"), [("", 0), (".5", 500_000), (",123", 123_000), (".1234567", 123_456)]
)
def test_a_local_time_keeps_its_fraction(fraction, microseconds):
    read = clock.from_local(f"13.03.2026 12:00:01{fraction}", "dmy", clock.zone("UTC"))
    assert read.time == datetime(2026, 3, 13, 12, 0, 1, microseconds, tzinfo=UTC)


def test_a_local_date_without_a_zone_stays_unknown():
    assert clock.from_local("3/3/2026 09:14:02", "", None).basis == "unknown"


# ------------------------------------------------------------------------------------------- times for people

MORNING = datetime(2026, 3, 10, 9, 14, 2, tzinfo=UTC)
LATER = datetime(2026, 3, 10, 9, 20, 0, 5000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("basis", "alone", "inside"),
    [
        ("utc", "2026-03-10 09:14:02.000 UTC", "2026-03-10 09:14:02.000 UTC"),
        ("zone", "2026-03-10 09:14:02.000 UTC", "2026-03-10 09:14:02.000 UTC"),
        (
            "unknown",
            "2026-03-10 09:14:02, local time of an unknown zone",
            "2026-03-10 09:14:02 (local time of an unknown zone)",
        ),
        (
            "ambiguous",
            "2026-03-10 09:14:02.000 UTC, or later: the clock showed this hour twice",
            "2026-03-10 09:14:02.000 UTC (or later: the clock showed this hour twice)",
        ),
        (
            "wrong-zone",
            "2026-03-10 09:14:02, by a time zone that another clock contradicts",
            "2026-03-10 09:14:02 (by a time zone that another clock contradicts)",
        ),
        (
            "heading",
            "2026-03-10 09:14:02, the log's #Date heading: the row has no time of its own",
            "2026-03-10 09:14:02 (the log's #Date heading: the row has no time of its own)",
        ),
    ],
)
def test_a_time_says_what_it_is_and_claims_utc_only_where_it_is_known(basis, alone, inside):
    assert (clock.as_text(MORNING, basis), clock.in_sentence(MORNING, basis)) == (alone, inside)
    assert ("UTC" in alone) == clock.is_known(basis)


def test_every_basis_has_a_text_of_its_own():
    others = set(get_args(TimeBasis)) - {"utc", "zone"}
    assert len({clock.remark(basis) for basis in others} - {""}) == len(others)


def test_milliseconds_of_a_local_time_are_shown_where_there_are_any():
    assert clock.as_text(LATER, "unknown") == "2026-03-10 09:20:00.005, local time of an unknown zone"


def test_a_span_says_once_what_both_times_share():
    first, last = clock.Moment(MORNING, "unknown"), clock.Moment(LATER, "unknown")
    shared = "2026-03-10 09:14:02 to 2026-03-10 09:20:00.005, local time of an unknown zone"
    assert clock.span_text(first, last) == shared
    assert clock.span_text(first, first) == "2026-03-10 09:14:02, local time of an unknown zone"
    known = clock.Moment(MORNING), clock.Moment(LATER)
    assert clock.span_text(*known) == "2026-03-10 09:14:02.000 UTC to 2026-03-10 09:20:00.005 UTC"
    mixed = clock.span_text(clock.Moment(MORNING), clock.Moment(LATER, "ambiguous"))
    assert mixed == (
        "2026-03-10 09:14:02.000 UTC to 2026-03-10 09:20:00.005 UTC, or later: the clock showed this hour twice"
    )


def test_limits_are_of_known_times_where_there_are_any():
    local, utc = clock.Moment(MORNING, "unknown"), clock.Moment(LATER, "utc")
    assert clock.limits([local, utc]) == (utc, utc)
    assert clock.limits([local, clock.Moment(LATER, "unknown")]) == (local, clock.Moment(LATER, "unknown"))
