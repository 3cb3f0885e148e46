"""The ways in which a bundle can fail that are no fault of its contents."""

from __future__ import annotations

from msgspec import Struct

DIED = "its worker process died in every try; the bundle may be too large for this machine, or crash a library"
"""Said of a bundle in the same words by every kind of pool, so that summaries are the same."""


class BundleError(Exception):
    """Raised in a worker: analyzing the bundle failed in a way that may not come again; it is tried once more."""


class Failed(Struct, frozen=True):
    """Both tries failed; the reason of the second."""

    reason: str
