"""CAPI2 events to typed events: one test per trap that real records hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from capi2_events import ISSUER, LEAF, URL, chain, every_id, leaf, log, normalized, policy, tail

from evtx_analyzer.model.origin import Loss
from evtx_analyzer.wincrypt import CAPI2_EVENTS


def one(event_id, body, **changes):
    (xml,) = log((event_id, body))
    for old, new in changes.items():
        xml = xml.replace(old, new)
    return normalized(xml)


@pytest.fixture(scope="module")
def events():
    return {event.event_id: event for event in map(normalized, log(*every_id()))}


def test_every_known_id_has_its_root_element_and_nothing_to_note(events):
    for number, name in CAPI2_EVENTS.items():
        assert (events[number].name, events[number].notes) == (name, ())


def test_an_unknown_id_is_kept_with_its_fields_and_said(events):
    assert events[23].name == "CertOpenStore"
    assert events[23].fields["EventAuxInfo.ProcessName"] == ("lsass.exe",)
    assert "no known schema" in events[23].notes[0]


def test_level_2_is_no_failure_and_level_4_no_success():
    (xml,) = log((11, chain(1, "0")))
    assert normalized(xml.replace("<Level>4<", "<Level>2<")).result == 0
    (xml,) = log((11, chain(1, "800B010A")))
    assert normalized(xml).result == 0x800B010A


def test_nested_results_and_errors_are_not_the_result(events):
    info = "<RevocationInfo><RevocationResult value='80092012'>x</RevocationResult></RevocationInfo>"
    event = one(11, chain(1, "0", error="40", names='CERT_TRUST_REVOCATION_STATUS_UNKNOWN="true"', extra=info))
    assert (event.result, event.chain_error) == (0, 0x40)
    assert event.chain[0].revocation_result_name == "CRYPT_E_NO_REVOCATION_CHECK"
    assert events[53].result == 0
    assert [(attempt.name, attempt.error_name) for attempt in events[53].retrieval.attempts] == [
        ("Call_WinHttpGetProxyForUrl", "ERROR_WINHTTP_AUTODETECTION_FAILED"),
        ("NoProxy", ""),
    ]


def test_events_without_a_result_have_none(events):
    assert [number for number, event in events.items() if event.result is None] == [10, 40, 50, 42, 52, 90, 80, 23]


def test_a_result_may_be_a_win32_code():
    assert one(11, chain(1, "2EE7")).result == 0x2EE7


def test_a_rejected_list_says_whose_and_why(events):
    item = events[42].revocation
    assert (item.subject, item.thumbprint, item.issuer_thumbprint) == ("mail.contoso.com", LEAF, ISSUER)
    assert (item.rejected, item.location, item.url, item.result) == ("CheckTimeValidity", "UrlCache", URL, "")


def test_revocation_and_retrievals_say_where_from(events):
    item = events[41].revocation
    assert (item.result, item.result_name) == ("80092013", "CRYPT_E_REVOCATION_OFFLINE")
    assert (item.location, item.issuer) == ("TvoCache", "Contoso CA")
    assert (events[51].retrieval.where, events[53].retrieval.where) == ("cache", "network")
    assert (events[53].retrieval.url, events[53].retrieval.answer) == (URL, "HTTP/1.1 200 OK")


def test_private_key_trust_and_catalog(events):
    assert (events[70].thumbprint, events[70].result) == (LEAF, 0)
    assert events[70].flags == ("CRYPT_ACQUIRE_CACHE_FLAG", "CRYPT_ACQUIRE_ALLOW_NCRYPT_KEY_FLAG")
    assert (events[81].target, events[81].result) == ("C:\\x\\setup.exe", 0x800B0100)
    assert events[82].target == "\\Windows\\x.dll"


def test_event_90_gives_the_certificate(events):
    (item,) = events[90].certificates
    assert (item.subject, item.issuer, item.serial) == ("CN=mail.contoso.com, C=DE", "CN=Contoso CA", "0A")
    assert item.alternate_names == ("mail.contoso.com", "*.contoso.com")
    assert (item.subject_key_id, item.authority_key_id) == ("11", "22")
    assert (item.not_before, item.not_after) == (datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert item.usages == ("1.3.6.1.5.5.7.3.1",)
    assert item.issuer_urls == ("http://pki.contoso.com/ca.crt",)


def test_the_server_name_may_be_absent_and_the_status_names_the_whole_chain():
    event = one(30, policy(1, "800B0109"))
    assert (event.server_name, event.auth_type, event.status) == ("", "server", (0, -1))


def test_flags_are_decoded_from_the_value_and_a_disagreement_is_said():
    event = one(11, chain(1, error="10000", names='CERT_TRUST_IS_UNTRUSTED_ROOT="true"'))
    assert event.chain_error == 0x10000
    prefix = "CertificateChain.TrustStatus.ErrorStatus."
    assert event.fields[f"{prefix}CERT_TRUST_IS_PARTIAL_CHAIN"] == ("true",)
    assert f"{prefix}CERT_TRUST_IS_UNTRUSTED_ROOT" not in event.fields
    (note,) = event.notes
    assert "names CERT_TRUST_IS_UNTRUSTED_ROOT" in note
    assert "does not name CERT_TRUST_IS_PARTIAL_CHAIN" in note
    assert event.fields["EventID"] == ("11",)


def test_a_value_without_named_flags_is_no_disagreement():
    event = one(30, policy(1, ignore="280"))
    assert event.ignore_flags == ("SECURITY_FLAG_IGNORE_REVOCATION", "SECURITY_FLAG_IGNORE_WRONG_USAGE")
    assert event.notes == ()
    flag = "SSLAdditionalPolicyInfo.IgnoreFlags.SECURITY_FLAG_IGNORE_REVOCATION"
    assert event.fields[flag] == ("true",)


def test_a_flag_without_a_name_stays_as_hex():
    event = one(
        70,
        f'<CryptAcquireCertificatePrivateKey>{leaf()}<Flags value="80000001"/>{tail(1)}'
        "</CryptAcquireCertificatePrivateKey>",
    )
    assert event.flags == ("CRYPT_ACQUIRE_CACHE_FLAG", "0x80000000")


@pytest.mark.parametrize(
    ("constant", "kind", "number", "notes"),
    [("4", "SSL", 4, 0), ("10", "SSL_HPKP_HEADER", 10, 0), ("A", "SSL_HPKP_HEADER", 10, 0), ("7", "SSL", 4, 1)],
)
def test_the_type_of_a_policy_is_believed_before_its_number(constant, kind, number, notes):
    event = one(30, policy(1, kind=kind, constant=constant))
    assert (event.policy, len(event.notes)) == (number, notes)


def test_localized_texts_change_nothing():
    german = "Eine Zertifikatkette wurde zwar verarbeitet, endete jedoch mit einem Stammzertifikat"
    left, right = one(30, policy(1, "800B0109")), one(30, policy(1, "800B0109", text=german))
    assert left.result == right.result == 0x800B0109


def test_classic_events_of_the_application_log_are_none_of_ours():
    (xml,) = log((11, chain(1)))
    classic = xml.replace("<Channel>Microsoft-Windows-CAPI2/Operational<", "<Channel>Application<")
    assert normalized(classic) is None


def test_a_collected_event_takes_its_host_from_computer():
    (xml,) = log((11, chain(1)), computer="EDGE7.contoso.com")
    collected = xml.replace("<Channel>Microsoft-Windows-CAPI2/Operational<", "<Channel>ForwardedEvents<")
    assert normalized(collected).host == "EDGE7.contoso.com"
    classic = collected.partition("<UserData>")[0] + "<EventData><Data>x</Data></EventData></Event>"
    assert normalized(classic) is None


def test_an_event_without_user_data_is_a_loss_that_says_what_to_do():
    (xml,) = log((11, chain(1)))
    loss = normalized(
        xml.partition("<UserData>")[0] + "<RenderingInfo><Message>For more</Message></RenderingInfo></Event>"
    )
    assert isinstance(loss, Loss)
    assert "wevtutil epl Microsoft-Windows-CAPI2/Operational" in loss.reason


def test_guids_are_compared_in_upper_case():
    body = chain(1).replace('chainRef="{', 'chainRef="{abcd')
    event = one(11, body)
    assert event.chain_ref.startswith("{ABCD")
    assert event.chain_refs == (event.chain_ref,)


def test_control_characters_in_a_subject_do_not_cost_the_event():
    (xml,) = log((11, chain(1)))
    assert normalized(xml.replace("mail.contoso.com", "mail\x01contoso")).result == 0
