"""Non-delivery reports saved as mail (.eml): the delivery-status part, for all other text is localized prose.

The text part is only looked at where no recipient's fields say 5.7.64: some servers write the reply only there.
RFC 3464: fields of the message (``Reporting-MTA``), then a block per recipient (``Final-Recipient``, ``Status``,
``Diagnostic-Code``). One record per recipient; the returned headers add ``Message-ID`` and ``From`` of the message that
was refused. A report that was forwarded as an attachment is read as well, and every mail of an mbox file.

Other attachments are sources of their own (``discover/archive/mail_members.py``). A mail that does not begin as one is
not unpacked there, and a loss if it has some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from evtx_analyzer.discover.archive.mail_members import is_mail as unpacks
from evtx_analyzer.discover.archive.mail_members import mails
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.encoding import as_text

NDR = "NDR"
_LARGEST = 64 << 20
_HEADER = re.compile(r"\A\s{0,99}(?:From [^\r\n]*\r?\n)?[!-9;-~]+:[ \t]?[^\r\n]*\r?\n")
_USUAL = re.compile(
    r"^(?:From|To|Subject|Date|Received|Message-ID|MIME-Version|Content-Type):", re.MULTILINE | re.IGNORECASE
)
_ATTACHED = re.compile(r"^Content-Disposition:\s{0,9}attachment", re.MULTILINE | re.IGNORECASE)
_UUENCODED = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} (\S[^\r\n]{0,200})\r?\n(?=[ -`]{5,100}\r?\n)", re.MULTILINE)
"""The beginning of a file that is encoded in the text (uuencode of POSIX), as old mailers do."""
_FEW = 3
_REPORT = re.compile(r"report-type=\"?delivery-status|message/(?:global-)?delivery-status", re.IGNORECASE)


def is_mail_report(head: bytes) -> bool:
    """Return whether the first bytes are of a mail that carries a delivery status report."""
    text = as_text(head)
    return bool(_HEADER.match(text)) and bool(_REPORT.search(text))


def is_mail(head: bytes) -> bool:
    """Return whether the first bytes are the headers of a mail."""
    text = as_text(head)
    if not _HEADER.match(text):
        return False
    headers = re.split(r"\r?\n\r?\n", text.lstrip(), maxsplit=1)[0]
    return len({name.casefold() for name in _USUAL.findall(headers)}) >= _FEW


def text_before_attachments(head: bytes) -> bytes | None:
    """Return what a mail has before what is attached to it and unpacked; None for any other file."""
    text = as_text(head)
    attached = _ATTACHED.search(text) if unpacks(head) else None
    return None if attached is None else text[: attached.start()].encode("utf-8", "replace")


def read_mail(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one record per recipient of every delivery status in the mails of a file, and what was lost."""
    data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        yield Loss(origin=source, reason=f"the mail is larger than {_LARGEST} bytes", extent="what lies beyond")
    # The mail parser would take a byte order mark for a part of the first header's name, and it cannot read UTF-16.
    for mail in mails(data):
        yield from _rows(mail, source, unpacked=unpacks(data))


def _rows(data: bytes, source: Origin, *, unpacked: bool) -> Iterator[LogRow | Loss]:
    """Yield the records and losses of one mail; what is attached to it is a source of its own where it is unpacked."""
    from evtx_analyzer.read.delivery_status import look_at  # noqa: PLC0415  start-up cost: a parser of mail

    try:
        mail = look_at(data)
    except RecursionError:
        yield Loss(origin=source, reason="the parts of the mail lie too deeply in each other", extent="the whole file")
        return
    except Exception as error:  # noqa: BLE001  Python's mail parser raises many kinds on damage
        yield Loss(origin=source, reason=f"the mail cannot be parsed: {error}", extent="the whole file")
        return
    yield from (LogRow(origin=source, log=NDR, values=values) for values in mail.recipients)
    if mail.reports and not mail.recipients:
        yield Loss(origin=source, reason="the mail's delivery-status part holds no recipient", extent="the report")
    if mail.unattributed:
        reason = "the report's text holds 5.7.64 and does not say for which recipient"
        yield Loss(
            origin=source, reason=reason, extent=f"{mail.unattributed} report{'s' if mail.unattributed > 1 else ''}"
        )
    inline = [name.decode("utf-8", "replace") for name in _UUENCODED.findall(data)]
    if inline or (mail.attachments and not unpacked):
        yield attached(source, inline or mail.attachments)
    elif mail.tells:
        reason = (
            "a mail whose text holds 5.7.64, and no report of a mail server: save the report itself as .eml or .msg"
        )
        yield Loss(origin=source, reason=reason, extent="1 mail")


def attached(source: Origin, names: Sequence[str]) -> Loss:
    """Return the loss for the attachments of a mail."""
    reason = f"a mail with attachments, which are not unpacked: save them, and give the folder ({', '.join(names)})"
    return Loss(origin=source, reason=reason, extent=f"{len(names)} attachment{'s' if len(names) > 1 else ''}")
