"""Laws that hold for any input (style section 10)."""

from __future__ import annotations

import io
import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES

import evtx_analyzer as ea
from evtx_analyzer.report.document import to_json
from evtx_analyzer.report.terminal import to_terminal
from samples import cases
from samples.capi2 import Recorder
from samples.evtx_writer import write_evtx

KB = SAMPLES / "kb-3212877"
FILES = sorted(path.relative_to(KB).as_posix() for path in KB.rglob("*") if path.is_file())
# The folder of a case is made anew for every example; examples are slow enough to trip the default deadline.
SETTINGS = settings(max_examples=examples(25))


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def kb_files():
    return {name: (KB / name).read_bytes() for name in FILES}


def test_same_input_same_bytes(tmp_path):
    """Also when the files are made in another order and the case lies elsewhere."""
    files = kb_files()
    names = list(files)
    random.Random(1).shuffle(names)
    copy = put(tmp_path / "elsewhere" / "case", {name: files[name] for name in names})
    assert to_json(ea.analyze(copy)) == to_json(ea.analyze(KB))


def test_order_of_arguments_does_not_matter():
    parts = [KB / name for name in FILES]
    assert to_json(ea.analyze(parts)) == to_json(ea.analyze(parts[::-1]))


def test_a_file_named_twice_counts_once():
    parts = [KB / name for name in FILES]
    assert to_json(ea.analyze([*parts, *parts])) == to_json(ea.analyze(parts))


@given(st.sampled_from(FILES), st.floats(0, 1), st.integers(0, 7), st.booleans())
@SETTINGS
def test_damage_ends_in_a_report(tmp_path, name, place, bit, cut):
    """Any truncation or bit flip: a report, never a traceback; a cut EVTX file never passes for whole."""
    files = kb_files()
    content = bytearray(files[name])
    at = min(int(place * len(content)), len(content) - 1)
    if cut:
        del content[at:]
    else:
        content[at] ^= 1 << bit
    report = ea.analyze(put(tmp_path / f"{at}-{bit}-{cut}", {**files, name: bytes(content)}))
    to_terminal(report)
    to_json(report)
    if cut and name.endswith(".evtx") and at % 65536 != 4096:
        statuses = {source.path: source.status for source in report.sources}
        assert statuses[name] in ("partial", "not-read", "unrecognized")


@given(st.integers(0, 40), st.integers(1, 10_000))
@settings(max_examples=examples(10))
def test_unrelated_events_remove_no_finding(tmp_path, count, seed):
    """Checks of other programs, written before and after, change neither cause nor grade."""
    recorder = Recorder(cases.HOST, next_record=100)
    cases.noise(recorder, cases.KB_TIME - timedelta(hours=3, seconds=seed), count)
    files = kb_files()
    files[cases.CAPI2_FILE] = write_evtx([*recorder.events, *cases._kb_events()])
    report = ea.analyze(put(tmp_path / f"{count}-{seed}", files))
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "probable")


def shifted(text, pattern, form, delta):
    def move(found):
        time = datetime.strptime(found[0].rstrip("Z"), form).replace(tzinfo=UTC)
        return (time + delta).strftime(form)

    return re.sub(pattern, move, text)


@pytest.mark.parametrize("days", [-3650, 1, 365 * 12])
def test_shifting_all_clocks_moves_only_times(tmp_path, days):
    delta = timedelta(days=days)
    iso = (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "%Y-%m-%dT%H:%M:%S", delta)
    files = kb_files()
    files[cases.CAPI2_FILE] = write_evtx([shifted(event, *iso) for event in cases._kb_events()])
    files[cases.SEND_FILE] = shifted(files[cases.SEND_FILE].decode(), *iso).encode()
    w3c = (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "%Y-%m-%d %H:%M:%S", delta)
    files[cases.IIS_FILE] = shifted(files[cases.IIS_FILE].decode(), *w3c).encode()
    moved, still = ea.analyze(put(tmp_path / "moved", files)), ea.analyze(KB)
    assert [(f.cause, f.grade, len(f.supports)) for f in moved.findings] == [
        (f.cause, f.grade, len(f.supports)) for f in still.findings
    ]
    deltas = [[link.delta_seconds for link in incident.links] for incident in still.incidents]
    assert [[link.delta_seconds for link in incident.links] for incident in moved.incidents] == deltas
    assert [incident.start - delta for incident in moved.incidents] == [incident.start for incident in still.incidents]


def test_the_events_stream_gives_what_the_export_holds():
    events = [event for event in ea.events(KB / cases.CAPI2_FILE) if isinstance(event, ea.Capi2Event)]
    assert [event.origin.record for event in events] == list(range(3105, 3105 + len(cases._kb_events())))
    assert io.BytesIO(write_evtx(cases._kb_events())).getvalue() == (KB / cases.CAPI2_FILE).read_bytes()
