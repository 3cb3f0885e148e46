"""What the reports of a batch are called: after their bundles, safe on every file system, each once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from evtx_analyzer.batch.bundles import without_archive_suffix

_LONGEST = 60
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])\.", re.IGNORECASE)
_DIGITS = 4


def report_names(labels: Iterable[str]) -> list[str]:
    """Return a file name without suffix for each bundle, such as ``ticket-0031-3f2a``.

    The digits are of a hash of the bundle's name, so that a report has the same name every night, and ``a/b`` another
    than ``a-b``; there are more of them where four are the same.
    """
    taken: set[str] = set()
    names = []
    for label in labels:
        digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
        stem = _stem(label)
        made = (f"{stem}-{digest[:count]}" for count in range(_DIGITS, len(digest) + 1))
        # Windows and macOS tell no upper case from lower case.
        name = next(name for name in made if name.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def _stem(label: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in without_archive_suffix(label))
    parts = [part for part in kept.split("-") if part]
    # 255 bytes is the most that common file systems take, and a letter takes up to four.
    short = "-".join(parts).encode()[: _LONGEST * 3].decode("utf-8", "ignore")[:_LONGEST]
    stem = short.strip("-.") or "bundle"
    # Windows takes these names for devices, whatever stands behind a dot.
    return f"_{stem}" if _DEVICE.match(stem) else stem
