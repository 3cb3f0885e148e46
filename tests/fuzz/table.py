"""The table of docs/reliability.md: what is tried, what survives, what is lost, and how to repeat it."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bombs
import hostile

import evtx_analyzer as ea
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.evtx.reader import read_evtx
from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS

Row = tuple[str, int, int, str, str]
_CHUNK, _HEADER = 65_536, 4_096
_REPEAT = "python -m tests.fuzz"


def table(inputs: int) -> str:
    """The rows as Markdown; ``inputs`` are tried of each fuzzing target."""
    rows = [_hostile(), _bombs(), _cuts(), _moved("inserted"), _moved("removed"), *_fuzzed(inputs)]
    lines = ["| kind | tried | survived | lost | how to repeat |", "|---|---:|---:|---|---|"]
    lines += [
        f"| {kind} | {tried_:,} | {survived:,} | {lost} | `{repeat}` |" for kind, tried_, survived, lost, repeat in rows
    ]
    return "\n".join(lines) + "\n"


def _beside_a_case(name: str, data: bytes) -> bool:
    """Whether the verdict of a good case is the same with a file beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in {**hostile.good_case(), f"other/{name}": data}.items():
            (Path(folder) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / file).write_bytes(content)
        try:
            return ea.analyze(folder).verdict.grade == "probable"
        except Exception:  # noqa: BLE001  counted
            return False


def _hostile() -> Row:
    survived = sum(_beside_a_case(name, made()) for name, made, _ in hostile.FILES.values())
    return (
        "hostile file beside a good case",
        len(hostile.FILES),
        survived,
        "itself",
        "pytest tests/system/test_hostile.py",
    )


def _bombs() -> Row:
    survived = sum(_beside_a_case("capi2.evtx", made()) for made in bombs.BOMBS.values())
    repeat = "pytest tests/read/evtx/test_unfolding.py"
    return ("EVTX record that unfolds without end", len(bombs.BOMBS), survived, "itself", repeat)


def _ids(data: bytes) -> Iterator[set[int]]:
    for at in range(_HEADER, len(data), _CHUNK):
        first, last = struct.unpack_from("<QQ", data, at + 24)
        yield set(range(first, last + 1))


def _read(data: bytes) -> set[int | None]:
    found = read_evtx(io.BytesIO(data), Origin(source="x.evtx"))
    return {item.record_id for item in found if isinstance(item, EventRecord)}


def _cuts() -> Row:
    data, tried_, missing = corpus.evtx(), 0, 0
    for end in range(0, len(data), 2_048):
        tried_ += 1
        whole = [ids for number, ids in enumerate(_ids(data)) if end >= _HEADER + (number + 1) * _CHUNK]
        missing += len(set[int]().union(*whole) - _read(data[:end]))
    lost = f"{missing} records of whole chunks"
    return ("export cut after every 2,048th byte", tried_, tried_, lost, "pytest tests/read/evtx")


def _moved(change: str) -> Row:
    data, tried_, missing = corpus.evtx(), 0, 0
    chunks = list(_ids(data))
    for number in range(len(chunks)):
        for size in (1, 2, 512, 5_000):
            at = _HEADER + number * _CHUNK + 9_000
            changed = (
                data[:at] + bytes([7]) * size + data[at:] if change == "inserted" else data[:at] + data[at + size :]
            )
            untouched = set[int]().union(*chunks[:number], *chunks[number + 1 :])
            missing += len(untouched - _read(changed))
            tried_ += 1
    lost = f"{missing} records of other chunks"
    return (f"export with bytes {change}", tried_, tried_, lost, "pytest tests/read/evtx/test_aligned.py")


def _fuzzed(inputs: int) -> Iterator[Row]:
    from tests.fuzz.__main__ import fuzz

    for name in TARGETS:
        count, faults = fuzz(name, 600, inputs, 0, None)
        yield (f"fuzzing: {name}", count, count - len(faults), "its own", f"{_REPEAT} {name} --inputs {inputs}")
