"""Absence is only shown where logs were read: an empty, zeroed or beheaded log is a loss, other files are none."""

from __future__ import annotations

import pytest
from places import SAMPLES

import evtx_analyzer as ea
from samples.cases import noise
from samples.evtx_writer import write_evtx

ZEROS = bytes(200_000)


def quiet(folder):
    """A case that was read to its end and shows no refusal."""
    (folder / "send.log").write_bytes(
        b"#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: SMTP Send Protocol Log\r\n"
        b"#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context"
        b"\r\n2016-12-01T03:00:00.000Z,Out,08D50D3D97300001,0,10.0.0.1:1,203.0.113.9:25,*,,attempting to connect\r\n"
    )
    return folder


def report(folder, files=()):
    for name, content in dict(files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return ea.analyze(quiet(folder))


def lost(found):
    return {loss.origin.source for loss in found.losses}


def test_a_case_that_was_read_is_clean(tmp_path):
    assert (report(tmp_path).exit_code, lost(report(tmp_path))) == (0, set())


@pytest.mark.parametrize("content", [b"", ZEROS, bytes(10)], ids=["empty", "zeros", "ten zeros"])
@pytest.mark.parametrize(
    "name",
    ["capi2-EX01.evtx", "SEND9.LOG", "a.xml", "b.csv", "c.eml", "d.zip", "e.msg", "f.json", "g.evt", "SmtpSend/x",
     "EX1/ProtocolLog/today", "SMTPSVC1/ex161201", "h.7z", "i.gz"],
)  # fmt: skip
def test_a_log_that_holds_nothing_is_a_loss(tmp_path, name, content):
    found = report(tmp_path, {name: content})
    assert lost(found) == {name}
    assert found.exit_code == 3
    (status,) = [source for source in found.sources if source.path == name]
    assert status.status == "not-read"


def test_every_one_of_several_zeroed_files_is_named(tmp_path):
    found = report(tmp_path, {"SEND1.LOG": ZEROS, "SEND2.LOG": ZEROS, "x.evtx": ZEROS, "y.evtx": b"", "z.log": b""})
    assert lost(found) == {"SEND1.LOG", "SEND2.LOG", "x.evtx", "y.evtx", "z.log"}


def test_a_send_log_whose_beginning_is_zeroed_is_a_loss(tmp_path):
    found = report(tmp_path, {"SEND1.LOG": bytes(1 << 17) + b"2016-12-01 some row\r\n" * 100})
    assert lost(found) == {"SEND1.LOG"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("readme.txt", b""),
        ("notes.md", b""),
        ("picture.png", ZEROS),
        ("setup.log", b"This is the log of another program.\r\n"),
        ("web.xml", b"<web/>"),
        ("Logs/readme", b""),
        ("table.csv", b"a,b\r\n1,2\r\n"),
        ("zeros-behind.log", b"This is the log of another program.\r\n" + ZEROS),
    ],
)
def test_other_files_are_none(tmp_path, name, content):
    found = report(tmp_path, {name: content})
    assert (lost(found), found.exit_code) == (set(), 0)


@pytest.mark.parametrize("content", [b"", ZEROS, b"MZ\x90\0 no log at all" * 900])
def test_a_capi2_log_that_holds_nothing_is_unread_and_not_absent(tmp_path, content):
    """The refusals of the sample, with its CAPI2 export gone: no cause may be excluded by it."""
    for path in (SAMPLES / "kb-3212877").rglob("*.LOG"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = report(tmp_path, {"Microsoft-Windows-CAPI2%4Operational.evtx": content})
    assert lost(found) == {"Microsoft-Windows-CAPI2%4Operational.evtx"}
    assert found.verdict.grade != "probable"


def test_carved_chunks_beside_a_case_are_read(tmp_path):
    from samples import capi2, cases

    export = write_evtx(noise(capi2.Recorder(cases.HOST), cases.KB_TIME, 60).events)
    found = report(tmp_path, {"carved-0001.bin": export[4096:]})
    (status,) = [source for source in found.sources if source.path == "carved-0001.bin"]
    assert (status.kind, status.status) == ("capi2", "partial")
    (coverage,) = [item for item in found.coverage if item.kind == "capi2"]
    assert coverage.records == export.count(b"**\0\0")
    assert found.exit_code == 3
