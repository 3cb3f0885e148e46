"""The report as one HTML page that opens offline: no script, no request, light and dark, for screen and paper.

    <section id="verdict">  grade, cause, reason, one-line fix
    <section id="evidence"> for and against, and the pairs with both times and their difference
    <section id="time">     the time line as SVG, with a table of the same marks
    <section id="chain">    the certificate chain, element by element, and where it breaks
    ...                     other causes, fix, what is missing, inputs, losses, versions

Everything that comes from a log is escaped by Jinja2 and stripped of control characters. Tables are capped, and say
so, which keeps the page under 300 KB for any case; the JSON report holds everything.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evtx_analyzer import clock
from evtx_analyzer.report import language
from evtx_analyzer.report.language import ENGLISH, Language
from evtx_analyzer.report import tables, timeline
from evtx_analyzer.report.document import Report, place_text

MOST_EVIDENCE = 16
MOST_PAIRS = 60
MOST_INCIDENTS = 60
MOST_CHAINS = 4
MOST_ELEMENTS = 12
MOST_CAUSES = 20
MOST_SOURCES = 120
MOST_LOSSES = 80
MOST_MARKS = 120
_LONGEST = 400  # characters of any one value of a log


def to_html(report: Report, say: Language = ENGLISH) -> str:
    """The report as a page in the given language."""
    environment = _environment(say)
    style = environment.loader.get_source(environment, "style.css")[0] if environment.loader else ""
    findings = [language.finding(item, say) for item in report.findings[:MOST_CAUSES]]
    return environment.get_template("report.html.j2").render(
        report=report,
        verdict_title=say.sentence(report.verdict.title),
        verdict_summary=say.sentence(report.verdict.summary),
        best=findings[0] if findings else None,
        others=findings[1:],
        pairs=tables.pairs(report),
        chains=tables.chains(report),
        spans=tables.spans(report),
        pictures=[(kind, item) for kind, item in _pictures(report) if item is not None],
        marks=timeline.marks(report),
        style=Markup(style),  # noqa: S704  our own file
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _pictures(report: Report) -> list[tuple[str, timeline.Timeline | None]]:
    return [("close-up", timeline.close_up(report)), ("overview", timeline.overview(report))]


def _environment(say: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("evtx_analyzer", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    limits = {name.lower(): value for name, value in globals().items() if name.startswith("MOST_")}
    environment.globals.update(
        _=say,
        say=say.sentence,
        lang=say.code,
        place=place_text,
        when=clock.as_text,
        moment=tables.moment,
        clock_time=tables.clock_time,
        difference=tables.difference,
        steps=tables.steps,
        first_sentence=tables.first_sentence,
        **limits,
    )
    return environment


def _shown(value: Any) -> Any:  # noqa: ANN401  whatever a template prints
    """Every printed text passes here: control characters replaced, overlong values cut."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return tables.clip(tables.clean(value), 3 * _LONGEST)
    return "" if value is None else value
