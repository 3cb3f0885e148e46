"""Events of a certificate are found in the whole log, those of their tasks near them; with and without a search."""

import re
from datetime import timedelta
from io import BytesIO

import pytest
from capi2_events import LEAF, START, chain, policy, retrieval, start

import evtx_analyzer as ea
from evtx_analyzer.capi2.neighborhoods import Neighborhoods
from evtx_analyzer.discover.source import Source
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.normalize import normalize
from evtx_analyzer.normalize.capi2 import is_capi2_channel
from evtx_analyzer.read.event_xml import read_event_xml
from evtx_analyzer.read.evtx.pieces import evtx_pieces
from evtx_analyzer.read.evtx.reader import ChunkSelection, read_evtx
from evtx_analyzer.read.evtx.search import Search, search_for
from evtx_analyzer.read.pieces import record_pieces
from samples import cases
from samples.capi2 import Recorder, guid
from samples.evtx_writer import write_evtx

SOURCE = Origin(source="capi2.evtx")
CHUNK, HEADER = 65536, 4096
OTHER_LEAF = "D" * 40
PER_CHUNK = 36


class Log(Recorder):
    """Events a millisecond after each other, unless time passes."""

    time = START

    def add(self, event_id, body):
        self.time += timedelta(milliseconds=1)
        self.write(event_id, self.time, body, process=600, thread=1)
        return self.next_record - 1

    def fill(self, count, task="noise"):
        """Events of other tasks that name no certificate of ours, each in a task of its own."""
        for number in range(count):
            self.add(53, retrieval(number, task=guid(f"{task} {number} {self.next_record}")))

    def wait(self, seconds):
        self.time += timedelta(seconds=seconds)


def begin(task):
    return start("CertGetCertificateChain", 1, task=guid(task))


def within(log, certificates=frozenset({LEAF})):
    """Record ids of the events found in a log written as an .evtx file, with a search as without one."""
    data = log if isinstance(log, bytes) else write_evtx(log.events)
    found, plain = (events(data, certificates, search=search) for search in (True, False))
    ids = sorted({event.origin.record for event in found})
    assert ids == sorted({event.origin.record for event in plain})
    return ids


def turned(data, oldest):
    """The file of a ring whose oldest chunk stands at that place."""
    chunks = [data[at : at + CHUNK] for at in range(HEADER, len(data), CHUNK)]
    return data[:HEADER] + b"".join(chunks[-oldest:] + chunks[:-oldest])


def events(data, certificates, *, search):
    selection = ChunkSelection(Search([]), is_capi2_channel)
    list(read_evtx(BytesIO(data), SOURCE, selection))
    pieces = evtx_pieces(BytesIO(data), SOURCE, search_for(certificates) if search else None, bytes(selection.counted))
    return list(Neighborhoods(certificates, typed).events(pieces))


def typed(record):
    found = normalize(record)
    return None if found is None else found[1]


def spread(gap):
    """A task whose event 10 and last retrieval stand some records before and behind its event 11."""
    log = Log("EX01")
    log.fill(100)
    ids = [log.add(10, begin("ours"))]
    log.fill(gap)
    ids.append(log.add(11, chain(2, "800B010A", task=guid("ours"))))
    log.fill(gap)
    ids.append(log.add(53, retrieval(3, task=guid("ours"))))
    log.fill(100)
    return log, ids


@pytest.mark.parametrize("gap", [0, 5, PER_CHUNK, 10 * PER_CHUNK])
def test_events_of_a_task_are_found_before_and_behind(gap):
    log, ids = spread(gap)
    assert within(log) == ids


def test_a_window_grows_while_it_finds_more():
    """Each event is near the next one, the first and the last are far from the one that names the certificate."""
    log = Log("EX01")
    ids = [log.add(10, begin("ours"))]
    for number in range(3):
        log.fill(15 * PER_CHUNK)
        ids.append(log.add(52, start("CryptRetrieveObjectByUrlWire", 2 + number, task=guid("ours"))))
    ids.append(log.add(11, chain(5, "800B010A", task=guid("ours"))))
    for number in range(3):
        log.fill(20 * PER_CHUNK)
        ids.append(log.add(53, retrieval(6 + number, task=guid("ours"))))
    found = within(log)
    assert found[-4:] == ids[-4:]  # behind, each hop is counted anew
    assert set(found) >= set(ids[2:])  # before, 32 chunks are kept
    assert set(found) <= set(ids)


def test_what_is_hours_away_is_not_of_the_task_unless_it_stands_beside():
    log = Log("EX01")
    log.add(10, begin("ours"))
    log.fill(3 * PER_CHUNK)
    log.wait(3600)
    log.fill(3 * PER_CHUNK)
    ids = [log.add(11, chain(2, "800B010A", task=guid("ours")))]
    assert within(log) == ids
    quiet = Log("EX01")
    ids = [quiet.add(10, begin("ours"))]
    quiet.wait(3600)
    ids.append(quiet.add(11, chain(2, "800B010A", task=guid("ours"))))
    assert within(quiet) == ids


def test_a_certificate_is_found_in_the_whole_log():
    log = Log("EX01")
    ids = [log.add(30, policy(1, task=guid("first")))]
    log.fill(40 * PER_CHUNK)
    log.wait(86_400)
    ids.append(log.add(30, policy(1, task=guid("second"))))
    log.add(11, chain(1, task=guid("third")).replace(LEAF, OTHER_LEAF))
    assert within(log) == ids


def test_a_thumbprint_in_another_place_is_no_certificate_of_the_event():
    """A text that quotes one, or a longer number; and a task that only shares its beginning."""
    log = Log("EX01")
    log.add(53, retrieval(1, task=guid("a"), text=f"{LEAF} was not found"))
    log.add(11, chain(1, task=guid("b")).replace(LEAF, LEAF + "0"))
    ids = [log.add(11, chain(2, task=guid("ours")))]
    log.add(53, retrieval(3, task=guid("ours")[:-2] + "}"))
    assert within(log) == ids


def test_a_task_across_the_end_of_a_ring_is_found():
    """The newest chunk stands before the oldest: what follows the last chunk of the file is its first one."""
    log = Log("EX01")
    log.fill(4 * PER_CHUNK)
    ids = [log.add(10, begin("ours"))]
    log.fill(PER_CHUNK)
    ids.append(log.add(11, chain(2, "800B010A", task=guid("ours"))))
    log.fill(PER_CHUNK)
    ids.append(log.add(53, retrieval(3, task=guid("ours"))))
    log.fill(2 * PER_CHUNK)
    data = write_evtx(log.events)
    chunks = (len(data) - HEADER) // CHUNK
    assert [within(turned(data, oldest)) for oldest in range(chunks)] == [ids] * chunks


def test_a_damaged_chunk_between_is_looked_into():
    log, ids = spread(2 * PER_CHUNK)
    data = write_evtx(log.events)
    for middle in range(HEADER + 30_000, len(data), CHUNK):
        damaged = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        assert len(set(ids) - set(within(damaged))) <= 1


def test_exports_as_xml_are_read_in_the_same_way():
    log, ids = spread(200)
    text = "".join(log.events)
    for ordered in (text, "".join(reversed(log.events))):
        pieces = record_pieces(read_event_xml(BytesIO(f"<Events>{ordered}</Events>".encode()), SOURCE))
        found = Neighborhoods(frozenset({LEAF}), typed).events(pieces)
        assert sorted({event.origin.record for event in found}) == ids


def test_many_open_tasks_are_found_too():
    """More than can be searched for one by one: then chunks are decoded."""
    log = Log("EX01")
    ids = [log.add(10, begin(f"ours {number}")) for number in range(60)]
    log.fill(3 * PER_CHUNK)
    ids += [log.add(30, policy(2, task=guid(f"ours {number}"))) for number in range(60)]
    assert within(log) == ids


@pytest.mark.parametrize("openings", [2, 3])
def test_a_reading_that_fails_is_a_loss_in_whichever_pass(openings, tmp_path):
    """A share that goes away, a file that is rotated: after the look at its kind, or after the first pass."""
    data, times = cases.kb_3212877()[cases.CAPI2_FILE], []

    def opened():
        times.append(0)
        if len(times) > openings:
            raise OSError(5, "Input/output error")
        return BytesIO(data)

    (tmp_path / "SEND.LOG").write_bytes(cases.kb_3212877()[cases.SEND_FILE])
    report = ea.analyze([Source(origin=SOURCE, size=len(data), open=opened), tmp_path], jobs=1)
    assert len(times) == openings + 1
    assert [loss.reason for loss in report.losses] == ["reading stopped: Input/output error"]
    assert {source.status for source in report.sources if source.path == SOURCE.source} <= {"partial", "not-read"}


@pytest.mark.parametrize("form", ["evtx", "xml"])
@pytest.mark.parametrize("prefilter", [True, False])
def test_a_check_without_a_task_is_evidence_like_any_other(tmp_path, form, prefilter):
    """The only event of the certificate has no CorrelationAuxInfo: there is no task whose other events to look for."""
    events = [re.sub("<CorrelationAuxInfo [^>]*/>", "", cases.KB_EVENT)]
    data = write_evtx(events) if form == "evtx" else events[0].encode()
    (tmp_path / f"capi2.{form}").write_bytes(data)
    (tmp_path / "SEND.LOG").write_text(cases._send(), newline="")
    report = ea.analyze(tmp_path, prefilter=prefilter)
    assert report.losses == ()
    assert [operation.result for operation in report.operations] == ["800B0109"]
    assert report.incidents[0].links
