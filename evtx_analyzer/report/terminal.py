"""The report for a terminal, the verdict first and the losses last.

    probable: The server does not send its intermediate certificates (KB 3212877)
    missing-intermediate | 3 refusals with 5.7.64 on CORP-SMTP1, 2016-12-01 03:09:55.774 UTC to ...

    Evidence for
      + 03:09:55.456 CAPI2 event 30: lsass.exe got 800B0109 CERT_E_UNTRUSTEDROOT ...
        Microsoft-Windows-CAPI2%4Operational.evtx record 3156

Text of logs is shown with its control characters replaced: a certificate's name can not move the cursor. Without color
the output is plain text; commands stand on lines of their own so that they can be copied.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.findings import Evidence, Finding, Grade
from evtx_analyzer.model.origin import describe_origin
from evtx_analyzer.plain_text import clean, clip
from evtx_analyzer.report import language, timeline
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import COMMAND, ENGLISH, Language
from evtx_analyzer.report.shared import (
    COMMON_TITLES,
    bundle_texts,
    common_cells,
    context_text,
    count_cell,
    excerpt_texts,
    folded_texts,
    limit_cells,
    more_replies,
    other_error_text,
    other_errors,
    pair_cells,
    pairs,
    reply_times,
    span_text,
    spans,
    unplaced_texts,
    when,
)
from evtx_analyzer.report.shared import replies as replies_of

PLAIN_WIDTH = 110
_GRADES: dict[Grade | None, str] = {
    "confirmed": "bold red",
    "probable": "bold red",
    "possible": "bold yellow",
    "coincident": "cyan",
    "contradicted": "magenta",
    "no-evidence": "dim",
    None: "bold green",
}
_MOST_PAIRS = 12
_MOST_REPLIES = 6
_WIDE = 106
_MOST_EVIDENCE = 16
_MOST_INCIDENTS = 20
_LONGEST = 1500
_LONGEST_CELL = 120
_MOST_LOSSES = 20
_MOST_ERRORS = 15
_MOST_OTHERS = 3
_MOST_SOURCES = 40
_SYMBOLS: dict[timeline.LaneName, str] = {"failures": "x", "successes": "o", "handshakes": "^", "refusals": "#"}
_LANES: dict[timeline.LaneName, str] = {
    "failures": "red",
    "successes": "green",
    "handshakes": "blue",
    "refusals": "yellow",
}


def to_terminal(report: Report, say: Language = ENGLISH, *, width: int = PLAIN_WIDTH, color: bool = False) -> str:
    """The report as text of the given width, with color codes where asked for."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, no_color=not color, highlight=False, markup=False)
    for part in _parts(report, say, width):
        # Commands are printed whole, however long, so that they can be copied.
        whole = isinstance(part, Text) and part.no_wrap is True
        console.print(part, soft_wrap=whole, crop=not whole)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(report: Report, say: Language, width: int) -> Iterable[RenderableType]:
    yield from _verdict(report, say)
    if report.findings:
        best, *others = (language.finding(item, say) for item in report.findings)
        yield from _best(best, report, say, width)
        yield from _others(others, say)
        more = _more(len(report.incidents), _MOST_INCIDENTS, say)
        folded = [Text(text, style="yellow") for text in folded_texts(report, say)]
        yield from _section(say("Incidents"), [_incidents(report.incidents, say), *more, *folded])
    yield from _section(say("Beside the refusals"), _context(report, say))
    yield from _section(say("Other errors, not counted"), _other_errors(report, say))
    yield from _section(say("Inputs and what they cover"), _sources(report, say))
    yield from _losses(report, say)


def _verdict(report: Report, say: Language) -> Iterable[RenderableType]:
    verdict = report.verdict
    style = _GRADES[verdict.grade]
    grade = f"{say(verdict.grade)}: " if verdict.grade and verdict.cause != "unexplained" else ""
    yield Text(_shown(grade + say.sentence(verdict.title)), style=style)
    cause = f"{verdict.cause} | " if verdict.cause else ""
    yield Text(_shown(cause + say.sentence(verdict.summary)))
    if report.options.redact:
        yield Text(say("Names in this report are aliases (--redact)."), style="dim")


def _best(best: Finding, report: Report, say: Language, width: int) -> Iterable[RenderableType]:
    explained = best.cause != "unexplained"
    yield from _section(say("Why"), [Text(_shown(best.why))])
    yield from _section(say("What Exchange Online said"), _replies(report, say))
    if best.supports or explained:
        yield from _section(say("Evidence for"), _evidence(best.supports, "+", say("none"), say))
        yield from _section(say("Evidence against"), _evidence(best.contradicts, "-", say("none was found"), say))
    yield from _section(say("What the refused mail has in common"), _common(report, say))
    found = _pairs(report, say, width)
    if found is not None:
        folded = [Text(text, style="dim") for text in folded_texts(report, say)]
        yield from _section(say("Refusals and the certificate checks beside them"), [found, *folded])
    line = timeline.close_up(report) or timeline.overview(report)
    if line is not None:
        yield from _section(say("Time line"), [*_timeline(line, say, width - 4), *_unplaced(report, say)])
    yield from _section(say("Missing"), _missing(best))
    if best.remedy is not None:
        yield from _section(say("Fix") if explained else say("Next"), _steps(best.remedy.steps))
        yield from _section(say("Verify"), _steps(best.remedy.verify))
        yield from _section(say("References"), [Text(item) for item in best.remedy.references])


def _replies(report: Report, say: Language) -> list[RenderableType]:
    """Each distinct reply with its count; times only where there are several replies, else the verdict has them."""
    replies = replies_of(report)
    body: list[RenderableType] = []
    for reply in replies[:_MOST_REPLIES]:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(justify="right")
        grid.add_column(overflow="fold")
        grid.add_row(f"{reply.count} x", Text(_shown(reply.text)))
        if len(replies) > 1:
            grid.add_row("", Text(reply_times(reply, say), style="dim"))
        body.append(grid)
    body += _more(len(replies), _MOST_REPLIES, say)
    body += [Text(text) for text in more_replies(report, say)]
    return body + [Text(_shown(text), style="yellow") for text in excerpt_texts(report, say)[:_MOST_REPLIES]]


def _common(report: Report, say: Language) -> list[RenderableType]:
    if not report.common:
        return []
    table = _table(*(say(title) for title in COMMON_TITLES))
    table.columns[1].justify = "right"
    for item in report.common[:_MOST_PAIRS]:
        clue = "bold" if item.compared and not item.accepted else None
        table.add_row(*(_cell(cell) for cell in common_cells(item, say)), style=clue)
    return [table, *_more(len(report.common), _MOST_PAIRS, say)]


def _unplaced(report: Report, say: Language) -> list[RenderableType]:
    return [Text(text, style="dim") for text in unplaced_texts(report, say)]


def _timeline(line: timeline.Timeline, say: Language, width: int) -> list[RenderableType]:
    """Four lanes of characters: a mark, a digit where several share a cell, dots where logs cover the time."""
    names = [f"{say(lane.title)} ({lane.count})" for lane in line.lanes]
    left = max(len(name) for name in names) + 1
    cells = max(width - left - 2, 20)
    body: list[RenderableType] = []
    for name, lane in zip(names, line.lanes, strict=True):
        text = Text(name.ljust(left) + "|", no_wrap=True)
        for count, covered in _cells(lane, cells):
            text.append(_symbol(lane.name, count, covered), style=_LANES[lane.name] if count else "dim")
        body.append(text.append("|"))
    start, end = clock.as_text(line.start), clock.as_text(line.end)
    body.append(Text(" " * left + start + end.rjust(max(cells + 2 - len(start), len(end) + 1)), style="dim"))
    return [_whole(item) for item in body if isinstance(item, Text)]


def _whole(text: Text) -> Text:
    return Text("  ", no_wrap=True).append_text(text)


def _cells(lane: timeline.Lane, cells: int) -> list[tuple[int, bool]]:
    """Per character cell: how many marks fall into it, and whether a log covers it."""
    counts = [0] * cells
    for x, count in [*((mark.x, 1) for mark in lane.marks), *((bin_.x, bin_.count) for bin_ in lane.bins)]:
        counts[min(int(x * cells), cells - 1)] += count
    middles = [(number + 0.5) / cells for number in range(cells)]
    return [(count, any(a <= x <= b for a, b in lane.covered)) for count, x in zip(counts, middles, strict=True)]


def _symbol(lane: timeline.LaneName, count: int, covered: bool) -> str:
    if count == 1:
        return _SYMBOLS[lane]
    if count:
        return str(count) if count <= 9 else "*"  # noqa: PLR2004  one digit
    return "." if covered else " "


def _shown(text: str) -> str:
    """A text of the report, safe and of a length that can be read."""
    return clip(clean(text), _LONGEST)


def _cell(text: str) -> str:
    return clip(clean(text), _LONGEST_CELL)


def _section(title: str, body: Sequence[RenderableType]) -> Iterable[RenderableType]:
    if body:
        yield Text()
        yield Text(title, style="bold")
        for item in body:
            yield item if isinstance(item, Text) and item.no_wrap else Padding(item, (0, 0, 0, 2))


def _evidence(items: Sequence[Evidence], sign: str, nothing: str, say: Language) -> list[RenderableType]:
    shown = [_bullet(sign, item, say) for item in items[:_MOST_EVIDENCE]]
    return [*shown, *_more(len(items), _MOST_EVIDENCE, say)] or [Text(nothing, style="dim")]


def _bullet(sign: str, item: Evidence, say: Language) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    time = f"{when(item.time, say, item.time_basis)}  " if item.time else ""
    grid.add_row(sign, Text(time + _shown(item.text)))
    place = describe_origin(item.origin)
    if place:
        grid.add_row("", Text(_shown(place), style="dim"))
    return grid


def _missing(best: Finding) -> list[RenderableType]:
    body: list[RenderableType] = []
    for item in best.missing:
        body.append(Text(_shown(item.text)))
        body += _steps(item.collect)
    return body


def _steps(steps: Sequence[str]) -> list[RenderableType]:
    """Sentences are numbered; commands stand alone and are never wrapped, so that they can be copied whole."""
    body: list[RenderableType] = []
    number = 0
    width = len(f"{sum(not step.startswith(COMMAND) for step in steps)}.")
    for step in steps:
        if step.startswith(COMMAND):
            body.append(Text("       " + clean(step.removeprefix(COMMAND)), style="green", no_wrap=True))
            continue
        number += 1
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=width)
        grid.add_column(overflow="fold")
        grid.add_row(f"{number}.", Text(_shown(step)))
        body.append(grid)
    return body


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", safe_box=True)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _pairs(report: Report, say: Language, width: int) -> Table | None:
    """The pairs with their time difference, nearest first, those that rest on identity before the others.

    A narrow terminal gets what joins a pair in one column and the date above the time, else words break into letters.
    """
    found = pairs(report)
    if not found:
        return None
    titles = [
        say(title)
        for title in ("refused (UTC)", "handshake", "CAPI2 event", "difference", "joined by", "host", "result")
    ]
    rows = [[_cell(cell) for cell in pair_cells(item, say)] for item in found[:_MOST_PAIRS]]
    if width < _WIDE:
        titles, rows = _narrow(titles), [_narrow(row) for row in rows]
    table = _table(*titles)
    table.padding = (0, 1, 0, 0) if width < _WIDE else table.padding
    for column in table.columns[width < _WIDE : 4]:
        column.no_wrap = True
    for row in rows:
        table.add_row(*row)
    if len(found) > _MOST_PAIRS:
        table.add_row(say("and $count more", count=len(found) - _MOST_PAIRS), *[""] * (len(titles) - 1))
    return table


def _narrow(cells: Sequence[str]) -> list[str]:
    *times, basis, host, result = cells
    return [*times, f"{basis}, {host}", result]


def _others(findings: Sequence[Finding], say: Language) -> Iterable[RenderableType]:
    body: list[RenderableType] = []
    for item in findings:
        line = Text()
        line.append(say(item.grade), style=_GRADES[item.grade])
        line.append(f"  {item.cause}: {_shown(item.title)}")
        body.append(line)
        against = list(dict.fromkeys(text.text for text in item.contradicts))[:_MOST_OTHERS]
        body += [Padding(Text("- " + _shown(text)), (0, 0, 0, 2)) for text in against]
        if item.grade in ("possible", "probable", "confirmed", "coincident"):
            body += [Padding(Text("+ " + _shown(text.text)), (0, 0, 0, 2)) for text in item.supports[:1]]
    yield from _section(say("Other causes, and why not"), body)


def _incidents(incidents: Sequence[Incident], say: Language) -> Table:
    titles = ("first refusal", "last refusal", "count", "host", "log", "connector", "certificate")
    table = _table(*(say(item) for item in titles))
    for item in incidents[:_MOST_INCIDENTS]:
        certificate = item.certificate.thumbprint if item.certificate else say("not shown by the log")
        basis = item.rejections[0].host_basis if item.rejections else "row"
        host = item.host + (f" ({say(basis)})" if basis != "row" else "")
        row = (
            *limit_cells(item, say, to_second=True),
            count_cell(item, say),
            host.strip(),
            item.kind,
            item.connector,
            certificate,
        )
        table.add_row(*(_cell(cell) for cell in row))
    return table


def _other_errors(report: Report, say: Language) -> list[RenderableType]:
    """Failures that are not 5.7.64, those that look like it first."""
    rows = other_errors(report)
    body: list[RenderableType] = [Text(_shown(other_error_text(item, say))) for item in rows[:_MOST_ERRORS]]
    return body + _more(len(rows), _MOST_ERRORS, say)


def _context(report: Report, say: Language) -> list[RenderableType]:
    body: list[RenderableType] = [Text(_shown(context_text(item, say))) for item in report.context[:_MOST_ERRORS]]
    return body + _more(len(report.context), _MOST_ERRORS, say)


def _sources(report: Report, say: Language) -> list[RenderableType]:
    covered = spans(report)
    body: list[RenderableType] = [Text(_shown(text)) for text in bundle_texts(report, say)]
    for item in report.sources[:_MOST_SOURCES]:
        reason = f" - {say.sentence(item.reason)}" if item.reason else ""
        body.append(Text(_shown(f"{item.path}: {item.kind}, {say(item.status)}{reason}")))
        for span in covered.get(item.path, ()):
            texts = (span_text(span, say), *(say.sentence(note) for note in span.notes))
            body += [Padding(Text(_shown(text), style="dim"), (0, 0, 0, 2)) for text in texts]
    return body + _more(len(report.sources), _MOST_SOURCES, say)


def _losses(report: Report, say: Language) -> Iterable[RenderableType]:
    body: list[RenderableType] = [
        Text(
            _shown(f"! {describe_origin(item.origin)}: {say.sentence(item.reason)} ({say.sentence(item.extent)})"),
            style="red",
        )
        for item in report.losses[:_MOST_LOSSES]
    ]
    body += _more(len(report.losses), _MOST_LOSSES, say)
    yield from _section(say("Losses: what could not be read"), body or [Text(say("none"), style="dim")])


def _more(count: int, most: int, say: Language) -> list[RenderableType]:
    text = say("$shown of $count are shown; the JSON report holds all.", shown=most, count=count)
    return [Text(text)] if count > most else []
