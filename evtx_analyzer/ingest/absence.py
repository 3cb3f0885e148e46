"""Files that should hold a log and hold nothing, as a crash, a sparse copy or a failed transfer leaves them.

Only logs that were read show that no refusal is in the input. So an empty or zeroed file counts as a loss where its
name or its folder says that it is a log, and so does any file that is named as an event log, or as Exchange and IIS
name theirs, and is none.
"""

from __future__ import annotations

import re

from evtx_analyzer.ingest.examine import ExaminedSource

_LOG = re.compile(
    r"\.(?:evtx?|log|xml|csv|jsonl?|eml|msg|zip|7z|cab|tar|tgz|gz|bz2|xz)$"
    r"|(?:^|[/!\\])(?:SmtpSend|SmtpReceive|ProtocolLog|MessageTracking|Connectivity|SMTPSVC\d{1,5}|TransportRoles|winevt)"
    r"[/\\]",
    re.IGNORECASE,
)
# As Exchange and IIS name their logs.
_SERVER_LOG = re.compile(
    r"(?:^|[/!\\])(?:(?:SEND|RECV|MSGTRK[A-Z]{0,3}|CONNECTLOG)\d{8,10}-\d{1,9}|(?:u_)?(?:ex|in|nc)\d{6,8})\.log$",
    re.IGNORECASE,
)
_EVENT_LOG = re.compile(r"\.evtx$", re.IGNORECASE)


def empty_log(source: ExaminedSource) -> str:
    """Return why a source that was not recognized counts as a lost log; empty where it does not."""
    if source.syntax is not None or source.error:
        return ""
    if _LOG.search(source.source.path):
        if not source.size:
            return "the file is empty (0 bytes), and named as a log: nothing was exported, or nothing was transferred"
        if source.zeroed:
            return "the file begins with zeros only, as a crash or a copy that failed leaves it; copy it again"
    if source.size and not source.notes and _SERVER_LOG.search(source.source.path):
        return "named as a log of the server, and holds none: it was replaced, encrypted or changed; copy it again"
    if source.size and _EVENT_LOG.search(source.source.path):
        return "named as an event log (.evtx), and holds none: its beginning is damaged or overwritten"
    return ""
