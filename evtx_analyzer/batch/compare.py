"""Compare a summary with an earlier one: which bundles are new, which are gone, and which have another result now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.batch.summary import OUTCOME_NAMES, Comparison, Row, Summary
from evtx_analyzer.errors import ReportError


class Earlier(Struct, frozen=True, kw_only=True):
    """What an earlier summary says of a bundle; ``outcome`` is empty if an older version wrote it."""

    bundle: str
    status: str
    cause: str | None = None
    grade: str | None = None
    rejection_count: int = 0
    outcome: str = ""


class _Document(Struct, frozen=True):
    bundles: tuple[Earlier, ...]


def load_summary(path: str | Path) -> dict[str, Earlier]:
    """Return the rows of a summary.json by bundle. Raises ReportError if it cannot be read."""
    try:
        document = msgspec.json.decode(Path(path).read_bytes(), type=_Document)
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: is no summary.json of a batch: {error}") from error
    return {row.bundle: row for row in document.bundles}


def compare(summary: Summary, earlier: Mapping[str, Earlier]) -> Summary:
    """Return the summary with what changed, in each row and as a ``Comparison``; names are in the order of the rows."""
    rows = tuple(_compared(row, earlier.get(row.bundle)) for row in summary.rows)
    names = {row.bundle for row in rows}
    gone = tuple({"bundle": name, "before": words(row)} for name, row in sorted(earlier.items()) if name not in names)
    comparison = Comparison(
        new=tuple(row.bundle for row in rows if row.change == "new"),
        gone=gone,
        changed=tuple(row.bundle for row in rows if row.change == "changed"),
    )
    return replace(summary, rows=rows, comparison=comparison)


def words(row: Row | Earlier) -> str:
    """Return what a row says in few words: ``missing-intermediate probable, 3 refusals``."""
    if row.cause is None:
        return OUTCOME_NAMES.get(row.outcome, row.outcome) or row.status
    return f"{row.cause} {row.grade}, {row.rejection_count} refusal{'s' if row.rejection_count != 1 else ''}"


def _compared(row: Row, before: Earlier | None) -> Row:
    if before is None:
        return replace(row, change="new")
    old, new = ((side.status, side.cause, side.grade, side.rejection_count) for side in (before, row))
    same = old == new and before.outcome in ("", row.outcome)
    return replace(row, change="same" if same else "changed", before="" if same else words(before))
