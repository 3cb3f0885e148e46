"""Outbound connections of the IIS SMTP service (W3C logs): those that went well are folded to their outcomes.

These logs name no sessions: rows belong together by remote address, and by when the connection began (time minus
time-taken), see ``correlate.sessions``. Here a *segment* are the rows of one address from a banner (not the answer to
STARTTLS) to the next one. It is counted where it holds one QUIT and behind it at most 221, its rows began within two
seconds of the first one with a time-taken that never falls, its shape has a recipe (``outcomes``), and no connection to
the same address that was left open, or is given, began within two seconds before it: then reading row by row would put
exactly its rows together. A segment without QUIT at the end of a block waits for the next one. The shape are commands,
codes of replies, and where time-taken rose.

A block is given whole where it names several machines or where a row is not written as usual. Rows of other users than
the outbound ones (inbound sessions) are counted and say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from operator import lt

from evtx_analyzer import clock
from evtx_analyzer.constants import HEAD_LINES
from evtx_analyzer.model import CountedRows, CountedSessions, LogRow, Loss, Origin, Outcome
from evtx_analyzer.read.fieldslog import W3C_LOG, W3cRows
from evtx_analyzer.smtp.blocks import Block, BlockReader, Readable, Recipes, Row, RowReader
from evtx_analyzer.smtp.outcomes import Cook, Recipe

_NEEDED = ("c-ip", "cs-username", "s-sitename", "s-computername", "cs-method", "cs-uri-query", "time-taken")
_TIME = len("2016-12-01 03:09:55")
_TIME_CELLS = rb"20\d\d-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d"
_CELL = rb"[^ \n]*+"
_SAME_CONNECTION = timedelta(seconds=2)
_SLACK = timedelta(minutes=1)
_LINE, _ADDRESS, _, _INBOUND, _TOKEN, _TAKEN = range(6)
_NEVER = datetime(1601, 1, 1, tzinfo=UTC)
_MANY = 4096
"""Rows of the longest segment that is compared as a whole."""


class ConnectionReader(BlockReader):
    """Reads a W3C log of the SMTP service."""

    def __init__(self, source: Origin, recipes: Recipes) -> None:
        super().__init__(source, recipes, W3cRows(source))
        self._cook = Cook(self._text, _moment)
        self._latest = _NEVER

    def pattern(self, rows: RowReader, data: bytes) -> re.Pattern[bytes] | None:
        """The rows below a header that names all columns that are needed, each once, and begins with date and time."""
        assert isinstance(rows, W3cRows)
        names = rows.columns
        if names[:2] != ("date", "time") or any(names.count(name) != 1 for name in (*names[:2], *_NEEDED)):
            return None
        # IIS writes the columns that are switched on in this order.
        if [names.index(name) for name in _NEEDED] != sorted(names.index(name) for name in _NEEDED):
            return None
        self._query = names.index("cs-uri-query")
        self._machine = _machine(names, data)
        return _pattern(names, *self._machine)

    def judge(self, block: Block, given: dict[int, Iterable[Readable]]) -> Iterator[Readable]:
        """Fold what went well and give the rest; segments without an end are carried over."""
        inbound = [row[_LINE] for row in block.rows if row[_INBOUND]]
        if inbound:
            yield self._counted("", inbound)
        outbound: dict[bytes, list[Row]] = {}
        for row in block.rows:
            if row[_TOKEN]:
                outbound.setdefault(row[_ADDRESS], []).append(row)
        self._note_latest(block)
        if given:
            self.recipes.floor = self._latest
            given.update({at: self.read(block, at) for at, row in enumerate(block.rows) if row[_TOKEN]})
            return
        found = _Segments(self, block)
        for address, rows in outbound.items():
            found.add(address, rows)
        if not self.carry(block, found.places(found.waiting)):
            found.give(found.waiting)
        given.update({at: self.read(block, at) for at in found.places(found.given)})
        yield from found.counted(self._machine, self.source)

    def unjudged(self, block: Block) -> None:
        """Connections that begin near the rows of this block are given too."""
        self._note_latest(block)
        self.recipes.floor = self._later()

    def end(self, rest: bytes) -> Iterator[LogRow | Loss]:
        """Give what was carried; a connection of the next file that begins at the same time is given too."""
        if self.carried.rows or rest:
            self.recipes.floor = self._later()
        return super().end(rest)

    def outcome(self, rows: Sequence[Row], recipe: Recipe) -> Outcome | None:
        """The outcome of a segment; None where an address in it is not certain."""
        first = _moment(min([row[_LINE][:_TIME] for row in rows]))
        accepted = self._cook.acceptances(rows, recipe, _TIME)
        if first is None or accepted is None:
            return None
        site = self._machine[0].decode("utf-8", "replace")
        return self._cook.outcome(rows, recipe, "" if site == "-" else site, first, tuple(accepted))

    def banner(self, row: Row) -> tuple[datetime, str]:
        """Time and text of a reply."""
        time = _moment(row[_LINE][:_TIME])
        assert time is not None
        return time, self._text(row[_LINE]).decode("utf-8", "replace").strip()

    def _text(self, line: bytes) -> bytes:
        """The argument of a command, or the text of a reply."""
        return line.split(b" ", self._query + 1)[self._query].replace(b"+", b" ")

    def _later(self) -> datetime:
        later = self._latest + _SLACK
        return later if self.recipes.floor is None else max(self.recipes.floor, later)

    def _note_latest(self, block: Block) -> None:
        times = [time for row in block.rows if row[1] and (time := _moment(row[_LINE][:_TIME])) is not None]
        self._latest = max([self._latest, *times])

    def _counted(self, log: str, lines: Sequence[bytes]) -> CountedRows:
        first, last = _moment(min(lines)[:_TIME]), _moment(max(lines)[:_TIME])
        assert first is not None
        assert last is not None
        return CountedRows(origin=self.source, log=log, rows=len(lines), first=first, last=last)


class _Segments:
    """The segments of a block, address by address."""

    def __init__(self, reader: ConnectionReader, block: Block) -> None:
        self._reader, self._block, self._recipes = reader, block, reader.recipes
        self.given: list[Row] = []
        self.waiting: list[Row] = []
        self._outcomes: list[Outcome] = []
        self._banners: list[Row] = []
        self._counted: list[Row] = []
        self._early = block.line(0) <= HEAD_LINES

    def add(self, address: bytes, rows: list[Row]) -> None:
        """Judge all rows of one address."""
        heads = [0] + [
            at + 1 for at, (before, row) in enumerate(pairwise(rows)) if _begins(before[_TOKEN], row[_TOKEN])
        ]
        for start, stop in pairwise([*heads, len(rows)]):
            segment = rows[start:stop]
            starts = [_start(row) for row in segment]
            if self._is_near(address, min(starts)) or not self._judge(segment, starts, final=stop == len(rows)):
                self.given += segment
                newest = self._recipes.newest
                newest[address] = max(newest.get(address, starts[0]), *starts)

    def give(self, rows: list[Row]) -> None:
        """These must be given after all."""
        self.given += rows
        for row in rows:
            newest = self._recipes.newest
            newest[row[_ADDRESS]] = max(newest.get(row[_ADDRESS], _start(row)), _start(row))

    def places(self, rows: Sequence[Row]) -> list[int]:
        """The numbers of some rows in the block."""
        return sorted(self._block.places(rows).values())

    def counted(self, machine: tuple[bytes, bytes], source: Origin) -> Iterator[Readable]:
        """What was folded, and the count of its rows."""
        host = machine[1].decode("utf-8", "replace")
        host = "" if host == "-" else host
        places = self._block.places(self._banners)
        banners = [row for row in self._banners if self._block.line(places[id(row)]) <= HEAD_LINES]
        if self._outcomes:
            yield CountedSessions(
                origin=source,
                log=W3C_LOG,
                local="",
                outcomes=tuple(self._outcomes),
                banners=tuple([self._reader.banner(row) for row in banners]),
                host=host,
            )
        if self._counted:
            times = [row[_LINE][:_TIME] for row in self._counted]
            first, last = _moment(min(times)), _moment(max(times))
            assert first is not None
            assert last is not None
            yield CountedRows(origin=source, log=W3C_LOG, rows=len(times), first=first, last=last, host=host)

    def _is_near(self, address: bytes, start: datetime) -> bool:
        """Whether a connection that is given, or was left open, began two seconds before this one or later."""
        limits = [limit for limit in (self._recipes.newest.get(address), self._recipes.floor) if limit is not None]
        return any(start <= limit + _SAME_CONNECTION for limit in limits)

    def _judge(self, segment: list[Row], starts: list[datetime], *, final: bool) -> bool:
        """Count a segment, or let it wait; False where it must be given."""
        tokens = [row[_TOKEN].upper() for row in segment]
        size = tokens.index(b"QUIT") + 1 if b"QUIT" in tokens else len(tokens)
        if not _is_reply(tokens[0], b"220"):
            self._counted += segment if (late := all(_is_reply(token, b"221") for token in tokens)) else []
            return late
        rows, taken = segment[:size], [int(row[_TAKEN]) for row in segment[:size]]
        apart = max(starts[:size]) - starts[0] > _SAME_CONNECTION or starts[0] - min(starts[:size]) > _SAME_CONNECTION
        sound = not apart and taken == sorted(taken) and size < _MANY
        if not sound or not all(_is_reply(token, b"221") for token in tokens[size:]):
            return False
        if tokens[size - 1] != b"QUIT":
            self.waiting += segment if final else []
            return final
        return self._fold(segment, rows, (tuple(tokens[:size]), tuple(map(lt, taken, taken[1:]))))

    def _fold(self, segment: list[Row], rows: list[Row], shape: object) -> bool:
        known = self._recipes.known
        if shape not in known:
            self._recipes.keep(shape, self._learned(rows))
        recipe = known[shape]
        outcome = None if recipe is None else self._reader.outcome(rows, recipe)
        if recipe is None or outcome is None:
            return False
        self._outcomes.append(outcome)
        self._counted += segment
        if self._early:
            self._banners += [rows[at] for at in recipe.banners]
        return True

    def _learned(self, rows: list[Row]) -> Recipe | None:
        """The recipe of a shape; two MAIL without anything between are of two connections."""
        tokens = [row[_TOKEN].upper() for row in rows]
        if any(before == after == b"MAIL" for before, after in pairwise(tokens)):
            return None
        read = [row for at in self.places(rows) for row in self._reader.read(self._block, at)]
        return self._recipes.learn([row for row in read if isinstance(row, LogRow)])


@lru_cache(maxsize=4096)
def _moment(written: bytes) -> datetime | None:
    """A time as written; many rows share their second."""
    return clock.from_iso(written.decode("ascii", "replace"))


def _start(row: Row) -> datetime:
    """When the connection of a row began, by that row."""
    time = _moment(row[_LINE][:_TIME])
    return (time or _NEVER) - timedelta(milliseconds=int(row[_TAKEN]))


def _is_reply(token: bytes, code: bytes) -> bool:
    return token[:1] == b"-" and token.rstrip(b"+-")[-3:] == code


def _begins(before: bytes, token: bytes) -> bool:
    """Whether a row begins a connection: a banner that is not the answer to STARTTLS."""
    return token[:1] == b"-" and _is_reply(token, b"220") and before.upper() != b"STARTTLS"


def _machine(names: Sequence[str], data: bytes) -> tuple[bytes, bytes]:
    """Site and computer of the first outbound row."""
    at = data.find(b" OutboundConnection")
    cells = data[data.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0].split(b" ") if at >= 0 else []
    if len(cells) < len(names):
        return b"-", b"-"
    return cells[names.index("s-sitename")], cells[names.index("s-computername")]


@lru_cache(maxsize=16)
def _pattern(names: tuple[str, ...], site: bytes, computer: bytes) -> re.Pattern[bytes]:
    """A row: whole, its remote address, a sign for a command, one for inbound, the token, and time-taken.

    The token of a command is its verb, that of a reply ``-`` and everything to the sign behind the code.
    """
    method, query = names.index("cs-method"), names.index("cs-uri-query")
    between = b"(?:%s ){%d}" % (_CELL, query - method - 1)
    reply = rb"- %s\d\d\d(?:[-+]|(?= ))" % between
    talk = rb"((?(3)[A-Za-z][^+ \n]*+|(?(4)|%s)))(?(3) %s%s|(?(4)%s %s%s|%s))" % (
        *(reply, between, _CELL),
        *(_CELL, between, _CELL, _CELL),
    )
    cells = {
        "c-ip": rb"([^ \n]++)",
        "cs-username": rb"(?:OutboundConnection(?:(C)ommand|Response)(?= )|([!-NP-np-~])%s)" % _CELL,
        "s-sitename": rb"(?(4)%s|%s)" % (_CELL, re.escape(site)),
        "s-computername": rb"(?(4)%s|%s)" % (_CELL, re.escape(computer)),
        "time-taken": rb"((?(4)|\d{1,8}(?![^ \r\n])))(?(4)%s)" % _CELL,
    }
    before = [cells.get(name, _CELL) for name in names[2:method]]
    after = [cells.get(name, _CELL) for name in names[query + 1 :]]
    return re.compile(rb"(%s[^\n]*+)\n" % b" ".join([_TIME_CELLS, *before, talk, *after]))
