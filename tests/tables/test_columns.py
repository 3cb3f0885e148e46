"""Names of columns: the log's own, one for one thing, with the names of 0.1 beside them; the manual lists them all."""

from __future__ import annotations

import csv
import io

import manual
import pytest
from places import CHECKOUT, SAMPLES

import evtx_analyzer
from evtx_analyzer.report import csv_tables
from evtx_analyzer.tables.select import OPERATIONS, TABLES, extract
from evtx_analyzer.tables.write import write

SAMPLE = SAMPLES / "kb-3212877"
EVERY = {**TABLES, "operations": OPERATIONS}
# docs/events.md of 0.1, as far as a column has another name now. Columns that were always empty went.
OLD = {
    "capi2": {
        "host": "Computer",
        "record": "EventRecordID",
        "event_id": "EventID",
        "process": "ProcessName",
        "process_id": "ProcessID",
        "thread_id": "ThreadID",
        "user": "impersonateToken",
        "subject": "subjectName",
        "server_name": "serverName",
        "auth_type": "authType",
        "chain_index": "chainIndex",
        "element_index": "elementIndex",
        "task_id": "TaskId",
        "sequence": "SeqNumber",
        "chain_ref": "chainRef",
    },
    "send-connector": {
        "connector": "connector-id",
        "session": "session-id",
        "sequence": "sequence-number",
        "local": "local-endpoint",
        "remote": "remote-endpoint",
        "direction": "event",
        "text": "data",
    },
    "iis-smtp": {
        "host": "s-computername",
        "connector": "s-sitename",
        "service": "s-sitename",
        "remote": "c-ip",
        "elapsed_ms": "time-taken",
    },
    "message-tracking": {
        "message_id": "message-id",
        "recipient": "recipient-address",
        "status": "recipient-status",
        "connector": "connector-id",
    },
    "ndr": {
        "message_id": "Message-ID",
        "recipient": "Final-Recipient",
        "status": "Diagnostic-Code",
        "remote_name": "Remote-MTA",
    },
}
# #Fields of a Send log, protocol-logging.md (OfficeDocs-Exchange); date-time is the column ``time``.
SEND_FIELDS = (
    *("connector-id", "session-id", "sequence-number", "local-endpoint", "remote-endpoint"),
    *("event", "data", "context"),
)


@pytest.mark.parametrize("kind", EVERY)
def test_no_two_columns_differ_by_case_alone(kind):
    """Import-Csv of PowerShell refuses such a file: "The member ... is already present"."""
    names = [name.casefold() for name in EVERY[kind].with_old_names().names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", OLD)
def test_the_names_of_the_last_release_are_there(kind):
    named = {old: column.name for column in TABLES[kind].columns for old in column.old}
    assert named == OLD[kind]


def rows(found):
    stream = io.BytesIO()
    write(found.table, found.items, "csv", stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue().decode(), newline="")))


@pytest.mark.parametrize("kind", ["capi2", "send-connector", "iis-smtp"])
def test_an_old_name_holds_what_the_new_one_holds(kind):
    made = rows(extract(SAMPLE, kind=kind))
    for old, new in OLD[kind].items():
        assert [row[old] for row in made] == [row[new] for row in made]
    assert any(row[old] for row in made for old in OLD[kind])
    bare = rows(extract(SAMPLE, kind=kind, old_names=False))
    assert list(bare[0]) == TABLES[kind].names
    assert list(made[0])[: len(bare[0])] == TABLES[kind].names, "old names come last"


def test_rows_of_a_send_log_have_the_names_of_its_heading():
    (path,) = (SAMPLE / "SmtpSend").iterdir()
    heading = next(line for line in path.read_text("utf-8").splitlines() if line.startswith("#Fields: "))
    assert heading == "#Fields: date-time," + ",".join(SEND_FIELDS)
    table = evtx_analyzer.read_send_log(SAMPLE)
    assert set(SEND_FIELDS) <= set(table.columns)
    assert table["data"].str.contains("5.7.64", regex=False).any()
    assert (table["text"] == table["data"]).all()


def test_rows_of_iis_have_the_names_of_w3c_and_its_cells():
    table = evtx_analyzer.read_iis_smtp(SAMPLE)
    refused = table[table["cs-uri-query"].str.contains("5.7.64", regex=False)]
    assert set(refused["cs-username"]) == {"OutboundConnectionResponse"}
    assert set(refused["direction"]) == {"<"}
    assert (refused["cs-uri-query"].str.replace("+", " ") == refused["text"]).all()


def test_library_and_command_have_the_same_columns():
    for kind, table in (
        ("send-connector", evtx_analyzer.read_send_log(SAMPLE)),
        ("capi2", evtx_analyzer.read_capi2(SAMPLE)),
    ):
        assert list(table.columns) == extract(SAMPLE, kind=kind).table.names


def test_nothing_to_read_is_an_error_and_no_empty_table(tmp_path):
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(evtx_analyzer.InputError, match="logs of kind send-connector"):
        evtx_analyzer.read_send_log(tmp_path)


# -------------------------------------------------------------------------------------------------------- manual


def columns(table):
    lines = [
        [f"`{column.name}`", column.type, column.meaning, ", ".join(f"`{old}`" for old in column.old)]
        for column in table.columns
    ]
    if any(line[3] for line in lines):
        return manual.table(["column", "type", "meaning", "name in 0.1"], lines)
    return manual.table(["column", "type", "meaning"], [line[:3] for line in lines])


def test_the_manual_is_what_the_columns_say(request):
    tables = {name: columns(table) for name, table in EVERY.items() if name != "receive-connector"}
    for name in ("rejections", "links", "replies", "common"):
        tables[name] = columns(getattr(csv_tables, name.upper()))
    tables["report-operations"] = columns(csv_tables.OPERATIONS)
    manual.check(CHECKOUT / "docs" / "events.md", tables, update=request.config.getoption("--update-snapshots"))
