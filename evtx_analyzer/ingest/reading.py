"""The state that all readings of a case share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.events import ReadingOptions
from evtx_analyzer.ingest.tallies import Tallies
from evtx_analyzer.rules import Rules


class Reading(NamedTuple):
    """The sources of a case with their accounts; with ``prefilter``, records that no rule matches are counted only."""

    accounts: Sequence[SourceAccount]
    rules: Rules
    tallies: Tallies
    options: ReadingOptions
    prefilter: bool
