"""Non-delivery reports saved as mail (.eml): the delivery-status part only, for all other text is localized prose.

RFC 3464: fields of the message (``Reporting-MTA``), then a block per recipient (``Final-Recipient``, ``Status``,
``Diagnostic-Code``). One record per recipient; the returned headers add ``Message-ID`` and ``From`` of the message that
was refused. A report that was forwarded as an attachment is found as well.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from email import message_from_bytes, message_from_string, policy
from email.message import Message
from typing import BinaryIO

from evtx_analyzer.model import LogRow, Loss, Origin
from evtx_analyzer.read.lines import head_text

NDR = "NDR"
_LARGEST = 64 << 20
_HEADER = re.compile(r"\A(?:From [^\r\n]*\r?\n)?[!-9;-~]+:[ \t]?[^\r\n]*\r?\n")
_REPORT = re.compile(r"report-type=\"?delivery-status|message/delivery-status", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n[ \t]+")
# A header that is folded inside of an enhanced status code, which holds no blank by itself.
_SPLIT_CODE = re.compile(r"(?<![\d.])([245])\s*\.\s*(\d{1,3})\s*\.\s*(\d{1,3})(?![\d.])")


def is_mail_report(head: bytes) -> bool:
    """Whether the first bytes are of a mail that carries a delivery status report."""
    text = head_text(head)
    return bool(_HEADER.match(text)) and bool(_REPORT.search(text))


def read_mail_report(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """One record per recipient of every delivery status in the mail."""
    data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        yield Loss(origin=source, reason=f"the mail is larger than {_LARGEST} bytes", extent="what lies beyond")
    mail = message_from_bytes(data.removeprefix(b"\xef\xbb\xbf"), policy=policy.compat32)
    found = False
    for report, status in _reports(mail):
        for values in _recipients(report, status):
            found = True
            yield LogRow(origin=source, log=NDR, values=values)
    if not found:
        yield Loss(origin=source, reason="the mail's delivery-status part holds no recipient", extent="the report")


def _reports(mail: Message) -> Iterator[tuple[Message, Message]]:
    """Every part ``message/delivery-status`` with the message that it stands in."""
    for part in mail.walk():
        if part.is_multipart() and not part.get_content_type().startswith("message/"):
            for child in _parts(part):
                if child.get_content_type() == "message/delivery-status":
                    yield part, child
    if mail.get_content_type() == "message/delivery-status":
        yield mail, mail


def _parts(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [item for item in payload if isinstance(item, Message)] if isinstance(payload, list) else []


def _recipients(report: Message, status: Message) -> Iterator[dict[str, str]]:
    blocks = _blocks(status)
    returned = _returned(report)
    common = {"Date": _text(report.get("Date"))} | {
        name: _text(returned.get(name))
        for name in ("Message-ID", "From")
        if returned is not None and returned.get(name)
    }
    # Without a Final-Recipient a block is about the message; there may be several such blocks, or none.
    for block in blocks:
        fields = {name: _text(value) for name, value in block.items()}
        if "final-recipient" not in {name.casefold() for name in fields}:
            common |= fields
            continue
        yield common | fields


def _blocks(status: Message) -> list[Message]:
    blocks = _parts(status)
    encoding = _text(status.get("Content-Transfer-Encoding")).casefold()
    if encoding != "base64":
        return blocks
    # RFC 3464 forbids it, some gateways do it: the parser took the encoded text for a block.
    try:
        text = base64.b64decode("".join(str(block) for block in blocks)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return blocks
    return [message_from_string(part) for part in re.split(r"\r?\n\r?\n", text) if part.strip()]


def _returned(report: Message) -> Message | None:
    """The headers of the message that was refused, as the report returns them."""
    for part in _parts(report):
        if part.get_content_type() == "message/rfc822":
            return next(iter(_parts(part)), None)
        if part.get_content_type() == "text/rfc822-headers":
            body = part.get_payload(decode=True)
            return message_from_bytes(body) if isinstance(body, bytes) else None
    return None


def _text(value: object) -> str:
    return _SPLIT_CODE.sub(r"\1.\2.\3", _FOLD.sub(" ", str(value or "")).strip())
