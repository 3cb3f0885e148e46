"""docs/post-mortem.ipynb runs over a batch summary. ``--update-snapshots`` writes its outputs, of the sample cases."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import CHECKOUT, SAMPLES

pytestmark = [pytest.mark.slow, pytest.mark.server]  # a notebook's kernel listens on a port of this machine
NOTEBOOK = CHECKOUT / "docs" / "post-mortem.ipynb"
CASES = ("address-changed", "expired", "kb-3212877", "later-success", "no-capi2", "replaced", "source-ip")


def run(summary):
    """Return the notebook as it is after a run over a summary; raises CellExecutionError where a cell fails."""
    nbformat = pytest.importorskip("nbformat", reason="extra notebook")
    nbclient = pytest.importorskip("nbclient", reason="extra notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    written, parameters.source = parameters.source, f"SUMMARY = {str(summary)!r}"
    # Its own process has the warnings of its own libraries; the port that it listens on is of this machine.
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    parameters.source = written
    return done


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(texts), sum("image/png" in output.get("data", {}) for output in outputs)


def summary_of(bundles, folder):
    """Return the summary that ``batch`` writes of bundles."""
    command = [sys.executable, "-m", "evtx_analyzer", "batch", *map(str, bundles), "-o", str(folder), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return folder / "summary.json"


def test_over_the_sample_cases_it_shows_outage_causes_and_certificates(tmp_path, request):
    path = summary_of([SAMPLES / name for name in CASES], tmp_path)
    notebook = run(path)
    text, plots = printed(notebook)
    summary = json.loads(path.read_bytes())
    assert f"{len(CASES)} bundles, {len(summary['timeline'])} incidents, {summary['rejection_count']} refusals" in text
    assert plots == 3
    for row in summary["causes"]:
        assert row["cause"] in text
    assert "EC53EBC94A796C42E5B4E5851F961874F013D94C" in text
    if request.config.getoption("--update-snapshots"):
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of this run
        pytest.importorskip("nbformat").write(notebook, NOTEBOOK)


def test_it_runs_where_nothing_was_refused_and_where_times_are_local(tmp_path):
    empty = {"bundles": [], "timeline": [], "certificates": [], "causes": [], "outcomes": {}, "rejection_count": 0}
    row = {"bundle": "a", "outcome": "no-refusal", "cause": None, "grade": None, "rejection_count": 0, "hosts": []}
    row |= {"report": "reports/a.json", "loss_count": 0, "reason": ""}
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(empty | {"bundles": [row], "outcomes": {"no-refusal": 1}}), encoding="utf-8")
    text, plots = printed(run(path))
    assert "No incident" in text
    assert "No refused session" in text
    assert plots == 0
    incident = {"start": "2016-12-01T03:09:55Z", "end": "2016-12-01T03:10:00Z", "bundle": "a", "host": "", "cause": "x"}
    local = {"rejection_count": 2, "start_basis": "local", "end_basis": "local"}
    path.write_text(json.dumps(empty | {"bundles": [row], "timeline": [incident | local]}), encoding="utf-8")
    text, plots = printed(run(path))
    assert "1 of 1 incidents are not drawn" in text
    assert plots == 1
