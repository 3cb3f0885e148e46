"""Rows of the IIS SMTP service: what a row needs to be evidence, and what is lost and said where a field is off."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from smtp_case import analyze

from evtx_analyzer.model.events import SmtpEvent
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.normalize.iis_smtp import is_iis_smtp, normalize_iis_smtp

TIME = datetime(2016, 12, 1, 3, 9, 56, tzinfo=UTC)
REPLY = {
    "date": "2016-12-01",
    "time": "03:09:56",
    "c-ip": "216.32.181.234",
    "cs-username": "OutboundConnectionResponse",
    "s-computername": "CORP-SMTP1",
    "cs-method": "-",
    "cs-uri-query": "550+5.7.64+TenantAttribution;+Relay+Access+Denied",
    "time-taken": "719",
}
COMMAND = {"cs-username": "OutboundConnectionCommand", "cs-method": "RCPT", "cs-uri-query": "TO:<b+c@fabrikam.com>"}


def row(log="W3C", **changes):
    values = {name: value for name, value in {**REPLY, **changes}.items() if value is not None}
    return LogRow(origin=Origin(source="ex161201.log", line=9), log=log, values=values)


def typed(log="W3C", zone=None, **changes):
    return normalize_iis_smtp(row(log, **changes), zone)


def test_a_reply_and_a_command():
    reply = typed()
    assert (reply.direction, reply.text) == ("<", "550 5.7.64 TenantAttribution; Relay Access Denied")
    assert (reply.time, reply.time_basis, reply.elapsed_ms, reply.resolution) == (TIME, "utc", 719, 1.0)
    assert (reply.host, reply.remote, reply.origin.line) == ("CORP-SMTP1", "216.32.181.234", 9)
    command = typed(**COMMAND)
    assert (command.direction, command.text) == (">", "RCPT TO:<b c@fabrikam.com>"), "a plus sign looks like a blank"
    assert typed(**{"s-computername": "-"}).host == ""


@pytest.mark.parametrize(
    ("changes", "time", "basis", "elapsed"),
    [
        ({"date": None, "#date": "2016-12-01"}, TIME, "utc", 719),
        # Without a time of its own, a row is only not older than the directive, and milliseconds tell nothing.
        (
            {"time": None, "date": None, "#date": "2016-12-01", "#time": "03:00:00"},
            TIME.replace(minute=0, second=0),
            "heading",
            None,
        ),
        ({"time-taken": None}, TIME, "utc", None),
        ({"time-taken": "-"}, TIME, "utc", None),
        ({"time-taken": "123456789"}, TIME, "utc", 123456789),
        ({"time-taken": "1234567890"}, TIME, "utc", None),
    ],
)
def test_times_of_rows(changes, time, basis, elapsed):
    found = typed(**changes)
    assert (found.time, found.time_basis, found.elapsed_ms) == (time, basis, elapsed)


@pytest.mark.parametrize(
    ("log", "changes"),
    [
        ("W3C", {"date": None}),
        ("W3C", {"date": None, "time": None}),
        ("W3C", {"date": "2016-13-01"}),
        ("W3C", {"time": "x"}),
        ("IIS", {"date": "x", "time": "9:47:02"}),
        ("NCSA", {"time": "11/Oct/x"}),
        ("ODBC", {"time": None}),
    ],
)
def test_a_row_without_a_date_is_a_loss(log, changes):
    loss = typed(log, **changes)
    assert isinstance(loss, Loss)
    assert ("no date" in loss.reason, loss.extent, loss.origin.line) == (
        True,
        "1 row; it cannot be joined with anything",
        9,
    )


def test_replies_without_their_text_are_a_loss_of_the_file_and_commands_are_not():
    losses = {typed(**{"cs-uri-query": None, "time": time}) for time in ("03:09:56", "03:09:57")}
    (loss,) = losses
    assert isinstance(loss, Loss)
    assert ("cs-uri-query" in loss.reason, loss.origin.line) == (True, None)
    command = typed(**{**COMMAND, "cs-uri-query": None, "cs-method": "QUIT"})
    assert isinstance(command, SmtpEvent)
    assert command.text == "QUIT"


def test_a_log_without_the_text_of_replies_does_not_show_that_nothing_was_refused(tmp_path):
    rows = "".join(
        f"2016-12-01 03:09:5{second} 216.32.181.234 OutboundConnection{user} CORP-SMTP1 {verb}\r\n"
        for second, user, verb in ((4, "Response", "-"), (5, "Command", "MAIL"), (6, "Response", "-"))
    )
    fields = "#Fields: date time c-ip cs-username s-computername cs-method\r\n"
    head = "#Software: Microsoft Internet Information Services 8.5\r\n#Version: 1.0\r\n#Date: 2016-12-01 03:09:54\r\n"
    report = analyze(tmp_path, {"ex161201.log": head + fields + rows})
    assert [("cs-uri-query" in loss.reason, loss.origin.source) for loss in report.losses] == [(True, "ex161201.log")]
    assert report.exit_code == 3


def test_columns_of_odbc_have_names_of_their_own_and_local_times():
    values = {
        "ClientHost": "216.32.181.234",
        "username": "OutboundConnectionResponse",
        "LogTime": "2016-12-01 04:09:56",
        "machine": "CORP-SMTP1",
        "processingtime": "719",
        "operation": "-",
        "parameters": "550 5.7.64 Relay + Access Denied",
    }
    made = LogRow(origin=Origin(source="odbc.csv"), log="ODBC", values=values)
    assert is_iis_smtp(made)
    found = normalize_iis_smtp(made, ZoneInfo("Europe/Berlin"))
    assert isinstance(found, SmtpEvent)
    assert (found.time, found.time_basis, found.host, found.elapsed_ms) == (TIME, "zone", "CORP-SMTP1", 719)
    assert found.text == "550 5.7.64 Relay + Access Denied", "text as it is"


@pytest.mark.parametrize(
    ("user", "is_outbound"),
    [
        ("OutboundConnectionResponse", True),
        (" outboundconnectioncommand ", True),
        ("-", False),
        ("app01", False),
        (None, False),
    ],
)
def test_only_outbound_connections_are_of_this_kind(user, is_outbound):
    assert is_iis_smtp(row(**{"cs-username": user})) is is_outbound
