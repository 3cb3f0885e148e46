"""Non-delivery reports saved from Outlook (.msg): a compound file (MS-CFB) with MAPI properties (MS-OXMSG).

Strings are streams named by their property tag, UTF-16 (``001F``) or ANSI (``001E``); what happened to a recipient
stands in that recipient's storage. Values carry the names of RFC 3464, so that one schema reads mails and messages.
olefile (BSD) reads the container; it is an extra, for most cases hold no .msg.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from evtx_analyzer import clock
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.mail import NDR, attached
from evtx_analyzer.read.not_read import WORKBOOK

if TYPE_CHECKING:
    import olefile

_MAGIC = bytes.fromhex("D0CF11E0A1B11AE1")
_LARGEST = 64 << 20
_PROPERTY_STREAM = "__properties_version1.0"
_WORKBOOK = "Workbook".encode("utf-16-le")
_CODE = re.compile(r"(?<![\d.])5\.7\.64(?!\d)")
# Property tags of MS-OXPROPS.
_BODY, _REPORT_TEXT, _ORIGINAL_ID, _IN_REPLY_TO = 0x1000, 0x1001, 0x1046, 0x1042
_ORIGINAL_SENDER, _REPORTING_MTA, _REMOTE_MTA = 0x0065, 0x6820, 0x0C21
_FILE_NAME, _ATTACHED_DATA = 0x3707, "__substg1.0_37010102"
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".emz")
_SMTP_ADDRESS, _EMAIL_ADDRESS, _SUPPLEMENTARY = 0x39FE, 0x3003, 0x0C1B
_DELIVERY_TIME, _SUBMIT_TIME, _REPORT_TIME = 0x0E06, 0x0039, 0x0032


def is_outlook_message(head: bytes) -> bool:
    """Return whether a file begins as a compound file; only its directory shows whether it is a message."""
    return head.startswith(_MAGIC)


def read_outlook_message(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one record per recipient of a report, and what was lost; nothing for another compound file.

    An old workbook of Excel (.xls) is a compound file too, and a loss.
    """
    data = stream.read(_LARGEST + 1)
    if _PROPERTY_STREAM.encode("utf-16-le") not in data:
        if _WORKBOOK in data:
            yield Loss(origin=source, reason=WORKBOOK, extent="the whole file")
        return
    if len(data) > _LARGEST:
        yield Loss(origin=source, reason=f"the message is larger than {_LARGEST} bytes", extent="what lies beyond")
    try:
        import olefile  # noqa: PLC0415  the library is an extra
    except ImportError:
        reason = "an Outlook message needs the extra 'msg': pip install evtx-analyzer[msg], or save it as .eml"
        yield Loss(origin=source, reason=reason, extent="the whole file")
        return
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as ole:
            yield from _rows(ole, source)
    except Exception as error:  # noqa: BLE001  olefile raises any kind on damage, and recurses in directories
        yield Loss(origin=source, reason=f"the message is cut or damaged: {error}", extent="the whole file")


def _rows(ole: olefile.OleFileIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one record per recipient with a diagnostic text; the report's text is used where none holds 5.7.64."""
    common = {
        "Date": _time(ole),
        "Message-ID": _string(ole, "", _ORIGINAL_ID) or _string(ole, "", _IN_REPLY_TO),
        "From": _string(ole, "", _ORIGINAL_SENDER),
        "Reporting-MTA": _string(ole, "", _REPORTING_MTA),
    }
    storages = sorted({path[0] for path in ole.listdir() if path[0].startswith("__recip_version1.0_#")})
    diagnostics = {storage: _string(ole, f"{storage}/", _SUPPLEMENTARY).strip("<> \r\n") for storage in storages}
    rows = [common | _recipient(ole, storage, text) for storage, text in diagnostics.items() if text]
    in_body = _line_with_code(_string(ole, "", _BODY) or _string(ole, "", _REPORT_TEXT))
    if in_body and not rows:
        storage = storages[0] if len(storages) == 1 else ""
        rows = [common | _recipient(ole, storage, in_body)]
    elif in_body and not any(map(_CODE.search, diagnostics.values())):
        if len(rows) == 1:
            rows[0]["Transcript"] = in_body
        else:
            reason = "the report's text holds 5.7.64 and does not say for which recipient"
            yield Loss(origin=source, reason=reason, extent="1 report")
    yield from (LogRow(origin=source, log=NDR, values=values) for values in rows)
    if names := _attachments(ole):
        yield attached(source, names)


def _attachments(ole: olefile.OleFileIO) -> list[str]:
    """Return the names of the files that are attached, without pictures."""
    storages = sorted({path[0] for path in ole.listdir() if len(path) > 1 and path[1] == _ATTACHED_DATA})
    names = [_string(ole, f"{storage}/", _FILE_NAME) or "no name" for storage in storages]
    return [name for name in names if not name.casefold().endswith(_PICTURES)]


def _line_with_code(text: str) -> str:
    """Return the first line that holds 5.7.64; empty if none does.

    The text is searched once, and not line by line: a line may be a page long.
    """
    code = _CODE.search(text)
    if code is None:
        return ""
    before = re.split(r"[\r\n]", text[: code.start()])[-1]
    return (before + re.split(r"[\r\n]", text[code.start() :], maxsplit=1)[0]).strip()


def _recipient(ole: olefile.OleFileIO, storage: str, diagnostic: str) -> dict[str, str]:
    address = ""
    if storage:
        address = _string(ole, f"{storage}/", _SMTP_ADDRESS) or _string(ole, f"{storage}/", _EMAIL_ADDRESS)
    remote = _string(ole, f"{storage}/", _REMOTE_MTA) if storage else ""
    return {"Final-Recipient": f"rfc822;{address}", "Diagnostic-Code": diagnostic, "Remote-MTA": remote}


def _string(ole: olefile.OleFileIO, storage: str, tag: int) -> str:
    for kind, encoding in (("001F", "utf-16-le"), ("001E", "cp1252")):
        name = f"{storage}__substg1.0_{tag:04X}{kind}"
        if ole.exists(name):
            text: str = ole.openstream(name).read().decode(encoding, "replace")
            return text.rstrip("\0")
    return ""


def _time(ole: olefile.OleFileIO) -> str:
    """Return when the report was delivered, else sent, in ISO 8601; empty if its properties do not say.

    The stream of properties has a header of 32 bytes, then 16 bytes for each (MS-OXMSG 2.4).
    """
    data = ole.openstream(_PROPERTY_STREAM).read() if ole.exists(_PROPERTY_STREAM) else b""
    times = {}
    for place in range(32, len(data) - 15, 16):
        kind, tag, _, ticks = struct.unpack_from("<HHIQ", data, place)
        times[tag, kind] = ticks
    filetime = 0x0040
    for tag in (_DELIVERY_TIME, _SUBMIT_TIME, _REPORT_TIME):
        time = clock.from_filetime(times.get((tag, filetime), 0))
        if time is not None:
            return time.isoformat()
    return ""
