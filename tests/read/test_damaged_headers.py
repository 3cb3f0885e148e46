"""Headers of Exchange logs that are damaged cost the rows that they describe, and no others."""

from __future__ import annotations

import io

import pytest

from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read import read
from samples import cases


@pytest.mark.parametrize("columns", ["date-time", "", ",", "x,y"])
def test_a_header_of_few_columns_ends_no_reading(columns):
    """Found by fuzzing: a header that was cut behind its first column, and no line says which log it is."""
    whole = cases._send().encode()
    cut = f"#Software: Microsoft Exchange Server\r\n#Fields: {columns}\r\n2016-12-01T03:00:00.000Z\r\nx,y\r\n".encode()
    found = list(read("exchange-log", io.BytesIO(cut + whole), Origin(source="x")))
    rows = [item for item in found if isinstance(item, LogRow) and "session-id" in item.values]
    assert len(rows) == sum(not line.startswith(b"#") for line in whole.splitlines())
