"""The last check of a certificate on its machine, as the view of the stores shows it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from evidence import HANDSHAKE, OWN, operation, success

from evtx_analyzer.stores.fields import _last_check


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([success(-60, 1)], "passed"),
        ([success(-120, 1), operation(-60, 2)], "failed"),
        ([operation(-120, 1), success(-60, 2)], "passed"),
        ([success(-60, 1), operation(60, 2)], "passed"),  # after the last refusal
        ([success(-60, 1, host="EX02")], None),
        # A check whose result is not in the export neither failed nor passed.
        ([success(-120, 1), operation(-60, 2, result="")], "passed"),
        ([operation(-60, 1, result="")], None),
    ],
)
def test_the_last_check_is_the_last_one_with_a_result(checks, expected):
    incident = SimpleNamespace(end=HANDSHAKE + timedelta(seconds=1))
    view: Any = SimpleNamespace(
        operations=checks, incident=incident, chain=SimpleNamespace(thumbprint=OWN, host="EX01")
    )
    assert _last_check(view) == expected
