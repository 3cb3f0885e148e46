"""Recognize bundles of Microsoft's ExchangeLogCollector (CSS-Exchange on GitHub, Diagnostics/ExchangeLogCollector).

    20261123/EX01/Hub_Send_Protocol_Logs.zip!SEND2016120103-1.LOG    as the script leaves them
    EX01-1123.zip!Hub_Send_Protocol_Logs.zip!SEND2016120103-1.LOG    packed, one zip for each server

The members of the inner zips do not name the server; the outer zip or folder does. The date in names (``yyyyMd``,
``Md``) is not parsed, for it has no leading zeros and is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from evtx_analyzer.discover.source import Source
from evtx_analyzer.model.findings import CollectorBundle

COLLECTOR = "ExchangeLogCollector"
_PARTS = frozenset(
    {
        "daily_performance_logs", "edge_transport_logs", "fe_connectivity_logs", "fe_receive_protocol_logs",
        "fe_send_protocol_logs", "fe_transport_agent_logs", "hub_connectivity_logs", "hub_receive_protocol_logs",
        "hub_send_protocol_logs", "hub_transport_agent_logs", "httperr_logs", "iis_w3svc1_logs", "iis_w3svc2_logs",
        "managed_availability_logs", "mbx_connectivity_logs", "mbx_receive_protocol_logs", "mbx_send_protocol_logs",
        "message_tracking_logs", "queue_data", "queue_v15_data", "transport_configuration", "windows_event_logs",
    }
)  # fmt: skip
_MARKERS = frozenset({"nofilesdetected.txt", "nodatadetected.txt", "notenoughfreespace.txt"})
_OUTER_ZIP = re.compile(r"(?P<server>.{1,255}?)-\d{2,4}(?:-\d+)?\.zip", re.IGNORECASE)
_DATE = re.compile(r"\d{6,8}")
_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
NEVER_COLLECTED = (
    "the CAPI2 Operational log: export it on the server with wevtutil epl Microsoft-Windows-CAPI2/Operational",
    "SMTPSVC logs of the IIS SMTP service: it takes those of W3SVC only",
)
_SPLIT = re.compile(r"[/!]")


def collector_bundles(sources: Iterable[Source]) -> list[CollectorBundle]:
    """Return the bundles of the collector in the input, recognized by the names of the parts that the script writes."""
    parts: dict[str, set[str]] = {}
    markers: dict[str, list[str]] = {}
    for source in sources:
        path_parts = _split(source.path)
        if path_parts is None:
            continue
        root, part, name = path_parts
        parts.setdefault(root, set()).add(part)
        if name.casefold() in _MARKERS:
            markers.setdefault(root, []).append(source.path)
    return [
        CollectorBundle(
            path=root,
            collector=COLLECTOR,
            server=_server(root),
            contents=tuple(sorted(parts[root])),
            markers=tuple(markers.get(root, ())),
            never_collected=NEVER_COLLECTED,
        )
        for root in sorted(parts)
    ]


def _split(path: str) -> tuple[str, str, str] | None:
    """Return root of the bundle, part, and last name of a path; None where the path lies in no part of a bundle."""
    names = _SPLIT.split(path)
    for number, name in enumerate(names):
        # A part is a folder or a zip, so the last name is one only as a zip.
        if number == len(names) - 1 and not name.lower().endswith(".zip"):
            break
        part = re.sub(r"\.zip$", "", name, flags=re.IGNORECASE)
        if part.casefold() in _PARTS:
            length = sum(len(above) + 1 for above in names[:number])
            return path[: max(length - 1, 0)], part, names[-1]
    return None


def _server(root: str) -> str:
    """Return the server that the root of a bundle names: in ``EX01-1123.zip``, or the folder below the date."""
    names = _SPLIT.split(root)
    for number in range(len(names) - 1, -1, -1):
        outer = _OUTER_ZIP.fullmatch(names[number])
        if outer:
            return outer["server"]
        if number and _DATE.fullmatch(names[number - 1]) and _SERVER.fullmatch(names[number]):
            return names[number]
    return ""
