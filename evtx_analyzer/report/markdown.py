"""Write the outline of a report for a ticket, as Markdown that also reads well unrendered.

    ## probable: The server does not send its intermediate certificates (KB 3212877)

    3 refusals with 5.7.64 on CORP-SMTP1, ...

    ### Do this first

    Get the intermediate certificates from the issuer of the certificate ...

Text of logs is escaped, so that it makes no link, image, HTML or table cell. Commands stand in fenced blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from evtx_analyzer.plain_text import clean, clip
from evtx_analyzer.report.blocks import Block, Bullet, Bullets, Paragraph, Picture, Reference, Steps, Table
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import ENGLISH, Language
from evtx_analyzer.report.outline import outline
from evtx_analyzer.report.steps import Step

_LONGEST = 1500
# Only what is markup: a backslash before punctuation, emphasis that is not inside of a word, links, tables, and at the
# beginning of a text the signs of headings and lists.
_SPECIAL = re.compile(
    r"(\\(?=[!-/:-@\[-`{-~]|$)|[`*\[\]|~$@]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|^[#+-]|^\d+(?=[.)](?:\s|$)))"
)


def to_markdown(report: Report, say: Language = ENGLISH) -> str:
    """Return the report as Markdown (GitHub flavor: tables and fences)."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_lines(report, say))).rstrip("\n") + "\n"


def escape(text: str) -> str:
    """Return text of a log, escaped so that no Markdown renderer takes it for markup."""
    text = " ".join(clean(clip(text, _LONGEST)).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare URL or address would become a link.
    # A backslash before a digit would be shown, so the number of a list is broken by an entity.
    text = _SPECIAL.sub(
        lambda match: f"&#{ord(match[0][0])};{match[0][1:]}" if match[0][0].isdecimal() else f"\\{match[0]}", text
    )
    return text.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def _lines(report: Report, say: Language) -> Iterable[str]:
    for number, section in enumerate(outline(report, say)):
        # A time line is a picture, and the pairs above it say the same, so its whole section is left out.
        if any(isinstance(block, Picture) for block in section.blocks):
            continue
        yield from (f"{'###' if number else '##'} {escape(section.title)}", "")
        for block in section.blocks:
            yield from _block(block)
        yield ""
    yield f"*{report.tool.name} {report.tool.version}*"


def _block(block: Block) -> Iterable[str]:
    match block:
        case Paragraph():
            yield from (escape(block.text), "")
        case Bullets():
            for bullet in block.bullets:
                yield from _bullet(bullet)
            yield ""
        case Table():
            yield from _table(block)
        case Steps():
            for step in block.steps:
                yield from _step(step, numbered=block.numbered)
            yield ""
        case Reference():
            yield f"- {escape(block.text)}{': ' if block.url else ''}{block.url}"


def _bullet(bullet: Bullet) -> Iterable[str]:
    # The dash of the list stands for these signs; others (a count, a grade in bold) are written.
    strong = "**" if bullet.tone else ""
    sign = "" if bullet.sign in ("+", "-", "!") else f"{strong}{escape(bullet.sign)}{strong} "
    when = f"`{bullet.time}` " if bullet.time else ""
    place = f" (*{escape(bullet.place)}*)" if bullet.place else ""
    yield f"- {when}{sign}{escape(bullet.text)}{place}"
    yield from (f"  - {escape(line)}" for line in bullet.items)


def _table(table: Table) -> Iterable[str]:
    yield "| " + " | ".join(escape(title) for title in table.titles) + " |"
    yield "|" + "".join(" ---: |" if number in table.numeric else " --- |" for number in range(len(table.titles)))
    yield from ("| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows)
    yield ""


def _step(step: Step, *, numbered: bool) -> Iterable[str]:
    begin = f"{step.number}. " if numbered and step.number else ""
    indent = " " * len(begin)
    if step.text:
        yield begin + escape(step.text)
    for run in step.runs:
        for note in run.notes:
            yield from ("", indent + escape(note))
        yield from _fenced([clean(command) for command in run.commands], indent)


def _fenced(commands: Sequence[str], indent: str) -> Iterable[str]:
    """Return commands as a fenced block, whose fence is longer than any run of backticks in them."""
    longest = max((len(run) for command in commands for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return ["", f"{indent}{fence}powershell", *(indent + command for command in commands), f"{indent}{fence}", ""]
