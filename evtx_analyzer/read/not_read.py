"""Files that often hold evidence in a form that is not read: what they are, and what to do instead.

Those that hold whole logs or mails are a loss. Pictures and documents are only named: any folder holds some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read.encoding import as_text

_OFFICE = b"PK\x03\x04"
_BEHIND_SIZE = slice(4, 8)  # the first field of an .evt file is the size of its header (MS-EVEN 2.2)
WORKBOOK = "a workbook of Excel, which is not read: give the log itself, or save the sheet as CSV"
_SHORTCUT = "a shortcut: the file or folder that it leads to is not here; give that itself"
_LOGS = (
    (b"L\0\0\0\x01\x14\x02\0", _SHORTCUT),  # MS-SHLLINK 2.1
    (b"[InternetShortcut]", _SHORTCUT),
    (b"!BDN", "a mailbox file of Outlook (.pst), which is not read: save the reports in it as .msg or .eml"),
    (
        b"\x78\x9f\x3e\x22",
        "attachments as Outlook wraps them (winmail.dat), which are not read: ask for them again in a zip",
    ),
)
_EVT = (
    "an event log of Windows Server 2003 or older (.evt), which is not read: convert it on a Windows machine with "
    "wevtutil epl OLD.evt NEW.evtx /lf:true"
)
_PICTURE = "a picture: what it shows is not read; give the log or the mail itself"
_DOCUMENT = "a document: its text is not read; give the log or the mail itself"
_SHOWN = (
    (b"\x89PNG\r\n", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"%PDF-", _DOCUMENT),
    (b"{\\rtf", _DOCUMENT),
)


_TRACE = (
    "a message trace of Exchange Online: it lists what was taken, and mail that it refuses never gets there; "
    "give the Send connector log or the message tracking of the server that sends"
)
# Names of properties and columns, without blanks and underscores, of which all stand in the beginning of a file:
# Get-MessageTrace, Get-MessageTraceV2 and the trace of the admin center; Get-MessageTraceDetail; the enhanced summary
# of the admin center; its extended report; exchangeMessageTrace of Microsoft Graph.
_TRACES = (
    ("messagetraceid", "recipientaddress"),
    ("messagetraceid", "event", "action", "detail"),
    ("origintimestamp", "networkmessageid", "recipientstatus"),
    ("sourcecontext", "networkmessageid", "recipientstatus", "originalclientip"),
    ("receiveddatetime", "recipientaddress", "senderaddress"),
)
_BETWEEN_WORDS = re.compile(r"[ _]")
_BEGINNING = 4096
NO_REFUSALS = (_TRACE,)


def is_not_read(head: bytes) -> bool:
    """Return whether a file holds logs or mails in a form that is not read."""
    return _log_form(head) is not None


def read_not_read(stream: BinaryIO, source: Origin) -> Iterator[Loss]:
    """Yield one loss for the file: it says what it is and what to do."""
    reason = _log_form(stream.read(1 << 16))
    if reason is not None:
        yield Loss(origin=source, reason=reason, extent="the whole file")


def document(head: bytes) -> str:
    """Return what a picture or document is, and what to give instead; empty for any other file."""
    if _is_office(head):
        return _DOCUMENT
    return next((text for magic, text in _SHOWN if head.startswith(magic)), "")


def other_log(head: bytes) -> str:
    """Return what a log is that cannot show refusals, and what to give instead; empty for any other file."""
    text = _BETWEEN_WORDS.sub("", as_text(head[:_BEGINNING])).casefold()
    return _TRACE if any(all(name in text for name in names) for names in _TRACES) else ""


def _log_form(head: bytes) -> str | None:
    if head[_BEHIND_SIZE] == b"LfLe":
        return _EVT
    if _is_office(head) and b"xl/" in head:
        return WORKBOOK
    return next((text for magic, text in _LOGS if head.startswith(magic)), None)


def _is_office(head: bytes) -> bool:
    return head.startswith(_OFFICE) and b"[Content_Types].xml" in head
