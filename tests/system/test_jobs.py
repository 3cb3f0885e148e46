"""What goes on beside the analysis in threads (``--jobs``) changes nothing in its report."""

import hashlib
import io
import threading
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import CHECKOUT
from typer.testing import CliRunner

import evtx_analyzer as ea
from evtx_analyzer.cli import app
from evtx_analyzer.discover import hashing as digests
from evtx_analyzer.discover import read_ahead as ahead
from evtx_analyzer.discover.read_ahead import Ahead
from evtx_analyzer.ingest import examine
from evtx_analyzer.report.document import to_json

KB = CHECKOUT / "samples/kb-3212877"


@pytest.fixture(autouse=True)
def all_large(monkeypatch):
    """Small files are handled as large ones are."""
    monkeypatch.setattr(examine, "LARGE", 0)
    monkeypatch.setattr(digests, "LARGE", 0)


def zipped(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(KB.rglob("*")):
            if file.is_file():
                archive.write(file, f"EX01/{file.relative_to(KB).as_posix()}")
    return path


def test_the_report_does_not_depend_on_the_number_of_threads(tmp_path):
    for case in (KB, zipped(tmp_path / "case.zip")):
        reports = {to_json(ea.analyze(case, jobs=jobs)) for jobs in (None, 1, 2, 4, 9)}
        assert len(reports) == 1
        assert threading.active_count() < 20


def test_a_damaged_member_is_told_as_it_is_without_threads(tmp_path):
    data = bytearray(zipped(tmp_path / "case.zip").read_bytes())
    data[len(data) // 3] ^= 0xFF
    (tmp_path / "case.zip").write_bytes(bytes(data))
    alone = ea.analyze(tmp_path / "case.zip", jobs=1, anyway=True)
    assert alone.losses
    assert to_json(alone) == to_json(ea.analyze(tmp_path / "case.zip", jobs=3, anyway=True))


def test_digests_are_those_of_the_files():
    report = ea.analyze(KB, jobs=2)
    assert {source.path: source.sha256 for source in report.sources} == {
        path.relative_to(KB).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in KB.rglob("*")
        if path.is_file()
    }


def test_a_log_without_a_row_of_a_known_kind_that_holds_the_code_is_a_loss(tmp_path):
    """Also where it is hashed in a thread and not searched for the code beside."""
    text = "#Log-type: Some Other Log\r\n#Fields: date-time,what\r\n2016-12-01T00:00:00.000Z,550 5.7.64 said\r\n"
    (tmp_path / "OTHER.LOG").write_text(text)
    (tmp_path / "QUIET.LOG").write_text(text.replace("5.7.64", "5.7.1"))
    for jobs in (1, 2):
        report = ea.analyze([tmp_path, KB], jobs=jobs)
        (loss,) = report.losses
        assert loss.origin.source.rpartition("/")[2] == "OTHER.LOG"
        assert loss.reason.startswith("holds the text 5.7.64 but is in no format that is read")


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_thread_at_all_is_no_number_of_threads(jobs):
    with pytest.raises(ea.OptionError, match="expected a number of threads"):
        ea.analyze(KB, jobs=jobs)
    assert CliRunner().invoke(app, ["analyze", str(KB), "--jobs", str(jobs)]).exit_code == 2


# --------------------------------------------------------------------------------------------- reading ahead


@given(st.binary(max_size=300), st.lists(st.integers(-1, 90), max_size=12), st.integers(1, 60))
def test_what_is_read_ahead_is_what_is_there(data, sizes, block):
    before, ahead._BLOCK = ahead._BLOCK, block
    try:
        plain, stream = io.BytesIO(data), Ahead(io.BytesIO(data))
        for size in sizes:
            assert stream.read(size) == plain.read(size)
        assert stream.read() == plain.read()
        assert stream.read(5) == b""
        stream.close()
    finally:
        ahead._BLOCK = before


class Endless:
    """A stream that never ends, and knows whether it was closed."""

    closed = False
    failure = ""

    def read(self, size):
        assert not self.closed, "nothing may read a stream that is closed"
        return bytes(size)

    def close(self):
        self.closed = True


def test_closing_ends_the_thread_before_the_stream():
    inner: Any = Endless()
    stream = Ahead(inner)
    assert stream.read(3) == bytes(3)
    stream.close()
    assert inner.closed
    assert not stream._thread.is_alive()


class Failing(Endless):
    """A stream that fails behind its first block, as a fetched file may."""

    def __init__(self, error):
        self.error, self.count = error, 0

    def read(self, size):
        self.count += 1
        if self.count > 1:
            raise self.error
        return b"x" * min(size, 10)


def test_what_goes_wrong_is_raised_where_the_bytes_are_asked_for():
    inner: Any = Failing(OSError(5, "Input/output error"))
    stream = Ahead(inner)
    assert stream.read(10) == b"x" * 10
    with pytest.raises(OSError, match="Input/output error"):
        stream.read(1)
    stream.close()


def test_why_a_member_ended_is_known_when_it_has_ended():
    inner: Any = io.BytesIO(b"abc")
    inner.failure = "damaged"
    stream = Ahead(inner)
    assert stream.failure == ""
    assert stream.read() == b"abc"
    assert stream.failure == "damaged"
    stream.close()
