"""Rejections and operations for tests: one handshake of one server, to be varied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.model.origin import Origin

HANDSHAKE = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
OWN, OTHER = "A" * 40, "B" * 40


def operation(seconds=0.0, record=1, **changes):
    made = Operation(
        id=f"O-{record}",
        host="EX01",
        process="lsass.exe",
        process_id=544,
        time=HANDSHAKE + timedelta(seconds=seconds),
        thumbprint=OWN,
        subject="mail.contoso.com",
        policy="CERT_CHAIN_POLICY_SSL",
        result="800B0109",
        result_name="CERT_E_UNTRUSTEDROOT",
        chain_ref="{1}",
        task_id="{2}",
        chain_result="",
        chain_status=(),
        elements=(),
        server_name="",
        certificate=None,
        missing_issuer=None,
        missing_events=(11,),
        signals=("any_chain_policy_failed", "chain_policy_failed"),
        origin=Origin(source="c.evtx", record=record),
        chain_origin=None,
        chain_time=None,
        origins=(),
    )
    return replace(made, **changes)


def success(seconds, record, **changes):
    return operation(seconds, record, result="0", signals=("chain_policy_verified",), **changes)


def rejection(**changes):
    made = Rejection(
        id="R-1",
        time=HANDSHAKE + timedelta(seconds=1),
        host="EX01",
        host_basis="row",
        kind="send-connector",
        connector="Outbound",
        session="08D5",
        local_endpoint="",
        remote_endpoint="",
        remote_name="",
        helo="ex01.contoso.com",
        starttls=True,
        handshake_time=HANDSHAKE,
        tls="",
        sent=Certificate(thumbprint=OWN),
        received=Certificate(thumbprint=OTHER),
        mail_from="a@contoso.com",
        rcpt_to="b@fabrikam.com",
        message_id="",
        stage="RCPT",
        reply="550 5.7.64",
        attribution="",
        untrusted_root_hint=False,
        resolution=0.001,
        signals=("tenant_attribution_refused",),
        origin=Origin(source="SEND.LOG", line=9),
        origins=(),
    )
    return replace(made, **changes)
