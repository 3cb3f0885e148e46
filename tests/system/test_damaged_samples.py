"""What is missing never makes another cause probable: samples with rows, events and files taken away at random.

Absence of a row is not evidence of absence. A sample of which parts are gone may tell less, and may no longer tell what
speaks against a cause; it must not name a cause at probable that the whole sample does not.
"""

from __future__ import annotations

import io
import random
import re

import evtx
import pytest
from places import SAMPLES

from evtx_analyzer import InputError, analyze
from samples import build

pytestmark = pytest.mark.slow

SURE = {"probable", "confirmed"}
COUNTER_EVIDENCE = {
    "later-success": "missing-intermediate",
    "not-fixed": "missing-intermediate",
    "wire-full-chain": "missing-intermediate",
}
"""The cause that the rest of a sample supports once the rows are gone that speak against it."""
KEPT = ("all", "most", "half", "head", "tail", "none")


def sure_causes(report):
    return {finding.cause for finding in report.findings if finding.grade in SURE and finding.cause != "unexplained"}


def some(parts, kept, chance):
    if kept == "none":
        return []
    if kept in ("head", "tail"):
        at = chance.randrange(len(parts) + 1)
        return parts[:at] if kept == "head" else parts[at:]
    share = {"all": 1.0, "most": 0.9, "half": 0.5}[kept]
    return [part for part in parts if chance.random() < share]


def fewer_events(content, kept, chance):
    events = [
        re.sub(r"^<\?xml.*?\?>", "", record["data"]) for record in evtx.PyEvtxParser(io.BytesIO(content)).records()
    ]
    return f"<Events>{''.join(some(events, kept, chance))}</Events>".encode()


def fewer_rows(content, kept, chance):
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    rows = content.decode(encoding).splitlines(keepends=True)
    head = [row for row in rows if row.startswith("#")]
    body = "".join(head + some([row for row in rows if not row.startswith("#")], kept, chance))
    if chance.random() < 0.2:
        body = body[: len(body) - chance.randrange(200)]
    return body.encode(chance.choice(["utf-8", "utf-8-sig", "utf-16"]))


def damaged(case, folder, chance):
    """Write the sample with less in it: files are gone, hold fewer events or rows, or end in the middle of a row."""
    folder.mkdir()
    for name, content in sorted(build.CASES[case]().items()):
        kept = chance.choice(KEPT)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".evtx"):
            path.with_suffix(".xml").write_bytes(fewer_events(content, kept, chance))
        elif name.lower().endswith((".log", ".csv", ".txt")):
            path.write_bytes(fewer_rows(content, kept, chance))
        elif kept != "none":
            path.write_bytes(content)


@pytest.fixture(scope="module")
def whole():
    known = {}

    def of(case):
        if case not in known:
            known[case] = sure_causes(analyze([SAMPLES / case]))
        return known[case]

    return of


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("case", sorted(build.CASES))
def test_less_evidence_makes_no_other_cause_probable(case, seed, whole, tmp_path):
    damaged(case, tmp_path / "case", random.Random(f"{case} {seed}"))
    try:
        report = analyze([tmp_path / "case"])
    except InputError:
        return  # Nothing was left to read, and it is said.
    assert sure_causes(report) <= whole(case) | {COUNTER_EVIDENCE.get(case)}
