"""Records to typed events. To add a log kind in a known syntax: one file here, one entry in the tuples below."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from evtx_analyzer.model.events import CertificateFile, Event
from evtx_analyzer.model.manifest import CollectorManifest
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import EventRecord, LogRow
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize import capi2, configuration, iis_smtp, ndr, send_log, stores, tracking
from evtx_analyzer.normalize import supporting as context

# Order: the first that recognizes a row takes it.
ROW_KINDS = (
    (send_log.KIND, send_log.is_send_log, send_log.normalize_send_log),
    (send_log.RECEIVE_KIND, send_log.is_receive_log, send_log.normalize_receive_log),
    (iis_smtp.KIND, iis_smtp.is_iis_smtp, iis_smtp.normalize_iis_smtp),
    (configuration.KIND, configuration.is_configuration, configuration.normalize_configuration),
    (tracking.KIND, tracking.is_tracking, tracking.normalize_tracking),
    (ndr.KIND, ndr.is_ndr, ndr.normalize_ndr),
    (context.CONNECTIVITY, context.is_connectivity, context.normalize_connectivity),
    (context.QUEUE, context.is_queue, context.normalize_queue),
    (context.EVENT_LIST, context.is_event_entry, context.normalize_event_entry),
)
EVENT_KINDS = (
    (capi2.KIND, capi2.is_capi2, capi2.normalize_capi2),
    (context.SCHANNEL, context.is_schannel, context.normalize_schannel),
    (context.TRANSPORT, context.is_transport, context.normalize_transport),
)

_UPPER = bytes(range(256)).upper()
_WORDS = (b"CAPI2", b"SCHANNEL", b"\x7f\x01CHANNEL", b"EXCHANGETRAN")


def is_relevant(xml: str) -> bool:
    """Return whether a record's text may be of a known kind or a notice of the log service, without parsing.

    Each kind's own look asks for one of these words, the log service for the name of the CAPI2 channel.
    """
    folded = xml.casefold()  # some ignore case, and to them "ſ" is an "s"
    return "capi2" in folded or "schannel" in folded or "msexchangetransport" in folded


def may_be_relevant(chunk: bytes) -> bool:
    """Return whether a chunk of an event log may hold a record that ``is_relevant``, told from its bytes.

    Names of providers and channels, and whatever else an event says in words, stand in its own chunk as UTF-16LE or in
    one byte a letter (MS-EVEN6 2.2.12): without NULs both look alike. ``ſ`` is 0x7F 0x01.
    """
    squeezed = chunk.translate(_UPPER, b"\0")
    return any(word in squeezed for word in _WORDS)


def normalize(
    record: EventRecord | LogRow | CertificateFile | StoreEntry | CollectorManifest, zone: ZoneInfo | None = None
) -> tuple[str, Event | Loss] | None:
    """Return the kind and typed event of a record; a Loss where it cannot be read; None for a record of no known kind.

    ``zone`` is that of logs in local time.
    """
    if isinstance(record, CertificateFile):
        return "certificate", record
    if isinstance(record, CollectorManifest):
        return "collector-manifest", record
    if isinstance(record, StoreEntry):
        return stores.KIND, stores.normalize_store_entry(record, zone)
    if isinstance(record, LogRow):
        for kind, recognizes, typed in ROW_KINDS:
            if recognizes(record):
                event = typed(record, zone)
                return (kind, event) if event is not None else None
        return None
    if not is_relevant(record.xml):
        return None
    for kind, recognizes_event, typed_event in EVENT_KINDS:
        if recognizes_event(record) and (found := typed_event(record)) is not None:
            return kind, found
    return None
