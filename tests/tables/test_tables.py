"""``evtx-analyzer events`` and ``read_capi2``: formats, filters, streams and exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from capi2_events import LEAF, START, chain, every_id, log, policy
from places import CHECKOUT

import evtx_analyzer
from evtx_analyzer import cli
from evtx_analyzer.errors import InputError, OptionError
from evtx_analyzer.tables.select import TABLES, Filter, extract
from evtx_analyzer.tables.write import write
from samples.capi2 import guid
from samples.evtx_writer import write_evtx

ROOT = CHECKOUT
SAMPLE = ROOT / "samples" / "kb-3212877"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "capi2.evtx"
    path.write_bytes(write_evtx(log(*every_id())))
    return path


class Result(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def run(capsysbinary, monkeypatch):
    """The command as ``main`` runs it, in this process: starting one per test takes a second each."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["evtx-analyzer", "events", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        status = exit_.value.code or 0
        assert isinstance(status, int)
        return Result(status, *capsysbinary.readouterr())

    return command


def written(form, found, **options):
    stream = io.BytesIO()
    write(found.table, found.items, form, stream, **options)
    return stream.getvalue()


def table(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


# ------------------------------------------------------------------------------------------------ formats


def test_csv_has_one_row_per_record_in_order(export):
    rows = table(written("csv", extract(export)).decode())
    assert [row["EventID"] for row in rows] == [str(number) for number, _ in every_id()]
    last = next(row for row in rows if row["EventID"] == "30")
    assert last["result"] == "800B0109"
    assert last["result_name"] == "CERT_E_UNTRUSTEDROOT"
    assert last["policy"] == "CERT_CHAIN_POLICY_SSL"
    assert last["ignore_flags"] == "SECURITY_FLAG_IGNORE_REVOCATION SECURITY_FLAG_IGNORE_WRONG_USAGE"
    assert datetime.fromisoformat(last["time"]).utcoffset().total_seconds() == 0
    assert last["source"] == "capi2.evtx"


def test_a_byte_order_mark_only_where_asked_for(export):
    assert not written("csv", extract(export)).startswith(b"\xef\xbb\xbf")
    assert written("csv", extract(export), bom=True).startswith(b"\xef\xbb\xbftime,")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_subject_cannot_run_as_a_formula(start, tmp_path):
    escaped = {"\t": "&#9;", "\r": "&#13;"}.get(start, start)
    evil = f'{escaped}HYPERLINK("x","y")'.replace('"', "&quot;")
    path = tmp_path / "capi2.xml"
    path.write_text("".join(log((30, policy(1)))).replace("mail.contoso.com", evil))
    (row,) = table(written("csv", extract(path)).decode())
    shown = {"\t": "\\t", "\r": "\\r"}.get(start, f"'{start}")
    assert row["subjectName"] == f'{shown}HYPERLINK("x","y")'
    (line,) = written("jsonl", extract(path)).decode().splitlines()
    assert json.loads(line)["subjectName"] == f'{start}HYPERLINK("x","y")'


def test_json_lines_keep_types_and_null(export):
    rows = [json.loads(line) for line in written("jsonl", extract(export)).splitlines()]
    assert (rows[0]["EventID"], rows[0]["EventRecordID"], rows[0]["chainIndex"]) == (10, 1, None)
    assert rows[0]["time"] == "2026-03-01T12:00:00Z"


def test_timesketch_has_its_three_fields_first(export):
    """https://timesketch.org/guides/user/import-from-json-csv/: message, datetime (ISO 8601), timestamp_desc."""
    text = written("timesketch", extract(export)).decode()
    assert text.startswith("message,datetime,timestamp_desc,")
    first = table(text)[0]
    assert (first["datetime"], first["timestamp_desc"]) == ("2026-03-01T12:00:00+00:00", "Event logged")
    assert all(row["message"] for row in table(text))


def test_with_a_format_a_file_may_have_any_suffix(export, tmp_path, run):
    path = tmp_path / "events.txt"
    assert run(export, "-o", path).returncode == 2
    assert run(export, "-o", path, "--format", "csv").returncode == 0
    assert path.read_text("utf-8").startswith("time,Computer,")


@pytest.mark.parametrize("options", [(), ("--format", "timesketch")])
def test_a_file_for_timesketch_holds_what_its_suffix_says(export, tmp_path, run, options):
    """An import tells JSON Lines from CSV by the suffix (the page above)."""
    path = tmp_path / "case.timesketch.jsonl"
    assert run(export, "-o", path, *options).returncode == 0
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert list(rows[0])[:3] == ["message", "datetime", "timestamp_desc"]
    assert (rows[0]["datetime"], rows[0]["EventID"]) == ("2026-03-01T12:00:00+00:00", 10)


def test_parquet_keeps_the_documented_types(export, tmp_path, run):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    out = tmp_path / "events.parquet"
    assert run(export, "-o", out).returncode == 0
    data = pandas.read_parquet(out)
    assert data["EventID"].tolist() == [number for number, _ in every_id()]
    assert str(data["time"].dtype) == "datetime64[us, UTC]"


def test_parquet_without_pyarrow_says_what_to_install(export, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError, match=r"pip install 'evtx-analyzer\[parquet\]'"):
        written("parquet", extract(export))


def test_the_same_input_gives_the_same_bytes(export):
    for form in ("csv", "jsonl"):
        assert written(form, extract(export)) == written(form, extract(export))


# ------------------------------------------------------------------------------------------------ library


def test_read_capi2_has_the_documented_types(export):
    data = evtx_analyzer.read_capi2(export)
    kinds = {"text": "string", "number": "Int64", "time": "datetime64[us, UTC]"}
    assert {name: str(kind) for name, kind in data.dtypes.items()} == {
        column.name: kinds[column.type] for column in TABLES["capi2"].with_old_names().columns
    }
    assert len(data) == len(every_id())
    assert data["time"].iloc[0] == START
    failed = data[~data["result"].isin(["", "0"])]
    assert failed["EventID"].tolist() == [41, 11, 30, 81]
    assert data.attrs["losses"] == []
    assert data.attrs["coverage"][0]["records"] == len(every_id())


def test_read_capi2_of_an_empty_channel_has_all_columns(tmp_path):
    (tmp_path / "capi2.evtx").write_bytes(write_evtx([]))
    data = evtx_analyzer.read_capi2(tmp_path)
    assert len(data) == 0
    assert str(data["time"].dtype) == "datetime64[us, UTC]"
    assert str(data["EventRecordID"].dtype) == "Int64"


def test_read_capi2_can_be_saved_with_its_account(export, tmp_path):
    pytest.importorskip("pyarrow")
    evtx_analyzer.read_capi2(export).to_parquet(tmp_path / "x.parquet")


def test_read_capi2_of_nothing_readable_says_what_was_expected(tmp_path):
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(InputError, match="expected a CAPI2 Operational export"):
        evtx_analyzer.read_capi2(tmp_path)


# ------------------------------------------------------------------------------------------------ filters


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"ids": frozenset({30, 70})}, [30, 70]),
        ({"results": frozenset({0x800B0109})}, [30]),
        ({"failed": True}, [41, 11, 30, 81]),
        ({"process": "LSASS"}, [number for number, _ in every_id()]),
        ({"process": "w3wp.exe"}, []),
        ({"subject": "contoso.COM"}, [42, 41, 90, 11, 30, 70]),
        ({"subject": LEAF.lower()}, [42, 41, 90, 11, 30, 70]),
        ({"since": datetime(2026, 3, 1, 12, 0, 14, tzinfo=UTC)}, [82, 23]),
        ({"until": datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)}, [10, 40]),
        ({"failed": True, "ids": frozenset({11})}, [11]),
    ],
)
def test_filters_of_records(wanted, ids, export):
    assert [item.event_id for item in extract(export, wanted=Filter(**wanted)).items] == ids


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ({"ids": frozenset({53})}, ["chain"]),
        ({"ids": frozenset({80})}, ["trust"]),
        ({"results": frozenset({0x80092013})}, ["chain"]),
        ({"failed": True}, ["chain", "trust"]),
        ({"subject": "contoso"}, ["chain", "private-key"]),
        ({"process": "lsass.exe", "until": START}, []),
    ],
)
def test_filters_of_operations_keep_those_in_which_any_event_fits(wanted, kinds, export):
    found = extract(export, wanted=Filter(**wanted), as_operations=True)
    assert [item.kind for item in found.items] == kinds


def test_failed_goes_by_the_result_and_not_by_the_level(tmp_path):
    (event,) = log((11, chain(1, "0")))
    (tmp_path / "x.xml").write_text(event.replace("<Level>4<", "<Level>2<"))
    assert list(extract(tmp_path, wanted=Filter(failed=True)).items) == []


# -------------------------------------------------------------------------------------------- command line


@pytest.mark.slow
def test_the_command_writes_csv_to_stdout_and_nothing_else(export):
    command = [sys.executable, "-m", "evtx_analyzer", "events", str(export)]
    result = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(table(result.stdout.decode())) == len(every_id())


def test_the_suffix_of_the_output_picks_the_format(export, tmp_path, run):
    out = tmp_path / "events.jsonl"
    result = run(export, "-o", out, "--id", "30,11", "--id", "70")
    assert (result.returncode, result.stdout) == (0, b"")
    assert [json.loads(line)["EventID"] for line in out.read_text().splitlines()] == [11, 30, 70]


def test_operations_and_results_by_symbol(export, run):
    rows = table(run(export, "--operations", "--result", "CERT_E_UNTRUSTEDROOT").stdout.decode())
    assert [(row["kind"], row["events"], row["complete"]) for row in rows] == [("chain", "11", "yes")]
    assert rows[0]["missing_issuer"] == "CN=Contoso CA"


def test_losses_go_to_stderr_and_the_exit_code(export, tmp_path, run):
    (tmp_path / "cut.evtx").write_bytes(export.read_bytes()[:40_000])
    result = run(tmp_path)
    assert result.returncode == 3
    assert b"cut.evtx" in result.stderr
    assert table(result.stdout.decode())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--id", "x"], "--id x: expected event ids"),
        (["--result", "zzz"], "--result zzz: expected hex or a symbol"),
        (["--since", "soon"], "--since soon"),
        (["--kind", "nonsense"], "expected one of capi2, send-connector"),
        (["--kind", "iis-smtp", "--id", "30"], "are for capi2"),
        (["--format", "parquet"], "name a file"),
        (["-o", "x.docx"], "the suffix picks the format"),
        (["--story", "--operations"], "--story is text of its own"),
        (["--format", "jsonl", "--bom"], "--bom is for CSV"),
    ],
)
def test_wrong_options_are_one_line(arguments, said, export, run):
    result = run(export, *arguments)
    assert result.returncode == 2
    assert result.stdout == b""
    assert said in result.stderr.decode()
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_and_a_file_of_nothing_exit_2(tmp_path, run):
    assert run(tmp_path / "none.evtx").returncode == 2
    (tmp_path / "x.txt").write_text("hello")
    result = run(tmp_path)
    assert result.returncode == 2
    assert b"expected a CAPI2 Operational export" in result.stderr


def test_smtp_rows_are_given_the_same_way(run):
    rows = table(run(SAMPLE, "--kind", "send-connector").stdout.decode())
    assert any("5.7.64" in row["data"] for row in rows)
    assert {row["event"] for row in rows} <= {"+", "-", ">", "<", "*"}
    rows = table(run(SAMPLE, "--kind", "iis-smtp").stdout.decode())
    assert any("5.7.64" in row["text"] for row in rows)


def test_rows_of_messages_are_one_per_recipient(tmp_path):
    refusal = "550 5.7.64 TenantAttribution; Relay Access Denied"
    status = "[{LED=" + refusal + "};{MSG=};{FQDN=x.outlook.com};{IP=216.32.181.234};{LRT=}]"
    (tmp_path / "MSGTRK.LOG").write_text(
        "#Software: Microsoft Exchange Server\r\n#Log-type: Message Tracking Log\r\n#Fields: date-time,source,event-id,"
        "message-id,recipient-address,recipient-status,sender-address\r\n2016-12-01T03:09:55.801Z,SMTP,FAIL,"
        f"<a@contoso.com>,b@fabrikam.com;c@fabrikam.com,{status};{status},a@contoso.com\r\n",
        newline="",
    )
    rows = table(written("csv", extract(tmp_path, kind="message-tracking")).decode())
    assert [row["recipient-address"] for row in rows] == ["b@fabrikam.com", "c@fabrikam.com"]
    assert {(row["message-id"], row["time_basis"]) for row in rows} == {("<a@contoso.com>", "utc")}
    assert all("5.7.64" in row["recipient-status"] for row in rows)


def test_times_of_a_local_log_need_its_zone(tmp_path):
    """W3C rows are UTC; the IIS format is in local time, and says so until its zone is named."""
    row = (
        "216.32.181.234, OutboundConnectionResponse, 12/1/2016, 3:09:55, SMTPSVC1, EX01, -, 0, 0, 34, 0, 0, -, -, "
        "550+5.7.64+TenantAttribution, \r\n"
    )
    (tmp_path / "in161201.log").write_text(row, newline="")
    (unknown,) = table(written("csv", extract(tmp_path, kind="iis-smtp")).decode())
    (known,) = table(written("csv", extract(tmp_path, kind="iis-smtp", tz="Europe/Berlin")).decode())
    assert (unknown["time_basis"], known["time_basis"]) == ("unknown", "zone")
    assert known["time"] == "2016-12-01T02:09:55Z"


def test_the_story_of_the_kb_can_be_read_from_top_to_bottom(run):
    result = run(SAMPLE, "--story", "--failed", "--subject", "*.servername.com")
    text = result.stdout.decode()
    assert result.returncode == 0
    parts = [
        "2016-12-01 03:09:55.456 UTC  CORP-SMTP1  lsass.exe (process 544)  Certificate check\n",
        "  CERT_CHAIN_POLICY_SSL (authType server): 800B0109 CERT_E_UNTRUSTEDROOT\n",
        "  told not to look at: SECURITY_FLAG_IGNORE_REVOCATION, SECURITY_FLAG_IGNORE_WRONG_USAGE\n",
        "  chain: 800B010A CERT_E_CHAINING, CERT_TRUST_IS_PARTIAL_CHAIN\n",
        "no issuer was found for it: CN=Example Trust TLS CA 2016",
        "03:09:55.425  11  record 3155",
        "03:09:55.456  30  record 3156",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "\x1b" not in text


def test_the_story_nests_the_chains_of_a_signature_check(tmp_path, run):
    from capi2_events import start, trust

    task = guid("trust")
    (tmp_path / "x.evtx").write_bytes(
        write_evtx(
            log(
                (80, start("WinVerifyTrust", 1, task=task)),
                (10, start("CertGetCertificateChain", 2, task=task)),
                (11, chain(3, task=task)),
                (30, policy(4, task=task)),
                (81, trust(5, task=task)),
            )
        )
    )
    lines = run(tmp_path, "--story").stdout.decode().splitlines()
    outer = next(line for line in lines if line.endswith("Signature check (WinVerifyTrust)"))
    inner = next(line for line in lines if line.endswith("Certificate check"))
    assert not outer.startswith(" ")
    assert inner.startswith("  ")
    assert lines.index(outer) < lines.index(inner)


def test_a_subject_cannot_act_on_the_terminal(tmp_path, run):
    text = "".join(log((30, policy(1, "800B0109")))).replace("mail.contoso.com", "mail\u009b2Jcontoso")
    (tmp_path / "x.xml").write_text(text, encoding="utf-8")
    out = run(tmp_path, "--story").stdout.decode()
    assert "\u009b" not in out
    assert "mail\ufffd2Jcontoso" in out
