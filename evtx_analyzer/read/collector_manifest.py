"""``manifest.json`` of the script that ``evtx-analyzer collector`` prints (``collector/collect-5764.ps1``).

    {"collector": "evtx-analyzer collector", "manifest": 1, "host": "EX01", "state": "completed",
     "timeZone": {"id": "W. Europe Standard Time", "baseUtcOffsetMinutes": 60, "daylightSaving": true},
     "ended": "2026-11-25T21:00:00.0000000Z", "steps": [{"name": "CAPI2 log", "status": "ok", "detail": ""}]}

It is input like any other: nothing in it names a file that is opened. A name that no machine can have, and a time zone
that is unknown or has another offset, are Losses and not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from evtx_analyzer import clock
from evtx_analyzer.model.manifest import CollectorManifest, ManifestStep
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read.encoding import as_text

COLLECTOR = "evtx-analyzer collector"
LARGEST = 4 << 20
_MOST_STEPS, _LONGEST = 200, 500
_MARK = re.compile(r"^\s*\{\s*\"collector\"\s*:\s*\"evtx-analyzer collector\"")
# A NetBIOS or DNS label (RFC 1123 2.1); Windows takes at most 15 letters as a machine's name.
_MACHINE = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def is_collector_manifest(head: bytes) -> bool:
    """Return whether a file begins as a manifest of the collection script."""
    return _MARK.match(as_text(head[:1024])) is not None


def read_collector_manifest(stream: BinaryIO, source: Origin) -> Iterator[CollectorManifest | Loss]:
    """Yield the manifest, and a Loss for each part that cannot be used; one for all of it if it is cut."""
    data = stream.read(LARGEST + 1)
    try:
        manifest = json.loads(as_text(data)) if len(data) <= LARGEST else None
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        reason = "the manifest of the collector is cut or damaged: machine and time zone are not taken from it"
        yield Loss(origin=source, reason=reason, extent="the whole file")
        return
    host = _text(manifest.get("host"))
    if not _MACHINE.fullmatch(host):
        host, reason = "", "the manifest of the collector names no machine"
        yield Loss(origin=source, reason=reason, extent="the name of the machine")
    ended = clock.from_iso(_text(manifest.get("ended")))
    tz = _zone(manifest.get("timeZone"), ended)
    if not tz:
        reason = "the time zone of the collector's manifest is not known, or its offset is another: give it with --tz"
        yield Loss(origin=source, reason=reason, extent="the time zone of the machine")
    yield CollectorManifest(
        origin=source,
        host=host.upper(),
        tz=tz,
        ended=ended,
        completed=manifest.get("state") == "completed",
        steps=tuple(
            ManifestStep(name=name, status=_text(step.get("status")), detail=_text(step.get("detail")))
            for step in _listed(manifest.get("steps"))
            if isinstance(step, dict) and (name := _text(step.get("name")))
        ),
        left_changed=tuple(_text(command) for command in _listed(manifest.get("notPutBack"))),
    )


def _text(value: object) -> str:
    return value.strip()[:_LONGEST] if isinstance(value, str) else ""


def _listed(value: object) -> list[object]:
    return value[:_MOST_STEPS] if isinstance(value, list) else []


def _zone(value: object, ended: datetime | None) -> str:
    """Return the IANA name of a Windows zone (CLDR windowsZones); empty where its offset differs."""
    from tzlocal.windows_tz import win_tz  # noqa: PLC0415  start-up cost: only where there is a manifest

    if not isinstance(value, dict):
        return ""
    base, saving = value.get("baseUtcOffsetMinutes"), value.get("daylightSaving")
    # True and False are integers in Python.
    if isinstance(base, bool) or not isinstance(base, int) or not isinstance(saving, bool) or abs(base) > 14 * 60:
        return ""
    name = _text(value.get("id"))
    try:
        zone = ZoneInfo(win_tz.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ""
    year = (ended or datetime(2026, 1, 1, tzinfo=UTC)).year
    offsets = {datetime(year, month, 1, tzinfo=zone).utcoffset() or timedelta(0) for month in range(1, 13)}
    # The standard offset is the smallest of the year: daylight saving adds to it.
    if min(offsets) != timedelta(minutes=base):
        return ""
    if saving or len(offsets) == 1:
        return zone.key
    # Daylight saving is turned off on this machine. Names of fixed zones have the sign reversed: Etc/GMT-1 is UTC+1.
    hours, minutes = divmod(base, 60)
    return "" if minutes else f"Etc/GMT{-hours:+d}" if hours else "Etc/UTC"
