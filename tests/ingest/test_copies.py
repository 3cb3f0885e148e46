"""A log that comes twice counts once, and two mails of one second count twice."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import timedelta

import pytest
from faults import FAULTS
from smtp_case import rules
from worlds import completed, files, world

import evtx_analyzer as ea
from evtx_analyzer.ingest.copies import first_of, rows_digest

NAMES = {"C": "SEND.LOG", "iis": "ex260310.log", "tracking": "MSGTRK.LOG"}


def made_files(form):
    made = world(0, form)
    FAULTS["missing_intermediate"].apply(made)
    made.mails.append(made.mail(timedelta(minutes=-30)))
    return files(completed(made))


def analyzed(folder, written):
    for name, content in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ea.analyze(folder, rules=rules())


def counts(report):
    """Refusals, and the sessions of each row of the delivery history."""
    history = sorted((row.sessions, row.accepted, row.refused) for row in report.deliveries)
    return report.rejection_count, history, (report.verdict.cause, report.verdict.grade), len(report.losses)


def parts(log):
    lines = log.splitlines(keepends=True)
    return "".join(line for line in lines if line[0] == "#"), [line for line in lines if line[0] != "#"]


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


COPIES = {
    "the file twice": lambda name, log: {f"copy/{name}": log},
    "in a zip beside it": lambda name, log: {"logs.zip": zipped(f"EX01/{name}", log)},
    "saved with other line ends": lambda name, log: {f"copy/{name}": log.replace("\r\n", "\n")},
    "saved with other line ends, in a zip": lambda name, log: {"logs.zip": zipped(name, log.replace("\r\n", "\n"))},
    "saved as UTF-16": lambda name, log: {f"copy of {name}": log.encode("utf-16")},
    "saved with a byte order mark": lambda name, log: {f"copy of {name}": log.encode("utf-8-sig")},
    "with itself behind it": lambda name, log: {name: log + log},
    "three times": lambda name, log: {name: log * 3},
    "with itself behind it, in UTF-16": lambda name, log: {name: log.encode("utf-16") * 2},
    "with itself behind it, and once more beside it": lambda name, log: {name: log + log, "all.log": log},
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("form", NAMES)
def test_a_copy_changes_no_count(tmp_path, form, copy):
    written = made_files(form)
    name = NAMES[form]
    once = analyzed(tmp_path / "once", written)
    assert once.rejection_count == 2
    assert counts(analyzed(tmp_path / "twice", {**written, **copy(name, written[name])})) == counts(once)


def test_what_is_repeated_is_said_and_is_no_loss(tmp_path):
    written = made_files("iis")
    report = analyzed(tmp_path, {**written, "ex260310.log": written["ex260310.log"] * 2})
    (notes,) = [row.notes for row in report.coverage if row.kind == "iis-smtp"]
    assert "it holds the same contents 2 times, one after the other, and they count once" in notes
    assert not report.losses


IN_PART = {
    "overlapping parts": lambda head, rows: {"a.log": head + "".join(rows[:40]), "b.log": head + "".join(rows[20:])},
    "overlapping parts in one file": lambda head, rows: {"a.log": head + "".join(rows[:40] + rows[20:])},
    "rows behind rows": lambda head, rows: {"a.log": head + "".join(rows * 2)},
    "two copies, sorted": lambda head, rows: {"a.log": head + "".join(sorted(rows * 2))},
    "two copies, the last row first": lambda head, rows: {"a.log": head + "".join(sorted(rows * 2)[::-1])},
    "each row twice": lambda head, rows: {"a.log": head + "".join(row * 2 for row in rows)},
}


@pytest.mark.parametrize("places", IN_PART.values(), ids=IN_PART)
@pytest.mark.parametrize("form", ["C", "tracking"])
def test_a_row_of_one_session_or_message_is_one_refusal_wherever_it_stands(tmp_path, form, places):
    written = made_files(form)
    log = written.pop(NAMES[form])
    head, rows = parts(log)
    report = analyzed(tmp_path, {**written, **places(head, rows)})
    assert report.rejection_count == 2
    assert report.verdict.cause == "missing-intermediate"


def test_the_places_of_a_refusal_that_stands_twice_are_listed(tmp_path):
    written = made_files("C")
    head, rows = parts(written["SEND.LOG"])
    report = analyzed(tmp_path, {**written, "SEND.LOG": head + "".join(rows * 2)})
    for rejection in (rejection for incident in report.incidents for rejection in incident.rejections):
        first, again = (origin.line for origin in rejection.origins)
        assert again - first == len(rows)


def refused(session, sequence, recipient="b@adatum.example", time="08:14:01.500"):
    row = f"2026-03-10T{time}Z,Outbound,{session},{{}},10.0.0.5:6,216.32.181.234:25,{{}},{{}},\r\n"
    return row.format(sequence, ">", f"RCPT TO:<{recipient}>") + row.format(
        sequence + 1, "<", "550 5.7.64 TenantAttribution; Relay Access Denied"
    )


SEND_HEAD = "#Log-type: SMTP Send Protocol Log\r\n#Fields: date-time,connector-id,session-id,sequence-number,\
local-endpoint,remote-endpoint,event,data,context\r\n"


@pytest.mark.parametrize(
    "rows",
    [
        [refused("08D50D3D00000001", 1), refused("08D50D3D00000002", 1)],  # two sessions
        [refused("08D50D3D00000001", 1), refused("08D50D3D00000001", 3, time="08:14:01.501")],  # a millisecond later
        [refused("08D50D3D00000001", 1), refused("08D50D3D00000001", 3, "c@adatum.example")],  # two recipients
    ],
)
def test_refusals_of_one_moment_are_two_where_a_session_or_a_recipient_differs(tmp_path, rows):
    assert analyzed(tmp_path, {"SEND.LOG": SEND_HEAD + "".join(rows)}).rejection_count == 2


def test_replies_of_one_moment_without_their_commands_are_two(tmp_path):
    hits = [refused("08D50D3D00000001", number).splitlines(keepends=True)[1] for number in (1, 3)]
    assert analyzed(tmp_path, {"SEND.LOG": SEND_HEAD + "".join(hits)}).rejection_count == 2


def test_two_mails_of_one_second_in_an_iis_log_are_two(tmp_path):
    """The same sender, recipient, second: only a whole log that is repeated is a repetition."""
    written = made_files("iis")
    head, rows = parts(written["ex260310.log"])
    at = next(number for number, row in enumerate(rows) if "550+5.7.64" in row)
    first = max(number for number, row in enumerate(rows[:at]) if re.search(r" 220\+\S+\.outlook", row))
    last = next(number for number in range(at, len(rows)) if " QUIT " in rows[number])
    session = rows[first : last + 1]
    log = head + "".join(rows[: last + 1] + session + rows[last + 1 :])
    assert analyzed(tmp_path, {**written, "ex260310.log": log}).rejection_count == 3


NCSA = (
    '203.0.113.9 - OutboundConnectionCommand [10/Mar/2026:08:14:02 +0000] "RCPT -?TO:<b@x> SMTP" 0 4\r\n'
    "203.0.113.9 - OutboundConnectionResponse [10/Mar/2026:08:14:02 +0000] "
    '"- -?550+5.7.64+TenantAttribution;+Relay+Access+Denied SMTP" 0 70\r\n'
)


def test_a_few_rows_without_a_header_that_are_alike_are_two_mails(tmp_path):
    assert analyzed(tmp_path, {"nc260310.log": NCSA * 2}).rejection_count == 2


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"abab", 2),
        (b"aaa", 1),
        (b"abcabcabc", 3),
        (b"abcabcab", 0),
        (b"abcabd", 0),
        (b"ab", 0),
        (b"a", 0),
        (b"", 0),
        (bytes(range(256)) * 4096, 256 * 2048),
        ((b"x" * 300_000 + b"y") * 2, 300_001),
        (b"x" * 300_000 + b"y" + b"x" * 300_000 + b"z", 0),
    ],
)
def test_the_part_that_is_repeated(data, part):
    assert first_of(io.BytesIO(data), len(data)) == part


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_the_digest_of_rows_does_not_depend_on_how_they_were_saved(encoding):
    assert rows_digest("a;b\r\nc\r\n".encode(encoding)) == rows_digest(b"a;b\nc\n")
    assert rows_digest("a;b\r\nd\r\n".encode(encoding)) != rows_digest(b"a;b\nc\n")


def test_texts_that_differ_in_a_letter_are_no_copies(tmp_path):
    written = made_files("C")
    other = written["SEND.LOG"].replace("\r\n", "\n").replace("08DE", "08DF")
    if other == written["SEND.LOG"].replace("\r\n", "\n"):
        other = other.replace("b@adatum.example", "d@adatum.example")
    assert analyzed(tmp_path, {**written, "copy/SEND.LOG": other}).rejection_count > 2


def test_a_large_log_that_is_repeated_is_read_once(tmp_path):
    written = made_files("C")
    head, rows = parts(written["SEND.LOG"])
    filler = "".join(
        f"2026-03-10T07:00:00.000Z,Outbound,08D50D3D1{number:07X},0,,216.32.181.234:25,*,,attempting to connect\r\n"
        for number in range(12_000)
    )
    log = head + filler + "".join(rows)
    assert len(log) > 1 << 20
    once = analyzed(tmp_path / "once", {**written, "SEND.LOG": log})
    twice = analyzed(tmp_path / "twice", {**written, "SEND.LOG": log + log})
    assert counts(twice) == counts(once)
    assert once.rejection_count == 2


def test_a_large_log_of_which_a_part_is_repeated_has_each_refusal_once(tmp_path):
    written = made_files("C")
    head, rows = parts(written["SEND.LOG"])
    filler = "".join(
        f"2026-03-10T07:00:00.000Z,Outbound,08D50D3D1{number:07X},0,,216.32.181.234:25,*,,attempting to connect\r\n"
        for number in range(12_000)
    )
    report = analyzed(tmp_path, {**written, "SEND.LOG": head + "".join(rows) + filler + "".join(rows)})
    assert report.rejection_count == 2


def test_an_outage_that_stands_twice_in_one_log_is_counted_once(tmp_path):
    """So many refusals are folded."""
    rows = [
        refused(f"08D50D3D{number:08X}", 1, time=f"08:{number // 60:02}:{number % 60:02}.5") for number in range(310)
    ]
    log = SEND_HEAD + "".join(rows) + refused("08D50D3D99999999", 1, time="09:00:00.000") + "".join(rows)
    assert analyzed(tmp_path, {"SEND.LOG": log}).rejection_count == 311
