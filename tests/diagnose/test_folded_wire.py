"""A network trace amid an outage: a refusal that is folded is compared with its handshakes as any other is."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

import evtx_analyzer as ea
from evtx_analyzer.ingest import events
from evtx_analyzer.smtp import folding
from evtx_analyzer.smtp.folding import Recorded
from samples import traces
from samples.cases import SEND_FILE
from samples.pieces import START, send
from samples.smtp import REFUSAL, SendSession
from samples.traces import LEAF, LEAF_DER, TRACE_FILE, talk

MANY = 400
# The one in the middle, by its number: sessions begin every two seconds.
AMID = 200


@pytest.fixture(params=[False, True], ids=["row-by-row", "in-bulk"])
def analyzed(request, tmp_path, monkeypatch):
    """Reports of a case with and without folding."""
    if request.param:
        monkeypatch.setattr(events, "_LARGE", 0)

    def run(*talks):
        (tmp_path / SEND_FILE).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / SEND_FILE).write_bytes(send(*(refused(number) for number in range(MANY))))
        (tmp_path / TRACE_FILE).write_bytes(traces.trace(*talks))
        reports = []
        for limit in (1_000_000, folding.FEW, 0):
            monkeypatch.setattr(folding, "FEW", limit)
            reports.append(ea.analyze(tmp_path))
        return reports

    return run


def refused(number):
    start = START + timedelta(seconds=2 * number)
    made = SendSession(start, f"08D50D3D{number:08X}", local=f"10.10.248.7:{10_000 + number}").connect().starttls(LEAF)
    return made.message(710, "a@servername.com", [("b@fabrikam.com", REFUSAL)], number).quit(1100)


def told(report):
    grades = {finding.cause: finding.grade for finding in report.findings}
    return msgspec.to_builtins(report.handshakes), grades


def test_the_handshake_of_a_refusal_amid_an_outage_is_found(analyzed):
    start = START + timedelta(seconds=2 * AMID)
    plain, *folded = analyzed(talk([LEAF_DER], start=start, local=("10.10.248.7", 10_000 + AMID)))
    (handshake,) = plain.handshakes
    assert handshake.join == "endpoints"
    for report in folded:
        assert 0 < report.incidents[0].folded_count < MANY
        assert told(report) == told(plain)
        assert handshake.rejection in {rejection.id for rejection in report.incidents[0].rejections}


def test_a_handshake_that_may_be_of_several_refusals_is_of_none(analyzed):
    """Behind another address and port, only time and certificate are left, and they fit several sessions."""
    reports = analyzed(talk([LEAF_DER], start=START + timedelta(seconds=2 * AMID), local=("10.99.0.1", 40_000)))
    assert [handshake.rejection for report in reports for handshake in report.handshakes] == [None] * 3
    assert all(told(report) == told(reports[0]) for report in reports)


def test_times_that_overlap_are_one():
    at = [START + timedelta(seconds=number) for number in range(10)]
    recorded = Recorded([(at[5], at[7]), (at[1], at[3]), (at[2], at[4])])
    times = [number for number in range(10) if recorded._is_within(at[number])]
    assert times == [1, 2, 3, 4, 5, 6, 7]
