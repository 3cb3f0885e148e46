"""Tables as pandas data frames, each column with its documented type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from evtx_analyzer.ingest.examine import Inputs
from evtx_analyzer.tables.columns import Table
from evtx_analyzer.tables.select import extract

if TYPE_CHECKING:
    import pandas as pd


def read_capi2(inputs: Inputs) -> pd.DataFrame:
    """Return all CAPI2 events of a file, a folder or several of these, one row per record, in order of time.

    Columns are those of ``TABLES["capi2"]``: ``text`` is pandas' ``string``, ``number`` is ``Int64``, ``time`` is
    ``datetime64[us, UTC]``. ``attrs["losses"]`` and ``attrs["coverage"]`` say what could not be read and what span
    the exports cover. Raises InputError where nothing can be read.
    """
    found = extract(inputs)
    table = frame(found.table, found.items)
    table.attrs["losses"] = list(msgspec.to_builtins(found.losses))
    table.attrs["coverage"] = list(msgspec.to_builtins(found.coverage))
    return table


def frame(table: Table, items: Iterable[Any]) -> pd.DataFrame:
    """Return a table as pandas data, with its documented types."""
    # Here and not above: most commands do without pandas, and it is slow to import.
    import pandas as pd  # noqa: PLC0415

    columns = list(zip(*table.rows(items), strict=True)) or [() for _ in table.columns]
    types = {"text": "string", "number": "Int64"}
    return pd.DataFrame(
        {
            column.name: pd.Series(pd.to_datetime(list(values), utc=True)).astype("datetime64[us, UTC]")
            if column.type == "time"
            else pd.Series(list(values), dtype=types[column.type])
            for column, values in zip(table.columns, columns, strict=True)
        }
    )
