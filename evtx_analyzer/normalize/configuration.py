"""Exports of Exchange configuration to ``Setting``: connectors, accepted domains, certificates bound to services.

The objects are those of Get-InboundConnector and Get-AcceptedDomain (Exchange Online) and of Get-SendConnector and
Get-ExchangeCertificate (Exchange Server), as PowerShell writes them: JSON, CSV, Clixml or list text. Property names are
never localized.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from evtx_analyzer.constants import CMDLET_PROPERTIES
from evtx_analyzer.model import LogRow, Setting

KIND = "configuration"
# Get-ReceiveConnector shares its other properties with Get-SendConnector and tells of the other direction.
_OF_RECEIVING = {"Bindings", "RemoteIPRanges", "PermissionGroups"}


def recognize_object(names: set[str] | frozenset[str]) -> str | None:
    """Cmdlet whose object has these properties, or None."""
    return next((cmdlet for cmdlet, wanted in CMDLET_PROPERTIES.items() if wanted <= names), None)


def is_configuration(row: LogRow) -> bool:
    """Whether a row is an exported configuration object."""
    return _cmdlet(row) is not None and not _OF_RECEIVING & row.values.keys()


def normalize_configuration(row: LogRow, zone: ZoneInfo | None = None) -> Setting:  # noqa: ARG001  it holds no times
    """The object with its cmdlet; values stay texts as exported."""
    values = {name: value for name, value in row.values.items() if not name.startswith("#")}
    return Setting(origin=row.origin, cmdlet=_cmdlet(row) or "", values=values)


def _cmdlet(row: LogRow) -> str | None:
    """The reader names what it knows; JSON objects come without a name and are known by their properties."""
    return (row.log if row.log in CMDLET_PROPERTIES else None) or (
        None if row.log else recognize_object(frozenset(row.values))
    )
