"""The cmdlets whose exports are read, and the properties by which their objects are known."""

from __future__ import annotations

INBOUND_CONNECTOR = "Get-InboundConnector"
SEND_CONNECTOR = "Get-SendConnector"
EXCHANGE_CERTIFICATE = "Get-ExchangeCertificate"
ACCEPTED_DOMAIN = "Get-AcceptedDomain"

# Properties that tell an object's cmdlet, in the spelling of every language; all are in the documented list output.
CMDLET_PROPERTIES: dict[str, frozenset[str]] = {
    INBOUND_CONNECTOR: frozenset({"Name", "ConnectorType", "TlsSenderCertificateName"}),
    SEND_CONNECTOR: frozenset({"Name", "TlsCertificateName"}),
    EXCHANGE_CERTIFICATE: frozenset({"Thumbprint", "Services", "Subject"}),
    ACCEPTED_DOMAIN: frozenset({"DomainName", "DomainType"}),
}

CMDLETS = tuple(CMDLET_PROPERTIES)
