"""What a user sees of every sample case, file by file: tests/snapshots/<case>/report.<suffix>.

Parquet is compared with CSV elsewhere; the page's style sheet is left out, for it is no content.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reports import NAMES, rendered

from evtx_analyzer.report import SUFFIXES

SNAPSHOTS = Path(__file__).parent / "snapshots"
TEXTS = [suffix for suffix in SUFFIXES if not suffix.endswith("parquet")]
REFRESH = "if the change is meant, refresh with: python -m pytest tests/test_snapshots.py --update-snapshots"


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


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize("name", NAMES)
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
    left = [item.name for item in SNAPSHOTS.iterdir() if item.name not in NAMES]
    assert not left, f"remove tests/snapshots/{left[0]}"
