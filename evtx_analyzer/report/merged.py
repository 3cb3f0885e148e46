"""Merge evidence for readers: a sentence that holds at several places stands once, with all its places.

CAPI2 event 11 of the same chain: CERT_TRUST_IS_PARTIAL_CHAIN. The chain stops at *.contoso.com ...
3 times, 2026-03-10 09:14:02.100 UTC to 09:20:11.000 UTC: capi2.evtx records 5200, 5636, 6012
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.model.findings import Evidence
from evtx_analyzer.model.origin import Origin, display_name
from evtx_analyzer.report.language import Language

_MOST_PLACES = 8
# The part that differs between equal observations: how far the check lies from the handshake.
_DISTANCE = re.compile(r"(?<![\d.,])\d[\d.,]*+ (?:s|min|h) (?:before|after) ")
PLACES = (
    ("line", "$file line $number", "$file lines $number"),
    ("record", "$file record $number", "$file records $number"),
    ("offset", "$file offset $number", "$file offsets $number"),
)


class Observed(Struct, frozen=True, kw_only=True):
    """A sentence, when it was observed (empty if it has no time), where, and how often.

    ``moment`` is the first time, for outputs that programs read.
    """

    text: str
    moment: Moment | None
    time: str
    place: str
    count: int


def merged(evidence: Iterable[Evidence], say: Language) -> list[Observed]:
    """Return evidence with equal sentences merged; order and text are those of the first of each."""
    groups: dict[str, list[Evidence]] = {}
    for sentence in evidence:
        groups.setdefault(_DISTANCE.sub("", sentence.text), []).append(sentence)
    return [_observed(same, say) for same in groups.values()]


def _observed(same: Sequence[Evidence], say: Language) -> Observed:
    moments = [Moment(evidence.time, evidence.time_basis) for evidence in same if evidence.time is not None]
    return Observed(
        text=say.sentence(same[0].text),
        moment=clock.limits(moments)[0] if moments else None,
        time=say.phrase(clock.span_text(*clock.limits(moments))) if moments else "",
        place=places_text([evidence.origin for evidence in same if evidence.origin is not None], say),
        count=len(same),
    )


def place_text(origin: Origin | None, say: Language) -> str:
    """Return an origin as reports print it, in the reader's language: ``SEND1.LOG line 17``."""
    return places_text([origin] if origin is not None else [], say)


def places_text(origins: Iterable[Origin], say: Language) -> str:
    """Return several origins, those of one file together: ``capi2.evtx records 5200, 5636; SEND1.LOG line 17``."""
    by_file: dict[tuple[str, str], list[int]] = {}
    for origin in origins:
        name = next((name for name, *_ in PLACES if getattr(origin, name) is not None), "")
        numbers = by_file.setdefault((display_name(origin), name), [])
        if name and getattr(origin, name) not in numbers:
            numbers.append(getattr(origin, name))
    return "; ".join(_in_file(file, name, numbers, say) for (file, name), numbers in by_file.items())


def _in_file(file: str, name: str, numbers: Sequence[int], say: Language) -> str:
    form = next((forms for kind, *forms in PLACES if kind == name), None)
    if form is None:
        return file
    listed = ", ".join(str(number) for number in numbers[:_MOST_PLACES])
    if len(numbers) > _MOST_PLACES:
        listed = say("$listed and $count more", listed=listed, count=len(numbers) - _MOST_PLACES)
    return say(form[len(numbers) > 1], file=file, number=listed)
