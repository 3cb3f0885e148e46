"""What a session adds to the delivery history: stated case by case, and the same by layout as read row by row."""

import random
from datetime import timedelta

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import evtx_analyzer as ea
from evtx_analyzer.ingest import events as ingest_events
from evtx_analyzer.model.records import Acceptance
from evtx_analyzer.smtp import blocks
from evtx_analyzer.smtp import outcomes as smtp_outcomes
from evtx_analyzer.smtp.deliveries import History
from evtx_analyzer.smtp.outcomes import outcome_of
from samples import cases
from samples.smtp import SEND_HEADER, W3C_HEADER, SendSession, iis_row, iso, send_log

SETTINGS = settings(max_examples=examples(40))
OK = "250 2.1.5 Recipient OK"
START = cases.KB_TIME.replace(microsecond=456000)


def online(name, received):
    """Not what Exchange Online is told by, but both of what it may be told by."""
    return (name, received.thumbprint if received else None)


def outcomes(folder, monkeypatch, *, prefilter):
    """The outcomes of all sessions, of those that were counted as they were made, and how many these are."""
    made, counted = [], []
    monkeypatch.setattr(History, "add", lambda _, session: made.append(outcome_of(session)))
    monkeypatch.setattr(History, "add_outcomes", lambda _, items, *__: counted.extend(items))
    monkeypatch.setattr(smtp_outcomes, "is_online", online)
    ea.analyze(folder, anyway=True, prefilter=prefilter)
    return sorted(map(repr, [*made, *counted])), len(counted)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(ingest_events, "_LARGE", 0)
    monkeypatch.setattr(blocks, "_BLOCK", 3000)


def only(folder, monkeypatch, text, name="SEND.LOG"):
    (folder / name).write_text(text, encoding="utf-8", newline="")
    (folder / f"2{name}").write_text("", encoding="utf-8")
    made = []
    monkeypatch.setattr(History, "add", lambda _, session: made.append(outcome_of(session)))
    ea.analyze(folder, anyway=True, prefilter=False)
    (outcome,) = made
    return outcome


def test_an_accepted_message_names_both_domains_and_the_way_it_went(tmp_path, monkeypatch):
    made = SendSession(START, "08D50D3D00000001").connect().starttls(cases.LEAF)
    recipients = [("b@Fabrikam.com", OK), ("c@contoso.com", "550 5.1.10 unknown"), ("d@FABRIKAM.com", OK)]
    made.message(700, "a@ServerName.com", recipients, 1).quit(1300)
    outcome = only(tmp_path, monkeypatch, send_log([made]))
    assert (outcome.first, outcome.connector) == (START, "Outbound to Office 365")
    assert (outcome.tls, outcome.seen_address, outcome.online) == (True, "203.0.113.7", True)
    assert outcome.thumbprint == cases.LEAF.thumbprint
    assert [(item.sender_domain, item.recipient_domains) for item in outcome.accepted] == [
        ("servername.com", ("fabrikam.com",))
    ]


@pytest.mark.parametrize(("sender", "domain"), [("", ""), ("postmaster", "postmaster"), ("x@y@Z.de", "z.de")])
def test_the_null_sender_is_told_from_no_sender(tmp_path, monkeypatch, sender, domain):
    made = SendSession(START, "08D50D3D00000001").connect().message(700, sender, [("b@c.de", OK)], 1).quit(1300)
    outcome = only(tmp_path, monkeypatch, send_log([made]))
    assert [item.sender_domain for item in outcome.accepted] == [domain]
    assert outcome.tls is False


def test_a_log_that_begins_inside_a_session_shows_no_sender_and_no_absence_of_tls(tmp_path, monkeypatch):
    made = SendSession(START, "08D50D3D00000001").connect().message(700, "a@b.de", [("b@c.de", OK)], 1).quit(1300)
    rows = send_log([made]).splitlines(keepends=True)
    cut = next(at for at, row in enumerate(rows) if ",>,BDAT" in row)
    outcome = only(tmp_path, monkeypatch, "".join(rows[:5] + rows[cut:]))
    assert [(item.sender_domain, item.recipient_domains) for item in outcome.accepted] == [(None, ())]
    assert outcome.tls is None


def test_of_an_iis_connection(tmp_path, monkeypatch):
    start = START.replace(microsecond=0)
    talk = [
        (10, "<", "", "220 mx.fabrikam.com ESMTP"),
        (10, ">", "EHLO", "x"),
        (90, "<", "", "250-mx.fabrikam.com Hello [203.0.113.9]"),
        (90, ">", "MAIL", "FROM:<>"),
        (170, "<", "", "250 ok"),
        (170, ">", "RCPT", "TO:<d@E.f>"),
        (250, "<", "", "250 ok"),
        (250, ">", "DATA", ""),
        (300, "<", "", "354 go"),
        (2900, "<", "", "250 queued"),
        (2900, ">", "QUIT", ""),
    ]
    rows = [iis_row(start, after, "SMTP1", "216.32.181.1", *row) for after, *row in talk]
    text = W3C_HEADER.format(date="2016-12-01 00:00:00") + "".join(rows)
    outcome = only(tmp_path, monkeypatch, text, "ex161201.log")
    assert outcome.accepted == (Acceptance(start + timedelta(seconds=2), "", ("e.f",)),)
    assert (outcome.tls, outcome.seen_address, outcome.connector) == (False, "203.0.113.9", "SMTPSVC1")


def session(number, chosen):
    """A session in which something differs that an outcome shows."""
    made = SendSession(
        START + timedelta(milliseconds=chosen.randrange(60_000)),
        f"08D50D3D{number:08X}",
        connector=chosen.choice(["Outbound to Office 365", "Partner", "Ä"]),
    )
    if chosen.random() < 0.1:
        made.add(0, "*", "", f"Proxying inbound session with session id 08D5{number:012X}")
    made.connect(banner=f"FT{chosen.randrange(3)}.mail.protection.outlook.com")
    if chosen.random() < 0.8:
        made.starttls(chosen.choice([cases.LEAF, cases.MICROSOFT, None]), one_row=chosen.random() < 0.4)
    for item in range(chosen.randrange(4)):
        sender = chosen.choice(["", "a@servername.com", "a@Contoso.com", "noc", "a@bücher.de", '"x, y"@z.de'])
        recipients = [
            (f"r{at}@{chosen.choice(['a', 'B', 'c'])}.de", chosen.choice([OK] * 9 + ["550 5.1.10 unknown"]))
            for at in range(chosen.randrange(1, 4))
        ]
        made.message(700 + 420 * item, sender, recipients, item)
        if chosen.random() < 0.2:
            made.add(1000 + 420 * item, ">", "RSET", "").add(1001 + 420 * item, "<", "250 2.0.0 Resetting", "")
    return made.quit(2400) if chosen.random() < 0.9 else made


@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 40))
@SETTINGS
def test_outcomes_by_layout_are_those_of_reading_row_by_row(tmp_path, monkeypatch, seed, count):
    chosen = random.Random(seed)
    folder = tmp_path / f"{seed}-{count}"
    folder.mkdir(exist_ok=True)
    rows = send_log([session(number, chosen) for number in range(count)]).splitlines(keepends=True)
    cut = chosen.randrange(6, len(rows)) if chosen.random() < 0.5 else len(rows)
    (folder / "SEND1.LOG").write_text("".join(rows[:cut]), encoding="utf-8", newline="")
    header = SEND_HEADER.format(date=iso(START))
    (folder / "SEND2.LOG").write_text(header + "".join(rows[cut:]), encoding="utf-8", newline="")
    with monkeypatch.context() as patch:
        fast, _ = outcomes(folder, patch, prefilter=True)
    with monkeypatch.context() as patch:
        plain, counted = outcomes(folder, patch, prefilter=False)
    assert fast == plain
    assert counted == 0


def test_most_sessions_of_a_usual_log_are_counted(tmp_path, monkeypatch):
    """So that the test above says something."""
    chosen = random.Random(3)
    text = send_log([session(number, chosen) for number in range(400)])
    (tmp_path / "SEND.LOG").write_text(text, encoding="utf-8", newline="")
    with monkeypatch.context() as patch:
        fast, counted = outcomes(tmp_path, patch, prefilter=True)
    assert len(fast) == 400
    assert counted > 100


@pytest.mark.parametrize("sequence", ["²", "1²", "x", ""])
def test_a_damaged_sequence_number_stops_nothing(tmp_path, monkeypatch, sequence):
    """A superscript is a digit for ``str.isdigit`` and none for ``int``."""
    made = SendSession(START, "08D50D3D00000001").connect().message(700, "a@b.de", [("b@c.de", OK)], 1).quit(1300)
    text = send_log([made]).replace("00000001,2,", f"00000001,{sequence},")
    assert only(tmp_path, monkeypatch, text).connector == "Outbound to Office 365"
