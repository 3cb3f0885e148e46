"""Which local addresses are one machine's, by the files that hold them."""

from __future__ import annotations

import pytest

from evtx_analyzer.local_addresses import are_of_several, of_one_machine

A, B, C, V6 = "10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"
ONE, TWO = "SEND2026031008-1.LOG", "SEND2026031009-1.LOG"


@pytest.mark.parametrize(
    "path",
    [
        ONE,
        "SEND20260310-1.LOG",  # Exchange 2010
        "send2026031008-12.log",
        "EX01_SEND2026031008-1.LOG",
        "case.zip!Hub/SmtpSend/SEND2026031008-1.LOG",
        "logs\\SEND2026031008-1.LOG",
    ],
)
def test_a_file_with_the_name_that_exchange_gave_it_is_of_one_machine(path):
    machines = of_one_machine([(path, A), (path, B)])
    assert machines == {A: {A, B}, B: {A, B}}
    assert not are_of_several(machines)


@pytest.mark.parametrize(
    "path", ["all.log", "SEND.LOG", "RESEND2026031008-1.LOG", "SEND2026031008-1.LOG.txt", "SEND202603-1.LOG", "1.LOG"]
)
def test_another_file_may_have_been_put_together(path):
    machines = of_one_machine([(path, A), (path, B)])
    assert machines == {A: {A}, B: {B}}
    assert are_of_several(machines)


def test_one_address_of_each_ip_version_in_any_file():
    assert of_one_machine([("all.log", A), ("all.log", V6)]) == {A: {A, V6}, V6: {A, V6}}
    assert are_of_several(of_one_machine([("all.log", A), ("all.log", V6), ("all.log", B)]))
    assert are_of_several(of_one_machine([("a.log", A), ("b.log", V6)]))


@pytest.mark.parametrize("order", [1, -1])
def test_files_are_joined_by_an_address_that_they_share(order):
    logs = [(ONE, A), (ONE, B), (TWO, B), (TWO, C), ("all.log", "10.9.9.9")][::order]
    machines = of_one_machine(logs)
    assert machines[A] == machines[B] == machines[C] == {A, B, C}
    assert machines["10.9.9.9"] == {"10.9.9.9"}


def test_an_address_that_is_not_known_is_no_address():
    assert of_one_machine([(ONE, ""), (ONE, A)]) == {A: {A}}
    assert not are_of_several({})
