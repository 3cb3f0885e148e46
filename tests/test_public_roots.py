"""Public roots are found by searching their encoding; cryptography, which parses them, says what must be found."""

import warnings
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from evtx_analyzer.public_roots import is_public_root, is_public_root_thumbprint

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # some roots have serial numbers that RFC 5280 forbids
    ROOTS = x509.load_pem_x509_certificates(Path(certifi.where()).read_bytes())


def key_id(certificate):
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    except x509.ExtensionNotFound:
        return ""


def test_every_root_is_found_by_its_key_id_and_by_its_name():
    names = [
        str(part.value) for root in ROOTS for part in root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    assert len(names) > 50
    # A comma ends a common name in the text of a distinguished name.
    assert [name for name in names if "," not in name and not is_public_root(f"CN={name}, O=x", "")] == []
    assert [found for root in ROOTS if (found := key_id(root)) and not is_public_root("", found)] == []


@pytest.mark.parametrize(
    ("subject", "key"),
    [
        ("CN=DigiCert Global Root G", ""),  # the beginning of a name
        ("CN=DigiCert TLS RSA SHA256 2020 CA1, O=DigiCert Inc, C=US", ""),  # an intermediate
        ("CN=corp-ROOT-CA, DC=corp, DC=local", ""),
        ("CN=DigiCert Global Root G2", "00" * 20),  # the key id decides where there is one
        ("", ""),
        ("CN=" + "x" * 300, ""),
    ],
)
def test_others_are_not(subject, key):
    assert not is_public_root(subject, key)


def test_a_key_id_may_be_written_in_groups():
    written = next(found for root in ROOTS if (found := key_id(root)))
    assert is_public_root("", " ".join(written.upper()[at : at + 2] for at in range(0, 40, 2)))


def test_roots_are_known_by_their_thumbprints():
    prints = [root.fingerprint(hashes.SHA1()).hex() for root in ROOTS]
    assert all(is_public_root_thumbprint(text) and is_public_root_thumbprint(text.upper()) for text in prints)
    assert not any(map(is_public_root_thumbprint, ("", "00" * 20, prints[0][1:])))
