"""Ids of tasks and chains that come again and again: each operation stays small, and the work grows as the input."""

from __future__ import annotations

import pytest
from capi2_events import CHAIN, ISSUER, LEAF, chain, log, normalized, objects, policy, retrieval, start

from evtx_analyzer.capi2 import operations
from evtx_analyzer.hosts import identify_hosts
from evtx_analyzer.model.events import Match
from samples.capi2 import guid

MOST = 30


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(operations, "MOST_EVENTS", MOST)
    monkeypatch.setattr(operations, "MOST_CERTIFICATE_EVENTS", 3)


def made(bodies):
    found = [normalized(xml) for xml in log(*bodies, seconds=0.01)]
    hosts = identify_hosts(("capi2.evtx", item.host) for item in found)
    return operations.operations((Match(event=item, signals=()) for item in found), hosts)


def one_task(inner):
    """A chain that holds all these, and its policy check."""
    last = len(inner) + 2
    return [
        (10, start("CertGetCertificateChain", 1)),
        *inner,
        (11, chain(last, "800B010A", error="10000", names='CERT_TRUST_IS_PARTIAL_CHAIN="true"')),
        (30, policy(1, "800B0109", task=guid("policy"))),
    ]


def test_an_operation_of_few_events_has_them_all():
    (operation,) = made(one_task([(53, retrieval(number)) for number in range(2, MOST - 2)]))
    assert operation.event_count == len(operation.steps) == MOST - 1
    assert not any("are listed" in note for note in operation.notes)


def test_of_very_many_retrievals_the_ends_and_each_result_are_told():
    results = {500: "80092013", 777: "80092012"}
    inner = [(53, retrieval(number, results.get(number, "0"))) for number in range(2, 1_000)]
    (operation,) = made(one_task(inner))
    assert operation.event_count == 1_001
    assert len(operation.steps) <= MOST + 1
    assert {step.result for step in operation.steps if step.event_id == 53} == {"0", "80092013", "80092012"}
    assert [operation.steps[0].event_id, *(step.event_id for step in operation.steps[-2:])] == [10, 11, 30]
    assert (operation.result, operation.chain_status) == ("800B0109", ("CERT_TRUST_IS_PARTIAL_CHAIN",))
    listed = {step.sequence for step in operation.steps if step.event_id != 30}
    assert listed >= {*range(1, MOST // 3 + 1), 500, 777, *range(1_001 - MOST // 3, 1_001)}
    (note,) = (note for note in operation.notes if "are listed" in note)
    assert note.startswith(f"of its 1,001 events {len(operation.steps)} are listed")


def test_checks_that_share_a_chain_each_have_a_short_list():
    inner = [(53, retrieval(number)) for number in range(2, 200)]
    bodies = [*one_task(inner)[:-1], *((30, policy(1, "800B0109", task=guid(f"p{n}"))) for n in range(50))]
    found = made(bodies)
    assert len(found) == 50
    assert all(item.event_count == 201 and len(item.steps) <= MOST + 1 for item in found)
    assert all(item.chain_status == ("CERT_TRUST_IS_PARTIAL_CHAIN",) for item in found)


def test_events_90_of_a_task_that_is_named_again_and_again_are_told_where_they_name_the_chain():
    others = [(90, objects(number).replace(LEAF, f"{number:040X}")) for number in range(2, 60)]
    bodies = one_task([])
    sequence = 100
    late = (90, objects(sequence))
    (operation,) = made(
        [bodies[0], *others, late, (11, bodies[1][1].replace('SeqNumber="2"', 'SeqNumber="101"')), bodies[2]]
    )
    assert operation.certificate is not None
    assert operation.certificate.thumbprint == LEAF
    assert operation.event_count == 62
    assert len({step.origin for step in operation.steps}) == len(operation.steps), "each event is listed once"


def test_a_check_whose_chain_is_not_in_the_log_has_the_certificates_of_its_task_all_the_same():
    others = [(90, objects(number).replace(LEAF, f"{number:040X}")) for number in range(2, 60)]
    (operation,) = made([*others, (90, objects(60)), (30, policy(61, "800B0109"))])
    assert (operation.missing_events, operation.event_count) == ((11,), 60)
    assert operation.certificate is not None
    assert operation.certificate.thumbprint == LEAF


def test_one_task_of_very_many_chains():
    """Each chain has the ids of the whole task beside it: holes in the numbering are those inside of it only."""
    bodies = []
    for number in range(400):
        ref = guid(f"chain {number}")
        bodies += [
            (11, chain(3 * number + 2, "800B010A", error="10000", ref=ref)),
            (30, policy(3 * number + 3, "800B0109", ref=ref)),
        ]
    found = made(bodies)
    assert len(found) == 400
    assert {item.event_count for item in found} == {2}
    assert all("SeqNumber" not in note for item in found[1:] for note in item.notes)


def test_very_many_holes_are_named_in_part():
    inner = [(53, retrieval(2 * number)) for number in range(1, 300)]
    bodies = one_task(inner)
    bodies[-2] = (11, chain(1_000, "800B010A", error="10000", ref=CHAIN))
    (operation,) = made(bodies)
    (note,) = (note for note in operation.notes if note.startswith("not in the export"))
    assert "SeqNumber 3, SeqNumber 5" in note
    assert "more runs of SeqNumbers" in note
    assert len(note) < 400
    assert not operation.complete


def test_the_certificate_that_is_missing_is_still_named():
    inner = [(90, objects(number).replace(LEAF, f"{number:040X}")) for number in range(2, 30)]
    inner.append((90, objects(30)))
    (operation,) = made(one_task(inner))
    assert operation.missing_issuer is not None
    assert "Contoso CA" in operation.missing_issuer.subject
    assert ISSUER != LEAF
