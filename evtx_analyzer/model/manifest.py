"""What the collection script of this program says of the machine on which it ran (``manifest.json``)."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evtx_analyzer.model.origin import Origin


class ManifestStep(Struct, frozen=True, kw_only=True):
    """One step of the script: ``status`` is ``ok``, ``failed`` or ``absent`` (there was nothing to take)."""

    name: str
    status: str
    detail: str = ""


class CollectorManifest(Struct, frozen=True, kw_only=True):
    """One run of the script: ``host`` is the machine's name, empty if it is not one that a machine may have.

    ``tz`` is the IANA name of the machine's time zone, empty if the manifest's name of it is not known; ``ended`` is
    when the run ended (UTC). ``completed`` is False if it was stopped. ``left_changed`` are commands that undo changes
    which the script made and could not undo itself.
    """

    origin: Origin
    host: str
    tz: str
    ended: datetime | None
    completed: bool
    steps: tuple[ManifestStep, ...]
    left_changed: tuple[str, ...] = ()
