"""Non-delivery reports saved as mail (.eml): the delivery-status part, for all other text is localized prose.

The text part is only looked at where no recipient's fields say 5.7.64: some servers write the reply only there.
RFC 3464: fields of the message (``Reporting-MTA``), then a block per recipient (``Final-Recipient``, ``Status``,
``Diagnostic-Code``). One record per recipient; the returned headers add ``Message-ID`` and ``From`` of the message that
was refused. A report that was forwarded as an attachment is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.read.encoding import as_text, guess

NDR = "NDR"
_LARGEST = 64 << 20
_HEADER = re.compile(r"\A(?:From [^\r\n]*\r?\n)?[!-9;-~]+:[ \t]?[^\r\n]*\r?\n")
_REPORT = re.compile(r"report-type=\"?delivery-status|message/(?:global-)?delivery-status", re.IGNORECASE)


def is_mail_report(head: bytes) -> bool:
    """Return whether the first bytes are of a mail that carries a delivery status report."""
    text = as_text(head)
    return bool(_HEADER.match(text)) and bool(_REPORT.search(text))


def read_mail_report(stream: BinaryIO, source: Origin) -> Iterator[LogRow | Loss]:
    """Yield one record per recipient of every delivery status in the mail, and what was lost."""
    from evtx_analyzer.read.delivery_status import recipients  # noqa: PLC0415  start-up cost: a parser of mail

    data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        yield Loss(origin=source, reason=f"the mail is larger than {_LARGEST} bytes", extent="what lies beyond")
    # The mail parser would take a byte order mark for a part of the first header's name, and it cannot read UTF-16.
    encoding, mark = guess(data)
    data = data[mark:] if encoding == "utf-8" else as_text(data).encode()
    try:
        rows, reports = recipients(data)
    except RecursionError:
        yield Loss(origin=source, reason="the parts of the mail lie too deeply in each other", extent="the whole file")
        return
    except Exception as error:  # noqa: BLE001  Python's mail parser raises many kinds on damage
        yield Loss(origin=source, reason=f"the mail cannot be parsed: {error}", extent="the whole file")
        return
    yield from (LogRow(origin=source, log=NDR, values=values) for values in rows)
    if not rows:
        yield Loss(origin=source, reason="the mail's delivery-status part holds no recipient", extent="the report")
    if reports:
        reason = "the report's text holds 5.7.64 and does not say for which recipient"
        yield Loss(origin=source, reason=reason, extent=f"{reports} report{'s' if reports > 1 else ''}")
