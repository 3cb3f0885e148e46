"""What the text of one reply says: code, attribution, host and clock of the remote side, the certificate's verdict.

Exchange Online writes its host name behind a reply in brackets, and since about 2023 its clock and a session id:
``550 5.7.64 TenantAttribution; Relay Access Denied ATTR36. [HOST 2025-01-29T19:07:30.476Z 08DD3F...]``.
"""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

from evtx_analyzer import clock

ENHANCED = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
REPLY_CODE = re.compile(r"\s*#?(?:<[^>]*>)?\s*#?([45]\d\d)\b")


def code(text: str) -> str:
    """Return reply code and enhanced status of a reply (``550 5.7.64``), or the one of them that it has."""
    reply, enhanced = REPLY_CODE.match(text), ENHANCED.search(text)
    return " ".join(found[1] for found in (reply, enhanced) if found) or "no code"


_CODE_5764 = re.compile(r"(?<![\d.])5\.7\.64(?![\d.]*\d)")
_ATTRIBUTION = re.compile(r"\bATTR?\d+\b|TenantAttribution", re.IGNORECASE)


def has_code(text: str) -> bool:
    """Return whether a text holds 5.7.64 as an enhanced status, and not inside an address or 5.7.640."""
    return _CODE_5764.search(text) is not None


class Bracket(Struct, frozen=True):
    """What Exchange Online writes behind a reply: its host, and since about 2023 its clock and a session id."""

    host: str = ""
    clock: datetime | None = None


_BRACKET = re.compile(r"\[([A-Za-z0-9.-]+\.[A-Za-z0-9.-]*[A-Za-z][A-Za-z0-9.-]*)(?:\s+(\S+Z))?(?:\s+[0-9A-F]+)?\]")


def bracket(text: str) -> Bracket:
    """Return the last bracket of a reply that holds a host name; an empty one if there is none."""
    found = list(_BRACKET.finditer(text))
    return Bracket(found[-1][1], clock.from_iso(found[-1][2] or "")) if found else Bracket()


class ReplyVerdict(Struct, frozen=True):
    """What a reply says of the certificate that arrived: its name and the verdict (``untrustedroot``, ``expired``)."""

    name: str
    verdict: str


# As printed in learn.microsoft.com/answers/questions/2276469: "Relay Access Denied  app01 is untrustedroot."
_REPLY_VERDICT = re.compile(
    r"Denied[.;,]?(?:[\s+]+ATTR\d+)?[.;,]?[\s+]+(?:\[[^\]]*\][\s+]*)?(?:CN=)?"
    r"(?P<name>(?:\*\.)?[A-Za-z0-9_](?:[\w.-]*\w)?)[\s+]+is[\s+]+(?P<verdict>(?:not[\s+]+)?[A-Za-z]+)"
    r"[\s+]*\.?[\s+]*(?:\[[^\]]*\][\s+]*)?$",
    re.IGNORECASE,
)


def verdict_of(text: str) -> ReplyVerdict | None:
    """Return the certificate's name and the verdict on it at the end of a refusal; None where the reply has neither."""
    found = _REPLY_VERDICT.search(text) if has_code(text) else None
    if found is None:
        return None
    return ReplyVerdict(found["name"], " ".join(found["verdict"].replace("+", " ").split()).casefold())


def attribution(text: str) -> str:
    """Return ``ATTR36`` or ``TenantAttribution`` as the reply writes it; empty where it names none."""
    found = _ATTRIBUTION.search(text)
    return found[0] if found else ""
