"""What a user sees of sample cases, file by file: tests/report/snapshots/<case>/report.<suffix>.

Of four cases that differ in what there is to show every format is kept, of all others JSON, of which every format is a
function. Parquet is compared with CSV elsewhere; the page's style sheet is left out, for it is no content.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reports import NAMES, rendered

from evtx_analyzer.report import SUFFIXES

SNAPSHOTS = Path(__file__).parent / "snapshots"
TEXTS = [suffix for suffix in SUFFIXES if not suffix.endswith("parquet")]
WHOLE = ("kb-3212877", "no-tls-iis", "attr36-domains", "other-process")
KEPT = [(name, suffix) for name in NAMES for suffix in TEXTS if name in WHOLE or suffix == ".json"]
REFRESH = "if the change is meant, refresh with: python -m pytest tests/report/test_snapshots.py --update-snapshots"


def shown(name, suffix, code):
    text = rendered(name, suffix, code)
    text = re.sub(r"<style>.*?</style>", "<style></style>", text, flags=re.DOTALL)
    return re.sub(r"'sha256-[^']+'", "'sha256-'", text)


def compare(path, text, update):
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert path.is_file(), f"{path.name} is not there yet; {REFRESH}"
    kept = path.read_bytes().decode()
    for number, (old, new) in enumerate(zip(kept.splitlines(), text.splitlines(), strict=False), 1):
        assert new == old, f"{path.relative_to(SNAPSHOTS)} line {number} differs; {REFRESH}"
    assert text == kept, f"{path.relative_to(SNAPSHOTS)} differs in length; {REFRESH}"


@pytest.mark.parametrize(("name", "suffix"), KEPT)
def test_output_of_a_case(name, suffix, request):
    update = request.config.getoption("--update-snapshots")
    compare(SNAPSHOTS / name / f"report{suffix}", shown(name, suffix, "en"), update)


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html"])
def test_output_in_german(suffix, request):
    update = request.config.getoption("--update-snapshots")
    compare(SNAPSHOTS / "kb-3212877" / f"report.de{suffix}", shown("kb-3212877", suffix, "de"), update)


def test_no_snapshot_is_left_over(request):
    if request.config.getoption("--update-snapshots"):
        pytest.skip("snapshots are being written")
    kept = {f"{name}/report{suffix}" for name, suffix in KEPT}
    kept |= {f"kb-3212877/report.de{suffix}" for suffix in (".txt", ".md", ".html")}
    left = [path for item in SNAPSHOTS.glob("*/*") if (path := item.relative_to(SNAPSHOTS).as_posix()) not in kept]
    assert not left, f"remove tests/report/snapshots/{left[0]}"
