"""Single fields of the view of a TLS handshake: what the trace does not show is not known."""

from __future__ import annotations

from datetime import timedelta

import pytest
from evidence import HANDSHAKE

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.handshake_facts import handshake_facts
from evtx_analyzer.model.handshake import Handshake, WireCertificate, WireChain
from evtx_analyzer.model.origin import Origin


def handshake(*not_after, state="open"):
    sent = tuple(
        WireCertificate(
            thumbprint="A" * 40, subject=f"CN={number}", issuer="CN=CA", not_after=days and HANDSHAKE + timedelta(days)
        )
        for number, days in enumerate(not_after)
    )
    return Handshake(
        id="H",
        start=HANDSHAKE,
        local="192.0.2.1:1025",
        remote="198.51.100.1:25",
        tls="TLS 1.2",
        requested=True,
        sent=sent,
        received=(),
        alert="",
        rejection=None,
        origin=Origin(source="t.pcap"),
        sent_chain=WireChain(state=state, path=tuple(range(len(sent)))),
    )


@pytest.mark.parametrize(
    ("not_after", "expected"),
    [
        ((9, -9), ("true",)),
        ((9, 9), ("false",)),
        ((9, -0.5), ("false",)),  # within a day: clocks differ
        ((-9, 9), ("false",)),  # the leaf is no issuer
        ((9,), None),
        # Dates that cannot be parsed: the certificate may have expired or not.
        ((9, None), None),
        ((9, 9, None), None),
        ((9, -9, None), ("true",)),
    ],
)
def test_an_issuer_whose_dates_are_not_known_is_not_in_date(not_after, expected):
    assert handshake_facts(handshake(*not_after), None, CaseFacts()).get("IssuerExpired") == expected


def test_what_is_not_seen_has_no_fields():
    facts = handshake_facts(handshake(9, -9, state="not-seen"), None, CaseFacts())
    assert {"SentThumbprint", "SentExpired", "IssuerExpired", "SentChain"}.isdisjoint(facts)
