"""Readers of certificate stores. Texts follow outputs that Microsoft and others published; bytes are made by the
specification or by ``cryptography``, which is the independent reader."""

from __future__ import annotations

import base64
import io
from typing import Any

import certificates as made
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    pkcs7,
    pkcs12,
)

from evtx_analyzer.model.events import CertificateFile
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize import normalize
from evtx_analyzer.read import HEAD, certificate_files, read, recognize

GERMAN = """C:\\>certutil -store My
My "Eigene Zertifikate"
================ Zertifikat 0 ================
Seriennummer: 1a2b3c4d5e
Aussteller: CN=Test Root CA
 Nicht vor: 13.01.2026 01:00
 Nicht nach: 01.02.2027 01:00
Antragsteller: CN=www.example.com
Kein Stammzertifikat
Vorlage: TTWebServer
Zertifikathash(sha1): aa bb cc dd ee ff 00 11 22 33 44 55 66 77 88 99 aa bb cc dd
  Schlüsselcontainer = job-1-abcd1234
  Eindeutiger Containername: a11a37ef57bb64c3f31f8f99421d1550_e64079bf-f1d8-450e-ba59-2f4d921306df
  Anbieter = Microsoft Software Key Storage Provider
Der private Schlüssel ist NICHT exportierbar
Verschlüsselungstest wurde durchgeführt
CertUtil: -store-Befehl wurde erfolgreich ausgeführt.

C:\\>certutil -store ca
CA "Zwischenzertifizierungsstellen"
CertUtil: -store-Befehl wurde erfolgreich ausgeführt.
"""
# MicrosoftDocs/SupportArticles: certutil -v -store my, with the extensions as certutil -dump shows them.
VERBOSE = """my "Personal"
================ Certificate 3 ================
X509 Certificate:
Version: 3
Serial Number: 21000000044a30cdeaaaae7b08000000000004
Issuer:
    CN=ROOTCA-CA
  Name Hash(sha1): a07626cceed2bbb562364300973304401cd3fbaa

 NotBefore: 6/1/2026 12:00 AM
 NotAfter: 6/13/2027 12:00 AM

Subject:
    CN=Contoso CA
    DC=Contoso
    DC=com
  Name Hash(sha1): 01aad90aaaabbbbf368a509eed47be8ea0a3b78d

Certificate Extensions: 3
    2.5.29.14: Flags = 0, Length = 16
    Subject Key Identifier
        b3 a2 c7 e5 5a 1d 39 f2 11 22 33 44 55 66 77 88 99 aa bb cc

    2.5.29.35: Flags = 0, Length = 18
    Authority Key Identifier
        KeyID=11 a2 c7 e5 5a 1d 39 f2 11 22 33 44 55 66 77 88 99 aa bb cc

    2.5.29.17: Flags = 0, Length = 18
    Subject Alternative Name
        DNS Name=mail.contoso.com

    1.3.6.1.5.5.7.1.1: Flags = 0, Length = 80
    Authority Information Access
        [1]Authority Info Access
             Access Method=On-line Certificate Status Protocol (1.3.6.1.5.5.7.48.1)
             Alternative Name:
                  URL=http://ocsp.contoso.com
        [2]Authority Info Access
             Access Method=Certification Authority Issuer (1.3.6.1.5.5.7.48.2)
             Alternative Name:
                  URL=http://pki.contoso.com/ca.crt

Non-root Certificate
Key Id Hash(sha1): 5b a2 c7 e5 5a 1d 39 f2 11 22 33 44 55 66 77 88 99 aa bb cc
Cert Hash(sha1): 35599aaaabbbb0438686dd79915e943895d1e276
Cert Hash(sha256): 96ebd75aaaabbbbb0db31f7a83891533eeada0351ce56b84f3918941c9cba610

  CERT_KEY_PROV_INFO_PROP_ID(2):
    Key Container = Contoso CA
  Unique container name: 944d5680aaaabbbb95b1cb4f50ba2b71_6e4d3030-8aae-40f0-9282-d69ccdd4ff34
    Provider = Microsoft Software Key Storage Provider
    ProviderType = 0
    Flags = 20 (32)
      CRYPT_MACHINE_KEYSET -- 20 (32)
    KeySpec = 2 -- AT_SIGNATURE
Private key is NOT exportable
Signature test passed
CertUtil: -store command completed successfully.
"""


def records(data, syntax):
    data = data if isinstance(data, bytes) else data.replace("\n", "\r\n").encode()
    assert recognize(data[:HEAD]) == syntax
    found: list[Any] = list(read(syntax, io.BytesIO(data), Origin(source="x")))
    return [loss if isinstance(loss, Loss) else normalize(loss)[1] for loss in found]


def entries(data, syntax="certutil-text"):
    return [record for record in records(data, syntax) if isinstance(record, StoreEntry) and record.certificate]


def headings(data):
    return [
        record for record in records(data, "certutil-text") if isinstance(record, StoreEntry) and not record.certificate
    ]


# ------------------------------------------------------------------------------------------------------------ certutil


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp850", "cp1252"])
def test_german_in_every_encoding(encoding):
    data = GERMAN.replace("\n", "\r\n").encode(encoding)
    (entry,) = entries(data)
    assert (entry.store, entry.location) == ("My", "LocalMachine")
    assert entry.certificate.thumbprint == "AABBCCDDEEFF00112233445566778899AABBCCDD"
    assert (entry.certificate.issuer, entry.certificate.subject) == ("CN=Test Root CA", "CN=www.example.com")
    assert (entry.key.present, entry.key.test) == (True, "passed")
    assert entry.key.provider == "Microsoft Software Key Storage Provider"
    assert (str(entry.first_day), str(entry.last_day)) == ("2026-01-13", "2027-02-01")
    assert [(heading.store, heading.whole) for heading in headings(data)] == [("My", True), ("CA", True)]


def test_german_whose_umlauts_a_console_lost():
    (entry,) = entries(GERMAN.replace("ü", "\ufffd"))
    assert (entry.key.present, entry.key.test) == (True, "passed")


def test_verbose():
    (entry,) = entries(VERBOSE)
    certificate = entry.certificate
    assert certificate.thumbprint == "35599AAAABBBB0438686DD79915E943895D1E276"
    assert (certificate.issuer, certificate.subject) == ("CN=ROOTCA-CA", "CN=Contoso CA, DC=Contoso, DC=com")
    assert certificate.subject_key_id == "B3A2C7E55A1D39F2112233445566778899AABBCC"
    assert certificate.authority_key_id == "11A2C7E55A1D39F2112233445566778899AABBCC"
    assert certificate.alternate_names == ("mail.contoso.com",)
    assert certificate.issuer_urls == ("http://pki.contoso.com/ca.crt",)
    assert (entry.key.key_spec, entry.key.present) == ("AT_SIGNATURE", True)
    assert entry.number == 3
    assert headings(VERBOSE)[0].whole is False, "number 3 alone: a CertId picked it"


A, B = "AB" * 20, "CD" * 20
ONE = [("CN=I", "CN=S", A)]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (made.certutil("CA", "Intermediate", ONE), None),
        (made.certutil("CA", "Intermediate", ONE, command="C:\\>certutil -store CA"), True),
        (made.certutil("CA", "Intermediate", ONE, command="PS C:\\> certutil.exe -store CA > ca.txt"), True),
        (made.certutil("CA", "Intermediate", ONE, command='C:\\>certutil -store CA "DigiCert"'), False),
        (made.certutil("CA", "Intermediate", ONE, command="C:\\>certutil -enterprise -store CA"), False),
        (made.certutil("CA", "Intermediate", ONE, first=4), False),
        (made.certutil("CA", "Intermediate", [], command=""), True),
        (made.certutil("CA", "Intermediate", ONE, command="C:\\>certutil -store CA", end=""), None),
        (
            made.certutil("CA", "Intermediate", [], end="CertUtil: -store command FAILED: 0x80092004 (-2146885628)"),
            False,
        ),
    ],
)
def test_whether_everything_is_listed(text, whole):
    assert headings(text.encode())[0].whole is whole


def test_a_user_store_is_known_by_its_command_line_only():
    text = made.certutil("CA", "Intermediate", ONE, command="C:\\>certutil -user -store CA")
    assert entries(text.encode())[0].location == "CurrentUser"
    assert entries(made.certutil("CA", "Intermediate", ONE).encode())[0].location == ""


@pytest.mark.parametrize(
    ("lines", "present", "test"),
    [
        (["No key provider information"], False, ""),
        (
            ["  Key Container = x", "  Provider = Microsoft Software Key Storage Provider", "Missing stored keyset"],
            False,
            "",
        ),
        (["  Key Container = x", "  Provider = Microsoft RSA SChannel Cryptographic Provider"], None, ""),
        (["  Provider = Microsoft RSA SChannel Cryptographic Provider", "Encryption test FAILED"], None, "failed"),
        (["  Provider = Microsoft RSA SChannel Cryptographic Provider", "Encryption test passed"], True, "passed"),
    ],
)
def test_the_private_key(lines, present, test):
    (entry,) = entries(made.certutil("My", "Personal", [("CN=I", "CN=S", A, *lines)]).encode())
    assert (entry.key.present, entry.key.test) == (present, test)


def test_archived_certificates_and_revocation_lists_are_none():
    text = made.certutil("CA", "Intermediate", [("CN=I", "CN=S", A)]).replace(
        "Serial Number: 0a1b2c", "Archived!\r\nSerial Number: 0a1b2c"
    )
    crl = (
        "================ CRL 0 ================\r\nIssuer:\r\n    O=VeriSign\r\nCRL Hash(sha1): " + "ab" * 20 + "\r\n"
    )
    text = text.replace("CertUtil:", crl + "CertUtil:")
    assert entries(text.encode()) == []


def test_the_result_of_verifystore():
    failed = (
        "A certificate chain could not be built to a trusted root authority. 0x800b010a (-2146762486 CERT_E_CHAINING)"
    )
    text = made.certutil("My", "Personal", [("CN=I", "CN=S", A, failed), ("CN=I", "CN=T", B, "Certificate is valid")])
    assert [entry.verified for entry in entries(text.encode())] == ["800B010A", "0"]


def test_lines_that_a_console_cut():
    subject = "CN=*.servername.com, O=ServerName Corporation of Many Words, L=Redmond, S=Washington, C=US"
    line = f"Subject: {subject}"
    text = made.certutil("CA", "Intermediate", [("CN=I", subject, A)]).replace(line, f"{line[:80]}\r\n{line[80:]}")
    assert entries(text.encode())[0].certificate.subject == subject


def test_the_longest_line_of_a_file_swallows_no_other():
    subject = "CN=" + "x" * 88
    assert len(f"Subject: {subject}") == 100
    assert (
        entries(made.certutil("CA", "Intermediate", [("CN=I", subject, A)]).encode())[0].certificate.subject == subject
    )


def test_an_entry_that_is_cut_is_a_loss():
    text = made.certutil("CA", "Intermediate", [*ONE, ("CN=I", "CN=T", B)]).partition("Cert Hash(sha1): cdcd")[0]
    found = records(text.encode(), "certutil-text")
    assert [type(item).__name__ for item in found] == ["Loss", "StoreEntry", "StoreEntry"]


@pytest.mark.parametrize("text", ["CA\r\n", "(sha1): " + "ab" * 20, "==== Certificate 0 ====\r\nIssuer: CN=x\r\n"])
def test_other_texts_are_no_stores(text):
    assert recognize(text.encode()) != "certutil-text"


# ------------------------------------------------------------------------------------------------------------- .sst


def test_a_serialized_store():
    root, leaf = made.make("Root", "Root"), made.make("leaf", "Root", names=("mail.contoso.com",))
    found = entries(made.serialized_store([root, leaf], keys=(leaf,)), "serialized-store")
    assert [item.certificate.thumbprint for item in found] == [made.thumbprint(root), made.thumbprint(leaf)]
    assert found[1].certificate.alternate_names == ("mail.contoso.com",)
    assert [item.key is not None for item in found] == [False, True]
    assert found[0].encoded == root


@pytest.mark.parametrize("cut", [9, 40, 200])
def test_a_serialized_store_that_is_cut_is_a_loss(cut):
    data = made.serialized_store([made.make("Root", "Root")])[:-cut]
    assert any(isinstance(record, Loss) for record in records(data, "serialized-store"))


def test_a_serialized_store_with_damage_inside_keeps_the_rest():
    root, leaf = made.make("Root", "Root"), made.make("leaf", "Root")
    data = made.serialized_store([root, leaf]).replace(root, bytes(len(root)))
    found = records(data, "serialized-store")
    assert [type(item).__name__ for item in found] == ["StoreEntry", "Loss", "StoreEntry"]


# ------------------------------------------------------------------------------------------------------- PowerShell


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_clixml_of_whole_certificates(encoding):
    root = made.make("Root", "Root")
    (entry,) = entries(made.clixml([(made.path("LocalMachine", "Root"), root)], encoding), "clixml")
    assert (entry.store, entry.location, entry.encoded) == ("Root", "LocalMachine", root)
    assert entry.certificate.thumbprint == made.thumbprint(root)


def test_csv():
    header = '"PSPath","PSParentPath","Thumbprint","Subject","Issuer","NotAfter","NotBefore","HasPrivateKey","RawData"'
    row = f'"x","{made.path("LocalMachine", "My")}","{A}","CN=S","CN=I","13.01.2027 01:00:00","13.01.2026 01:00:00"'
    text = f"#TYPE System.Security.Cryptography.X509Certificates.X509Certificate2\n{header}\n" + row
    (entry,) = entries(f'{text},"False","System.Byte[]"\n', "csv-table")
    assert (entry.store, entry.certificate.thumbprint, entry.key.present) == ("My", A, False)
    assert (entry.encoded, str(entry.last_day)) == (b"", "2027-01-13")


def test_bytes_that_are_no_certificate_leave_its_properties():
    text = made.clixml([(made.path("LocalMachine", "CA"), b"\0" * 100)], "utf-8").decode()
    (loss,) = records(text.encode(), "clixml")
    assert isinstance(loss, Loss), "without a thumbprint nothing is known of it"
    text = text.replace("<MS>", f'<MS><S N="Thumbprint">{A}</S><S N="Subject">CN=x</S>')
    assert entries(text.encode(), "clixml")[0].certificate.subject == "CN=x"


# -------------------------------------------------------------------------------------------------------------- .pfx


def pfx(password):
    certificate = x509.load_der_x509_certificate(made.make("leaf", "Root"))
    sealed = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"x", made.key("leaf"), certificate, None, sealed)


def test_a_pfx_under_a_password_is_refused_with_what_to_do():
    (loss,) = records(pfx(b"secret"), "certificate")
    assert isinstance(loss, Loss)
    assert "certutil -store My" in loss.reason
    assert "private key" in loss.reason


def test_a_pfx_without_a_password_gives_its_certificate_only():
    (found,) = records(pfx(b""), "certificate")
    assert isinstance(found, CertificateFile)
    assert found.certificate.subject.startswith("CN=leaf")


@pytest.mark.parametrize("count", [1, 200])
def test_a_pkcs7_file_of_any_size(count):
    """An export of all roots has more than 64 KiB: its length then takes three bytes (ITU-T X.690 8.1.3.5)."""
    certificate = x509.load_der_x509_certificate(made.make("leaf", "Root"))
    data = pkcs7.serialize_certificates([certificate] * count, Encoding.DER)
    assert (len(data) > 0xFFFF) == (count > 1)
    kept = records(data, "certificate")
    assert {type(record) for record in kept} == {CertificateFile}
    assert recognize(data[:HEAD]) == "certificate"


def pem_of(label):
    certificate = base64.encodebytes(made.make("leaf", "Root")).decode()
    return f"-----BEGIN {label}-----\n{certificate}-----END {label}-----\n".encode()


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE"])
def test_labels_of_pem(label):
    """RFC 7468 5.1: parsers may treat X509 CERTIFICATE like CERTIFICATE."""
    assert recognize(b"Bag Attributes\n" + pem_of(label)) == "certificate"
    (kept,) = records(pem_of(label), "certificate")
    assert isinstance(kept, CertificateFile)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "bom-utf-16-le", "bom-utf-16-be"])
@pytest.mark.parametrize("before", ["", "Bag Attributes\r\n  friendlyName: Z\u00fcrich \u6771 \U0001f4e7\r\n"])
def test_pem_in_the_encodings_of_powershell(encoding, before):
    """``Get-Content a.cer > b.cer`` in Windows PowerShell writes UTF-16 with a byte order mark."""
    name = encoding.removeprefix("bom-")
    mark = "\ufeff" if name != encoding else ""
    pem = pem_of("CERTIFICATE")
    data = (mark + before + pem.decode().replace("\n", "\r\n") * 2).encode(name)
    assert recognize(data[:HEAD]) == "certificate"
    first, second = records(data, "certificate")
    assert first.certificate == second.certificate == records(pem, "certificate")[0].certificate
    for kept in (first, second):
        assert data[kept.origin.offset :].startswith("-----BEGIN".encode(name.removesuffix("-sig")))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_cut_pem_block_in_utf_16_is_a_loss_at_its_place(encoding):
    whole, cut = pem_of("CERTIFICATE").decode(), pem_of("CERTIFICATE").decode()[:200]
    first, loss = records(("\ufeff" + whole + cut).encode(encoding), "certificate")
    assert isinstance(first, CertificateFile)
    assert isinstance(loss, Loss)
    assert loss.origin.offset == 2 * (1 + len(whole))


def test_other_text_in_utf_16_is_no_certificate():
    text = "\ufeff-----BEGIN PRIVATE KEY-----\r\nCERTIFICATE\r\n-----END PRIVATE KEY-----"
    assert recognize(text.encode("utf-16-le")) is None


@pytest.mark.parametrize("follows", [b"", pem_of("CERTIFICATE"), b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_pem_block_without_an_end_is_a_loss(follows):
    whole = pem_of("CERTIFICATE")  # its signature, and so its length, is another one each time
    first, loss, *others = records(whole + whole[:200] + b"\n" + follows, "certificate")
    assert isinstance(first, CertificateFile)
    assert isinstance(loss, Loss)
    assert loss.origin.offset == len(whole)
    assert len(others) == (b"CERTIFICATE" in follows)


def test_what_lies_beyond_the_largest_file_is_a_loss(monkeypatch):
    pem = pem_of("CERTIFICATE")
    monkeypatch.setattr(certificate_files, "LARGEST", len(pem))
    assert [type(record) for record in records(pem, "certificate")] == [CertificateFile]
    loss, kept = records(pem * 2, "certificate")
    assert loss.extent == "what lies beyond"
    assert isinstance(kept, CertificateFile)


@pytest.mark.parametrize("form", ["serialized-store", "clixml"])
@pytest.mark.parametrize("version", [3, 9, 104])
def test_a_certificate_of_no_version_costs_itself(form, version):
    """RFC 5280 4.1.2.1: versions are 0 to 2; ``cryptography`` raises what is no ValueError."""
    root, other = made.make("Root", "Root"), made.make("Other", "Root")
    odd = other.replace(b"\xa0\x03\x02\x01\x02", bytes([0xA0, 3, 2, 1, version]), 1)
    assert odd != other
    where = made.path("LocalMachine", "CA")
    data = (
        made.serialized_store([odd, root]) if form == "serialized-store" else made.clixml([(where, odd), (where, root)])
    )
    found = records(data, form)
    shown = [item for item in found if isinstance(item, StoreEntry) and item.certificate]
    assert [entry.certificate.thumbprint for entry in shown] == [made.thumbprint(root)]
    assert any(isinstance(item, Loss) for item in found)
    assert not [item for item in found if isinstance(item, Loss) and "please report" in item.reason]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("C", "US"), ("O", "Example"), ("CN", "Root")], "CN=Root, O=Example, C=US"),
        ([("O", "Example Trust, Inc."), ("CN", "TLS CA")], 'CN=TLS CA, O="Example Trust, Inc."'),
        ([("ST", "Washington"), ("CN", "a")], "CN=a, S=Washington"),
        ([("O", 'The "Best"'), ("CN", "a")], 'CN=a, O="The ""Best"""'),
    ],
)
def test_names_are_written_as_windows_writes_them(parts, expected):
    """X500DistinguishedName.Name of .NET, which Exchange logs and exports hold; a report has one notation only."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    from evtx_analyzer.read.certificate_files import _windows_name

    oids = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
    oids["ST"] = NameOID.STATE_OR_PROVINCE_NAME
    name = x509.Name([x509.NameAttribute(oids[key], value) for key, value in parts])
    assert _windows_name(name) == expected
