"""Constants against the values of Microsoft's documents, written down here a second time and by hand."""

from __future__ import annotations

import pytest

from evtx_analyzer import wincrypt as constants

# com-error-codes-4.md. Those that a popular tool has wrong come first.
HRESULTS = """
80092012 CRYPT_E_NO_REVOCATION_CHECK / 80092010 CRYPT_E_REVOKED / 800B0110 CERT_E_WRONG_USAGE
800B0111 TRUST_E_EXPLICIT_DISTRUST / 800B0112 CERT_E_UNTRUSTEDCA / 800B0113 CERT_E_INVALID_POLICY
800B0114 CERT_E_INVALID_NAME / 80090326 SEC_E_ILLEGAL_MESSAGE / 80090327 SEC_E_CERT_UNKNOWN
800B0001 TRUST_E_PROVIDER_UNKNOWN / 800B0003 TRUST_E_SUBJECT_FORM_UNKNOWN / 800B0004 TRUST_E_SUBJECT_NOT_TRUSTED
800B0100 TRUST_E_NOSIGNATURE / 800B0101 CERT_E_EXPIRED / 800B0102 CERT_E_VALIDITYPERIODNESTING / 800B0103 CERT_E_ROLE
800B0104 CERT_E_PATHLENCONST / 800B0105 CERT_E_CRITICAL / 800B0106 CERT_E_PURPOSE / 800B0107 CERT_E_ISSUERCHAINING
800B0108 CERT_E_MALFORMED / 800B0109 CERT_E_UNTRUSTEDROOT / 800B010A CERT_E_CHAINING / 800B010B TRUST_E_FAIL
800B010C CERT_E_REVOKED / 800B010D CERT_E_UNTRUSTEDTESTROOT / 800B010E CERT_E_REVOCATION_FAILURE
800B010F CERT_E_CN_NO_MATCH / 80092004 CRYPT_E_NOT_FOUND / 80092011 CRYPT_E_NO_REVOCATION_DLL
80092013 CRYPT_E_REVOCATION_OFFLINE / 80092014 CRYPT_E_NOT_IN_REVOCATION_DATABASE / 80092026 CRYPT_E_SECURITY_SETTINGS
80096001 TRUST_E_SYSTEM_ERROR / 80096004 TRUST_E_CERT_SIGNATURE / 80096005 TRUST_E_TIME_STAMP
80096010 TRUST_E_BAD_DIGEST / 80096019 TRUST_E_BASIC_CONSTRAINTS / 80090325 SEC_E_UNTRUSTED_ROOT
80090328 SEC_E_CERT_EXPIRED / 80090331 SEC_E_ALGORITHM_MISMATCH / 80090349 SEC_E_CERT_WRONG_USAGE
8009030E SEC_E_NO_CREDENTIALS / 80090322 SEC_E_WRONG_PRINCIPAL
"""
# winerror.h and winhttp.h, decimal there.
WIN32 = {
    12007: "ERROR_WINHTTP_NAME_NOT_RESOLVED",
    12180: "ERROR_WINHTTP_AUTODETECTION_FAILED",
    12002: "ERROR_WINHTTP_TIMEOUT",
    12029: "ERROR_WINHTTP_CANNOT_CONNECT",
    4304: "ERROR_MEDIA_OFFLINE",
    2: "ERROR_FILE_NOT_FOUND",
}
POLICIES = (
    "BASE AUTHENTICODE AUTHENTICODE_TS SSL BASIC_CONSTRAINTS NT_AUTH MICROSOFT_ROOT EV SSL_F12 SSL_HPKP_HEADER "
    "THIRD_PARTY_ROOT SSL_KEY_PIN"
)
# ns-wincrypt-cert_trust_status, without CERT_TRUST_.
ERRORS = """
1 IS_NOT_TIME_VALID / 2 IS_NOT_TIME_NESTED / 4 IS_REVOKED / 8 IS_NOT_SIGNATURE_VALID / 10 IS_NOT_VALID_FOR_USAGE
20 IS_UNTRUSTED_ROOT / 40 REVOCATION_STATUS_UNKNOWN / 80 IS_CYCLIC / 100 INVALID_EXTENSION
200 INVALID_POLICY_CONSTRAINTS / 400 INVALID_BASIC_CONSTRAINTS / 800 INVALID_NAME_CONSTRAINTS
1000 HAS_NOT_SUPPORTED_NAME_CONSTRAINT / 2000 HAS_NOT_DEFINED_NAME_CONSTRAINT / 4000 HAS_NOT_PERMITTED_NAME_CONSTRAINT
8000 HAS_EXCLUDED_NAME_CONSTRAINT / 10000 IS_PARTIAL_CHAIN / 20000 CTL_IS_NOT_TIME_VALID
40000 CTL_IS_NOT_SIGNATURE_VALID / 80000 CTL_IS_NOT_VALID_FOR_USAGE / 100000 HAS_WEAK_SIGNATURE
1000000 IS_OFFLINE_REVOCATION / 2000000 NO_ISSUANCE_CHAIN_POLICY / 4000000 IS_EXPLICIT_DISTRUST
8000000 HAS_NOT_SUPPORTED_CRITICAL_EXT
"""
INFOS = """
1 HAS_EXACT_MATCH_ISSUER / 2 HAS_KEY_MATCH_ISSUER / 4 HAS_NAME_MATCH_ISSUER / 8 IS_SELF_SIGNED
100 HAS_PREFERRED_ISSUER / 200 HAS_ISSUANCE_CHAIN_POLICY / 400 HAS_VALID_NAME_CONSTRAINTS / 800 IS_PEER_TRUSTED
1000 HAS_CRL_VALIDITY_EXTENDED / 2000 IS_FROM_EXCLUSIVE_TRUST_STORE / 4000 IS_CA_TRUSTED / 10000 IS_COMPLEX_CHAIN
"""


def table(text, prefix=""):
    rows = (row.split() for line in text.strip().splitlines() for row in line.split("/"))
    return {int(number, 16): prefix + name for number, name in rows}


def test_hresults_have_the_names_of_the_header():
    for number, name in table(HRESULTS).items():
        assert constants.result_name(number) == name


@pytest.mark.parametrize(("number", "name"), WIN32.items())
def test_win32_codes_are_named_bare_and_wrapped(number, name):
    assert constants.result_name(number) == name
    assert constants.result_name(0x80070000 | number) == name


def test_an_http_status_and_an_unknown_code_are_said_as_such():
    assert constants.result_name(0x80190194) == "HTTP status 404"
    assert constants.result_name(0xDEADBEEF) == "unnamed result 0xDEADBEEF"
    assert constants.result_name(None) == ""


def test_policies_are_numbered_from_one():
    assert list(constants.POLICIES.values()) == [f"CERT_CHAIN_POLICY_{name}" for name in POLICIES.split()]
    assert list(constants.POLICIES) == list(range(1, 13))


def test_trust_status_bits_are_those_of_the_documentation():
    assert table(ERRORS, "CERT_TRUST_") == constants.TRUST_ERRORS
    assert table(INFOS, "CERT_TRUST_") == constants.TRUST_INFO


def test_ssl_checks_of_the_kb_leave_unknown_ca_name_and_date_in():
    assert constants.flag_names(0x280, constants.SSL_CHECKS) == (
        "SECURITY_FLAG_IGNORE_REVOCATION",
        "SECURITY_FLAG_IGNORE_WRONG_USAGE",
    )
    assert constants.SSL_CHECKS[0x100] == "SECURITY_FLAG_IGNORE_UNKNOWN_CA"
    assert constants.SSL_CHECKS[0x1000] == "SECURITY_FLAG_IGNORE_CERT_CN_INVALID"
    assert constants.SSL_CHECKS[0x2000] == "SECURITY_FLAG_IGNORE_CERT_DATE_INVALID"


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("280", 0x280), ("10C", 0x10C), ("0x800b0109", 0x800B0109), ("", None), ("x", None)]
)
def test_values_are_hex_whatever_their_width(text, number):
    assert constants.from_hex(text) == number


@pytest.mark.parametrize("text", ["-1", "+1", "1_0", "0x", "0x-1", "1" * 17, "\uff11"])
def test_what_int_would_take_and_no_log_writes_is_no_value(text):
    assert constants.from_hex(text) is None


@pytest.mark.parametrize("text", ["800B0109", "0x800b0109", "CERT_E_UNTRUSTEDROOT", "cert_e_untrustedroot"])
def test_a_person_may_write_a_result_as_code_or_symbol(text):
    assert constants.result_number(text) == 0x800B0109


def test_each_flag_is_one_bit_and_each_name_stands_once_per_table():
    for flags in constants.FLAG_ELEMENTS.values():
        assert all(bit & (bit - 1) == 0 for bit in flags)
        assert len(set(flags.values())) == len(flags)
