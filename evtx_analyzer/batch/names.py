"""Name the reports of a batch after their bundles; the names are unique and safe on every file system."""

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

    The digits come from a hash of the bundle's name, so that a report has the same name in every run, and ``a/b``
    another one than ``a-b``. A name has more than four digits if another bundle has the same four.
    """
    taken: set[str] = set()
    names = []
    for label in labels:
        digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
        stem = _stem(label)
        candidates = (f"{stem}-{digest[:count]}" for count in range(_DIGITS, len(digest) + 1))
        # File systems of Windows and macOS ignore case.
        name = next(name for name in candidates if name.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def _stem(label: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in without_archive_suffix(label))
    parts = [part for part in kept.split("-") if part]
    # Common file systems allow names of 255 bytes, and a letter takes up to four of them.
    short = "-".join(parts).encode()[: _LONGEST * 3].decode("utf-8", "ignore")[:_LONGEST]
    stem = short.strip("-.") or "bundle"
    # Windows takes these names for devices, whatever follows a dot.
    return f"_{stem}" if _DEVICE.match(stem) else stem
