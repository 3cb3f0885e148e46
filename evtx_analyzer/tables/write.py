"""Tables as CSV, JSON Lines, Parquet and Timesketch's CSV.

A CSV cell that a spreadsheet would run as a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Literal, TextIO, cast

import msgspec

from evtx_analyzer import clock
from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.tables.columns import Cell, Row
from evtx_analyzer.tables.frames import frame
from evtx_analyzer.tables.select import Extract

Format = Literal["csv", "jsonl", "parquet", "timesketch"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def format_for(path: str | os.PathLike[str]) -> Format:
    """Return the format that a file's suffix stands for; raises OptionError for an unknown one."""
    if os.fspath(path).lower().endswith(".timesketch.jsonl"):
        return "timesketch"
    suffix = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122  a name, not a file
    if suffix not in SUFFIXES:
        raise OptionError(
            f"{path}: the suffix picks the format; expected one of {', '.join(SUFFIXES)}, or use --format"
        )
    return SUFFIXES[suffix]


def write(found: Extract, form: Format, stream: BinaryIO, *, bom: bool = False) -> None:
    """Write a table in UTF-8; ``bom`` puts a byte order mark before CSV, which Excel needs to see that it is UTF-8."""
    if form == "parquet":
        _write_parquet(found, stream)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        if form == "jsonl":
            _write_jsonl(found, text)
        else:
            text.write("\ufeff" if bom else "")
            _write_csv(found, text, timesketch=form == "timesketch")
    finally:
        text.detach()


def _write_csv(found: Extract, stream: TextIO, *, timesketch: bool) -> None:
    names = [column.name for column in found.table.columns]
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(["message", "datetime", "timestamp_desc", *names] if timesketch else names)
    first = names.index("time")
    for item in found.items:
        (row,) = _marked(found.table.rows([item]), names)
        # Timesketch's three columns: https://timesketch.org/guides/user/import-from-json-csv/
        lead: Row = (found.table.message(item), row[first], _time_title(row, names)) if timesketch else ()
        writer.writerow([_cell(value) for value in (*lead, *row)])


def _time_title(row: Row, names: Sequence[str]) -> str:
    """Return what the time of a row is; Timesketch takes every time for UTC, so the title says where it is not."""
    remark = clock.remark(_basis(row, names))
    return f"Event logged ({remark})" if remark else "Event logged"


def _marked(rows: Iterable[Row], names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows; times whose UTC time is not known get no offset, so that no reader takes them for UTC."""
    if "time_basis" not in names:
        yield from rows
        return
    for row in rows:
        if clock.is_known(_basis(row, names)):
            yield row
        else:
            yield tuple(value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row)


def _basis(row: Row, names: Sequence[str]) -> TimeBasis:
    return cast("TimeBasis", row[names.index("time_basis")]) if "time_basis" in names else "utc"


def _write_jsonl(found: Extract, stream: TextIO) -> None:
    names = [column.name for column in found.table.columns]
    rows = (dict(zip(names, row, strict=True)) for row in _marked(found.table.rows(found.items), names))
    stream.writelines(msgspec.json.encode(row).decode("utf-8") + "\n" for row in rows)


def _write_parquet(found: Extract, stream: BinaryIO) -> None:
    try:
        import pyarrow  # noqa: F401, ICN001, PLC0415  an extra
    except ImportError:
        raise OptionError(
            "Parquet needs pyarrow, which is not installed; run: pip install 'evtx-analyzer[parquet]'"
        ) from None
    frame(found.table, found.items).to_parquet(stream, engine="pyarrow", index=False)


def _cell(value: Cell) -> str | int:
    """Return a CSV cell; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    formula = isinstance(value, str) and len(value) > 1 and value.startswith(_FORMULA)
    return f"'{value}" if formula else value
