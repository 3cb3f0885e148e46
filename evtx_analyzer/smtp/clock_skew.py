"""How far a log's clock is ahead of Exchange Online's own, as the log itself shows, and what follows from it.

A banner holds the remote clock to a second (``ready at Thu, 21 Mar 2019 13:00:44 +0000``), a bracket behind a reply
to a millisecond (``[HOST 2025-01-29T19:07:30.476Z ...]``). The median over a folder is reported and nothing is shifted:
CAPI2 and SMTP logs of one machine share its clock. An offset of whole hours means a wrong time zone and not a wrong
clock.
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

HEAD_LINES = 2000
"""Banners are compared with the log's clock in so many lines of each SMTP log, however it is read."""

_READY = re.compile(r"ready at\s+(.*)$")
_NOTABLE = 5.0
_CLOSE_ENOUGH = 900.0
_FAILED = 400


class Clocks:
    """Differences of clocks per folder and machine: of banners at the beginning of each file, and of failures."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, HostClue, str], list[float]] = {}
        self._paths: dict[HostClue, str] = {}

    def add(self, session: Session) -> None:
        """Compare the rows of a session with the remote clock that their text shows."""
        host_clue = session_clue(session)
        for row in session.rows:
            if row.direction == "<" and (row.origin.line or 0) <= HEAD_LINES:
                self.add_banner(session.kind, host_clue, row.time, row.text)
        for reply in session.replies:
            stamp = bracket(reply.row.text).clock if reply.code >= _FAILED else None
            if stamp is not None:
                self._add(session.kind, host_clue, "bracket", (reply.row.time - stamp).total_seconds())

    def add_banner(self, kind: str, host_clue: HostClue, time: datetime, text: str) -> None:
        """Compare the time of a row with the clock that its text shows, if it is a banner."""
        banner = banner_clock(text)
        if banner is not None:
            self._add(kind, host_clue, "banner", (time - banner).total_seconds())

    def add_brackets(self, kind: str, host_clue: HostClue, skews: Iterable[float]) -> None:
        """Note how many seconds a log's clock was ahead of the clocks in brackets of replies."""
        for seconds in skews:
            self._add(kind, host_clue, "bracket", seconds)

    def _add(self, kind: str, host_clue: HostClue, source: str, seconds: float) -> None:
        key = HostClue(host_clue.name, folder_of(host_clue.path))
        self._paths[key] = min(self._paths.get(key, host_clue.path), host_clue.path)
        self._samples.setdefault((kind, key, source), []).append(seconds)

    def skews(self, hosts: Hosts) -> tuple[ClockSkew, ...]:
        """Return the medians, sorted; that of the brackets where there are any, for they are finer."""
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
    """Return the median; ``statistics`` would be a fiftieth of a small analysis to import."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def session_clock(session: Session) -> datetime | None:
    """Return the remote clock that a session shows first."""
    times = (banner_clock(row.text) or bracket(row.text).clock for row in session.rows if row.direction == "<")
    return next((time for time in times if time is not None), None)


def banner_clock(text: str) -> datetime | None:
    """Return the remote clock in a banner; None where the text is none or shows none."""
    match = _READY.search(text) if text.startswith("220") else None
    if match is None:
        return None
    # In IIS logs + stands for a blank, so the sign of the offset is lost: two blanks and four digits.
    text = re.sub(r"(?<=\d) {2}(?=\d{4}\s*$)", " +", match[1].strip())
    return clock.from_mail(text)


def settled(
    sightings: Iterable[Sighting], sessions: dict[str, datetime], clocks: Sequence[ClockSkew]
) -> list[Sighting]:
    """Return sightings with what the remote clock says of their zone.

    The repeated hour of daylight saving is settled where the session's own banner tells which reading is meant
    (``sessions``: remote clock by origin id); a log that stands whole hours beside the remote clock has the wrong zone.
    """
    wrong = {(item.kind, item.folder) for item in clocks if clock.whole_hours(item.seconds)}
    return [_settled(sighting, wrong, sessions) for sighting in sightings]


def _settled(sighting: Sighting, wrong: set[tuple[str, str]], remote: dict[str, datetime]) -> Sighting:
    rejection = sighting.rejection
    path = display_name(rejection.origin)
    if rejection.time_basis == "ambiguous" and rejection.other_time is not None and rejection.id in remote:
        early, late = sorted((rejection.time, rejection.other_time), key=lambda time: abs(time - remote[rejection.id]))
        if abs(early - remote[rejection.id]).total_seconds() < _CLOSE_ENOUGH:
            shift = early - rejection.time
            handshake = rejection.handshake_time + shift if rejection.handshake_time else None
            rejection = replace(rejection, time=early, other_time=late, time_basis="zone", handshake_time=handshake)
    elif rejection.time_basis == "zone" and (rejection.kind, folder_of(path)) in wrong:
        rejection = replace(rejection, time_basis="wrong-zone")
    return sighting if rejection is sighting.rejection else Sighting(rejection, sighting.layer)


def noted(
    coverage: Iterable[Coverage],
    clocks: Sequence[ClockSkew],
    local: dict[tuple[str, str], str],
    offsets: Iterable[tuple[Origin, int]],
) -> list[Coverage]:
    """Return coverage with notes of clocks that stand apart and of unknown zones (``local`` by source and kind).

    ``offsets`` are places whose time of a refusal is whole hours away from that in another log.
    """
    by_folder = {(item.kind, item.folder): item for item in clocks}
    beside = {display_name(origin): hours for origin, hours in offsets}
    coverages = []
    for span in coverage:
        notes = list(span.notes)
        skew = by_folder.get((span.kind, folder_of(span.source)))
        if skew is not None and abs(skew.seconds) > _NOTABLE:
            notes.append(_skew_note(skew))
        if (span.source, span.kind) in local:
            notes.append(local[span.source, span.kind])
        if span.source in beside and not (skew is not None and clock.whole_hours(skew.seconds)):
            notes.append(_beside_note(beside[span.source]))
        coverages.append(replace(span, notes=tuple(notes)))
    return coverages


def _beside_note(hours: int) -> str:
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
            "nothing is shifted for it"
        )
    side = "ahead of" if skew.seconds > 0 else "behind"
    return (
        f"the clock is {abs(skew.seconds):.1f} s {side} the remote side's (median of {_samples(skew)}); "
        "nothing is shifted for it"
    )


def _samples(skew: ClockSkew) -> str:
    """Return how many banners, or replies that hold a time, were compared."""
    what = "banner" if skew.source == "banner" else "repl"
    many = skew.samples > 1
    endings = {"banner": ("", "s"), "repl": ("y", "ies")}[what]
    return f"{skew.samples} {what}{endings[many]}"
