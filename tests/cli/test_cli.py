"""The command line as a user meets it: exit codes, streams, and one-line messages for bad input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import command
import pytest
from places import SAMPLES

from samples import cases
from samples.smtp import SendSession, send_log

CLEAN_SEND = (
    "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: SMTP Send Protocol Log\r\n"
    "#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\r\n"
    "2026-01-01T00:00:00.000Z,Outbound,08D50D3D9730A8C9,0,10.0.0.1:5,195.35.7.64:25,<,250 2.0.0 OK 195.35.7.64,\r\n"
    "2026-01-01T00:00:01.000Z,Outbound,08D50D3D9730A8C9,1,10.0.0.1:5,195.35.7.64:25,-,,Local\r\n"
)


def error_of(result):
    text = result.stderr.decode()
    assert "Traceback" not in text
    assert result.returncode == 2
    assert result.stdout == b""
    assert len(text.splitlines()) == 1, text
    return text


def test_refusals_exit_1_and_print_a_report(run):
    result = run("analyze", SAMPLES / "kb-3212877")
    assert result.returncode == 1
    text = result.stdout.decode()
    assert text.startswith("probable: The server does not send its intermediate certificates (KB 3212877)\n")
    assert r"-CertStoreLocation cert:\LocalMachine\CA" in text
    assert "\x1b" not in text
    assert result.stderr == b""


def test_exit_zero_turns_1_into_0(run):
    assert run("analyze", SAMPLES / "no-capi2", "--exit-zero").returncode == 0


def test_json_on_stdout_equals_the_saved_file(tmp_path, run):
    out = tmp_path / "report.json"
    result = run("analyze", SAMPLES / "kb-3212877", "--format", "json", "-o", out)
    assert result.stdout == out.read_bytes()
    assert json.loads(result.stdout)["verdict"]["cause"] == "missing-intermediate"


def test_a_clean_log_exits_0_though_an_address_holds_the_digits(tmp_path, run):
    (tmp_path / "SEND.LOG").write_text(CLEAN_SEND, newline="")
    result = run("analyze", tmp_path)
    assert result.returncode == 0
    assert "No 5.7.64 refusal was found" in result.stdout.decode()


def test_a_clean_log_that_is_cut_exits_3(tmp_path, run):
    (tmp_path / "SEND.LOG").write_text(CLEAN_SEND + '2026-01-01T00:00:02.000Z,"Outbo', newline="")
    result = run("analyze", tmp_path)
    assert result.returncode == 3
    assert "Absence is not shown" in result.stdout.decode()
    assert "SEND.LOG line 7: a row is cut or damaged" in result.stdout.decode()
    assert run("analyze", tmp_path, "--exit-zero").returncode == 0


def test_an_smtp_log_must_have_been_read_before_absence_means_anything(tmp_path, run):
    shutil.copy(SAMPLES / "kb-event-xml" / "capi2.xml", tmp_path)
    assert "No SMTP log was among what was read" in " ".join(run("analyze", tmp_path).stdout.decode().split())


def test_missing_path(tmp_path, run):
    assert "no such file or folder" in error_of(run("analyze", tmp_path / "nothing"))


def test_folder_without_files(tmp_path, run):
    assert "the input holds no file; expected a CAPI2" in error_of(run("analyze", tmp_path))


def test_empty_file(tmp_path, run):
    (tmp_path / "capi2.evtx").touch()
    message = error_of(run("analyze", tmp_path / "capi2.evtx"))
    assert "capi2.evtx: the file is empty (0 bytes)" in message
    assert "expected" in message


def test_file_of_no_known_kind(tmp_path, run):
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "notes.txt" in error_of(run("analyze", tmp_path))


def test_unknown_file_beside_others_is_listed_and_no_loss(tmp_path, run):
    case = shutil.copytree(SAMPLES / "no-capi2", tmp_path / "case")
    (case / "notes.txt").write_text("nothing here")
    (case / "ticket.txt").write_text("they got 550 5.7.64 TenantAttribution")
    (case / "wide.txt").write_text("they got 550 5.7.64 TenantAttribution", encoding="utf-16")
    report = json.loads(run("analyze", case, "--format", "json").stdout)
    statuses = {item["path"]: item["status"] for item in report["sources"]}
    assert statuses["notes.txt"] == statuses["ticket.txt"] == "unrecognized"
    assert sorted(item["origin"]["source"] for item in report["losses"]) == ["ticket.txt", "wide.txt"]


def test_standard_input(run):
    data = (SAMPLES / "no-capi2" / "SmtpSend" / "SEND2016120103-1.LOG").read_bytes()
    result = run("analyze", "-", "--format", "json", stdin=data)
    assert result.returncode == 1
    assert json.loads(result.stdout)["sources"][0]["path"] == "stdin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--window", "10"), "expected two numbers of seconds"),
        (("--window=-1,5",), "must not be negative"),
        (("--since", "yesterday"), "expected a time such as"),
        (("-o", "report.docx"), "the suffix picks the format"),
        (("-o", "no/such/folder/report.json"), "the folder does not exist"),
        (("--rules", "no-rules"), "no rule file found"),
    ],
)
def test_bad_options(arguments, message, tmp_path, run):
    assert message in error_of(run("analyze", SAMPLES / "no-capi2", *arguments, cwd=tmp_path))


def test_without_arguments_usage_is_shown(run):
    result = run("analyze")
    assert result.returncode == 2
    assert b"INPUT" in result.stderr


def test_since_and_until_limit_the_refusals(run):
    case = SAMPLES / "kb-3212877"
    counts = {}
    for name, arguments in {
        "since": ("--since", "2016-12-01T03:10"),
        "until": ("--until", "2016-12-01T03:10:00Z"),
    }.items():
        report = json.loads(run("analyze", case, "--format", "json", *arguments).stdout)
        counts[name] = sum(item["rejection_count"] for item in report["incidents"])
    assert counts == {"since": 1, "until": 2}


def test_help_names_the_exit_codes(run):
    text = " ".join(run("analyze", "--help").stdout.decode().replace("│", " ").split())
    assert "3 no refusal found, but parts could not be read" in text


def test_version(run):
    assert run("--version").stdout.startswith(b"evtx-analyzer ")


@pytest.mark.slow
def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "evtx_analyzer", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["send-connector", "iis-smtp"])
def test_a_log_that_a_closed_pipe_left_unread_is_not_a_loss(kind, tmp_path):
    case = shutil.copytree(SAMPLES / "kb-3212877", tmp_path / "case")
    for log in case.glob("SmtpSend/*.LOG"):
        # More rows than a pipe and the buffers before it hold.
        head, rows = log.read_bytes().split(b"\n2016", 1)
        log.write_bytes(head + (b"\n2016" + rows.rstrip(b"\n")) * 20 + b"\n")
    command = [sys.executable, "-m", "evtx_analyzer", "events", str(case), "--kind", kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


@pytest.mark.slow
def test_no_module_of_a_parser_is_imported_for_help():
    code = (
        "import sys; sys.argv = ['evtx-analyzer', '--help']\n"
        "from evtx_analyzer.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pandas', 'sigma', 'lxml', 'evtx', 'Evtx'} & set(sys.modules)\n"
        "print('heavy', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert result.stdout.decode().strip().endswith("heavy []")


def test_rules_list_names_every_rule(run):
    text = run("rules", "list").stdout.decode()
    assert "missing-intermediate" in text
    assert "chain_policy_failed" in text


def test_rules_check_passes_on_ours_and_reports_all_mistakes(tmp_path, run):
    assert run("rules", "check").returncode == 0
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "one.yml").write_text("title: x\n")
    (tmp_path / "signals" / "two.yml").write_text("[")
    result = run("rules", "check", "--rules", tmp_path)
    assert result.returncode == 2
    assert [line.partition(": ")[2].partition(":")[0] for line in result.stderr.decode().splitlines()] == [
        "signals/one.yml",
        "signals/two.yml",
    ]


def test_rules_test_runs_our_cases_and_notices_a_rule_without(tmp_path, run):
    assert run("rules", "test").returncode == 0
    (tmp_path / "signals").mkdir()
    shutil.copy(SAMPLES.parent / "rules" / "signals" / "chain_built.yml", tmp_path / "signals" / "my_rule.yml")
    result = run("rules", "test", "--rules", tmp_path)
    assert result.returncode == 1
    assert "cases/signals/my_rule.yml:: the rule has no cases" in result.stdout.decode()


def test_rules_convert(run):
    assert "there is no backend named nonsense" in error_of(run("rules", "convert", "--target", "nonsense"))
    pytest.importorskip("sigma.backends.splunk", reason="extra siem, which .ci/lowest has")
    text = run("rules", "convert", "--target", "splunk", "chain_policy_failed").stdout.decode()
    assert text.startswith("# chain_policy_failed\n")
    assert '"800B0109"' in text
    link = run("rules", "convert", "--target", "splunk", "any_chain_failed_at_handshake")
    assert link.returncode == 0
    assert b"# any_chain_failed_at_handshake" in link.stdout


def test_own_rules_are_added_to_ours(tmp_path, run):
    (tmp_path / "causes").mkdir()
    text = (SAMPLES.parent / "rules" / "causes" / "unexplained.yml").read_text(encoding="utf-8")
    (tmp_path / "causes" / "unexplained.yml").write_text(
        text.replace("does not tell", "tells nobody"), encoding="utf-8"
    )
    report = json.loads(run("analyze", SAMPLES / "no-capi2", "--rules", tmp_path, "--format", "json").stdout)
    assert report["verdict"]["title"] == "The evidence tells nobody why relaying was refused"


def test_a_report_says_that_own_rules_were_used(tmp_path, run):
    (tmp_path / "causes").mkdir()
    shutil.copy(SAMPLES.parent / "rules" / "causes" / "unexplained.yml", tmp_path / "causes")
    own = json.loads(run("analyze", SAMPLES / "no-capi2", "--rules", tmp_path, "--format", "json").stdout)
    ours = json.loads(run("analyze", SAMPLES / "no-capi2", "--format", "json").stdout)
    assert re.fullmatch(r"[0-9a-f]{64}", own["options"]["rules"])
    assert ours["options"]["rules"] is None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("command", [("analyze", SAMPLES / "no-capi2"), ("schema",), ("rules", "list")])
def test_a_full_disk_is_an_error_and_not_a_finding(command):
    with Path("/dev/full").open("wb") as full:
        arguments = [sys.executable, "-m", "evtx_analyzer", *map(str, command)]
        result = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert result.returncode == 5
    assert b"cannot be written" in result.stderr
    assert b"Traceback" not in result.stderr


def test_an_earlier_report_in_the_folder_is_no_input(tmp_path, run):
    case = shutil.copytree(SAMPLES / "attr35", tmp_path / "case")
    codes = [run("analyze", case, "-o", case / "report.json", "-o", case / "report.html").returncode for _ in range(2)]
    assert codes == [0, 0]


def test_an_input_is_never_overwritten(tmp_path, run):
    file = Path(shutil.copy(SAMPLES / "name-mismatch" / "Get-InboundConnector.json", tmp_path / "in.json"))
    before = file.read_bytes()
    assert "is an input" in error_of(run("analyze", SAMPLES / "no-capi2", file, "-o", file))
    assert file.read_bytes() == before


@pytest.mark.slow
def test_every_row_reads_what_is_only_counted_otherwise(tmp_path):
    """A log of more than a megabyte, all of it delivered; a batch passes the option on."""
    sessions = [
        SendSession(cases.KB_TIME + timedelta(seconds=5 * at), f"08D50D3D{at:08X}")
        .connect()
        .message(700, "a@servername.com", [("b@fabrikam.com", "250 2.1.5 Recipient OK")], at)
        .quit(1300)
        for at in range(600)
    ]
    case = tmp_path / "cases/one"
    case.mkdir(parents=True)
    (case / "SEND.LOG").write_text(send_log(sessions), newline="")
    assert (case / "SEND.LOG").stat().st_size > 1 << 20
    read = {}
    for option in ((), ("--every-row",)):
        report = json.loads(command.process("analyze", case, "--format", "json", *option).stdout)
        out = tmp_path / f"out{len(option)}"
        assert command.process("batch", tmp_path / "cases", "-o", out, *option).returncode == 0
        (saved,) = (out / "reports").glob("*.json")
        of_batch = json.loads(saved.read_text(encoding="utf-8"))
        read[option] = [item["coverage"][0]["read"] for item in (report, of_batch)]
        records = report["coverage"][0]["records"]
    assert read == {(): [0, 0], ("--every-row",): [records, records]}


def test_limits_of_time_are_said(run):
    result = run("analyze", SAMPLES / "no-capi2", "--since", "2020-01-01")
    assert result.returncode == 0
    assert "2 refusals with 5.7.64 lie outside of it" in " ".join(result.stdout.decode().split())
    assert "--since lies after --until" in error_of(
        run("analyze", SAMPLES / "no-capi2", "--since", "2016-12-02", "--until", "2016-12-01")
    )


def test_a_link_to_a_folder_is_a_loss(tmp_path, run):
    case = shutil.copytree(SAMPLES / "attr35", tmp_path / "case")
    (case / "more").symlink_to(SAMPLES / "kb-3212877", target_is_directory=True)
    result = run("analyze", case)
    assert result.returncode == 3
    assert "a link to a folder, which is not followed" in " ".join(result.stdout.decode().split())


def test_a_report_of_another_schema_version_is_not_rendered(tmp_path, run):
    text = run("analyze", SAMPLES / "no-capi2", "--format", "json").stdout.decode()
    (tmp_path / "r.json").write_text(text.replace('"schema_version": 1', '"schema_version": 2', 1))
    assert "has schema version 2" in error_of(run("render", tmp_path / "r.json"))


@pytest.mark.parametrize(
    "command",
    [("analyze", "x", "--format", "xml"), ("events", "x", "--format", "md"), ("analyze", "x", "--redact=some")],
)
def test_a_value_that_is_no_choice_is_told_without_the_words_of_a_library(command, run):
    result = run(*command)
    text = " ".join(result.stderr.decode().split())
    assert result.returncode == 2
    assert f"'{command[-1].rpartition('=')[2]}' is not one of '" in text
    assert "Value error" not in text


def test_an_empty_rule_folder_is_told_with_one_colon(tmp_path, run):
    assert error_of(run("rules", "check", "--rules", tmp_path)).startswith(f"evtx-analyzer: {tmp_path}: no rule file")


@pytest.mark.parametrize("command", ["analyze", "batch", "verify"])
def test_help_of_a_command_names_every_exit_status(command, run):
    text = " ".join(run(command, "--help").stdout.decode().split()).partition("Exit status:")[2]
    assert [status for status in ("0", "1", "2", "3", "4", "5", "130") if f"{status} " not in text] == []


@pytest.mark.slow
def test_batch_says_why_a_bundle_was_not_read(tmp_path):
    result = command.process("batch", tmp_path / "nosuch", "-o", tmp_path / "out")
    assert result.returncode == 2
    assert "0 refusals with 5.7.64 in 1 bundle\n" in result.stdout.decode().replace("\r", "")
    assert "no such file or folder" in result.stdout.decode()


@pytest.mark.slow
def test_batch_has_the_status_of_an_output_that_could_not_be_written(tmp_path):
    (tmp_path / "out" / "summary.csv").mkdir(parents=True)
    shutil.copytree(SAMPLES / "no-capi2", tmp_path / "in" / "a")
    result = command.process("batch", tmp_path / "in", "-o", tmp_path / "out")
    assert result.returncode == 5
    assert "summary.csv could not be written" in result.stderr.decode()
    assert (tmp_path / "out" / "summary.json").is_file()
