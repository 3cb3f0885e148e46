"""The report for a ticket, as Markdown that reads well unrendered too.

    ## probable: The server does not send its intermediate certificates (KB 3212877)

    3 refusals with 5.7.64 on CORP-SMTP1, ...

    ### Evidence for
    - `2016-12-01 03:09:55.456 UTC` CAPI2 event 30: ... (*capi2.evtx record 3156*)

Text of logs is escaped: it can open no link, no image, no HTML and no table cell. Commands stand in fenced blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.findings import Evidence, Finding
from evtx_analyzer.model.origin import describe_origin
from evtx_analyzer.plain_text import clean, clip
from evtx_analyzer.report import language
from evtx_analyzer.report import shared as tables
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language

_MOST_EVIDENCE = 12
_MOST_ROWS = 20
_LONGEST_REPLY = 1500
_MOST_AGAINST = 3
# Only what Markdown would act on: a backslash before punctuation, emphasis that is not inside of a word, links, tables,
# and at the beginning of a text what would open a heading or a list.
_SPECIAL = re.compile(r"(\\(?=[!-/:-@\[-`{-~]|$)|[`*\[\]|~$@]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|^[#+-]|^\d+(?=[.)]))")


def to_markdown(report: Report, say: Language = ENGLISH) -> str:
    """The report as Markdown (GitHub flavor: tables and fences)."""
    return "\n".join(_lines(report, say)).rstrip("\n") + "\n"


def escape(text: str) -> str:
    """Text of a log so that no Markdown renderer takes it for markup."""
    text = " ".join(clean(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare URL or address would become a link.
    text = _SPECIAL.sub(lambda found: _escaped(found[0]), text)
    return text.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def _escaped(found: str) -> str:
    """A number that would begin a list cannot be escaped itself; its letters are written as an entity."""
    return f"\\{found}" if not found[0].isdigit() else f"&#{ord(found[0])};{found[1:]}"


def _lines(report: Report, say: Language) -> Iterable[str]:
    verdict = report.verdict
    explained = verdict.cause not in (None, "unexplained")
    grade = f"{say(verdict.grade)}: " if explained and verdict.grade else ""
    yield f"## {grade}{escape(say.sentence(verdict.title))}"
    yield ""
    yield escape(say.sentence(verdict.summary))
    yield ""
    if report.findings:
        best, *rest = (language.finding(item, say) for item in report.findings)
        yield from _best(best, report, say)
        yield from _others(rest, say)
        yield from _incidents(report.incidents, say)
        yield from (f"{escape(text)}\n" for text in tables.folded_texts(report, say))
    beside = [f"- {escape(tables.context_text(item, say))}" for item in report.context[:_MOST_ROWS]]
    yield from _section(say("Beside the refusals"), beside + _more(len(report.context), _MOST_ROWS, say))
    others = [f"- {escape(tables.other_error_text(item, say))}" for item in tables.other_errors(report)[:_MOST_ROWS]]
    yield from _section(say("Other errors, not counted"), others + _more(len(report.other_errors), _MOST_ROWS, say))
    yield from _inputs(report, say)
    yield from _losses(report, say)
    yield f"*{report.tool.name} {report.tool.version}*"


def _best(best: Finding, report: Report, say: Language) -> Iterable[str]:
    explained = best.cause != "unexplained"
    yield from (escape(best.why), "")
    yield from _section(say("What Exchange Online said"), _replies(report, say))
    if explained or best.supports:
        yield from _section(say("Evidence for"), _evidence(best.supports, say("none"), say))
        yield from _section(say("Evidence against"), _evidence(best.contradicts, say("none was found"), say))
    common = [tables.common_cells(item, say) for item in report.common]
    titles = [say(title) for title in tables.COMMON_TITLES]
    yield from _section(say("What the refused mail has in common"), _table(titles, common, say))
    yield from _section(say("Refusals and the certificate checks beside them"), _pairs(report, say))
    yield from _section(say("Missing"), [line for item in best.missing for line in _missing(item.text, item.collect)])
    if best.remedy is not None:
        yield from _section(say("Fix") if explained else say("Next"), _steps(best.remedy.steps))
        yield from _section(say("Verify"), _steps(best.remedy.verify))
        yield from _section(say("References"), [f"- {item}" for item in best.remedy.references])


def _section(title: str, body: Sequence[str]) -> Iterable[str]:
    if body:
        yield from (f"### {title}", "", *body, "")


def _replies(report: Report, say: Language) -> list[str]:
    """Each distinct reply with its count and times, and what is not known because rows are missing."""
    replies = tables.replies(report)
    lines = [
        f"- {reply.count} x {escape(clip(reply.text, _LONGEST_REPLY))} (*{tables.reply_times(reply, say)}*)"
        for reply in replies[:_MOST_ROWS]
    ]
    notes = [*tables.more_replies(report, say), *tables.excerpt_texts(report, say)[:_MOST_ROWS]]
    return [*lines, *_more(len(replies), _MOST_ROWS, say), *(f"- {escape(text)}" for text in notes)]


def _evidence(items: Sequence[Evidence], nothing: str, say: Language) -> list[str]:
    lines = [_bullet(item, say) for item in items[:_MOST_EVIDENCE]] or [f"- {nothing}"]
    return lines + _more(len(items), _MOST_EVIDENCE, say)


def _bullet(item: Evidence, say: Language) -> str:
    when = f"`{tables.when(item.time, say, item.time_basis)}` " if item.time else ""
    where = f" (*{escape(describe_origin(item.origin))}*)" if item.origin else ""
    return f"- {when}{escape(item.text)}{where}"


def _more(count: int, most: int, say: Language) -> list[str]:
    if count <= most:
        return []
    return ["", say("$shown of $count are shown; the JSON report holds all.", shown=most, count=count)]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], say: Language) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows[:_MOST_ROWS]]
    return lines + _more(len(rows), _MOST_ROWS, say)


def _pairs(report: Report, say: Language) -> list[str]:
    titles = ("refused (UTC)", "handshake", "CAPI2 event", "difference", "joined by", "host", "result")
    return _table([say(item) for item in titles], [tables.pair_cells(item, say) for item in tables.pairs(report)], say)


def _missing(text: str, collect: Sequence[str]) -> list[str]:
    return [escape(text), "", *_steps(collect), ""]


def _steps(texts: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for step in tables.steps(texts):
        indent = "   " if step.number else ""
        if step.number:
            lines.append(f"{step.number}. {escape(step.text)}")
        if step.commands:
            lines += _fenced([clean(command) for command in step.commands], indent)
    return lines


def _fenced(commands: Sequence[str], indent: str) -> list[str]:
    """Commands in a fence that is longer than any run of backticks in them."""
    longest = max((len(run) for command in commands for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return ["", f"{indent}{fence}powershell", *(indent + command for command in commands), f"{indent}{fence}", ""]


def _others(findings: Sequence[Finding], say: Language) -> Iterable[str]:
    lines = []
    for item in findings:
        lines.append(f"- **{say(item.grade)}** {escape(item.title)} (`{item.cause}`)")
        against = list(dict.fromkeys(part.text for part in item.contradicts))[:_MOST_AGAINST]
        lines += [f"  - {say('against:')} {escape(text)}" for text in against]
    yield from _section(say("Other causes, and why not"), lines)


def _incidents(incidents: Sequence[Incident], say: Language) -> Iterable[str]:
    titles = ("first refusal", "last refusal", "count", "host", "log", "connector", "certificate")
    rows = [
        (
            *tables.limit_cells(item, say),
            tables.count_cell(item, say),
            item.host,
            item.kind,
            item.connector,
            item.certificate.thumbprint if item.certificate else say("not shown by the log"),
        )
        for item in incidents
    ]
    yield from _section(say("Incidents"), _table([say(item) for item in titles], rows, say))


def _inputs(report: Report, say: Language) -> Iterable[str]:
    lines = [f"- {escape(text)}" for text in tables.bundle_texts(report, say)]
    spans = tables.spans(report)
    for item in report.sources[:_MOST_ROWS]:
        reason = f" - {escape(say.sentence(item.reason))}" if item.reason else ""
        lines.append(f"- {escape(item.path)}: {escape(item.kind)}, {say(item.status)}{reason}")
        for span in spans.get(item.path, ()):
            lines.append(f"  - {escape(tables.span_text(span, say))}")
            lines += [f"  - {escape(say.sentence(note))}" for note in span.notes]
    lines += _more(len(report.sources), _MOST_ROWS, say)
    yield from _section(say("Inputs and what they cover"), lines)


def _losses(report: Report, say: Language) -> Iterable[str]:
    lines = [
        f"- {escape(describe_origin(item.origin))}: "
        f"{escape(say.sentence(item.reason))} ({escape(say.sentence(item.extent))})"
        for item in report.losses[:_MOST_ROWS]
    ] or [say("none")]
    yield from _section(say("Losses: what could not be read"), lines + _more(len(report.losses), _MOST_ROWS, say))
