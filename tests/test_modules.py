"""Every module of the package has a test: the one of its name where it lies, or the one that is named here.

What is named here calls a good part of the functions of its module; a slow test runs it and counts.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import CHECKOUT

import evtx_analyzer

PACKAGE = Path(evtx_analyzer.__file__).parent
TESTS = CHECKOUT / "tests"
TESTED_BY = {
    "__init__.py": "tables/test_tables.py",
    "batch/bundles.py": "discover/test_odd_files.py",
    "batch/names.py": "batch/test_compare.py",
    "batch/summary_files.py": "batch/test_compare.py",
    "batch/summary_page.py": "batch/test_compare.py",
    "capi2/operations.py": "capi2/test_neighborhoods.py",
    "capi2/same_log.py": "capi2/test_chains.py",
    "capi2/summaries.py": "capi2/test_chains.py",
    "capi2/task_tree.py": "capi2/test_neighborhoods.py",
    "cli/__init__.py": "cli/test_outputs.py",
    "cli/analyze.py": "cli/test_outputs.py",
    "cli/app.py": "cli/test_outputs.py",
    "cli/collector.py": "collector/test_collector.py",
    "cli/command.py": "cli/test_outputs.py",
    "cli/conversation.py": "cli/test_outputs.py",
    "cli/events.py": "tables/test_tables.py",
    "cli/fail_on.py": "cli/test_config.py",
    "cli/options.py": "cli/test_outputs.py",
    "cli/pager.py": "cli/test_outputs.py",
    "cli/rules.py": "cli/test_cli.py",
    "cli/streams.py": "cli/test_outputs.py",
    "cli/verify.py": "repair/test_repair.py",
    "collector/__init__.py": "collector/test_collector.py",
    "columns.py": "tables/test_tables.py",
    "commands.py": "smtp/test_unzoned_times.py",
    "correlate/accepted_domains.py": "correlate/test_session_facts.py",
    "correlate/case_facts.py": "correlate/test_session_facts.py",
    "correlate/compared_mail.py": "correlate/test_session_facts.py",
    "correlate/excerpt.py": "smtp/test_folding.py",
    "correlate/folded_signals.py": "smtp/test_folding.py",
    "correlate/handshake_links.py": "ingest/test_handshake_scan.py",
    "correlate/operation_facts.py": "correlate/test_session_facts.py",
    "correlate/refused_session.py": "correlate/test_session_facts.py",
    "correlate/settings.py": "correlate/test_session_facts.py",
    "diagnose/grade.py": "diagnose/test_diagnose.py",
    "diagnose/missing.py": "smtp/test_unzoned_times.py",
    "diagnose/observations.py": "diagnose/test_diagnose.py",
    "diagnose/sentences.py": "diagnose/test_diagnose.py",
    "diagnose/weigh.py": "diagnose/test_diagnose.py",
    "discover/__init__.py": "discover/test_odd_files.py",
    "discover/archive/expand.py": "system/test_jobs.py",
    "discover/archive/formats.py": "discover/test_archives.py",
    "discover/archive/limits.py": "discover/test_odd_files.py",
    "discover/archive/mail_members.py": "read/test_mail_forms.py",
    "discover/archive/member.py": "discover/test_archives.py",
    "discover/archive/sevenzip.py": "discover/test_archives.py",
    "discover/archive/zip_members.py": "discover/test_archives.py",
    "discover/hashing.py": "system/test_jobs.py",
    "discover/log_collector.py": "discover/test_archives.py",
    "discover/read_ahead.py": "discover/test_archives.py",
    "discover/source.py": "discover/test_odd_files.py",
    "distinguished_names.py": "report/test_redact.py",
    "documentation.py": "report/test_outline.py",
    "errors.py": "rules/test_odd_rules.py",
    "handshakes/chains.py": "handshakes/test_wire_chains.py",
    "handshakes/observe.py": "handshakes/test_real_stacks.py",
    "handshakes/smtp.py": "handshakes/test_wire_smtp.py",
    "handshakes/tls.py": "handshakes/test_real_stacks.py",
    "ingest/account.py": "ingest/test_boundary.py",
    "ingest/capi2_scan.py": "ingest/test_readings.py",
    "ingest/case_account.py": "ingest/test_readings.py",
    "ingest/events.py": "ingest/test_readings.py",
    "ingest/evidence.py": "ingest/test_source_list.py",
    "ingest/examine.py": "ingest/test_boundary.py",
    "ingest/smtp_scan.py": "smtp/test_folding.py",
    "ingest/streams.py": "ingest/test_readings.py",
    "ingest/tallies.py": "ingest/test_readings.py",
    "model/alike.py": "smtp/test_folding.py",
    "model/events.py": "system/test_jobs.py",
    "model/evidence.py": "smtp/test_unzoned_times.py",
    "model/origin.py": "smtp/test_unzoned_times.py",
    "normalize/__init__.py": "read/test_export_forms.py",
    "normalize/capi2.py": "normalize/test_normalize_capi2.py",
    "normalize/capi2_elements.py": "normalize/test_normalize_capi2.py",
    "normalize/columns.py": "tables/test_columns.py",
    "normalize/configuration.py": "correlate/test_session_facts.py",
    "normalize/kinds.py": "read/test_export_forms.py",
    "normalize/ndr.py": "smtp/test_messages.py",
    "normalize/send_log.py": "smtp/test_fold.py",
    "normalize/stores.py": "stores/test_views.py",
    "normalize/supporting.py": "smtp/test_messages.py",
    "normalize/windows_event.py": "normalize/test_normalize_capi2.py",
    "pipeline.py": "correlate/test_configuration.py",
    "plain_text.py": "report/test_redact.py",
    "read/__init__.py": "read/test_export_forms.py",
    "read/capture_headers.py": "read/test_capture.py",
    "read/certificate_files.py": "read/test_store_files.py",
    "read/certutil_text.py": "read/test_store_files.py",
    "read/collector_manifest.py": "stores/test_views.py",
    "read/csv_export.py": "read/test_store_files.py",
    "read/delivery_status.py": "smtp/test_messages.py",
    "read/event_forms.py": "read/test_export_forms.py",
    "read/event_json.py": "read/test_export_forms.py",
    "read/event_list.py": "read/test_export_forms.py",
    "read/event_xml.py": "read/test_export_forms.py",
    "read/evtx/binxml.py": "read/evtx/test_read_binxml.py",
    "read/evtx/binxml_values.py": "read/evtx/test_read_binxml.py",
    "read/evtx/chunk.py": "read/evtx/test_prefilter.py",
    "read/evtx/losses.py": "read/evtx/test_prefilter.py",
    "read/evtx/pieces.py": "read/evtx/test_prefilter.py",
    "read/evtx/reader.py": "read/evtx/test_prefilter.py",
    "read/evtx/search.py": "read/evtx/test_prefilter.py",
    "read/evtx/span.py": "read/evtx/test_prefilter.py",
    "read/exchange_log.py": "read/test_damaged_headers.py",
    "read/iis_log.py": "read/test_nuls.py",
    "read/json_export.py": "stores/test_views.py",
    "read/lines.py": "read/test_store_files.py",
    "read/mail.py": "read/test_store_files.py",
    "read/outlook.py": "smtp/test_messages.py",
    "read/pieces.py": "capi2/test_neighborhoods.py",
    "read/powershell.py": "read/test_store_files.py",
    "read/serialized_store.py": "read/test_store_files.py",
    "read/store_rows.py": "read/test_store_files.py",
    "read/streams.py": "read/test_export_forms.py",
    "read/table_text.py": "correlate/test_configuration.py",
    "read/w3c_log.py": "read/test_nuls.py",
    "repair/changes.py": "repair/test_repair.py",
    "repair/judge.py": "repair/test_repair.py",
    "report/__init__.py": "report/test_redact.py",
    "report/aliases.py": "report/test_redact.py",
    "report/csv_tables.py": "report/test_redact.py",
    "report/document.py": "smtp/test_folding.py",
    "report/html.py": "report/test_report_html.py",
    "report/markdown.py": "report/test_redact.py",
    "report/pairs.py": "report/test_report_html.py",
    "report/shared.py": "report/test_redact.py",
    "report/timeline.py": "report/test_report_html.py",
    "report/times.py": "report/test_redact.py",
    "report/timesketch.py": "report/test_redact.py",
    "rule_tools/cases.py": "rule_tools/test_new_cause.py",
    "rule_tools/siem.py": "rule_tools/test_convert.py",
    "rules/__init__.py": "rule_tools/test_new_cause.py",
    "rules/cache.py": "smtp/test_folding.py",
    "rules/causes.py": "rules/test_odd_rules.py",
    "rules/files.py": "smtp/test_folding.py",
    "rules/mistakes.py": "rules/test_odd_rules.py",
    "rules/parsing.py": "rules/test_odd_rules.py",
    "rules/steps.py": "rules/test_odd_rules.py",
    "sigma/conditions.py": "system/test_jobs.py",
    "sigma/from_pysigma.py": "smtp/test_folding.py",
    "sigma/literals.py": "system/test_jobs.py",
    "smtp/blocks.py": "smtp/test_fold.py",
    "smtp/other_errors.py": "smtp/test_messages.py",
    "smtp/refusals.py": "smtp/test_folding.py",
    "smtp/rejections.py": "smtp/test_unzoned_times.py",
    "smtp/sessions.py": "smtp/test_smtp.py",
    "smtp/transaction.py": "smtp/test_smtp.py",
    "stores/assemble.py": "stores/test_views.py",
    "stores/chain.py": "stores/test_views.py",
    "stores/fields.py": "stores/test_views.py",
    "tables/capi2.py": "tables/test_tables.py",
    "tables/frames.py": "tables/test_tables.py",
    "tables/select.py": "tables/test_tables.py",
    "tables/story.py": "tables/test_tables.py",
    "tables/write.py": "tables/test_tables.py",
    "verification.py": "repair/test_repair.py",
    "wincrypt.py": "tables/test_tables.py",
}
# Called in processes that these slow tests start, where nobody counts.
IN_PROCESSES = {
    "__main__.py": "cli/test_cli.py",
    "batch/__init__.py": "batch/test_batch.py",
    "batch/cluster.py": "batch/test_batch.py",
    "batch/cluster_worker.py": "batch/test_batch.py",
    "batch/folder.py": "batch/test_resume.py",
    "batch/index.py": "batch/test_resume.py",
    "batch/local.py": "batch/test_workers.py",
    "batch/memory.py": "batch/test_workers.py",
    "batch/outcome.py": "batch/test_batch.py",
    "batch/work.py": "batch/test_batch.py",
    "batch/worker.py": "batch/test_workers.py",
    "cli/batch.py": "batch/test_batch.py",
    "cli/meter.py": "batch/test_batch.py",
}
NAMED = TESTED_BY | IN_PROCESSES
ENOUGH = 0.3
"""Share of the functions of a module that its test calls."""


def functions(path):
    """First lines of all functions of a module, as code objects have them: with their decorators."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    return {min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))]) for node in nodes}


def modules():
    """Modules that do something: those of constants and classes of data alone have no test of their own."""
    paths = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: found for name, path in paths.items() if (found := functions(path))}


def own_test(name):
    path = Path(name)
    return TESTS / path.parent / f"test_{path.stem}.py"


def test_every_module_has_a_test():
    assert [name for name in modules() if not own_test(name).is_file() and name not in NAMED] == []


def test_every_test_that_is_named_exists_and_is_needed():
    assert NAMED.keys() <= modules().keys()
    assert [name for name in NAMED if own_test(name).is_file()] == []
    assert [test for test in NAMED.values() if not (TESTS / test).is_file()] == []


@pytest.mark.slow
def test_the_test_that_is_named_calls_the_module(tmp_path):
    files = sorted({f"tests/{test}" for test in TESTED_BY.values()})
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "called", "-m", "not slow", *files]
    told = tmp_path / "called.json"
    environment = {**os.environ, "CALLED": str(told), "PYTHONPATH": str(TESTS / "helpers")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=environment, check=False)
    assert done.returncode == 0, done.stdout
    called = json.loads(told.read_text(encoding="utf-8"))
    shares = {}
    for name, lines in modules().items():
        if name in TESTED_BY:
            known = set(called[f"tests/{TESTED_BY[name]}"].get(name, ()))
            shares[name] = len(lines & known) / len(lines)
    assert {name: share for name, share in shares.items() if share < ENOUGH} == {}
