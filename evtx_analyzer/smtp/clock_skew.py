"""Measure how far a log's clock is ahead of Exchange Online's clock, which the log itself shows.

A banner has the remote clock in seconds (``ready at Thu, 21 Mar 2019 13:00:44 +0000``), a bracket at the end of a reply
in milliseconds (``[HOST 2025-01-29T19:07:30.476Z ...]``). The median over a folder is reported, and no time is
corrected by it: CAPI2 and SMTP logs of one machine have the same clock. Only whether a certificate had expired is
judged by Exchange Online's clock (``CaseFacts.ahead``). An offset of whole hours means a wrong time zone and not a
wrong clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.hosts import HostClue, Hosts, folder_of
from evtx_analyzer.model.evidence import ClockSkew
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.model.origin import Origin, display_name
from evtx_analyzer.smtp.rejections import Sighting, session_clue
from evtx_analyzer.smtp.replies import bracket
from evtx_analyzer.smtp.sessions import Session
from evtx_analyzer.smtp.transaction import FAILED

HEAD_LINES = 2000
"""Only banners in the first so many lines of a log are compared: the same ones in bulk and row by row."""

_READY = re.compile(r"ready at\s+(.*)$")
NOTABLE_SKEW = 5.0
"""Seconds from which on a clock is said to be wrong."""
_CLOSE_ENOUGH = 900.0  # seconds


class Clocks:
    """Seconds by which log clocks were ahead of remote ones, by kind of log, machine with folder, and source."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, HostClue, str], list[float]] = {}
        self._paths: dict[HostClue, str] = {}

    def add(self, session: Session) -> None:
        """Compare the times of banners and failing replies with the remote clock in their texts."""
        host_clue = session_clue(session)
        for row in session.rows:
            if row.direction == "<" and (row.origin.line or 0) <= HEAD_LINES:
                self.add_banner(session.kind, host_clue, row.time, row.text)
        for reply in session.replies:
            remote_time = bracket(reply.row.text).clock if reply.code >= FAILED else None
            if remote_time is not None:
                self._add(session.kind, host_clue, "bracket", (reply.row.time - remote_time).total_seconds())

    def add_banner(self, kind: str, host_clue: HostClue, time: datetime, text: str) -> None:
        """Compare the time of a row with the clock that its text shows, if it is a banner."""
        banner = banner_clock(text)
        if banner is not None:
            self._add(kind, host_clue, "banner", (time - banner).total_seconds())

    def add_brackets(self, kind: str, host_clue: HostClue, skews: Iterable[float]) -> None:
        """Add by how many seconds the log's clock was ahead of the clocks in brackets of replies."""
        for seconds in skews:
            self._add(kind, host_clue, "bracket", seconds)

    def _add(self, kind: str, host_clue: HostClue, source: str, seconds: float) -> None:
        key = HostClue(host_clue.name, folder_of(host_clue.path))
        self._paths[key] = min(self._paths.get(key, host_clue.path), host_clue.path)
        self._samples.setdefault((kind, key, source), []).append(seconds)

    def skews(self, hosts: Hosts) -> tuple[ClockSkew, ...]:
        """Return the medians, sorted; of the brackets where there are any, for they are more exact than banners."""
        clock_skews = [
            ClockSkew(
                host=hosts.resolve(HostClue(host_clue.name, self._paths[host_clue]))[0],
                kind=kind,
                folder=host_clue.path,
                source="banner" if source == "banner" else "bracket",
                samples=len(samples),
                seconds=round(_median(samples), 3),
            )
            for (kind, host_clue, source), samples in self._samples.items()
            if source == "bracket" or (kind, host_clue, "bracket") not in self._samples
        ]
        return tuple(sorted(clock_skews, key=lambda clock_skew: (clock_skew.folder, clock_skew.kind, clock_skew.host)))


def _median(samples: Iterable[float]) -> float:
    """Return the median; importing ``statistics`` for it would take 2 % of the time of a small analysis."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def session_clock(session: Session) -> datetime | None:
    """Return the first remote clock that a session shows, aware UTC; None if it shows none."""
    times = (banner_clock(row.text) or bracket(row.text).clock for row in session.rows if row.direction == "<")
    return next((time for time in times if time is not None), None)


def banner_clock(text: str) -> datetime | None:
    """Return the remote clock in a banner; None where the text is no banner or has no clock."""
    match = _READY.search(text) if text.startswith("220") else None
    if match is None:
        return None
    # IIS logs have a blank as "+", so the reader turned the sign of "+0000" into a blank: two blanks and four digits.
    text = re.sub(r"(?<=\d) {2}(?=\d{4}\s*$)", " +", match[1].strip())
    return clock.from_mail(text)


def settled(
    sightings: Iterable[Sighting], remote_clocks: dict[str, datetime], skews: Sequence[ClockSkew]
) -> list[Sighting]:
    """Return sightings with what the remote clock tells about the zone of their times.

    A time in the hour that a local clock shows twice is corrected where the remote clock of its session is known
    (``remote_clocks``, by rejection id). A log whose clock differs from the remote one by whole hours (``skews``) has a
    wrong zone, and its times get the basis ``wrong-zone``.
    """
    wrong = {(skew.kind, skew.folder) for skew in skews if clock.whole_hours(skew.seconds)}
    return [_settled(sighting, wrong, remote_clocks) for sighting in sightings]


def _settled(sighting: Sighting, wrong: set[tuple[str, str]], remote_clocks: dict[str, datetime]) -> Sighting:
    rejection = sighting.rejection
    path = display_name(rejection.origin)
    remote = remote_clocks.get(rejection.id)
    if rejection.time_basis == "ambiguous" and rejection.other_time is not None and remote is not None:
        nearer, other = sorted((rejection.time, rejection.other_time), key=lambda time: abs(time - remote))
        if abs(nearer - remote).total_seconds() < _CLOSE_ENOUGH:
            shift = nearer - rejection.time
            handshake = rejection.handshake_time + shift if rejection.handshake_time else None
            rejection = replace(rejection, time=nearer, other_time=other, time_basis="zone", handshake_time=handshake)
    elif rejection.time_basis == "zone" and (rejection.kind, folder_of(path)) in wrong:
        rejection = replace(rejection, time_basis="wrong-zone")
    return sighting if rejection is sighting.rejection else Sighting(rejection, sighting.layer)


def noted(
    coverage: Iterable[Coverage],
    skews: Sequence[ClockSkew],
    local_notes: dict[tuple[str, str], str],
    offsets: Iterable[tuple[Origin, int]],
) -> list[Coverage]:
    """Return coverage with notes on clocks that are wrong, and on unknown zones (``local_notes``, by source and kind).

    ``offsets`` are those of ``merge``: origins whose time is whole hours away from that of another log.
    """
    by_folder = {(skew.kind, skew.folder): skew for skew in skews}
    hours_apart = {display_name(origin): hours for origin, hours in offsets}
    coverages = []
    for span in coverage:
        notes = list(span.notes)
        skew = by_folder.get((span.kind, folder_of(span.source)))
        if skew is not None and abs(skew.seconds) > NOTABLE_SKEW:
            notes.append(_skew_note(skew))
        if (span.source, span.kind) in local_notes:
            notes.append(local_notes[span.source, span.kind])
        if span.source in hours_apart and not (skew is not None and clock.whole_hours(skew.seconds)):
            notes.append(_offset_note(hours_apart[span.source]))
        coverages.append(replace(span, notes=tuple(notes)))
    return coverages


def _offset_note(hours: int) -> str:
    side = "after" if hours > 0 else "before"
    return (
        f"the same refusal stands {abs(hours)} hour{'s' if abs(hours) > 1 else ''} {side} its time in another log: the "
        "time zone of one of them is wrong; the other log's time is used, see --tz"
    )


def _skew_note(skew: ClockSkew) -> str:
    hours = clock.whole_hours(skew.seconds)
    if hours:
        side = "ahead of" if hours > 0 else "behind"
        return (
            f"the times stand {abs(hours)} hour{'s' if abs(hours) > 1 else ''} {side} the remote side's clock "
            f"({_samples(skew)}): its clock or time zone is wrong, or its times are local (see --tz); "
            "no time is shifted for it"
        )
    side = "ahead of" if skew.seconds > 0 else "behind"
    return (
        f"the clock is {abs(skew.seconds):.1f} s {side} the remote side's (median of {_samples(skew)}); "
        "no time is shifted for it"
    )


def _samples(skew: ClockSkew) -> str:
    """Return how many banners, or replies with a clock, were compared."""
    one, several = ("banner", "banners") if skew.source == "banner" else ("reply", "replies")
    return f"{skew.samples} {several if skew.samples > 1 else one}"
