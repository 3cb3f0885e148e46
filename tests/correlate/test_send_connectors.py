"""The Send connector of a session and the installed certificates against the certificate that was sent."""

from __future__ import annotations

import pytest
from evidence import OWN, rejection

from evtx_analyzer.correlate.connector_checks import check
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.origin import Origin

NAMED = "<I>CN=CA, O=x<S>CN=mail.contoso.com"


def exported(cmdlet, *objects):
    return {cmdlet: [Setting(origin=Origin(source="x.json"), cmdlet=cmdlet, values=values) for values in objects]}


def send(*connectors, certificates=(), sent=None):
    objects = exported("Get-SendConnector", *connectors) | exported("Get-ExchangeCertificate", *certificates)
    own = sent or Certificate(thumbprint=OWN, subject="CN=mail.contoso.com", issuer="CN=CA,O=x")
    return {name: list(values) for name, values in check(rejection(), own, objects).items()}


def test_the_send_connector_of_the_session_is_compared():
    assert send({"Name": "OUTBOUND", "TlsCertificateName": NAMED})["SendConnector.CertificateMatches"] == ["true"]
    assert "SendConnector.CertificateMatches" not in send({"Name": "Other", "TlsCertificateName": NAMED})
    assert send({"Name": "Outbound", "TlsCertificateName": ""})["SendConnector.CertificateSet"] == ["false"]
    assert "SendConnector.CertificateSet" not in send({"Name": "Outbound"})


def test_names_whose_parts_stand_the_other_way_round_tell_nothing():
    turned = {"Name": "Outbound", "TlsCertificateName": "<I>O=x, CN=CA<S>CN=mail.contoso.com"}
    assert "SendConnector.CertificateMatches" not in send(turned)
    other = {"Name": "Outbound", "TlsCertificateName": "<I>O=x, CN=Other<S>CN=mail.contoso.com"}
    assert send(other)["SendConnector.CertificateMatches"] == ["false"]


def test_two_installed_certificates_fit_one_name():
    two = [
        {"Thumbprint": name, "Subject": "CN=mail.contoso.com", "Issuer": "CN=CA, O=x", "Services": "SMTP"}
        for name in (OWN, "B" * 40)
    ]
    facts = send({"Name": "Outbound", "TlsCertificateName": NAMED}, certificates=two)
    assert facts["ExchangeCertificate.FittingOneName"] == [OWN, "B" * 40]
    other = [{**two[0]}, {**two[1], "Issuer": "CN=Other CA"}]
    facts = send({"Name": "Outbound", "TlsCertificateName": NAMED}, certificates=other)
    assert "ExchangeCertificate.FittingOneName" not in facts


@pytest.mark.parametrize(
    ("listed_own", "expected"),
    [
        ({"Thumbprint": OWN, "Services": "IIS, SMTP"}, ["true"]),
        ({"Thumbprint": OWN.lower(), "Services": "IIS"}, ["false"]),
        ({"Thumbprint": OWN, "Services": "14"}, []),  # ConvertTo-Json of an object that is not deserialized
        ({"Thumbprint": OWN}, []),  # a table without the column
        ({"Thumbprint": "B" * 40, "Services": "IIS"}, []),  # another server's export, or an older one
    ],
)
def test_bound_to_smtp(listed_own, expected):
    assert send(certificates=[listed_own]).get("ExchangeCertificate.BoundToSmtp", []) == expected
