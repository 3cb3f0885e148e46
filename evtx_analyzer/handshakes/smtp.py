"""Read the clear text of an SMTP connection before TLS begins (RFC 5321, RFC 3207): banner, EHLO, reply to STARTTLS."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

_WHOLE_REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n")
_WHOLE_COMMAND = re.compile(rb"[^\n]{0,2048}\n")
_SEEN = re.compile(r"Hello \[([0-9A-Fa-f.:]+)\]")
_MOST_COMMANDS = 200
_CODE = re.compile(r"\b5\.7\.64\b")


class Dialog(Struct, frozen=True, kw_only=True):
    """The clear text of one connection.

    ``starttls`` is ``accepted``, ``refused``, ``unanswered``, ``not-used``, or empty where the
    connection is TLS from its first byte. ``client_end`` and ``server_end`` are the byte offsets at which the clear
    text ends in both directions, and TLS begins where it was accepted. ``refusal`` is a reply with 5.7.64 in clear
    text.
    """

    banner: str = ""
    ehlo: str = ""
    seen_address: str = ""
    starttls: str = ""
    refusal: str = ""
    client_end: int = 0
    server_end: int = 0


def dialog(client: bytes, server: bytes) -> Dialog:
    """Return the clear text of both streams until TLS begins; replies and commands are paired by their order."""
    replies = [(text.replace("\r", "").rstrip("\n"), end) for text, end in _whole(_WHOLE_REPLY.match, server)]
    refusal = next((text for text, _ in replies if _CODE.search(text)), "")
    talk = Dialog(banner=replies[0][0] if replies else "", starttls="not-used", refusal=refusal)
    # The banner is reply 0, so that of the first command is reply 1.
    for number, (command, end) in enumerate(_whole(_WHOLE_COMMAND.match, client), start=1):
        verb, _, argument = command.strip().partition(" ")
        reply, reply_end = replies[number] if number < len(replies) else ("", 0)
        if verb.upper() in ("EHLO", "HELO"):
            seen = _SEEN.search(reply)
            talk = replace(talk, ehlo=argument.strip(), seen_address=seen[1] if seen else "")
        elif verb.upper() == "STARTTLS":
            state = "accepted" if reply.startswith("220") else "refused" if reply else "unanswered"
            return replace(talk, starttls=state, refusal="", client_end=end, server_end=reply_end)
        elif verb.upper() in ("DATA", "BDAT"):
            break
    return talk


def _whole(match_at: Callable[[bytes, int], re.Match[bytes] | None], data: bytes) -> Iterator[tuple[str, int]]:
    """Yield each whole reply, of one line or several, or each whole command, and the offset at which it ends."""
    at = 0
    for _ in range(_MOST_COMMANDS):
        match = match_at(data, at)
        if match is None:
            return
        at = match.end()
        yield match[0].decode("utf-8", "replace"), at
