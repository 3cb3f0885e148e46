"""Rows of message tracking: which columns are this server's, and what a row that tells no reply costs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evtx_analyzer.model.events import MessageEvent
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.normalize.tracking import normalize_tracking, statuses

REPLY = "550 5.7.64 TenantAttribution; Relay Access Denied"
EXPORT = "Get-MessageTrackingLog"
ROW = {
    "date-time": "2026-03-10T09:14:02.123Z",
    "client-ip": "10.0.0.1",
    "client-hostname": "EX01",
    "server-ip": "104.47.0.36",
    "server-hostname": "contoso.mail.protection.outlook.com",
    "source": "SMTP",
    "event-id": "FAIL",
    "message-id": "<a@contoso.com>",
    "recipient-address": "b@fabrikam.com",
    "recipient-status": REPLY,
    "source-context": "08D50D3D9730A8D2",
}


def typed(log="Message Tracking Log", **changes):
    values = {name: value for name, value in {**ROW, **changes}.items() if value is not None}
    return normalize_tracking(LogRow(origin=Origin(source="M.LOG", line=7), log=log, values=values))


@pytest.mark.parametrize("event", ["FAIL", "SEND", "DEFER", "SENDEXTERNAL", "fail"])
def test_the_client_of_a_row_about_sending_is_this_server(event):
    """``client-hostname`` is the server that sends, ``server-hostname`` the next one (message-tracking.md)."""
    row = typed(**{"event-id": event})
    assert (row.host, row.address, row.remote) == ("EX01", "10.0.0.1", "104.47.0.36")
    assert (row.remote_name, row.session) == ("contoso.mail.protection.outlook.com", "08D50D3D9730A8D2")
    assert row.time == datetime(2026, 3, 10, 9, 14, 2, 123_000, tzinfo=UTC)


def test_the_server_of_a_row_about_receiving_is_this_server():
    received = {"event-id": "RECEIVE", "client-hostname": "app01", "client-ip": "10.0.0.9", "server-hostname": "EX01"}
    row = typed(**received, **{"server-ip": "10.0.0.1"})
    assert (row.host, row.address) == ("EX01", "10.0.0.1")
    assert (row.remote, row.remote_name, row.session) == ("", "", "")


@pytest.mark.parametrize("source", ["AGENT", "STOREDRIVER", "ROUTING"])
def test_only_a_row_of_smtp_tells_addresses_and_the_other_side(source):
    row = typed(source=source)
    assert (row.address, row.remote, row.remote_name, row.session) == ("", "", "", "")


@pytest.mark.parametrize(
    ("event", "status", "is_lost"),
    [
        ("FAIL", None, True),
        ("DSN", None, True),
        ("fail", None, True),
        ("FAIL", "System.String[]", True),
        ("FAIL", "Microsoft.Exchange.Data.X", True),
        ("FAIL", "", False),
        ("RECEIVE", None, False),  # it never has a reply that refuses
        ("DELIVER", "System.String[]", False),
    ],
)
def test_only_a_failed_message_without_its_replies_is_a_loss(event, status, is_lost):
    assert isinstance(typed(**{"event-id": event, "recipient-status": status}), Loss) is is_lost


@pytest.mark.parametrize(("log", "says_clixml"), [("Message Tracking Log", False), (EXPORT, True)])
def test_a_row_whose_time_cannot_be_read_is_a_loss_that_says_what_helps(log, says_clixml):
    loss = typed(log, **{"date-time": "yesterday", "Timestamp": "yesterday"})
    assert isinstance(loss, Loss)
    assert (loss.origin.line, loss.extent, "Export-Clixml" in loss.reason) == (7, "1 row", says_clixml)


def test_columns_of_an_export_are_those_of_the_log_whatever_their_case():
    names = {"TIMESTAMP": "2026-03-10T10:14:02+01:00", "ClientHostname": "EX01", "eventid": "FAIL", "Source": "SMTP"}
    values = {**names, "RecipientStatus": REPLY, "Recipients": "{b@fabrikam.com}", "Sender": "a@contoso.com"}
    row = normalize_tracking(LogRow(origin=Origin(source="t.csv"), log=EXPORT, values={**values, "Unknown": "x"}))
    assert isinstance(row, MessageEvent)
    assert (row.host, row.sender, row.time) == ("EX01", "a@contoso.com", datetime(2026, 3, 10, 9, 14, 2, tzinfo=UTC))
    assert [(status.address, status.text) for status in row.recipients] == [("b@fabrikam.com", REPLY)]
    assert "Unknown" not in row.fields


def test_the_row_of_a_report_names_the_message_that_failed():
    """Its own id and its own recipient are those of the report (DSN): its recipient is the sender of the message."""
    other = {
        "reference": "{<a@contoso.com>}",
        "message-id": "<report@contoso.com>",
        "recipient-address": "s@contoso.com",
    }
    report = typed(**other, source="DSN", **{"event-id": "DSN"})
    assert (report.message_id, report.sender) == ("<a@contoso.com>", "s@contoso.com")
    assert [(status.address, status.text) for status in report.recipients] == [("", REPLY)]
    assert typed(**other).message_id == "<report@contoso.com>"


def test_signals_see_the_reply_of_each_recipient():
    row = typed(**{"recipient-address": "a@x;b@x;c@x", "recipient-status": f"250 OK;{REPLY}"})
    assert row.fields["recipient-status"] == ("250 OK", REPLY)
    assert row.fields["event-id"] == ("FAIL",)


def group(reply, fqdn="x.outlook.com", ip="104.47.0.36"):
    return f"[{{LED={reply}}};{{MSG=}};{{FQDN={fqdn}}};{{IP={ip}}};{{LRT=1/29/2025 7:07:29 PM}}]"


@pytest.mark.parametrize(
    ("addresses", "status", "expected"),
    [
        ("a@x;b@x", group(REPLY), [("a@x", REPLY), ("b@x", REPLY)]),  # one part holds for all
        ("a@x;b@x", f"{group('250 OK')};{group(REPLY)}", [("a@x", "250 OK"), ("b@x", REPLY)]),
        ("{a@x, b@x}", f"{REPLY};250 2.1.5 OK", [("a@x", REPLY), ("b@x", "250 2.1.5 OK")]),
        ("a@x", f"{REPLY}; see 451", [("a@x", f"{REPLY}; see 451")]),
        ("", REPLY, [("", REPLY)]),
        ("a@x;b@x;c@x", f"250 OK;{REPLY}", [("a@x", "250 OK"), ("b@x", REPLY), ("c@x", "")]),
        ("a@x", f"250 OK;{REPLY}", [("a@x", "250 OK"), ("", REPLY)]),  # no reply is lost
        ("", "", []),
    ],
)
def test_each_recipient_has_its_part_of_the_status(addresses, status, expected):
    assert [(found.address, found.text) for found in statuses(addresses, status)] == expected
