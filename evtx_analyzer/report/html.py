"""Write the report as one HTML page that opens offline: no script, no request, light and dark, for screen and paper.

    <section id="verdict">  grade, cause, reason, one-line fix
    <section id="evidence"> for and against, and the pairs with both times and their difference
    <section id="time">     the time line as SVG, with a table of the same marks
    <section id="chain">    the certificate chain, element by element, and where it breaks
    ...                     other causes, fix, what is missing, inputs, losses, versions

Everything that comes from a log is escaped by Jinja2 and stripped of control characters. Tables are capped, and say
so, which keeps the page under 300 KB for any case; the JSON report holds more.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from evtx_analyzer.plain_text import clean, clip
from evtx_analyzer.report import outline, timeline, times
from evtx_analyzer.report import shared as tables
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language
from evtx_analyzer.report.merged import merged, place_text
from evtx_analyzer.report.other_refusals import other_refusals
from evtx_analyzer.report.pairs import chains, pairs
from evtx_analyzer.report.steps import steps

MOST = {
    "evidence": 16,
    "replies": 20,
    "pairs": 60,
    "incidents": 60,
    "chains": 4,
    "elements": 12,
    "causes": 20,
    "sources": 120,
    "losses": 80,
    "errors": 40,
    "marks": 120,
    "characters": 1200,
}
LARGEST = 300 * 1024
_FEWEST = {"characters": 80}


def to_html(report: Report, say: Language = ENGLISH) -> str:
    """Return the report as a page in a language; if the page is too large, it is made again with half of the rows."""
    values = _values(report, say)
    shrink = 1
    while True:
        most = {name: max(value // shrink, _FEWEST.get(name, 4)) for name, value in MOST.items()}
        limits = {f"most_{name}": value for name, value in most.items()}
        page = _template().render(values, **_functions(say), **limits)
        if len(page.encode()) <= LARGEST or shrink > max(MOST.values()):
            return page
        shrink *= 2


def _values(report: Report, say: Language) -> dict[str, Any]:
    """Return the values that the template shows."""
    style = resources.files("evtx_analyzer.report").joinpath("templates", "style.css").read_text("utf-8")
    best = report.findings[0] if report.findings else None
    marks = timeline.marks(report)
    pictures = (("close-up", timeline.close_up(report, marks)), ("overview", timeline.overview(report, marks)))
    return {
        "report": report,
        "best": best,
        "opening": outline.opening(report, say),
        "fixed": outline.is_fixed(report),
        "to_fill_in": outline.to_fill_in(best.remedy.steps, say) if best and best.remedy else "",
        "clock_texts": tables.clock_texts(report, say),
        "other_refusals": other_refusals(report, say),
        "sides": [merged(side, say) for side in (best.supports, best.contradicts)] if best else [],
        "others": report.findings[1 : MOST["causes"]],
        "not_listed": tables.not_listed_texts(report, say),
        "limits": times.verdict_limits(report, say) if report.incidents else (),
        "replies": tables.replies(report),
        "reply_notes": [*tables.more_replies(report, say), *tables.excerpt_texts(report, say)],
        "common": tables.compared_traits(report),
        "uncompared": tables.uncompared_text(report, say),
        "folded": tables.folded_texts(report, say),
        # Tables list folded refusals, which JSON only counts.
        "tables_list_more": any(incident.alike for incident in report.incidents),
        "unplaced": tables.unplaced_texts(report, say),
        "pairs": pairs(report),
        "chains": chains(report),
        "other_errors": tables.other_errors(report),
        "bundle_texts": tables.bundle_texts(report, say),
        "spans": tables.spans(report),
        "pictures": [(kind, picture) for kind, picture in pictures if picture is not None],
        "marks": marks,
        "style": Markup(style),  # noqa: S704  our own file
        "style_hash": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    }


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("evtx_analyzer", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _functions(say: Language) -> dict[str, Any]:
    """Return the functions that the template calls, those that word something bound to a language."""
    wording: tuple[Callable[..., Any], ...] = (
        *(times.when, times.span_cells, times.limit_cells, times.reply_times, times.difference),
        *(tables.count_cell, tables.common_cells, tables.handshake_cells, tables.store_cells, tables.lane_title),
        *(tables.other_error_text, tables.context_text, tables.more_text, tables.kind_text),
        *(merged, outline.reference, steps),
    )
    return {
        **{function.__name__: partial(function, say=say) for function in wording},
        "_": say,
        "say": say.sentence,
        "lang": say.code,
        "number": say.number,
        "place": partial(place_text, say=say),
        "handshake_titles": tables.HANDSHAKE_TITLES,
        "store_titles": tables.STORE_TITLES,
        "common_titles": tables.COMMON_TITLES,
        "repairs": tables.REPAIRS,
        "machine_time": times.machine_time,
        "moment": times.moment,
        "clock_time": times.clock_time,
    }


@pass_context
def _shown(context: Context, value: Any) -> Any:  # noqa: ANN401  whatever a template prints
    """Return a value as it is printed: control characters replaced, very long texts cut. Jinja2 calls it for each."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return clip(clean(value), context["most_characters"])
    return "" if value is None else value
