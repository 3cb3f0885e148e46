"""CAPI2 events to operations: joined by chainRef, then TaskId and SeqNumber, and never across logs."""

from __future__ import annotations

import random
import re

import pytest
from capi2_events import (
    CHAIN,
    ISSUER,
    LEAF,
    TASK,
    catalog,
    chain,
    every_id,
    full_chain,
    log,
    normalized,
    objects,
    policy,
    private_key,
    retrieval,
    revocation,
    start,
    trust,
)
from msgspec.structs import replace

from evtx_analyzer.capi2.operations import operations
from evtx_analyzer.hosts import identify_hosts
from evtx_analyzer.model.events import Match
from evtx_analyzer.model.findings import Coverage, Gap
from samples.capi2 import guid


def joined(events, coverage=()):
    found = list(events)
    return operations(
        (Match(event=item, signals=()) for item in found),
        identify_hosts(("capi2.evtx", item.host) for item in found),
        coverage,
    )


def of(*bodies, source="capi2.evtx", **options):
    return [normalized(xml, source) for xml in log(*bodies, **options)]


def ids(operation):
    return [step.event_id for step in operation.steps]


def test_a_standalone_check_is_one_operation_with_everything_inside():
    (item,) = joined(of(*full_chain()))
    assert ids(item) == [10, 40, 50, 51, 42, 52, 53, 41, 90, 11, 30]
    assert [step.depth for step in item.steps] == [0, 1, 2, 2, 2, 2, 2, 1, 1, 0, 0]
    assert (item.kind, item.complete, item.missing_events, item.notes) == ("chain", True, (), ())
    assert (item.result, item.result_name) == ("800B0109", "CERT_E_UNTRUSTEDROOT")
    assert (item.chain_result, item.chain_status) == ("800B010A", ("CERT_TRUST_IS_PARTIAL_CHAIN",))
    assert (item.policy, item.auth_type, item.engine) == ("CERT_CHAIN_POLICY_SSL", "server", "machine")
    assert [(part.event_id, part.thumbprint, part.issuer_thumbprint) for part in item.revocations] == [
        (42, LEAF, ISSUER),
        (41, LEAF, ISSUER),
    ]
    assert [(part.where, part.result) for part in item.retrievals] == [("cache", "0"), ("network", "0")]
    assert item.certificate.alternate_names == ("mail.contoso.com", "*.contoso.com")
    assert item.missing_issuer.subject == "CN=Contoso CA"


def test_order_of_the_events_given_does_not_matter():
    events = of(*every_id())
    expected = joined(events)
    for seed in range(5):
        assert joined(random.Random(seed).sample(events, len(events))) == expected


def test_every_event_is_a_step_of_some_operation():
    events = of(*every_id())
    found = joined(events)
    assert {step.origin for item in found for step in item.steps} == {event.origin for event in events}
    assert [item.kind for item in found] == ["chain", "private-key", "trust", "catalog", "other"]


def test_two_policies_of_one_chain_are_two_operations_that_share_it():
    bodies = [*full_chain(), (30, policy(1, "0", kind="BASE", constant="1", task=guid("again")))]
    first, second = joined(of(*bodies))
    assert (first.policy, second.policy) == ("CERT_CHAIN_POLICY_SSL", "CERT_CHAIN_POLICY_BASE")
    assert first.chain_origin == second.chain_origin
    assert first.id != second.id


def test_a_policy_whose_chain_has_wrapped_away_says_so():
    event = of((30, policy(1, "800B0109")), first=900)
    span = Coverage(source="capi2.evtx", kind="capi2", host="EX01", first=None, last=None, records=1, first_record=261)
    (item,) = joined(event, [span])
    assert (item.complete, item.missing_events, item.chain_status, item.elements) == (False, (11,), (), ())
    assert (ids(item), item.event_count) == ([30], 1)
    assert item.notes == (
        "not in the export: event 11; the export begins with record 261, what was written before has been overwritten",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first_record": 1}, "while this was going on"),
        ({"gaps": (Gap(first_record=3, last_record=4, kind="filtered-or-cleared"),)}, "leaves records out"),
        ({"gaps": (Gap(first_record=3, last_record=4, kind="lost"),)}, "could not be read"),
    ],
)
def test_an_incomplete_operation_says_why_as_far_as_the_export_tells(changes, said):
    event = of((30, policy(1, "800B0109")), first=900)
    span = Coverage(source="capi2.evtx", kind="capi2", host="EX01", first=None, last=None, records=1)
    (item,) = joined(event, [replace(span, **changes)])
    assert said in item.notes[0]


def test_a_signature_check_holds_its_two_chains_each_with_its_own_revocation():
    stamp, task = guid("stamp"), guid("trust")
    here = {"task": task}
    events = of(
        (80, start("WinVerifyTrust", 1, **here)),
        (10, start("CertGetCertificateChain", 2, **here)),
        (40, start("CertVerifyRevocation", 3, **here)),
        (41, revocation(4, **here)),
        (11, chain(5, **here)),
        (10, start("CertGetCertificateChain", 6, **here)),
        (40, start("CertVerifyRevocation", 7, **here)),
        (52, start("CryptRetrieveObjectByUrlWire", 8, **here)),
        (53, retrieval(9, "2EE7", **here)),
        (41, revocation(10, "80092013", **here)),
        (11, chain(11, ref=stamp, **here)),
        (30, policy(12, kind="AUTHENTICODE", constant="2", **here)),
        (30, policy(13, kind="AUTHENTICODE_TS", constant="3", ref=stamp, **here)),
        (90, objects(14, **here)),
        (81, trust(15, stamp=stamp, **here)),
    )
    outer, signer, stamped = sorted(joined(events), key=lambda item: item.kind, reverse=True)
    assert (outer.kind, outer.target, len(outer.steps), outer.complete) == ("trust", "C:\\x\\setup.exe", 15, True)
    assert signer.parent == stamped.parent == outer.id
    assert ids(signer) == [10, 40, 41, 11, 30, 90]
    assert ids(stamped) == [10, 40, 52, 53, 41, 11, 30, 90]
    assert [item.result for item in stamped.retrievals] == ["2EE7"]
    assert stamped.retrievals[0].result_name == "ERROR_WINHTTP_NAME_NOT_RESOLVED"


@pytest.mark.parametrize(
    ("built", "is_inside"),
    [({}, True), ({"ref": guid("other")}, False), ({"process": 700}, False), ({"computer": "EX02.contoso.com"}, False)],
    ids=["named by it", "another chain", "another process", "another machine"],
)
def test_a_chain_in_a_task_of_its_own_lies_in_the_signature_check_that_names_it(built, is_inside):
    """Event 81 names the chains of signer and time stamp, whichever task built them."""
    ref, where = built.get("ref", CHAIN), {name: value for name, value in built.items() if name != "ref"}
    chains = of((10, start("CertGetCertificateChain", 1)), (11, chain(2, ref=ref)), **where)
    checked = of((80, start("WinVerifyTrust", 1, task=guid("t"))), (81, trust(2, task=guid("t"))), first=3)
    inner, outer = sorted(joined([*chains, *checked]), key=lambda item: item.kind)
    assert (inner.kind, outer.kind, outer.parent) == ("chain", "trust", None)
    assert inner.parent == (outer.id if is_inside else None)


def test_ends_without_their_beginnings_take_what_was_inside():
    task = guid("trust")
    events = of(
        (53, retrieval(5, task=task)),
        (41, revocation(6, task=task)),
        (11, chain(7, task=task)),
        (30, policy(8, task=task)),
        (81, trust(9, task=task)),
    )
    inner, outer = sorted(joined(events), key=lambda item: item.kind)
    assert ids(inner) == [53, 41, 11, 30]
    assert inner.missing_events == (10, 40, 52)
    assert outer.missing_events == (80, 10, 40, 52)
    assert "SeqNumber 1-4" in outer.notes[0]


def test_a_hole_inside_of_a_task_is_said():
    events = of(
        (10, start("CertGetCertificateChain", 1)), (90, objects(2)), (11, chain(4)), (30, policy(1, task=guid("own")))
    )
    (item,) = joined(events)
    assert (item.complete, item.missing_events) == (False, ())
    assert "SeqNumber 3" in item.notes[0]


def test_a_chain_that_was_begun_and_not_ended_is_an_operation():
    (item,) = joined(of((10, start("CertGetCertificateChain", 1)), (40, start("CertVerifyRevocation", 2))))
    assert (item.kind, item.complete, item.missing_events) == ("chain", False, (11, 41))


def test_what_belongs_to_no_chain_stands_for_itself():
    events = of(
        (52, start("CryptRetrieveObjectByUrlWire", 1, task=guid("1"))),
        (53, retrieval(2, task=guid("1"))),
        (40, start("CertVerifyRevocation", 1, task=guid("2"))),
        (41, revocation(2, task=guid("2"))),
        (90, objects(1, task=guid("3"))),
        (82, catalog(task=guid("4"))),
        (70, private_key(task=guid("5"))),
    )
    kinds = ["retrieval", "revocation", "certificates", "catalog", "private-key"]
    assert [(item.kind, item.complete) for item in joined(events)] == [(kind, True) for kind in kinds]


@pytest.mark.parametrize("other", [{"computer": "EX02.contoso.com"}, {"process": 700}])
def test_nothing_is_joined_across_machines_or_processes(other):
    built = of((10, start("CertGetCertificateChain", 1)), (11, chain(2)))
    checked = of((30, policy(1, "800B0109", task=guid("own"))), first=3, **other)
    assert [item.complete for item in joined([*built, *checked])] == [True, False]


def test_an_empty_chain_ref_joins_nothing():
    """A damaged log may hold events without it: two of them have nothing in common."""
    events = of(
        (10, start("CertGetCertificateChain", 1)), (11, chain(2, ref="")), (30, policy(1, ref="", task=guid("own")))
    )
    assert sorted((item.policy != "", item.missing_events) for item in joined(events)) == [(False, ()), (True, (11,))]


def test_events_without_a_number_are_operations_all_the_same():
    """A damaged log may lack SeqNumbers: then the order is that of the records, and nothing is known of holes."""
    bodies = [(10, start("CertGetCertificateChain", 1)), (11, chain(2)), (30, policy(1, task=guid("own")))]
    (item,) = joined(of(*((number, re.sub(' SeqNumber="[0-9]+"', "", body)) for number, body in bodies)))
    assert (ids(item), item.notes) == ([10, 11, 30], ())


def test_events_without_a_task_have_nothing_in_common():
    """An end without its beginning takes what lies before it in its task, and here no task is known."""
    bodies = (53, retrieval(2, task="")), (11, chain(3, task=""))
    assert [(item.kind, ids(item)) for item in joined(of(*bodies))] == [("retrieval", [53]), ("chain", [11])]


def test_an_end_ends_its_own_beginning():
    (item,) = joined(
        of((10, start("CertGetCertificateChain", 1)), (40, start("CertVerifyRevocation", 2)), (11, chain(3)))
    )
    assert (item.kind, ids(item), item.missing_events) == ("chain", [10, 40, 11], (41,))


def test_an_end_without_its_beginning_takes_only_what_may_lie_inside_of_it():
    chained, other = sorted(joined(of((82, catalog(2)), (53, retrieval(3)), (11, chain(4)))), key=ids)
    assert (ids(chained), ids(other)) == ([53, 11], [82])


def test_the_numbers_of_a_task_are_its_order_whatever_the_order_of_records():
    """Threads write to one log: the record of a retrieval may come behind that of the chain that waited for it."""
    events = of(
        (10, start("CertGetCertificateChain", 1)),
        (52, start("CryptRetrieveObjectByUrlWire", 2)),
        (11, chain(4)),
        (53, retrieval(3)),
    )
    (item,) = joined(events)
    assert (item.complete, item.notes) == (True, ())
    assert {step.event_id: step.depth for step in item.steps} == {10: 0, 52: 1, 53: 1, 11: 0}


def test_archives_of_one_log_are_one_timeline():
    bodies = full_chain()
    archive = of(*bodies[:6], source="Archive-1.evtx")
    live = of(*bodies[6:], source="live.evtx", first=7)
    (item,) = joined([*live, *archive])
    assert item.complete
    assert {origin.source for origin in item.origins} == {"Archive-1.evtx", "live.evtx"}


def test_overlapping_exports_count_once():
    whole, copy = of(*full_chain()), of(*full_chain(), source="copy.evtx")
    assert joined([*whole, *copy]) == joined([*copy, *whole]) == joined(whole), "the export that comes first by name"


def test_exports_that_contradict_each_other_are_two_logs():
    """The same machine name twice: record 1 is another event in the second export, so nothing is joined across."""
    built = of((10, start("CertGetCertificateChain", 1)), (11, chain(2)), source="a.evtx")
    other = of((70, private_key()), (30, policy(1, "800B0109", task=guid("own"))), source="b.evtx")
    assert [item.missing_events for item in joined([*built, *other]) if item.policy] == [(11,)]


def test_a_collected_copy_of_an_event_is_the_same_event():
    (event,) = of((30, policy(1, "800B0109")), first=42)
    collected = replace(event, origin=replace(event.origin, source="ForwardedEvents.evtx", record=7))
    assert len(joined([event, collected])) == 1


def test_ids_rest_on_the_place_of_the_event_only():
    events = of(*every_id())
    alone = joined(event for event in events if event.event_id == 30)
    assert alone[0].id in {item.id for item in joined(events)}


def test_a_disagreement_shows_on_the_operation():
    events = of(
        (10, start("CertGetCertificateChain", 1)), (11, chain(2, error="20", names='CERT_TRUST_IS_CYCLIC="true"'))
    )
    (item,) = joined(events)
    assert item.complete
    assert item.notes[0].startswith("record 2: ErrorStatus value 20 names CERT_TRUST_IS_CYCLIC")


def test_task_and_chain_of_the_builders_differ():
    assert TASK != CHAIN


def test_steps_stand_in_the_order_in_which_they_were_written():
    events = of(
        (10, start("CertGetCertificateChain", 1)), (11, chain(2)), (90, objects(3)), (30, policy(1, task=guid("own")))
    )
    (item,) = joined(reversed(events))
    assert (ids(item), item.event_count) == ([10, 11, 90, 30], 4)


def test_thousands_of_beginnings_without_an_end_are_no_crash():
    found = joined(of(*((10, start("CertGetCertificateChain", number)) for number in range(1, 1501))))
    assert len(found) == 1500
    assert {item.missing_events for item in found} == {(11,)}
    assert {step.origin for item in found for step in item.steps} == {item.origin for item in found}
