"""The fast way through an export gives the report of the plain one; and its parts are what their docstrings say."""

import random
import struct
import zlib
from datetime import timedelta
from io import BytesIO

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from places import CHECKOUT, SAMPLES

import evtx_analyzer as ea
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.evtx.reader import ChunkSelection, read_evtx
from evtx_analyzer.read.evtx.search import Search
from evtx_analyzer.report.document import to_json
from evtx_analyzer.rules import Rules
from samples import capi2, cases
from samples.build import CASES
from samples.evtx_writer import write_evtx

REAL = CHECKOUT.parent / "shared/data/capi2"
SOURCE = Origin(source="x.evtx")
CHUNK = 65536
RULE = """
title: made
id: 7d1f8c55-6f6b-4d58-9d6e-2f0f5d1c6b99
status: test
logsource: {product: windows, service: capi2}
detection:
  s:
    %s
  condition: s
"""


def same(inputs, rules=None):
    fast = ea.analyze(inputs, rules=rules)
    assert to_json(fast) == to_json(ea.analyze(inputs, rules=rules, prefilter=False))
    return fast


@pytest.mark.parametrize("name", sorted(CASES))
def test_fast_equals_plain_on_every_sample(name):
    same(SAMPLES / name)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CAPI2 exports are not beside this checkout")
def test_fast_equals_plain_on_real_exports():
    report = same([REAL, SAMPLES / "kb-3212877"])
    assert sum(item.records for item in report.coverage if "E_" in item.source) == 459 + 340


def failing(recorder, time, number):
    chosen = random.Random(number)
    cert = chosen.choice([cases.LEAF, cases.MICROSOFT, cases.ROOT])
    capi2.check(
        recorder,
        time,
        [(cert, 0)],
        policy_result=chosen.choice(["800B0109", "800b010a", "0", "80092012"]),
        chain_result="800B010A",
        chain_error=0x10000,
        seed=f"made {number}",
        process=chosen.choice(["lsass.exe", "EdgeTransport.exe", "a & <b>.exe", "svchost.exe"]),
        kind=chosen.choice([capi2.SSL, capi2.BASE]),
    )


SETTINGS = settings(max_examples=examples(8))


@given(
    seed=st.integers(0, 10_000),
    checks=st.integers(0, 30),
    near=st.booleans(),
    damage=st.none() | st.floats(0, 1),
    rule=st.sampled_from(
        [
            "Result.value: '80092012'",
            "Security_UserID: S-1-5-18",
            "EventID: 70",
            "Certificate.subjectName|contains: o",
            f"Computer: {cases.HOST}",
            f"Result.value: '800B010A'\n    Computer: {cases.HOST}",
        ]
    ),
)
@SETTINGS
def test_fast_equals_plain_on_generated_exports_and_rules(tmp_path, seed, checks, near, damage, rule):
    """Also of damaged files, and with a rule of any kind in the place of the one that links look for by name."""
    folder = tmp_path / f"{seed}-{checks}-{near}-{damage}-{hash(rule)}"
    (folder / "rules/signals").mkdir(parents=True, exist_ok=True)
    (folder / "case").mkdir(exist_ok=True)
    (folder / "rules/signals/chain_policy_failed.yml").write_text(RULE % rule)
    recorder = cases.noise(capi2.Recorder(cases.HOST, next_record=3105), cases.KB_TIME - timedelta(hours=1), 30)
    for number in range(checks):
        at = timedelta(seconds=number % 7) if near else timedelta(hours=number)
        failing(recorder, cases.KB_TIME + at, seed + number)
    data = bytearray(write_evtx(recorder.events))
    if damage is not None:
        place = int(damage * (len(data) - 16))
        data[place : place + 16] = bytes(16)
    (folder / "case/capi2.evtx").write_bytes(bytes(data))
    (folder / "case/SEND.LOG").write_bytes((SAMPLES / "kb-3212877" / cases.SEND_FILE).read_bytes())
    same(folder / "case")
    same(folder / "case", Rules.load(folder / "rules"))


def quiet(count=40):
    return cases.noise(capi2.Recorder(cases.HOST), cases.KB_TIME, count).events


def counting(data, *, channel="Microsoft-Windows-CAPI2/Operational"):
    selection = ChunkSelection(Search([]), lambda _, found: found == channel)
    return list(read_evtx(BytesIO(data), SOURCE, selection)), selection


def sealed(chunk):
    data = bytearray(chunk)
    free = struct.unpack_from("<I", data, 48)[0]
    struct.pack_into("<I", data, 52, zlib.crc32(data[512:free]))
    struct.pack_into("<I", data, 124, zlib.crc32(data[:120] + data[128:512]))
    return bytes(data)


def second_record(data):
    return 4096 + 512 + struct.unpack_from("<I", data, 4096 + 512 + 4)[0]


@pytest.mark.parametrize("what", ["channel", "checksum", "other id inside", "no UserData", "other template", "year 1"])
def test_what_is_not_as_expected_is_decoded(what):
    """A value type, an id or a place that Windows does not write: the records are given, not counted."""
    data, channel = bytearray(write_evtx(quiet(4))), "Microsoft-Windows-CAPI2/Operational"
    at = second_record(data)
    values = at + 38 + 84
    if what == "channel":
        channel = "Application"
    elif what == "checksum":
        data[-1 - 4096 : -4096] = b"\1"
        data[4096 + 52] ^= 1
    elif what == "other id inside":
        data[values + 30] ^= 1
    elif what == "no UserData":
        struct.pack_into("<HB", data, at + 38 + 4 + 4 * 19, 0, 0)
    elif what == "other template":
        data[at + 34] ^= 8
    elif what == "year 1":
        struct.pack_into("<Q", data, values + 14, 1)
    if what != "checksum":
        data[4096:] = sealed(data[4096 : 4096 + CHUNK])
    found, selection = counting(bytes(data), channel=channel)
    assert not any(selection.counted)
    assert any(isinstance(item, EventRecord) for item in found)
    assert found == list(read_evtx(BytesIO(bytes(data)), SOURCE))
