"""Constants of Windows by their symbols, with the numbers that the headers define.

HRESULTs: MicrosoftDocs/win32 ``com-error-codes-4.md``. Win32 and WinHTTP results: ``winerror.h``, ``winhttp.h``. Trust
status: ``ns-wincrypt-cert_trust_status``. Policies: ``nf-wincrypt-certverifycertificatechainpolicy`` (1-9) and the
windows-sys bindings (10-12). SSL checks: ``ns-wincrypt-httpspolicycallbackdata``. Other flags: ``wincrypt.h``,
``wintrust.h``, ``softpub.h``; those that occur in real logs were compared with the names that Windows wrote next to the
value. A log's own text for a code is localized and is never used.
"""

from __future__ import annotations

import re

CAPI2_PROVIDER = "Microsoft-Windows-CAPI2"
CAPI2_CHANNEL = "Microsoft-Windows-CAPI2/Operational"
EXPORT_AGAIN = f"wevtutil epl {CAPI2_CHANNEL} capi2.evtx"
"""The command that exports the whole log on the server."""

CAPI2_EVENTS: dict[int, str] = {
    10: "CertGetCertificateChainStart",
    11: "CertGetCertificateChain",
    30: "CertVerifyCertificateChainPolicy",
    40: "CertVerifyRevocationStart",
    41: "CertVerifyRevocation",
    42: "CertRejectedRevocationInfo",
    50: "CryptRetrieveObjectByUrlCacheStart",
    51: "CryptRetrieveObjectByUrlCache",
    52: "CryptRetrieveObjectByUrlWireStart",
    53: "CryptRetrieveObjectByUrlWire",
    70: "CryptAcquireCertificatePrivateKey",
    80: "WinVerifyTrustStart",
    81: "WinVerifyTrust",
    82: "CryptCATAdminEnumCatalogFromHash",
    90: "X509Objects",
}
"""Event ids whose schema is known, with the root element of their UserData. Others occur and are kept as they are."""


RESULTS: dict[int, str] = {
    0x0: "S_OK",
    0x80090010: "NTE_PERM",
    0x80090016: "NTE_BAD_KEYSET",
    0x8009030E: "SEC_E_NO_CREDENTIALS",
    0x80090322: "SEC_E_WRONG_PRINCIPAL",
    0x80090325: "SEC_E_UNTRUSTED_ROOT",
    0x80090326: "SEC_E_ILLEGAL_MESSAGE",
    0x80090327: "SEC_E_CERT_UNKNOWN",
    0x80090328: "SEC_E_CERT_EXPIRED",
    0x80090331: "SEC_E_ALGORITHM_MISMATCH",
    0x80090349: "SEC_E_CERT_WRONG_USAGE",
    0x80092004: "CRYPT_E_NOT_FOUND",
    0x80092009: "CRYPT_E_NO_MATCH",
    0x8009200B: "CRYPT_E_NO_KEY_PROPERTY",
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

WIN32_RESULTS: dict[int, str] = {
    0x2: "ERROR_FILE_NOT_FOUND",
    0x3: "ERROR_PATH_NOT_FOUND",
    0x5: "ERROR_ACCESS_DENIED",
    0xD: "ERROR_INVALID_DATA",
    0x32: "ERROR_NOT_SUPPORTED",
    0x57: "ERROR_INVALID_PARAMETER",
    0x490: "ERROR_NOT_FOUND",
    0x4C7: "ERROR_CANCELLED",
    0x5B4: "ERROR_TIMEOUT",
    0x10D0: "ERROR_MEDIA_OFFLINE",
    0x2EE2: "ERROR_WINHTTP_TIMEOUT",
    0x2EE5: "ERROR_WINHTTP_INVALID_URL",
    0x2EE6: "ERROR_WINHTTP_UNRECOGNIZED_SCHEME",
    0x2EE7: "ERROR_WINHTTP_NAME_NOT_RESOLVED",
    0x2EF1: "ERROR_WINHTTP_OPERATION_CANCELLED",
    0x2EFD: "ERROR_WINHTTP_CANNOT_CONNECT",
    0x2EFE: "ERROR_WINHTTP_CONNECTION_ERROR",
    0x2F78: "ERROR_WINHTTP_INVALID_SERVER_RESPONSE",
    0x2F86: "ERROR_WINHTTP_BAD_AUTO_PROXY_SCRIPT",
    0x2F87: "ERROR_WINHTTP_UNABLE_TO_DOWNLOAD_SCRIPT",
    0x2F8F: "ERROR_WINHTTP_SECURE_FAILURE",
    0x2F94: "ERROR_WINHTTP_AUTODETECTION_FAILED",
}
"""Codes that CAPI2 writes as they are (``2EE7``) or wrapped in an HRESULT of the Win32 facility (``80072EE7``)."""

HTTP_FACILITY, WIN32_FACILITY = 0x80190000, 0x80070000

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

SSL_CHECKS: dict[int, str] = {
    0x80: "SECURITY_FLAG_IGNORE_REVOCATION",
    0x100: "SECURITY_FLAG_IGNORE_UNKNOWN_CA",
    0x200: "SECURITY_FLAG_IGNORE_WRONG_USAGE",
    0x1000: "SECURITY_FLAG_IGNORE_CERT_CN_INVALID",
    0x2000: "SECURITY_FLAG_IGNORE_CERT_DATE_INVALID",
}
"""``SSLAdditionalPolicyInfo/IgnoreFlags`` (fdwChecks): the faults that an SSL policy check was asked to ignore."""

CHAIN_FLAGS: dict[int, str] = {
    0x1: "CERT_CHAIN_CACHE_END_CERT",
    0x2: "CERT_CHAIN_THREAD_STORE_SYNC",
    0x4: "CERT_CHAIN_CACHE_ONLY_URL_RETRIEVAL",
    0x8: "CERT_CHAIN_USE_LOCAL_MACHINE_STORE",
    0x10: "CERT_CHAIN_ENABLE_CACHE_AUTO_UPDATE",
    0x20: "CERT_CHAIN_ENABLE_SHARE_STORE",
    0x40: "CERT_CHAIN_DISABLE_PASS1_QUALITY_FILTERING",
    0x80: "CERT_CHAIN_RETURN_LOWER_QUALITY_CONTEXTS",
    0x100: "CERT_CHAIN_DISABLE_AUTH_ROOT_AUTO_UPDATE",
    0x200: "CERT_CHAIN_TIMESTAMP_TIME",
    0x800: "CERT_CHAIN_DISABLE_MY_PEER_TRUST",
    0x2000: "CERT_CHAIN_DISABLE_AIA",
    0x8000000: "CERT_CHAIN_REVOCATION_ACCUMULATIVE_TIMEOUT",
    0x10000000: "CERT_CHAIN_REVOCATION_CHECK_END_CERT",
    0x20000000: "CERT_CHAIN_REVOCATION_CHECK_CHAIN",
    0x40000000: "CERT_CHAIN_REVOCATION_CHECK_CHAIN_EXCLUDE_ROOT",
    0x80000000: "CERT_CHAIN_REVOCATION_CHECK_CACHE_ONLY",
}
"""``Flags`` of event 11."""

POLICY_FLAGS: dict[int, str] = {
    0x1: "CERT_CHAIN_POLICY_IGNORE_NOT_TIME_VALID_FLAG",
    0x2: "CERT_CHAIN_POLICY_IGNORE_CTL_NOT_TIME_VALID_FLAG",
    0x4: "CERT_CHAIN_POLICY_IGNORE_NOT_TIME_NESTED_FLAG",
    0x8: "CERT_CHAIN_POLICY_IGNORE_INVALID_BASIC_CONSTRAINTS_FLAG",
    0x10: "CERT_CHAIN_POLICY_ALLOW_UNKNOWN_CA_FLAG",
    0x20: "CERT_CHAIN_POLICY_IGNORE_WRONG_USAGE_FLAG",
    0x40: "CERT_CHAIN_POLICY_IGNORE_INVALID_NAME_FLAG",
    0x80: "CERT_CHAIN_POLICY_IGNORE_INVALID_POLICY_FLAG",
    0x100: "CERT_CHAIN_POLICY_IGNORE_END_REV_UNKNOWN_FLAG",
    0x200: "CERT_CHAIN_POLICY_IGNORE_CTL_SIGNER_REV_UNKNOWN_FLAG",
    0x400: "CERT_CHAIN_POLICY_IGNORE_CA_REV_UNKNOWN_FLAG",
    0x800: "CERT_CHAIN_POLICY_IGNORE_ROOT_REV_UNKNOWN_FLAG",
    0x1000: "CERT_CHAIN_POLICY_IGNORE_PEER_TRUST_FLAG",
    0x2000: "CERT_CHAIN_POLICY_IGNORE_NOT_SUPPORTED_CRITICAL_EXT_FLAG",
    0x4000: "CERT_CHAIN_POLICY_TRUST_TESTROOT_FLAG",
    0x8000: "CERT_CHAIN_POLICY_ALLOW_TESTROOT_FLAG",
}
"""``Flags`` of event 30."""

AUTHENTICODE_SETTINGS: dict[int, str] = {
    0x20: "WTPF_TRUSTTEST",
    0x80: "WTPF_TESTCANBEVALID",
    0x100: "WTPF_IGNOREEXPIRATION",
    0x200: "WTPF_IGNOREREVOKATION",
    0x400: "WTPF_OFFLINEOK_IND",
    0x800: "WTPF_OFFLINEOK_COM",
    0x1000: "WTPF_OFFLINEOKNBU_IND",
    0x2000: "WTPF_OFFLINEOKNBU_COM",
    0x10000: "WTPF_VERIFY_V1_OFF",
    0x20000: "WTPF_IGNOREREVOCATIONONTS",
    0x40000: "WTPF_ALLOWONLYPERTRUST",
}
"""``RegPolicySetting`` of events 30 and 81."""

REVOCATION_FLAGS: dict[int, str] = {
    0x1: "CERT_VERIFY_REV_CHAIN_FLAG",
    0x2: "CERT_VERIFY_CACHE_ONLY_BASED_REVOCATION",
    0x4: "CERT_VERIFY_REV_ACCUMULATIVE_TIMEOUT_FLAG",
    0x8: "CERT_VERIFY_REV_SERVER_OCSP_FLAG",
    0x10: "CERT_VERIFY_REV_NO_OCSP_FAILOVER_TO_CRL_FLAG",
}
"""``Flags`` of event 41."""

RETRIEVAL_FLAGS: dict[int, str] = {
    0x1: "CRYPT_RETRIEVE_MULTIPLE_OBJECTS",
    0x2: "CRYPT_CACHE_ONLY_RETRIEVAL",
    0x4: "CRYPT_WIRE_ONLY_RETRIEVAL",
    0x8: "CRYPT_DONT_CACHE_RESULT",
    0x10: "CRYPT_ASYNC_RETRIEVAL",
    0x1000: "CRYPT_STICKY_CACHE_RETRIEVAL",
    0x2000: "CRYPT_LDAP_SCOPE_BASE_ONLY_RETRIEVAL",
    0x4000: "CRYPT_OFFLINE_CHECK_RETRIEVAL",
    0x8000: "CRYPT_LDAP_INSERT_ENTRY_ATTRIBUTE",
    0x10000: "CRYPT_LDAP_SIGN_RETRIEVAL",
    0x20000: "CRYPT_NO_AUTH_RETRIEVAL",
    0x40000: "CRYPT_LDAP_AREC_EXCLUSIVE_RETRIEVAL",
    0x80000: "CRYPT_AIA_RETRIEVAL",
    0x100000: "CRYPT_HTTP_POST_RETRIEVAL",
    0x200000: "CRYPT_PROXY_CACHE_RETRIEVAL",
}
"""``Flags`` of events 51 and 53."""

KEY_FLAGS: dict[int, str] = {
    0x1: "CRYPT_ACQUIRE_CACHE_FLAG",
    0x2: "CRYPT_ACQUIRE_USE_PROV_INFO_FLAG",
    0x4: "CRYPT_ACQUIRE_COMPARE_KEY_FLAG",
    0x8: "CRYPT_ACQUIRE_NO_HEALING",
    0x40: "CRYPT_ACQUIRE_SILENT_FLAG",
    0x80: "CRYPT_ACQUIRE_WINDOW_HANDLE_FLAG",
    0x10000: "CRYPT_ACQUIRE_ALLOW_NCRYPT_KEY_FLAG",
    0x20000: "CRYPT_ACQUIRE_PREFER_NCRYPT_KEY_FLAG",
    0x40000: "CRYPT_ACQUIRE_ONLY_NCRYPT_KEY_FLAG",
}
"""``Flags`` of event 70."""

TRUST_PROVIDER_FLAGS: dict[int, str] = {
    0x1: "WTD_USE_IE4_TRUST_FLAG",
    0x2: "WTD_NO_IE4_CHAIN_FLAG",
    0x4: "WTD_NO_POLICY_USAGE_FLAG",
    0x10: "WTD_REVOCATION_CHECK_NONE",
    0x20: "WTD_REVOCATION_CHECK_END_CERT",
    0x40: "WTD_REVOCATION_CHECK_CHAIN",
    0x80: "WTD_REVOCATION_CHECK_CHAIN_EXCLUDE_ROOT",
    0x100: "WTD_SAFER_FLAG",
    0x200: "WTD_HASH_ONLY_FLAG",
    0x400: "WTD_USE_DEFAULT_OSVER_CHECK",
    0x800: "WTD_LIFETIME_SIGNING_FLAG",
    0x1000: "WTD_CACHE_ONLY_URL_RETRIEVAL",
    0x80000000: "CPD_USE_NT5_CHAIN_FLAG",
}
"""``Flags`` of event 81."""

FLAG_ELEMENTS: dict[tuple[int, str], dict[int, str]] = {
    (0, "ErrorStatus"): TRUST_ERRORS,
    (0, "InfoStatus"): TRUST_INFO,
    (0, "IgnoreFlags"): SSL_CHECKS,
    (0, "RegPolicySetting"): AUTHENTICODE_SETTINGS,
    (11, "Flags"): CHAIN_FLAGS,
    (30, "Flags"): POLICY_FLAGS,
    (41, "Flags"): REVOCATION_FLAGS,
    (51, "Flags"): RETRIEVAL_FLAGS,
    (53, "Flags"): RETRIEVAL_FLAGS,
    (70, "Flags"): KEY_FLAGS,
    (81, "Flags"): TRUST_PROVIDER_FLAGS,
}
"""Names of flags by event id and by the element whose ``@value`` holds them; 0 stands for any event id."""

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

POLICY_NUMBERS = {name: number for number, name in POLICIES.items()}


_HEX = re.compile(r"(?:0[xX])?[0-9A-Fa-f]{1,16}")  # at most 64 bits


def from_hex(text: str | None) -> int | None:
    """Return the number in a CAPI2 ``@value``: hex of any case and width, with or without ``0x``; None if it is not."""
    number = _HEX.fullmatch(text.strip()) if text else None
    return int(number[0], 16) if number else None


def as_hex(number: int | None) -> str:
    """Return a result as reports and ``@value`` write it: upper case without prefix; empty for None."""
    return "" if number is None else f"{number:X}"


def result_name(number: int | None) -> str:
    """Return the symbol of a result; ``unnamed result`` with its hex if the tables lack it, empty for None."""
    if number is None:
        return ""
    if number in RESULTS:
        return RESULTS[number]
    code = number & 0xFFFF
    if number - code == HTTP_FACILITY:
        return f"HTTP status {code}"
    if number - code in (0, WIN32_FACILITY) and code in WIN32_RESULTS:
        return WIN32_RESULTS[code]
    return f"unnamed result 0x{number:X}"


def result_number(text: str) -> int | None:
    """Return the number of a result that a person wrote: in hex (``0x800b0109``) or as ``CERT_E_UNTRUSTEDROOT``."""
    wanted = text.strip().upper()
    named = {name: number for table in (WIN32_RESULTS, RESULTS) for number, name in table.items()}
    return named[wanted] if wanted in named else from_hex(wanted)


def flag_table(event_id: int, element: str) -> dict[int, str] | None:
    """Return the names of the flags in an element of an event; None if they are not known."""
    return FLAG_ELEMENTS.get((event_id, element)) or FLAG_ELEMENTS.get((0, element))


def flag_names(number: int, table: dict[int, str]) -> tuple[str, ...]:
    """Return the names of the bits that are set, lowest first; a bit without a name stands as hex."""
    bits = (1 << shift for shift in range(number.bit_length()))
    return tuple(table.get(bit, f"0x{bit:X}") for bit in bits if number & bit)
