"""The two older text formats of IIS services: Microsoft IIS format and NCSA common format. Neither has a header.

Microsoft IIS format: ``client, user, date, time, service, computer, server, ms, bytes, bytes, status, win32, operation,
target, parameters,`` in the server's locale and local time. The parameters of SMTP rows hold commas, so only the
first fourteen separators count. NCSA: ``client - user [time offset] "operation target?parameters SMTP" status bytes``;
the parameters may hold quotes, and there is no computer name.

Values carry the names of W3C fields, so that one schema reads all formats. ``#order`` is the order of day and month as
far as the file shows it: by its name (``inYYMMDD.log``), else by a date that can be read in one way only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

from msgspec.structs import replace

from evtx_analyzer.clock import DateOrder
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.lines import as_lines, damaged_row, date_order, lines, without_nuls

IIS_LOG, NCSA_LOG = "IIS", "NCSA"
IIS_FIELDS = (
    "c-ip",
    "cs-username",
    "date",
    "time",
    "s-sitename",
    "s-computername",
    "s-ip",
    "time-taken",
    "cs-bytes",
    "sc-bytes",
    "sc-status",
    "sc-win32-status",
    "cs-method",
    "cs-uri-stem",
    "cs-uri-query",
)
_IIS_ROW = re.compile(r"[^,]+, [^,]*, \d{1,4}[./-] ?\d{1,2}[./-] ?\d{1,4}\.?, \d{1,2}[:.]\d\d[:.]\d\d[^,]*, ")
_NCSA_ROW = re.compile(
    r"(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<time>\d\d/[A-Za-z]{3}/\d{4}:[\d:]{8} [+-]\d{4})\] "
    r'"(?P<request>.*) SMTP" (?P<status>\d+|-) (?P<bytes>\d+|-)'
)
_NAMED = re.compile(r"in(\d\d)(\d\d)(\d\d)", re.IGNORECASE)
_SAMPLE = 2000


def is_iis_log(head: bytes) -> bool:
    """Return whether the first whole lines are rows in Microsoft IIS format."""
    return any(_IIS_ROW.match(line) for line in as_lines(head)[:3])


def is_ncsa_log(head: bytes) -> bool:
    """Return whether the first whole lines are NCSA rows of an SMTP service."""
    return any(_NCSA_ROW.match(line) for line in as_lines(head)[:3])


def read_iis_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the rows in Microsoft IIS format, and a Loss for each that has too few fields."""
    rows = lines(stream)
    first = list(itertools.islice(rows, _SAMPLE))
    dates = [" ".join(line.split(", ", 4)[2:4]) for _, _, line in first]
    order = _order(PurePath(source.member or source.source).name, dates)
    for number, offset, line in itertools.chain(first, rows):
        origin = replace(source, line=number, offset=offset)
        text, lost = without_nuls(line, origin)
        yield from lost
        values = text.rstrip().removesuffix(",").split(", ", len(IIS_FIELDS) - 1)
        if len(values) < len(IIS_FIELDS) or not _IIS_ROW.match(text):
            yield damaged_row(line, origin)
            continue
        row = {name: value.strip() for name, value in zip(IIS_FIELDS, values, strict=True)}
        yield LogRow(origin=origin, log=IIS_LOG, values={"#order": order, **row})


def read_ncsa_log(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield the rows in NCSA common format; ``time`` is all in brackets (``11/Oct/2006:13:17:02 -0600``)."""
    for number, offset, line in lines(stream):
        origin = replace(source, line=number, offset=offset)
        text, lost = without_nuls(line, origin)
        yield from lost
        match = _NCSA_ROW.match(text)
        if match is None:
            yield damaged_row(line, origin)
            continue
        method, _, target = match["request"].partition(" ")
        stem, _, query = target.partition("?")
        values = {
            "c-ip": match["client"],
            "cs-username": match["user"],
            "time": match["time"],
            "cs-method": method,
            "cs-uri-stem": stem,
            "cs-uri-query": query,
            "sc-status": match["status"],
            "sc-bytes": match["bytes"],
        }
        yield LogRow(origin=origin, log=NCSA_LOG, values=values)


def _order(name: str, dates: list[str]) -> DateOrder:
    """Return the order of day and month: by the file's name, which holds the day of its rows, else by the dates."""
    match = _NAMED.match(name)
    if match is not None:
        year, month, day = (int(part) for part in match.groups())
        for date in dates:
            parts = [int(part) for part in re.findall(r"\d+", date)[:3]]
            if parts in ([month, day, 2000 + year], [month, day, year]) and month != day:
                return "mdy"
            if parts in ([day, month, 2000 + year], [day, month, year]) and month != day:
                return "dmy"
        if month == day and dates:
            # Both readings of 03.03. are the same day, so any order will do.
            return date_order(dates) or "mdy"
    return date_order(dates)
