"""The case as a time line for Timesketch: one JSON object per line with ``message``, ``datetime``, ``timestamp_desc``.

    {"datetime":"2016-12-01T03:09:55.456180+00:00","timestamp_desc":"CAPI2 event 30","message":"800B0109 ...",...}

Those three names are what Timesketch asks of an import; ``tag`` holds the signals, everything else is free.

``datetime`` must be there and is taken for UTC. A refusal whose UTC time is not known is written all the same, for a
time line without it would read as if there had been none: ``timestamp_desc`` says what its time is, and the tag
``utc_time_unknown`` finds it (or leaves it out of a view).
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
_PLAIN = ("utc", "zone")


def to_timesketch(report: Report, say: Language = ENGLISH) -> str:  # noqa: ARG001  names and messages are ids
    """The refusals, their handshakes and the certificate checks by time, one JSON object per line."""
    entries = sorted(_entries(report), key=lambda item: (item["datetime"], item["timestamp_desc"], item["id"]))
    return "".join(msgspec.json.encode(item).decode() + "\n" for item in entries)


def _entries(report: Report) -> Iterable[Entry]:
    for incident in report.incidents:
        handshakes = set()
        for item in incident.every_rejection():
            yield _refusal(incident, item)
            start = (item.session, item.handshake_time)
            if item.handshake_time is not None and start not in handshakes:
                handshakes.add(start)
                yield _handshake(incident, item)
    for check in report.operations:
        yield _check(check)


def _refusal(incident: Incident, item: Rejection) -> Entry:
    return {
        **_common(incident, item),
        "datetime": item.time.isoformat(),
        "timestamp_desc": "SMTP refusal" + _remark(item),
        "message": f"{item.reply} (from {item.mail_from or '<>'} to {item.rcpt_to or 'unknown'})",
        "tag": [*item.signals, *_time_tags(item)],
    }


def _handshake(incident: Incident, item: Rejection) -> Entry:
    sent = item.sent.thumbprint if item.sent else "not shown by the log"
    assert item.handshake_time is not None
    return {
        **_common(incident, item),
        "datetime": item.handshake_time.isoformat(),
        "timestamp_desc": "TLS handshake" + _remark(item),
        "message": f"TLS handshake with {item.remote_name or item.remote_endpoint}, certificate sent: {sent}",
        "tag": _time_tags(item),
    }


def _remark(item: Rejection) -> str:
    return "" if item.time_basis in _PLAIN else f" ({clock.remark(item.time_basis)})"


def _time_tags(item: Rejection) -> list[str]:
    return [] if clock.is_known(item.time_basis) else [NO_UTC_TIME]


def _common(incident: Incident, item: Rejection) -> Entry:
    return {
        "id": item.id,
        "incident": incident.id,
        "host": item.host,
        "connector": item.connector,
        "session": item.session,
        "time_basis": item.time_basis,
        "thumbprint": item.sent.thumbprint if item.sent else "",
        "origin": describe_origin(item.origin),
    }


def _check(item: Operation) -> Entry:
    return {
        "id": item.id,
        "host": item.host,
        "datetime": item.time.isoformat(),
        "timestamp_desc": "CAPI2 certificate check",
        "message": f"{item.process}: {item.policy} of {item.subject} gave {item.result} {item.result_name}".rstrip(),
        "thumbprint": item.thumbprint,
        "chain_ref": item.chain_ref,
        "chain_status": list(item.chain_status),
        "tag": list(item.signals),
        "origin": describe_origin(item.origin),
    }
