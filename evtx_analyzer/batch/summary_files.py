"""Write a summary as JSON, JSON Lines and CSV."""

from __future__ import annotations

import csv
import io

import msgspec

from evtx_analyzer.batch.summary import Row, Summary, cells
from evtx_analyzer.report.document import SCHEMA_VERSION
from evtx_analyzer.tables.spreadsheet import csv_cell


def to_json(summary: Summary) -> str:
    """Return the whole summary as JSON: the counts, and the rows and incidents that they count."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "statuses": summary.statuses,
        "outcomes": summary.outcomes,
        "rejection_count": summary.rejection_count,
        "causes": summary.causes,
        "certificates": summary.certificates,
        "timeline": summary.incidents,
        "not_read": [{"bundle": row.bundle, "status": row.status, "reason": row.reason} for row in summary.not_read],
        "comparison": summary.comparison,
        "bundles": summary.rows,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def to_csv(summary: Summary) -> str:
    """Return one row per bundle as CSV; ``tables.spreadsheet`` says how cells are guarded against formulas."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(Row.__struct_fields__)
    writer.writerows([csv_cell(value) for value in cells(row).values()] for row in summary.rows)
    return out.getvalue()


def to_jsonl(summary: Summary) -> str:
    """Return one row per bundle as JSON Lines."""
    return "".join(msgspec.json.encode(row).decode() + "\n" for row in summary.rows)
