"""Exports of Exchange configuration to ``Setting``: connectors, accepted domains, certificates bound to services.

The objects are those of Get-InboundConnector and Get-AcceptedDomain (Exchange Online) and of Get-SendConnector and
Get-ExchangeCertificate (Exchange Server), as PowerShell writes them: JSON, CSV, Clixml, list text or a table. Property
names are never localized.

``Format-List`` shows the first entries of a list and ``...`` (``…`` in PowerShell 7) for the others
($FormatEnumerationLimit), tables cut what is wider than their columns, and Export-Csv writes the name of a list's type
instead of the list: ``cut`` names such properties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from evtx_analyzer import clock
from evtx_analyzer.clock import DateOrder
from evtx_analyzer.exchange import CMDLET_PROPERTIES
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.records import LogRow

KIND = "configuration"
_CUT_LIST = re.compile(r"(\{.*?),?\s{0,9}(?:\.\.\.|\u2026)\s{0,9}\}$", re.DOTALL)
_TIMES = ("WhenChangedUTC", "WhenCreatedUTC", "WhenChanged", "WhenCreated")
_DATE = re.compile(r"(\d{1,2})([./-])(\d{1,2})[./-]\d{4}")
_MONTHS = 12
# ConvertTo-Json of Windows PowerShell 5.1 writes milliseconds since 1970.
_JSON_DATE = re.compile(r"/Date\((\d{1,11})\d{3}\)/")
_UTC = ZoneInfo("UTC")
_FARTHEST_WEST = _HALF_A_DAY = timedelta(hours=12)
# ``p. m.`` (Spanish), ``\u03bc\u03bc`` (Greek), ``\u4e0b\u5348`` (Chinese) before or behind the time.
_WORDS = re.compile(r"\s{0,9}(?:[^\W\d_][^\W\d_.]{0,9}\.?\s{0,9}){1,3}")
_BEFORE_NOON = re.compile("\\ba\\.?\\s?m\\b|\u03c0\u03bc|\u4e0a\u5348|\u5348\u524d|\uc624\uc804", re.IGNORECASE)
_MORNING = re.compile(r"\s0?(?:\d|1[01])[:.]\d\d")
_TYPE_NAME = re.compile(
    r"(?:Deserialized\.)?(?:System\.(?:Collections|String|Object)|Microsoft\.Exchange\.)[\w.+]*(?:`\d)?(?:\[.*\])?"
)
# A table of Get-ExchangeCertificate has six letters or dots in Exchange 2010, seven since 2013.
_SERVICE_LETTERS = re.compile(r"(?=[^.]*\.)[IPUWSFC.]{6,8}|[IPUWSFC]{6,8}")
_SERVICES = {
    "I": "IMAP",
    "P": "POP",
    "U": "UM",
    "W": "IIS",
    "S": "SMTP",
    "F": "Federation",
    "C": "UMCallRouter",
}
# Get-ReceiveConnector, which is about the other direction, has these and all that Get-SendConnector is known by.
_OF_RECEIVING = {"Bindings", "RemoteIPRanges", "PermissionGroups"}


def is_configuration(row: LogRow) -> bool:
    """Return whether a row is an exported configuration object."""
    return _cmdlet(row) is not None and not _OF_RECEIVING & row.values.keys()


def normalize_configuration(row: LogRow, zone: ZoneInfo | None = None) -> Setting:
    """Return the object with its cmdlet; values stay texts as exported, lists without the mark of a cut."""
    values = {name: value for name, value in row.values.items() if not name.startswith("#")}
    whole = {name: f"{match[1]}}}" for name, value in values.items() if (match := _CUT_LIST.match(value))}
    values |= whole
    lost = [name for name, value in values.items() if _TYPE_NAME.fullmatch(value)]
    values = {name: value for name, value in values.items() if name not in lost}
    if "Services" in values:
        values["Services"] = services(values["Services"])
    cut = {*whole, *lost} | set(filter(None, row.values.get("#cut", "").split(";")))
    return Setting(
        origin=row.origin,
        cmdlet=_cmdlet(row) or "",
        values=values,
        cut=frozenset(cut),
        created=_time(values, "WhenCreated", zone),
        changed=_time(values, "WhenChanged", zone) or _time(values, "WhenCreated", zone),
    )


def _time(values: Mapping[str, str], name: str, zone: ZoneInfo | None) -> datetime | None:
    """Return a time of an object: from the property in UTC, else from the one in local time; None without either."""
    written = ((values.get(f"{name}UTC", ""), _UTC), (values.get(name, ""), zone))
    return next((time for text, where in written if (time := _utc(text.strip(), _order(values), where))), None)


def _utc(text: str, order: DateOrder, where: ZoneInfo | None) -> datetime | None:
    if number := _JSON_DATE.fullmatch(text):
        return datetime.fromtimestamp(int(number[1]), UTC)
    if re.search(r"(Z|[+-]\d\d:?\d\d)$", text):
        return clock.from_iso(text)
    read, later = clock.from_local(text, order, where), timedelta()
    if read is None:
        # Many languages have words of their own for AM and PM: without them the later half of the day is taken.
        digits = _WORDS.sub(" ", text).strip()
        read = clock.from_local(digits, order, where) if digits != text else None
        later = _HALF_A_DAY if _MORNING.search(digits) and not _BEFORE_NOON.search(text) else later
    if read is None:
        return None
    # Of two readings of a date the earlier one, lest every old object seems to be new; of all zones the one in which
    # the digits are the latest, for an object that was changed on the day of the refusals may have been changed since.
    time, basis = min(read.time, read.other or read.time), read.basis
    if read.other is not None and basis == "unknown" and where is not None:
        time, _, basis = clock.localized(time, where)
    return time + later + (_FARTHEST_WEST if basis == "unknown" and where is not _UTC else timedelta())


def _order(values: Mapping[str, str]) -> DateOrder:
    """Return the order of day and month in the dates of an object, as far as one of them shows it."""
    dates = [match for name in _TIMES if (match := _DATE.match(values.get(name, "").strip()))]
    # Cultures that write dots have the day first.
    if any(int(match[1]) > _MONTHS or match[2] == "." for match in dates):
        return "dmy"
    return "mdy" if any(int(match[3]) > _MONTHS for match in dates) else ""


def services(text: str) -> str:
    """Return the names of a certificate's services, of which a table writes letters or dots (``IP.WS..``)."""
    if not _SERVICE_LETTERS.fullmatch(text):
        return text
    return ", ".join(_SERVICES[letter] for letter in text if letter != ".") or "None"


def _cmdlet(row: LogRow) -> str | None:
    """Return the cmdlet of an object: as the reader names it, or for JSON, which has no name, by its properties."""
    if row.log:
        return row.log if row.log in CMDLET_PROPERTIES else None
    return next((cmdlet for cmdlet, wanted in CMDLET_PROPERTIES.items() if wanted <= row.values.keys()), None)
