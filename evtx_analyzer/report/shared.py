"""What several outputs show in the same way: rows of tables, and lines that say what a picture or table leaves out."""

from __future__ import annotations

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import CommonTrait, Context, Incident, OtherError, ReplyText
from evtx_analyzer.model.findings import Coverage, RepairResult
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import display_name
from evtx_analyzer.model.stores import Store
from evtx_analyzer.report.bounds import LISTED_WHOLE
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import Language
from evtx_analyzer.report.merged import place_text
from evtx_analyzer.report.pairs import Pair
from evtx_analyzer.report.timeline import Lane
from evtx_analyzer.report.times import clock_time, difference, limit_cells, moment, span_times, when
from evtx_analyzer.smtp.reply_texts import joined

COMMON_TITLES = ("trait", "refusals", "accepted messages with it", "what it says")
HANDSHAKE_TITLES = ("time (UTC)", "connection", "TLS", "certificate asked for", "sent", "received", "alert", "refusal")
_FAR = 60.0
_AHEAD = "The clock of $host stands $span ahead of the remote side's; times are shown as logged."
_BEHIND = "The clock of $host stands $span behind the remote side's; times are shown as logged."
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


def spans(report: Report) -> dict[str, list[Coverage]]:
    """Coverage by source."""
    found: dict[str, list[Coverage]] = {}
    for span in report.coverage:
        found.setdefault(span.source, []).append(span)
    return found


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


def count_cell(item: Incident, say: Language) -> str:
    """How many refusals an incident has, and how many of them lie outside of its times because theirs is not known."""
    if not item.unknown_zone_count or item.unknown_zone_count == item.rejection_count:
        return say.number(item.rejection_count)
    return say(
        "$count ($unknown without UTC time)",
        count=say.number(item.rejection_count),
        unknown=say.number(item.unknown_zone_count),
    )


def replies(report: Report) -> list[ReplyText]:
    """What Exchange Online said, each distinct text once over all incidents, in the order in which it came."""
    return joined(reply for item in report.incidents for reply in item.replies)


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
    name = f"{item.location}\\{item.name}" if item.location else item.name
    name = f"{name} ({say(STORES[item.name])})" if item.name in STORES else name
    return item.host or say("not known"), name, say.number(len(item.certificates)), place_text(item.origin, say)


def span_text(span: Coverage, say: Language) -> str:
    """What a source covers: ``116 records, 2016-12-01 03:00:55.394 UTC - ..., CORP-SMTP1``."""
    one = span.records == 1
    count = say("1 record") if one else say("$count records", count=say.number(span.records))
    host = f", {span.host}" if span.host else ""
    if span.first is None or span.last is None:
        return f"{count}{host}"
    return f"{count}, {span_times(span.first, span.last, span.time_basis, say)}{host}"


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
    what = say.sentence(item.meaning) if item.meaning else item.text.removeprefix(f"{item.code} ")
    where = f", {item.host}" if item.host else ""
    return f"{say.number(item.count)} x {item.code} {item.attribution}".rstrip() + f" ({item.kind}{where}): {what}"


def clock_texts(report: Report, say: Language) -> list[str]:
    """Return which clocks of refused machines stand far from the remote side's: the report's times are theirs."""
    refused = {(item.host, item.kind) for item in report.incidents if not item.unknown_zone_count}
    texts = []
    for item in report.clocks:
        if (item.host, item.kind) in refused and abs(item.seconds) >= _FAR:
            hours = clock.whole_hours(item.seconds)
            span = f"{abs(hours)} h" if hours else f"{say.number(round(abs(item.seconds)))} s"
            label = _AHEAD if item.seconds > 0 else _BEHIND
            texts.append(say(label, host=item.host or say("the server"), span=span))
    return list(dict.fromkeys(texts))


def context_text(item: Context, say: Language) -> str:
    """Supporting events in a line: ``2 x schannel 36887, 2016-12-01 ...: the remote side sent a fatal TLS alert``."""
    times = f", {when(item.first, say)}" if item.first else ""
    code = f" {item.code}" if item.code else ""
    return f"{say.number(item.count)} x {item.kind}{code}{times}: {say.sentence(item.title)}"
