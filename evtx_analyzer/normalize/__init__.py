"""Records to typed events. To add a log kind in a known syntax: one file here, one entry in ``kinds.py``."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from evtx_analyzer.model.events import CertificateFile, Event
from evtx_analyzer.model.manifest import CollectorManifest
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.records import EventRecord, LogRow
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize import stores
from evtx_analyzer.normalize.kinds import EVENT_KINDS, ROW_KINDS

_UPPER = bytes(range(256)).upper()
_WORDS = tuple(kind.word for kind in EVENT_KINDS)
_SEARCHED = tuple(text for kind in EVENT_KINDS for text in kind.searched)


def is_relevant(xml: str) -> bool:
    """Return whether a record's text may be of a known kind or a notice of the log service, without parsing.

    Every kind recognizes its records by one of these words; notices of the log service name the CAPI2 channel.
    """
    folded = xml.casefold()  # some kinds ignore case, and by Unicode's rules "ſ" then equals "s"
    return any(word in folded for word in _WORDS)


def may_be_relevant(chunk: bytes) -> bool:
    """Return whether a chunk of an event log may hold a record that ``is_relevant``, without decoding it.

    Names of providers and channels, and all other texts of an event, stand in its own chunk as UTF-16LE or with one
    byte a letter (MS-EVEN6 2.2.12): without NULs both look alike. ``ſ`` is 0x7F 0x01.
    """
    squeezed = chunk.translate(_UPPER, b"\0")
    return any(text in squeezed for text in _SEARCHED)


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
        for kind in ROW_KINDS:
            if kind.recognizes(record):
                event = kind.typed(record, zone)
                return (kind.name, event) if event is not None else None
        return None
    if not is_relevant(record.xml):
        return None
    for event_kind in EVENT_KINDS:
        if (typed := event_kind.typed(record)) is not None:
            return event_kind.name, typed
    return None
