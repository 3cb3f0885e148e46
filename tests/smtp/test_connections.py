"""Connections of the IIS SMTP service that went well, counted in bulk: the report is the one of reading row by row."""

import random
from datetime import timedelta
from io import BytesIO

import pytest
from examples import examples, thinned
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from smtp_case import rules

import evtx_analyzer as ea
from evtx_analyzer.ingest import events as ingest_events
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import Acceptance, CountedSessions, LogRow
from evtx_analyzer.report.document import to_json
from evtx_analyzer.smtp import blocks
from evtx_analyzer.smtp.blocks import Layouts, read_blocks
from evtx_analyzer.smtp.connections import ConnectionReader
from evtx_analyzer.smtp.outcomes import Layout, Message
from samples import cases
from samples.smtp import FRONT_END, REFUSAL, W3C_HEADER, iis_row

START = cases.KB_TIME.replace(microsecond=0)
SETTINGS = settings(max_examples=examples(60))
INBOUND = "{time} 10.1.1.1 client.example SMTPSVC1 SMTP1 10.1.1.9 0 EHLO - +client.example 250 0 1 1 0 SMTP - - - -\r\n"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Small files are read in bulk too, and connections cross many blocks."""
    monkeypatch.setattr(ingest_events, "_LARGE", 0)
    monkeypatch.setattr(blocks, "_BLOCK", 3000)
    monkeypatch.setattr(blocks, "_MOST_CARRIED", 20_000)


def talk(chosen):
    """Rows (milliseconds, ``>`` or ``<``, verb, text) of one connection, with something of everything."""
    zone = f"{START:%a, %d %b %Y %H:%M:%S} +0000"
    rows = [("<", "", f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at {zone}"), (">", "EHLO", "SMTP1.example")]
    rows += [("<", "", f"250-{FRONT_END} Hello [203.0.113.7]")]
    if chosen.random() < 0.6:
        rows += [(">", "STARTTLS", ""), ("<", "", "220 2.0.0 SMTP server ready"), (">", "EHLO", "SMTP1.example")]
        rows += [("<", "", "250-ok")]
    for _ in range(chosen.randrange(1, 3)):
        reply = chosen.choice(["250 2.1.5 Recipient OK"] * 6 + [REFUSAL, "550 5.1.10 unknown", "451 4.7.0 195.35.7.64"])
        rows += [(">", chosen.choice(["MAIL", "MAIL", "mail"]), "FROM:<a@servername.com>")]
        rows += [("<", "", "250 2.1.0 Sender OK")] if chosen.random() < 0.9 else []
        rows += [(">", "RCPT", "TO:<b@fabrikam.com>"), ("<", "", reply)]
        if reply.startswith("250"):
            rows += [(">", "DATA", "") if chosen.random() < 0.7 else (">", "BDAT", "1234 LAST")]
            rows += [("<", "", "354 go ahead")] if rows[-1][1] == "DATA" else []
            rows += [("<", "", "250 2.6.0 queued")] if chosen.random() < 0.9 else []
        else:
            rows += [(">", "RSET", ""), ("<", "", "250 2.0.0 Resetting")]
    if chosen.random() < 0.85:
        rows += [(">", chosen.choice(["QUIT", "QUIT", "quit"]), "")]
        rows += [("<", "", "221 2.0.0 bye")] if chosen.random() < 0.5 else []
    if chosen.random() < 0.1:
        rows.insert(chosen.randrange(len(rows)), ("<", "", chosen.choice(["+250 odd", "", "no code", "220 again"])))
    after, timed = chosen.randrange(200), []
    for row in rows:
        after += chosen.choice([0, 0, 15, 90, 90, 700]) if chosen.random() < 0.98 else chosen.choice([4000, -50])
        timed.append((max(0, after), *row))
    return timed


def log(seed, count, *, addresses, spread):
    chosen = random.Random(seed)
    rows = []
    for _ in range(count):
        start = START + timedelta(milliseconds=chosen.randrange(spread))
        remote = f"216.32.181.{chosen.randrange(addresses) + 1}"
        computer = "SMTP2" if chosen.random() < 0.01 else "SMTP1"
        for at, (after, kind, verb, text) in enumerate(talk(chosen)):
            rows.append(
                (start + timedelta(milliseconds=after), at, iis_row(start, after, computer, remote, kind, verb, text))
            )
    rows += [(START, -1, INBOUND.format(time=f"{START:%Y-%m-%d %H:%M:%S}"))] * chosen.randrange(3)
    lines = [text for *_, text in sorted(rows, key=lambda row: row[0])]
    what, at = chosen.randrange(12), chosen.randrange(len(lines))
    if what == 0:
        lines[at] = lines[at][: chosen.randrange(len(lines[at]))] + "\r\n"
    elif what == 1:
        lines[at:at] = W3C_HEADER.format(date="2016-12-01 00:00:00").splitlines(keepends=True)
    elif what == 2:
        lines.insert(at, "#Fields: date time c-ip cs-username s-computername cs-method cs-uri-query\r\n")
    elif what == 3:
        cells = lines[at].split(" ")
        lines[at] = " ".join([*cells[:15], "-", *cells[16:]])
    elif what == 4:
        lines[at] = lines[at].replace("Outbound", "OUTBOUND")
    elif what == 5:
        lines[-1] = lines[-1].rstrip()
    return lines


def without_read(report):
    """The report but for how many rows were read one by one."""
    return to_json(replace(report, coverage=tuple(replace(item, read=None) for item in report.coverage)))


def same(folder):
    fast = ea.analyze(folder, rules=rules(), anyway=True)
    assert without_read(fast) == without_read(ea.analyze(folder, rules=rules(), anyway=True, prefilter=False))
    return fast


@given(
    seed=st.integers(0, 1 << 20),
    count=st.integers(1, 25),
    addresses=st.sampled_from([1, 3, 20]),
    spread=st.sampled_from([1, 5000, 60_000, 1_000_000]),
)
@SETTINGS
def test_fast_equals_plain_on_generated_logs(tmp_path, seed, count, addresses, spread):
    """Connections to one address that overlap, end without QUIT, or are cut in two files."""
    folder = tmp_path / f"{seed}-{count}-{addresses}-{spread}"
    folder.mkdir(exist_ok=True)
    lines = log(seed, count, addresses=addresses, spread=spread)
    header = W3C_HEADER.format(date="2016-12-01 00:00:00")
    cut = random.Random(seed).choice([len(lines), len(lines) // 2 + 1])
    for number, part in enumerate((lines[:cut], lines[cut:])):
        if part:
            (folder / f"ex16120{number}.log").write_text(header + "".join(part), encoding="utf-8", newline="")
    same(folder)


@pytest.mark.parametrize("row", thinned(range(3, 12), 5))
def test_a_row_that_is_cut_anywhere_swallows_no_other(tmp_path, row):
    """Cut behind its verb, a row and the next one look like one row of the usual form."""
    lines = log(0, 10, addresses=1, spread=60000)
    header = W3C_HEADER.format(date="2016-12-01 00:00:00")
    whole = lines[row]
    for at in {*range(20, len(whole), 7), whole.find("SMTPSVC1 SMTP1 - 25 ") + 23}:
        folder = tmp_path / str(at)
        folder.mkdir()
        text = header + "".join([*lines[:row], whole[:at] + "\r\n", *lines[row + 1 :]])
        (folder / "ex161201.log").write_text(text, encoding="utf-8", newline="")
        same(folder)


def good(start, remote="216.32.181.1"):
    rows = [
        (10, "<", "", f"220 {FRONT_END}"),
        (10, ">", "EHLO", "x"),
        (90, "<", "", "250-ok"),
        (90, ">", "MAIL", "FROM:<a@b.c>"),
    ]
    rows += [
        (170, "<", "", "250 ok"),
        (170, ">", "RCPT", "TO:<d@e.f>"),
        (250, "<", "", "250 ok"),
        (250, ">", "DATA", ""),
    ]
    rows += [(300, "<", "", "354 go"), (900, "<", "", "250 queued"), (900, ">", "QUIT", ""), (980, "<", "", "221 bye")]
    return [iis_row(start, after, "SMTP1", remote, kind, verb, text) for after, kind, verb, text in rows]


def layout(**values):
    """A layout of a session without anything."""
    names = {"sent": None, "tls": None, "received": None, "own_names": (), "local": 0}
    names |= {"banners": (), "hellos": (), "messages": ()}
    return Layout(**{**names, **values})


def found(lines, learn):
    text = W3C_HEADER.format(date="2016-12-01 00:00:00") + "".join(lines)
    return list(read_blocks(BytesIO(text.encode()), ConnectionReader(Origin(source="ex.log"), Layouts(learn))))


def test_what_is_alike_is_told_once_and_counted():
    lines = [row for at in range(40) for row in good(START + timedelta(seconds=5 * at))]
    told = []

    def learn(rows):
        told.append(rows)
        return layout(messages=(Message(9, 3, (5,)),))

    given = found(lines, learn)
    assert len(told) == 1
    assert len(told[0]) == 11, "the answer to QUIT belongs to no session"
    groups = [item for item in given if isinstance(item, CountedSessions)]
    outcomes = [outcome for group in groups for outcome in group.outcomes]
    assert sorted(item.first for item in outcomes) == [START + timedelta(seconds=5 * at) for at in range(40)]
    assert {(group.host, outcome.connector) for group in groups for outcome in group.outcomes} == {
        ("SMTP1", "SMTPSVC1")
    }
    (first,) = min(outcomes, key=lambda item: item.first).accepted
    assert first == Acceptance(START, "b.c", ("e.f",))
    assert not [item for item in given if isinstance(item, LogRow)]


@pytest.mark.parametrize(("gap", "loud"), [(1, True), (2, True), (3, False)])
def test_a_connection_near_one_that_was_left_open_is_given(gap, loud):
    """Its rows might belong to the other one: two seconds are what reading row by row allows."""
    start = START + timedelta(seconds=gap)
    given = found([*good(START)[:5], *good(start)], lambda _: layout())
    assert sum(isinstance(item, LogRow) for item in given) == (17 if loud else 5)


def test_connections_to_one_address_that_overlap_are_given():
    one, other = good(START), good(START + timedelta(seconds=1))
    given = found([*one[:6], *other[:6], *one[6:], *other[6:]], lambda _: layout())
    assert sum(isinstance(item, LogRow) for item in given) == 24
    apart = found([*one[:6], *good(START, "216.32.181.2")[:12], *one[6:]], lambda _: layout())
    assert not [item for item in apart if isinstance(item, LogRow)]
