"""Turn a report into an outline of headings, paragraphs, lists, tables and commands, as a reader asks for them.

First comes the opening of every output (grade and cause in words, why, what to do first, how to see that it worked,
what is missing), then evidence, pairs, the whole fix, other causes, inputs and losses. Terminal and Markdown draw this
outline; the page has a template of its own and takes the same facts from here (``Opening``) and from ``shared``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from msgspec import Struct

from evtx_analyzer.commands import TO_FILL_IN, line_kind
from evtx_analyzer.documentation import page_of
from evtx_analyzer.model.findings import Evidence, Finding, Grade, Missing, Repair
from evtx_analyzer.report import shared, timeline
from evtx_analyzer.report.blocks import (
    Block,
    Bullet,
    Bullets,
    Paragraph,
    Picture,
    Reference,
    Section,
    Steps,
    Table,
    Tone,
)
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import Language
from evtx_analyzer.report.merged import Observed, merged, place_text
from evtx_analyzer.report.other_refusals import OtherRefusals, other_refusals
from evtx_analyzer.report.pairs import pairs
from evtx_analyzer.report.steps import Step, steps
from evtx_analyzer.report.times import reply_times
from evtx_analyzer.rules.files import is_builtin_cause

PAIR_TITLES = ("refused (UTC)", "handshake", "CAPI2 event", "difference", "joined by", "host", "result")
INCIDENT_TITLES = ("first refusal", "last refusal", "count", "host", "log", "connector", "certificate")
_MOST_EVIDENCE = 16
_MOST_ROWS = 20
_MOST_PAIRS = 12
_MOST_REPLIES = 6
_MOST_LINES = 15
_MOST_SOURCES = 40
_MOST_VERIFY = 3
_LONGEST = 1500
T = TypeVar("T")
Cells = Callable[[T, Language], tuple[str, ...]]
_RIVALS: tuple[Grade, ...] = ("confirmed", "probable", "possible", "coincident")


class Opening(Struct, frozen=True, kw_only=True):
    """The facts with which every output begins, in the reader's language.

    ``page`` is the address of the cause's documentation. ``first`` is the first step, ``more_steps`` the number of the
    others. ``verify`` are the sentences on how to see that the fix worked, ``missing`` those on evidence that would
    decide and is not in the input. ``coincident`` is what was seen near the refusals, if no cause is named. ``losses``
    is the number of losses.
    """

    grade: str
    tone: Tone
    title: str
    cause: str
    page: str
    summary: str
    explained: bool
    why: str
    first: Step | None
    more_steps: int
    verify: tuple[str, ...]
    missing: tuple[str, ...]
    coincident: tuple[str, ...]
    losses: int


def is_fixed(report: Report) -> bool:
    """Return whether later logs show that the fix has worked, so that nothing is left to do or to collect."""
    return report.repair is not None and report.repair.result == "fixed"


def opening(report: Report, say: Language) -> Opening:
    """Return the first block of a report."""
    verdict = report.verdict
    explained = verdict.cause not in (None, "unexplained")
    best = report.findings[0] if report.findings else None
    # The steps of a fix that has worked still stand below.
    fixed = is_fixed(report)
    remedy = best.remedy if best and not fixed else None
    todo = steps(remedy.steps, say) if remedy else []
    verify = [step.text for step in steps(remedy.verify, say) if step.text] if remedy else []
    coincident = (finding.supports[:1] for finding in report.findings if finding.grade == "coincident")
    return Opening(
        grade=say(verdict.grade) if explained and verdict.grade else "",
        tone=(verdict.grade if explained else "possible") if best and verdict.grade else "clean",
        title=say.sentence(verdict.title),
        cause=verdict.cause or "",
        page=page_of(verdict.cause) if verdict.cause and is_builtin_cause(verdict.cause) else "",
        summary=say.sentence(verdict.summary),
        explained=explained,
        why=say.sentence(best.why) if best else "",
        first=todo[0] if todo else None,
        more_steps=len(todo[1:]),
        verify=tuple(verify[:_MOST_VERIFY]) if explained else (),
        missing=tuple(say.sentence(missing.text) for missing in best.missing) if best and not fixed else (),
        coincident=() if explained else tuple(say.sentence(seen.text) for first in coincident for seen in first),
        losses=report.loss_count,
    )


def outline(report: Report, say: Language) -> list[Section]:
    """Return the whole report as sections in the reader's language; those without content are left out."""
    best = report.findings[0] if report.findings else None
    incidents = _table(INCIDENT_TITLES, report.incidents, shared.incident_cells, _MOST_ROWS, say, numeric=(2,))
    sections = [
        *_opening(report, say),
        *(_explanation(best, report, say) if best else ()),
        Section(say("Other causes, and why not"), _others(report.findings[1:], say)),
        Section(say("Incidents"), _folded(incidents, report, say)),
        Section(say("Events near the refusals"), _context(report, say)),
        Section(say("Other errors, not counted"), _other_errors(report, say)),
        Section(say("Inputs and what they cover"), _sources(report, say)),
        Section(say("Losses: what could not be read"), _losses(report, say)),
    ]
    return [section for section in sections if section.blocks]


def _opening(report: Report, say: Language) -> Iterable[Section]:
    facts = opening(report, say)
    title = f"{facts.grade}: {facts.title}" if facts.grade else facts.title
    notes: list[Block] = [Paragraph(facts.summary)]
    if facts.losses:
        many = say("Not everything could be read: $count losses are listed at the end.", count=say.number(facts.losses))
        text = say("Not everything could be read: 1 loss is listed at the end.") if facts.losses == 1 else many
        notes.append(Paragraph(text, tone="bad"))
    notes += _paragraphs(shared.clock_texts(report, say), "warn")
    if report.options.redact:
        notes.append(Paragraph(say("Names in this report are aliases (--redact)."), tone="soft"))
    if facts.page:
        notes.append(Paragraph(say("$cause: more in $page", cause=facts.cause, page=facts.page), tone="soft"))
    yield Section(title, tuple(notes), opening=True, tone=facts.tone)
    yield Section(say("Has the fix worked?"), repair_blocks(report.repair, say), opening=True)
    yield Section(say("Why"), _paragraphs([facts.why]), opening=True)
    yield Section(say("Do this first") if facts.explained else say("Next"), _first(facts, say), opening=True)
    others = tuple(_other_refusals(others, say) for others in other_refusals(report, say))
    yield Section(say("The other refusals"), _bullets(others, len(others), say), opening=True)
    yield Section(say("How to see that it worked"), _sentences(facts.verify), opening=True)
    yield Section(say("What stands out, and proves nothing"), _sentences(facts.coincident), opening=True)
    yield Section(say("What is missing"), _sentences(facts.missing), opening=True)


def _other_refusals(others: OtherRefusals, say: Language) -> Bullet:
    text = f"{others.places}: {others.grade}: {others.title}" if others.grade else f"{others.places}: {others.title}"
    first = (say("First: $step", step=others.first),) if others.first else ()
    place = say("more in $page", page=others.page) if others.page else ""
    return Bullet(text, sign=f"{say.number(others.count)} x", items=first, place=place)


def _first(facts: Opening, say: Language) -> tuple[Block, ...]:
    if facts.first is None:
        return ()
    # Without a cause there is no fix, and the steps are those of the collection.
    section = say("Fix") if facts.explained else say("How to collect what is missing")
    text = say("All steps are in the report under “$section”.", section=section)
    first = Steps(steps=(facts.first,), numbered=False)
    return (first, Paragraph(text, tone="soft")) if facts.more_steps else (first,)


def _common(report: Report, say: Language) -> tuple[Block, ...]:
    traits = shared.compared_traits(report)
    clues = tuple(number for number, trait in enumerate(traits) if trait.compared and not trait.accepted)
    table = _table(shared.COMMON_TITLES, traits, shared.common_cells, _MOST_PAIRS, say, numeric=(1,), marked=clues)
    return table or _paragraphs([shared.uncompared_text(report, say)], "soft")


def _explanation(best: Finding, report: Report, say: Language) -> Iterable[Section]:
    explained = best.cause != "unexplained"
    yield Section(say("What Exchange Online said"), _replies(report, say))
    if best.supports or explained:
        yield Section(say("Evidence for"), evidence_blocks(best.supports, "+", say("none"), say))
        nothing = say("none was found")
        yield Section(say("Evidence against"), evidence_blocks(best.contradicts, "-", nothing, say))
    yield Section(say("What the refused mail has in common"), _common(report, say))
    beside = _table(PAIR_TITLES, pairs(report), shared.pair_cells, _MOST_PAIRS, say)
    yield Section(say("Refusals and the certificate checks beside them"), _folded(beside, report, say))
    wire = _table(shared.HANDSHAKE_TITLES, report.handshakes, shared.handshake_cells, _MOST_PAIRS, say)
    yield Section(say("What the network trace shows"), wire)
    stores = _table(shared.STORE_TITLES, report.stores, shared.store_cells, _MOST_ROWS, say, numeric=(2,))
    yield Section(say("Certificate stores"), stores)
    yield Section(say("Time line"), _pictures(report, say))
    if best.remedy is not None and explained:
        note = _paragraphs([to_fill_in(best.remedy.steps, say)], "soft")
        yield Section(say("Fix"), (*note, *_steps(best.remedy.steps, say)))
        yield Section(say("Verify"), _steps(best.remedy.verify, say))
    if not is_fixed(report):
        yield Section(say("How to collect what is missing"), collect_blocks(best.missing, say))
    if best.remedy is not None:
        yield Section(say("References"), tuple(reference(text, say) for text in best.remedy.references))


def _paragraphs(texts: Iterable[str], tone: Tone = "") -> tuple[Block, ...]:
    return tuple(Paragraph(text, tone) for text in texts if text)


def _sentences(texts: Iterable[str]) -> tuple[Block, ...]:
    bullets = tuple(Bullet(text) for text in texts)
    return (Bullets(bullets),) if bullets else ()


def _bullets(bullets: Sequence[Bullet], most: int, say: Language) -> tuple[Block, ...]:
    """Return the first bullets, and a line on how many there are if that is not all of them."""
    return (Bullets(tuple(bullets[:most])), *_more(len(bullets), most, say)) if bullets else ()


def _more(count: int, most: int, say: Language) -> tuple[Block, ...]:
    return (Paragraph(shared.more_text(most, count, say), tone="soft"),) if count > most else ()


def to_fill_in(lines: Iterable[str], say: Language) -> str:
    """Return the line on values that only the reader knows; empty if no command has any."""
    if not any(line_kind(line) == "command" and TO_FILL_IN.search(line) for line in lines):
        return ""
    return say("Replace what stands in <angle brackets> before you run a command.")


def _steps(lines: Iterable[str], say: Language) -> tuple[Block, ...]:
    numbered = tuple(steps(lines, say))
    return (Steps(steps=numbered),) if numbered else ()


def reference(text: str, say: Language) -> Reference:
    """Return a reference of a rule (``title: https://...``) in its two parts, the title in the reader's language."""
    at = text.find("https://")
    title, url = (text[:at].rstrip(" :"), text[at:]) if at >= 0 else (text, "")
    return Reference(text=say.sentence(title), url=url)


def evidence_blocks(evidence: Sequence[Evidence], sign: str, nothing: str, say: Language) -> tuple[Block, ...]:
    """Return evidence as a list with equal sentences merged; without evidence the text ``nothing``."""
    bullets = [_evidence(observed, sign, say) for observed in merged(evidence, say)]
    return _bullets(bullets, _MOST_EVIDENCE, say) or (Paragraph(nothing, tone="soft"),)


def _evidence(observed: Observed, sign: str, say: Language) -> Bullet:
    place = observed.place
    if observed.count > 1:
        place = say("$count times: $place", count=observed.count, place=place)
    return Bullet(observed.text, sign=sign, time=observed.time, place=place)


def collect_blocks(missing: Iterable[Missing], say: Language) -> tuple[Block, ...]:
    """Return the evidence that is missing, each with the steps to collect it."""
    blocks: list[Block] = []
    for evidence in missing:
        blocks += [Paragraph(say.sentence(evidence.text)), *_steps(evidence.collect, say)]
    return tuple(blocks)


def repair_blocks(repair: Repair | None, say: Language) -> tuple[Block, ...]:
    """Return whether the fix has worked, and the evidence for it; empty if no later logs were compared."""
    if repair is None:
        return ()
    tone: Tone = {"fixed": "clean", "still-refused": "bad", "not-shown": "warn"}[repair.result]  # type: ignore[assignment]
    blocks: list[Block] = [Paragraph(say(shared.REPAIRS[repair.result]), tone=tone)]
    for incident in repair.incidents:
        if len(repair.incidents) > 1:
            text = f"{incident.incident}, {incident.cause}: {say(shared.REPAIRS[incident.result])}"
            blocks.append(Paragraph(text, tone="soft"))
        for sign, evidence in (("+", incident.changed), ("+", incident.accepted), ("-", incident.refused)):
            blocks += evidence_blocks(evidence, sign, "", say) if evidence else ()
        blocks += collect_blocks(incident.missing, say)
    return tuple(blocks)


def _replies(report: Report, say: Language) -> tuple[Block, ...]:
    """Return each distinct reply with its count, and with its times unless the verdict has the same."""
    replies = shared.replies(report)
    bullets = [
        Bullet(
            text=reply.text[:_LONGEST],
            sign=f"{say.number(reply.count)} x",
            place=reply_times(reply, say) if len(replies) > 1 or reply.unknown_zone_count else "",
        )
        for reply in replies
    ]
    notes = [*shared.more_replies(report, say), *shared.excerpt_texts(report, say)[:_MOST_REPLIES]]
    return (*_bullets(bullets, _MOST_REPLIES, say), *_paragraphs(notes, "warn"))


def _table(
    titles: Iterable[str], items: Sequence[T], cells: Cells[T], most: int, say: Language, **columns: tuple[int, ...]
) -> tuple[Block, ...]:
    """Return the first items as a ``Table``, and a line on how many there are if that is not all of them."""
    rows = tuple(cells(item, say) for item in items[:most])
    table = Table(titles=tuple(say(title) for title in titles), rows=rows, **columns)
    return (table, *_more(len(items), most, say)) if rows else ()


def _folded(blocks: tuple[Block, ...], report: Report, say: Language) -> tuple[Block, ...]:
    """Return a table with the lines on refusals that it only counts."""
    return (*blocks, *_paragraphs(shared.folded_texts(report, say), "soft")) if blocks else ()


def _pictures(report: Report, say: Language) -> tuple[Block, ...]:
    marks = timeline.marks(report)
    close_up = timeline.close_up(report, marks)
    line = close_up or timeline.overview(report, marks)
    if line is None:
        return ()
    around, whole = say("An excerpt: the seconds around the nearest pair"), say("From the first mark to the last")
    title = around if close_up else whole
    unplaced = _paragraphs(shared.unplaced_texts(report, say), "warn")
    return (Paragraph(title, tone="soft"), Picture(line), *unplaced)


def _others(findings: Sequence[Finding], say: Language) -> tuple[Block, ...]:
    """Return the other causes: rivals with their best evidence, those ruled out by reason, the others by name."""
    bullets: list[Bullet] = []
    ruled_out: dict[tuple[Grade, str], list[str]] = {}
    for finding in findings:
        if finding.grade in _RIVALS:
            name = f"{finding.cause}: {say.sentence(finding.title)}"
            supports = tuple(say.sentence(evidence.text) for evidence in finding.supports[:1])
            bullets.append(Bullet(name, sign=say(finding.grade), tone=finding.grade, items=supports))
        elif finding.contradicts:
            ruled_out.setdefault((finding.grade, finding.contradicts[0].text), []).append(finding.cause)
    for (grade, reason), causes in ruled_out.items():
        bullets.append(Bullet(f"{', '.join(causes)}: {say.sentence(reason)}", sign=say(grade), tone=grade))
    blocks = _bullets(bullets, len(bullets), say)
    open_causes = [finding.cause for finding in findings if finding.grade not in _RIVALS and not finding.contradicts]
    text = say("Nothing in the input speaks for or against: $causes", causes=", ".join(open_causes))
    return (*blocks, Paragraph(text, tone="soft")) if open_causes else blocks


def _context(report: Report, say: Language) -> tuple[Block, ...]:
    bullets = [Bullet(shared.context_text(item, say), place=place_text(item.origin, say)) for item in report.context]
    return _bullets(bullets, _MOST_LINES, say)


def _other_errors(report: Report, say: Language) -> tuple[Block, ...]:
    """Return the failures that are not 5.7.64; those that could be taken for it come first."""
    bullets = [Bullet(shared.other_error_text(other_error, say)) for other_error in shared.other_errors(report)]
    return _bullets(bullets, _MOST_LINES, say)


def _sources(report: Report, say: Language) -> tuple[Block, ...]:
    covered = shared.spans(report)
    bullets = []
    for source in report.sources:
        reason = f" - {say.sentence(source.reason)}" if source.reason else ""
        items = [
            text
            for span in covered.get(source.path, ())
            for text in (shared.span_text(span, say), *(say.sentence(note) for note in span.notes))
        ]
        kind = shared.kind_text(source.kind, say)
        bullets.append(Bullet(f"{source.path}: {kind}, {say(source.status)}{reason}", items=tuple(items)))
    texts = _paragraphs(shared.bundle_texts(report, say))
    return (*texts, *_bullets(bullets, _MOST_SOURCES, say))


def _losses(report: Report, say: Language) -> tuple[Block, ...]:
    bullets = [
        Bullet(
            text=f"{place_text(loss.origin, say)}: {say.sentence(loss.reason)} ({say.sentence(loss.extent)})",
            sign="!",
            tone="bad",
        )
        for loss in report.losses[:_MOST_ROWS]
    ]
    listed = _bullets(bullets, _MOST_ROWS, say) or (Paragraph(say("none"), tone="soft"),)
    more = _more(len(report.losses), _MOST_ROWS, say)
    return (*listed, *more, *_paragraphs(shared.not_listed_texts(report, say), "warn"))
