"""What several outputs show in the same way: pairs, chains, and times as people read them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import (
    CommonTrait,
    Context,
    Incident,
    Link,
    Operation,
    OtherError,
    Rejection,
    ReplyText,
)
from evtx_analyzer.model.findings import Coverage, RepairResult
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import TimeBasis, display_name
from evtx_analyzer.model.stores import Store
from evtx_analyzer.report.bounds import LISTED_WHOLE
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import Language
from evtx_analyzer.report.merged import place_text
from evtx_analyzer.report.timeline import Lane
from evtx_analyzer.smtp.reply_texts import joined

_PLAIN = ("utc", "zone")
_BASES = ("thumbprint", "subject", "time")
COMMON_TITLES = ("trait", "refusals", "accepted messages with it", "what it says")

HANDSHAKE_TITLES = ("time (UTC)", "connection", "TLS", "certificate asked for", "sent", "received", "alert", "refusal")
STORE_TITLES = ("host", "store", "certificates", "file")
STORES = {"My": "personal", "CA": "intermediate authorities", "Root": "trusted roots", "AuthRoot": "third-party roots"}
REPAIRS: dict[RepairResult, str] = {
    "fixed": "The fix has worked: what the cause names has changed, and mail to outside recipients is accepted since.",
    "still-refused": "Mail is still refused.",
    "not-shown": "Neither is shown: that the fix has worked, or that mail is still refused.",
}

TRAITS = {
    "null-sender": "an empty sender (MAIL FROM:<>)",
    "sender-domain": "the sender's domain: $value",
    "outside-recipients": "recipients outside of the own tenant",
    "host": "the sending server: $value",
    "connector": "the connector: $value",
    "certificate": "the certificate sent: $value",
    "no-tls": "no TLS",
    "seen-address": "the address that Exchange Online saw: $value",
}

_PARTIAL = ("CERT_TRUST_IS_PARTIAL_CHAIN",)


class Pair(Struct, frozen=True, kw_only=True):
    """A refusal beside a certificate check; ``count`` refusals of one session share the row (one per recipient)."""

    incident: Incident
    rejection: Rejection
    operation: Operation
    link: Link
    count: int


class Chain(Struct, frozen=True, kw_only=True):
    """A chain as event 11 tells it, leaf first, with the issuer that was not found where the chain stops early."""

    operation: Operation
    elements: tuple[ChainElement, ...]
    stops: bool
    missing_issuer: Certificate | None
    count: int


def pairs(report: Report) -> list[Pair]:
    """All pairs, those that rest on identity before the others, the nearest in time first."""
    operations = {item.id: item for item in report.operations}
    rows: dict[tuple[object, ...], Pair] = {}
    for incident in report.incidents:
        rejections = {item.id: item for item in incident.rejections}
        for link in incident.links:
            rejection, operation = rejections.get(link.rejection), operations.get(link.operation)
            if rejection is None or operation is None:
                continue
            key = (incident.id, operation.id, rejection.session, rejection.handshake_time, rejection.time, link.basis)
            first = rows.get(key) or Pair(
                incident=incident, rejection=rejection, operation=operation, link=link, count=0
            )
            rows[key] = replace(first, count=first.count + 1)
    return sorted(rows.values(), key=_strength)


def _strength(item: Pair) -> tuple[int, float, datetime, datetime, str]:
    link = item.link
    return (
        _BASES.index(link.basis),
        abs(link.delta_seconds),
        item.rejection.time,
        item.operation.time,
        item.incident.id,
    )


def chains(report: Report) -> list[Chain]:
    """Distinct chains of the checks that are paired with a refusal, strongest pair first."""
    operations = list({pair.operation.id: pair.operation for pair in pairs(report)}.values())
    found: dict[tuple[object, ...], list[Operation]] = {}
    for item in operations:
        if item.elements:
            shape = tuple((part.thumbprint, part.error, part.info) for part in item.elements)
            found.setdefault((item.host, shape, item.result), []).append(item)
    return [
        Chain(
            operation=same[0],
            elements=same[0].elements,
            stops=any(name in _PARTIAL for name in same[0].chain_status),
            missing_issuer=same[0].missing_issuer,
            count=len(same),
        )
        for same in found.values()
    ]


def spans(report: Report) -> dict[str, list[Coverage]]:
    """Coverage by source."""
    found: dict[str, list[Coverage]] = {}
    for span in report.coverage:
        found.setdefault(span.source, []).append(span)
    return found


def moment(time: datetime | None) -> str:
    """Date and time to the millisecond, without the zone: ``2016-12-01 03:09:55.456``; empty for no time."""
    return "" if time is None else f"{time:%Y-%m-%d} {clock_time(time)}"


def when(time: datetime | None, say: Language, basis: TimeBasis = "utc") -> str:
    """A time as ``clock.as_text`` prints it, in the reader's language."""
    return say.phrase(clock.as_text(time, basis))


def clock_time(time: datetime | None) -> str:
    """Time of day to the millisecond: ``03:09:55.456``."""
    return "" if time is None else f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}"


def difference(seconds: float, say: Language) -> str:
    """A signed difference in the unit a person would use: ``+0.255 s``, ``-3.5 min``, ``-2.0 h``."""
    minute, hour = 60, 3600
    if abs(seconds) < minute:
        return say.digits(f"{seconds:+.3f}") + " s"
    return (
        say.digits(f"{seconds / minute:+.1f}") + " min"
        if abs(seconds) < hour
        else say.digits(f"{seconds / hour:+.1f}") + " h"
    )


def pair_cells(item: Pair, say: Language) -> tuple[str, ...]:
    """A pair as the cells of a row: both times, their difference, and what joins them."""
    passed = f"; {say('passed later')}" if item.link.broken_by else ""
    return (
        moment(item.rejection.time),
        clock_time(item.rejection.handshake_time) or say("not known"),
        clock_time(item.operation.time),
        difference(item.link.delta_seconds, say),
        say(item.link.basis),
        say(item.link.host),
        f"{item.operation.result}{passed}",
    )


def limit_cells(item: Incident, say: Language, *, to_second: bool = False) -> tuple[str, str]:
    """First and last refusal of an incident as cells of a row; a time that is not simply UTC says what it is."""
    return (
        _limit_cell(item.start, item.start_basis, say, to_second),
        _limit_cell(item.end, item.end_basis, say, to_second),
    )


def _limit_cell(time: datetime, basis: TimeBasis, say: Language, to_second: bool) -> str:
    if basis not in _PLAIN:
        return when(time, say, basis)
    return f"{time:%Y-%m-%d %H:%M:%S}" if to_second else moment(time)


def count_cell(item: Incident, say: Language) -> str:
    """How many refusals an incident has, and how many of them lie outside of its times because theirs is not known."""
    if not item.unknown_zone_count or item.unknown_zone_count == item.rejection_count:
        return say.number(item.rejection_count)
    return say(
        "$count ($unknown without UTC time)",
        count=say.number(item.rejection_count),
        unknown=say.number(item.unknown_zone_count),
    )


def verdict_limits(report: Report, say: Language) -> tuple[str, str]:
    """First and last refusal of the case, for people."""
    starts = (Moment(item.start, item.start_basis) for item in report.incidents)
    ends = (Moment(item.end, item.end_basis) for item in report.incidents)
    first, last = clock.limits([*starts, *ends])
    return when(first.time, say, first.basis), when(last.time, say, last.basis)


def replies(report: Report) -> list[ReplyText]:
    """What Exchange Online said, each distinct text once over all incidents, in the order in which it came."""
    return joined(reply for item in report.incidents for reply in item.replies)


def reply_times(reply: ReplyText, say: Language) -> str:
    """When a reply came first and last."""
    first, last = Moment(reply.first, reply.first_basis), Moment(reply.last, reply.last_basis)
    return say.phrase(clock.span_text(first, last, reply.unknown_zone_count))


def more_replies(report: Report, say: Language) -> list[str]:
    """A line where refusals have replies that are not listed, else none."""
    count = sum(item.more_replies for item in report.incidents)
    return (
        [say("Other replies are not listed (refusals: $count); the CSV table of refusals holds all.", count=count)]
        if count
        else []
    )


def folded_texts(report: Report, say: Language) -> list[str]:
    """Return a line where refusals that are like the listed ones are counted only, else none.

    A report that was read from JSON does not hold the others at all.
    """
    folded = sum(item.folded_count for item in report.incidents)
    total = report.rejection_count
    if not folded:
        return []
    texts = [
        say(
            "Of $total refusals $listed are listed: the first, the last and the most telling ones. The others are like "
            "them.",
            total=total,
            listed=total - folded,
        )
    ]
    if not any(item.alike for item in report.incidents):
        texts.append(say("This report was made from a saved one: tables and time lines hold the listed refusals only."))
    return texts


def more_text(shown: int, count: int, say: Language) -> str:
    """Return how many of a list are shown, and where to find the others: a saved report is bounded too."""
    if count <= LISTED_WHOLE:
        return say("$shown of $count are shown; the JSON report holds all.", shown=shown, count=count)
    return say("$shown of $count are shown; the JSON report holds more.", shown=shown, count=count)


def not_listed_texts(report: Report, say: Language) -> list[str]:
    """Return a line for each list that a saved report does not hold whole."""
    return [say.sentence(item.text) for item in report.not_listed]


def lane_title(lane: Lane, say: Language) -> str:
    """The name of a lane with its count; of how many, where the picture is an excerpt: ``Refusals (1 of 3)``."""
    if lane.count == lane.total:
        return f"{say(lane.title)} ({say.number(lane.count)})"
    count = say("$shown of $count", shown=say.number(lane.count), count=say.number(lane.total))
    return f"{say(lane.title)} ({count})"


def unplaced_texts(report: Report, say: Language) -> list[str]:
    """A line where refusals have no place on the time line, else none."""
    count = sum(item.unknown_zone_count for item in report.incidents)
    return (
        [say("Not on the time line, because the UTC time is not known: refusals ($count).", count=count)]
        if count
        else []
    )


def excerpt_texts(report: Report, say: Language) -> list[str]:
    """A line for each incident whose sessions lack rows: what is not in an excerpt is not known."""
    return [
        say(
            "$file: an excerpt: rows of the session are missing ($count of $total refusals), so what is not in it is "
            "not known. Give the whole log file, unfiltered, as the server wrote it.",
            file=_excerpt_file(item),
            count=item.excerpt_count,
            total=item.rejection_count,
        )
        for item in report.incidents
        if item.excerpt_count
    ]


def _excerpt_file(item: Incident) -> str:
    return next((display_name(part.origin) for part in item.rejections if not part.from_start), item.kind)


def common_cells(item: CommonTrait, say: Language) -> tuple[str, str, str, str]:
    """A trait of all refused mail as the cells of a row: what it is, refusals, accepted mail, what follows."""
    trait = say(TRAITS[item.trait], value=item.value) if item.trait in TRAITS else f"{item.trait} {item.value}".rstrip()
    if not item.compared:
        return trait, say.number(item.refused), say("not compared: no accepted message in the logs shows it"), ""
    accepted = _share(item.accepted, item.compared, say)
    meaning = say("accepted mail shares it") if item.accepted else say("a clue: only refused mail has it")
    return trait, say.number(item.refused), accepted, meaning


def _share(accepted: int, compared: int, say: Language) -> str:
    """How much of the accepted mail has a trait, as a person says it."""
    if compared == 1:
        return say("the only accepted message has it") if accepted else say("the only accepted message lacks it")
    counts = {"accepted": say.number(accepted), "compared": say.number(compared)}
    return say("$accepted of $compared accepted messages", **counts)


def incident_cells(item: Incident, say: Language) -> tuple[str, ...]:
    """An incident as the cells of a row: its times, count, host, log, connector and certificate."""
    basis = item.rejections[0].host_basis if item.rejections else "row"
    host = item.host or say("not known")
    return (
        *limit_cells(item, say, to_second=True),
        count_cell(item, say),
        host if basis in ("row", "unknown") else f"{host} ({say(basis)})",
        item.kind,
        item.connector,
        item.certificate.thumbprint if item.certificate else say("not shown by the log"),
    )


def handshake_cells(item: Handshake, say: Language) -> tuple[str, ...]:
    """A handshake of a network trace as the cells of a row."""
    asked = {True: say("yes"), False: say("no"), None: say("cannot be seen")}[item.requested]
    return (
        moment(item.start),
        f"{item.local} > {item.remote}",
        item.tls or say("not known"),
        asked,
        _on_the_wire(item.sent, say, seen=item.requested is not None and "1.3" not in item.tls),
        # A server always sends its own, so none seen is none in the trace.
        _on_the_wire(item.received, say, seen=False),
        item.alert,
        say("yes") if item.rejection else "",
    )


def _on_the_wire(certificates: tuple[WireCertificate, ...], say: Language, *, seen: bool) -> str:
    """How many certificates were sent and the first one's name; none only where they would have been ``seen``."""
    if certificates:
        return f"{len(certificates)}: {certificates[0].subject}"
    return say("none") if seen else say("cannot be seen")


def store_cells(item: Store, say: Language) -> tuple[str, ...]:
    """A certificate store as the cells of a row: host, name, how many certificates, and the file."""
    name = f"{item.name} ({say(STORES[item.name])})" if item.name in STORES else item.name
    return item.host or say("not known"), name, say.number(len(item.certificates)), place_text(item.origin, say)


def span_text(span: Coverage, say: Language) -> str:
    """What a source covers: ``116 records, 2016-12-01 03:00:55.394 UTC - ..., CORP-SMTP1``."""
    one = span.records == 1
    count = say("1 record") if one else say("$count records", count=say.number(span.records))
    host = f", {span.host}" if span.host else ""
    if span.first is None or span.last is None:
        return f"{count}{host}"
    return f"{count}, {span_times(span.first, span.last, span.time_basis, say)}{host}"


def span_cells(span: Coverage, say: Language) -> tuple[str, str]:
    """First and last time of a source as cells of a row."""
    first, last = (
        moment(time) if time is None or clock.is_known(span.time_basis) else when(time, say, span.time_basis)
        for time in (span.first, span.last)
    )
    return first, last


def machine_time(time: datetime, basis: TimeBasis) -> str:
    """A time as a program reads it in HTML: without an offset where the zone is not known."""
    return time.isoformat() if clock.is_known(basis) else time.replace(tzinfo=None).isoformat()


def span_times(first: datetime, last: datetime, basis: TimeBasis, say: Language) -> str:
    """What a source covers, as two times; where they are local it is said once, behind both."""
    if clock.is_known(basis):
        return clock.as_text(first) if first == last else f"{clock.as_text(first)} \u2013 {clock.as_text(last)}"
    return say.phrase(clock.span_text(Moment(first, basis), Moment(last, basis)))


def bundle_texts(report: Report, say: Language) -> list[str]:
    """What is known of collector bundles: whose they are, what they never hold, and where the collector got nothing."""
    texts = []
    for item in report.bundles:
        never = "; ".join(say.sentence(part) for part in item.never_collected)
        known = {"path": item.path or ".", "collector": item.collector, "server": item.server or "?"}
        if never:
            texts.append(
                say(
                    "$path is a bundle of $collector ($server). The collector never takes: $never.",
                    never=never,
                    **known,
                )
            )
        else:
            texts.append(say("$path is a bundle of $collector ($server).", **known))
        if item.failed:
            texts.append(say("The collector says that it did not get: $steps.", steps="; ".join(item.failed)))
        if item.markers:
            texts.append(say("The collector says that it got nothing here: $places.", places=", ".join(item.markers)))
    return texts


def other_errors(report: Report) -> list[OtherError]:
    """Failures that are not 5.7.64, those that look like it first, then by count."""
    return sorted(report.other_errors, key=lambda item: (not item.meaning, -item.count))


def other_error_text(item: OtherError, say: Language) -> str:
    """A failure in a line: ``3 x 451 4.4.62 ATTR35 (send-connector, EX01): mail was sent to the wrong region``."""
    what = say.sentence(item.meaning) if item.meaning else item.text
    where = f", {item.host}" if item.host else ""
    return f"{say.number(item.count)} x {item.code} {item.attribution}".rstrip() + f" ({item.kind}{where}): {what}"


def context_text(item: Context, say: Language) -> str:
    """Supporting events in a line: ``2 x schannel 36887, 2016-12-01 ...: the remote side sent a fatal TLS alert``."""
    times = f", {when(item.first, say)}" if item.first else ""
    code = f" {item.code}" if item.code else ""
    return f"{say.number(item.count)} x {item.kind}{code}{times}: {say.sentence(item.title)}"
