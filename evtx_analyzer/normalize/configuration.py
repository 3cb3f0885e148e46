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
from zoneinfo import ZoneInfo

from evtx_analyzer.exchange import CMDLET_PROPERTIES
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.records import LogRow

KIND = "configuration"
_CUT_LIST = re.compile(r"(\{.*?),?\s{0,9}(?:\.\.\.|\u2026)\s{0,9}\}$", re.DOTALL)
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


def normalize_configuration(row: LogRow, zone: ZoneInfo | None = None) -> Setting:  # noqa: ARG001  it holds no times
    """Return the object with its cmdlet; values stay texts as exported, lists without the mark of a cut."""
    values = {name: value for name, value in row.values.items() if not name.startswith("#")}
    whole = {name: f"{match[1]}}}" for name, value in values.items() if (match := _CUT_LIST.match(value))}
    values |= whole
    lost = [name for name, value in values.items() if _TYPE_NAME.fullmatch(value)]
    values = {name: value for name, value in values.items() if name not in lost}
    if "Services" in values:
        values["Services"] = services(values["Services"])
    cut = {*whole, *lost} | set(filter(None, row.values.get("#cut", "").split(";")))
    return Setting(origin=row.origin, cmdlet=_cmdlet(row) or "", values=values, cut=frozenset(cut))


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
