"""The files that are attached to a mail, as its members: ``mail.eml!SEND.LOG`` (RFC 2045, RFC 2183).

The mail itself stays a source, for it may be a report. Pictures and signatures are left out, and so is what a report
returns of the message that was refused. A forwarded mail is part of the mail that holds it, and what is attached to it
is unpacked.
"""

from __future__ import annotations

import binascii
import codecs
import contextlib
import re
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from evtx_analyzer.discover.archive.limits import Limits
from evtx_analyzer.discover.archive.member import Entry, Found

if TYPE_CHECKING:
    from email.message import Message

MAIL = "mail"
LARGEST = 64 << 20
_HEAD = 512
_BEGINS = re.compile(
    rb"(?:From [^\r\n]*\r?\n)?(?:Received|Return-Path|Delivered-To|From|Sender|Reply-To|To|Cc|Subject|Date|Message-ID|"
    rb"In-Reply-To|References|MIME-Version|Content-[A-Z-]{4,30}|Thread-[A-Z]{4,9}|Authentication-Results|Accept-Language|"
    rb"DKIM-Signature|ARC-[A-Z-]{4,30}|X-[\w-]{1,60}):[ \t\r\n]",
    re.IGNORECASE,
)
_ENCODED = re.compile(rb"name\*?[0-9]{0,2}\*?\s{0,9}=|\bbase64\b", re.IGNORECASE)
"""What a mail with attachments holds; most reports do not, and need not be parsed."""
_UNUSED = ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
_SEALED_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted")
_SEALED = (
    "a signed or encrypted mail (S/MIME, OpenPGP), which is not opened: "
    "save what is attached to it, and give the folder"
)
_NEXT = re.compile(rb"(?<=\n)\r?\n(?=From [^\r\n]{0,999}\d{4}\r?\n)")  # RFC 4155
_WIDE = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def is_mail(head: bytes) -> bool:
    """Return whether a file begins as a mail whose attachments are unpacked."""
    narrow = head[:_HEAD].removeprefix(codecs.BOM_UTF8).removeprefix(codecs.BOM_UTF16_LE)
    return _BEGINS.match(narrow.removeprefix(codecs.BOM_UTF16_BE).translate(None, b"\0").lstrip()) is not None


def mails(data: bytes) -> list[bytes]:
    """Return the mails of a file without byte order mark, one byte a letter: all of an mbox, else the only one."""
    encoding = next((name for mark, name in _WIDE if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:2]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    if encoding:
        data = data.decode(encoding, "replace").encode("utf-8", "replace")
    data = data.removeprefix(codecs.BOM_UTF8).lstrip()
    return _NEXT.split(data) if data.startswith(b"From ") else [data]


def mail_entries(file: BinaryIO, name: str, limits: Limits, password: bytes | None) -> Iterator[Found]:
    """Yield what is attached to the mails of a file; nothing of one that is too large, which its reader tells."""
    del name, limits, password
    data = file.read(LARGEST + 1)
    for mail in mails(data) if len(data) <= LARGEST else ():
        if not _ENCODED.search(mail):
            continue
        from email import message_from_bytes, policy  # noqa: PLC0415  start-up cost: only where there is a mail

        for attached, part in attachments(message_from_bytes(mail, policy=policy.compat32)):
            if part.get_content_type() in _SEALED_TYPES:
                yield Entry(name=attached, size=0, open=BytesIO, fault=_SEALED)
                continue
            content = _content(part)
            yield Entry(name=attached, size=len(content), open=lambda content=content: BytesIO(content))  # type: ignore[misc]


def _content(part: Message) -> bytes:
    """Return the bytes of a part; a message in base64 is one for the parser, with the encoded text as its body."""
    content = part.get_payload(decode=True)
    if isinstance(content, bytes):
        return content
    try:
        return binascii.a2b_base64("".join(str(child.get_payload()) for child in _parts(part)))
    except ValueError:
        return b""


def attachments(part: Message, *, returned: bool = False) -> Iterator[tuple[str, Message]]:
    """Yield the names and parts of what is attached; ``returned`` says that the part belongs to a report."""
    kind = part.get_content_type()
    if kind.startswith("message/"):
        # RFC 2046 5.2.1 forbids base64 here; the parser does not take apart what was encoded in spite of it.
        if str(part.get("Content-Transfer-Encoding", "")).strip().casefold() == "base64":
            yield _name(part) or kind, part
        elif kind in ("message/rfc822", "message/global") and not returned:
            for child in _parts(part):
                yield from attachments(child)
    elif part.is_multipart():
        for child in _parts(part):
            yield from attachments(child, returned=returned or kind == "multipart/report")
    elif not kind.startswith("image/") and kind not in _UNUSED:
        # A part without a name is the text of the mail, or a file that a program sent.
        name = _name(part) or ("" if kind.startswith("text/") else kind)
        if name:
            yield name, part


def _name(part: Message) -> str:
    """Return the name of an attached file without its folders; encoded words (RFC 2047) are decoded."""
    from email.errors import HeaderParseError  # noqa: PLC0415  as above
    from email.header import decode_header, make_header  # noqa: PLC0415

    name = part.get_filename() or ""
    if name.startswith("=?"):
        with contextlib.suppress(HeaderParseError, LookupError, ValueError):
            name = str(make_header(decode_header(name)))
    return name.replace("\\", "/").rpartition("/")[2].strip()


def _parts(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if not isinstance(child, str)] if isinstance(payload, list) else []
