"""Records as readers yield them, and counts of records that are not yielded one by one.

A record has the cells or the XML of its log and no meaning yet; ``normalize`` makes an event of it. Records that no
rule can match are only counted: ``CountedRecords`` (of an .evtx file), ``CountedRows`` and ``CountedSessions`` (of SMTP
logs). An ``Outcome`` is what a counted session adds to the delivery history.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evtx_analyzer.model.origin import Origin, TimeBasis


class EventRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One Windows event as XML text, from an .evtx file or an XML export; not yet parsed.

    ``time`` is the record header's FILETIME where the container has one. ``record_id`` is None where the
    container does not number its records (the XML may still hold an EventRecordID). ``counted`` is set where the
    record is one of ``CountedRecords`` that came before it.
    """

    origin: Origin
    xml: str
    record_id: int | None = None
    time: datetime | None = None
    counted: bool = False


class CountedRecords(Struct, frozen=True, kw_only=True):
    """Records that are only counted: their ids run from ``origin.record`` to ``last_record`` without gaps.

    ``provider``, ``channel`` and ``host`` are empty for kinds of events that the program does not use. ``event_ids``
    counts the records by event id; ``first`` and ``last`` are the earliest and the latest time (UTC).
    """

    origin: Origin
    last_record: int
    provider: str
    channel: str
    host: str
    first: datetime | None
    last: datetime | None
    event_ids: dict[int, int]


class LogNotice(Struct, frozen=True, kw_only=True):
    """What the System log of a machine says about its CAPI2 log (it was cleared or archived), in words."""

    origin: Origin
    host: str
    time: datetime
    text: str


class LogRow(Struct, frozen=True, kw_only=True, gc=False):
    """One row of a text log with ``#Fields``: values by column name as the log writes it, meaning not yet decoded.

    ``log`` is the header's ``#Log-type`` (``SMTP Send Protocol Log``) or ``W3C``.
    """

    origin: Origin
    log: str
    values: dict[str, str]


class SessionRows(Struct, frozen=True, kw_only=True, gc=False):
    """All rows of one session of a Send log, from the first to the disconnect row, as they stand in one file.

    ``rows`` are the cells of each row in the order of ``columns`` (the nine usual ones). ``lines`` and ``offsets`` are
    the places of the rows in the file, ``origin``.
    """

    origin: Origin
    columns: tuple[str, ...]
    lines: list[int]
    offsets: list[int]
    rows: list[list[str]]


class CountedRows(Struct, frozen=True, kw_only=True):
    """Rows of a log that are only counted: ``first`` and ``last`` are the limits of their times.

    ``log`` is empty for rows of which only the time is used. ``host`` is the machine that all of them name.
    """

    origin: Origin
    log: str
    rows: int
    first: datetime
    last: datetime
    host: str = ""


class RefusedTimes(Struct, frozen=True):
    """How often mail of a connector with a certificate was refused with 5.7.64, and when first and last."""

    connector: str
    thumbprint: str
    count: int
    first: datetime
    last: datetime


class CountedSessions(Struct, frozen=True, kw_only=True):
    """Sessions of one file that went well, as what each adds to the delivery history; their rows are only counted.

    ``local`` is the local endpoint of one of them; all have its address. ``banners`` are the times and texts of the
    first banners of the file. ``refused`` counts the refusals of sessions that were folded while they were read
    (``smtp.refused``), ``skews`` are the seconds by which the log's clock was ahead of that in their replies.
    """

    origin: Origin
    log: str
    local: str
    outcomes: tuple[Outcome, ...]
    banners: tuple[tuple[datetime, str], ...] = ()
    host: str = ""
    refused: tuple[RefusedTimes, ...] = ()
    skews: tuple[float, ...] = ()


class Acceptance(Struct, frozen=True, gc=False):
    """One message that the remote side took: the time of its answer, and the domains of the envelope.

    ``sender_domain`` is empty for MAIL FROM:<> and None where the log does not show MAIL FROM. ``recipient_domains``
    are those of the accepted recipients in lower case, each once, sorted.
    """

    time: datetime
    sender_domain: str | None
    recipient_domains: tuple[str, ...]
    time_basis: TimeBasis = "utc"


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """What one session adds to the delivery history, whether it was refused or not.

    ``tls`` is None where the log does not show whether TLS was used. ``seen_address`` is the client address in the
    remote side's answer to EHLO, empty where there is none. ``online`` is whether the remote side is Exchange Online,
    None where that is not known. ``own_names`` are the names that this side uses for itself: in EHLO and in its
    certificate.
    """

    first: datetime
    connector: str
    thumbprint: str
    tls: bool | None
    seen_address: str
    online: bool | None
    own_names: tuple[str, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
