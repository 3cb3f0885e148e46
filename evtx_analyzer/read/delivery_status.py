"""The delivery status in a mail, in a module of its own because Python's mail parser is slow to import.

Field names are case-insensitive (RFC 5322 2.2, RFC 3464 2.1): the records carry them as RFC 3464 spells them, whatever
the report wrote. Some mail servers keep the remote side's reply in the text part only (``<<< 550 5.7.64 ...`` in
Sendmail's transcript) and report a timeout: the records carry such a reply as ``Transcript``, a name of ours.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from email import message_from_bytes, message_from_string, policy
from email.message import Message
from typing import NamedTuple

from evtx_analyzer.discover.archive.mail_members import attachments
from evtx_analyzer.read.encoding import decode

FIELDS = (
    "Original-Envelope-Id",
    "Reporting-MTA",
    "DSN-Gateway",
    "Received-From-MTA",
    "Arrival-Date",
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Final-Log-Id",
    "Will-Retry-Until",
)
"""The fields of RFC 3464 sections 2.2 and 2.3, as it spells them."""
TRANSCRIPT = "Transcript"
_GLOBAL_STATUS = "message/global-delivery-status"  # RFC 6533: the same fields where addresses are not ASCII
_STATUS_TYPES = ("message/delivery-status", _GLOBAL_STATUS)
_SPELLING = {name.casefold(): name for name in FIELDS}
_CODE = re.compile(r"(?<![\d.])5\.7\.64(?![\d.]*\d)")
# A reply that carries the code right behind its own, at the beginning of a line or behind what introduces it.
_REPLY = re.compile(r"(?<![\d.])5\d\d[ -]+(?:#?5\d\d )?#?5\.7\.64(?![\d.]*\d)[^\r\n]*")
# Each stops where the next one begins, so that a text in which none ends is read once.
_MARKUP = re.compile(
    r"<(?:style|script)(?:(?!<(?:style|script)).)*?</(?:style|script)>|<[a-z/!][^<>]*>", re.IGNORECASE | re.DOTALL
)
_RECIPIENT_COMMAND = re.compile(r"RCPT TO:\s{0,9}<([^<>]{0,320})>", re.IGNORECASE)
_BEFORE = 10_000  # characters of a text before a reply in which its recipient is looked for
_TYPE = re.compile(r"^\s*[\w.-]+\s*;\s*")
_FOLD = re.compile(r"\r?\n[ \t]+")
# An enhanced status code holds no blank, unless a header was folded inside of it.
_SPLIT_CODE = re.compile(r"(?<![\d.])([245])\s*\.\s*(\d{1,3})\s*\.\s*(\d{1,3})(?![\d.])")


class Mail(NamedTuple):
    """What a mail holds: the fields of every recipient of its reports, the number of reports, and what they lack.

    ``unattributed`` reports hold 5.7.64 in their text and do not say for which recipient. ``attachments`` are the names
    of parts that are no report. ``tells`` is set for a mail without a report whose text holds 5.7.64.
    """

    recipients: tuple[dict[str, str], ...]
    reports: int
    unattributed: int
    attachments: tuple[str, ...]
    tells: bool


def look_at(data: bytes) -> Mail:
    """Return what a mail holds; Python's parser of mail raises many kinds of errors on damage."""
    mail = message_from_bytes(data, policy=policy.compat32)
    rows, unattributed, reports = [], 0, list(_reports(mail))
    for report, status in reports:
        of_report = _with_transcript(list(_recipients(report, status)), report)
        rows += of_report
        unattributed += _CODE.search(_prose(report)) is not None and not any(map(_holds_code, of_report))
    tells = not reports and any(_CODE.search(text) for _, text in _texts(mail))
    return Mail(tuple(rows), len(reports), unattributed, tuple(name for name, _ in attachments(mail)), tells)


def _holds_code(fields: Mapping[str, str]) -> bool:
    return any(_CODE.search(fields.get(name, "")) for name in ("Status", "Diagnostic-Code", TRANSCRIPT))


def _with_transcript(rows: list[dict[str, str]], report: Message) -> list[dict[str, str]]:
    """Return the rows; the recipient whose refusal only the report's text holds gets it as ``Transcript``."""
    if not rows or any(_holds_code(fields) for fields in rows):
        return rows
    prose = _prose(report)
    for reply in _REPLY.finditer(prose):
        owner = _owner(rows, prose, reply)
        if owner is not None:
            owner.setdefault(TRANSCRIPT, " ".join(reply[0].split()))
    return rows


def _owner(rows: list[dict[str, str]], prose: str, reply: re.Match[str]) -> dict[str, str] | None:
    """Return the recipient of a reply in the text: the only one, or the one that its line or RCPT command names."""
    if len(rows) == 1:
        return rows[0]
    before = prose[max(0, reply.start() - _BEFORE) : reply.start()]
    line = before.rpartition("\n")[2] + reply[0]
    command = "".join(_RECIPIENT_COMMAND.findall(before)[-1:])
    paragraph = before.rpartition("\n\n")[2]
    for text in (line, command, paragraph):
        owners = [fields for fields in rows if _names(text, _TYPE.sub("", fields.get("Final-Recipient", "")))]
        if len(owners) == 1:
            return owners[0]
    return None


def _names(text: str, address: str) -> bool:
    """Return whether a text names an address, and not only a longer one that contains it."""
    return bool(address) and re.search(rf"(?<![\w.+-]){re.escape(address)}(?![\w-])", text, re.IGNORECASE) is not None


def _prose(report: Message) -> str:
    """Return the text that a report has for people, without the returned message and without markup."""
    return "\n".join(
        _MARKUP.sub(" ", text) if kind == "text/html" else text
        for part in _parts(report)
        if not part.get_content_type().startswith("message/")
        for kind, text in _texts(part)
    )


def _texts(part: Message) -> Iterator[tuple[str, str]]:
    for inner in part.walk():
        kind, body = inner.get_content_type(), inner.get_payload(decode=True)
        if kind in ("text/plain", "text/html") and isinstance(body, bytes):
            yield kind, _decoded(body, inner.get_content_charset() or "utf-8").replace("\r\n", "\n")


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, "replace")
    except (LookupError, ValueError):
        # Python does not know the charset. What is looked for is ASCII, and so the same in nearly all of them.
        return decode(body, "utf-8")


def _reports(mail: Message) -> Iterator[tuple[Message, Message]]:
    """Yield every part ``message/delivery-status`` with the message that it stands in."""
    for part in mail.walk():
        if part.is_multipart() and not part.get_content_type().startswith("message/"):
            for child in _parts(part):
                if child.get_content_type() in _STATUS_TYPES:
                    yield part, child
    if mail.get_content_type() in _STATUS_TYPES:
        yield mail, mail


def _parts(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _recipients(report: Message, status: Message) -> Iterator[dict[str, str]]:
    """Yield the fields of each recipient, with those of its message and of the headers that were returned."""
    returned = _returned(report)
    common = {"Date": _text(report.get("Date"))} | {
        name: _text(returned.get(name))
        for name in ("Message-ID", "From", "Return-Path")
        if returned is not None and returned.get(name)
    }
    # Without a Final-Recipient a block is about the message; there may be several such blocks, or none.
    for block in _blocks(status):
        fields = {_SPELLING.get(name.casefold(), name): _text(value) for name, value in block.raw_items()}
        if "Status" in fields:
            fields["Status"] = without_comments(fields["Status"])
        if "Final-Recipient" not in fields:
            common |= fields
            continue
        yield common | fields


def _blocks(status: Message) -> list[Message]:
    """Return the blocks of fields of a delivery status, also where Python's parser takes them for something else."""
    blocks = _parts(status)
    if status.get_content_type() == _GLOBAL_STATUS:
        # Python's parser does not know this type and takes the first block for a header and the others for a text.
        return _split("".join(map(_as_written, blocks)))
    encoding = _text(status.get("Content-Transfer-Encoding")).casefold()
    if encoding != "base64":
        return blocks
    # RFC 3464 forbids base64 here, but some gateways use it: the parser took the encoded text for a block.
    try:
        text = base64.b64decode("".join(str(block) for block in blocks)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return blocks
    return _split(text)


def _as_written(block: Message) -> str:
    """Return the text of a block; bytes that are not ASCII stay surrogates, as the parser keeps them."""
    lines = (f"{name}: {value}\n" for name, value in block.raw_items())
    body = block.get_payload(decode=True)
    return f"{''.join(lines)}\n{body.decode('ascii', 'surrogateescape') if isinstance(body, bytes) else ''}"


def _split(text: str) -> list[Message]:
    return [message_from_string(part.lstrip()) for part in re.split(r"\r?\n\r?\n", text) if part.strip()]


def _returned(report: Message) -> Message | None:
    """Return the headers of the refused message, as the report returns them."""
    for part in _parts(report):
        if part.get_content_type() in ("message/rfc822", "message/global", "message/global-headers"):
            return next(iter(_parts(part)), None)
        if part.get_content_type() == "text/rfc822-headers":
            body = part.get_payload(decode=True)
            return message_from_bytes(body) if isinstance(body, bytes) else None
    return None


def without_comments(text: str) -> str:
    """Return a structured field without its comments in parentheses (RFC 5322 3.2.2).

    Comments may be nested, and one may lack its closing parenthesis.
    """
    depth, kept = 0, []
    for part in re.split(r"(\\.|[()])", text):
        if part == "(":
            depth += 1
        elif part == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(part)
    return " ".join("".join(kept).split())


def _text(value: object) -> str:
    # Text that is not ASCII is UTF-8 (RFC 6533), or in a server's own 8-bit code page.
    text = decode(str(value or "").encode("utf-8", "surrogateescape"), "utf-8")
    return _SPLIT_CODE.sub(r"\1.\2.\3", _FOLD.sub(" ", text).strip())
