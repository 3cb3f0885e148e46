"""Text of logs made fit to print: without control characters, and not too long."""

from __future__ import annotations

import unicodedata

# Control, format (bidi and zero width), surrogate and private characters: they act, or are not seen.
_HIDDEN = ("Cc", "Cf", "Cs", "Co")
_LINE_ENDS = ("Zl", "Zp")


def clean(text: str) -> str:
    """Return the text with control, format and surrogate characters replaced, so that it cannot act on a terminal."""
    return "".join("\ufffd" if unicodedata.category(char) in _HIDDEN else char for char in text)


def escaped(text: str) -> str:
    """Return the text with hidden characters and line ends as escapes, as Python writes them."""
    hidden = (*_HIDDEN, *_LINE_ENDS)
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in hidden else char for char in text
    )


def clip(text: str, most: int) -> str:
    """Return at most ``most`` characters of the text, the cut marked."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"
