"""What the certificates of a message amount to, from certificates that are really signed."""

from __future__ import annotations

import itertools

import pytest

from evtx_analyzer.handshakes.chains import look_at
from samples import wire
from samples.traces import INTERMEDIATE, ISSUER_DER, LEAF_DER, ROOT, SERVER
from samples.wire import Authority, certificate

PRIVATE_ROOT = Authority((("CN", "Contoso Root"),))
PRIVATE = Authority((("CN", "Contoso Issuing"),))
SELF = certificate(SERVER, SERVER)
PRIVATE_ROOT_DER = certificate(PRIVATE_ROOT, PRIVATE_ROOT, ca=True)
PRIVATE_DER = certificate(PRIVATE, PRIVATE_ROOT, ca=True)
PRIVATE_LEAF = certificate(SERVER, PRIVATE)
UPPER = Authority((("CN", "Example Trust Policy CA"),))
# The same intermediate, issued by two authorities (cross-signed).
CROSS = certificate(INTERMEDIATE, PRIVATE_ROOT, ca=True, serial=2)
# A new key of an authority, certified by its old one: issuer and subject have the same name.
OLD = Authority(INTERMEDIATE.name, key="old key")
ROLLOVER = certificate(INTERMEDIATE, OLD, ca=True, serial=3)
OLD_DER = certificate(OLD, ROOT, ca=True, serial=4)
RENAMED = certificate(Authority(INTERMEDIATE.name, key="another"), ROOT, ca=True)


@pytest.mark.parametrize(
    ("chain", "state", "path"),
    [
        ([], "empty", ()),
        ([LEAF_DER], "alone", (0,)),
        ([LEAF_DER, LEAF_DER], "alone", (0,)),
        ([LEAF_DER, ISSUER_DER], "complete", (0, 1)),
        ([LEAF_DER, ISSUER_DER, ISSUER_DER], "complete", (0, 1)),
        ([LEAF_DER, PRIVATE_DER, ISSUER_DER], "complete", (0, 2)),
        ([certificate(SERVER, ROOT)], "complete", (0,)),
        ([SELF], "self-signed", (0,)),
        ([SELF, ISSUER_DER], "self-signed", (0,)),
        ([PRIVATE_LEAF], "alone", (0,)),
        ([PRIVATE_LEAF, PRIVATE_DER], "open", (0, 1)),
        ([PRIVATE_LEAF, PRIVATE_DER, PRIVATE_ROOT_DER], "private-root", (0, 1, 2)),
        ([LEAF_DER, certificate(INTERMEDIATE, UPPER, ca=True)], "open", (0, 1)),
        ([LEAF_DER, RENAMED], "open", (0,)),
        ([LEAF_DER, PRIVATE_DER], "open", (0,)),
        ([LEAF_DER, CROSS], "open", (0, 1)),
        ([LEAF_DER, CROSS, ISSUER_DER], "complete", (0, 2)),
        ([LEAF_DER, CROSS, PRIVATE_ROOT_DER], "private-root", (0, 1, 2)),
        ([LEAF_DER, CROSS, PRIVATE_ROOT_DER, ISSUER_DER], "complete", (0, 3)),
        ([LEAF_DER, ROLLOVER], "open", (0, 1)),
        ([LEAF_DER, ROLLOVER, OLD_DER], "complete", (0, 1, 2)),
        ([b"garbage"], "unreadable", ()),
        ([LEAF_DER, b"garbage"], "open", (0,)),
        ([b"garbage", LEAF_DER], "unreadable", ()),
    ],
)
def test_states(chain, state, path):
    shown, made = look_at(chain)
    assert len(shown) == len(chain)
    assert (made.state, made.path) == (state, path)


def test_each_is_issued_by_the_next_or_not():
    shown, _ = look_at([LEAF_DER, ISSUER_DER, PRIVATE_DER, b"garbage"])
    assert [wire_certificate.issued_by_next for wire_certificate in shown] == [True, False, None, None]


def test_a_signature_counts_and_not_the_name():
    shown, _ = look_at([LEAF_DER, RENAMED])
    assert shown[0].issuer == shown[1].subject
    assert shown[0].issued_by_next is False


def test_what_is_missing_is_named_with_its_place():
    _, made = look_at([LEAF_DER])
    assert made.missing_issuer == "CN=Example Trust TLS CA 2016, O=Example Trust, C=US"
    assert made.missing_key_id == INTERMEDIATE.identifier.hex().upper()
    assert made.missing_issuer_urls == ("http://cacerts.example-trust.test/ExampleTrustTLSCA2016.crt",)


def test_a_root_is_public_by_name_and_key_id_both():
    renamed = Authority((("CN", "Other"),), key_id=ROOT.key_id)
    for issuer, public in ((ROOT, True), (Authority(ROOT.name), False), (renamed, False)):
        shown, _ = look_at([certificate(SERVER, issuer)])
        assert shown[0].issuer_is_public_root is public
    shown, _ = look_at([certificate(SERVER, ROOT, identified=False)])
    assert shown[0].issuer_is_public_root is False


def test_only_both_marks_make_a_certificate_publicly_logged():
    assert look_at([LEAF_DER])[0][0].publicly_logged
    assert not look_at([PRIVATE_LEAF])[0][0].publicly_logged


def test_many_certificates_of_one_name_end():
    """Each may have issued each: the search for a way up is bounded by what was used."""
    same = [certificate(Authority(INTERMEDIATE.name), INTERMEDIATE, ca=True, serial=number) for number in range(1, 9)]
    _, made = look_at([LEAF_DER, *same])
    assert made.state in ("open", "private-root")


def test_authorities_that_certify_each_other_in_a_circle_end():
    """Every way up through them would be a billion."""
    left, right = Authority((("CN", "Left"),)), Authority((("CN", "Right"),))
    circle = [certificate(left, right, ca=True, serial=number) for number in range(1, 12)]
    circle += [certificate(right, left, ca=True, serial=number) for number in range(1, 12)]
    _, made = look_at([certificate(SERVER, left), *circle])
    assert made.state == "open"


def test_a_message_with_hundreds_of_certificates_says_nothing():
    shown, made = look_at([LEAF_DER] * 300)
    assert (len(shown), made.state) == (100, "unreadable")


def test_any_order_behind_the_first_amounts_to_the_same():
    for order in itertools.permutations([ISSUER_DER, PRIVATE_DER, CROSS]):
        assert look_at([LEAF_DER, *order])[1].state == "complete"


def test_a_certificate_with_an_odd_serial_number_is_read_without_a_warning():
    shown, _ = look_at([certificate(SERVER, INTERMEDIATE, serial=1)])
    assert shown[0].serial == "1"
    assert not shown[0].fault
    assert wire.filler("x", 2)
