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
import unicodedata
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evtx_analyzer import clock
from evtx_analyzer.model import Coverage, Evidence, Finding, Grade, Incident, Link, Operation, Rejection
from evtx_analyzer.report.document import Report, place_text

PLAIN_WIDTH = 110
_GRADES: dict[Grade | None, str] = {
    "probable": "bold red",
    "possible": "bold yellow",
    "coincident": "cyan",
    "contradicted": "magenta",
    "no-evidence": "dim",
    None: "bold green",
}
_MOST_PAIRS = 12
_MOST_LOSSES = 20
_MOST_ERRORS = 15
_MOST_OTHERS = 3
_MOST_SOURCES = 40
_COMMAND = "> "


def to_terminal(report: Report, *, width: int = PLAIN_WIDTH, color: bool = False) -> str:
    """The report as text of the given width, with color codes where asked for."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, no_color=not color, highlight=False, markup=False)
    for part in _parts(report):
        # Commands are printed whole, however long, so that they can be copied.
        whole = isinstance(part, Text) and part.no_wrap is True
        console.print(part, soft_wrap=whole, crop=not whole)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def clean(text: str) -> str:
    """Text of a log with control, format and surrogate characters replaced, so that it can not act on a terminal."""
    return "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char for char in text)


def _parts(report: Report) -> Iterable[RenderableType]:
    yield from _verdict(report)
    if report.findings:
        best = report.findings[0]
        yield from _best(best, report)
        yield from _others(report.findings[1:])
        yield from _section("Incidents", [_incidents(report.incidents)])
    yield from _section("Beside the refusals", _context(report))
    yield from _section("Other errors, not counted", _other_errors(report))
    yield from _section("What was read", _sources(report))
    yield from _losses(report)


def _verdict(report: Report) -> Iterable[RenderableType]:
    verdict = report.verdict
    style = _GRADES[verdict.grade]
    grade = f"{verdict.grade}: " if verdict.grade and verdict.cause != "unexplained" else ""
    yield Text(clean(grade + verdict.title), style=style)
    cause = f"{verdict.cause} | " if verdict.cause else ""
    yield Text(clean(cause + verdict.summary))


def _best(best: Finding, report: Report) -> Iterable[RenderableType]:
    yield from _section("Why", [Text(clean(best.why))])
    if best.supports or best.cause != "unexplained":
        yield from _section("Evidence for", _evidence(best.supports, "+", "none"))
        yield from _section("Evidence against", _evidence(best.contradicts, "-", "none was found"))
    pairs = _pairs(report)
    if pairs is not None:
        yield from _section("Refusals and the certificate checks beside them", [pairs])
    yield from _section("Missing", _missing(best))
    if best.remedy is not None:
        yield from _section("Fix" if best.cause != "unexplained" else "Next", _steps(best.remedy.steps))
        yield from _section("Verify", _steps(best.remedy.verify))
        yield from _section("References", [Text(item) for item in best.remedy.references])


def _section(title: str, body: Sequence[RenderableType]) -> Iterable[RenderableType]:
    if body:
        yield Text()
        yield Text(title, style="bold")
        for item in body:
            yield item if isinstance(item, Text) and item.no_wrap else Padding(item, (0, 0, 0, 2))


def _evidence(items: Sequence[Evidence], sign: str, nothing: str) -> list[RenderableType]:
    return [_bullet(sign, item.text, item.time, item) for item in items] or [Text(nothing, style="dim")]


def _bullet(sign: str, text: str, time: object, item: Evidence) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    when = f"{clock.as_text(item.time)}  " if time else ""
    grid.add_row(sign, Text(when + clean(text)))
    place = place_text(item.origin)
    if place:
        grid.add_row("", Text(clean(place), style="dim"))
    return grid


def _missing(best: Finding) -> list[RenderableType]:
    body: list[RenderableType] = []
    for item in best.missing:
        body.append(Text(clean(item.text)))
        body += _steps(item.collect)
    return body


def _steps(steps: Sequence[str]) -> list[RenderableType]:
    """Sentences are numbered; commands stand alone and are never wrapped, so that they can be copied whole."""
    body: list[RenderableType] = []
    number = 0
    for step in steps:
        if step.startswith(_COMMAND):
            body.append(Text("       " + clean(step.removeprefix(_COMMAND)), style="green", no_wrap=True))
            continue
        number += 1
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=2)
        grid.add_column(overflow="fold")
        grid.add_row(f"{number}.", Text(clean(step)))
        body.append(grid)
    return body


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", safe_box=True)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _pairs(report: Report) -> Table | None:
    """The pairs with their time difference, nearest first, those that rest on identity before the others."""
    operations = {item.id: item for item in report.operations}
    rows = [
        (link, rejection, operations[link.operation])
        for incident in report.incidents
        for rejection in incident.rejections
        for link in incident.links
        if link.rejection == rejection.id
    ]
    if not rows:
        return None
    order = ("thumbprint", "subject", "time")
    rows.sort(key=lambda row: (order.index(row[0].basis), abs(row[0].delta_seconds), row[1].time))
    table = _table("refused (UTC)", "handshake", "CAPI2 event", "difference", "joined by", "host", "result")
    for column in table.columns[:4]:
        column.no_wrap = True
    for row in rows[:_MOST_PAIRS]:
        table.add_row(*(clean(cell) for cell in _pair(*row)))
    if len(rows) > _MOST_PAIRS:
        table.add_row(f"and {len(rows) - _MOST_PAIRS} more", "", "", "", "", "", "")
    return table


def _pair(link: Link, rejection: Rejection, operation: Operation) -> tuple[str, ...]:
    broken = "; passed later" if link.broken_by else ""
    handshake = f"{rejection.handshake_time:%H:%M:%S.%f}"[:-3] if rejection.handshake_time else "not known"
    return (
        f"{rejection.time:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        handshake,
        f"{operation.time:%H:%M:%S.%f}"[:-3],
        f"{link.delta_seconds:+.3f} s",
        link.basis,
        link.host,
        f"{operation.result}{broken}",
    )


def _others(findings: Sequence[Finding]) -> Iterable[RenderableType]:
    body: list[RenderableType] = []
    for item in findings:
        line = Text()
        line.append(item.grade, style=_GRADES[item.grade])
        line.append(f"  {item.cause}: {clean(item.title)}")
        body.append(line)
        against = list(dict.fromkeys(text.text for text in item.contradicts))[:_MOST_OTHERS]
        body += [Padding(Text("- " + clean(text)), (0, 0, 0, 2)) for text in against]
        if item.grade in ("possible", "probable", "coincident"):
            body += [Padding(Text("+ " + clean(text.text)), (0, 0, 0, 2)) for text in item.supports[:1]]
    yield from _section("Other causes", body)


def _incidents(incidents: Sequence[Incident]) -> Table:
    table = _table("first refusal", "last refusal", "count", "host", "log", "connector", "certificate")
    for item in incidents:
        certificate = item.certificate.thumbprint if item.certificate else "not shown by the log"
        basis = item.rejections[0].host_basis
        host = item.host + (f" ({basis})" if basis != "row" else "")
        times = (f"{item.start:%Y-%m-%d %H:%M:%S}", f"{item.end:%Y-%m-%d %H:%M:%S}")
        row = (*times, str(item.rejection_count), host.strip(), item.kind, item.connector, certificate)
        table.add_row(*(clean(cell) for cell in row))
    return table


def _other_errors(report: Report) -> list[RenderableType]:
    """Failures that are not 5.7.64, those that look like it first."""
    rows = sorted(report.other_errors, key=lambda item: (not item.meaning, -item.count))
    body: list[RenderableType] = []
    for item in rows[:_MOST_ERRORS]:
        what = item.meaning or item.text
        where = f", {item.host}" if item.host else ""
        body.append(
            Text(clean(f"{item.count} x {item.code} {item.attribution}".rstrip() + f" ({item.kind}{where}): {what}"))
        )
    if len(rows) > _MOST_ERRORS:
        body.append(Text(f"and {len(rows) - _MOST_ERRORS} more, all in the JSON report"))
    return body


def _context(report: Report) -> list[RenderableType]:
    body: list[RenderableType] = []
    for item in report.context[:_MOST_ERRORS]:
        times = f", {clock.as_text(item.first)}" if item.first else ""
        code = f" {item.code}" if item.code else ""
        body.append(Text(clean(f"{item.count} x {item.kind}{code}{times}: {item.title}")))
    if len(report.context) > _MOST_ERRORS:
        body.append(Text(f"and {len(report.context) - _MOST_ERRORS} more, all in the JSON report"))
    return body


def _sources(report: Report) -> list[RenderableType]:
    spans: dict[str, list[Coverage]] = {}
    for span in report.coverage:
        spans.setdefault(span.source, []).append(span)
    body: list[RenderableType] = []
    for item in report.sources[:_MOST_SOURCES]:
        line = f"{item.path}: {item.kind}, {item.status}{' - ' + item.reason if item.reason else ''}"
        body.append(Text(clean(line)))
        for span in spans.get(item.path, ()):
            body += [Padding(Text(clean(text), style="dim"), (0, 0, 0, 2)) for text in (_span(span), *span.notes)]
    if len(report.sources) > _MOST_SOURCES:
        body.append(Text(f"and {len(report.sources) - _MOST_SOURCES} more files, all in the JSON report"))
    return body


def _span(span: Coverage) -> str:
    host = f", {span.host}" if span.host else ""
    if span.first is None or span.last is None:
        return f"{span.kind}: {span.records} records{host}"
    return f"{span.records} records, {clock.as_text(span.first)} to {clock.as_text(span.last)}{host}"


def _losses(report: Report) -> Iterable[RenderableType]:
    body: list[RenderableType] = [
        Text(clean(f"! {place_text(item.origin)}: {item.reason} ({item.extent})"), style="red")
        for item in report.losses[:_MOST_LOSSES]
    ]
    if len(report.losses) > _MOST_LOSSES:
        body.append(Text(f"and {len(report.losses) - _MOST_LOSSES} more, all in the JSON report"))
    yield from _section("Losses: what could not be read", body or [Text("none", style="dim")])
