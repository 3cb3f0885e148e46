"""Exported connectors and domains against a session, as Microsoft documents them (Set-InboundConnector, relay
requirements, "Office 365 notice"): what limits which type, what a wildcard holds, what a cut list can show."""

from __future__ import annotations

import pytest
from evidence import OWN, rejection

from evtx_analyzer.correlate.connector_checks import check
from evtx_analyzer.correlate.settings import listed
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.origin import Origin

SEEN = "203.0.113.7"
OWN_NAMES = ("mail.contoso.com",)


def exported(cmdlet, *objects, cut=()):
    return {
        cmdlet: [
            Setting(origin=Origin(source="x.json"), cmdlet=cmdlet, values=values, cut=frozenset(cut))
            for values in objects
        ]
    }


def connector(**values):
    return {"Name": "In", "Enabled": "True", "ConnectorType": "OnPremises", **values}


def inbound(*connectors, names=OWN_NAMES, cut=(), **changes):
    made = rejection(**{"seen_address": SEEN, "from_start": True, **changes})
    sent = Certificate(thumbprint=OWN, alternate_names=names) if names else None
    return check(made, sent, exported("Get-InboundConnector", *connectors, cut=cut))


def verdict(facts, name):
    return "".join(facts.get(f"InboundConnector.{name}", [])) or None


# ----------------------------------------------------------------------------------------------------------- wildcards


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        # the connector's *.d is d and every subdomain
        ("*.contoso.com", ("mail.contoso.com",), "true"),
        ("*.contoso.com", ("mail.eu.contoso.com",), "true"),
        ("*.contoso.com", ("contoso.com",), "true"),
        ("*.contoso.com", ("*.eu.contoso.com",), "true"),
        ("*.CONTOSO.com", ("Mail.Contoso.COM".casefold(),), "true"),
        # the certificate's own *.d is one label
        ("mail.contoso.com", ("*.contoso.com",), "true"),
        ("mail.eu.contoso.com", ("*.contoso.com",), "false"),
        ("contoso.com", ("*.contoso.com",), "false"),
        # near misses
        ("*.contoso.com", ("mail.notcontoso.com",), "false"),
        ("*.contoso.com", ("contoso.com.evil.example",), "false"),
        ("*.eu.contoso.com", ("mail.contoso.com",), "false"),
        ("contoso.com", ("mail.contoso.com",), "false"),
        # any of several names
        ("*.contoso.com", ("mail.fabrikam.com", "a.b.c.contoso.com"), "true"),
        ("<I>CN=CA<S>CN=mail.contoso.com, O=x", ("mail.contoso.com",), "true"),
        ("<i>CN=CA<s>CN=mail.contoso.com, O=x", ("mail.contoso.com",), "true"),
    ],
)
def test_names(wanted, names, expected):
    assert verdict(inbound(connector(TlsSenderCertificateName=wanted), names=names), "CertificateMatches") == expected


def test_without_a_certificate_no_name_is_compared():
    assert verdict(inbound(connector(TlsSenderCertificateName="*.contoso.com"), names=()), "CertificateMatches") is None


def test_one_of_several_connectors_is_enough():
    both = inbound(connector(TlsSenderCertificateName="x.example"), connector(TlsSenderCertificateName="*.contoso.com"))
    assert verdict(both, "CertificateMatches") == "true"


# ------------------------------------------------------------------------------- what relays, and what limits whom


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "true"),
        ({"Enabled": "False"}, "false"),
        ({"ConnectorType": "Partner"}, "false"),
        ({"ConnectorType": "0"}, None),  # ConvertTo-Json writes the number of an enumeration
        ({"ConnectorType": "onpremises"}, "true"),
    ],
)
def test_only_an_enabled_on_premises_connector_relays(changes, expected):
    assert verdict(inbound(connector(**changes)), "Working") == expected


def test_a_table_without_the_type_does_not_show_whether_a_connector_relays():
    assert verdict(inbound({"Name": "In", "TlsSenderCertificateName": "*.contoso.com"}), "Working") is None


@pytest.mark.parametrize(
    "limit",
    [
        {"SenderDomains": "{smtp:fabrikam.com;1}"},
        {"RestrictDomainsToCertificate": "True"},
        {"RestrictDomainsToIPAddresses": "True"},
        {"RequireTls": "True"},
    ],
)
def test_what_limits_partner_connectors_does_not_limit_on_premises_ones(limit):
    plain = connector(TlsSenderCertificateName="*.contoso.com")
    assert inbound({**plain, **limit}) == inbound(plain)


@pytest.mark.parametrize(
    ("domains", "sender", "expected"),
    [
        ("{contoso.com}", "a@contoso.com", "true"),
        ("{contoso.com, fabrikam.com}", "a@FABRIKAM.com", "true"),
        ("{contoso.com}", "a@second-brand.example", "false"),
        ("{contoso.com}", "a@mail.contoso.com", "false"),
        ("{}", "a@second-brand.example", None),
        ("", "a@second-brand.example", None),
        ("{contoso.com}", "", None),  # MAIL FROM:<> belongs to no domain
    ],
)
def test_associated_accepted_domains_limit_on_premises_connectors(domains, sender, expected):
    made = connector(TlsSenderCertificateName="*.contoso.com", AssociatedAcceptedDomains=domains)
    assert verdict(inbound(made, mail_from=sender), "AssociatedDomainMatches") == expected


def test_a_connector_without_the_limit_takes_what_the_other_does_not():
    limited = connector(TlsSenderCertificateName="*.contoso.com", AssociatedAcceptedDomains="{contoso.com}")
    free = connector(TlsSenderCertificateName="*.contoso.com")
    assert verdict(inbound(limited, free, mail_from="a@x.example"), "AssociatedDomainMatches") is None
    # One that does not match the session does not take it.
    by_name = connector(TlsSenderCertificateName="x.example", SenderIPAddresses="{}")
    assert verdict(inbound(limited, by_name, mail_from="a@x.example"), "AssociatedDomainMatches") == "false"
    by_address = connector(TlsSenderCertificateName="", SenderIPAddresses="{198.51.100.1}")
    assert verdict(inbound(limited, by_address, mail_from="a@x.example"), "AssociatedDomainMatches") == "false"


# ----------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("scopes", "seen", "expected"),
    [
        ("{203.0.113.0/24}", SEEN, "true"),
        ("{203.0.113.7}", SEEN, "true"),
        ("{198.51.100.1, 203.0.113.7}", SEEN, "true"),
        ("{203.0.113.8}", SEEN, "false"),
        ("{203.0.113.8}", "", None),
        ("{203.0.113.8}", "10.1.2.3", None),  # private: not what Exchange Online sees
        ("{203.0.113.8}", "100.64.7.7", None),
        ("{203.0.113.8}", "x.x.x.x", None),  # masked by whoever made the log anonymous
        ("{203.0.113.8}", "2001:db8::5", "false"),
        ("{10.1.2.0/24}", "10.1.2.3", "true"),
        ("{not an address}", SEEN, None),
    ],
)
def test_addresses(scopes, seen, expected):
    facts = inbound(connector(SenderIPAddresses=scopes), seen_address=seen)
    assert verdict(facts, "AddressMatches") == expected


# ---------------------------------------------------------------------------------------------------- lists cut short


def test_a_cut_list_shows_what_is_there_and_never_what_is_not():
    scopes = connector(SenderIPAddresses="{203.0.113.8, 203.0.113.9}")
    assert verdict(inbound(scopes), "AddressMatches") == "false"
    assert verdict(inbound(scopes, cut=("SenderIPAddresses",)), "AddressMatches") is None
    held = connector(SenderIPAddresses="{203.0.113.7}")
    assert verdict(inbound(held, cut=("SenderIPAddresses",)), "AddressMatches") == "true"


def test_a_cut_list_of_associated_domains():
    made = connector(TlsSenderCertificateName="*.contoso.com", AssociatedAcceptedDomains="{contoso.com}")
    cut = ("AssociatedAcceptedDomains",)
    assert verdict(inbound(made, mail_from="a@x.example", cut=cut), "AssociatedDomainMatches") is None
    assert verdict(inbound(made, mail_from="a@contoso.com", cut=cut), "AssociatedDomainMatches") == "true"
    # One of two lists that is cut may hold the sender's domain.
    both = exported("Get-InboundConnector", made)["Get-InboundConnector"]
    both += exported("Get-InboundConnector", made, cut=cut)["Get-InboundConnector"]
    sent = Certificate(thumbprint=OWN, alternate_names=OWN_NAMES)
    facts = check(rejection(mail_from="a@x.example", from_start=True), sent, {"Get-InboundConnector": both})
    assert verdict(facts, "AssociatedDomainMatches") is None


def test_columns_that_a_table_does_not_show_say_nothing():
    facts = inbound({"Name": "In", "ConnectorType": "OnPremises"})
    assert verdict(facts, "ByCertificate") is None
    assert verdict(facts, "ByAddress") is None
    assert verdict(facts, "CertificateMatches") is None


@pytest.mark.parametrize("written", ["{a.example, 7}", "a.example;7", "a.example 7", "a.example\r\n7"])
def test_lists_as_exports_write_them(written):
    assert listed(written) == ["a.example", "7"]


# ---------------------------------------------------------------------------------------------------- accepted domains


def domains(*names, sender="a@contoso.com", own=OWN_NAMES, cut=(), below=(), **changes):
    made = rejection(**{"mail_from": sender, "null_sender": not sender, "from_start": True, **changes})
    sent = Certificate(thumbprint=OWN, alternate_names=own) if own else None
    objects = [{"DomainName": name, "MatchSubDomains": str(name in below)} for name in names]
    facts = check(made, sent, exported("Get-AcceptedDomain", *objects, cut=cut))
    return {name.partition(".")[2]: value[0] for name, value in facts.items() if value}


@pytest.mark.parametrize(
    ("names", "of_tenant"),
    [
        (("contoso.com", "contoso.onmicrosoft.com"), "true"),
        (("contoso.onmicrosoft.us",), "true"),
        (("contoso.partner.onmschina.cn",), "true"),
        (("contoso.com", "corp.local"), "false"),
        (("onmicrosoft.com.contoso.example",), "false"),
    ],
)
def test_a_tenant_always_has_its_initial_domain(names, of_tenant):
    got = domains(*names)
    assert got["OfTenant"] == of_tenant
    assert ("Sender" in got) is (of_tenant == "true")


def test_a_cut_name_may_be_the_initial_domain():
    assert "OfTenant" not in domains("contoso.com", cut=("DomainName",))


@pytest.mark.parametrize(
    ("accepted", "sender", "own", "expected"),
    [
        ("contoso.com", "a@contoso.com", ("mail.x.example",), {"Sender": "true", "Certificate": "false"}),
        ("contoso.com", "a@x.example", ("contoso.com",), {"Sender": "false", "Certificate": "true"}),
        ("contoso.com", "a@x.example", ("*.contoso.com",), {"Sender": "false", "Certificate": "true"}),
        ("contoso.com", "a@x.example", ("mail.x.example",), {"Sender": "false", "Certificate": "false"}),
        # "mail.contoso.com may not be registered": the domain above is told, and counts for neither side
        ("contoso.com", "a@x.example", ("mail.contoso.com",), {"Certificate": "false", "AboveCertificate": "true"}),
        (
            "mail.contoso.com",
            "a@x.example",
            ("mail.contoso.com",),
            {"Certificate": "true", "AboveCertificate": "false"},
        ),
        ("toso.com", "a@contoso.com", ("mail.contoso.com",), {"Sender": "false", "AboveCertificate": "false"}),
        # MAIL FROM:<> is in no domain
        ("contoso.com", "", ("mail.x.example",), {"Sender": "false", "Certificate": "false"}),
    ],
)
def test_sender_and_certificate_against_the_tenant_s_domains(accepted, sender, own, expected):
    got = domains(accepted, "contoso.onmicrosoft.com", sender=sender, own=own)
    assert {name: got.get(name) for name in expected} == expected


def test_subdomains_count_where_the_tenant_says_so():
    got = domains("contoso.com", "c.onmicrosoft.com", sender="a@mail.contoso.com", below=("contoso.com",))
    assert (got["Sender"], got["Certificate"]) == ("true", "true")


def test_where_mail_from_is_not_in_the_log_no_sender_is_compared():
    assert "Sender" not in domains("x.onmicrosoft.com", sender="", null_sender=None)


def test_a_cut_list_of_domains_shows_only_what_is_there():
    got = domains("contoso.onmicrosoft.com", sender="a@x.example", own=("x.example",), cut=("DomainName",))
    assert "Sender" not in got
    assert "Certificate" not in got


@pytest.mark.parametrize(
    ("seen", "scope", "expected"),
    [
        ("::ffff:203.0.113.7", "203.0.113.0/24", "true"),  # RFC 4291: an IPv4 address written as IPv6
        ("::ffff:203.0.113.7", "198.51.100.0/24", "false"),
        ("203.0.113.7", "203.0.113.1-203.0.113.20", None),  # not a form of SenderIPAddresses: nothing is known
        ("203.0.113.7", "198.51.100.0/240", None),
        ("203.0.113.7", "198.51.100.1", "false"),
    ],
)
def test_an_entry_that_is_no_address_holds_nobody_and_excludes_nobody(seen, scope, expected):
    facts = inbound(connector(TlsSenderCertificateName="", SenderIPAddresses=scope), seen_address=seen)
    assert verdict(facts, "AddressMatches") == expected


# ------------------------------------------------------------------------------------- types that are not shown, names


UNTYPED = {"Name": "?", "Enabled": "True"}


@pytest.mark.parametrize(
    ("connectors", "partner", "disabled"),
    [
        ([connector()], "false", "false"),
        ([connector(ConnectorType="Partner")], "true", "false"),
        ([connector(Enabled="False")], "false", "true"),
        # A table without ConnectorType, or its number as ConvertTo-Json writes it: neither yes nor no.
        ([UNTYPED], None, "false"),
        ([connector(ConnectorType="1", Enabled="False")], None, None),
        ([UNTYPED, connector(ConnectorType="Partner")], "true", "false"),
    ],
)
def test_what_a_connector_of_an_unknown_type_is_stays_unknown(connectors, partner, disabled):
    facts = inbound(*connectors)
    assert (verdict(facts, "Partner"), verdict(facts, "Disabled")) == (partner, disabled)


def test_a_connector_of_an_unknown_type_that_fits_may_be_the_one_that_matches():
    typed = connector(TlsSenderCertificateName="x.example", SenderIPAddresses="{198.51.100.1}")
    fits = {**UNTYPED, "TlsSenderCertificateName": "*.contoso.com", "SenderIPAddresses": "{203.0.113.7}"}
    misses = {**UNTYPED, "TlsSenderCertificateName": "y.example", "SenderIPAddresses": "{198.51.100.2}"}
    for name in ("CertificateMatches", "AddressMatches"):
        assert verdict(inbound(typed, fits), name) is None
        assert verdict(inbound(typed, misses), name) == "false"


@pytest.mark.parametrize(
    ("associated", "expected"),
    [
        ("contoso.com", "true"),
        ("fabrikam.com", "false"),
        # An accepted domain may be given by its object's name or GUID: that names no domain.
        ("Primary", None),
        ("fabrikam.com,0f8fad5b-d9cb-469f-a165-70867728950e", None),
    ],
)
def test_an_accepted_domain_that_is_not_given_by_its_domain(associated, expected):
    facts = inbound(
        connector(SenderIPAddresses="", AssociatedAcceptedDomains=associated, TlsSenderCertificateName="*.contoso.com"),
        mail_from="a@contoso.com",
        null_sender=False,
    )
    assert verdict(facts, "AssociatedDomainMatches") == expected


# The A-label of the German word for books is the example of RFC 3492; that of straße keeps its sharp s (IDNA2008).
@pytest.mark.parametrize(
    ("exported_name", "sent_name", "expected"),
    [
        ("bücher.example", "xn--bcher-kva.example", "true"),
        ("*.Bücher.example", "mail.xn--bcher-kva.example", "true"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example.", "true"),
        ("bu\u0308cher.example", "xn--bcher-kva.example", "true"),
        ("straße.example", "xn--strae-oqa.example", "true"),
        ("strasse.example", "xn--strae-oqa.example", "false"),
        ("bucher.example", "xn--bcher-kva.example", "false"),
        ("xn--\u00ff.example", "xn--bcher-kva.example", "false"),
    ],
)
def test_a_name_in_unicode_is_the_one_in_ascii(exported_name, sent_name, expected):
    facts = inbound(connector(TlsSenderCertificateName=exported_name), names=(sent_name,))
    assert verdict(facts, "CertificateMatches") == expected
    domains = exported("Get-AcceptedDomain", *({"DomainName": name} for name in (exported_name, "c.onmicrosoft.com")))
    facts = check(rejection(mail_from=f"a@{sent_name}", null_sender=False), None, domains)
    assert facts["AcceptedDomain.Sender"] == (expected,)


# ------------------------------------------------------------------------------------- the connector that a fix changes


@pytest.mark.parametrize(
    ("connectors", "name", "others"),
    [
        ([connector()], "In", None),
        ([connector(), connector(Name="Two")], None, None),
        ([connector(), connector(Name="Old", Enabled="False")], "In", "Old (OnPremises, Enabled: False)"),
        ([connector(Enabled="False")], "In", "In (OnPremises, Enabled: False)"),
        # One of type Partner is never the one that a fix changes: it does not relay.
        ([connector(ConnectorType="Partner")], None, "In (Partner, Enabled: True)"),
    ],
)
def test_the_connector_that_a_fix_changes_is_named_only_if_it_can_be_no_other(connectors, name, others):
    facts = inbound(*connectors)
    assert (verdict(facts, "ToChange"), verdict(facts, "NotWorking")) == (name, others)
