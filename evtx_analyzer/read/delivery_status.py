"""The delivery status in a mail; apart from ``mail``, for Python's mail parser is imported only where a mail is."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from email import message_from_bytes, message_from_string, policy
from email.message import Message

_FOLD = re.compile(r"\r?\n[ \t]+")
# A header that is folded inside of an enhanced status code, which holds no blank by itself.
_SPLIT_CODE = re.compile(r"(?<![\d.])([245])\s*\.\s*(\d{1,3})\s*\.\s*(\d{1,3})(?![\d.])")


def recipients(data: bytes) -> Iterator[dict[str, str]]:
    """Fields of every recipient of every delivery status in the mail."""
    for report, status in _reports(message_from_bytes(data, policy=policy.compat32)):
        yield from _recipients(report, status)


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
