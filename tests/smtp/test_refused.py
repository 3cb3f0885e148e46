"""Refused sessions folded from their rows tell what reading them row by row tells."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from smtp_case import rules

from evtx_analyzer import pipeline
from evtx_analyzer.ingest import events
from evtx_analyzer.smtp import folding
from samples import cases
from samples.capi2 import Cert
from samples.smtp import FRONT_END, SendSession, send_log

REFUSAL = f"550 5.7.64 TenantAttribution; Relay Access Denied [{FRONT_END}]"


@pytest.fixture(autouse=True)
def small_files_are_read_in_bulk(monkeypatch):
    monkeypatch.setattr(events, "_LARGE", 0)


def session(number, reply=REFUSAL, recipient="b{}@fabrikam.com", sender="a@servername.com", **changes):
    made = SendSession(
        cases.KB_TIME + timedelta(seconds=number),
        f"08D50D3D{number:08X}",
        local=f"10.10.248.7:{10_000 + number}",
        **changes,
    )
    made.connect().starttls(cases.LEAF)
    return made.message(700, sender, [(recipient.format(number), reply)], number).quit(2000)


def analyzed(folder, made):
    """The report of a log, fast, which must be the one of reading row by row; and how many rows were read."""
    folder.mkdir(exist_ok=True)
    (folder / "SEND.LOG").write_text(send_log(made), encoding="utf-8", newline="")
    fast = pipeline.analyze(folder, rules=rules())
    plain = pipeline.analyze(folder, rules=rules(), prefilter=False)
    read = sum(coverage.read or 0 for coverage in fast.coverage)

    def without_read(report):
        return replace(report, coverage=tuple(replace(item, read=None) for item in report.coverage))

    assert without_read(fast) == without_read(plain)
    return fast, read


def test_only_the_first_session_of_a_kind_is_read_row_by_row(tmp_path):
    report, read = analyzed(tmp_path, [session(number) for number in range(20)])
    rows = len(session(0).rows)
    assert (report.rejection_count, report.incidents[0].recipients[0]) == (20, "b0@fabrikam.com")
    # Once for its shape, once for what its refusals share; none as a session of its own.
    assert read < 2 * rows
    assert report.deliveries[0].refused == 20


@pytest.mark.parametrize(
    "other",
    [
        {"recipient": '"b c"@fabrikam.com'},
        {"recipient": "bü{}@fabrikam.com"},
        {"recipient": "b{}@fabrikam.com> ORCPT=rfc822;<x"},
        {"sender": ""},
        {"sender": "a@servername.com> AUTH=<"},
        {"reply": "550 5.7.64 TenantAttribution; Relay Access Denied, ATTR36. [x.outlook.com]"},
        {"reply": "550 5.7.64 TenantAttribution; ü"},
        {"reply": f"{REFUSAL[:-1]} 2016-12-01T03:09:50.123Z 08DD3F]"},
        {"reply": "550-5.7.64 TenantAttribution; Relay Access Denied"},
        {"remote": "10.0.0.9:2525"},
        {"connector": '"A, b"'},
        {"connector": "Ä b"},
    ],
    ids=str,
)
def test_what_is_written_otherwise_is_told_alike(tmp_path, other):
    report, _ = analyzed(tmp_path, [session(n, **(other if n % 3 == 1 else {})) for n in range(12)])
    assert report.rejection_count == 12


@pytest.mark.parametrize(
    "reply", ["550 5.1.10 RESOLVER.ADR.RecipientNotFound", "550 5.7.640 x", "550 5.4.1 Relay 5.7.64.1"]
)
def test_another_failure_in_the_same_place_is_no_refusal(tmp_path, reply):
    """Codes are in the shape of a session, texts are not."""
    report, _ = analyzed(tmp_path, [session(n, reply if n % 3 == 1 else REFUSAL) for n in range(12)])
    assert report.rejection_count == 8
    assert sum(other_error.count for other_error in report.other_errors) == 4


def test_the_clock_in_replies_is_compared(tmp_path):
    """Every reply is one sample, as for sessions that are read row by row."""
    made = []
    for number in range(10):
        at = cases.KB_TIME + timedelta(seconds=number - 100)
        made.append(session(number, f"{REFUSAL[:-1]} {at:%Y-%m-%dT%H:%M:%S.000Z} 08DD3F{number}]"))
    report, _ = analyzed(tmp_path, made)
    (skew,) = report.clocks
    assert (skew.source, skew.samples, round(skew.seconds)) == ("bracket", 10, 101)


def test_times_that_run_backwards_are_read_row_by_row(tmp_path):
    made = [session(number) for number in range(6)]
    rows = made[3].rows
    at = next(number for number, row in enumerate(rows) if row[2] == REFUSAL)
    rows[at] = (5, *rows[at][1:])
    report, _ = analyzed(tmp_path, made)
    assert report.rejection_count == 6


def test_two_machines_in_one_log_are_counted_apart(tmp_path):
    made = [session(number) for number in range(8)]
    for one in made[::2]:
        one.local = one.local.replace("248.7", "248.8")
    report, _ = analyzed(tmp_path, made)
    assert report.rejection_count == 8


def test_what_changes_during_an_outage_decides_for_each(tmp_path, monkeypatch):
    """A certificate that expires on the way, and TLS negotiations that fail now and then."""
    monkeypatch.setattr(folding, "FEW", 2)
    ends = cases.KB_TIME + timedelta(minutes=30)
    leaf = replace_dates(cases.LEAF, ends)
    made = []
    for number in range(30):
        send_session = SendSession(cases.KB_TIME + timedelta(minutes=2 * number), f"08D50D3D{number:08X}")
        send_session.connect()
        if number % 9 == 4:
            row = "TLS negotiation failed with error SocketError"
            made.append(send_session.add(250, "*", "", row).add(260, "-", "", "Remote"))
            continue
        send_session.starttls(leaf, one_row=True)
        made.append(
            send_session.message(700, "a@servername.com", [(f"b{number}@fabrikam.com", REFUSAL)], number).quit(2000)
        )
    folded, _ = analyzed(tmp_path, made)
    monkeypatch.setattr(folding, "FEW", 1000)
    plain = pipeline.analyze(tmp_path, rules=rules())
    (incident,), (whole,) = folded.incidents, plain.incidents
    assert incident.folded_count
    assert tuple(incident.every_rejection()) == whole.rejections
    assert len({rejection.signals for rejection in whole.rejections}) > 2
    assert folded.findings == plain.findings


def replace_dates(cert, ends):
    from dataclasses import replace as changed

    assert isinstance(cert, Cert)
    return changed(cert, not_after=f"{ends:%Y-%m-%dT%H:%M:%SZ}")
