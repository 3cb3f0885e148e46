"""Write the case as a time line for Timesketch: JSON Lines with ``message``, ``datetime`` and ``timestamp_desc``.

    {"datetime":"2016-12-01T03:09:55.456180+00:00","timestamp_desc":"CAPI2 event 30","message":"800B0109 ...",...}

Timesketch asks for those three fields in an import (https://timesketch.org/guides/user/import-from-json-csv/); ``tag``
holds the signals, and all other fields are free.

``datetime`` is required and taken for UTC. A refusal whose UTC time is not known is written all the same, because a
time line without it would read as if there had been none: ``timestamp_desc`` says what its time is, and the tag
``utc_time_unknown`` finds it or leaves it out of a view.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import Incident, Operation, Rejection
from evtx_analyzer.model.origin import describe_origin
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language

Entry = dict[str, Any]
NO_UTC_TIME = "utc_time_unknown"


def to_timesketch(report: Report, say: Language = ENGLISH) -> str:  # noqa: ARG001  names and messages are ids
    """Return the refusals, their handshakes and the certificate checks by time, one JSON object per line."""
    entries = sorted(_entries(report), key=lambda entry: (entry["datetime"], entry["timestamp_desc"], entry["id"]))
    return "".join(msgspec.json.encode(entry).decode() + "\n" for entry in entries)


def _entries(report: Report) -> Iterable[Entry]:
    for incident in report.incidents:
        handshakes = set()
        for rejection in incident.every_rejection():
            yield _refusal(incident, rejection)
            start = (rejection.session, rejection.handshake_time)
            if rejection.handshake_time is not None and start not in handshakes:
                handshakes.add(start)
                yield _handshake(incident, rejection)
    for check in report.operations:
        yield _check(check)


def _refusal(incident: Incident, rejection: Rejection) -> Entry:
    return {
        **_common(incident, rejection),
        "datetime": rejection.time.isoformat(),
        "timestamp_desc": "SMTP refusal" + _remark(rejection),
        "message": f"{rejection.reply} (from {rejection.mail_from or '<>'} to {rejection.rcpt_to or 'unknown'})",
        "tag": [*rejection.signals, *_time_tags(rejection)],
    }


def _handshake(incident: Incident, rejection: Rejection) -> Entry:
    sent = rejection.sent.thumbprint if rejection.sent else "not shown by the log"
    assert rejection.handshake_time is not None
    return {
        **_common(incident, rejection),
        "datetime": rejection.handshake_time.isoformat(),
        "timestamp_desc": "TLS handshake" + _remark(rejection),
        "message": f"TLS handshake with {rejection.remote_name or rejection.remote_endpoint}, certificate sent: {sent}",
        "tag": _time_tags(rejection),
    }


def _remark(rejection: Rejection) -> str:
    remark = clock.remark(rejection.time_basis)
    return f" ({remark})" if remark else ""


def _time_tags(rejection: Rejection) -> list[str]:
    return [] if clock.is_known(rejection.time_basis) else [NO_UTC_TIME]


def _common(incident: Incident, rejection: Rejection) -> Entry:
    return {
        "id": rejection.id,
        "incident": incident.id,
        "host": rejection.host,
        "connector": rejection.connector,
        "session": rejection.session,
        "time_basis": rejection.time_basis,
        "thumbprint": rejection.sent.thumbprint if rejection.sent else "",
        "origin": describe_origin(rejection.origin),
    }


def _check(operation: Operation) -> Entry:
    result = f"{operation.result} {operation.result_name}"
    return {
        "id": operation.id,
        "host": operation.host,
        "datetime": operation.time.isoformat(),
        "timestamp_desc": "CAPI2 certificate check",
        "message": f"{operation.process}: {operation.policy} of {operation.subject} gave {result}".rstrip(),
        "thumbprint": operation.thumbprint,
        "chain_ref": operation.chain_ref,
        "chain_status": list(operation.chain_status),
        "tag": list(operation.signals),
        "origin": describe_origin(operation.origin),
    }
