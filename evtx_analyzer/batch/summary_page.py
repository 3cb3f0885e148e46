"""Write a summary as one page: counts, what changed, incidents over time, certificates, what was not read, all bundles.

Everything can be read without the script, which only sorts and filters the table of bundles. Its hash in the page's
content security policy keeps any other script from running.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, get_args
from urllib.parse import quote

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.batch.compare import words
from evtx_analyzer.batch.summary import OUTCOME_NAMES, FleetIncident, Summary
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.plain_text import clean, clip
from evtx_analyzer.report.language import ENGLISH, Language

_TOP_CERTIFICATES = 50
_BINS = 60


def headline(summary: Summary, say: Language) -> str:
    """Return the first line of a summary: how many refusals there are in how many bundles."""
    count, bundles = summary.rejection_count, len(summary.rows)
    label = {
        (True, True): "1 refusal with 5.7.64 in 1 bundle",
        (True, False): "1 refusal with 5.7.64 in $bundles bundles",
        (False, True): "$count refusals with 5.7.64 in 1 bundle",
        (False, False): "$count refusals with 5.7.64 in $bundles bundles",
    }[count == 1, bundles == 1]
    return say(label, count=say.number(count), bundles=say.number(bundles))


def to_html(summary: Summary, say: Language = ENGLISH) -> str:
    """Return the summary as an HTML page in the reader's language."""
    placed = tuple(incident for incident in summary.incidents if clock.is_known(incident.start_basis))
    script = _script()
    page: str = _template().render(
        summary=summary,
        headline=headline(summary, say),
        placed=placed,
        bins=_bins(placed),
        moment=_moment,
        certificates=summary.certificates[:_TOP_CERTIFICATES],
        certificate_count=len(summary.certificates),
        outcome_names=OUTCOME_NAMES,
        grades=get_args(Grade),
        say=say,
        _=say,
        words=lambda row: say.sentence(words(row)),
        quote=quote,
        clip=clip,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page


@cache
def _script() -> str:
    return resources.files("evtx_analyzer.batch").joinpath("summary.js").read_text("utf-8")


@cache
def _template() -> Any:  # noqa: ANN401  a template of jinja2, imported where it is used
    # Slow to import, and needed only when a summary is written.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("evtx_analyzer.batch", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    return environment.get_template("summary.html.j2")


def _moment(time: datetime, basis: TimeBasis = "utc") -> str:
    """Return a time to the second, with a remark if it is not simply UTC."""
    remark = clock.remark(basis)
    return f"{time:%Y-%m-%d %H:%M:%S}" + (f", {remark}" if remark else "")


class _Bin(Struct, frozen=True):
    start: datetime
    rejections: int
    incidents: int
    share: float


def _bins(incidents: tuple[FleetIncident, ...]) -> list[_Bin]:
    """Return the refusals in equal spans of time, by the start of their incident; the highest ``share`` is 1."""
    if not incidents:
        return []
    first, last = incidents[0].start, incidents[-1].start
    step = max((last - first) / _BINS, timedelta(seconds=1))
    counts = [[0, 0] for _ in range(_BINS + 1)]
    for incident in incidents:
        count = counts[int((incident.start - first) / step)]
        count[0] += incident.rejection_count
        count[1] += 1
    counts = counts[: int((last - first) / step) + 1]
    most = max(rejections for rejections, _ in counts)
    return [
        _Bin(first + step * number, rejections, in_span, rejections / most)
        for number, (rejections, in_span) in enumerate(counts)
    ]
