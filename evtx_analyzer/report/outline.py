"""Turn a report into an outline of headings, paragraphs, lists, tables and commands, as a reader asks for them.

First comes the opening of every output (grade and cause in words, why, what to do first, how to see that it worked,
what is missing), then evidence, pairs, the whole fix, other causes, inputs and losses. Terminal and Markdown draw this
outline; the page has a template of its own and takes the same facts from here (``Opening``) and from ``shared``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

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
_RIVALS: tuple[Grade, ...] = ("confirmed", "probable", "possible", "coincident")


class Opening(Struct, frozen=True, kw_only=True):
    """The facts with which every output begins, in the reader's language.

    ``page`` is the address of the cause's documentation. ``first`` is the first step, ``more_steps`` the number of the
    others. ``verify`` are the sentences on how to see that the fix worked, ``missing`` those on evidence that would
    decide and is not in the input. ``losses`` is the number of losses.
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
    losses: int


def opening(report: Report, say: Language) -> Opening:
    """Return the first block of a report."""
    verdict = report.verdict
    explained = verdict.cause not in (None, "unexplained")
    best = report.findings[0] if report.findings else None
    remedy = best.remedy if best else None
    # A fix that is shown to have worked leaves nothing to do first; its steps still stand below.
    fixed = report.repair is not None and report.repair.result == "fixed"
    remedy = None if fixed else remedy
    todo = steps(remedy.steps, say) if remedy else []
    verify = [step.text for step in steps(remedy.verify, say) if step.text] if remedy else []
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
        losses=report.loss_count,
    )


def outline(report: Report, say: Language) -> list[Section]:
    """Return the whole report as sections in the reader's language; those without content are left out."""
    best = report.findings[0] if report.findings else None
    sections = [
        *_opening(report, say),
        *(_explanation(best, report, say) if best else ()),
        Section(title=say("Other causes, and why not"), blocks=_others(report.findings[1:], say)),
        Section(title=say("Incidents"), blocks=_incidents(report, say)),
        Section(title=say("Beside the refusals"), blocks=_context(report, say)),
        Section(title=say("Other errors, not counted"), blocks=_other_errors(report, say)),
        Section(title=say("Inputs and what they cover"), blocks=_sources(report, say)),
        Section(title=say("Losses: what could not be read"), blocks=_losses(report, say)),
    ]
    return [section for section in sections if section.blocks]


def _opening(report: Report, say: Language) -> Iterable[Section]:
    facts = opening(report, say)
    title = f"{facts.grade}: {facts.title}" if facts.grade else facts.title
    notes = [Paragraph(text=facts.summary)]
    if facts.losses:
        many = say("Not everything could be read: $count losses are listed at the end.", count=say.number(facts.losses))
        text = say("Not everything could be read: 1 loss is listed at the end.") if facts.losses == 1 else many
        notes.append(Paragraph(text=text, tone="bad"))
    notes += [Paragraph(text=text, tone="warn") for text in shared.clock_texts(report, say)]
    if report.options.redact:
        notes.append(Paragraph(text=say("Names in this report are aliases (--redact)."), tone="soft"))
    if facts.page:
        notes.append(Paragraph(text=say("$cause: more in $page", cause=facts.cause, page=facts.page), tone="soft"))
    yield Section(title=title, blocks=tuple(notes), opening=True, tone=facts.tone)
    yield Section(title=say("Has the fix worked?"), blocks=repair_blocks(report.repair, say), opening=True)
    yield Section(title=say("Why"), blocks=_paragraphs([facts.why]), opening=True)
    yield Section(
        title=say("Do this first") if facts.explained else say("Next"), blocks=_first(facts, say), opening=True
    )
    others = tuple(_other_refusals(others, say) for others in other_refusals(report, say))
    yield Section(title=say("The other refusals"), blocks=_bullets(others, len(others), say), opening=True)
    yield Section(title=say("How to see that it worked"), blocks=_sentences(facts.verify), opening=True)
    yield Section(title=say("What is missing"), blocks=_sentences(facts.missing), opening=True)


def _other_refusals(others: OtherRefusals, say: Language) -> Bullet:
    text = f"{others.places}: {others.grade}: {others.title}" if others.grade else f"{others.places}: {others.title}"
    first = (say("First: $step", step=others.first),) if others.first else ()
    place = say("more in $page", page=others.page) if others.page else ""
    return Bullet(text=text, sign=f"{say.number(others.count)} x", items=first, place=place)


def _first(facts: Opening, say: Language) -> tuple[Block, ...]:
    if facts.first is None:
        return ()
    # Without a cause there is no fix, and the steps are those of the collection.
    section = say("Fix") if facts.explained else say("How to collect what is missing")
    text = say("All steps stand in the report, under “$section”.", section=section)
    first = Steps(steps=(facts.first,), numbered=False)
    return (first, Paragraph(text=text, tone="soft")) if facts.more_steps else (first,)


def _explanation(best: Finding, report: Report, say: Language) -> Iterable[Section]:
    explained = best.cause != "unexplained"
    yield Section(title=say("What Exchange Online said"), blocks=_replies(report, say))
    if best.supports or explained:
        yield Section(title=say("Evidence for"), blocks=evidence_blocks(best.supports, "+", say("none"), say))
        nothing = say("none was found")
        yield Section(title=say("Evidence against"), blocks=evidence_blocks(best.contradicts, "-", nothing, say))
    yield Section(title=say("What the refused mail has in common"), blocks=_common(report, say))
    yield Section(title=say("Refusals and the certificate checks beside them"), blocks=_pairs(report, say))
    yield Section(title=say("What the network trace shows"), blocks=_handshakes(report, say))
    yield Section(title=say("Certificate stores"), blocks=_stores(report, say))
    yield Section(title=say("Time line"), blocks=_pictures(report, say))
    if best.remedy is not None:
        title = say("Fix") if explained else say("Next")
        yield Section(title=title, blocks=_steps(best.remedy.steps, say))
        yield Section(title=say("Verify"), blocks=_steps(best.remedy.verify, say))
    yield Section(title=say("How to collect what is missing"), blocks=collect_blocks(best.missing, say))
    if best.remedy is not None:
        blocks = tuple(reference(text, say) for text in best.remedy.references)
        yield Section(title=say("References"), blocks=blocks)


def _paragraphs(texts: Iterable[str]) -> tuple[Block, ...]:
    return tuple(Paragraph(text=text) for text in texts if text)


def _sentences(texts: Iterable[str]) -> tuple[Block, ...]:
    bullets = tuple(Bullet(text=text) for text in texts)
    return (Bullets(bullets=bullets),) if bullets else ()


def _bullets(bullets: Sequence[Bullet], most: int, say: Language) -> tuple[Block, ...]:
    """Return the first bullets, and a line on how many there are if that is not all of them."""
    return (Bullets(bullets=tuple(bullets[:most])), *_more(len(bullets), most, say)) if bullets else ()


def _more(count: int, most: int, say: Language) -> tuple[Block, ...]:
    return (Paragraph(text=shared.more_text(most, count, say), tone="soft"),) if count > most else ()


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
    return _bullets(bullets, _MOST_EVIDENCE, say) or (Paragraph(text=nothing, tone="soft"),)


def _evidence(observed: Observed, sign: str, say: Language) -> Bullet:
    place = (
        say("$count times: $place", count=observed.count, place=observed.place)
        if observed.count > 1
        else observed.place
    )
    return Bullet(text=observed.text, sign=sign, time=observed.time, place=place)


def collect_blocks(missing: Iterable[Missing], say: Language) -> tuple[Block, ...]:
    """Return the evidence that is missing, each with the steps to collect it."""
    blocks: list[Block] = []
    for evidence in missing:
        blocks += [Paragraph(text=say.sentence(evidence.text)), *_steps(evidence.collect, say)]
    return tuple(blocks)


def repair_blocks(repair: Repair | None, say: Language) -> tuple[Block, ...]:
    """Return whether the fix has worked, and the evidence for it; empty if no later logs were compared."""
    if repair is None:
        return ()
    tone: Tone = {"fixed": "clean", "still-refused": "bad", "not-shown": "warn"}[repair.result]  # type: ignore[assignment]
    blocks: list[Block] = [Paragraph(text=say(shared.REPAIRS[repair.result]), tone=tone)]
    for incident in repair.incidents:
        if len(repair.incidents) > 1:
            text = f"{incident.incident}, {incident.cause}: {say(shared.REPAIRS[incident.result])}"
            blocks.append(Paragraph(text=text, tone="soft"))
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
    return (*_bullets(bullets, _MOST_REPLIES, say), *(Paragraph(text=text, tone="warn") for text in notes))


def _common(report: Report, say: Language) -> tuple[Block, ...]:
    shown = report.common[:_MOST_PAIRS]
    clues = tuple(number for number, trait in enumerate(shown) if trait.compared and not trait.accepted)
    rows = tuple(shared.common_cells(trait, say) for trait in shown)
    titles = tuple(say(title) for title in shared.COMMON_TITLES)
    table = Table(titles=titles, rows=rows, numeric=(1,), marked=clues)
    return (table, *_more(len(report.common), _MOST_PAIRS, say)) if rows else ()


def _pairs(report: Report, say: Language) -> tuple[Block, ...]:
    every = pairs(report)
    rows = tuple(shared.pair_cells(pair, say) for pair in every[:_MOST_PAIRS])
    table = Table(titles=tuple(say(title) for title in PAIR_TITLES), rows=rows)
    return (table, *_more(len(every), _MOST_PAIRS, say), *_folded(report, say)) if rows else ()


def _folded(report: Report, say: Language) -> tuple[Block, ...]:
    return tuple(Paragraph(text=text, tone="soft") for text in shared.folded_texts(report, say))


def _handshakes(report: Report, say: Language) -> tuple[Block, ...]:
    rows = tuple(shared.handshake_cells(handshake, say) for handshake in report.handshakes[:_MOST_PAIRS])
    table = Table(titles=tuple(say(title) for title in shared.HANDSHAKE_TITLES), rows=rows)
    return (table, *_more(len(report.handshakes), _MOST_PAIRS, say)) if rows else ()


def _stores(report: Report, say: Language) -> tuple[Block, ...]:
    rows = tuple(shared.store_cells(store, say) for store in report.stores[:_MOST_ROWS])
    table = Table(titles=tuple(say(title) for title in shared.STORE_TITLES), rows=rows, numeric=(2,))
    return (table, *_more(len(report.stores), _MOST_ROWS, say)) if rows else ()


def _pictures(report: Report, say: Language) -> tuple[Block, ...]:
    close_up = timeline.close_up(report)
    line = close_up or timeline.overview(report)
    if line is None:
        return ()
    around, whole = say("An excerpt: the seconds around the nearest pair"), say("From the first mark to the last")
    title = around if close_up else whole
    unplaced = (Paragraph(text=text, tone="warn") for text in shared.unplaced_texts(report, say))
    return (Paragraph(text=title, tone="soft"), Picture(line=line), *unplaced)


def _others(findings: Sequence[Finding], say: Language) -> tuple[Block, ...]:
    """Return the other causes: rivals with their best evidence, those ruled out with the reason, the others by name."""
    bullets: list[Bullet] = []
    for finding in findings:
        name = f"{finding.cause}: {say.sentence(finding.title)}"
        if finding.grade in _RIVALS:
            supports = tuple(say.sentence(evidence.text) for evidence in finding.supports[:1])
            bullets.append(Bullet(text=name, sign=say(finding.grade), tone=finding.grade, items=supports))
        elif finding.contradicts:
            reason = f"{finding.cause}: {say.sentence(finding.contradicts[0].text)}"
            bullets.append(Bullet(text=reason, sign=say(finding.grade), tone=finding.grade, short=True))
    blocks = _bullets(bullets, len(bullets), say)
    open_causes = [finding.cause for finding in findings if finding.grade not in _RIVALS and not finding.contradicts]
    text = say("Nothing in the input speaks for or against: $causes", causes=", ".join(open_causes))
    return (*blocks, Paragraph(text=text, tone="soft")) if open_causes else blocks


def _incidents(report: Report, say: Language) -> tuple[Block, ...]:
    incidents = report.incidents
    rows = tuple(shared.incident_cells(incident, say) for incident in incidents[:_MOST_ROWS])
    table = Table(titles=tuple(say(title) for title in INCIDENT_TITLES), rows=rows, numeric=(2,))
    return (table, *_more(len(incidents), _MOST_ROWS, say), *_folded(report, say)) if rows else ()


def _context(report: Report, say: Language) -> tuple[Block, ...]:
    bullets = [
        Bullet(text=shared.context_text(context, say), place=place_text(context.origin, say))
        for context in report.context
    ]
    return _bullets(bullets, _MOST_LINES, say)


def _other_errors(report: Report, say: Language) -> tuple[Block, ...]:
    """Return the failures that are not 5.7.64; those that could be taken for it come first."""
    bullets = [Bullet(text=shared.other_error_text(other_error, say)) for other_error in shared.other_errors(report)]
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
        bullets.append(Bullet(text=f"{source.path}: {source.kind}, {say(source.status)}{reason}", items=tuple(items)))
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
    listed = (*_bullets(bullets, _MOST_ROWS, say), *_more(len(report.losses), _MOST_ROWS, say)) or (
        Paragraph(text=say("none"), tone="soft"),
    )
    return (*listed, *(Paragraph(text=text, tone="warn") for text in shared.not_listed_texts(report, say)))
