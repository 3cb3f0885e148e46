"""Notices of the event log service in the System log that another log was cleared, or moved into an archive.

Provider Microsoft-Windows-Eventlog, UserData ``LogFileCleared`` (event 104) and ``AutoBackup`` (event 105), both with
the ``Channel`` of that log. They tell a log that was cleared from one that has wrapped.
"""

from __future__ import annotations

from evtx_analyzer import clock
from evtx_analyzer.model.records import EventRecord, LogNotice
from evtx_analyzer.normalize.windows_event import child, local_name, parse, text
from evtx_analyzer.wincrypt import CAPI2_CHANNEL

_PROVIDER = "Microsoft-Windows-Eventlog"


def log_notice(record: EventRecord) -> LogNotice | None:
    """Return what the record says about the CAPI2 Operational log; None for any other record."""
    if CAPI2_CHANNEL not in record.xml or _PROVIDER not in record.xml:
        return None
    event = parse(record.xml)
    if event is None or event.user_data is None or event.provider != _PROVIDER:
        return None
    body, time = event.user_data, event.time or record.time
    if time is None or text(child(body, "Channel")).casefold() != CAPI2_CHANNEL.casefold():
        return None
    if local_name(body) == "LogFileCleared":
        user = "\\".join(filter(None, (text(child(body, "SubjectDomainName")), text(child(body, "SubjectUserName")))))
        notice = f"the log was cleared at {clock.as_text(time)}{f' by {user}' if user else ''}"
    elif local_name(body) == "AutoBackup":
        name = text(child(body, "BackupPath")).rpartition("\\")[2]
        notice = f"the log was full at {clock.as_text(time)} and was put into {name or 'an archive'}"
    else:
        return None
    return LogNotice(origin=record.origin, host=event.computer, time=time, text=notice)
