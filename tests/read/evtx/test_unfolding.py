"""Records that unfold without end are losses, soon and in little memory; what Windows writes is decoded by ``evtx``."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import bombs
import pytest
from places import CHECKOUT, SAMPLES

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.evtx.reader import read_evtx
from evtx_analyzer.read.evtx.unfolding import unfolds

REAL = sorted((CHECKOUT.parent / "shared/data").rglob("*.evtx"))
MADE = sorted(SAMPLES.rglob("*.evtx"))


def chunks(data):
    return [data[at : at + 65536] for at in range(4096, len(data), 65536) if data[at:].startswith(b"ElfChnk\0")]


@pytest.mark.parametrize("path", REAL + MADE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_chunk_that_windows_or_our_writer_wrote_is_suspected(path):
    assert not any(map(unfolds, chunks(path.read_bytes())))


@pytest.mark.parametrize("name", bombs.BOMBS)
def test_every_bomb_is_suspected(name):
    assert all(map(unfolds, chunks(bombs.BOMBS[name]())))


@pytest.mark.parametrize(
    "small",
    [
        lambda: bombs.laughs(width=2, levels=2),
        lambda: bombs.arrays(items=20),
        lambda: bombs.text(length=100, times=50),
        lambda: bombs.array_of_long(items=10),
    ],
)
def test_small_ones_of_the_same_kind_are_read(small):
    (record,) = read_evtx(BytesIO(small()), Origin(source="x.evtx"))
    assert isinstance(record, EventRecord)


@pytest.mark.parametrize("name", bombs.BOMBS)
def test_the_decoder_never_sees_a_bomb(monkeypatch, name):
    monkeypatch.setattr("evtx.PyEvtxParser", None)
    (loss,) = read_evtx(BytesIO(bombs.BOMBS[name]()), Origin(source="x.evtx"))
    assert isinstance(loss, Loss)
    assert loss.origin.record == 1


LIMITED = """
import json, resource, sys, time
limit = int(sys.argv[2]) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
import evtx_analyzer as ea
began = time.process_time()
report = ea.analyze(sys.argv[1], jobs=1)
spent = time.process_time() - began
# Not ru_maxrss: it keeps what the process had before exec, a copy of the one that runs the tests.
(peak,) = (int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([len(report.losses), report.verdict.grade, spent, peak]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
@pytest.mark.parametrize("name", bombs.BOMBS)
def test_a_bomb_beside_a_case_ends_as_a_loss_within_10_seconds_and_500_mb(tmp_path, name):
    for path in (SAMPLES / "kb-3212877").rglob("*"):
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "CAPI2-bomb.evtx").write_bytes(bombs.BOMBS[name]())
    command = [sys.executable, "-c", LIMITED, str(tmp_path), "4096"]
    result = subprocess.run(command, capture_output=True, timeout=120, check=True, cwd=Path(CHECKOUT))
    losses, grade, seconds, megabytes = json.loads(result.stdout)
    assert losses
    assert grade == "probable"
    assert seconds < 10
    assert megabytes < 500
