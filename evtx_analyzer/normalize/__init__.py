"""Records to typed events. To add a log kind in a known syntax: one file here, one entry in ``normalize``'s tuples."""

from __future__ import annotations

from evtx_analyzer.model import CertificateFile, Event, EventRecord, LogRow, Loss
from evtx_analyzer.normalize import capi2, configuration, iis_smtp, send_log

# Order: the first that recognizes a row takes it.
ROW_KINDS = (
    (send_log.KIND, send_log.is_send_log, send_log.normalize_send_log),
    (iis_smtp.KIND, iis_smtp.is_iis_smtp, iis_smtp.normalize_iis_smtp),
    (configuration.KIND, configuration.is_configuration, configuration.normalize_configuration),
)
EVENT_KINDS = ((capi2.KIND, capi2.is_capi2, capi2.normalize_capi2),)


def normalize(record: EventRecord | LogRow | CertificateFile) -> tuple[str, Event | Loss] | None:
    """Kind and typed event of a record; a Loss where it cannot be read; None for a record of no known kind."""
    if isinstance(record, CertificateFile):
        return "certificate", record
    if isinstance(record, LogRow):
        for kind, recognizes, typed in ROW_KINDS:
            if recognizes(record):
                return kind, typed(record)
        return None
    for kind, recognizes_event, typed_event in EVENT_KINDS:
        if recognizes_event(record) and (event := typed_event(record)) is not None:
            return kind, event
    return None
