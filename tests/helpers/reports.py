"""Reports for the tests of outputs: every sample case once, one that is hostile, and one that is far too large."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from msgspec.structs import replace
from places import SAMPLES

import evtx_analyzer as ea
from evtx_analyzer.model.evidence import CommonTrait, ReplyText
from evtx_analyzer.model.findings import Coverage, Gap, SourceStatus
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.report import SUFFIXES, language
from samples.build import CASES

NAMES = sorted(name for name in CASES if (SAMPLES / name).is_dir())
# What a name in a certificate or a log may hold to break out of an output: markup, escape sequences, formulas, links.
HOSTILE = "<I>CN=x<S>CN=y<script>alert(1)</script>\x1b[31m\x07\u202e|`**[a](http://evil.example)=HYPERLINK(1)\"'&amp;"


@cache
def report(name):
    """The report of a sample case, made once per run."""
    return ea.analyze(SAMPLES / name)


@cache
def rendered(name, suffix, code="en"):
    """A sample case in the format of a suffix, made once per run."""
    return SUFFIXES[suffix](report(name), language.load(code))


def as_text(made, suffix, say=language.ENGLISH):
    """A report in a format that is text."""
    shown = SUFFIXES[suffix](made, say)
    assert isinstance(shown, str)
    return shown


def as_bytes(made, suffix, say=language.ENGLISH):
    """A report in a format that is none."""
    shown = SUFFIXES[suffix](made, say)
    assert isinstance(shown, bytes)
    return shown


@cache
def hostile():
    """The KB's case in which every text that a log can set holds HOSTILE."""
    made = report("kb-3212877")
    incidents = []
    for incident in made.incidents:
        refused = tuple(
            replace(
                part,
                reply=HOSTILE,
                helo=HOSTILE,
                mail_from=f"=cmd|'/c calc'!A1{HOSTILE}",
                rcpt_to=f"+{HOSTILE}",
                remote_name=f"@{HOSTILE}",
                session=f"-{HOSTILE}",
            )
            for part in incident.rejections
        )
        certificate = replace(incident.certificate, subject=HOSTILE)
        refused = (replace(refused[0], from_start=False, origin=Origin(source=HOSTILE)), *refused[1:])
        incidents.append(
            replace(
                incident,
                rejections=refused,
                certificate=certificate,
                connector=HOSTILE,
                host=f"H{HOSTILE}",
                replies=(ReplyText(text=f"={HOSTILE}", count=1, first=incident.start, last=incident.end),),
                excerpt_count=1,
            )
        )
    checks = tuple(
        replace(
            operation,
            subject=HOSTILE,
            process=f"=1+1{HOSTILE}",
            elements=tuple(replace(part, subject=HOSTILE) for part in operation.elements),
        )
        for operation in made.operations
    )
    findings = tuple(
        replace(finding, supports=tuple(replace(part, text=HOSTILE) for part in finding.supports))
        for finding in made.findings
    )
    origin = Origin(source=HOSTILE, line=1)
    return replace(
        made,
        incidents=tuple(incidents),
        operations=checks,
        findings=findings,
        common=tuple(
            CommonTrait(trait=trait, value=f"={HOSTILE}", refused=1, accepted=0, compared=2)
            for trait in ("sender-domain", "connector", f"={HOSTILE}")
        ),
        losses=(Loss(origin=origin, reason=HOSTILE, extent=HOSTILE),),
        sources=(SourceStatus(path=HOSTILE, kind="x", sha256="", size=1, status="partial", reason=HOSTILE),),
    )


@cache
def enormous(count=3000):
    """A case with thousands of refusals, checks, pairs, incidents, files and losses, every text long."""
    made = report("kb-3212877")
    long, start = "W" * 5000, datetime(2020, 1, 1, tzinfo=UTC)
    first = made.incidents[0]
    refused = tuple(
        replace(first.rejections[0], id=f"R-{n}", session=f"S{n}", time=start + timedelta(seconds=9 * n), reply=long)
        for n in range(count)
    )
    checks = tuple(
        replace(made.operations[0], id=f"O-{n}", time=start + timedelta(seconds=9 * n), subject=long)
        for n in range(count)
    )
    links = tuple(
        replace(first.links[0], rejection=f"R-{n}", operation=f"O-{n}", delta_seconds=n / 100) for n in range(count)
    )
    replies = tuple(ReplyText(text=f"{n}{long}", count=1, first=start, last=start) for n in range(20))
    whole = replace(
        first,
        rejections=refused,
        links=links,
        rejection_count=count,
        replies=replies,
        more_replies=count - 20,
        excerpt_count=count,
    )
    others = tuple(
        replace(first, id=f"I-{n}", rejections=(), links=(), connector=long, excerpt_count=1) for n in range(count)
    )
    origin = Origin(source=long)
    evidence = made.findings[0].supports[0]
    best = replace(
        made.findings[0],
        supports=tuple(replace(evidence, text=f"{n}{long}") for n in range(50)),
        contradicts=tuple(replace(evidence, text=f"{n}{long}") for n in range(50)),
    )
    gap = Gap(first_record=1, last_record=2, kind="lost")
    return replace(
        made,
        incidents=(whole, *others),
        operations=checks,
        common=tuple(
            CommonTrait(trait="host", value=f"{n}{long}", refused=count, accepted=0, compared=1) for n in range(50)
        ),
        findings=(best, *made.findings[1:]),
        losses=tuple(Loss(origin=origin, reason=long, extent=long) for _ in range(count)),
        sources=tuple(
            SourceStatus(path=f"{n}{long}", kind="capi2", sha256="0" * 64, size=1, status="read", reason=long)
            for n in range(count)
        ),
        coverage=tuple(
            Coverage(
                source=f"{n}{long}",
                kind="capi2",
                host=long,
                first=start,
                last=start,
                records=1,
                gaps=(gap,) * 50,
                notes=(long,) * 4,
            )
            for n in range(count)
        ),
    )
