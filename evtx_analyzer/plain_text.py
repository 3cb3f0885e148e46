"""Make text of logs fit to print or to store: without control characters, not too long, numbers as numbers."""

from __future__ import annotations

import unicodedata

_MOST_DIGITS = 18  # below 2**63, which JSON and tables can hold
# Control, format (bidi and zero width), surrogate and private characters: they act, or are not seen.
_HIDDEN = ("Cc", "Cf", "Cs", "Co")
_LINE_ENDS = ("Zl", "Zp")


def clean(text: str) -> str:
    """Return the text with all characters that act or are not seen replaced, so that it cannot act on a terminal.

    These are control characters (line ends too), format characters, surrogates and private characters.
    """
    return "".join("\ufffd" if unicodedata.category(char) in _HIDDEN else char for char in text)


def escaped(text: str) -> str:
    """Return the text with hidden characters and line ends as escapes, as Python writes them."""
    hidden = (*_HIDDEN, *_LINE_ENDS)
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in hidden else char for char in text
    )


def clip(text: str, most: int) -> str:
    """Return at most ``most`` characters of the text; an ellipsis marks a cut."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def whole_number(text: str) -> int | None:
    """Return the number that ASCII digits write; None for any other text and for more than 18 digits."""
    # Not str.isdigit, which takes superscripts that int refuses; int also refuses more than 4,300 digits.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def whole_text(text: str) -> str:
    """Return the text with pairs of surrogates joined and lone ones replaced, because no encoding can write those."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
