"""Where the checkout is that the tests belong to."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SAMPLES = CHECKOUT / "samples"
