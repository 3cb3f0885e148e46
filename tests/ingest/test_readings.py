"""A source that fails or changes between two readings is a loss, whichever reading it is; one that does not is none."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO

import pytest

import evtx_analyzer as ea
from evtx_analyzer.discover.source import Source
from evtx_analyzer.ingest import evidence, examine
from evtx_analyzer.ingest.capi2_scan import evidence_for
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.read.evtx import reader
from evtx_analyzer.report import language
from samples import cases

CASE = cases.kb_3212877()
CAPI2, SEND = CASE[cases.CAPI2_FILE], CASE[cases.SEND_FILE]
NAMES = {"capi2.evtx": CAPI2, "SEND.LOG": SEND}
# What is opened when, with one thread: whether it is an archive, the first look, the first reading, the second.
READINGS = [("capi2.evtx", 3), ("capi2.evtx", 4), ("SEND.LOG", 3)]
INPUT_OUTPUT = 5


class Gone:
    """A stream that fails after some bytes, as one on a share that goes away does."""

    def __init__(self, data):
        self._stream = BytesIO(data)

    def read(self, size=-1):
        data = self._stream.read(size)
        if not data:
            raise OSError(INPUT_OUTPUT, "Input/output error")
        return data

    def close(self):
        self._stream.close()


def refuse(data):
    raise FileNotFoundError(2, "No such file or directory")


FAULTS = {
    "fails": lambda _: Gone(b""),
    "fails in its middle": lambda data: Gone(data[: len(data) // 2]),
    "is unlinked": refuse,
    "is empty": lambda _: BytesIO(b""),
    "is cut": lambda data: BytesIO(data[: len(data) // 2]),
    "is cut by one byte": lambda data: BytesIO(data[:-1]),
    "holds other contents": lambda data: BytesIO(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
    "is zeroed": lambda data: BytesIO(bytes(len(data))),
    "is replaced by a longer one": lambda data: BytesIO(bytes(len(data) + 1000)),
    "is appended to": lambda data: BytesIO(data + b"x"),
}


def source(name, fault=None, opening=0, times=None):
    """The file of a case; at one of its openings it is what the fault makes of it."""
    count = [] if times is None else times

    def opened():
        count.append(name)
        return fault(NAMES[name]) if fault and len(count) == opening else BytesIO(NAMES[name])

    return Source(origin=Origin(source=name), size=len(NAMES[name]), open=opened)


def analyzed(**faulty):
    return ea.analyze([faulty.get(name) or source(name) for name in NAMES], jobs=1)


@pytest.fixture(scope="module")
def sound():
    return ea.analyze([source(name) for name in NAMES], jobs=1)


def test_a_case_without_a_fault_has_no_loss(sound):
    assert (sound.verdict.grade, sound.losses) == ("probable", ())


def test_how_often_a_source_is_opened():
    for name, times in (("capi2.evtx", 4), ("SEND.LOG", 3)):
        count = []
        analyzed(**{name: source(name, times=count)})
        assert len(count) == times


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize(("name", "opening"), READINGS)
def test_a_fault_of_any_reading_is_a_loss(name, opening, what, sound):
    report = analyzed(**{name: source(name, FAULTS[what], opening)})
    assert [loss.origin.source for loss in report.losses] == [name] * len(report.losses)
    assert report.losses
    status = next(item for item in report.sources if item.path == name)
    assert status.status in ("partial", "not-read")
    if status.sha256:
        assert status.sha256 == hashlib.sha256(NAMES[name]).hexdigest()
    say = language.load("de")
    assert [text for loss in report.losses for text in (loss.reason, loss.extent) if not say.knows(text)] == []


def test_a_longer_file_of_other_contents_is_not_one_that_was_appended_to():
    report = analyzed(**{"SEND.LOG": source("SEND.LOG", FAULTS["is replaced by a longer one"], 3)})
    assert any(loss.reason.startswith("its contents changed while it was analyzed") for loss in report.losses)


@pytest.mark.parametrize("what", ["holds other contents", "is zeroed", "is empty", "is cut"])
def test_the_digest_of_other_bytes_than_those_analyzed_is_not_shown(what):
    report = analyzed(**{"SEND.LOG": source("SEND.LOG", FAULTS[what], 3)})
    assert next(item.sha256 for item in report.sources if item.path == "SEND.LOG") == ""


def test_what_a_reading_of_other_bytes_says_is_left_out():
    """The second reading finds another case's export under the same name: none of its events is evidence."""
    other = cases.later_success()[cases.CAPI2_FILE]
    report = analyzed(**{"capi2.evtx": source("capi2.evtx", lambda _: BytesIO(other), 4)})
    assert report.losses
    assert {operation.subject for operation in report.operations} <= {
        operation.subject for operation in analyzed().operations
    }


def test_what_is_appended_meanwhile_changes_nothing_else(sound):
    """An exchange server writes on: what was there at the first look is analyzed, and its digest is shown."""
    report = analyzed(**{"SEND.LOG": source("SEND.LOG", lambda data: BytesIO(data + data), 3)})
    assert [loss.reason.partition(":")[0] for loss in report.losses] == ["it was written to while it was analyzed"]
    assert report.incidents == sound.incidents
    assert next(item.sha256 for item in report.sources if item.path == "SEND.LOG") == hashlib.sha256(SEND).hexdigest()


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(cases.later_success()[cases.CAPI2_FILE])
    other.replace(path)


def overwritten(path):
    """In place, with as many bytes and the same time: neither the folder nor the inode shows it."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {"replaced": replaced, "unlinked": lambda path: path.unlink(), "overwritten": overwritten}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("before", ["failures", "evidence_for"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_changes_between_two_readings_is_a_loss(change, before, jobs, tmp_path, monkeypatch):
    """With two threads, the digest is made beside the readings: of which bytes is chance, the loss is none."""
    monkeypatch.setattr(examine, "LARGE", 1)
    for name, data in NAMES.items():
        (tmp_path / name).write_bytes(data)
    plain = getattr(evidence, before)

    def changed(*arguments):
        change(tmp_path / "capi2.evtx")
        return plain(*arguments)

    monkeypatch.setattr(evidence, before, changed)
    report = ea.analyze(tmp_path, jobs=jobs)
    assert {loss.origin.source for loss in report.losses} == {"capi2.evtx"}


def test_a_file_that_is_only_touched_or_moved_back_is_no_loss(tmp_path, monkeypatch, sound):
    """Shares give the same file another number, backups another time: the contents are what counts."""
    for name, data in NAMES.items():
        (tmp_path / name).write_bytes(data)
    plain = evidence_for

    def touched(*arguments):
        copy = tmp_path / "copy"
        copy.write_bytes(CAPI2)
        copy.replace(tmp_path / "capi2.evtx")
        os.utime(tmp_path / "capi2.evtx", ns=(0, 0))
        return plain(*arguments)

    monkeypatch.setattr(evidence, "evidence_for", touched)
    report = ea.analyze(tmp_path)
    assert (report.losses, report.sources) == ((), sound.sources)


def test_a_record_that_only_the_second_reading_decodes_and_cannot_is_a_loss(monkeypatch, sound):
    """The first reading counts it, for no signal looks for it; the second finds the certificate's name in it."""
    steps = [step for operation in sound.operations for step in operation.steps if step.event_id == 11]
    number = steps[0].origin.record
    decoded, recovered = reader._decoded, reader._recovered
    monkeypatch.setattr(reader, "_decoded", lambda chunk: (item for item in decoded(chunk) if item[0] != number))
    monkeypatch.setattr(
        reader,
        "_recovered",
        lambda chunk, head, *rest: ValueError() if head.id == number else recovered(chunk, head, *rest),
    )
    for prefilter in (True, False):
        report = ea.analyze([source(name) for name in NAMES], jobs=1, prefilter=prefilter)
        assert [(loss.origin.record, loss.reason) for loss in report.losses] == [
            (number, "the record cannot be decoded (ValueError)")
        ]
