"""Sigma semantics, each expectation from the Sigma specification (sigmahq.io/docs/basics/conditions, modifiers)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigma.rule import SigmaRule

from evtx_analyzer.rules import Rules
from evtx_analyzer.sigma.from_pysigma import condition_of
from evtx_analyzer.sigma.literals import required_literals
from evtx_analyzer.sigma.match import compile_condition

# The rule as SigmaHQ publishes it (win_capi2_acquire_certificate_private_key.yml), but for its texts.
PUBLIC_RULE = """
title: Certificate Private Key Acquired
id: e2b5163d-7deb-4566-9af3-40afea6858c3
status: test
logsource:
    product: windows
    service: capi2
detection:
    selection:
        EventID: 70
    condition: selection
level: medium
"""


def condition(detection):
    rule = SigmaRule.from_yaml(f"title: t\nlogsource:\n  product: windows\n  service: capi2\ndetection:\n{detection}\n")
    return condition_of(rule.detection.parsed_condition[0].parsed)


def fields(**values):
    return {
        name.replace("__", "."): (value,) if isinstance(value, str) else tuple(value) for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("detection", "event", "expected"),
    [
        ("  s: {EventID: 30}\n  condition: s", fields(EventID="30"), True),
        ("  s: {EventID: 30}\n  condition: s", fields(EventID="300"), False),
        ("  s: {Result.value: 800B0109}\n  condition: s", fields(Result__value="800b0109"), True),
        ("  s: {Result.value|cased: 800B0109}\n  condition: s", fields(Result__value="800b0109"), False),
        ("  s: {P: 'MSExchange*.exe'}\n  condition: s", fields(P="msexchangefrontendtransport.EXE"), True),
        ("  s: {P: 'a?c'}\n  condition: s", fields(P="abc"), True),
        ("  s: {P: 'a?c'}\n  condition: s", fields(P="ac"), False),
        ("  s: {P|contains: b}\n  condition: s", fields(P="abc"), True),
        ("  s: {P|startswith: b}\n  condition: s", fields(P="abc"), False),
        ("  s: {P|endswith: c}\n  condition: s", fields(P="abc"), True),
        ("  s: {P|contains|all: [a, c]}\n  condition: s", fields(P="abc"), True),
        ("  s: {P|contains|all: [a, d]}\n  condition: s", fields(P="abc"), False),
        ("  s: {P|re: '^a.c$'}\n  condition: s", fields(P="abc"), True),
        ("  s: {P|re: '^A.C$'}\n  condition: s", fields(P="abc"), False),
        ("  s: {P|re|i: '^A.C$'}\n  condition: s", fields(P="abc"), True),
        ("  s: {P|cidr: 10.0.0.0/8}\n  condition: s", fields(P="10.1.2.3"), True),
        ("  s: {P|cidr: 10.0.0.0/8}\n  condition: s", fields(P="11.1.2.3"), False),
        ("  s: {N|gte: 5}\n  condition: s", fields(N="5"), True),
        ("  s: {N|lt: 5}\n  condition: s", fields(N="5"), False),
        ("  s: {P: null}\n  condition: s", fields(Q="x"), True),
        ("  s: {P: null}\n  condition: s", fields(P="x"), False),
        ("  s: {P|exists: true}\n  condition: s", fields(P=""), True),
        ("  s: {P|exists: false}\n  condition: s", fields(P=""), False),
        ("  s: {P|fieldref: Q}\n  condition: s", fields(P="x", Q="X"), True),
        ("  s: [needle]\n  condition: s", fields(P="hay", Q="needle"), True),
        ("  s: {P: [a, b]}\n  condition: s", fields(P=["c", "b"]), True),
        ("  s: {P: a, Q: b}\n  condition: s", fields(P="a", Q="c"), False),
        ("  s: [{P: a}, {Q: b}]\n  condition: s", fields(P="x", Q="b"), True),
        ("  s: {P: a}\n  t: {P: b}\n  condition: s or t", fields(P="b"), True),
        ("  s: {P: a}\n  t: {Q: b}\n  condition: s and not t", fields(P="a", Q="b"), False),
        ("  s_1: {P: a}\n  s_2: {Q: b}\n  condition: 1 of s_*", fields(Q="b"), True),
        ("  s_1: {P: a}\n  s_2: {Q: b}\n  condition: all of s_*", fields(Q="b"), False),
    ],
)
def test_condition(detection, event, expected):
    assert compile_condition(condition(detection))(event) is expected


def test_a_public_sigma_rule_for_capi2_runs_unchanged(tmp_path):
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "win_capi2_acquire_certificate_private_key.yml").write_text(PUBLIC_RULE)
    rules = Rules.load(tmp_path)
    assert len(rules.signals) == len(Rules.load().signals) + 1
    signal = next(item for item in rules.signals if item.name.startswith("win_"))
    assert (signal.name, signal.kind) == ("win_capi2_acquire_certificate_private_key", "capi2")
    assert signal.matches(fields(EventID="70"))
    assert not signal.matches(fields(EventID="30"))


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("  s: {EventID: 30, Result.value: [800B0109, 800B010A]}\n  condition: s", [{"800b0109", "800b010a"}]),
        ("  s: {P: 'MSExchange*.exe'}\n  condition: s", [{"msexchange"}]),
        ("  s: {P: 'a*'}\n  condition: s", []),
        ("  s: {P|re: 'abcdef'}\n  condition: s", []),
        ("  s: {P: abcdef}\n  t: {EventID: 1}\n  condition: s or t", []),
        ("  s: {P: abcdef}\n  t: {EventID: 1}\n  condition: s and t", [{"abcdef"}]),
        ("  s: {P: abcdef}\n  t: {Q: [ghijkl, mnopqr]}\n  condition: s and t", [{"abcdef"}, {"ghijkl", "mnopqr"}]),
        ("  s: {P: abcdef, R: stuvwxyz}\n  t: {Q: ghijkl}\n  condition: s or t", [{"stuvwxyz", "ghijkl"}]),
        ("  s: {P: abcdef}\n  condition: not s", []),
        ("  s: {P: 'ab<cdef'}\n  condition: s", []),
        # Kept as a SID, as a number, as a GUID: the text stands in no file.
        ("  s: {Security_UserID: S-1-5-18}\n  condition: s", []),
        ("  s: {Keywords: '0x4000000000000003'}\n  condition: s", []),
        ("  s: {Provider_Guid: 5BBCA4A8-B209-48DC-A8C7-B23D3E5216FB}\n  condition: s", []),
        ("  k: [abcdef]\n  condition: k", []),
    ],
)
def test_clauses(detection, expected):
    assert required_literals(condition(detection)) == tuple(frozenset(item) for item in expected)


BUILT_IN = Rules.load().signals
VALUES = st.sampled_from(["800B0109", "800b010a", "0", "lsass.exe", "EdgeTransport.exe", "4", "30", "11", "x"])


@given(
    st.dictionaries(st.sampled_from(["EventID", "Result.value", "Policy.constant", "EventAuxInfo.ProcessName"]), VALUES)
)
def test_no_built_in_signal_matches_without_one_of_its_literals(event):
    """Soundness of clauses: what the prefilter would drop can not match."""
    flat: dict[str, tuple[str, ...]] = {name: (value,) for name, value in event.items()}
    text = " ".join(event.values()).lower()
    for signal in BUILT_IN:
        hit = all(any(item in text for item in clause) for clause in signal.required_literals)
        if signal.kind == "capi2" and not hit:
            assert not signal.matches(flat)


REFUSED = [
    "550 5.7.64 TenantAttribution; Relay Access Denied [BL2NAM02FT011.mail.protection.outlook.com]",
    "550 5.7.64 TenantAttribution; Relay Access Denied SMTP",
    "550 5.7.64 Relay Access Denied ATTR36. For more information, see KB 3169958",
    "550-5.7.64 TenantAttribution",
    "554 5.7.64 relay",
    "550 #550 5.7.64 TenantAttribution ##",
    "550 5.7.64",
    "550 5.7.64.",
]
OTHER = [
    "250 2.1.0 Sender OK 195.35.7.64",
    "550 5.7.640 something",
    "550 5.7.64.1 is an address",
    "550 5.4.1 Recipient address rejected: Access denied [195.35.7.64]",
    "451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35",
    "550 5.7.606 Access denied, banned sending IP [172.25.7.64]",
    "221 5.7.64",
]


@pytest.mark.parametrize("text", REFUSED + OTHER)
@pytest.mark.parametrize("signal", ["tenant_attribution_refused", "tenant_attribution_refused_iis"])
def test_the_code_is_matched_in_a_reply_only(signal, text):
    rule = next(item for item in Rules.load().signals if item.name == signal)
    if signal.endswith("iis"):
        event = fields(**{"cs-username": "OutboundConnectionResponse", "cs-uri-query": text.replace(" ", "+")})
    else:
        event = fields(event="<", data=text)
    assert rule.matches(event) is (text in REFUSED)


def test_a_refusal_that_this_server_speaks_is_not_ours():
    rule = next(signal for signal in Rules.load().signals if signal.name == "tenant_attribution_refused")
    assert not rule.matches(fields(event=">", data=REFUSED[0]))
