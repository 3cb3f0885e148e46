"""Write tables as CSV, JSON Lines and Parquet, the first two also for an import into Timesketch.

CSV has CR LF as row ends (RFC 4180), control characters as escapes, and ``'`` before what a spreadsheet would run as
a formula (``spreadsheet``). JSON Lines and Parquet hold every value as it is.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal, cast

import msgspec

from evtx_analyzer import clock
from evtx_analyzer.columns import Column, Table
from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.tables.frames import frame
from evtx_analyzer.tables.spreadsheet import csv_cell

Format = Literal["csv", "jsonl", "parquet", "timesketch", "timesketch.jsonl"]
"""``timesketch`` is CSV for an import into Timesketch, ``timesketch.jsonl`` the same rows as JSON Lines."""
SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def format_for(path: str | os.PathLike[str], asked: Format | None = None) -> Format:
    """Return the format asked for, or that of a file's suffix. Raises OptionError for an unknown suffix."""
    name = os.fspath(path).lower()
    # Timesketch tells CSV from JSON Lines by the suffix.
    if name.endswith(".jsonl") and (asked == "timesketch" or (asked is None and name.endswith(".timesketch.jsonl"))):
        return "timesketch.jsonl"
    if asked is not None:
        return asked
    suffix = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122  a name, not a file
    if suffix not in SUFFIXES:
        raise OptionError(
            f"{path}: the suffix picks the format; expected one of {', '.join(SUFFIXES)}, or use --format"
        )
    return SUFFIXES[suffix]


def write(table: Table, items: Iterable[Any], form: Format, stream: BinaryIO, *, bom: bool = False) -> None:
    """Write a table in UTF-8; ``bom`` puts a byte order mark before CSV, which Excel needs to recognize UTF-8.

    Raises OptionError for Parquet if pyarrow is not installed.
    """
    if form == "parquet":
        _write_parquet(table, items, stream)
        return
    if form in ("timesketch", "timesketch.jsonl"):
        table = for_timesketch(table)
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        if form in ("jsonl", "timesketch.jsonl"):
            names = table.names
            rows = (dict(zip(names, row, strict=True)) for row in table.rows(items))
            text.writelines(msgspec.json.encode(row).decode("utf-8") + "\n" for row in rows)
        else:
            text.write("\ufeff" if bom else "")
            writer = csv.writer(text, lineterminator="\r\n")
            writer.writerow(table.names)
            writer.writerows([csv_cell(value) for value in row] for row in table.rows(items))
    finally:
        # The stream is the caller's: the wrapper would close it when it is collected.
        text.detach()


def for_timesketch(table: Table) -> Table:
    """Return the table with the three columns that Timesketch asks for in front of its own.

    https://timesketch.org/guides/user/import-from-json-csv/. Timesketch takes every time for UTC, so ``timestamp_desc``
    says so if a time is not.
    """
    takes = {column.name: column.take for column in table.columns}
    time, basis = takes["time"], takes.get("time_basis", lambda _: "utc")

    def title(event: Any) -> str:  # noqa: ANN401  a row of any table
        remark = clock.remark(cast("TimeBasis", basis(event)))
        return f"Event logged ({remark})" if remark else "Event logged"

    def moment(event: Any) -> str:  # noqa: ANN401  a row of any table
        value = time(event)
        return value.replace(tzinfo=UTC).isoformat() if isinstance(value, datetime) else ""

    lead = (
        Column("message", "text", "the row in words", table.message),
        Column("datetime", "text", "time, ISO 8601", moment),
        Column("timestamp_desc", "text", "what the time is", title),
    )
    return Table((*lead, *table.columns), table.message)


def _write_parquet(table: Table, items: Iterable[Any], stream: BinaryIO) -> None:
    try:
        import pyarrow  # noqa: F401, ICN001, PLC0415  an extra
    except ImportError:
        raise OptionError(
            "Parquet needs pyarrow, which is not installed; run: pip install 'evtx-analyzer[parquet]'"
        ) from None
    frame(table, items).to_parquet(stream, engine="pyarrow", index=False, compression="zstd")
