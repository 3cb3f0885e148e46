"""What is said in clear text before TLS begins (RFC 5321, RFC 3207): banner, EHLO, and the answer to STARTTLS."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

_WHOLE_REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n")
_COMMAND = re.compile(rb"[^\n]{0,2048}\n")
_SEEN = re.compile(r"Hello \[([0-9A-Fa-f.:]+)\]")
_MOST_COMMANDS = 200
_CODE = re.compile(r"\b5\.7\.64\b")


class Dialog(Struct, frozen=True, kw_only=True):
    """The clear text of one connection.

    ``client_end`` and ``server_end`` are where it ends in both directions: TLS begins there where ``starttls`` is
    ``accepted``. ``starttls`` is ``accepted``, ``refused`` (by ``reply``), ``unanswered``, ``not-used``, or empty where
    the connection speaks TLS from its first byte. ``refusal`` is a reply with 5.7.64 that was given in clear text.
    """

    banner: str = ""
    ehlo: str = ""
    seen_address: str = ""
    keywords: tuple[str, ...] = ()
    starttls: str = ""
    reply: str = ""
    refusal: str = ""
    client_end: int = 0
    server_end: int = 0


def dialog(client: bytes, server: bytes) -> Dialog:
    """Return what both sides said until TLS began; replies and commands are paired by their order."""
    replies = list(_replies(server))
    refusal = next((text for text, _ in replies if _CODE.search(text)), "")
    found = Dialog(banner=replies[0][0] if replies else "", starttls="not-used", refusal=refusal)
    for number, (command, end) in enumerate(_commands(client), start=1):
        verb, _, rest = command.partition(" ")
        answer, answer_end = replies[number] if number < len(replies) else ("", 0)
        if verb.upper() in ("EHLO", "HELO"):
            seen = _SEEN.search(answer)
            keywords = tuple(line[4:].strip() for line in answer.splitlines()[1:])
            found = replace(found, ehlo=rest.strip(), seen_address=seen[1] if seen else "", keywords=keywords)
        elif verb.upper() == "STARTTLS":
            state = "accepted" if answer.startswith("220") else "refused" if answer else "unanswered"
            return replace(found, starttls=state, reply=answer, refusal="", client_end=end, server_end=answer_end)
        elif verb.upper() in ("DATA", "BDAT"):
            break
    return found


def _replies(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield each reply, whatever its number of lines, and where it ends."""
    at = 0
    for _ in range(_MOST_COMMANDS):
        match = _WHOLE_REPLY.match(data, at)
        if match is None:
            return
        at = match.end()
        yield match[0].decode("utf-8", "replace").replace("\r", "").rstrip("\n"), at


def _commands(data: bytes) -> Iterator[tuple[str, int]]:
    at = 0
    for _ in range(_MOST_COMMANDS):
        match = _COMMAND.match(data, at)
        if match is None:
            return
        at = match.end()
        yield match[0].decode("utf-8", "replace").strip(), at
