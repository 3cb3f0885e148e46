"""Parse the text of replies: code, attribution, host and clock of the remote side, verdict; count the distinct ones.

Exchange Online ends a reply with its host name in brackets; since about 2023 its clock and a session id follow there:
``550 5.7.64 TenantAttribution; Relay Access Denied ATTR36. [HOST 2025-01-29T19:07:30.476Z 08DD3F...]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment, is_known, limits
from evtx_analyzer.model.evidence import Rejection, ReplyText

ENHANCED = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
REPLY_CODE = re.compile(r"\s*+#?(?:<[^>]*>)?\s*+#?([45]\d\d)\b")


def code(text: str) -> str:
    """Return reply code and enhanced status of a reply (``550 5.7.64``), or the one that it has, else ``no code``."""
    reply, enhanced = REPLY_CODE.match(text), ENHANCED.search(text)
    return " ".join(match[1] for match in (reply, enhanced) if match) or "no code"


_CODE_5764 = re.compile(r"(?<![\d.])5\.7\.64(?![\d.]*\d)")
_ATTRIBUTION = re.compile(r"\bATTR?\d+\b|TenantAttribution", re.IGNORECASE)


def has_code(text: str) -> bool:
    """Return whether a text holds 5.7.64 as an enhanced status, not as a part of an IP address or of 5.7.640."""
    return _CODE_5764.search(text) is not None


class Bracket(Struct, frozen=True):
    """Host and clock (aware UTC) that Exchange Online writes at the end of a reply; ``clock`` is None where absent."""

    host: str = ""
    clock: datetime | None = None


# Bounded, for a long text of brackets would otherwise take quadratic time: a DNS name has at most 255 characters
# (RFC 1035 2.3.4).
_BRACKET = re.compile(r"\[([A-Za-z0-9.-]{1,255})(?:\s{1,9}(\S{1,64}Z))?(?:\s{1,9}[0-9A-F]{1,64})?\]")


def bracket(text: str) -> Bracket:
    """Return the last bracket of a reply that holds a host name; an empty one if there is none."""
    # A letter follows a dot of a host's name: an IPv4 address has none.
    brackets = [match for match in _BRACKET.finditer(text) if any(map(str.isalpha, match[1][1:].partition(".")[2]))]
    return Bracket(brackets[-1][1], clock.from_iso(brackets[-1][2] or "")) if brackets else Bracket()


class ReplyVerdict(Struct, frozen=True):
    """Name of the certificate that Exchange Online received, and its verdict on it (``untrustedroot``, ``expired``)."""

    name: str
    verdict: str


# As printed in learn.microsoft.com/answers/questions/2276469: "Relay Access Denied  app01 is untrustedroot."
_REPLY_VERDICT = re.compile(
    # Every repetition is bounded: a long text with many "Denied" would otherwise take quadratic time.
    # In IIS logs a blank is written as "+".
    r"Denied[.;,]?(?:[\s+]{1,9}ATTR\d{1,9})?[.;,]?[\s+]{1,9}(?:\[[^\]]{0,500}\][\s+]{0,9})?(?:CN=)?"
    r"(?P<name>(?:\*\.)?[A-Za-z0-9_](?:[\w.-]{0,254}\w)?)[\s+]{1,9}is[\s+]{1,9}"
    r"(?P<verdict>(?:not[\s+]{1,9})?[A-Za-z]{1,40})[\s+]{0,9}\.?[\s+]{0,9}(?:\[[^\]]{0,500}\][\s+]{0,9})?$",
    re.IGNORECASE,
)


def verdict_of(text: str) -> ReplyVerdict | None:
    """Return the verdict on the certificate at the end of a refusal, in lower case; None where the reply has none."""
    match = _REPLY_VERDICT.search(text) if has_code(text) else None
    if match is None:
        return None
    return ReplyVerdict(match["name"], " ".join(match["verdict"].replace("+", " ").split()).casefold())


def attribution(text: str) -> str:
    """Return ``ATTR36`` or ``TenantAttribution`` as the reply writes it; empty where it has neither."""
    match = _ATTRIBUTION.search(text)
    return match[0] if match else ""


# Thousands of refusals often have the same reply, but for what differs from message to message:
#
#   550 5.7.64 TenantAttribution; Relay Access Denied [BL2NAM02FT011.mail.protection.outlook.com]
#   550 5.7.64 TenantAttribution; Relay Access Denied [AM5EUR02FT030.mail.protection.outlook.com]      the same text
#
# Host, clock and session id of Exchange Online (see ``bracket``); not an IP address in brackets.
_ANY_BRACKET = re.compile(r"\[(?!(?:IPv6:)?[0-9A-Fa-f.:]+\])[^\[\]]*\]")
# A non-delivery report has the reply as ``smtp;550 5.7.64 ...`` (RFC 3464 2.3.6), one of Exchange as
# ``#550 5.7.64 ...##``.
_WRAPPER = re.compile(r"\s*smtp\s*;", re.IGNORECASE)


def compared(text: str) -> str:
    """Return a reply in the form in which replies are compared, without the bracket and the wrapping of reports.

    The whole bracket is removed, for message tracking often leaves it out. A word with ``@`` is a mailbox or a message
    id, and becomes ``<mailbox>``.
    """
    wrapper = _WRAPPER.match(text)
    plain = _ANY_BRACKET.sub(" ", text[wrapper.end() :] if wrapper else text)
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
