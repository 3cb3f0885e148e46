"""Windows constants by their standard symbol names, all numbers as the headers define them.

HRESULTs: MicrosoftDocs/win32 ``com-error-codes-4.md``. Trust status: ``ns-wincrypt-cert_trust_status``. Policies:
``nf-wincrypt-certverifycertificatechainpolicy`` (1-9) and the windows-sys bindings (10-12). SSL checks:
``ns-wincrypt-httpspolicycallbackdata``. A log's own text for a code is localized and is never used.
"""

from __future__ import annotations

CAPI2_PROVIDER = "Microsoft-Windows-CAPI2"
CAPI2_CHANNEL = "Microsoft-Windows-CAPI2/Operational"

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

CERT_E_UNTRUSTEDROOT = 0x800B0109
CERT_E_CHAINING = 0x800B010A

RESULTS: dict[int, str] = {
    0x0: "S_OK",
    0x80070002: "ERROR_FILE_NOT_FOUND",
    0x8009030E: "SEC_E_NO_CREDENTIALS",
    0x80090322: "SEC_E_WRONG_PRINCIPAL",
    0x80090325: "SEC_E_UNTRUSTED_ROOT",
    0x80090326: "SEC_E_ILLEGAL_MESSAGE",
    0x80090327: "SEC_E_CERT_UNKNOWN",
    0x80090328: "SEC_E_CERT_EXPIRED",
    0x80090331: "SEC_E_ALGORITHM_MISMATCH",
    0x80090349: "SEC_E_CERT_WRONG_USAGE",
    0x80092004: "CRYPT_E_NOT_FOUND",
    0x80092010: "CRYPT_E_REVOKED",
    0x80092011: "CRYPT_E_NO_REVOCATION_DLL",
    0x80092012: "CRYPT_E_NO_REVOCATION_CHECK",
    0x80092013: "CRYPT_E_REVOCATION_OFFLINE",
    0x80092014: "CRYPT_E_NOT_IN_REVOCATION_DATABASE",
    0x80092026: "CRYPT_E_SECURITY_SETTINGS",
    0x80096001: "TRUST_E_SYSTEM_ERROR",
    0x80096004: "TRUST_E_CERT_SIGNATURE",
    0x80096005: "TRUST_E_TIME_STAMP",
    0x80096010: "TRUST_E_BAD_DIGEST",
    0x80096019: "TRUST_E_BASIC_CONSTRAINTS",
    0x800B0001: "TRUST_E_PROVIDER_UNKNOWN",
    0x800B0003: "TRUST_E_SUBJECT_FORM_UNKNOWN",
    0x800B0004: "TRUST_E_SUBJECT_NOT_TRUSTED",
    0x800B0100: "TRUST_E_NOSIGNATURE",
    0x800B0101: "CERT_E_EXPIRED",
    0x800B0102: "CERT_E_VALIDITYPERIODNESTING",
    0x800B0103: "CERT_E_ROLE",
    0x800B0104: "CERT_E_PATHLENCONST",
    0x800B0105: "CERT_E_CRITICAL",
    0x800B0106: "CERT_E_PURPOSE",
    0x800B0107: "CERT_E_ISSUERCHAINING",
    0x800B0108: "CERT_E_MALFORMED",
    0x800B0109: "CERT_E_UNTRUSTEDROOT",
    0x800B010A: "CERT_E_CHAINING",
    0x800B010B: "TRUST_E_FAIL",
    0x800B010C: "CERT_E_REVOKED",
    0x800B010D: "CERT_E_UNTRUSTEDTESTROOT",
    0x800B010E: "CERT_E_REVOCATION_FAILURE",
    0x800B010F: "CERT_E_CN_NO_MATCH",
    0x800B0110: "CERT_E_WRONG_USAGE",
    0x800B0111: "TRUST_E_EXPLICIT_DISTRUST",
    0x800B0112: "CERT_E_UNTRUSTEDCA",
    0x800B0113: "CERT_E_INVALID_POLICY",
    0x800B0114: "CERT_E_INVALID_NAME",
}

TRUST_ERRORS: dict[int, str] = {
    0x1: "CERT_TRUST_IS_NOT_TIME_VALID",
    0x2: "CERT_TRUST_IS_NOT_TIME_NESTED",
    0x4: "CERT_TRUST_IS_REVOKED",
    0x8: "CERT_TRUST_IS_NOT_SIGNATURE_VALID",
    0x10: "CERT_TRUST_IS_NOT_VALID_FOR_USAGE",
    0x20: "CERT_TRUST_IS_UNTRUSTED_ROOT",
    0x40: "CERT_TRUST_REVOCATION_STATUS_UNKNOWN",
    0x80: "CERT_TRUST_IS_CYCLIC",
    0x100: "CERT_TRUST_INVALID_EXTENSION",
    0x200: "CERT_TRUST_INVALID_POLICY_CONSTRAINTS",
    0x400: "CERT_TRUST_INVALID_BASIC_CONSTRAINTS",
    0x800: "CERT_TRUST_INVALID_NAME_CONSTRAINTS",
    0x1000: "CERT_TRUST_HAS_NOT_SUPPORTED_NAME_CONSTRAINT",
    0x2000: "CERT_TRUST_HAS_NOT_DEFINED_NAME_CONSTRAINT",
    0x4000: "CERT_TRUST_HAS_NOT_PERMITTED_NAME_CONSTRAINT",
    0x8000: "CERT_TRUST_HAS_EXCLUDED_NAME_CONSTRAINT",
    0x10000: "CERT_TRUST_IS_PARTIAL_CHAIN",
    0x20000: "CERT_TRUST_CTL_IS_NOT_TIME_VALID",
    0x40000: "CERT_TRUST_CTL_IS_NOT_SIGNATURE_VALID",
    0x80000: "CERT_TRUST_CTL_IS_NOT_VALID_FOR_USAGE",
    0x100000: "CERT_TRUST_HAS_WEAK_SIGNATURE",
    0x1000000: "CERT_TRUST_IS_OFFLINE_REVOCATION",
    0x2000000: "CERT_TRUST_NO_ISSUANCE_CHAIN_POLICY",
    0x4000000: "CERT_TRUST_IS_EXPLICIT_DISTRUST",
    0x8000000: "CERT_TRUST_HAS_NOT_SUPPORTED_CRITICAL_EXT",
}

TRUST_INFO: dict[int, str] = {
    0x1: "CERT_TRUST_HAS_EXACT_MATCH_ISSUER",
    0x2: "CERT_TRUST_HAS_KEY_MATCH_ISSUER",
    0x4: "CERT_TRUST_HAS_NAME_MATCH_ISSUER",
    0x8: "CERT_TRUST_IS_SELF_SIGNED",
    0x100: "CERT_TRUST_HAS_PREFERRED_ISSUER",
    0x200: "CERT_TRUST_HAS_ISSUANCE_CHAIN_POLICY",
    0x400: "CERT_TRUST_HAS_VALID_NAME_CONSTRAINTS",
    0x800: "CERT_TRUST_IS_PEER_TRUSTED",
    0x1000: "CERT_TRUST_HAS_CRL_VALIDITY_EXTENDED",
    0x2000: "CERT_TRUST_IS_FROM_EXCLUSIVE_TRUST_STORE",
    0x4000: "CERT_TRUST_IS_CA_TRUSTED",
    0x10000: "CERT_TRUST_IS_COMPLEX_CHAIN",
}
IS_SELF_SIGNED = 0x8

POLICIES: dict[int, str] = {
    1: "CERT_CHAIN_POLICY_BASE",
    2: "CERT_CHAIN_POLICY_AUTHENTICODE",
    3: "CERT_CHAIN_POLICY_AUTHENTICODE_TS",
    4: "CERT_CHAIN_POLICY_SSL",
    5: "CERT_CHAIN_POLICY_BASIC_CONSTRAINTS",
    6: "CERT_CHAIN_POLICY_NT_AUTH",
    7: "CERT_CHAIN_POLICY_MICROSOFT_ROOT",
    8: "CERT_CHAIN_POLICY_EV",
    9: "CERT_CHAIN_POLICY_SSL_F12",
    10: "CERT_CHAIN_POLICY_SSL_HPKP_HEADER",
    11: "CERT_CHAIN_POLICY_THIRD_PARTY_ROOT",
    12: "CERT_CHAIN_POLICY_SSL_KEY_PIN",
}


def from_hex(text: str | None) -> int | None:
    """A CAPI2 ``@value``: hex without prefix, any case and width, a ``0x`` prefix is tolerated; None if it is none."""
    if not text:
        return None
    try:
        return int(text.strip(), 16)
    except ValueError:
        return None


def as_hex(number: int | None) -> str:
    """A result as reports and ``@value`` write it: upper case without prefix; empty for None."""
    return "" if number is None else f"{number:X}"


def result_name(number: int | None) -> str:
    """Symbol of a result; ``unnamed result`` with its hex where the tables do not have it, empty for None."""
    if number is None:
        return ""
    return RESULTS.get(number, f"unnamed result 0x{number:X}")


def flag_names(number: int, table: dict[int, str]) -> tuple[str, ...]:
    """Names of the bits that are set, lowest first; bits without a name stand as hex."""
    bits = (1 << shift for shift in range(number.bit_length()))
    return tuple(table.get(bit, f"0x{bit:X}") for bit in bits if number & bit)
