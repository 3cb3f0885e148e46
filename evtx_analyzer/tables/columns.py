"""What a table and a column are.

A column is ``text`` (empty where absent), ``number`` (null where absent) or ``time`` (UTC, null where absent).
docs/events.md lists all columns, and a test compares it with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from evtx_analyzer.model.events import MessageEvent, RecipientStatus
from evtx_analyzer.model.origin import Origin

Cell = str | int | datetime | None
Row = tuple[Cell, ...]


class RecipientRow(Struct, frozen=True):
    """One recipient of a message event: these kinds have one row per recipient."""

    event: MessageEvent
    recipient: RecipientStatus

    @property
    def time(self) -> datetime:
        """Return the time of the event."""
        return self.event.time


class Column(Struct, frozen=True):
    """A column: its name, its type, what it means, and how its value is taken from an event or operation."""

    name: str
    type: Literal["text", "number", "time"]
    meaning: str
    take: Callable[[Any], Cell]


class Table(Struct, frozen=True):
    """The columns of one kind, and a sentence per row for formats that want one."""

    columns: tuple[Column, ...]
    message: Callable[[Any], str]

    def rows(self, items: Iterable[Any]) -> Iterator[Row]:
        """Yield one row for each event or operation."""
        takes = [column.take for column in self.columns]
        return (tuple(take(item) for take in takes) for item in items)


def origin_columns(take: Callable[[Any], Origin]) -> tuple[Column, ...]:
    """Return the columns that say where a row of a table stands."""
    return (
        Column("source", "text", "file, relative to the input", lambda item: take(item).source),
        Column("member", "text", "member of an archive", lambda item: take(item).member or ""),
        Column("offset", "number", "byte offset in the file", lambda item: take(item).offset),
    )
