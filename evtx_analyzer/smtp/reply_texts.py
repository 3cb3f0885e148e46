"""Count the distinct replies of refusals: thousands of refusals often have the same reply.

    550 5.7.64 TenantAttribution; Relay Access Denied [BL2NAM02FT011.mail.protection.outlook.com]
    550 5.7.64 TenantAttribution; Relay Access Denied [AM5EUR02FT030.mail.protection.outlook.com]      the same text

Replies are compared without the parts that differ from message to message. A name, a verdict (``app01 is
untrustedroot``) and an IP address belong to what a reply says, so they are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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


def reply_texts(rejections: Iterable[Rejection]) -> list[ReplyText]:
    """Return the distinct replies in the order in which they came; the first text of each stands as it is written."""
    groups: dict[str, list[Rejection]] = {}
    for rejection in rejections:
        if rejection.reply:
            groups.setdefault(compared(rejection.reply), []).append(rejection)
    return [_reply_text(group) for group in groups.values()]


def joined(replies: Iterable[ReplyText]) -> list[ReplyText]:
    """Return the distinct replies of several incidents in the order of their first times."""
    groups: dict[str, ReplyText] = {}
    for reply in sorted(replies, key=lambda reply_text: reply_text.first):
        key = compared(reply.text)
        groups[key] = _together(groups[key], reply) if key in groups else reply
    return list(groups.values())


def _together(left: ReplyText, right: ReplyText) -> ReplyText:
    firsts = (Moment(reply_text.first, reply_text.first_basis) for reply_text in (left, right))
    lasts = (Moment(reply_text.last, reply_text.last_basis) for reply_text in (left, right))
    first, last = limits([*firsts, *lasts])
    return replace(
        left,
        count=left.count + right.count,
        first=first.time,
        last=last.time,
        first_basis=first.basis,
        last_basis=last.basis,
        unknown_zone_count=left.unknown_zone_count + right.unknown_zone_count,
    )


def _reply_text(group: Sequence[Rejection]) -> ReplyText:
    first, last = limits(Moment(rejection.time, rejection.time_basis) for rejection in group)
    return ReplyText(
        text=group[0].reply,
        count=len(group),
        first=first.time,
        last=last.time,
        first_basis=first.basis,
        last_basis=last.basis,
        unknown_zone_count=sum(not is_known(rejection.time_basis) for rejection in group),
    )
