"""What the missing issuer of an incomplete chain is: a root is to be trusted, an intermediate to be installed."""

from __future__ import annotations

import pytest
from evidence import operation
from msgspec.structs import replace

from evtx_analyzer.capi2.issuers import with_roles
from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.public_roots import is_public_root

PARTIAL = ("CERT_TRUST_IS_PARTIAL_CHAIN",)


def element(name, *, root=False):
    return ChainElement(
        thumbprint=f"{sum(map(ord, name)):040X}",
        subject=name,
        error=0,
        errors=(),
        info=0,
        infos=(),
        self_signed=root,
    )


def stops(*names, missing, record=1, key_id="", **changes):
    issuer = Certificate(subject=f"CN={missing}, O=x", subject_key_id=key_id) if missing else None
    elements = tuple(element(name) for name in names)
    return operation(record=record, chain_status=PARTIAL, elements=elements, missing_issuer=issuer, **changes)


def whole(*names, record=2):
    elements = tuple(element(name, root=name == names[-1]) for name in names)
    return operation(-7200, record, chain_status=(), elements=elements)


def role(stopped, *others):
    return next(
        operation for operation in with_roles([stopped, *others]) if operation.id == stopped.id
    ).missing_issuer_role


# ----------------------------------------------------------------------------------- what other chains of the logs show


def test_an_earlier_chain_of_the_same_certificate_goes_on_to_a_root():
    stopped = stops("leaf", "issuing", missing="Example Root R1")
    assert role(stopped, whole("leaf", "issuing", "Example Root R1")) == "root"
    unnamed = stops("leaf", "issuing", missing="")  # no event 90 shows the element at which the chain stops
    assert role(unnamed, whole("leaf", "issuing", "Example Root R1")) == "root"


def test_an_earlier_chain_goes_on_to_an_intermediate():
    stopped = stops("leaf", missing="issuing")
    assert role(stopped, whole("leaf", "issuing", "Example Root R1")) == "intermediate"
    assert role(stops("leaf", missing=""), whole("leaf", "issuing", "Example Root R1")) == "intermediate"
    higher = stops("leaf", "issuing", missing="policy")
    assert role(higher, whole("leaf", "issuing", "policy", "Example Root R1")) == "intermediate"


def test_the_chain_of_another_leaf_tells_as_well():
    other = whole("another leaf", "issuing", "Example Root R1")
    assert role(stops("leaf", "sub", missing="issuing"), other) == "intermediate"
    assert role(stops("leaf", "sub", missing="Example Root R1"), other) == "root"


def test_a_root_that_is_also_cross_signed_counts_as_a_root():
    """Either certificate of that name completes the chain, and the root alone is enough."""
    crossed = operation(
        -60,
        3,
        chain_status=(),
        elements=(element("another leaf"), element("Example Root R2"), element("Example Root R1", root=True)),
    )
    plain = whole("third leaf", "Example Root R2", record=4)
    assert role(stops("leaf", "issuing", missing="Example Root R2"), crossed) == "intermediate"
    assert role(stops("leaf", "issuing", missing="Example Root R2"), crossed, plain) == "root"
    assert role(stops("leaf", "issuing", missing="Example Root R2"), plain, crossed) == "root"


def test_a_certificate_of_that_name_with_another_issuer_is_an_intermediate():
    shown = Certificate(thumbprint="F" * 40, subject="CN=issuing, O=x", issuer="CN=Example Root R1, O=x")
    beside = operation(-60, 5, certificate=shown)
    assert role(stops("leaf", missing="issuing"), beside) == "intermediate"
    other = replace(shown, subject="CN=another, O=x")
    assert role(stops("leaf", missing="issuing"), operation(-60, 5, certificate=other)) == "unknown"
    root = replace(shown, issuer=shown.subject)
    assert role(stops("leaf", missing="issuing"), operation(-60, 5, certificate=root)) == "unknown"


def test_nothing_tells():
    assert role(stops("leaf", "issuing", missing="Unheard-of CA")) == "unknown"
    assert role(stops("leaf", "issuing", missing="")) == "unknown"


def test_only_chains_that_stop_have_a_missing_issuer():
    for other in (whole("leaf", "issuing", "root"), operation(chain_status=PARTIAL), operation()):
        (found,) = with_roles([other])
        assert found.missing_issuer_role is None


# --------------------------------------------------------------------------------------------- the list of public roots


@pytest.mark.parametrize(
    ("name", "key_id"),
    # As the authorities publish them.
    [
        ("DigiCert Global Root G2", "4E2254201895E6E36EE60FFAFAB912ED06178F39"),
        ("ISRG Root X1", "79b459e67bb6e5e40173800888c81a58f6e99b6e"),
        ("USERTrust RSA Certification Authority", "53:79:BF:5A:AA:2B:4A:CF:54:80:E1:D8:9B:C0:9D:F2:B2:03:66:CB"),
    ],
)
def test_public_roots_are_known_by_name_and_by_key(name, key_id):
    assert is_public_root(f"CN={name}, O=x", "")
    assert is_public_root("CN=whatever", key_id)
    assert not is_public_root(f"CN={name}", "00" * 20)  # an intermediate with the name of a root


@pytest.mark.parametrize(
    ("missing", "key_id", "expected"),
    [
        ("DigiCert Global Root G2", "", "root"),
        ("DigiCert Global Root G2", "4E2254201895E6E36EE60FFAFAB912ED06178F39", "root"),
        ("ISRG Root X1", "", "root"),
        ("DigiCert Global G2 TLS RSA SHA256 2020 CA1", "", "unknown"),
        ("R10", "", "unknown"),
    ],
)
def test_a_public_root_that_no_chain_shows(missing, key_id, expected):
    assert role(stops("leaf", "issuing", missing=missing, key_id=key_id)) == expected
