"""The report as a document: the contract's names, saved and read back without loss, the schema, what a user sees."""

from __future__ import annotations

import json

import pytest
from places import SAMPLES

import evtx_analyzer as ea
from evtx_analyzer.plain_text import clean
from evtx_analyzer.report.document import json_schema, to_json
from evtx_analyzer.report.terminal import to_terminal
from samples.build import CASES

# design.md section 4; names are fixed, more may be added.
CONTRACT = {
    "": [
        "schema_version", "tool", "options", "verdict", "findings", "incidents", "operations", "sources", "coverage",
        "losses",
    ],
    "tool": ["name", "version"],
    "verdict": ["cause", "grade", "title", "summary"],
    "findings": ["cause", "grade", "title", "why", "supports", "contradicts", "missing", "remedy", "incidents"],
    "findings.supports": ["text", "origin"],
    "findings.remedy": ["steps", "verify", "references"],
    "incidents": ["id", "host", "connector", "start", "end", "rejection_count", "certificate", "rejections", "links"],
    "incidents.certificate": ["thumbprint", "subject", "issuer"],
    "operations": [
        "id", "host", "process", "time", "thumbprint", "subject", "policy", "result", "result_name", "chain_ref",
        "chain_status", "elements", "origin",
    ],
    "operations.origin": ["source", "member", "record", "line", "offset"],
    "sources": ["path", "kind", "sha256", "size", "status", "reason"],
    "coverage": ["source", "kind", "host", "first", "last", "records", "gaps"],
}  # fmt: skip


@pytest.fixture(scope="module")
def kb():
    return ea.analyze(SAMPLES / "kb-3212877")


@pytest.mark.parametrize("path", CONTRACT, ids=lambda path: path or "report")
def test_contract(kb, path):
    part = json.loads(to_json(kb))
    for name in filter(None, path.split(".")):
        part = part[name]
        part = part[0] if isinstance(part, list) else part
    assert [name for name in CONTRACT[path] if name not in part] == []


def test_times_are_rfc_3339_utc(kb):
    operation = next(item for item in json.loads(to_json(kb))["operations"] if item["origin"]["record"] == 3156)
    assert operation["time"] == "2016-12-01T03:09:55.456180Z"


def test_paths_are_relative_to_the_input(kb):
    text = to_json(kb)
    assert str(SAMPLES) not in text
    assert [source.path for source in kb.sources] == [
        "Microsoft-Windows-CAPI2%4Operational.evtx",
        "SmtpSend/SEND2016120103-1.LOG",
        "SMTPSVC1/ex161201.log",
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_saved_report_is_the_same_when_loaded(case, tmp_path):
    report = ea.analyze(SAMPLES / case)
    report.save(tmp_path / "x.json")
    assert ea.load(tmp_path / "x.json") == report


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 1}', "\xff"])
def test_what_is_no_report_is_said(tmp_path, content):
    (tmp_path / "x.json").write_text(content, encoding="latin-1")
    with pytest.raises(ea.ReportError, match="is no report of this program"):
        ea.load(tmp_path / "x.json")


def test_an_unknown_suffix_is_said(kb, tmp_path):
    with pytest.raises(ea.ReportError, match=r"expected one of \.json"):
        kb.save(tmp_path / "x.docx")


def test_schema_names_every_part_of_the_report(kb):
    schema = json.loads(json_schema())
    assert schema["$schema"].startswith("https://json-schema.org/")
    report = schema["$defs"]["Report"]
    assert set(json.loads(to_json(kb))) == set(report["properties"])


def test_log_text_can_not_act_on_a_terminal():
    assert clean("CN=\x1b[2Jevil\u202e\x9b0m\r\n") == "CN=\ufffd[2Jevil\ufffd\ufffd0m\ufffd\ufffd"


def test_colors_only_where_asked_for(kb):
    assert "\x1b[" not in to_terminal(kb)
    assert "\x1b[" in to_terminal(kb, color=True)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_commands_are_never_wrapped(kb, width):
    text = to_terminal(kb, width=width)
    store = r"cert:\LocalMachine\CA"
    command = rf"Get-ChildItem -Path c:\import\intermediateca.cer | Import-Certificate -CertStoreLocation {store}"
    assert f"{command}\n" in text


def test_the_terminal_report_tells_all_that_the_issue_names(kb):
    text = " ".join(to_terminal(kb).split())
    for wanted in (
        "probable: The server does not send its intermediate certificates",
        "Evidence for",
        "Evidence against",
        "record 3156",
        "+0.255 s",
        "Missing here is CN=Example Trust TLS CA 2016",
        "certutil -verify -urlfetch",
        "KB 3212877: https://support.microsoft.com/help/3212877",
        "Losses: what could not be read none",
    ):
        assert wanted in text
