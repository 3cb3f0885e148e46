"""Return tables as pandas data frames, each column with its documented type.

    table = evtx_analyzer.read_send_log("SmtpSend")           # a file, a folder, or several
    refused = table[table["data"].str.contains("5.7.64", regex=False)]

There is one row per row of the log, and no rule is applied. Columns are those of docs/events.md: ``text`` is pandas'
``string``, ``number`` is ``Int64``, ``time`` is ``datetime64[us, UTC]``. ``attrs["losses"]`` and ``attrs["coverage"]``
say what could not be read and what span the sources cover.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from evtx_analyzer.columns import Cell, Column, Table
from evtx_analyzer.ingest.examine import Inputs
from evtx_analyzer.normalize import iis_smtp, ndr, send_log, tracking
from evtx_analyzer.tables.select import CAPI2, extract

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {"text": "string", "number": "Int64", "decimal": "Float64", "flag": "boolean"}


def read_capi2(inputs: Inputs) -> pd.DataFrame:
    """Return all CAPI2 events of a file, a folder or several of these, one row per record, in the order of time (UTC).

    Raises InputError if nothing can be read.
    """
    return _read(inputs, CAPI2)


def read_send_log(inputs: Inputs) -> pd.DataFrame:
    """Return the rows of Exchange Send connector protocol logs. Raises InputError if no log is in the input."""
    return _read(inputs, send_log.KIND)


def read_iis_smtp(inputs: Inputs, *, tz: str | None = None) -> pd.DataFrame:
    """Return the outbound rows of IIS SMTP logs in any format.

    ``tz`` is the IANA zone of formats in local time; without it their digits stand as UTC, and ``time_basis`` is
    ``unknown``. Raises InputError if no log is in the input, OptionError for an unknown zone.
    """
    return _read(inputs, iis_smtp.KIND, tz)


def read_tracking(inputs: Inputs, *, tz: str | None = None) -> pd.DataFrame:
    """Return message tracking (log files and exports), one row per row and recipient; ``tz`` as in ``read_iis_smtp``.

    Raises InputError if no log is in the input, OptionError for an unknown zone.
    """
    return _read(inputs, tracking.KIND, tz)


def read_ndr(inputs: Inputs) -> pd.DataFrame:
    """Return non-delivery reports (.eml, .msg), one row per recipient. Raises InputError if none is in the input."""
    return _read(inputs, ndr.KIND)


def _read(inputs: Inputs, kind: str, tz: str | None = None) -> pd.DataFrame:
    extracted = extract(inputs, kind=kind, tz=tz)
    table = frame(extracted.table, extracted.items)
    # After the rows, because losses and coverage are complete only then.
    table.attrs["losses"] = list(msgspec.to_builtins(extracted.losses))
    table.attrs["coverage"] = list(msgspec.to_builtins(extracted.coverage))
    return table


def frame(table: Table, items: Iterable[Any]) -> pd.DataFrame:
    """Return a table as pandas data, with its documented types."""
    # Slow to import, and most commands do without pandas.
    import pandas as pd  # noqa: PLC0415

    def series(column: Column, values: Iterable[Cell]) -> pd.Series:
        if column.type == "time":
            return pd.Series(pd.to_datetime(list(values), utc=True)).astype("datetime64[us, UTC]")
        return pd.Series(list(values), dtype=_TYPES[column.type])

    # Without rows zip yields no columns.
    columns = list(zip(*table.rows(items), strict=True)) or [() for _ in table.columns]
    return pd.DataFrame(
        {column.name: series(column, values) for column, values in zip(table.columns, columns, strict=True)}
    )
