"""Tables and columns of decoded events.

A column that a log writes has the log's own name (``connector-id``, ``cs-uri-query``, ``EventRecordID``); one that is
made here has a name of ours, in lower case with ``_``. A name that would differ from the log's by its case alone stays
in lower case, because PowerShell and SQL do not tell the two apart. docs/events.md is generated from the columns.

A column is ``text`` (empty if absent), ``number``, ``decimal``, ``flag`` or ``time`` (null if absent). Times are UTC;
one without an offset holds the digits of a log whose zone is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.model.events import MessageEvent, RecipientStatus
from evtx_analyzer.model.origin import Origin, TimeBasis

Cell = str | int | float | bool | datetime | None
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
    """A column: its name, its type, its meaning, and how its value is taken from an entry (an event, a refusal ...).

    ``old`` are the names that the column had before 0.2, under which it stands a second time until then.
    """

    name: str
    type: Literal["text", "number", "decimal", "flag", "time"]
    meaning: str
    take: Callable[[Any], Cell]
    old: tuple[str, ...] = ()


class Table(Struct, frozen=True):
    """The columns of one kind of log, and a function that words a row in a sentence for formats that want one."""

    columns: tuple[Column, ...]
    message: Callable[[Any], str] = str

    @property
    def names(self) -> list[str]:
        """Return the names of the columns in their order."""
        return [column.name for column in self.columns]

    def rows(self, entries: Iterable[Any]) -> Iterator[Row]:
        """Yield one row for each entry."""
        takes = [column.take for column in self.columns]
        return (tuple(take(entry) for take in takes) for entry in entries)

    def with_old_names(self) -> Table:
        """Return the table with each renamed column once more at its end, under each name that it had before 0.2."""
        again = (
            Column(old, column.type, f"the same as `{column.name}`", column.take)
            for column in self.columns
            for old in column.old
        )
        return Table((*self.columns, *again), self.message)


def shown_time(time: datetime | None, basis: TimeBasis) -> datetime | None:
    """Return a time; one whose UTC time is not known gets no offset, so that no reader takes it for UTC."""
    return time if time is None or clock.is_known(basis) else time.replace(tzinfo=None)


def origin_columns(take: Callable[[Any], Origin]) -> tuple[Column, ...]:
    """Return the columns that say where a row of a table stands."""
    return (
        Column("source", "text", "file, relative to the input", lambda entry: take(entry).source),
        Column("member", "text", "member of an archive", lambda entry: take(entry).member or ""),
        Column("offset", "number", "byte offset in the file", lambda entry: take(entry).offset),
    )


def of_part(part: str, name: str, absent: Cell = "") -> Callable[[Any], Cell]:
    """Return a function that takes a field of a part that an entry may lack."""
    return lambda entry: getattr(getattr(entry, part), name, absent)


def joined(name: str, sign: str = " ") -> Callable[[Any], str]:
    """Return a function that takes the members of a field as one text."""
    return lambda entry: sign.join(map(str, getattr(entry, name)))
