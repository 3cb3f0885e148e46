"""Refusals in the hour that a local clock shows twice: either reading may be right, so neither proves a repair."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import worlds
from faults import FAULTS
from smtp_case import rules

import evtx_analyzer as ea

# In Berlin clocks go from 03:00 back to 02:00 at 01:00 UTC.
AUTUMN = datetime(2026, 10, 25, 0, 5, tzinfo=UTC)
# As Get-MessageTrackingLog | Export-Csv writes it: local digits without a zone.
TRACKED = (
    '"Timestamp","ClientHostname","ConnectorId","Source","EventId","MessageId","Recipients","RecipientStatus","Sender"\r\n'
    '"25.10.2026 {time}","EX01.contoso.com","{connector}","SMTP","FAIL","<later@contoso.com>","z@fabrikam.example",'
    '"[{{LED=550 5.7.64 TenantAttribution; Relay Access Denied}};{{MSG=}}]","a@contoso.com"\r\n'
)


@pytest.fixture
def case(monkeypatch, tmp_path):
    """A chain that breaks at 00:05 UTC and is sound from 00:45 on, mail that is accepted, and a refusal in tracking."""
    monkeypatch.setattr(worlds, "NOW", AUTUMN)

    def run(tracked, *accepted):
        made = worlds.world(0, "C")
        FAULTS["missing_intermediate"].apply(made)
        made.checks.append(worlds.Check(worlds.chain(made), "sound", before=timedelta(minutes=40)))
        made.mails = [made.refusal(), *(made.mail(timedelta(minutes=minutes)) for minutes in accepted)]
        written = worlds.files(made)
        if tracked:
            written["tracking.csv"] = TRACKED.format(time=tracked, connector=made.connector)
        for name, content in written.items():
            path = tmp_path / "EX01" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="")
        report = ea.analyze(tmp_path, rules=rules(), tz="Europe/Berlin")
        verified = ea.verify(report, tmp_path, rules=rules(), tz="Europe/Berlin")
        send_log = next(incident.id for incident in report.incidents if incident.kind == "send-connector")
        (judged,) = (item for item in verified.repair.incidents if item.incident == send_log)
        grades = next(incident.grades for incident in report.incidents if incident.id == send_log)
        return judged, grades["missing-intermediate"]

    return run


@pytest.mark.parametrize(
    ("tracked", "accepted", "result", "grade"),
    [
        ("", [45], "fixed", "confirmed"),
        ("01:30:00", [45], "fixed", "confirmed"),  # 23:30 UTC, before all else
        ("02:20:00", [45], "not-shown", "probable"),  # 00:20 or 01:20 UTC, the mail was accepted at 00:50
        ("02:40:00", [45], "not-shown", "probable"),
        ("02:02:00", [45], "not-shown", "probable"),  # by the earlier reading before the outage
        ("02:55:00", [45], "still-refused", "probable"),  # after the mail by both readings
        ("03:30:00", [45], "still-refused", "probable"),  # 02:30 UTC
        (
            "02:40:00",
            [115],
            "fixed",
            "probable",
        ),  # the mail was accepted at 02:00 UTC, after both; refused since the change?
    ],
)
def test_a_refusal_of_the_hour_that_came_twice(case, tracked, accepted, result, grade):
    judged, graded = case(tracked, *accepted)
    assert (judged.result, graded) == (result, grade)
    texts = [part.text for part in judged.missing]
    assert any("showed twice" in text for text in texts) == (result == "not-shown")
