"""How far a log's clock is ahead of Exchange Online's: medians by machine, brackets before banners, hours as zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from evidence import rejection

from evtx_analyzer.hosts import HostClue, identify_hosts
from evtx_analyzer.model.evidence import ClockSkew
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.smtp.clock_skew import Clocks, banner_clock, noted, settled
from evtx_analyzer.smtp.rejections import Sighting

REMOTE = datetime(2019, 3, 21, 13, 0, 44, tzinfo=UTC)
BANNER = "220 x.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at Thu, 21 Mar 2019 13:00:44 +0000"
HOSTS = identify_hosts([("EX01/SEND.LOG", "EX01"), ("EX02/SEND.LOG", "EX02")])
ONE, TWO = HostClue("EX01", "EX01/SEND.LOG"), HostClue("EX02", "EX02/SEND.LOG")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BANNER, REMOTE),
        (BANNER.replace(" +0000", "  0000"), REMOTE),  # IIS writes a blank as "+"
        (BANNER.replace("13:00:44 +0000", "14:00:44 +0100"), REMOTE),
        (BANNER.replace("220 ", "250 "), None),
        ("220 ****************", None),
        ("220 x ready at noon", None),
    ],
)
def test_the_clock_of_a_banner(text, expected):
    assert banner_clock(text) == expected


def clocks(banners=(), brackets=(), clue=ONE):
    made = Clocks()
    for seconds in banners:
        made.add_banner("send-connector", clue, REMOTE + timedelta(seconds=seconds), BANNER)
    made.add_brackets("send-connector", clue, brackets)
    return made


@pytest.mark.parametrize(
    ("banners", "brackets", "expected"),
    [
        ([7], [], ("banner", 1, 7.0)),
        ([9, 1, 2], [], ("banner", 3, 2.0)),
        ([9, 1, 2, 4], [], ("banner", 4, 3.0)),
        ([9, 9], [0.25, -0.75, 3.125], ("bracket", 3, 0.25)),  # true to a millisecond
        ([], [-7200.5], ("bracket", 1, -7200.5)),
    ],
)
def test_the_median_is_told_of_brackets_where_there_are_any(banners, brackets, expected):
    (skew,) = clocks(banners, brackets).skews(HOSTS)
    assert (skew.source, skew.samples, skew.seconds) == expected
    assert (skew.host, skew.kind, skew.folder) == ("EX01", "send-connector", "EX01")


def test_every_machine_has_a_clock_of_its_own():
    made = clocks([5])
    made.add_brackets("send-connector", TWO, [1.5])
    made.add_brackets("iis-smtp", ONE, [3600.0])
    made.add_banner("send-connector", ONE, REMOTE, "250 no banner")
    found = [(skew.host, skew.kind, skew.seconds) for skew in made.skews(HOSTS)]
    assert found == [("EX01", "iis-smtp", 3600.0), ("EX01", "send-connector", 5.0), ("EX02", "send-connector", 1.5)]
    assert Clocks().skews(HOSTS) == ()


def skew(seconds, kind="iis-smtp", folder="EX01", **values):
    return ClockSkew(host="EX01", kind=kind, folder=folder, source="bracket", samples=2, seconds=seconds, **values)


@pytest.mark.parametrize(
    ("skews", "basis", "expected"),
    [
        ([skew(3600.4)], "zone", "wrong-zone"),
        ([skew(-7200.0)], "zone", "wrong-zone"),
        ([skew(3600.4)], "utc", "utc"),  # a row that is in UTC has no zone that could be wrong
        ([skew(40.0)], "zone", "zone"),
        ([skew(3600.4, kind="send-connector")], "zone", "zone"),
        ([skew(3600.4, folder="EX02")], "zone", "zone"),
    ],
)
def test_whole_hours_are_a_wrong_zone_of_that_log_only(skews, basis, expected):
    found = rejection(kind="iis-smtp", time_basis=basis, origin=Origin(source="EX01/in.log"))
    (done,) = settled([Sighting(found, "iis-smtp")], {}, skews)
    assert (done.rejection.time_basis, done.rejection.time) == (expected, found.time)


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        (timedelta(seconds=20), ("zone", timedelta())),
        (timedelta(hours=1, seconds=-20), ("zone", timedelta(hours=1))),
        (timedelta(minutes=30), ("ambiguous", timedelta())),  # near neither of the two
        (None, ("ambiguous", timedelta())),
    ],
)
def test_the_remote_clock_settles_an_hour_that_came_twice(remote, expected):
    bare = rejection(kind="iis-smtp", time_basis="ambiguous")
    found = rejection(kind="iis-smtp", time_basis="ambiguous", other_time=bare.time + timedelta(hours=1))
    shown = {} if remote is None else {found.id: found.time + remote}
    (done,) = settled([Sighting(found, "iis-smtp")], shown, [])
    basis, shift = expected
    assert (done.rejection.time_basis, done.rejection.time - found.time) == (basis, shift)
    assert done.rejection.handshake_time - found.handshake_time == shift
    assert {done.rejection.time, done.rejection.other_time} == {found.time, found.other_time}


@pytest.mark.parametrize(
    ("skews", "offsets", "said"),
    [
        ([skew(4.9)], [], []),
        ([skew(5.1)], [], ["5.1 s ahead of"]),
        ([skew(-40.0)], [], ["40.0 s behind"]),
        ([skew(3600.0)], [], ["1 hour ahead of"]),
        ([skew(-7200.0)], [], ["2 hours behind"]),
        ([skew(40.0, folder="EX02")], [], []),
        ([], [("EX01/in.log", 1)], ["1 hour after"]),
        ([], [("EX01/in.log", -2)], ["2 hours before"]),
        ([], [("EX02/in.log", 1)], []),
        ([skew(3600.0)], [("EX01/in.log", 1)], ["1 hour ahead of"]),  # said once
        ([skew(40.0)], [("EX01/in.log", 1)], ["40.0 s ahead of", "1 hour after"]),
    ],
)
def test_what_is_wrong_with_a_clock_is_noted_at_its_log(skews, offsets, said):
    span = Coverage(source="EX01/in.log", kind="iis-smtp", host="EX01", first=None, last=None, records=1)
    (done,) = noted([span], skews, {}, [(Origin(source=source), hours) for source, hours in offsets])
    assert len(done.notes) == len(said)
    assert all(words in note for words, note in zip(said, done.notes, strict=True))


def test_a_note_on_the_zone_of_a_log_is_kept_beside():
    span = Coverage(source="EX01/in.log", kind="iis-smtp", host="EX01", first=None, last=None, records=1, notes=("x",))
    local = {
        ("EX01/in.log", "iis-smtp"): "local times",
        ("EX01/in.log", "send-connector"): "no",
        ("y", "iis-smtp"): "no",
    }
    assert noted([span], [], local, [])[0].notes == ("x", "local times")
