"""The conclusions of a report: findings with their evidence, the verdict, and the account of what was read.

The names are the JSON contract, as those in ``evidence``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from evtx_analyzer.model.origin import Loss, Origin, TimeBasis

Grade = Literal["confirmed", "probable", "possible", "coincident", "contradicted", "no-evidence"]
RepairResult = Literal["fixed", "still-refused", "not-shown"]
Status = Literal["read", "partial", "unrecognized", "not-read"]


class Evidence(Struct, frozen=True, kw_only=True, gc=False):
    """One sentence of evidence and its place in the input; ``time_basis`` is that of ``time``."""

    text: str
    origin: Origin | None
    time: datetime | None = None
    time_basis: TimeBasis = "utc"


class Missing(Struct, frozen=True, kw_only=True):
    """Evidence that would decide and is not in the input, with the commands that collect it."""

    text: str
    collect: tuple[str, ...]


class Remedy(Struct, frozen=True, kw_only=True):
    """What to do, how to see that it worked, and the sources. A line that begins with ``> `` is a command."""

    steps: tuple[str, ...]
    verify: tuple[str, ...]
    references: tuple[str, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """One cause weighed against all incidents; ``incidents`` are the ids of those that it may explain."""

    cause: str
    grade: Grade
    title: str
    why: str
    supports: tuple[Evidence, ...]
    contradicts: tuple[Evidence, ...]
    missing: tuple[Missing, ...]
    remedy: Remedy | None
    incidents: tuple[str, ...]


class IncidentRepair(Struct, frozen=True, kw_only=True):
    """What later logs show of one incident: the change that ended it, refusals that go on, or neither.

    ``changed`` and ``accepted`` are the evidence that the state which the cause names has changed and that mail to
    outside recipients was accepted afterwards; ``refused`` that mail is still refused; ``missing`` is what to collect
    where neither is shown.
    """

    incident: str
    cause: str
    result: RepairResult
    changed: tuple[Evidence, ...] = ()
    accepted: tuple[Evidence, ...] = ()
    refused: tuple[Evidence, ...] = ()
    missing: tuple[Missing, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """The best supported cause; ``unexplained`` where none reaches ``possible``, None without a rejection."""

    cause: str | None
    grade: Grade | None
    title: str
    summary: str


class SourceStatus(Struct, frozen=True, kw_only=True):
    """What became of one input file or member; ``duplicate_of`` names the one that was read instead of it."""

    path: str
    kind: str
    sha256: str
    size: int
    status: Status
    reason: str
    duplicate_of: str = ""


class CollectorBundle(Struct, frozen=True, kw_only=True):
    """A bundle of Microsoft's ExchangeLogCollector, or of this program's own script, in the input.

    ``contents`` are its parts; ``markers`` the files in which the collector says where it found nothing;
    ``never_collected`` what it collects from no server, so that its absence shows nothing. ``failed`` is what this
    program's script could not collect, or could not undo, on this server.
    """

    path: str
    collector: str
    server: str
    contents: tuple[str, ...]
    markers: tuple[str, ...]
    never_collected: tuple[str, ...]
    failed: tuple[str, ...] = ()


class Gap(Struct, frozen=True, kw_only=True):
    """EventRecordIDs that an export does not hold; ``kind`` says whether they were filtered out or lost."""

    first_record: int
    last_record: int
    kind: Literal["filtered-or-cleared", "lost"]


class Coverage(Struct, frozen=True, kw_only=True):
    """The span that one source covers, which keeps "no event" apart from "not in the export".

    ``event_ids`` counts the records by EventID. ``duplicates`` counts records that another source holds too.
    ``time_basis`` is ``unknown`` or ``heading`` where any of its rows has a time of this basis: then ``first`` and
    ``last`` are not known to be UTC. ``read`` is how many records were read one by one, None if that is not known; the
    others are counted, and their sessions are in the delivery history.
    """

    source: str
    kind: str
    host: str
    first: datetime | None
    last: datetime | None
    records: int
    gaps: tuple[Gap, ...] = ()
    first_record: int | None = None
    last_record: int | None = None
    notes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    event_ids: dict[int, int] = field(default_factory=dict)
    per_minute: float | None = None
    duplicates: int = 0
    time_basis: TimeBasis = "utc"
    read: int | None = None


class NotListed(Struct, frozen=True, kw_only=True):
    """A list of a saved report that does not hold everything: ``listed`` of ``count`` members; ``text`` says so.

    ``list`` is the name of the list (``stores[].certificates`` for those of all stores together). ``rejections`` are
    those of the incidents that are listed, and of all.
    """

    list: str
    listed: int
    count: int
    text: str


class Repair(Struct, frozen=True, kw_only=True):
    """Whether the fix worked: ``result`` is the worst of the incidents' results.

    The other fields are of ``evtx-analyzer verify``, which judges by later logs: what these say of refusals in them
    (``verdict``), and what was read and lost. They are empty where one input holds both before and after.
    """

    result: RepairResult
    incidents: tuple[IncidentRepair, ...]
    verdict: Verdict | None = None
    sources: tuple[SourceStatus, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    losses: tuple[Loss, ...] = ()
