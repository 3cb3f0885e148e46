"""An error that nobody foresaw ends a source, or one record of it, and not the case."""

from __future__ import annotations

import logging
from io import BytesIO

import pytest

import evtx_analyzer as ea
from evtx_analyzer.discover.archive.expand import Archives
from evtx_analyzer.discover.source import Source
from evtx_analyzer.errors import OptionError, unforeseen
from evtx_analyzer.ingest import events, examine
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.normalize import normalize
from evtx_analyzer.read import HEAD, read, recognize
from evtx_analyzer.report import language
from samples import cases

CASE = cases.kb_3212877()
FILES = {"capi2.evtx": CASE[cases.CAPI2_FILE], "SEND.LOG": CASE[cases.SEND_FILE]}
BAD = "bad.LOG"


class SurpriseError(Exception):
    """An error of no known kind."""


class PanicException(BaseException):
    """A panic of a library in Rust."""


@pytest.fixture
def case(tmp_path):
    for name, data in {**FILES, BAD: FILES["SEND.LOG"].replace(b"08D", b"08E")}.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def failing(plain, error, told):
    """The function, which fails where its arguments tell of the bad file."""

    def function(*arguments, **named):
        if told(arguments):
            raise error
        return plain(*arguments, **named)

    return function


def path_of(arguments):
    return getattr(arguments[1], "path", "") == BAD


def break_discovery(monkeypatch, error):
    monkeypatch.setattr(Archives, "expand", failing(Archives.expand, error, path_of))


def break_the_first_look(monkeypatch, error):
    bad = FILES["SEND.LOG"].replace(b"08D", b"08E")[:HEAD]
    monkeypatch.setattr(examine, "recognize", failing(recognize, error, lambda told: told[0] == bad))


def break_reading(monkeypatch, error):
    monkeypatch.setattr(events, "read", failing(read, error, lambda told: told[2].source == BAD))


def break_every_record(monkeypatch, error):
    monkeypatch.setattr(events, "normalize", failing(normalize, error, lambda told: told[0].origin.source == BAD))


BROKEN = [break_discovery, break_the_first_look, break_reading, break_every_record]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("error", [SurpriseError("of\nall"), RecursionError("deep"), PanicException("x; (y)")])
def test_an_unforeseen_error_is_a_loss_of_that_source(broken, error, case, monkeypatch, caplog):
    plain = ea.analyze([case / name for name in FILES])
    broken(monkeypatch, error)
    with caplog.at_level(logging.ERROR, "evtx_analyzer"):
        report = ea.analyze(case)
    assert {loss.origin.source for loss in report.losses} == {BAD}
    told = [loss.reason.removesuffix("; it holds the text 5.7.64") for loss in report.losses]
    assert not any("in no format that is read" in text for text in told)
    assert any("holds the text 5.7.64" in loss.reason for loss in report.losses) or broken in (
        break_discovery,
        break_the_first_look,
    )
    reasons = set(told) - {"holds the text 5.7.64, and no row of it could be read"}
    assert reasons
    assert all(type(error).__name__ in text and text.endswith("; please report this") for text in reasons)
    assert not any("\n" in text for text in reasons)
    report.save(case.with_suffix(".json"))
    assert report.incidents == plain.incidents
    assert (report.verdict.cause, report.verdict.grade) == (plain.verdict.cause, plain.verdict.grade)
    assert next(source.status for source in report.sources if source.path == BAD) == "not-read"
    assert type(error).__name__ in caplog.text
    assert "Traceback" in caplog.text
    say = language.load("de")
    assert [text for loss in report.losses for text in (loss.reason, loss.extent) if not say.knows(text)] == []


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), OptionError("--tz: expected a zone")])
def test_what_is_no_fault_of_a_source_passes(broken, error, case, monkeypatch):
    broken(monkeypatch, error)
    with pytest.raises(type(error)):
        ea.analyze(case)


def test_one_record_that_fails_is_one_loss_and_the_others_are_read(case, monkeypatch):
    plain = normalize
    monkeypatch.setattr(
        events,
        "normalize",
        failing(plain, SurpriseError("no"), lambda told: (told[0].origin.source, told[0].origin.line) == (BAD, 6)),
    )
    report = ea.analyze(case, prefilter=False)
    assert [(loss.origin.line, loss.extent) for loss in report.losses] == [(6, "1 record")]
    assert next(source.status for source in report.sources if source.path == BAD) == "partial"


def test_a_source_on_whose_records_it_always_fails_is_given_up(case, monkeypatch):
    """A loss for each of a million rows would be no report."""
    break_every_record(monkeypatch, SurpriseError("no"))
    report = ea.analyze(case)
    assert len(report.losses) <= 22
    assert "the rest of the file" in {loss.extent for loss in report.losses}


def test_an_archive_that_cannot_be_unpacked_for_want_of_space_is_a_loss(case, monkeypatch):
    break_discovery(monkeypatch, OSError(28, "No space left on device"))
    report = ea.analyze(case)
    assert {(loss.origin.source, loss.reason) for loss in report.losses} == {
        (BAD, "reading stopped: No space left on device")
    }


def test_a_source_that_fails_when_it_is_searched_for_the_code_is_a_loss():
    """A text log of no known kind is read once more for 5.7.64: that this failed is told."""
    data, times = b"#Log-type: Agent Log\r\n#Fields: a,b\r\n" + b"x,y\r\n" * 400_000, []

    def opened():
        times.append(0)
        if len(times) > 3:
            raise OSError(5, "Input/output error")
        return BytesIO(data)

    source = examine.ExaminedSource(
        source=Source(origin=Origin(source="a.log"), size=len(data), open=opened),
        sha256="",
        size=len(data),
        syntax="exchange-log",
        holds_code=None,
    )
    times += [0, 0, 0]
    account = SourceAccount(source)
    assert [loss.reason for loss in account.losses()] == ["reading stopped: Input/output error"]


def test_the_text_of_an_error_is_the_same_in_every_run():
    text = unforeseen("a", SurpriseError(f"bad {object()!r}"))
    assert text == "this program failed on it (SurpriseError: bad <object object>); please report this"


def test_the_text_of_an_error_can_be_written_and_is_short(caplog):
    with caplog.at_level(logging.CRITICAL, "evtx_analyzer"):
        assert unforeseen("a", ValueError("\ud800")) == "this program failed on it (ValueError: ?); please report this"
        assert len(unforeseen("a", ValueError("x" * 10_000))) < 300
