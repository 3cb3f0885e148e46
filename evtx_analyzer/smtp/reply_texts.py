"""Count the distinct replies of refusals: thousands of refusals often have the same reply.

    550 5.7.64 TenantAttribution; Relay Access Denied [BL2NAM02FT011.mail.protection.outlook.com]
    550 5.7.64 TenantAttribution; Relay Access Denied [AM5EUR02FT030.mail.protection.outlook.com]      the same text

Replies are compared without the parts that differ from message to message. A name, a verdict (``app01 is
untrustedroot``) and an IP address belong to what a reply says, so they are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from evtx_analyzer.clock import Moment, is_known, limits
from evtx_analyzer.model.evidence import Rejection, ReplyText

# Host, clock and session id of Exchange Online (see ``replies``); not an IP address in brackets.
_BRACKET = re.compile(r"\[(?!(?:IPv6:)?[0-9A-Fa-f.:]+\])[^\[\]]*\]")
# A non-delivery report has the reply as ``smtp;550 5.7.64 ...`` (RFC 3464 2.3.6), one of Exchange as
# ``#550 5.7.64 ...##``.
_WRAPPER = re.compile(r"\s*smtp\s*;", re.IGNORECASE)


def compared(text: str) -> str:
    """Return a reply in the form in which replies are compared, without the bracket and the wrapping of reports.

    The whole bracket is removed, for message tracking often leaves it out. A word with ``@`` is a mailbox or a message
    id, and becomes ``<mailbox>``.
    """
    wrapper = _WRAPPER.match(text)
    plain = _BRACKET.sub(" ", text[wrapper.end() :] if wrapper else text)
    return " ".join("<mailbox>" if "@" in word else word for word in plain.strip("# \r\n\t").split())


def reply_text(rejection: Rejection, count: int = 1, last: datetime | None = None) -> ReplyText:
    """Return the reply of a refusal as that of ``count`` refusals up to ``last`` which say the same."""
    time, basis = rejection.time, rejection.time_basis
    return ReplyText(
        text=rejection.reply,
        count=count,
        first=time,
        last=last or time,
        first_basis=basis,
        last_basis=basis,
        unknown_zone_count=0 if is_known(basis) else count,
    )


def joined(replies: Iterable[ReplyText]) -> list[ReplyText]:
    """Return the distinct replies in the order of their first times; the first text of each stands as it is written."""
    groups: dict[str, list[ReplyText]] = {}
    for reply in sorted(replies, key=lambda reply: reply.first):
        groups.setdefault(compared(reply.text), []).append(reply)
    return [_together(group) for group in groups.values()]


def _together(group: Sequence[ReplyText]) -> ReplyText:
    firsts = [Moment(reply.first, reply.first_basis) for reply in group]
    first, last = limits([*firsts, *(Moment(reply.last, reply.last_basis) for reply in group)])
    return replace(
        group[0],
        count=sum(reply.count for reply in group),
        first=first.time,
        last=last.time,
        first_basis=first.basis,
        last_basis=last.basis,
        unknown_zone_count=sum(reply.unknown_zone_count for reply in group),
    )
