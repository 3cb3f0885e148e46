"""What a log says runs in no spreadsheet and acts on no terminal: every CSV, with the payloads of reliability.md F9."""

from __future__ import annotations

import csv
import io
import re
from functools import partial

import msgspec
import pytest
from msgspec.structs import replace
from reports import report

from evtx_analyzer.batch.summary import Row, Summary, merge
from evtx_analyzer.batch.summary_files import to_csv as summary_csv
from evtx_analyzer.batch.summary_page import to_html
from evtx_analyzer.columns import Column, Table
from evtx_analyzer.report import csv_tables
from evtx_analyzer.tables.select import OPERATIONS, TABLES
from evtx_analyzer.tables.spreadsheet import SIGNS, safe_cell
from evtx_analyzer.tables.write import write

PAYLOADS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "=cmd|'/C calc'!A0",
    "x\r=1+1",
    "x\n=1+1",
    "x\r\n=1+1,=2",
    "\r=1",
    "\n=1",
    "\t=1",
    " =1+1",
    "\u00a0\u3000=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(A1)",
    "\ufe66\u0031",
    "\u22121",
    "\x1b[31m\x1b]0;title\x07",
    "\x9b2J",
    "a\u202eb\u2066c",
    "\u200b=1",
    "\ufeff=1",
    "a\x00b",
    "\x00=1",
    "\ud800=1",
    "a\u2028=1\u2029=2\x85=3",
    'x",=1+1,"',
    "x;=1+1",
    "x;\t@SUM(A1)",
    "=",
    "@",
]
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def read(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def is_harmless(cell):
    return not HIDDEN.search(cell) and (cell.lstrip()[:1] not in tuple(SIGNS) or cell in ("+", "-"))


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_no_cell_runs_or_acts(payload):
    cell = safe_cell(payload)
    assert is_harmless(cell)
    assert all(is_harmless(part) for part in cell.split(";")), "Excel in German begins a cell behind each semicolon"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("CN=*.contoso.com, O=Contoso", "CN=*.contoso.com, O=Contoso"),
        ("a@contoso.com;b@contoso.com", "a@contoso.com;b@contoso.com"),
        ("Zürich 東京 ⚙", "Zürich 東京 ⚙"),
        ("", ""),
        ("+", "+"),
        ("-", "-"),
        ("=1", "'=1"),
        (" =1", "' =1"),
        ("\t=1", "'\\t=1"),
        ("x\r=1", "x\\r=1"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\x00b", "a\\x00b"),
        ("x;=1", "x;'=1"),
        ("\uff1d1", "'\uff1d1"),
    ],
    ids=ascii,
)
def test_a_cell_shows_what_was_there(text, cell):
    assert safe_cell(text) == cell


# ------------------------------------------------------------------------------------------------------ every CSV


def poisoned(items, payload):
    """The same report objects with the payload in every text that no type limits to certain values."""

    def poison(value):
        if isinstance(value, msgspec.Struct):
            return replace(value, **{name: poison(getattr(value, name)) for name in value.__struct_fields__})
        if isinstance(value, tuple):
            return tuple(map(poison, value))
        return payload if isinstance(value, str) and value not in KEPT else value

    return [poison(item) for item in items]


KEPT = ("utc", "unknown", "zone", "ambiguous", "heading", "wrong-zone")


def written(table, items, form="csv"):
    stream = io.BytesIO()
    write(table, items, form, stream)
    return stream.getvalue().decode()


def is_whole(text, names, count):
    rows = read(text)
    assert text.count("\r\n") == len(rows) == count + 1, "a row is a line, and a line is a row"
    assert rows[0] == list(names)
    assert {len(row) for row in rows} == {len(names)}
    return [cell for row in rows[1:] for cell in row]


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
@pytest.mark.parametrize("name", ["REJECTIONS", "OPERATIONS", "LINKS", "REPLIES", "COMMON"])
def test_tables_of_a_report(name, payload):
    table = getattr(csv_tables, name)
    items = list(table.items(report("kb-3212877")))
    assert items
    text = written(Table(table.columns), poisoned(items, payload))
    cells = is_whole(text, [column.name for column in table.columns], len(items))
    numbers = {
        str(value) for item in items for value in Table(table.columns).rows([item]).__next__() if type(value) is float
    }
    assert all(is_harmless(cell) for cell in cells if cell not in numbers)


def given(value, _):
    return value


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
@pytest.mark.parametrize("kind", [*TABLES, "operations"])
@pytest.mark.parametrize("form", ["csv", "timesketch"])
def test_tables_of_events(kind, form, payload):
    """Each text column gives the payload, whatever an event of the kind may hold."""
    table = OPERATIONS if kind == "operations" else TABLES[kind].with_old_names()
    columns = tuple(
        Column(column.name, column.type, column.meaning, partial(given, payload if column.type == "text" else None))
        for column in table.columns
    )
    hostile = Table(
        tuple(replace(column, take=lambda _: "utc") if column.name == "time_basis" else column for column in columns),
        lambda _: payload,
    )
    lead = ["message", "datetime", "timestamp_desc"] if form == "timesketch" else []
    cells = is_whole(written(hostile, [1, 2], form), [*lead, *table.names], 2)
    assert all(map(is_harmless, cells))


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_the_summary_of_a_batch(payload):
    (row,) = merge([report("kb-3212877")]).rows
    row = replace(row, bundle=payload, hosts=(payload, payload), reason=payload, title=payload, time_note=payload)
    summary = Summary(rows=(replace(row, status="failed"), row))
    cells = is_whole(summary_csv(summary), Row.__struct_fields__, 2)
    assert all(map(is_harmless, cells))
    # Separators of lines and paragraphs are blanks in HTML.
    assert not HIDDEN.search(re.sub("[\n\u2028\u2029]", "", to_html(summary)))


def test_json_lines_hold_the_text_as_it_is():
    table = Table((Column("x", "text", "", str),))
    assert written(table, ["x\r=1\x1b\u202e"], "jsonl") == '{"x":"x\\r=1\\u001b\u202e"}\n'


def test_a_report_on_standard_output_is_guarded_too():
    table = csv_tables.REJECTIONS
    assert "\x1b" not in csv_tables.rendered(table, report("kb-3212877"), "csv").decode()
