"""Typed events: one class for each kind of fact that a log states, whatever its format.

The names of the fields are this program's; ``fields`` or ``values`` hold what the log wrote under its own names, on
which signals run. ``Match`` is an event with the signals that it matches.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from evtx_analyzer.model.certificate import Certificate, ChainElement, Retrieval, Revocation
from evtx_analyzer.model.manifest import CollectorManifest
from evtx_analyzer.model.origin import Fields, Origin, TimeBasis
from evtx_analyzer.model.records import CountedSessions
from evtx_analyzer.model.stores import StoreEntry


class Capi2Event(Struct, frozen=True, kw_only=True):
    """One event of Microsoft-Windows-CAPI2/Operational: typed as far as the program needs it, whole in ``fields``.

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


class SmtpEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One row of an SMTP protocol log, the same for all log kinds.

    ``kind`` names the kind of log (``normalize/kinds.py``). ``direction`` is the Exchange symbol: ``+``
    connect, ``-`` disconnect, ``>`` sent, ``<`` received, ``*`` information. ``scope`` groups rows that may
    belong to one session (the folder of the log and, where the row names it, the host). ``resolution`` is in seconds:
    the true time lies in [time, time + resolution). ``elapsed_ms`` counts from the connect where the log has it.
    ``values`` are the cells as written; ``dash_is_absent`` says that ``-`` is an empty cell in this log.
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
    dash_is_absent: bool = False

    @property
    def fields(self) -> Fields:
        """The cells that are not empty, by column; made on demand, because signals look at few rows."""
        absent = ("", "-") if self.dash_is_absent else ("",)
        return {name: (value,) for name, value in self.values.items() if value not in absent and name[0] != "#"}


class WholeSession(Struct, frozen=True, kw_only=True, gc=False):
    """All rows of one session of a Send log, from the file ``origin``.

    Only rows with a negative reply (``4..`` and ``5..``) have ``values``: signals look at no others.
    """

    origin: Origin
    rows: tuple[SmtpEvent, ...]


class Setting(Struct, frozen=True, kw_only=True):
    """One exported configuration object: the cmdlet that returns it, and its properties as texts.

    ``cut`` names the properties whose values PowerShell cut short in a list or a column (``...``). ``created`` and
    ``changed`` (the last time) are aware UTC, of an unknown zone the latest that the digits can mean; None where the
    export does not tell.
    """

    origin: Origin
    cmdlet: str
    values: dict[str, str]
    cut: frozenset[str] = frozenset()
    created: datetime | None = None
    changed: datetime | None = None


class CertificateFile(Struct, frozen=True, kw_only=True):
    """One certificate found in a file of certificates (DER, PEM, PKCS #7 or PKCS #12).

    ``encoded`` is its DER.
    """

    origin: Origin
    certificate: Certificate
    encoded: bytes = b""


class RecipientStatus(Struct, frozen=True, kw_only=True):
    """The reply for one recipient as the log holds it, with the name and address of the remote side."""

    address: str
    text: str
    remote_name: str = ""
    remote: str = ""


class MessageEvent(Struct, frozen=True, kw_only=True):
    """One message, where a log speaks of messages and not of sessions: message tracking, a non-delivery report.

    ``layer`` tells apart the rows that one log writes of the same failure (source and event id of tracking).
    ``message_id`` is that of the message that was refused, never that of the report about it. ``address`` is the
    address of ``host`` in this row, by which logs that name addresses only are assigned to it. ``null_sender`` is True
    where the envelope's return path is ``<>``, False where it is an address, None where the log does not show the
    envelope: then ``sender`` is that of the message's header. ``by_exchange_online`` is a report that Exchange Online
    itself wrote: no server of the input delivered that message, whichever machine the input is of.
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
    by_exchange_online: bool = False


class ContextEvent(Struct, frozen=True, kw_only=True):
    """A supporting event, which proves nothing alone.

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
    | StoreEntry
    | CollectorManifest
    | CountedSessions
)


class Match(Struct, frozen=True, kw_only=True, gc=False):
    """An event with the names of all signals that it matches; there may be none, for events around a match.

    ``rows`` are the matches of a whole session's rows.
    """

    event: Event
    signals: tuple[str, ...]
    rows: tuple[Match, ...] = ()
