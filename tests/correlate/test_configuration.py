"""Configuration exports and certificate files: read, and compared with what the session showed."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from evidence import HANDSHAKE, OWN, rejection
from msgspec.structs import replace

import evtx_analyzer as ea
from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.distinguished_names import connector_covers, same_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize import normalize
from evtx_analyzer.normalize.configuration import services
from evtx_analyzer.read import read, recognize
from samples.cases import LEAF
from samples.pieces import accepted, inbound, refused, send

URL = "http://pki.example.com/issuer.cer"


def setting(cmdlet, **values):
    return Setting(
        origin=Origin(source="x.json"), cmdlet=cmdlet, values={key: str(value) for key, value in values.items()}
    )


def connector(**values):
    return setting("Get-InboundConnector", **{"Name": "In", "Enabled": "True", "ConnectorType": "OnPremises", **values})


def view(*settings, certificates=None, **changes):
    made = rejection(**changes)
    beside = CaseFacts(settings=settings, certificates=certificates or {})
    return {name: values[0] for name, values in session_facts(made, beside).items()}


def sent(**values):
    return Certificate(thumbprint=OWN, **values)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*.contoso.com", "mail.contoso.com", True),
        ("mail.contoso.com", "*.contoso.com", True),
        ("*.contoso.com", "*.Contoso.com", True),
        ("mail.contoso.com", "MAIL.contoso.com", True),
        ("*.contoso.com", "a.b.contoso.com", True),  # a connector's wildcard is the domain and all subdomains
        ("*.contoso.com", "contoso.com", True),
        ("*.contoso.com", "*.eu.contoso.com", True),
        ("*.eu.contoso.com", "*.contoso.com", False),
        ("a.b.contoso.com", "*.contoso.com", False),  # a certificate's wildcard stands for one label
        ("contoso.com", "*.contoso.com", False),
        ("contoso.com", "mail.contoso.com", False),
        ("*.contoso.com", "evilcontoso.com", False),
        ("mail.contoso.com", "mail.fabrikam.com", False),
    ],
)
def test_certificate_names(pattern, name, expected):
    assert connector_covers(pattern, name) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("CN=a, O=b, C=US", "cn=A,O=b,C=US", True),
        ('CN=a, O="Example Trust, Inc.", C=US', "CN=a, O=Example Trust, Inc., C=US", True),
        ("CN=a, S=Washington", "CN=a, ST=Washington", True),
        ("CN=a, O=b", "CN=a, O=c", False),
    ],
)
def test_distinguished_names(left, right, expected):
    assert same_name(left, right) is expected


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("*.contoso.com", ("mail.contoso.com",), "true"),
        ("mail.contoso.com", ("mail.fabrikam.com", "mail.contoso.com"), "true"),
        ("mail.contoso.com", ("mail.fabrikam.com",), "false"),
        ("<I>CN=Issuer<S>CN=mail.contoso.com, O=Contoso", ("mail.contoso.com",), "true"),
    ],
)
def test_connector_name_against_the_certificate(name, names, expected):
    got = view(connector(TlsSenderCertificateName=name), sent=sent(alternate_names=names))
    assert got["InboundConnector.CertificateMatches"] == expected


def test_without_a_name_or_a_certificate_nothing_is_compared():
    assert "InboundConnector.CertificateMatches" not in view(connector(TlsSenderCertificateName="a.b.c"), sent=None)
    assert "InboundConnector.CertificateMatches" not in view(connector(), sent=sent(alternate_names=("a.b.c",)))
    assert not [name for name in view() if name.startswith("InboundConnector")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "true"),
        ({"Enabled": "False"}, "false"),
        ({"ConnectorType": "Partner"}, "false"),
    ],
)
def test_only_an_enabled_on_premises_connector_works(values, expected):
    assert view(connector(**values))["InboundConnector.Working"] == expected


@pytest.mark.parametrize("domains", ["smtp:contoso.com;1", "smtp:fabrikam.com;1", "{smtp:*.contoso.com;1}", "smtp:*;1"])
def test_sender_domains_limit_partner_connectors_only(domains):
    """Set-InboundConnector, SenderDomains: it limits connectors of type Partner."""
    assert view(connector(SenderDomains=domains)) == view(connector())


INITIAL = setting("Get-AcceptedDomain", DomainName="contoso.onmicrosoft.com")


@pytest.mark.parametrize(
    ("accepted_domain", "expected"),
    [("contoso.com", "true"), ("fabrikam.com", "false"), ("*.contoso.com", "true"), ("toso.com", "false")],
)
def test_accepted_domains(accepted_domain, expected):
    listed = setting("Get-AcceptedDomain", DomainName=accepted_domain)
    assert view(INITIAL, listed)["AcceptedDomain.Sender"] == expected
    # Without its initial domain the list is that of the organization, not of the tenant, and nothing is compared.
    assert "AcceptedDomain.Sender" not in view(listed)


def test_send_connector_and_bound_certificates():
    own = setting("Get-SendConnector", Name="outbound", TlsCertificateName="<I>CN=CA, O=x<S>CN=old")
    bound = setting("Get-ExchangeCertificate", Thumbprint=OWN, Services="IIS", Subject="CN=new")
    got = view(own, bound, sent=sent(subject="CN=new", issuer="CN=CA,O=x"))
    assert got["SendConnector.CertificateMatches"] == "false"
    assert got["SendConnector.Subject"] == "CN=old (issued by CN=CA, O=x)"
    assert got["ExchangeCertificate.BoundToSmtp"] == "false"
    # An export that does not list the certificate at all is another server's, or older.
    other = setting("Get-ExchangeCertificate", Thumbprint="B" * 40, Services="IIS, SMTP", Subject="CN=new")
    assert "ExchangeCertificate.BoundToSmtp" not in view(other, sent=sent(subject="CN=new"))
    # Two exports of one connector that disagree tell nothing.
    new = setting("Get-SendConnector", Name="Outbound", TlsCertificateName="<I>CN=CA, O=x<S>CN=new")
    assert "SendConnector.CertificateMatches" not in view(own, new, sent=sent(subject="CN=new", issuer="CN=CA,O=x"))


# ---------------------------------------------------------------------------------------------- certificate files


@pytest.fixture(scope="module")
def certificate():
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.contoso.com")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example CA")])
    access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(URL))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mail.contoso.com")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(b"\x01\x02", None, None), critical=False)
        .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        .sign(key, None)
    )


def forms(certificate):
    der = certificate.public_bytes(Encoding.DER)
    pem = certificate.public_bytes(Encoding.PEM)
    return {
        "der": der,
        "pem": pem,
        "two in one": pem + b"\r\n" + pem,
        "p7b": pkcs7.serialize_certificates([certificate], Encoding.DER),
        "p7b as pem": pkcs7.serialize_certificates([certificate], Encoding.PEM),
        "p12": pkcs12.serialize_key_and_certificates(b"x", None, None, [certificate], NoEncryption()),
    }


@pytest.mark.parametrize("form", ["der", "pem", "two in one", "p7b", "p7b as pem", "p12"])
def test_certificate_files(certificate, form):
    data = forms(certificate)[form]
    assert recognize(data) == "certificate"
    found: list[Any] = list(read("certificate", io.BytesIO(data), Origin(source="x")))
    assert len(found) == (2 if form == "two in one" else 1)
    got = found[0].certificate
    assert got.thumbprint == certificate.fingerprint(SHA1()).hex().upper()
    assert (got.subject, got.issuer) == ("CN=mail.contoso.com", "CN=Example CA")
    assert got.alternate_names == ("mail.contoso.com",)
    assert got.issuer_urls == (URL,)
    assert got.authority_key_id == "0102"
    assert got.not_after == datetime(2027, 1, 1, tzinfo=UTC)


def test_certutil_text_in_german():
    text = (
        'CA "Zwischenzertifizierungsstellen"\r\n================ Zertifikat 0 ================\r\n'
        "Seriennummer: 0a\r\nAussteller: CN=Example CA\r\nZertifikathash(sha1): "
        "ec 53 eb c9 4a 79 6c 42 e5 b4 e5 85 1f 96 18 74 f0 13 d9 4c"
        "\r\n"
    )
    data = text.encode("cp850")
    assert recognize(data) == "certutil-text"
    _, found = read("certutil-text", io.BytesIO(data), Origin(source="x"))
    assert isinstance(found, StoreEntry)
    assert found.store == "CA"
    assert found.certificate.thumbprint == "EC53EBC94A796C42E5B4E5851F961874F013D94C"


def test_a_damaged_certificate_is_a_loss(certificate):
    data = forms(certificate)["der"][:-40]
    (found,) = read("certificate", io.BytesIO(data), Origin(source="x"))
    assert isinstance(found, Loss)


def test_a_certificate_file_names_where_the_missing_issuer_is_published(tmp_path, certificate):
    from samples.capi2 import Cert

    thumbprint = certificate.fingerprint(SHA1()).hex().upper()
    leaf = Cert(thumbprint, (("CN", "mail.servername.com"),), (("CN", "Example CA"),), names=("mail.servername.com",))
    from samples import capi2
    from samples.cases import HOST, KB_TIME
    from samples.pieces import BROKEN, xml

    recorder = capi2.Recorder(HOST)
    capi2.check(recorder, KB_TIME, [(leaf, 0)], seed="x", **BROKEN)
    (tmp_path / "capi2.xml").write_bytes(xml(recorder))
    (tmp_path / "SEND.LOG").write_bytes(send(refused(leaf)))
    (tmp_path / "mail.cer").write_bytes(certificate.public_bytes(Encoding.DER))
    report = ea.analyze(tmp_path)
    assert report.verdict.grade == "probable"
    assert f"published at {URL}" in report.findings[0].remedy.steps[0]


# --------------------------------------------------------------------------------------------------- json exports


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("several", [False, True])
def test_json_of_powershell(tmp_path, encoding, several):
    item = inbound(TlsSenderCertificateName="mail.contoso.com")
    (tmp_path / "c.json").write_text(json.dumps([item, item] if several else item), encoding=encoding)
    events = [event for event in ea.events(tmp_path) if isinstance(event, Setting)]
    assert len(events) == 1 + several
    assert events[0].cmdlet == "Get-InboundConnector"
    assert events[0].values["Enabled"] == "True"
    assert events[0].values["SenderDomains"] == "smtp:*;1"


def test_json_of_something_else_is_unrecognized_and_broken_json_a_loss(tmp_path):
    (tmp_path / "SEND.LOG").write_bytes(
        send(accepted(__import__("samples.cases").cases.LEAF, HANDSHAKE, "08D5000000000001"))
    )
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken.json").write_text('{"Name": ')
    report = ea.analyze(tmp_path)
    statuses = {source.path: source.status for source in report.sources}
    assert statuses["other.json"] == "unrecognized"
    assert statuses["broken.json"] == "not-read"
    assert [Path(loss.origin.source).name for loss in report.losses] == ["broken.json"]


LIST = """

Name                         : From CORP
Enabled                      : True
ConnectorType                : OnPremises
TlsSenderCertificateName     : mail.contoso.com
SenderIPAddresses            : {198.51.100.0/24, 203.0.113.0/24}
SenderDomains                : {smtp:*;1}

Name                         : Partner
Enabled                      : False
ConnectorType                : Partner
TlsSenderCertificateName     :
SenderIPAddresses            : {}
SenderDomains                : {smtp:contoso.com;1}

"""
CSV = (
    "#TYPE Selected.Microsoft.Exchange.Data.Directory\r\n"
    '"Name","Enabled","ConnectorType","TlsSenderCertificateName"\r\n'
    '"From CORP","True","OnPremises","mail.contoso.com"\r\n'
)
CLIXML = """<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">
  <Obj RefId="0"><TN RefId="0"><T>Selected.Object</T></TN><MS>
    <S N="Name">From CORP</S><B N="Enabled">true</B><S N="ConnectorType">OnPremises</S>
    <S N="TlsSenderCertificateName">mail.contoso.com</S>
    <Obj N="SenderIPAddresses" RefId="1"><LST><S>198.51.100.0/24</S></LST></Obj>
  </MS></Obj>
</Objs>"""


@pytest.mark.parametrize(("content", "count"), [(LIST, 2), (CSV, 1), (CLIXML, 1)], ids=["list", "csv", "clixml"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_other_forms_of_powershell(tmp_path, content, count, encoding):
    (tmp_path / "export.txt").write_text(content, encoding=encoding)
    events = [event for event in ea.events(tmp_path) if isinstance(event, Setting)]
    assert [item.cmdlet for item in events] == ["Get-InboundConnector"] * count
    assert events[0].values["TlsSenderCertificateName"] == "mail.contoso.com"
    got = view(*events, sent=sent(alternate_names=("mail.contoso.com",)), seen_address="198.51.100.7")
    assert got["InboundConnector.Working"] == "true"
    assert got["InboundConnector.CertificateMatches"] == "true"
    if content is not CSV:
        assert got["InboundConnector.AddressMatches"] == "true"


def test_a_receive_connector_is_not_taken_for_a_send_connector(tmp_path):
    item = {"Name": "Default Frontend", "TlsCertificateName": "<I>CN=a<S>CN=b", "Bindings": ["[::]:25"]}
    (tmp_path / "r.json").write_text(json.dumps(item))
    assert [event for event in ea.events(tmp_path) if isinstance(event, Setting)] == []


# ------------------------------------------------------------------------------------------------ tables, cut values

# As Exchange prints it: thumbprints whole, services as letters, subjects cut at the console's width.
CERTIFICATES = f"""
[PS] C:\\>Get-ExchangeCertificate

Thumbprint                                Services   Subject
----------                                --------   -------
{"A1" * 20}  ...WS..    CN=mail.contoso.com, O=Contoso GmbH, L=Munich...
{"B2" * 20}  ....S..    CN=Microsoft Exchange Server Auth Certificate
{"C3" * 20}  .......    CN=WMSvc-SHA2-EX01
{"D4" * 20}  IP.WS..    CN=\u2026
"""
WEB_COPY = f"""Thumbprint                                Services   Subject

{"A1" * 20}  I..WS..    CN=.ourdomain.com, O=LLC Company, L=NY, S...

8490765C4C47D81***E2F46BEBB98EF9084A3B  .P.WS..    CN=mail
"""


def settings_of(text):
    data = text.encode()
    syntax = recognize(data)
    records: list[Any] = list(read(syntax, io.BytesIO(data), Origin(source="x")))
    losses = [record for record in records if isinstance(record, Loss)]
    return [normalize(record)[1] for record in records if not isinstance(record, Loss)], losses


def test_the_default_table_of_certificates_is_read_for_what_it_shows():
    found, losses = settings_of(CERTIFICATES)
    assert losses == []
    assert {item.cmdlet for item in found} == {"Get-ExchangeCertificate"}
    assert [item.values.get("Services") for item in found] == ["IIS, SMTP", "SMTP", "None", "IMAP, POP, IIS, SMTP"]
    assert [item.values["Thumbprint"] for item in found] == ["A1" * 20, "B2" * 20, "C3" * 20, "D4" * 20]
    assert [item.values.get("Subject") for item in found] == [
        None,
        "CN=Microsoft Exchange Server Auth Certificate",
        "CN=WMSvc-SHA2-EX01",
        None,
    ]
    assert [item.cut for item in found] == [{"Subject"}, set(), set(), {"Subject"}]


def test_a_table_copied_from_a_page_without_dashes_and_with_a_masked_thumbprint():
    found, _ = settings_of(WEB_COPY)
    assert [item.values for item in found] == [
        {"Thumbprint": "A1" * 20, "Services": "IMAP, IIS, SMTP"},
        {"Services": "POP, IIS, SMTP", "Subject": "CN=mail"},
    ]
    assert [item.cut for item in found] == [{"Subject"}, {"Thumbprint"}]


def test_what_was_copied_from_a_console_may_hold_lists_and_tables():
    connector_list = (
        "[PS] C:\\>Get-SendConnector | fl Name,TlsCertificateName\n\nName               : Outbound to Office 365\n"
        "TlsCertificateName : <I>CN=CA<S>CN=mail.contoso.com\n\n"
    )
    for text in (connector_list + CERTIFICATES, CERTIFICATES + connector_list):
        found, losses = settings_of(text)
        assert losses == []
        assert sorted(item.cmdlet for item in found) == ["Get-ExchangeCertificate"] * 4 + ["Get-SendConnector"]
        (own,) = [item for item in found if item.cmdlet == "Get-SendConnector"]
        assert own.values == {
            "Name": "Outbound to Office 365",
            "TlsCertificateName": "<I>CN=CA<S>CN=mail.contoso.com",
        }


def test_a_value_that_is_wrapped_is_left_out():
    text = (
        f"Thumbprint                                Services   Subject\n{'-' * 40}  --------   -------\n"
        f"{'A1' * 20}  ...WS..    CN=mail.contoso.com, O=Contoso\n{' ' * 53}GmbH, L=Munich\n"
        f"{'B2' * 20}  ....S..    CN=EX01\n"
    )
    found, losses = settings_of(text)
    assert [item.values.get("Subject") for item in found] == [None, "CN=EX01"]
    assert [item.cut for item in found] == [{"Subject"}, set()]
    assert losses == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IP.WS.", "IMAP, POP, IIS, SMTP"),  # Exchange 2010: six columns
        ("IPUWSFC", "IMAP, POP, UM, IIS, SMTP, Federation, UMCallRouter"),
        (".......", "None"),
        ("IMAP, POP, IIS, SMTP", "IMAP, POP, IIS, SMTP"),
        ("SMTP", "SMTP"),
        ("None", "None"),
    ],
)
def test_services_as_letters(text, expected):
    assert services(text) == expected


TABLES = {
    "accepted domains": (
        (
            "Name          DomainName               DomainType     Default\n"
            "----          ----------               ----------     -------\n"
            "gto.local     gto.local                Authoritative  False\n"
            "contoso.com   a-very-long-name.cont... InternalRelay  True\n"
        ),
        [
            {"Name": "gto.local", "DomainName": "gto.local", "DomainType": "Authoritative", "Default": "False"},
            {"Name": "contoso.com", "DomainType": "InternalRelay", "Default": "True"},
        ],
        [set(), {"DomainName"}],
    ),
    "inbound connectors": (
        (
            "Name       ConnectorType SenderIPAddresses          TlsSenderCertificateName\n"
            "----       ------------- -----------------          ------------------------\n"
            "From CORP  OnPremises    {203.0.113.9, 198.51.10... *.contoso.com\n"
        ),
        [
            {
                "Name": "From CORP",
                "ConnectorType": "OnPremises",
                "SenderIPAddresses": "{203.0.113.9}",
                "TlsSenderCertificateName": "*.contoso.com",
            }
        ],
        [{"SenderIPAddresses"}],
    ),
    "send connectors": (
        (
            "Identity                AddressSpaces  TlsCertificateName\n"
            "--------                -------------  ------------------\n"
            "Outbound to Office 365  {smtp:*;1}     <I>CN=CA<S>CN=...\n"
        ),
        [{"Name": "Outbound to Office 365", "AddressSpaces": "{smtp:*;1}"}],
        [{"TlsCertificateName"}],
    ),
}


@pytest.mark.parametrize(("text", "values", "cut"), TABLES.values(), ids=TABLES)
def test_tables_give_the_columns_that_they_show(text, values, cut):
    found, losses = settings_of(text)
    assert ([item.values for item in found], [item.cut for item in found], losses) == (values, cut, [])


def test_a_table_without_what_decides_says_what_is_missing():
    text = "Identity  AddressSpaces  Enabled\n--------  -------------  -------\nOutbound  {smtp:*;1}     True\n"
    found, (loss,) = settings_of(text)
    assert found == []
    assert "Get-SendConnector without TlsCertificateName" in loss.reason
    assert "Get-SendConnector | Export-Clixml" in loss.reason


@pytest.mark.parametrize(
    "text",
    [
        "Thumbprint Services Subject\nare the columns of Get-ExchangeCertificate\n",
        "Name   Bindings       Enabled\n----   --------       -------\nDefault {0.0.0.0:25}  True\n",
        "Name     SmartHosts  RecipientDomains\n----     ----------  ----------------\nOutbound {x}  {*}\n",
    ],
    ids=["prose", "Get-ReceiveConnector", "Get-OutboundConnector"],
)
def test_other_tables_are_none_of_these(text):
    assert recognize(text.encode()) is None


@pytest.mark.parametrize("mark", ["...", "\u2026"])
def test_a_list_that_format_list_cut_is_named(mark):
    text = (
        "Name                     : In\nConnectorType            : OnPremises\n"
        f"SenderIPAddresses        : {{203.0.113.9, 203.0.113.10, 203.0.113.11, 203.0.113.12{mark}}}\n"
        "TlsSenderCertificateName : \nSenderDomains            : {smtp:*;1}\nComment                  : to be done...\n"
    )
    (found,), _ = settings_of(text)
    assert found.cut == {"SenderIPAddresses"}
    assert found.values["SenderIPAddresses"] == "{203.0.113.9, 203.0.113.10, 203.0.113.11, 203.0.113.12}"
    assert (found.values["SenderDomains"], found.values["Comment"]) == ("{smtp:*;1}", "to be done...")


@pytest.mark.parametrize(
    "name",
    [
        "System.String[]",
        "System.Object[]",
        "System.Collections.ArrayList",
        "System.Collections.Generic.List`1[System.String]",
        "Microsoft.Exchange.Data.MultiValuedProperty`1[Microsoft.Exchange.Data.SmtpDomain]",
        "Deserialized.Microsoft.Exchange.Data.MultiValuedProperty`1[[Microsoft.Exchange.Data.IPRange, x]]",
    ],
)
def test_a_list_of_which_export_csv_wrote_the_type_is_not_known(name, tmp_path):
    lists = ("SenderIPAddresses", "SenderDomains", "AssociatedAcceptedDomains")
    exported = {"Name": "In", "ConnectorType": "OnPremises", "TlsSenderCertificateName": "other.contoso.com"}
    text = ",".join([*exported, *lists]) + "\n" + ",".join([*exported.values(), *[f'"{name}"'] * len(lists)]) + "\n"
    (found,), _ = settings_of(text)
    assert found.cut == set(lists)
    assert found.values == exported
    (tmp_path / "SEND.LOG").write_bytes(send(refused(LEAF)))
    (tmp_path / "in.csv").write_text(text)
    report = ea.analyze(tmp_path)
    assert report.verdict.cause == "certificate-name-mismatch"


@pytest.mark.parametrize("name", ["System.contoso.com", "microsoft.com", "{System.String[]}x"])
def test_a_name_that_only_looks_like_a_type_is_kept(name):
    (found,), _ = settings_of(json.dumps(inbound(TlsSenderCertificateName=name)))
    assert (found.values["TlsSenderCertificateName"], found.cut) == (name, frozenset())


def test_an_array_that_windows_powershell_wraps_is_read():
    found, losses = settings_of(json.dumps({"value": [inbound(Name="A"), inbound(Name="B")], "Count": 2}))
    assert ([item.values["Name"] for item in found], losses) == (["A", "B"], [])


def test_an_object_whose_name_is_cut_is_not_compared():
    cut = setting("Get-SendConnector", Name="Outbound", AddressSpaces="{smtp:*;1}")
    cut = replace(cut, cut=frozenset({"TlsCertificateName"}))
    assert not [
        name for name in view(cut, sent=sent(subject="CN=a", issuer="CN=b")) if name.startswith("SendConnector")
    ]
