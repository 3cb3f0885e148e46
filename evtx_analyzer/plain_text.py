"""Text of logs made fit to print: without control characters, and not too long."""

from __future__ import annotations

import unicodedata


def clean(text: str) -> str:
    """Return the text with control, format and surrogate characters replaced, so that it cannot act on a terminal."""
    return "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char for char in text)


def clip(text: str, most: int) -> str:
    """Return at most ``most`` characters of the text, the cut marked."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"
