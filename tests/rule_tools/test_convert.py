"""Queries that can be deployed: tables, columns and what is taken out of an event's XML, against exported events."""

from __future__ import annotations

import re

import manual
import pytest
from places import CHECKOUT, SAMPLES
from sigma.plugins import InstalledSigmaPlugins

import evtx_analyzer
from evtx_analyzer.errors import OptionError
from evtx_analyzer.rule_tools.convert import LINK_NOTE, convert
from evtx_analyzer.rule_tools.siem import CAPI2, SENTINEL, SIEMS, SPLUNK, camel_case, w3c_column, xml_pattern
from evtx_analyzer.rules.files import rule_folders

INSTALLED = InstalledSigmaPlugins.autodiscover().backends
PATHS = (
    "Result.value",
    "Policy.constant",
    "EventAuxInfo.ProcessName",
    "Certificate.subjectName",
    "CertificateChain.TrustStatus.ErrorStatus.value",
    "CertificateChain.TrustStatus.ErrorStatus.CERT_TRUST_IS_PARTIAL_CHAIN",
    "CertificateChain.TrustStatus.ErrorStatus.CERT_TRUST_IS_UNTRUSTED_ROOT",
    "CertificateChain.TrustStatus.ErrorStatus.CERT_TRUST_IS_REVOKED",
    "SSLAdditionalPolicyInfo.IgnoreFlags.SECURITY_FLAG_IGNORE_REVOCATION",
)


def query(target, name, **options):
    siem = SIEMS.get(target)
    if (siem.backend if siem else target) not in INSTALLED:
        pytest.skip(f"the backend for {target} is not installed")
    (made,) = convert(rule_folders(None), target, [name], **options)
    return made


def exported(case):
    """Each event of a sample as its XML and as it is read."""
    (path,) = (SAMPLES / case).glob("capi2.xml")
    texts = re.findall(r"<Event .*?</Event>", path.read_text(encoding="utf-8"), re.DOTALL)
    typed = {event.origin.record: event for event in evtx_analyzer.events(path)}
    return [(text, typed[int(re.search(r"<EventRecordID>(\d+)<", text)[1])]) for text in texts]


@pytest.mark.parametrize("case", ["self-signed", "revoked", "intermediate-expired", "remote-untrusted", "check-failed"])
@pytest.mark.parametrize("mark", ['"', "'"])
def test_what_a_query_takes_out_of_the_xml_is_what_is_read(case, mark):
    """Splunk's input and ``wevtutil`` write attributes in single marks."""
    seen = set()
    for text, event in exported(case):
        for path in PATHS:
            match = re.search(xml_pattern(path), text.replace('"', mark))
            taken = (match[1],) if match else ()
            assert taken == event.fields.get(path, ())[:1], path
            seen |= {path} if taken else set()
    assert {"Result.value", "Policy.constant", "EventAuxInfo.ProcessName"} <= seen


def test_the_errors_of_an_element_are_not_those_of_the_chain():
    text = (
        "<CertificateChain chainRef='x'><TrustStatus><ErrorStatus value='0'/></TrustStatus><ChainElement><TrustStatus>"
        "<ErrorStatus value='4' CERT_TRUST_IS_REVOKED='true'/></TrustStatus></ChainElement></CertificateChain>"
    )
    assert re.search(xml_pattern("CertificateChain.TrustStatus.ErrorStatus.CERT_TRUST_IS_REVOKED"), text) is None


def test_names_of_columns():
    assert camel_case("recipient-status") == "recipientStatus"
    assert w3c_column("cs-uri-query") == "csUriQuery"
    assert w3c_column("cs-username") == "csUserName"
    assert SPLUNK.logs[CAPI2].column("EventID") == "EventCode"


def test_numbers_stay_numbers_in_kusto():
    made = SENTINEL.place(CAPI2, ["EventID"], 'EventID in~ ("11", "30")')
    assert made.endswith("| where EventID in (11, 30)")


@pytest.mark.parametrize("target", SIEMS)
@pytest.mark.parametrize("name", ["chain_policy_failed", "chain_incomplete", "chain_revoked", "chain_policy_verified"])
def test_a_query_looks_at_columns_that_it_has_taken(target, name):
    text = query(target, name).query
    assert "Microsoft-Windows-CAPI2/Operational" in text
    taken = re.findall(r"extend (\w+) =|\(\?<(\w+)>", text)
    conditions = text.rpartition("\n|")[2]
    for column in (left or right for left, right in taken):
        assert column in conditions
    assert not re.search(r"Result\.value|Policy\.constant", conditions)


@pytest.mark.parametrize(
    ("target", "name", "expected"),
    [
        ("sentinel", "tenant_attribution_refused", ["ExchangeSmtpSend_CL\n| where event =~", "data matches regex"]),
        ("sentinel", "tenant_attribution_refused_iis", ["W3CIISLog", "csUserName", "csUriQuery matches regex"]),
        ("sentinel", "tenant_attribution_refused_tracking", ["MessageTrackingLog_CL", "eventId", "recipientStatus"]),
        ("splunk", "tenant_attribution_refused", ['sourcetype="exchange:smtp:send" event="<"\n| regex data=']),
        ("splunk", "tenant_attribution_refused_iis", ["cs_username=", "cs_uri_query="]),
        ("splunk", "tenant_attribution_refused_tracking", ["field=recipient_status", "event_id IN"]),
    ],
)
def test_each_log_has_its_table_and_columns(target, name, expected):
    text = query(target, name).query
    for part in expected:
        assert part in text


def test_what_has_no_table_is_said_and_plain_gives_it():
    made = query("sentinel", "tenant_attribution_refused_ndr")
    assert (made.query, made.problem) == ("", "no table is known that holds exchange/ndr; see --plain")
    assert "Diagnostic-Code" in query("sentinel", "tenant_attribution_refused_ndr", plain=True).query


def test_a_link_says_that_its_names_are_those_of_the_rule():
    assert query("splunk", "any_chain_failed_at_handshake").note == LINK_NOTE
    assert query("splunk", "any_chain_failed_at_handshake", plain=True).note == ""
    assert "correlation" in query("sentinel", "any_chain_failed_at_handshake").problem


def test_plain_and_other_backends_keep_the_names_of_the_rule():
    assert "Result.value IN" in query("splunk", "chain_policy_failed", plain=True).query
    assert "Result.value" in query("kusto", "chain_policy_failed").query


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(InstalledSigmaPlugins, "autodiscover", classmethod(lambda _: InstalledSigmaPlugins({}, {}, {})))
    with pytest.raises(
        OptionError, match=r"no backend named sentinel \(installed: none\).*extra siem.*pysigma-backend-NAME"
    ):
        list(convert(rule_folders(None), "sentinel"))


def test_the_manual_shows_what_is_converted(request):
    def shown(target, name):
        return "".join(f"    {line}\n" for line in query(target, name).query.splitlines())

    tables = {
        "sentinel": shown("sentinel", "chain_policy_failed"),
        "splunk": shown("splunk", "chain_policy_failed"),
        "sentinel-refusal": shown("sentinel", "tenant_attribution_refused_tracking"),
    }
    manual.check(CHECKOUT / "docs" / "siem.md", tables, update=request.config.getoption("--update-snapshots"))
