"""Sessions of protocol logs that went well, counted in bulk: the report is the one of reading row by row."""

import csv
import random
import subprocess
import sys
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import smtp_case
from examples import examples, thinned
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import evtx_analyzer as ea
from evtx_analyzer import clock
from evtx_analyzer.ingest import events as ingest_events
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import Acceptance, CountedRows, CountedSessions, LogRow, SessionRows
from evtx_analyzer.read.exchange_log import read_exchange_log
from evtx_analyzer.report.document import to_json
from evtx_analyzer.rules import Rules
from evtx_analyzer.smtp import blocks, fold
from evtx_analyzer.smtp.blocks import Layouts, read_blocks
from evtx_analyzer.smtp.fold import ProtocolReader
from evtx_analyzer.smtp.outcomes import Layout, MailRows
from samples import cases
from samples.smtp import REFUSAL, SEND_HEADER, SendSession, iso, send_log

OK = "250 2.1.5 Recipient OK"
SOURCE = Origin(source="SEND.LOG")
SETTINGS = settings(max_examples=examples(40))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Small files are read in bulk too, and sessions cross many blocks."""
    monkeypatch.setattr(ingest_events, "_LARGE", 0)
    monkeypatch.setattr(blocks, "_BLOCK", 3000)
    monkeypatch.setattr(blocks, "_MOST_CARRIED", 20_000)


BUSY = "421 4.3.2 Service not available [AM5.mail.protection.outlook.com 2016-12-01T03:09:56.456Z 0A]"
ODD_ROWS: dict[int, list[tuple[Any, ...]]] = {
    2: [(600, "*", '"quoted, text"', "certificate subject"), (601, "?", "x", "")],
    3: [(602, ">", " MAIL FROM:<x@y>"), (603, "<", "250"), (604, "<", "no code")],
    4: [(605, "*", "CN=Müller", " Sending certificate "), (606, "*", "A" * 40, "CERTIFICATE THUMBPRINT")],
    7: [(607, "<", BUSY)],
    8: [(608, "<", "500-5.3.3 one"), (609, "<", "500 5.3.3 two"), (610, "*", "4", "5"), (611, ">", "5 x")],
    9: [(612, "*", "CN=Müller", "Certificate subject"), (613, "<", "550 5.7.64 ü")],
}


def failed(made, chosen):
    """A session that fails before TLS."""
    if chosen.random() < 0.5:
        made.add(0, "*", "", "attempting to connect").add(9, "*", "", "Failed to connect")
        return made.add(9, "-", "", "Local")
    made.connect()
    row = ["", f"TLS negotiation failed with error {chosen.choice(['SocketError', 'NoCredentials'])}"]
    return made.add(250, "*", *chosen.choice([row, row[::-1]])).add(260, "-", "", "Remote")


def session(number, chosen, at):
    """One session with something of everything that a log may hold."""
    made = SendSession(
        cases.KB_TIME + at,
        f"08D50D3D{number:08X}",
        connector=chosen.choice(["Outbound to Office 365", "Outbound to Office 365", "Ä C", '"Ä, C"']),
        local=chosen.choice(["10.10.248.7:16547", "10.10.248.8:25", "[2001:db8::7]:4711", "10.10.248.7"]),
    )
    what = chosen.randrange(18)
    if what == 0:
        return failed(made, chosen)
    made.connect(helo=chosen.choice(["mail.servername.com", "MAIL"]))
    if what != 1:
        made.starttls(chosen.choice([cases.LEAF, cases.LEAF, cases.MICROSOFT, None]), one_row=chosen.random() < 0.3)
    for row in ODD_ROWS.get(what, ()):
        made.add(*row)
    apart = chosen.choice([1, 420, 420])  # rows of messages one millisecond apart are not in the order of their numbers
    for item in range(chosen.randrange(4)):
        reply = chosen.choice([OK] * 6 + [REFUSAL, "550 5.1.10 no such user", "451 4.7.500 195.35.7.64 busy"])
        made.message(700 + apart * item, "a@servername.com", [("b@fabrikam.com", reply)] * chosen.randrange(1, 3), item)
    if what != 5:
        made.quit(2300)
    if what == 6:
        made.add(2500, chosen.choice(["*", "-", "<"]), "421 late", "late")
    return made


def log(seed, count, *, spread):
    chosen = random.Random(seed)
    sessions = [session(number, chosen, timedelta(milliseconds=chosen.randrange(spread))) for number in range(count)]
    return send_log(sessions)


def damaged(text, chosen):
    """The rows with one of the things that happen to logs."""
    rows = text.split("\r\n")
    at = chosen.randrange(5, len(rows))
    what = chosen.randrange(10)
    if what == 0:
        rows[at] = rows[at][: chosen.randrange(len(rows[at]) + 1)]
    elif what == 1:
        rows[at:at] = SEND_HEADER.format(date=iso(cases.KB_TIME)).splitlines()
    elif what == 2:
        rows.insert(at, "\ufeff#Log-type: SMTP Receive Protocol Log")
    elif what == 3:
        rows.insert(at, "#Fields: date-time,connector-id,session-id,sequence-number,event,data,context")
    elif what == 4:
        rows[at:at] = rows[at : at + 3]
    elif what == 5:
        rows[at] = rows[at].replace("T", "T2", 1).replace("-12-", "-13-")
    elif what == 6:
        rows[at] += "\0\0"
    elif what == 7:
        del rows[at]
    elif what == 8:
        rows[at] += ",more"
    return "\r\n".join(rows)


def without_read(report):
    """The report but for how many rows were read one by one."""
    return to_json(replace(report, coverage=tuple(replace(item, read=None) for item in report.coverage)))


def same(folder, rules=None):
    rules = rules or smtp_case.rules()
    fast = ea.analyze(folder, rules=rules, anyway=True)
    assert without_read(fast) == without_read(ea.analyze(folder, rules=rules, anyway=True, prefilter=False))
    return fast


@given(
    seed=st.integers(0, 1 << 20),
    count=st.integers(1, 30),
    spread=st.sampled_from([1, 3000, 100_000]),
    block=st.sampled_from([3000, 3000, 30_000]),
)
@SETTINGS
def test_fast_equals_plain_on_generated_logs(tmp_path, monkeypatch, seed, count, spread, block):
    """Sessions interleaved, cut off, cut in two files, damaged, refused; the same bytes of report."""
    monkeypatch.setattr(blocks, "_BLOCK", block)
    chosen = random.Random(seed)
    folder = tmp_path / f"{seed}-{count}-{spread}"
    folder.mkdir(exist_ok=True)
    text = log(seed, count, spread=spread)
    if chosen.random() < 0.7:
        text = damaged(text, chosen)
    rows = text.splitlines(keepends=True)
    cut = chosen.randrange(1, len(rows)) if chosen.random() < 0.5 else len(rows)
    (folder / "SEND1.LOG").write_text("".join(rows[:cut]), encoding="utf-8", newline="")
    if cut < len(rows):
        header = SEND_HEADER.format(date=iso(cases.KB_TIME)) if chosen.random() < 0.8 else ""
        start = chosen.randrange(cut) if chosen.random() < 0.3 else cut  # a copy of what the first file has
        (folder / "SEND2.LOG").write_text(header + "".join(rows[start:]), encoding="utf-8", newline="")
    same(folder)


@pytest.mark.parametrize("row", thinned(range(8, 24, 3), 6))
def test_a_row_that_is_cut_anywhere_swallows_no_other(tmp_path, row):
    lines = log(3, 12, spread=5000).splitlines(keepends=True)
    whole = lines[row].rstrip("\r\n")
    for at in range(1, len(whole), 4):
        folder = tmp_path / str(at)
        folder.mkdir()
        text = "".join([*lines[:row], whole[:at] + "\r\n", *lines[row + 1 :]])
        (folder / "SEND.LOG").write_text(text, encoding="utf-8", newline="")
        same(folder)


@pytest.mark.parametrize("end", ["", "\r\n", "\r\n\0\0\0\0", "\r\n\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_fast_equals_plain_in_every_encoding_and_with_every_end(tmp_path, encoding, end):
    text = log(7, 12, spread=5000).rstrip("\r\n")
    (tmp_path / "SEND.LOG").write_bytes((text + end).encode(encoding, "replace"))
    report = same(tmp_path)
    assert sum(delivery.sessions for delivery in report.deliveries) >= 6


def test_a_receive_log_is_counted_but_for_new_clients_and_refusals(tmp_path):
    rows = [
        f"{iso(cases.KB_TIME + timedelta(seconds=at))},EX01\\Default EX01,08D50D3D{at:08X},{at % 3},10.0.0.{at % 2}:25,"
        f"10.0.0.9:4711,{'>' if at % 5 else '<'},{'550 5.7.64 TenantAttribution' if at == 77 else '250 OK'},"
        for at in range(200)
    ]
    head = SEND_HEADER.format(date=iso(cases.KB_TIME)).replace("Send", "Receive")
    (tmp_path / "RECV.LOG").write_text(head + "".join(f"{row}\r\n" for row in rows), newline="")
    report = same(tmp_path)
    assert [(item.kind, item.records) for item in report.coverage] == [("receive-connector", 200)]
    assert [(other_error.kind, other_error.count) for other_error in report.other_errors] == [("receive-connector", 1)]


def test_a_signal_that_looks_for_more_than_failures_is_not_missed(tmp_path):
    """A rule set that watches for a banner: then every row must be looked at."""
    signals = tmp_path / "rules/signals"
    signals.mkdir(parents=True)
    (signals / "banner.yml").write_text(
        "title: made\nid: 7d1f8c55-6f6b-4d58-9d6e-2f0f5d1c6b98\nstatus: test\n"
        "logsource: {product: exchange, service: smtp-send}\n"
        "detection:\n  s:\n    data|startswith: '221 '\n  condition: s\n"
    )
    case = tmp_path / "case"
    case.mkdir()
    (case / "SEND.LOG").write_text(log(3, 8, spread=9000), encoding="utf-8", newline="")
    report = same(case, Rules.load(tmp_path / "rules"))
    assert any("banner" in rejection.signals for incident in report.incidents for rejection in incident.rejections)


@pytest.mark.parametrize(("reply", "refused"), [(REFUSAL, 1), (OK, 0)])
def test_a_session_that_an_earlier_file_has_in_part_is_told_once(tmp_path, reply, refused):
    """A merged copy beside its first part: rows that both have count once, and the session is one."""
    whole = (
        SendSession(cases.KB_TIME, "08D50D3D00000001")
        .connect()
        .starttls(cases.LEAF)
        .message(700, "a@servername.com", [("b@fabrikam.com", reply)], 1)
        .quit(1300)
    )
    rows = send_log([whole]).splitlines(keepends=True)
    (tmp_path / "A.LOG").write_text("".join(rows[:-4]), newline="")
    (tmp_path / "B.LOG").write_text("".join(rows), newline="")
    report = same(tmp_path)
    assert [(delivery.sessions, delivery.refused) for delivery in report.deliveries] == [(1, refused)]
    assert sum(len(incident.rejections) for incident in report.incidents) == refused


def test_sessions_that_end_in_one_moment_are_told_in_the_order_of_their_last_rows(tmp_path):
    """The newest TLS error is that of the session whose end stands last in the log."""
    made = [
        SendSession(cases.KB_TIME, f"08D50D3D0000000{number}")
        .connect()
        .add(250, "*", "", f"TLS negotiation failed with error {error}")
        .add(260, "-", "", "Remote")
        for number, error in ((1, "SocketError"), (2, "NoCredentials"), (3, "UnknownCredentials"))
    ]
    rows = send_log(made).splitlines(keepends=True)
    rows[-3:] = [rows[-2], rows[-3], rows[-1]]
    rows.insert(-1, rows[-4].replace("000000", "000001"))  # of another session, and never ended
    (tmp_path / "SEND.LOG").write_text("".join(rows), newline="")
    report = same(tmp_path)
    assert [delivery.tls_error for delivery in report.deliveries if delivery.tls_failures] == ["UnknownCredentials"]


def test_clocks_are_compared_in_the_same_rows_however_they_are_read(tmp_path):
    """Only in the first 2,000 lines of a file: counted here in the text itself."""
    sessions = [
        SendSession(cases.KB_TIME.replace(microsecond=0) + timedelta(seconds=5 * at), f"08D50D3D{at:08X}")
        .connect()
        .message(700, "a@servername.com", [("b@fabrikam.com", OK)], at)
        .quit(1300)
        for at in range(150)
    ]
    text = send_log(sessions)
    banners = [number for number, line in enumerate(text.splitlines(), 1) if "ready at" in line]
    assert banners[-1] > 2000
    (tmp_path / "SEND.LOG").write_text(text, newline="")
    assert [clock.samples for clock in same(tmp_path).clocks] == [sum(number <= 2000 for number in banners)]


def test_coverage_says_how_many_rows_were_read(tmp_path):
    """Only those of the session that failed otherwise are; all are with ``prefilter=False``."""
    sessions = [
        SendSession(cases.KB_TIME + timedelta(seconds=5 * at), f"08D50D3D{at:08X}")
        .connect()
        .message(
            700, "a@servername.com", [("b@fabrikam.com", {7: "550 5.1.10 no such user", 9: REFUSAL}.get(at, OK))], at
        )
        .quit(1300)
        for at in range(20)
    ]
    text = send_log(sessions)
    rows = [row for row in text.splitlines() if not row.startswith("#")]
    failed = sum(",08D50D3D00000007," in row for row in rows)
    (tmp_path / "SEND.LOG").write_text(text, newline="")
    (fast,) = same(tmp_path).coverage
    assert (fast.records, fast.read) == (len(rows), failed)
    (plain,) = ea.analyze(tmp_path, prefilter=False).coverage
    assert (plain.records, plain.read) == (len(rows), len(rows))


@pytest.mark.slow
def test_numpy_is_not_loaded_for_smtp_logs(tmp_path):
    (tmp_path / "SEND.LOG").write_text(log(3, 8, spread=9000), encoding="utf-8", newline="")
    code = (
        "import sys, evtx_analyzer, evtx_analyzer.ingest.events as events\nevents._LARGE = 0\n"
        f"evtx_analyzer.analyze({str(tmp_path)!r}, anyway=True)\nassert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------------------- parts


def layout(**values):
    """A layout of a session without anything."""
    names = {"sent": None, "tls": None, "received": None, "own_names": (), "local": 0}
    names |= {"banners": (), "hellos": (), "messages": ()}
    return Layout(**{**names, **values})


def found(text, learn):
    return list(read_blocks(BytesIO(text.encode()), ProtocolReader(SOURCE, Layouts(learn))))


def rows_of(given):
    """All rows that are given, alone or as a whole session."""
    for item in given:
        if isinstance(item, LogRow):
            yield item
        elif isinstance(item, SessionRows):
            for cells, line, offset in zip(item.rows, item.lines, item.offsets, strict=True):
                origin = replace(item.origin, line=line, offset=offset)
                yield LogRow(
                    origin=origin, log="SMTP Send Protocol Log", values=dict(zip(item.columns, cells, strict=True))
                )


def test_what_is_alike_is_told_once_and_counted():
    sessions = [
        SendSession(
            cases.KB_TIME.replace(microsecond=0) + timedelta(seconds=at),
            f"08D50D3D{at:08X}",
            local=f"10.1.1.{at % 2}:{5000 + at}",
        )
        .connect()
        .starttls(cases.LEAF)
        .message(700, f"{at}@servername.com", [("b@fabrikam.com", OK)], at)
        .quit(1300)
        for at in range(50)
    ]
    told = []

    def learn(rows):
        told.append(rows)
        return layout(messages=(MailRows(25, 20, (21,)),))

    given = found(send_log(sessions), learn)
    assert len(told) == 1
    assert [row.values["sequence-number"] for row in told[0]] == [str(number) for number in range(29)]
    groups = [item for item in given if isinstance(item, CountedSessions)]
    outcomes = [outcome for group in groups for outcome in group.outcomes]
    assert len(outcomes) == 50
    assert {group.local.partition(":")[0] for group in groups} == {"10.1.1.0", "10.1.1.1"}
    assert sorted(item.first for item in outcomes) == [session.start for session in sessions]
    (first,) = min(outcomes, key=lambda item: item.first).accepted
    assert first == Acceptance(sessions[0].start + timedelta(milliseconds=1110), "servername.com", ("fabrikam.com",))
    counted = [item for item in given if isinstance(item, CountedRows)]
    assert sum(counted_rows.rows for counted_rows in counted) == 50 * 29
    assert max(counted_rows.last for counted_rows in counted) == sessions[-1].start + timedelta(milliseconds=1386)
    assert not [item for item in given if isinstance(item, LogRow | SessionRows)]


def test_a_session_of_which_a_row_is_given_is_given_whole_and_as_read_one_by_one():
    text = log(11, 25, spread=4000)
    plain = [item for item in read_exchange_log(BytesIO(text.encode()), SOURCE) if isinstance(item, LogRow)]
    given = list(rows_of(found(text, lambda _: layout())))
    assert 0 < len(given) < len(plain)
    for name in {item.values["session-id"] for item in given}:
        rows = [item for item in plain if item.values["session-id"] == name]
        ended = next((at for at, row in enumerate(rows) if row.values["event"] == "-"), len(rows)) + 1
        # What comes behind a disconnect row belongs to no session that went before.
        assert [row for row in given if row.values["session-id"] == name] in (rows, rows[ended:])


def test_a_shape_that_is_no_routine_is_given_every_time():
    text = log(5, 25, spread=40_000)
    plain = [item for item in read_exchange_log(BytesIO(text.encode()), SOURCE) if isinstance(item, LogRow)]
    given = found(text, lambda _: None)
    assert sum(isinstance(item, SessionRows) for item in given) > 10
    assert sorted(rows_of(given), key=lambda item: item.origin.line) == plain


CELLS = st.text(alphabet='ab ,"\0é+2', max_size=12)


@given(
    st.lists(
        st.tuples(CELLS, st.sampled_from(["<", ">", "*", "+", "-", "--"]), CELLS, CELLS, st.booleans()), max_size=8
    )
)
def test_cells_of_regular_rows_are_those_of_a_csv_reader(rows):
    lines = []
    for number, (connector, event, data, context, quoted) in enumerate(rows):
        cells = [
            f"2016-12-0{number + 1}T03:09:55.456Z",
            connector,
            f"08D50D3D{number:08X}",
            str(number),
            "10.1.1.1:25",
            "",
            event,
            data,
            context,
        ]
        out = [
            f'"{cell.replace(chr(34), chr(34) * 2)}"' if quoted and ("," in cell or '"' in cell) else cell
            for cell in cells
        ]
        lines.append(",".join(out))
    for line in lines:
        match = regular(line)
        if match is None:
            continue
        cells = next(csv.reader([line], strict=True))
        assert len(cells) >= 9
        assert clock.from_iso(match[1][:24].decode()) == clock.from_iso(cells[0])
        assert match[2].decode() == cells[2]
        assert match[3][:1].decode() == cells[6]
        if cells[6] == "<" and cells[7][:3].isdigit():
            assert match[3].decode().lstrip('<,"') == cells[7][: 4 if cells[7][3:4] in (" ", "-") else 3]
        if cells[6] == ">" and " " in cells[7]:
            assert match[3].decode().lstrip('>,"').rstrip() == cells[7].partition(" ")[0]


def regular(line):
    """The row as it is taken apart; None where it must be read by the plain reader."""
    match = fold._SEND.fullmatch(line.encode() + b"\r\n")
    if match is None or b'"' in match[1].partition(b",")[2][: match.start(2) - 26]:
        return None  # a quoted connector: no outcome is made of it
    return match if match[3][:1] != b"*" or fold._reduced(match[3]) else None


@pytest.mark.parametrize(
    "row",
    [
        "2016-12-01T03:09:55.456Z,C,08D50D3D00000001,0,,,*,data",
        "2016-12-01T03:09:60.456Z,C,08D50D3D00000001,0,,,*,,",
        "2016-22-01T03:09:55.456Z,C,08D50D3D00000001,0,,,*,,",
        "2016-12-01T30:00:00.000Z,C,08D50D3D00000001,0,,,*,,",
        "2016-12-01T03:09:55.45:Z,C,08D50D3D00000001,0,,,*,,",
        "2016-12-01 03:09:55.456Z,C,08D50D3D00000001,0,,,*,,",
        "2016-12-01T03:09:55.456Z,C,08D50D3D0000001,0,,,*,,",
        '2016-12-01T03:09:55.456Z,"C,D",08D50D3D00000001,0,,,*,,',
        '2016-12-01T03:09:55.456Z,C,08D50D3D00000001,0,,,*,"open,',
        '2016-12-01T03:09:55.456Z,C,08D50D3D00000001,0,,,*,"a,b",c\rd',
        '2016-12-01T03:09:55.456Z,C,08D50D3D00000001,0,,,*,"a,b",c\r\r',
        "#Fields: date-time,connector-id",
        "",
    ],
)
def test_rows_of_which_anything_is_uncertain_are_not_regular(row):
    assert regular("2016-12-01T03:09:55.456Z,C,08D50D3D00000001,0,,,*,d,c")
    assert regular(row) is None


def test_a_row_of_a_month_that_does_not_exist_stops_no_log_of_a_receive_connector():
    row = "2016-{}-01T03:09:55.456Z,EX01\\Default,08D50D3D00000001,{},10.0.0.1:25,10.0.0.9:4711,<,NOOP,\r\n"
    header = SEND_HEADER.format(date="2016-12-01T00:00:00.000Z").replace("SMTP Send", "SMTP Receive")
    text = header + "".join(row.format(month, number) for number, month in enumerate(("11", "19", "12", "00", "10")))
    (counted,) = [item for item in found(text, lambda _: None) if isinstance(item, CountedRows)]
    assert (counted.first.month, counted.last.month, counted.rows) == (10, 12, 4)
