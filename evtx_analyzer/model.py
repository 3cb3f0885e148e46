"""What flows between the stages, and what stands in the report: frozen data, no behavior.

The names of the report's parts are the JSON contract (``schema_version`` 1): more may be added, none renamed.
All times are aware UTC ``datetime`` (microseconds; CAPI2's 100 ns digit is cut) and RFC 3339 in JSON.
What there is one of per row is made with ``gc=False``: frozen, so never part of a cycle, and many.
Hex identities (thumbprints, HRESULTs) are upper case without ``0x``.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

from msgspec import Struct, field

Fields = dict[str, tuple[str, ...]]
"""Flat view of an event for Sigma: dotted path of the log's own names -> every value found there."""


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """Where a fact stands: open ``source`` (and ``member`` of an archive) there and find it again.

    ``record`` is an EventRecordID, ``line`` counts from 1, ``offset`` is in bytes from the start of the file.
    """

    source: str
    member: str | None = None
    record: int | None = None
    line: int | None = None
    offset: int | None = None


def place(origin: Origin) -> tuple[str, str, int, int, int]:
    """Sort key of an origin: absent parts come first."""
    return (origin.source, origin.member or "", origin.record or 0, origin.line or 0, origin.offset or 0)


def named(origin: Origin) -> str:
    """A source's name: the file, and behind ``!`` the member."""
    return origin.source if origin.member is None else f"{origin.source}!{origin.member}"


def folder(origin: Origin) -> str:
    """The folder that holds a source, in an archive too; a file that is compressed alone lies where its archive lies.

    Sessions of a protocol log cross the files of one folder.
    """
    return _folder(origin.source, origin.member)


@lru_cache(maxsize=256)
def _folder(source: str, member: str | None) -> str:
    container, _, name = (member or "").rpartition("!")
    container = f"{source}!{container}" if container else source
    if member is None or container.endswith(tuple(f"{name}{end}" for end in (".gz", ".bz2", ".xz"))):
        *outer, last = container.split("!") if member is not None else [source]
        return "!".join([*outer, PurePosixPath(last).parent.as_posix()])
    return f"{container}!{PurePosixPath(name).parent.as_posix()}"


class Loss(Struct, frozen=True, kw_only=True):
    """Something that could not be read; ``extent`` says how much, in words.

    ``first_record`` and ``last_record`` are the EventRecordIDs lost, where they are known.
    """

    origin: Origin
    reason: str
    extent: str
    first_record: int | None = None
    last_record: int | None = None


# ---------------------------------------------------------------------------------------------------- read


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
    """Records that are counted and not given: their ids run from ``origin.record`` to ``last_record`` without holes.

    Without names they are of no kind that anything is read from, and nothing more is told of them.
    ``event_ids`` counts the records by event id; ``first`` and ``last`` are the earliest and the latest time.
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
    """What the System log of a machine says of its CAPI2 log (cleared, archived), in words."""

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

    ``rows`` are the cells of each in the order of ``columns``, the nine usual ones; ``lines`` and ``offsets`` say where
    each stands in ``origin``, the file.
    """

    origin: Origin
    columns: tuple[str, ...]
    lines: list[int]
    offsets: list[int]
    rows: list[list[str]]


class CountedRows(Struct, frozen=True, kw_only=True):
    """Rows of a log that were counted and not given: ``first`` and ``last`` are the limits of their times.

    ``log`` is empty for rows of which nothing is typed. ``host`` is the machine that all of them name.
    """

    origin: Origin
    log: str
    rows: int
    first: datetime
    last: datetime
    host: str = ""


class Routine(Struct, frozen=True):
    """What a session without any failure adds to the delivery history, told by its rows.

    ``accepted`` are the numbers (from 0) of the rows that say that a message was accepted.
    """

    thumbprint: str
    accepted: tuple[int, ...]


class Times(Struct, frozen=True):
    """How often something happened, and when first and last."""

    count: int
    first: datetime
    last: datetime


class RoutineSessions(Struct, frozen=True, kw_only=True):
    """Sessions that ran alike and without any failure, counted and not given; their rows are counted too.

    ``sessions`` are their first rows' times. ``banners`` are time and text of banners at the beginning of the file.
    """

    origin: Origin
    log: str
    connector: str
    local: str
    thumbprint: str
    sessions: Times
    accepted: Times | None
    banners: tuple[tuple[datetime, str], ...] = ()
    host: str = ""


class CountedSessions(Struct, frozen=True, kw_only=True):
    """Sessions of one file that went well: what each adds to the delivery history; their rows are counted, not given.

    ``local`` is the local endpoint of one of them: all have this address. ``banners`` are time and text of banners at
    the beginning of the file.
    """

    origin: Origin
    log: str
    local: str
    outcomes: tuple[Outcome, ...]
    banners: tuple[tuple[datetime, str], ...] = ()
    host: str = ""


# ----------------------------------------------------------------------------------------------- normalize


class Capi2Event(Struct, frozen=True, kw_only=True):
    """One event of Microsoft-Windows-CAPI2/Operational, typed where it is needed, whole in ``fields``.

    ``host`` is the event's Computer as written. ``thumbprint`` is ``Certificate/@fileRef`` without ``.cer``
    (SHA-1, upper case). ``result`` is ``Result/@value`` as a number, None where the event has no Result
    (starts, 42, 90). ``policy`` is ``Policy/@constant``. ``chain_ref`` joins events 11 and 30 of one chain;
    ``chain_refs`` are all that the event names (81 names the chains of the signer and of the time stamp). ``name`` is
    the root element of UserData. ``flags`` is decoded from ``Flags/@value``, ``ignore_flags`` from that of an SSL
    policy. ``status`` is (chainIndex, elementIndex) of event 30. ``target`` is the file of events 81 and 82.
    ``notes`` says where the event contradicts itself or is of an id without a known schema.
    """

    origin: Origin
    time: datetime
    host: str
    event_id: int
    level: int | None
    process_id: int | None
    thread_id: int | None
    process: str
    task_id: str
    sequence: int | None
    chain_ref: str
    thumbprint: str
    subject: str
    server_name: str
    policy: int | None
    policy_name: str
    result: int | None
    chain: tuple[ChainElement, ...] = ()
    chain_error: int | None = None
    certificates: tuple[Certificate, ...] = ()
    fields: Fields = field(default_factory=dict)
    name: str = ""
    channel: str = ""
    user: str = ""
    chain_refs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    ignore_flags: tuple[str, ...] = ()
    auth_type: str = ""
    status: tuple[int | None, int | None] = (None, None)
    engine: str = ""
    usages: tuple[str, ...] = ()
    validation_time: datetime | None = None
    target: str = ""
    revocation: Revocation | None = None
    retrieval: Retrieval | None = None
    notes: tuple[str, ...] = ()


TimeBasis = Literal["utc", "zone", "ambiguous", "wrong-zone", "heading", "unknown"]
"""How a time became UTC: written so (or with an offset), by ``--tz``, by ``--tz`` in the hour that daylight saving
repeats, by a zone that the remote side's clock shows to be wrong, or not at all: the row has no time and stands behind
a ``#Date`` heading of this time (UTC), or the digits are local and no zone is known."""


class SmtpEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One row of an SMTP protocol log, the same for all log kinds.

    ``kind`` is ``send-connector``, ``receive-connector`` or ``iis-smtp``. ``direction`` is the Exchange symbol: ``+``
    connect, ``-`` disconnect, ``>`` we sent, ``<`` we received, ``*`` information. ``scope`` groups rows that may
    belong to one session (the folder of the log and, where the row names it, the host). ``resolution`` is in seconds:
    the true time lies in [time, time + resolution). ``elapsed_ms`` counts from the connect where the log has it.
    ``values`` are the cells as written.
    """

    origin: Origin
    kind: str
    scope: str
    time: datetime
    direction: str
    text: str
    context: str = ""
    host: str = ""
    connector: str = ""
    session: str = ""
    sequence: int | None = None
    local: str = ""
    remote: str = ""
    resolution: float = 0.001
    elapsed_ms: int | None = None
    time_basis: TimeBasis = "utc"
    other_time: datetime | None = None
    values: dict[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> Fields:
        """The cells that say something, by column; made on demand, for few rows are looked at by a signal."""
        absent = ("", "-") if self.kind == "iis-smtp" else ("",)
        return {name: (value,) for name, value in self.values.items() if value not in absent and name[0] != "#"}


class WholeSession(Struct, frozen=True, kw_only=True, gc=False):
    """All rows of one session of a Send log; ``values`` have only those that say no (``4..`` and ``5..``).

    ``origin`` is the file in which they stand.
    """

    origin: Origin
    rows: tuple[SmtpEvent, ...]


class Setting(Struct, frozen=True, kw_only=True):
    """One exported configuration object: the cmdlet that gives it, and its properties as texts.

    ``cut`` names the properties whose values are incomplete, for PowerShell cut a list or a column (``...``).
    """

    origin: Origin
    cmdlet: str
    values: dict[str, str]
    cut: frozenset[str] = frozenset()


class CertificateFile(Struct, frozen=True, kw_only=True):
    """One certificate found in a file of certificates (DER, PEM, PKCS #7, PKCS #12 or ``certutil`` text)."""

    origin: Origin
    certificate: Certificate


class RecipientStatus(Struct, frozen=True, kw_only=True):
    """What became of one recipient: the reply of the remote side as the log keeps it, with its name and address."""

    address: str
    text: str
    remote_name: str = ""
    remote: str = ""


class MessageEvent(Struct, frozen=True, kw_only=True):
    """What a log tells of one message rather than of one session: ``kind`` is ``message-tracking`` or ``ndr``.

    ``layer`` tells apart the rows that one log writes of the same failure (source and event id of tracking).
    ``message_id`` is that of the message that was refused, never that of the report about it. ``address`` is the
    address that ``host`` has in this row: a bridge to logs that name addresses only. ``null_sender`` is True where the
    envelope's return path is ``<>``, False where it is an address, None where the log does not show the envelope: then
    ``sender`` is that of the message's header.
    """

    origin: Origin
    kind: str
    layer: str
    time: datetime
    host: str
    message_id: str
    sender: str
    recipients: tuple[RecipientStatus, ...]
    session: str = ""
    connector: str = ""
    address: str = ""
    remote: str = ""
    remote_name: str = ""
    resolution: float = 0.001
    time_basis: TimeBasis = "utc"
    other_time: datetime | None = None
    fields: Fields = field(default_factory=dict)
    null_sender: bool | None = None


class ContextEvent(Struct, frozen=True, kw_only=True):
    """What stands beside a refusal and proves nothing alone.

    ``kind`` is ``schannel``, ``exchange-transport``, ``connectivity`` or ``queue``; ``code`` is the event id or the
    reply code; ``session`` is the Send connector session that a connectivity row belongs to.
    """

    origin: Origin
    kind: str
    time: datetime | None
    host: str
    code: str
    title: str
    text: str
    session: str = ""
    time_basis: TimeBasis = "utc"
    fields: Fields = field(default_factory=dict)


Event = (
    Capi2Event
    | SmtpEvent
    | WholeSession
    | MessageEvent
    | ContextEvent
    | Setting
    | CertificateFile
    | RoutineSessions
    | CountedSessions
)


class Match(Struct, frozen=True, kw_only=True, gc=False):
    """An event together with the names of all signals that it matches (none is allowed: context of a match).

    ``rows`` are the matches of a whole session's rows.
    """

    event: Event
    signals: tuple[str, ...]
    rows: tuple[Match, ...] = ()


class Acceptance(Struct, frozen=True, gc=False):
    """One message that the remote side took: when it answered, and whose domains the envelope names.

    ``sender_domain`` is empty for MAIL FROM:<> and None where the log does not show MAIL FROM. ``recipient_domains``
    are those of the accepted recipients, folded, each once, sorted.
    """

    time: datetime
    sender_domain: str | None
    recipient_domains: tuple[str, ...]
    time_basis: TimeBasis = "utc"


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """What one session adds to the delivery history, whether it was refused or not.

    ``tls`` is None where the log does not show whether TLS was used. ``seen_address`` is the client address in the
    remote side's answer to EHLO, empty where there is none. ``online`` is whether the remote side is Exchange Online,
    None where nothing tells. ``own_names`` are those by which this side calls itself: its name in EHLO and the names of
    its certificate.
    """

    first: datetime
    connector: str
    thumbprint: str
    tls: bool | None
    seen_address: str
    online: bool | None
    own_names: tuple[str, ...] = ()
    accepted: tuple[Acceptance, ...] = ()


# ----------------------------------------------------------------------------------------------- correlate

HostBasis = Literal["row", "option", "folder", "address", "assumed", "unknown"]
LinkBasis = Literal["thumbprint", "subject", "time"]
HostRelation = Literal["same", "assumed", "unknown", "different"]
Grade = Literal["probable", "possible", "coincident", "contradicted", "no-evidence"]
Status = Literal["read", "partial", "unrecognized", "not-read"]
OperationKind = Literal["chain", "trust", "catalog", "revocation", "retrieval", "private-key", "certificates", "other"]


class Certificate(Struct, frozen=True, kw_only=True, gc=False):
    """What a log says of a certificate; ``thumbprint`` is SHA-1. Absent parts are empty or None.

    ``issuer_urls`` are the places of the issuer's certificate (Authority Information Access, RFC 5280 4.2.2.1).
    """

    thumbprint: str = ""
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    alternate_names: tuple[str, ...] = ()
    subject_key_id: str = ""
    authority_key_id: str = ""
    usages: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()


class Revocation(Struct, frozen=True, kw_only=True):
    """What events 41 and 42 say of one certificate; ``result`` as ``Operation.result``, empty for event 42.

    ``location`` is TvoCache, UrlCache or Wire: where the list or answer came from. ``rejected`` is the check that a
    list did not pass (event 42: ``CheckTimeValidity``). ``object`` is the file name of the CRL or OCSP answer.
    """

    event_id: int
    time: datetime
    thumbprint: str
    subject: str
    issuer_thumbprint: str
    issuer: str
    result: str
    result_name: str
    reason: str
    location: str
    url: str
    object: str
    rejected: str
    origin: Origin


class Attempt(Struct, frozen=True, kw_only=True):
    """One ``Action`` inside a retrieval; its error does not mean that the retrieval failed: it may have gone on."""

    name: str
    parameter: str
    error: str
    error_name: str


class Retrieval(Struct, frozen=True, kw_only=True):
    """What events 51 (``cache``) and 53 (``network``) say of one URL; ``answer`` is the first line of the response."""

    event_id: int
    time: datetime
    where: Literal["cache", "network"]
    url: str
    object: str
    result: str
    result_name: str
    attempts: tuple[Attempt, ...]
    answer: str
    origin: Origin


class Step(Struct, frozen=True, kw_only=True, gc=False):
    """One event of an operation, in the order of SeqNumber; ``depth`` counts the operations it lies within."""

    event_id: int
    name: str
    time: datetime
    task_id: str
    sequence: int | None
    depth: int
    result: str
    result_name: str
    text: str
    origin: Origin


class ChainElement(Struct, frozen=True, kw_only=True, gc=False):
    """One ``ChainElement`` of event 11, leaf first; status values decoded from ``@value`` (hex)."""

    thumbprint: str
    subject: str
    error: int
    errors: tuple[str, ...]
    info: int
    infos: tuple[str, ...]
    self_signed: bool
    signature: str = ""
    key: str = ""
    revocation_result: str = ""
    revocation_result_name: str = ""


class Operation(Struct, frozen=True, kw_only=True, gc=False):
    """One operation of CAPI2, told by all its events (joined by chainRef first, then TaskId and SeqNumber).

    ``kind`` is ``chain`` for a certificate check (30 with its 11, or an 11 alone); what is in no chain's task stands
    for itself: ``trust`` (80, 81), ``catalog`` (82), ``revocation`` (40 to 42), ``retrieval`` (50 to 53),
    ``private-key`` (70), ``certificates`` (90), ``other``. ``parent`` is the id of the trust operation that a chain
    was checked for. ``complete`` is False where an event that must be there is not in the export; ``notes`` says
    which, and where events contradict themselves. ``steps`` are all its events.

    ``result`` is that of event 30 (upper-case hex; ``0`` is success), or of event 11 where there is no event 30.
    ``chain_status`` holds the CERT_TRUST_* error names of event 11's whole chain and is empty both for a good
    chain and where event 11 is not in the export: ``missing_events`` tells which.
    """

    id: str
    host: str
    process: str
    process_id: int | None
    time: datetime
    thumbprint: str
    subject: str
    policy: str
    result: str
    result_name: str
    chain_ref: str
    task_id: str
    chain_result: str
    chain_status: tuple[str, ...]
    elements: tuple[ChainElement, ...]
    server_name: str
    certificate: Certificate | None
    missing_issuer: Certificate | None
    missing_events: tuple[int, ...]
    signals: tuple[str, ...]
    origin: Origin
    chain_origin: Origin | None
    chain_time: datetime | None
    origins: tuple[Origin, ...]
    kind: OperationKind = "chain"
    complete: bool = True
    notes: tuple[str, ...] = ()
    parent: str | None = None
    user: str = ""
    target: str = ""
    flags: tuple[str, ...] = ()
    chain_flags: tuple[str, ...] = ()
    ignore_flags: tuple[str, ...] = ()
    auth_type: str = ""
    engine: str = ""
    usages: tuple[str, ...] = ()
    end: datetime | None = None
    revocations: tuple[Revocation, ...] = ()
    retrievals: tuple[Retrieval, ...] = ()
    steps: tuple[Step, ...] = ()
    element_index: int | None = None
    missing_issuer_urls: tuple[str, ...] = ()
    missing_issuer_role: Literal["root", "intermediate", "unknown"] | None = None


class Rejection(Struct, frozen=True, kw_only=True, gc=False):
    """One message refused with 5.7.64 and what its session tells: handshake, certificates, sender, recipient.

    The same refusal found in several logs is one rejection: ``origins`` lists all places, the best first, ``kinds``
    the kinds of those logs. ``rcpt_to`` holds several addresses (joined by ``; ``) where one reply refused them all.
    ``from_start`` says that the log holds every row of the session from the first one to the refusal, so that what is
    not in it did not happen.
    ``seen_address`` is the address from which the remote side saw this one (its answer to EHLO).
    ``null_sender`` is True where the log shows MAIL FROM:<>, False where it shows a sender, None where it shows
    neither; ``mail_from`` is empty where it is not False. ``ehlo`` are the keywords of the remote side's answer to the
    first EHLO.
    ``certificate_name`` and ``certificate_verdict`` are what the reply says of the certificate that arrived
    (``app01 is untrustedroot``). ``remote_host`` and ``remote_clock`` are what Exchange Online writes in brackets.
    Only a rejection whose ``time_basis`` is ``utc`` or ``zone`` is paired by time; ``other_time`` is the second reading
    of an ambiguous one, and of a local one whose day and month can be read both ways.
    """

    id: str
    time: datetime
    host: str
    host_basis: HostBasis
    kind: str
    connector: str
    session: str
    local_endpoint: str
    remote_endpoint: str
    remote_name: str
    helo: str
    starttls: bool
    handshake_time: datetime | None
    tls: str
    sent: Certificate | None
    received: Certificate | None
    mail_from: str
    rcpt_to: str
    message_id: str
    stage: str
    reply: str
    attribution: str
    untrusted_root_hint: bool
    resolution: float
    signals: tuple[str, ...]
    origin: Origin
    origins: tuple[Origin, ...]
    kinds: tuple[str, ...] = ()
    seen_address: str = ""
    from_start: bool = False
    remote_host: str = ""
    remote_clock: datetime | None = None
    tls_error: str = ""
    time_basis: TimeBasis = "utc"
    other_time: datetime | None = None
    null_sender: bool | None = None
    ehlo: tuple[str, ...] = ()
    certificate_name: str = ""
    certificate_verdict: str = ""


class Link(Struct, frozen=True, kw_only=True, gc=False):
    """A rejection and a chain operation that belong together, and why.

    ``delta_seconds`` is the operation's time minus the anchor (the TLS handshake, else the refusal):
    negative means that CAPI2 wrote first. ``broken_by`` is a later success for the same certificate under
    the same policy before the refusal.
    """

    rule: str
    rejection: str
    operation: str
    basis: LinkBasis
    delta_seconds: float
    anchor: Literal["handshake", "refusal"]
    host: HostRelation
    broken_by: Origin | None = None


class IncidentCertificate(Struct, frozen=True, kw_only=True):
    """The certificate an incident is about: the one sent, else the one of the linked operation."""

    thumbprint: str
    subject: str
    issuer: str


class ReplyText(Struct, frozen=True, kw_only=True):
    """What the remote side answered: ``text`` is the first of ``count`` replies that say the same, as written.

    Replies say the same where they differ in nothing but what varies for each message: host, clock and session id in
    the bracket, message ids and addresses of mailboxes. The bases are those of ``first`` and ``last``, which are of
    replies whose UTC time is known, where there are any; ``unknown_zone_count`` counts the others.
    """

    text: str
    count: int
    first: datetime
    last: datetime
    first_basis: TimeBasis = "utc"
    last_basis: TimeBasis = "utc"
    unknown_zone_count: int = 0


class Incident(Struct, frozen=True, kw_only=True):
    """Rejections of one host, connector and certificate sent; ``senders`` and ``recipients`` are those affected.

    ``start`` and ``end`` are of the rejections whose UTC time is known, where there are any; ``unknown_zone_count``
    counts the others (their time is local, or wrong). ``excerpt_count`` counts rejections whose session lacks rows in
    its protocol log. ``replies`` are the distinct replies in the order of their first time, ``more_replies`` counts
    the rejections with a reply that is not among them.
    """

    id: str
    host: str
    connector: str
    kind: str
    start: datetime
    end: datetime
    rejection_count: int
    certificate: IncidentCertificate | None
    rejections: tuple[Rejection, ...]
    links: tuple[Link, ...]
    grades: dict[str, Grade] = field(default_factory=dict)
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    start_basis: TimeBasis = "utc"
    end_basis: TimeBasis = "utc"
    unknown_zone_count: int = 0
    excerpt_count: int = 0
    replies: tuple[ReplyText, ...] = ()
    more_replies: int = 0


class Delivery(Struct, frozen=True, kw_only=True):
    """What one host, connector and certificate sent achieved over time (first and last of each, and counts).

    ``accepted`` counts all messages that the remote side took, ``accepted_outside`` those among them that show that
    relaying worked: Exchange Online took them for recipients outside of the own tenant. ``tls_error`` is the error of
    the last TLS negotiation that failed.
    """

    host: str
    connector: str
    kind: str
    thumbprint: str
    sessions: int
    first_session: datetime | None
    last_session: datetime | None
    accepted: int
    first_accepted: datetime | None
    last_accepted: datetime | None
    refused: int
    first_refused: datetime | None
    last_refused: datetime | None
    tls_failures: int = 0
    first_tls_failure: datetime | None = None
    last_tls_failure: datetime | None = None
    tls_error: str = ""
    accepted_outside: int = 0
    first_accepted_outside: datetime | None = None
    last_accepted_outside: datetime | None = None


class CommonTrait(Struct, frozen=True, kw_only=True):
    """What all refusals share, beside how much of the accepted mail has it too: what only refused mail has is a clue.

    ``trait`` is one of ``null-sender``, ``sender-domain``, ``outside-recipients``, ``host``, ``connector``,
    ``certificate``, ``no-tls`` and ``seen-address``; ``value`` is the domain, name, thumbprint or address, empty for a
    trait that has none. ``refused`` counts the refusals (every one has the trait), ``accepted`` the accepted messages
    that have it too, of the ``compared`` accepted messages whose logs show it or its absence. All messages of the same
    logs are compared; mail to recipients of the own tenant is left out, for it is accepted whatever the attribution.
    """

    trait: str
    value: str
    refused: int
    accepted: int
    compared: int


class OtherError(Struct, frozen=True, kw_only=True):
    """A failure that is not 5.7.64, counted by kind of log, host and code; listed so that nobody takes it for one.

    ``code`` is reply code and enhanced status (``451 4.4.62``), ``meaning`` is empty where the code is no known
    look-alike, ``text`` is the first reply as written.
    """

    kind: str
    host: str
    code: str
    attribution: str
    meaning: str
    text: str
    count: int
    first: datetime
    last: datetime
    origin: Origin


class Context(Struct, frozen=True, kw_only=True):
    """Supporting events of one kind, host and code: how often, first and last, and where the first one stands."""

    kind: str
    host: str
    code: str
    title: str
    text: str
    count: int
    first: datetime | None
    last: datetime | None
    origin: Origin


class ClockSkew(Struct, frozen=True, kw_only=True):
    """How far a log's clock is ahead of the remote side's own (seconds, median), by the remote clock in banners
    (``banner``, true to a second) or in brackets (``bracket``, true to a millisecond less the way of the reply).
    """

    host: str
    kind: str
    folder: str
    source: Literal["banner", "bracket"]
    samples: int
    seconds: float


# ------------------------------------------------------------------------------------------------- report


class Evidence(Struct, frozen=True, kw_only=True, gc=False):
    """One sentence of evidence and where it stands; ``time_basis`` is that of ``time``."""

    text: str
    origin: Origin | None
    time: datetime | None = None
    time_basis: TimeBasis = "utc"


class Missing(Struct, frozen=True, kw_only=True):
    """Evidence that would decide and is not in the input, with the commands that collect it."""

    text: str
    collect: tuple[str, ...]


class Remedy(Struct, frozen=True, kw_only=True):
    """What to do, how to see that it worked, and who says so. A line that begins with ``> `` is a command."""

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
    """A bundle of Microsoft's ExchangeLogCollector in the input.

    ``contents`` are its parts; ``markers`` the files by which the collector says that it got nothing somewhere;
    ``never_collected`` what it takes on no server, so that its absence tells nothing.
    """

    path: str
    collector: str
    server: str
    contents: tuple[str, ...]
    markers: tuple[str, ...]
    never_collected: tuple[str, ...]


class Gap(Struct, frozen=True, kw_only=True):
    """EventRecordIDs that an export does not hold; ``kind`` says whether they were filtered out or lost."""

    first_record: int
    last_record: int
    kind: Literal["filtered-or-cleared", "lost"]


class Coverage(Struct, frozen=True, kw_only=True):
    """The span one source covers, so that "no event" is told from "not in the export".

    ``event_ids`` counts the records by EventID. ``duplicates`` are records that another source already gave.
    ``time_basis`` is ``unknown`` or ``heading`` where any of its rows has a time of this basis: ``first`` and ``last``
    are not known to be UTC. ``read`` is how many of the records were read one by one; of the others nothing is told but
    that they are there and what their sessions add to the delivery history. None where it is not known.
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
