"""Operations, rejections, links and incidents: what correlation makes of the events.

All of these are in the report, so their names are the JSON contract (``schema_version`` 1): names may be added, none is
renamed. All times are aware UTC ``datetime`` (microseconds; CAPI2's 100 ns digit is cut) and RFC 3339 in JSON.
Hex identities (thumbprints, HRESULTs) are upper case without ``0x``. Classes of which a case has many are made with
``gc=False``: they are frozen, so they are never part of a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, get_args

from msgspec import UNSET, Struct, UnsetType, field

from evtx_analyzer.model.alike import Alike, in_order
from evtx_analyzer.model.certificate import Certificate, ChainElement, Retrieval, Revocation
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.model.origin import Origin, TimeBasis
from evtx_analyzer.model.rejection import HostBasis as HostBasis  # noqa: PLC0414  re-exported
from evtx_analyzer.model.rejection import Rejection as Rejection  # noqa: PLC0414  re-exported

LinkBasis = Literal["thumbprint", "subject", "time"]
"""What joins a refusal with a check, the strongest first; ``LINK_BASES`` is this order."""
LINK_BASES: tuple[LinkBasis, ...] = get_args(LinkBasis)
PASSED = "0"
"""``result`` of an operation that passed (S_OK)."""
HostRelation = Literal["same", "assumed", "unknown", "different"]
OperationKind = Literal["chain", "trust", "catalog", "revocation", "retrieval", "private-key", "certificates", "other"]


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


class Operation(Struct, frozen=True, kw_only=True, gc=False):
    """One operation of CAPI2, made of all its events (joined by chainRef first, then TaskId and SeqNumber).

    ``kind`` is ``chain`` for a certificate check (30 with its 11, or an 11 alone); events in no chain's task are
    operations of their own: ``trust`` (80, 81), ``catalog`` (82), ``revocation`` (40 to 42), ``retrieval`` (50 to 53),
    ``private-key`` (70), ``certificates`` (90), ``other``. ``parent`` is the id of the trust operation that a chain
    was checked for. ``complete`` is False where an event that must be there is not in the export; ``notes`` says
    which, and where events contradict themselves. ``steps`` are its ``event_count`` events; of very many there are only
    some, as a note says.

    ``result`` is that of event 30 (upper-case hex; ``0`` is success), or of event 11 where there is no event 30.
    ``chain_status`` holds the CERT_TRUST_* error names of event 11's whole chain and is empty both for a good
    chain and where event 11 is not in the export: ``missing_events`` says which of the two it is.
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
    event_count: int = 0
    element_index: int | None = None
    missing_issuer_urls: tuple[str, ...] = ()
    missing_issuer_role: Literal["root", "intermediate", "unknown"] | None = None


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
    """A reply of the remote side: ``text`` is the first of ``count`` replies that say the same, as written.

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


class Folded(Struct, frozen=True):
    """The refusals of an incident that are not in its ``rejections``, and the links of all its refusals."""

    alike: tuple[Alike, ...]
    links: tuple[Link, ...]


class Incident(Struct, frozen=True, kw_only=True):
    """Rejections of one host, connector and certificate sent; ``senders`` and ``recipients`` are those affected.

    ``start`` and ``end`` are of the rejections whose UTC time is known, where there are any; ``unknown_zone_count``
    counts the others (their time is local, or wrong). ``excerpt_count`` counts rejections whose session lacks rows in
    its protocol log. ``replies`` are the distinct replies in the order of their first time, ``more_replies`` counts
    the rejections with a reply that is not among them. ``folded_count`` counts the rejections that are alike and not in
    ``rejections``, which then holds those that ``correlate.excerpt`` chooses: the first, the last, and one of every
    kind. ``links`` are those of ``rejections``. ``folded`` holds the others while the program runs, and is not in the
    JSON report.
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
    folded_count: int = 0
    folded: Folded | UnsetType = UNSET

    @property
    def alike(self) -> tuple[Alike, ...]:
        """The refusals that are not in ``rejections``; none in a report that was read from JSON."""
        return () if self.folded is UNSET else self.folded.alike

    @property
    def every_link(self) -> tuple[Link, ...]:
        """The links of all refusals, also of those that are not in ``rejections``."""
        return self.links if self.folded is UNSET else self.folded.links

    def every_rejection(self) -> Iterator[Rejection]:
        """Yield all refusals in the order of time, whole, also those that are not in ``rejections``."""
        return in_order(self.rejections, self.alike) if self.alike else iter(self.rejections)


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
    """What all refusals share, and how much of the accepted mail shares it: what only refused mail has is a clue.

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
    """A failure that is not 5.7.64, counted by kind of log, host and code; it is listed lest it be taken for one.

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
    """Supporting events of one kind, host and code: their number, first and last time, and the place of the first."""

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
