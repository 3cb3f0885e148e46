"""What is kept of refused sessions tells the same refusals as the whole sessions do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from places import SAMPLES

from evtx_analyzer import pipeline
from evtx_analyzer.hosts import identify_hosts
from evtx_analyzer.ingest import evidence
from evtx_analyzer.model.events import Match, SmtpEvent
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.report.document import to_json
from evtx_analyzer.smtp.clock_skew import session_clock
from evtx_analyzer.smtp.compact import Keeper
from evtx_analyzer.smtp.rejections import refused_replies, rejections
from evtx_analyzer.smtp.sessions import Session, tell

START = datetime(2016, 10, 30, 1, 30, tzinfo=UTC)


class Whole:
    """Keeps sessions as they are."""

    def session(self, session: Session) -> Session:
        return session


@pytest.mark.parametrize("case", ["kb-3212877", "no-tls-iis", "no-capi2", "name-mismatch"])
def test_the_report_is_that_of_whole_sessions(case, monkeypatch):
    kept = to_json(pipeline.analyze(SAMPLES / case))
    monkeypatch.setattr(evidence, "Keeper", Whole)
    assert to_json(pipeline.analyze(SAMPLES / case)) == kept


def session(basis):
    """A session of two files whose banner shows the remote clock, refused at RCPT."""
    texts = (
        ("+", ""),
        ("<", "220 x.outlook.com Microsoft ESMTP MAIL Service ready at Sun, 30 Oct 2016 02:30:00 +0000"),
        (">", "MAIL FROM:<a@x.org>"),
        ("<", "250 2.1.0 Sender OK"),
        (">", "RCPT TO:<b@y.org>"),
        ("<", "550 5.7.64 TenantAttribution; Relay Access Denied"),
        (">", "QUIT"),
    )
    rows = [
        SmtpEvent(
            origin=Origin(source=f"EX01/{number // 3}.log", line=number),
            kind="send-connector",
            scope="EX01",
            time=START + timedelta(seconds=number),
            direction=direction,
            text=(text + " ")[:-1],  # never the same object twice
            session="08D5",
            sequence=number,
            time_basis=basis,
            values={"data": text},
        )
        for number, (direction, text) in enumerate(texts)
    ]
    return tell([Match(event=row, signals=("refused",) if "5.7.64" in row.text else ()) for row in rows])


@pytest.mark.parametrize("basis", ["utc", "ambiguous"])
def test_a_kept_session_tells_the_same_refusals(basis):
    whole = session(basis)
    kept = Keeper().session(whole)
    hosts = identify_hosts([("EX01/0.log", "EX01.x.org")], ["EX01/0.log"])
    assert [item.rcpt_to for item in refused_replies(kept)] == ["b@y.org"]
    assert list(rejections(kept, hosts)) == list(rejections(whole, hosts))
    assert (kept.first, kept.last, kept.handshake_time) == (whole.first, whole.last, whole.handshake_time)


def test_the_clock_that_settles_a_repeated_hour_is_kept():
    assert session_clock(Keeper().session(session("ambiguous"))) == datetime(2016, 10, 30, 2, 30, tzinfo=UTC)


def test_rows_are_not_kept():
    """An outage has thousands of refused sessions: what is kept of each does not grow with its rows."""
    kept = Keeper().session(session("utc"))
    assert len(kept.rows) == 1
    assert [row.fields for row in (*kept.rows, *(reply.row for reply in kept.replies))] == [{}, {}]


def test_equal_values_are_kept_once():
    keeper = Keeper()
    first, second = keeper.session(session("utc")), keeper.session(session("utc"))
    assert first.replies[0].row.text is second.replies[0].row.text
