"""What one incident shows its causes: nothing of other incidents, each fact with its own names, times and places."""

from __future__ import annotations

from datetime import timedelta

import pytest
from evidence import HANDSHAKE, OWN, operation, rejection, success
from msgspec.structs import replace

from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.diagnose.observations import see
from evtx_analyzer.diagnose.scene import Case, Fact, Scene
from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import Context
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.stores import StoreChain, StoreElement
from evtx_analyzer.rules import Rules

RULES = Rules.load()
FAILED = "sent_certificate_failed_at_handshake"
STORE = StoreChain(
    incident="",
    host="EX01",
    host_relation="same",
    basis="sent",
    thumbprint=OWN,
    subject="CN=mail.contoso.com",
    result="issuer-absent",
    elements=(StoreElement(thumbprint=OWN, subject="CN=mail.contoso.com", issuer="CN=CA", stores=("My",)),),
    origin=Origin(source="store-ca.txt"),
    signals=("store_lacks_issuer",),
)
WIRE = Handshake(
    id="H-1",
    start=HANDSHAKE,
    local="10.0.0.5:50000",
    remote="104.47.0.36:25",
    tls="",
    requested=True,
    sent=(),
    received=(),
    alert="",
    rejection="R-1",
    origin=Origin(source="x.pcapng"),
    signals=("leaf_only",),
)
REFUSED, WHOLE = {"RefusedConnection": ("true",)}, {"RefusedConnection": ("true",), "Conclusive": ("true",)}


def scene(found=None, operations=(), **case):
    found, by_id = found or [rejection()], {check.id: check for check in operations}
    (incident,) = incidents(found, links(found, list(operations), RULES.links), by_id)
    return Scene(incident, Case(operations=by_id, coverage=(), kinds=frozenset(), **case))


def later(number, seconds):
    time = HANDSHAKE + timedelta(seconds=seconds)
    return rejection(id=f"R-{number}", time=time, handshake_time=time, rcpt_to=f"{number}@fabrikam.com")


# ------------------------------------------------------------------------------------------- pairs with checks


def test_a_pair_by_thumbprint_on_the_same_machine_frees_and_one_of_several_is_enough():
    checks = [operation(-2, 1), operation(299, 2, host="EX02")]
    one = scene([rejection(), later(2, 300)], checks)
    facts, free = one.paired(FAILED, "link")
    assert ([fact.operation.id for fact in facts], free) == (["O-2", "O-1"], True), "the nearest first"
    assert one.free == {"O-1"}
    elsewhere = scene([later(2, 300)], checks[1:])
    assert (elsewhere.paired(FAILED, "link")[1], elsewhere.free) == (False, frozenset())


def test_of_several_refusals_a_check_is_told_with_the_nearest():
    found = [rejection(), later(2, 3), later(3, 9)]
    ((fact,), _) = scene(found, [operation(2.5, 1)]).paired(FAILED, "link")
    assert (fact.rejection.id, fact.link.delta_seconds) == ("R-2", -0.5)


def test_a_broken_pair_is_told_at_the_success_that_broke_it_and_only_where_no_pair_is_sound():
    broken = [operation(-8, 1), success(-4, 2)]
    one = scene(operations=broken)
    assert one.paired(FAILED, "link") == ([], False)
    ((fact,), free) = one.paired(FAILED, "broken-link")
    assert (fact.origin.record, fact.time, free) == (2, HANDSHAKE - timedelta(seconds=8), True)
    two = scene([rejection(), later(2, 300)], [*broken, operation(300, 3)])
    assert two.paired(FAILED, "broken-link")[0] == []
    assert [fact.operation.id for fact in two.paired(FAILED, "link")[0]] == ["O-3"]


OF_MISSING = {
    rule.name: rule for cause in RULES.causes if cause.id == "missing-intermediate" for rule in cause.observations
}


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("later-success", [operation(-8, 1), success(-4, 2)]),
        ("verified-at-handshake", [success(0.01, 1)]),
    ],
)
@pytest.mark.parametrize(("host", "against"), [("EX01", True), ("", True), ("EX02", False)])
def test_that_another_machine_passed_a_check_speaks_against_nothing_on_this_one(name, checks, host, against):
    one = scene(operations=[replace(check, host=host) for check in checks])
    assert (see(OF_MISSING[name], one, ()) is not None) is against


def test_that_another_machine_failed_a_check_may_still_support_a_cause():
    one = scene(operations=[operation(-2, 1, host="EX02")])
    seen = see(OF_MISSING["failed-at-handshake"], one, ())
    assert seen is not None
    assert seen.capped


# -------------------------------------------------------------------------------------------- stores, traces, events


def test_chains_from_stores_are_those_of_this_incident():
    bare = scene()
    own = replace(STORE, incident=bare.incident.id)
    one = Scene(bare.incident, replace(bare.case, stores=(replace(STORE, incident="other", subject="CN=x"), own)))
    assert ([fact.store for fact in one.stored("store_lacks_issuer")[0]], one.names()["store_subject"]) == (
        [own],
        "CN=mail.contoso.com",
    )
    assert one.stored("another_signal") == ([], False)


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({}, True),
        ({"basis": "connector"}, True),
        ({"host_relation": "assumed"}, True),
        ({"basis": "name"}, False),
        ({"basis": "check"}, False),
        ({"host_relation": "unknown"}, False),
    ],
)
def test_a_chain_that_a_name_chose_or_of_an_unknown_machine_frees_nothing(changes, free):
    bare = scene()
    store = replace(STORE, incident=bare.incident.id, **changes)
    assert Scene(bare.incident, replace(bare.case, stores=(store,))).stored("store_lacks_issuer")[1] is free


@pytest.mark.parametrize(
    ("facts", "kind", "count", "sure"),
    [
        ([WHOLE], "handshake", 1, True),
        ([REFUSED], "handshake", 1, True),
        ([{}], "handshake", 1, False),  # of a connection that may be another one
        ([WHOLE, {}], "handshake", 1, True),  # the sure ones alone are told
        ([WHOLE], "every-handshake", 1, True),
        ([REFUSED], "every-handshake", 0, False),  # not all that the client sent is seen
        ([WHOLE, WHOLE], "every-handshake", 2, True),
        ([WHOLE, None], "every-handshake", 0, False),
        ([WHOLE, None], "some-handshakes", 1, True),
        ([WHOLE, WHOLE], "some-handshakes", 0, False),
    ],
)
def test_handshakes_count_as_far_as_they_are_surely_of_refused_connections(facts, kind, count, sure):
    """None stands for a whole handshake without the signal."""
    shown = [replace(WIRE, id=f"H-{n}", signals=() if item is None else WIRE.signals) for n, item in enumerate(facts)]
    other = replace(WIRE, id="H-other", rejection="R-of-another-incident")
    wire_facts = {f"H-{n}": WHOLE if item is None else item for n, item in enumerate(facts)} | {"H-other": WHOLE}
    seen, surely = scene(handshakes=(other, *shown), wire_facts=wire_facts).on_wire("leaf_only", kind)
    assert (len(seen), surely) == (count, sure)
    assert all(fact.rejection.id == "R-1" for fact in seen)


def test_of_schannel_events_the_nearest_to_the_handshake_is_told_of_the_refused_machine_only():
    def event(record, seconds, host="EX01"):
        time = HANDSHAKE + timedelta(seconds=seconds)
        place = {"origin": Origin(source="System.evtx", record=record), "kind": "schannel", "host": host}
        return Context(code="36887", title="", text="", count=1, first=time, last=time, **place)

    late = rejection(time=HANDSHAKE + timedelta(seconds=60))
    one = scene([late], schannel={"EX01": [event(1, -300), event(2, 5), event(3, 50)], "EX02": [event(4, 0, "EX02")]})
    fact = one.fact(late, "schannel")
    assert (fact.origin.record, fact.time) == (2, HANDSHAKE + timedelta(seconds=5))
    assert scene([late]).fact(late, "schannel").origin == late.origin


def test_a_refusal_stands_at_the_export_that_shows_it():
    export = Origin(source="Get-InboundConnector.json")
    one = scene(settings={"Get-InboundConnector": export})
    (found,) = one.incident.rejections
    assert one.fact(found, "Get-InboundConnector").origin == export
    assert one.fact(found, "Get-SendConnector").origin == one.fact(found, "").origin == found.origin
    assert one.fact(found, "earlier-sessions").origin is None


# ---------------------------------------------------------------------------------------------- anchors and sentences


def test_anchors_are_handshakes_with_both_readings_of_an_hour_that_came_twice():
    hour = HANDSHAKE + timedelta(hours=1)
    twice = rejection(handshake_time=None, time=HANDSHAKE, other_time=hour, time_basis="ambiguous")
    settled = rejection(id="R-2", handshake_time=None, other_time=hour - timedelta(minutes=1), time_basis="zone")
    assert scene([twice, settled]).anchors == [HANDSHAKE, settled.time, hour]


def test_sentences_of_two_checks_differ_though_their_refusals_are_alike():
    found = [rejection(), replace(later(2, 300), rcpt_to="b@fabrikam.com")]
    one = scene(found, [operation(-2, 1), operation(299, 2, result="800B0101")])
    facts, _ = one.paired(FAILED, "link")
    texts = [one.worded("$rcpt_to: $result, $delta", fact) for fact in facts]
    start = "before the start of the TLS handshake"
    assert texts == [f"b@fabrikam.com: 800B0101, 1.000 s {start}", f"b@fabrikam.com: 800B0109, 2.000 s {start}"]
    bare = [one.worded("$rcpt_to", Fact(rejection=refused)) for refused in (rejection(), later(2, 3))]
    assert bare == ["b@fabrikam.com", "2@fabrikam.com"]


def test_sentences_of_refusals_with_other_sessions_differ():
    views = {"R-1": {"SeenAddress": ("203.0.113.7",)}, "R-2": {"SeenAddress": ("198.51.100.7",)}}
    found = [rejection(), replace(later(2, 3), rcpt_to="b@fabrikam.com")]
    one = scene(found, views=views)
    texts = [one.worded("$seen_address to $rcpt_to", Fact(rejection=refused)) for refused in found]
    assert texts == ["203.0.113.7 to b@fabrikam.com", "198.51.100.7 to b@fabrikam.com"]
    assert one.names()["seen_address"] == "203.0.113.7", "without a fact those of the first refusal"


def test_without_a_fact_the_names_are_those_of_the_first_handshake_and_of_the_paired_check():
    one = scene(operations=[operation(-2, 1)], handshakes=(WIRE, replace(WIRE, id="H-2", alert="x by server")))
    names = one.names()
    assert (names["wire_alert"], names["wire_join"]) == (
        "no alert",
        "of a connection that may be another one than the refused one",
    )
    assert (names["result"], names["result_name"]) == ("800B0109", "CERT_E_UNTRUSTEDROOT")
    assert names["delta"] == "2.000 s before the start of the TLS handshake"
    assert scene().names()["accepted_since_handshake"] == "no message"


def test_the_issuer_that_is_missing_is_that_of_the_last_element():
    """Addresses in other elements are those of other certificates."""
    leaf = ChainElement(thumbprint=OWN, subject="leaf", error=0, errors=(), info=0, infos=(), self_signed=False)
    upper = replace(leaf, thumbprint="D" * 40, subject="upper")
    check = operation(-2, 1, elements=(leaf, upper))
    known = {
        OWN: Certificate(thumbprint=OWN, issuer="CN=upper", issuer_urls=("http://pki.example/upper.crt",)),
        upper.thumbprint: Certificate(
            thumbprint=upper.thumbprint, issuer="CN=root", issuer_urls=("http://pki.example/root.crt",)
        ),
    }
    text = scene(operations=[check], certificates=known).names()["missing_issuer"]
    assert text == "CN=root, published at http://pki.example/root.crt"
    assert scene(operations=[check], certificates={OWN: known[OWN]}).names()["missing_issuer"] == "the issuer of upper"
    unseen = scene(operations=[operation(-2, 1)], certificates={OWN: known[OWN]}).names()["missing_issuer"]
    assert unseen == "CN=upper, published at http://pki.example/upper.crt"
