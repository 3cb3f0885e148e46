"""The cmdlets whose exports are read, and the properties by which an exported object is recognized as one of theirs.

Get-InboundConnector and Get-AcceptedDomain run in Exchange Online PowerShell, Get-SendConnector and
Get-ExchangeCertificate in the Exchange Management Shell (cmdlet reference of Exchange PowerShell).
"""

from __future__ import annotations

INBOUND_CONNECTOR = "Get-InboundConnector"
SEND_CONNECTOR = "Get-SendConnector"
EXCHANGE_CERTIFICATE = "Get-ExchangeCertificate"
ACCEPTED_DOMAIN = "Get-AcceptedDomain"

# Property names are the same in every language of Windows; all of these are in the documented list output.
CMDLET_PROPERTIES: dict[str, frozenset[str]] = {
    INBOUND_CONNECTOR: frozenset({"Name", "ConnectorType", "TlsSenderCertificateName"}),
    SEND_CONNECTOR: frozenset({"Name", "TlsCertificateName"}),
    EXCHANGE_CERTIFICATE: frozenset({"Thumbprint", "Services", "Subject"}),
    ACCEPTED_DOMAIN: frozenset({"DomainName", "DomainType"}),
}

COMPARED: dict[str, tuple[str, ...]] = {
    INBOUND_CONNECTOR: ("TlsSenderCertificateName", "SenderIPAddresses", "AssociatedAcceptedDomains"),
    SEND_CONNECTOR: ("TlsCertificateName",),
    EXCHANGE_CERTIFICATE: ("Thumbprint", "Services"),
    ACCEPTED_DOMAIN: ("DomainName",),
}
"""Properties that are compared with refusals. If PowerShell cut one short, the part that is missing is not known."""

CMDLETS = tuple(CMDLET_PROPERTIES)
